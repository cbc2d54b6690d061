//! Any bytes as a manifest, alone and between two that are sound.

use streamway_audit::manifests::Manifests;

const BEFORE: &[u8] = b"---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: before the fuzzer}
---
";
const AFTER: &[u8] = b"
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: behind the fuzzer}
";

/// Whatever stands between them, both neighbours are read.
pub(crate) fn run(data: &[u8]) {
    let alone = read(data);
    let between = read(&[BEFORE, data, AFTER].concat());
    assert!(between.objects() >= 2, "{:?}", between.problems().next());
    for problem in alone.problems() {
        let lines = data
            .iter()
            .filter(|&&byte| byte == b'\n' || byte == b'\r')
            .count();
        assert!(problem.place.line as usize <= lines + 1, "{problem}");
    }
}

fn read(data: &[u8]) -> Manifests {
    let mut manifests = Manifests::default();
    manifests.read("fuzz", data).expect("memory can be read");
    manifests
}
