//! Which of the API's paths are streaming endpoints of a pod:
//! `/api/v1/namespaces/{namespace}/pods/{name}/{exec|attach|portforward}`.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::route::{Route, Subresource};

/// What a path is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// A streaming endpoint.
    Stream(Route),
    /// Something that an API server, or a proxy before it, might take for a streaming endpoint, in a
    /// form that no client of Kubernetes sends.
    Ambiguous,
    /// Everything else.
    Other,
}

/// Says what `path` is; `query` names the container.
///
/// An API server decodes a path, drops empty segments of it and looks at what is left
/// (`k8s.io/apiserver@v0.36.3/pkg/endpoints/request/requestinfo.go`). Whatever could be read as a
/// streaming endpoint is one here, or is refused: no reading of a path may go around the checks.
pub(super) fn classify(path: &str, query: &str) -> Path {
    // As many as the longest paths of the API's have.
    let mut plain = Vec::with_capacity(8);
    plain.extend(path.split('/').skip(1));
    if let ["api", "v1", "namespaces", namespace, "pods", pod, last] = plain.as_slice()
        && let Some(subresource) = subresource(last)
        && is_name(namespace)
        && is_name(pod)
    {
        return Path::Stream(Route {
            subresource,
            namespace: (*namespace).to_owned(),
            pod: (*pod).to_owned(),
            container: container(query),
        });
    }
    // Requests in their plain form, by far the most, cannot be anything else.
    let simple =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b':' | b'_');
    if path.bytes().all(simple) && plain.iter().all(|part| !matches!(*part, "" | "." | "..")) {
        return if may_be_stream(&plain) {
            Path::Ambiguous
        } else {
            Path::Other
        };
    }
    let decoded = decoded(path);
    let (mut resolved, mut kept) = (Vec::new(), Vec::new());
    for part in decoded
        .split(['/', '\\'])
        .map(bare)
        .filter(|part| !matches!(*part, "" | "."))
    {
        kept.push(part);
        if part == ".." {
            resolved.pop();
        } else {
            resolved.push(part);
        }
    }
    if may_be_stream(&resolved) || may_be_stream(&kept) {
        Path::Ambiguous
    } else {
        Path::Other
    }
}

/// Whether segments name a streaming endpoint, or something below one.
fn may_be_stream(segments: &[&str]) -> bool {
    matches!(segments, ["api", "v1", "namespaces", _, "pods", _, last, ..] if subresource(last).is_some())
}

fn subresource(segment: &str) -> Option<Subresource> {
    [
        Subresource::Exec,
        Subresource::Attach,
        Subresource::PortForward,
    ]
    .into_iter()
    .find(|subresource| subresource.as_str() == segment)
}

/// Without the parameters that RFC 3986 §3.3 lets a segment have.
fn bare(segment: &str) -> &str {
    segment.split(';').next().unwrap_or_default()
}

/// Decoded until nothing is left to decode: as often as any server behind might.
fn decoded(path: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(path);
    loop {
        let once = percent_decode_str(&text).decode_utf8_lossy().into_owned();
        if once == text {
            return text;
        }
        text = Cow::Owned(once);
    }
}

/// What names of namespaces and pods are made of (RFC 1123).
fn is_name(segment: &str) -> bool {
    let fine = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
    };
    !segment.is_empty() && segment.bytes().all(fine) && !matches!(segment, "." | "..")
}

fn container(query: &str) -> String {
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "container")
        .map_or_else(String::new, |(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_send() {
        let Path::Stream(route) = classify(
            "/api/v1/namespaces/default/pods/web-0/exec",
            "command=id&container=app&stdout=true",
        ) else {
            panic!("a stream");
        };
        assert_eq!(route.subresource, Subresource::Exec);
        assert_eq!(
            (route.namespace.as_str(), route.pod.as_str()),
            ("default", "web-0")
        );
        assert_eq!(route.container, "app");
        for path in [
            "/",
            "/api",
            "/api/v1/pods",
            "/api/v1/namespaces/default/pods/exec",
            "/api/v1/namespaces/default/pods/web-0/log",
            "/api/v1/namespaces/default/pods/exec/log",
            "/api/v1/namespaces/default/pods/web-0/proxy/exec",
            "/api/v1/namespaces/default/services/https:web:443/proxy//a/%2e%2e/b;c",
            "/api/v1/nodes/node1/proxy/exec/default/web-0/app",
            "/apis/apps/v1/namespaces/default/deployments/web",
            "/apis/metrics.k8s.io/v1beta1/nodes",
        ] {
            assert_eq!(classify(path, ""), Path::Other, "{path}");
        }
    }

    #[test]
    fn no_reading_of_a_path_goes_around() {
        for path in [
            "//api/v1/namespaces/default/pods/web-0/exec",
            "/api/v1/namespaces/default/pods/web-0/exec/",
            "/api/v1//namespaces/default/pods/web-0/exec",
            "/api/v1/namespaces/default/pods/web-0/%65xec",
            "/api/v1/namespaces/default/pods/web-0/%2565xec",
            "/api/v1/namespaces/default/pods/web-0%2Fexec",
            "/api/v1/namespaces/default/pods/web-0/./exec",
            "/api/v1/namespaces/default/pods/web-0/log/../exec",
            "/api/v1/namespaces/default/pods/web-0/../web-0/exec",
            "/api/v1/namespaces/default/pods/web-0/log/%2e%2e/exec",
            "/api/v1/namespaces/default/pods/web-0/exec;x",
            "/api/v1/namespaces/default/pods/web-0/exec/x",
            "/api/v1/namespaces/default/pods/Web_0/exec",
            "/api/v1/namespaces/default/pods/%77eb-0/exec",
            "/api\\v1\\namespaces\\default\\pods\\web-0\\exec",
            "/x/../api/v1/namespaces/default/pods/web-0/exec",
            "/%61pi/v1/namespaces/default/pods/web-0/exec",
            "/api/v1/namespaces/default/services/a/proxy/../../../pods/../pods/web-0/exec",
        ] {
            // The last one resolves to …/namespaces/default/pods/web-0/exec.
            assert_eq!(classify(path, ""), Path::Ambiguous, "{path}");
        }
    }
}
