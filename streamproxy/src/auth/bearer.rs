//! Where a request may hold a bearer token.
//!
//! Source: `k8s.io/apiserver@v0.36.3/pkg/authentication/request/{bearertoken,websocket}`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};
use streamway_kstream::subprotocol::{BEARER_PREFIX, is_websocket_upgrade};

/// Longest token that is asked about; a service account's is about a kilobyte.
const MAX_TOKEN: usize = 16 << 10;

/// What one place of a request says.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Bearer {
    /// No token.
    None,
    /// Something that is meant as a token and cannot be one. It is a wrong credential, not none.
    Malformed,
    /// A token.
    Token(String),
}

impl std::fmt::Debug for Bearer {
    /// Says that there is a token, not which.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Malformed => "Malformed",
            Self::Token(_) => "Token",
        })
    }
}

impl Bearer {
    /// `Authorization: Bearer TOKEN`, in the first such header. What follows the token is ignored,
    /// an empty token is none.
    pub(super) fn in_authorization(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return Self::None;
        };
        let mut words = value.as_bytes().trim_ascii().split(|byte| *byte == b' ');
        match (words.next(), words.next()) {
            (Some(scheme), Some(token)) if scheme.eq_ignore_ascii_case(b"bearer") => {
                Self::new(token.to_vec())
            }
            _ => Self::None,
        }
    }

    /// A subprotocol `base64url.bearer.authorization.k8s.io.TOKEN` of a WebSocket upgrade: browsers
    /// can set no other header. There has to be a second subprotocol, and only one token.
    pub(super) fn in_subprotocols(headers: &HeaderMap) -> Self {
        if !is_websocket_upgrade(headers) {
            return Self::None;
        }
        subprotocol_token(headers)
    }

    fn new(token: Vec<u8>) -> Self {
        match String::from_utf8(token) {
            Ok(token) if token.is_empty() => Self::None,
            Ok(token) if token.len() <= MAX_TOKEN => Self::Token(token),
            _ => Self::Malformed,
        }
    }
}

/// The token among the subprotocols, whether or not the request is an upgrade.
fn subprotocol_token(headers: &HeaderMap) -> Bearer {
    let lines = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let (mut tokens, mut others) = (Vec::new(), 0_usize);
    for name in lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')) {
        match name.trim_ascii().strip_prefix(BEARER_PREFIX.as_bytes()) {
            Some(encoded) => tokens.push(encoded),
            None => others += 1,
        }
    }
    let encoded = match tokens.as_slice() {
        [] => return Bearer::None,
        [encoded] => *encoded,
        _ => return Bearer::Malformed,
    };
    match URL_SAFE_NO_PAD.decode(encoded).map(Bearer::new) {
        Ok(Bearer::Token(_)) if others == 0 => Bearer::Malformed,
        Ok(bearer) => bearer,
        Err(_) => Bearer::Malformed,
    }
}

/// Whether a request holds something that is meant as a token, in either place.
pub(crate) fn has_token(headers: &HeaderMap) -> bool {
    [
        Bearer::in_authorization(headers),
        Bearer::in_subprotocols(headers),
    ]
    .iter()
    .any(|bearer| *bearer != Bearer::None)
}

/// Moves a token from the subprotocols to `Authorization`, for a request that will offer none. One
/// that is there already goes before, as it does with an API server.
pub(crate) fn bearer_to_authorization(headers: &mut HeaderMap) {
    if headers.contains_key(header::AUTHORIZATION) {
        return;
    }
    let value = match subprotocol_token(headers) {
        Bearer::Token(token) => HeaderValue::from_str(&format!("Bearer {token}")),
        // To be refused as what it is: a wrong credential, not none.
        Bearer::Malformed => Ok(HeaderValue::from_static("Bearer malformed")),
        Bearer::None => return,
    };
    let mut value = value.unwrap_or_else(|_| HeaderValue::from_static("Bearer malformed"));
    value.set_sensitive(true);
    headers.insert(header::AUTHORIZATION, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Bearer {
        Bearer::Token(text.to_owned())
    }

    #[test]
    fn authorization_headers() {
        for (value, expected) in [
            (&b"Bearer abc"[..], token("abc")),
            (b"bearer abc", token("abc")),
            (b"BEARER abc", token("abc")),
            (b"  Bearer abc  ", token("abc")),
            (b"Bearer abc def", token("abc")),
            (b"Bearer ", Bearer::None),
            (b"Bearer", Bearer::None),
            (b"Basic abc", Bearer::None),
            (b"Bearer  abc", Bearer::None),
            (b"Bearer a\xff", Bearer::Malformed),
        ] {
            let mut headers = HeaderMap::new();
            assert_eq!(Bearer::in_authorization(&headers), Bearer::None);
            let value = HeaderValue::from_bytes(value).unwrap();
            headers.insert(header::AUTHORIZATION, value.clone());
            assert!(Bearer::in_authorization(&headers) == expected, "{value:?}");
        }
        let mut headers = HeaderMap::new();
        let long = format!("Bearer {}", "x".repeat(MAX_TOKEN + 1));
        headers.insert(header::AUTHORIZATION, long.parse().unwrap());
        assert_eq!(Bearer::in_authorization(&headers), Bearer::Malformed);
    }

    #[test]
    fn subprotocols() {
        const ABC: &str = "base64url.bearer.authorization.k8s.io.YWJj";
        for (lines, expected) in [
            (&[][..], Bearer::None),
            (&["v5.channel.k8s.io"], Bearer::None),
            (&[&format!("{ABC}, v5.channel.k8s.io")], token("abc")),
            (&["v5.channel.k8s.io", ABC], token("abc")),
            (&[ABC], Bearer::Malformed),
            (
                &[&format!("{ABC}, {ABC}, v5.channel.k8s.io")],
                Bearer::Malformed,
            ),
            (
                &["base64url.bearer.authorization.k8s.io.YWJ,x"],
                Bearer::Malformed,
            ),
            (
                &["base64url.bearer.authorization.k8s.io.!!,x"],
                Bearer::Malformed,
            ),
            (
                &["base64url.bearer.authorization.k8s.io._w,x"],
                Bearer::Malformed,
            ),
            (&["base64url.bearer.authorization.k8s.io.,x"], Bearer::None),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::SEC_WEBSOCKET_PROTOCOL, line.parse().unwrap());
            }
            assert_eq!(
                Bearer::in_subprotocols(&headers),
                Bearer::None,
                "no upgrade"
            );
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            assert!(Bearer::in_subprotocols(&headers) == expected, "{lines:?}");
        }
    }

    #[test]
    fn tokens_are_not_printed() {
        assert_eq!(format!("{:?}", token("secret")), "Token");
    }
}
