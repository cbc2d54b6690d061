//! Which protocols a request offers.
//!
//! Kubernetes looks at the first `Sec-WebSocket-Protocol` line only, split at commas, case sensitive
//! (`k8s.io/streaming/pkg/httpstream/wsstream/conn.go`). So does this: a request must not go one way
//! here and another behind.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{self, HeaderMap, HeaderName};

/// What a tunnel's subprotocol starts and ends with; between them is SPDY's own.
const TUNNEL_PREFIX: &str = "SPDY/3.1+";
const TUNNEL_SUFFIX: &str = ".k8s.io";

/// The pseudo subprotocol by which browsers send a bearer token starts so.
pub const BEARER_PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// The header by which SPDY clients offer versions.
pub const STREAM_PROTOCOL_VERSION: HeaderName =
    HeaderName::from_static("x-stream-protocol-version");

/// Remote command's and port-forward's protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subprotocol {
    /// Binary messages, plain text on the error channel.
    V1,
    /// As V1, in base64.
    V1Base64,
    /// stdin may be half closed; SPDY only.
    V2,
    /// And terminals resized; SPDY only.
    V3,
    /// And the error channel is a status.
    V4,
    /// As V4, in base64.
    V4Base64,
    /// And a message that closes a channel; WebSocket only.
    V5,
    /// SPDY inside WebSocket messages, for port-forward.
    PortForwardTunnel,
    /// Port-forward over SPDY itself.
    PortForward,
}

impl Subprotocol {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::V1,
        Self::V1Base64,
        Self::V2,
        Self::V3,
        Self::V4,
        Self::V4Base64,
        Self::V5,
        Self::PortForwardTunnel,
        Self::PortForward,
    ];

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "channel.k8s.io",
            Self::V1Base64 => "base64.channel.k8s.io",
            Self::V2 => "v2.channel.k8s.io",
            Self::V3 => "v3.channel.k8s.io",
            Self::V4 => "v4.channel.k8s.io",
            Self::V4Base64 => "v4.base64.channel.k8s.io",
            Self::V5 => "v5.channel.k8s.io",
            Self::PortForwardTunnel => "SPDY/3.1+portforward.k8s.io",
            Self::PortForward => "portforward.k8s.io",
        }
    }

    /// The protocol of a name; `None` for an unknown one.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|protocol| protocol.as_str() == name)
    }
}

/// The subprotocols that a WebSocket request offers, in its order.
pub fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let line = headers
        .get(header::SEC_WEBSOCKET_PROTOCOL)
        .and_then(|line| line.to_str().ok());
    line.into_iter()
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

/// Whether a request asks for a WebSocket: `Upgrade: websocket` in any case, and a `Connection` that
/// says so.
pub fn is_websocket_upgrade(headers: &HeaderMap) -> bool {
    upgrades_to(headers, "websocket")
}

/// Whether a request or an answer switches to SPDY.
pub fn is_spdy_upgrade(headers: &HeaderMap) -> bool {
    upgrades_to(headers, "SPDY/3.1")
}

fn upgrades_to(headers: &HeaderMap, protocol: &str) -> bool {
    let token = headers
        .get(header::UPGRADE)
        .and_then(|token| token.to_str().ok());
    let connection = headers.get_all(header::CONNECTION).iter();
    token.is_some_and(|token| token.trim().eq_ignore_ascii_case(protocol))
        && connection
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.to_ascii_lowercase().contains("upgrade"))
}

/// Whether `v5.channel.k8s.io` is among the subprotocols that are offered.
pub fn offers_v5(headers: &HeaderMap) -> bool {
    offered(headers).any(|name| name == Subprotocol::V5.as_str())
}

/// The first tunnelling subprotocol that is offered.
pub fn offers_tunnel(headers: &HeaderMap) -> Option<&str> {
    offered(headers).find(|name| !tunnel_spdy_protocol(name).is_empty())
}

/// The SPDY protocol inside a tunnelling subprotocol: `portforward.k8s.io`. Empty for a name that
/// is none.
pub fn tunnel_spdy_protocol(name: &str) -> &str {
    let inner = name
        .strip_prefix(TUNNEL_PREFIX)
        .filter(|inner| inner.ends_with(TUNNEL_SUFFIX));
    inner.unwrap_or_default()
}

/// The versions that a SPDY request offers, in its order, over all of the header's lines.
pub fn spdy_versions(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(STREAM_PROTOCOL_VERSION).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|version| !version.is_empty())
}

