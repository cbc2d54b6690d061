//! What of a request's and a response's headers crosses the proxy.

use http::Uri;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use streamway_kstream::subprotocol;

/// Headers of one connection, not of the message (RFC 9110 §7.6.1).
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Headers by which a proxy that is trusted says who the caller is. A kubelet trusts none, and what
/// does not cross cannot come to be trusted.
const IDENTITY_PREFIXES: [&str; 2] = ["x-remote-", "impersonate-"];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Removes the headers of the connection, those that `Connection` names among them. That trailers are
/// welcome stays said: they pass.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let trailers = headers.get_all(header::TE).iter().any(|te| {
        let mut codings = te.as_bytes().split(|byte| *byte == b',');
        codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    });
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// What a request asks to upgrade its connection to, if it does.
pub(crate) fn upgrade_token(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = headers.get_all(header::CONNECTION).iter().any(|value| {
        let mut options = value.as_bytes().split(|byte| *byte == b',');
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    });
    headers.get(header::UPGRADE).filter(|_| asked).cloned()
}

/// Removes the caller's credentials and every claim of an identity: the server is spoken to as the
/// proxy.
pub(crate) fn strip_identity(headers: &mut HeaderMap) {
    headers.remove(header::AUTHORIZATION);
    for prefix in IDENTITY_PREFIXES {
        strip_prefixed(headers, prefix);
    }
    strip_bearer_subprotocol(headers);
}

/// Removes the headers whose names start with `prefix`, which is in lower case.
pub(crate) fn strip_prefixed(headers: &mut HeaderMap, prefix: &str) {
    let named: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(prefix))
        .cloned()
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// Makes a target what a server behind takes: path and query.
pub(crate) fn origin_form(uri: &mut Uri) {
    if uri.scheme().is_some() || uri.authority().is_some() {
        let target = uri.path_and_query().cloned();
        *uri = target
            .unwrap_or_else(|| PathAndQuery::from_static("/"))
            .into();
    }
}

/// Notes what a request looked like before it came here, as a load balancer does it. What a proxy
/// before has noted stays.
pub(crate) fn forwarded(headers: &mut HeaderMap, caller: &HeaderValue) {
    forwarded_for(headers, caller);
    if !headers.contains_key(FORWARDED_PROTO) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
    }
    if !headers.contains_key(FORWARDED_HOST)
        && let Some(host) = headers.get(header::HOST).cloned()
    {
        headers.insert(FORWARDED_HOST, host);
    }
}

/// Notes the caller's address behind those of the proxies before.
pub(crate) fn forwarded_for(headers: &mut HeaderMap, caller: &HeaderValue) {
    if !headers.contains_key(FORWARDED_FOR) {
        headers.insert(FORWARDED_FOR, caller.clone());
        return;
    }
    let before = headers.get_all(FORWARDED_FOR).iter().chain([caller]);
    let chain: Vec<&str> = before.filter_map(|value| value.to_str().ok()).collect();
    if let Ok(chain) = HeaderValue::try_from(chain.join(", ")) {
        headers.insert(FORWARDED_FOR, chain);
    }
}

/// A token among the subprotocols is a credential too.
pub(crate) fn strip_bearer_subprotocol(headers: &mut HeaderMap) {
    let lines: Vec<HeaderValue> = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .cloned()
        .collect();
    let is_token = |name: &str| name.trim().starts_with(subprotocol::BEARER_PREFIX);
    let holds_token = |line: &HeaderValue| {
        line.to_str()
            .is_ok_and(|line| line.split(',').any(is_token))
    };
    if !lines.iter().any(holds_token) {
        return;
    }
    headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
    for line in lines {
        let names = line.to_str().unwrap_or_default().split(',').map(str::trim);
        let kept: Vec<&str> = names.filter(|name| !is_token(name)).collect();
        if let Ok(line) = HeaderValue::from_str(&kept.join(", "))
            && !kept.is_empty()
        {
            headers.append(header::SEC_WEBSOCKET_PROTOCOL, line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_connection_names_stays_on_the_connection() {
        let mut headers = map(&[
            ("connection", "close, X-Secret"),
            ("x-secret", "1"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("accept", "*/*"),
        ]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&[("accept", "*/*")]));
    }

    #[test]
    fn claims_of_identity_do_not_cross() {
        let mut headers = map(&[
            ("authorization", "Bearer x"),
            ("x-remote-user", "admin"),
            ("x-remote-extra-scopes", "all"),
            ("impersonate-user", "admin"),
            ("x-forwarded-for", "10.0.0.1"),
            (
                "sec-websocket-protocol",
                "base64url.bearer.authorization.k8s.io.dG9rZW4, v4.channel.k8s.io",
            ),
        ]);
        strip_identity(&mut headers);
        forwarded_for(&mut headers, &HeaderValue::from_static("10.0.0.2"));
        let kept = [
            ("x-forwarded-for", "10.0.0.1, 10.0.0.2"),
            ("sec-websocket-protocol", "v4.channel.k8s.io"),
        ];
        assert_eq!(headers, map(&kept));
    }
}
