//! Which of the kubelet's endpoints a path is:
//!
//! - `/exec/{namespace}/{pod}[/{uid}]/{container}`, and the same with `attach`
//! - `/portForward/{namespace}/{pod}[/{uid}]`
//!
//! Source: `k8s.io/kubernetes@v1.36.3/pkg/kubelet/server/server.go`, `InstallDebuggingHandlers`.

use crate::route::{Route, Subresource};

/// The streaming endpoint that `path` is; `None` for every other path. Paths are matched as they
/// stand: the authorizer refuses those that a kubelet might read otherwise.
pub(super) fn of(path: &str) -> Option<Route> {
    let mut segments = path.strip_prefix('/')?.split('/');
    let subresource = match segments.next()? {
        "exec" => Subresource::Exec,
        "attach" => Subresource::Attach,
        "portForward" => Subresource::PortForward,
        _ => return None,
    };
    let rest: Vec<&str> = segments.collect();
    let (namespace, pod, container) = match (subresource, rest.as_slice()) {
        (Subresource::PortForward, [namespace, pod] | [namespace, pod, _]) => (namespace, pod, ""),
        (Subresource::PortForward, _) => return None,
        (_, [namespace, pod, container] | [namespace, pod, _, container]) => {
            (namespace, pod, *container)
        }
        _ => return None,
    };
    if namespace.is_empty() || pod.is_empty() {
        return None;
    }
    Some(Route {
        subresource,
        namespace: (*namespace).to_owned(),
        pod: (*pod).to_owned(),
        container: container.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubelets_paths() {
        let route = |path| of(path).map(|r| (r.subresource, r.namespace, r.pod, r.container));
        let is = |s, n: &str, p: &str, c: &str| Some((s, n.into(), p.into(), c.into()));
        assert_eq!(
            route("/exec/ns/pod/c"),
            is(Subresource::Exec, "ns", "pod", "c")
        );
        assert_eq!(
            route("/exec/ns/pod/uid/c"),
            is(Subresource::Exec, "ns", "pod", "c")
        );
        assert_eq!(
            route("/attach/ns/pod/c"),
            is(Subresource::Attach, "ns", "pod", "c")
        );
        assert_eq!(
            route("/portForward/ns/pod"),
            is(Subresource::PortForward, "ns", "pod", "")
        );
        assert_eq!(
            route("/portForward/ns/pod/uid"),
            is(Subresource::PortForward, "ns", "pod", "")
        );
        for other in [
            "/",
            "/exec",
            "/exec/ns/pod",
            "/exec/ns/pod/u/c/x",
            "/run/ns/pod/c",
            "/portforward/ns/pod",
            "/Exec/ns/pod/c",
            "/exec//pod/c",
            "/metrics",
        ] {
            assert_eq!(route(other), None, "{other}");
        }
    }
}