/// The first of the client's versions that the server has.
pub fn negotiate<'a>(
    mut client: impl Iterator<Item = &'a str>,
    server: &[Subprotocol],
) -> Option<Subprotocol> {
    client.find_map(|name| Subprotocol::of(name).filter(|version| server.contains(version)))
}

/// The bearer token among the subprotocols that are offered, decoded.
pub fn bearer_token(headers: &HeaderMap) -> Option<Vec<u8>> {
    let encoded = offered(headers).find_map(|name| name.strip_prefix(BEARER_PREFIX))?;
    URL_SAFE_NO_PAD.decode(encoded).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    /// As upstream's `TestIsWebSocketRequestWithStreamCloseProtocol`.
    #[test]
    fn v5_among_what_is_offered() {
        for (offer, wanted) in [
            ("v5.channel.k8s.io", true),
            ("v4.channel.k8s.io, v5.channel.k8s.io", true),
            ("v4.channel.k8s.io,v5.channel.k8s.io", true),
            ("v4.channel.k8s.io", false),
            ("V5.channel.k8s.io", false),
            ("v5.channel.k8s.io.x", false),
            ("", false),
        ] {
            assert_eq!(
                offers_v5(&headers(&[("sec-websocket-protocol", offer)])),
                wanted,
                "{offer}"
            );
        }
        let lines = [
            ("sec-websocket-protocol", "v4.channel.k8s.io"),
            ("sec-websocket-protocol", "v5.channel.k8s.io"),
        ];
        assert!(
            !offers_v5(&headers(&lines)),
            "only the first line counts, as upstream"
        );
    }

    #[test]
    fn what_is_a_websocket_upgrade() {
        for (upgrade, connection, wanted) in [
            ("websocket", "Upgrade", true),
            ("WebSocket", "keep-alive, upgrade", true),
            ("websocket", "keep-alive", false),
            ("SPDY/3.1", "Upgrade", false),
            ("websockets", "Upgrade", false),
        ] {
            let headers = headers(&[("upgrade", upgrade), ("connection", connection)]);
            assert_eq!(
                is_websocket_upgrade(&headers),
                wanted,
                "{upgrade} {connection}"
            );
        }
        assert!(is_spdy_upgrade(&headers(&[
            ("upgrade", "spdy/3.1"),
            ("connection", "Upgrade")
        ])));
        assert!(!is_websocket_upgrade(&headers(&[("upgrade", "websocket")])));
    }

    #[test]
    fn tunnels_have_a_prefix_and_a_suffix() {
        assert_eq!(
            tunnel_spdy_protocol("SPDY/3.1+portforward.k8s.io"),
            "portforward.k8s.io"
        );
        for other in [
            "v2.portforward.k8s.io",
            "SPDY/3.1+portforward",
            "SPDY/3.1",
            "portforward.k8s.io",
        ] {
            assert_eq!(tunnel_spdy_protocol(other), "", "{other}");
        }
        let offer = headers(&[(
            "sec-websocket-protocol",
            "v4.channel.k8s.io, SPDY/3.1+portforward.k8s.io",
        )]);
        assert_eq!(offers_tunnel(&offer), Some("SPDY/3.1+portforward.k8s.io"));
    }

    /// As upstream's `TestHandshake`.
    #[test]
    fn the_clients_first_that_the_server_has() {
        use Subprotocol::{V1, V3, V4};
        let request = headers(&[
            ("x-stream-protocol-version", "v5.channel.k8s.io"),
            (
                "x-stream-protocol-version",
                "v4.channel.k8s.io,channel.k8s.io",
            ),
        ]);
        assert_eq!(negotiate(spdy_versions(&request), &[V1, V3, V4]), Some(V4));
        assert_eq!(negotiate(spdy_versions(&request), &[V1]), Some(V1));
        assert_eq!(negotiate(spdy_versions(&request), &[V3]), None);
    }

    #[test]
    fn browsers_tokens() {
        let request = headers(&[(
            "sec-websocket-protocol",
            "base64url.bearer.authorization.k8s.io.dG9rZW4, v4.channel.k8s.io",
        )]);
        assert_eq!(bearer_token(&request), Some(b"token".to_vec()));
        let request = headers(&[(
            "sec-websocket-protocol",
            "base64url.bearer.authorization.k8s.io.!",
        )]);
        assert_eq!(bearer_token(&request), None);
    }
}
