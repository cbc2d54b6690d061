//! The server's side of the opening handshake (RFC 6455 §4.2), as `golang.org/x/net/websocket` in
//! Kubernetes' servers checks it, but with a body that says what is wrong.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use sha1::{Digest, Sha1};

use crate::subprotocol;

/// What is appended to the client's key (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request that cannot become a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Not GET.
    #[error("a WebSocket is asked for with GET")]
    Method,
    /// No `Upgrade: websocket` with `Connection: Upgrade`.
    #[error("the request does not ask for a WebSocket")]
    NotAnUpgrade,
    /// Not version 13.
    #[error("Sec-WebSocket-Version must be 13")]
    Version,
    /// No key, or none of 16 bytes.
    #[error("Sec-WebSocket-Key must be 16 bytes in base64")]
    Key,
}

impl HandshakeError {
    /// The answer's status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAnUpgrade => StatusCode::UPGRADE_REQUIRED,
            Self::Version | Self::Key => StatusCode::BAD_REQUEST,
        }
    }

    /// Headers that the status needs.
    pub fn headers(self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match self {
            Self::Method => headers.insert(header::ALLOW, HeaderValue::from_static("GET")),
            Self::NotAnUpgrade => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"))
            }
            Self::Version => headers.insert(
                header::SEC_WEBSOCKET_VERSION,
                HeaderValue::from_static("13"),
            ),
            Self::Key => None,
        };
        headers
    }
}

/// Checks a request. Returns the value of `Sec-WebSocket-Accept`.
///
/// # Errors
///
/// Says what is wrong, and with which status and headers to answer.
pub fn check(method: &Method, headers: &HeaderMap) -> Result<String, HandshakeError> {
    if method != Method::GET {
        return Err(HandshakeError::Method);
    }
    if !subprotocol::is_websocket_upgrade(headers) {
        return Err(HandshakeError::NotAnUpgrade);
    }
    let version = headers.get(header::SEC_WEBSOCKET_VERSION);
    if version.is_none_or(|version| version.as_bytes() != b"13") {
        return Err(HandshakeError::Version);
    }
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .ok_or(HandshakeError::Key)?;
    accept_key(key.as_bytes())
}

/// The answer to a client's key.
///
/// # Errors
///
/// A key that is not 16 bytes in base64.
pub fn accept_key(key: &[u8]) -> Result<String, HandshakeError> {
    let key = key.trim_ascii();
    if STANDARD.decode(key).map_err(|_| HandshakeError::Key)?.len() != 16 {
        return Err(HandshakeError::Key);
    }
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    Ok(STANDARD.encode(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> HeaderMap {
        let pairs = [
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        pairs
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .into_iter()
            .collect()
    }

    /// RFC 6455 §1.3.
    #[test]
    fn the_rfcs_key() {
        assert_eq!(
            check(&Method::GET, &request()).unwrap(),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(
            check(&Method::POST, &request()),
            Err(HandshakeError::Method)
        );
        for (name, value, error) in [
            ("upgrade", "spdy/3.1", HandshakeError::NotAnUpgrade),
            ("connection", "close", HandshakeError::NotAnUpgrade),
            ("sec-websocket-version", "8", HandshakeError::Version),
            ("sec-websocket-key", "short", HandshakeError::Key),
            ("sec-websocket-key", "c2hvcnQ=", HandshakeError::Key),
        ] {
            let mut headers = request();
            headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(check(&Method::GET, &headers), Err(error), "{name}: {value}");
            headers.remove(name);
            assert!(check(&Method::GET, &headers).is_err(), "no {name}");
        }
    }
}
