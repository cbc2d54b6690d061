//! Paths that only have one reading.
//!
//! A request is authorized by its path and then handed to a kubelet, which decodes and cleans paths
//! before it routes them. A path for which that could make a difference is refused: kubelets' own
//! clients send none.

/// Whether a path is read here as a kubelet reads it.
pub(crate) fn is_clean(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b';');
    if !path.starts_with('/') || !path.bytes().all(plain) {
        return false;
    }
    // Names of files in /logs may hold any character; the other endpoints' paths need no escapes.
    if path.contains('%') && !(path.starts_with("/logs/") && escapes_are_harmless(path)) {
        return false;
    }
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if matches!(segment, "." | "..") || segment.is_empty() && !last {
            return false;
        }
    }
    true
}

/// No escape stands for a separator, a dot, a control character or an escape.
fn escapes_are_harmless(path: &str) -> bool {
    path.split('%').skip(1).all(|rest| {
        let byte = rest
            .get(..2)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        byte.is_some_and(|byte| {
            !byte.is_ascii_control() && !matches!(byte, b'/' | b'\\' | b'.' | b'%' | b';')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubelets_clients_send_is_clean() {
        for path in [
            "/",
            "/metrics",
            "/metrics/cadvisor",
            "/stats/summary",
            "/pods",
            "/runningpods/",
            "/logs/",
            "/logs/pods/a_b_c/0.log",
            "/logs/a%20b.log",
            "/containerLogs/ns/pod/c",
            "/exec/ns/pod/c",
            "/exec/ns/pod/00000000-0000-0000-0000-000000000000/c",
            "/debug/pprof/heap",
        ] {
            assert!(is_clean(path), "{path}");
        }
    }

    #[test]
    fn what_could_be_read_twice_is_not() {
        for path in [
            "",
            "*",
            "exec/ns/pod/c",
            "//exec/ns/pod/c",
            "/exec//pod/c",
            "/metrics/../exec/ns/pod/c",
            "/metrics/./exec",
            "/metrics/..",
            "/%65xec/ns/pod/c",
            "/metrics/%2e%2e/exec/ns/pod/c",
            "/logs/%2e%2e/exec/ns/pod/c",
            "/logs/..%2fexec",
            "/logs/%252e%252e/exec",
            "/logs/%5c",
            "/logs/%zz",
            "/logs/%",
            "/exec;x/ns/pod/c",
            "/metrics\\..\\exec",
            "/metrics/ exec",
            "/metrics/é",
        ] {
            assert!(!is_clean(path), "{path}");
        }
    }
}
