//! What an index of 10,000 roles and 60,000 bindings takes: `cargo run --release -p streamway-rbac
//! --example scale`. Memory is counted by the allocator, so it is exact and of this process only.
#![allow(
    unsafe_code,
    reason = "an allocator cannot be had without; it passes everything on to the system's"
)]
#![allow(clippy::disallowed_methods, reason = "a measurement needs a clock")]
#![allow(clippy::print_stdout)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use streamway_rbac::{Index, Policy, Question, Resource, Who};

const ROLES: usize = 8_000;
const CLUSTER_ROLES: usize = 2_000;
const BINDINGS: usize = 55_000;
const CLUSTER_BINDINGS: usize = 5_000;
const NAMESPACES: usize = 1_000;
const QUERIES: usize = 200_000;

#[global_allocator]
static COUNTING: Counting = Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

fn main() {
    let start = NOW.load(Ordering::Relaxed);
    let (policy, reading) = timed(read);
    let (index, building) = timed(|| Index::new(policy));
    let held = NOW.load(Ordering::Relaxed) - start;
    let peak = PEAK.load(Ordering::Relaxed) - start;
    println!(
        "{} roles, {} bindings",
        ROLES + CLUSTER_ROLES,
        BINDINGS + CLUSTER_BINDINGS
    );
    // The objects themselves are made one by one, and are part of the time.
    println!("read     {reading:?}, with making the objects");
    println!("built    {building:?}");
    println!("memory   {} KiB, at most {} KiB", held / 1024, peak / 1024);

    PEAK.store(NOW.load(Ordering::Relaxed), Ordering::Relaxed);
    let before = NOW.load(Ordering::Relaxed);
    let (findings, analysing) = timed(|| index.findings());
    let needed = PEAK.load(Ordering::Relaxed) - before;
    println!(
        "analysed {analysing:?}: {} findings, at most {} KiB more",
        findings.len(),
        needed / 1024
    );

    let asked: Vec<(Who, [String; 2])> = (0..QUERIES).map(asked).collect();
    let (allowed, asking) = timed(|| {
        let answers = asked.iter().filter(|(who, [namespace, name])| {
            let question = Question::Resource(Resource {
                verb: "create",
                resource: "pods",
                subresource: "exec",
                namespace,
                name,
                ..Resource::default()
            });
            black_box(index.may(who, &question)).is_some()
        });
        answers.count()
    });
    let each = asking.as_nanos() / QUERIES as u128;
    println!("asked    {QUERIES} questions, {allowed} allowed: {each} ns each");
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let made = work();
    (made, start.elapsed())
}

/// Who asks the `n`th question, and for which pod.
fn asked(n: usize) -> (Who, [String; 2]) {
    let namespace = format!("team-{}", spread(n, NAMESPACES));
    let who = if n.is_multiple_of(2) {
        let own = format!("group-{}", spread(n, 500));
        Who::user(&format!("user-{}", spread(n, 20_000)), &[&own, "everybody"])
    } else {
        Who::service_account(&namespace, &format!("account-{}", spread(n, 20)))
    };
    (who, [namespace, format!("pod-{n}")])
}

/// A number below `bound` that jumps about with `n`.
fn spread(n: usize, bound: usize) -> usize {
    n.wrapping_mul(0x9e37_79b9) % 1_000_003 % bound
}

fn read() -> Policy {
    let mut policy = Policy::of_cluster();
    for n in 0..ROLES {
        policy.add_role(&Role {
            metadata: metadata(&format!("role-{n}"), spread(n, NAMESPACES)),
            rules: Some(rules(n)),
        });
    }
    for n in 0..CLUSTER_ROLES {
        policy.add_cluster_role(&ClusterRole {
            metadata: metadata(&format!("role-{n}"), NAMESPACES),
            rules: Some(rules(n)),
            aggregation_rule: None,
        });
    }
    for n in 0..BINDINGS {
        // Half of them to a Role of their namespace, half to a ClusterRole.
        let role = spread(n, ROLES);
        let reference = if n.is_multiple_of(2) {
            reference("Role", role)
        } else {
            reference("ClusterRole", spread(n, CLUSTER_ROLES))
        };
        policy.add_role_binding(&RoleBinding {
            metadata: metadata(&format!("binding-{n}"), spread(role, NAMESPACES)),
            role_ref: reference,
            subjects: Some(subjects(n)),
        });
    }
    for n in 0..CLUSTER_BINDINGS {
        policy.add_cluster_role_binding(&ClusterRoleBinding {
            metadata: metadata(&format!("binding-{n}"), NAMESPACES),
            role_ref: reference("ClusterRole", spread(n, CLUSTER_ROLES)),
            subjects: Some(subjects(n)),
        });
    }
    policy
}

/// Without a namespace for a number that has none.
fn metadata(name: &str, namespace: usize) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: (namespace < NAMESPACES).then(|| format!("team-{namespace}")),
        ..ObjectMeta::default()
    }
}

fn reference(kind: &str, role: usize) -> RoleRef {
    RoleRef {
        api_group: Some("rbac.authorization.k8s.io".to_owned()),
        kind: kind.to_owned(),
        name: format!("role-{role}"),
    }
}

fn subjects(n: usize) -> Vec<Subject> {
    let subject = |kind: &str, name: String, namespace: Option<String>| Subject {
        kind: kind.to_owned(),
        name,
        namespace,
        api_group: None,
    };
    vec![
        subject("User", format!("user-{}", spread(n, 20_000)), None),
        subject("Group", format!("group-{}", spread(n, 500)), None),
        subject(
            "ServiceAccount",
            format!("account-{}", spread(n, 20)),
            Some(format!("team-{}", spread(n, NAMESPACES))),
        ),
    ]
}

/// Four rules: what applications have, and in one role of twenty a stream, or everything to read.
fn rules(n: usize) -> Vec<PolicyRule> {
    let list = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    let rule = |verbs: &[&str], group: &str, resources: &[&str]| PolicyRule {
        verbs: list(verbs),
        api_groups: Some(list(&[group])),
        resources: Some(list(resources)),
        ..PolicyRule::default()
    };
    let read = ["get", "list", "watch"];
    let last = match n % 20 {
        0 => rule(&["create"], "", &["pods/exec"]),
        1 => rule(&["get"], "", &["pods/exec", "pods/attach"]),
        2 => rule(&read, "*", &["*"]),
        3 => rule(&["get", "create"], "", &["pods/exec", "pods/portforward"]),
        _ => rule(&read, "batch", &["jobs", "cronjobs"]),
    };
    let own = format!("widgets-{}", spread(n, 300));
    vec![
        rule(&read, "", &["pods", "services", "configmaps", "secrets"]),
        rule(&["*"], "apps", &["deployments", "statefulsets"]),
        PolicyRule {
            resource_names: Some(vec![format!("settings-{n}")]),
            ..rule(&["get", "update"], "example.com", &[&own])
        },
        last,
    ]
}
