//! A world of roles, bindings and questions in which much matches, and much nearly does.

use serde_json::{Value, json};
use streamway_rbac::{Question, Resource, Who};

use super::random::Random;

pub(crate) const NAMESPACES: [&str; 6] = ["t0", "t1", "t2", "t3", "t4", "t5"];
const API: &str = "rbac.authorization.k8s.io";
const CLUSTER_ROLES: usize = 80;
const ROLES: usize = 10;
const CLUSTER_BINDINGS: usize = 50;
const BINDINGS: usize = 25;

const RULE_VERBS: [&str; 10] = [
    "get",
    "get",
    "create",
    "list",
    "watch",
    "deletecollection",
    "*",
    "impersonate",
    "bind",
    "ge*",
];
const RULE_GROUPS: [&str; 6] = ["", "", "apps", "*", API, "example.com"];
const RULE_RESOURCES: [&str; 20] = [
    "pods",
    "pods/exec",
    "pods/attach",
    "pods/portforward",
    "pods/*",
    "*/exec",
    "*/*",
    "*",
    "nodes",
    "nodes/proxy",
    "*/proxy",
    "deployments",
    "deployments/scale",
    "*/scale",
    "users",
    "serviceaccounts",
    "serviceaccounts/token",
    "clusterroles",
    "widgets",
    "pod*",
];
const RULE_URLS: [&str; 9] = [
    "*",
    "/metrics",
    "/truth",
    "/truth/*",
    "/truth*",
    "/truth/a/b",
    "/tr**",
    "/*/a",
    "/truth/a*",
];
const LABELS: [&str; 4] = ["l0", "l1", "l2", "l3"];
const USERS: [&str; 5] = [
    "u0",
    "u1",
    "u2",
    "system:anonymous",
    "system:serviceaccount:t0:a0",
];
const GROUPS: [&str; 8] = [
    "g0",
    "g1",
    "g2",
    "system:authenticated",
    "system:unauthenticated",
    "system:serviceaccounts",
    "system:serviceaccounts:t0",
    "system:serviceaccounts:t1",
];

fn rule(random: &mut Random, urls: bool) -> Value {
    let verbs = random.some(&RULE_VERBS);
    if urls && random.once_in(6) {
        return json!({"verbs": verbs, "nonResourceURLs": random.some(&RULE_URLS)});
    }
    let mut rule = json!({
        "verbs": verbs,
        "apiGroups": random.some(&RULE_GROUPS),
        "resources": random.some(&RULE_RESOURCES),
    });
    if random.once_in(3) {
        rule["resourceNames"] = json!(random.some(&["x", "y", "*", ""]));
    }
    rule
}

fn rules(random: &mut Random, urls: bool) -> Vec<Value> {
    (0..=random.below(3)).map(|_| rule(random, urls)).collect()
}

fn selector(random: &mut Random) -> Value {
    let label = random.of(&LABELS);
    let expression = |operator, values: &[&str]| json!({"matchExpressions": [{"key": label, "operator": operator, "values": values}]});
    match random.below(4) {
        0 => expression("In", &["a", "b"]),
        // All but those with the label would be nearly everything.
        1 => json!({
            "matchLabels": {label: "a"},
            "matchExpressions": [{"key": "l0", "operator": "NotIn", "values": ["a"]}],
        }),
        2 => json!({
            "matchLabels": {label: "b"},
            "matchExpressions": [{"key": "l1", "operator": "DoesNotExist"}],
        }),
        _ => json!({"matchLabels": {label: random.of(&["a", "b"])}}),
    }
}

fn cluster_role(random: &mut Random, name: &str) -> Value {
    let mut role = json!({"metadata": {"name": name, "labels": {}}});
    if random.once_in(3) {
        let label = random.of(&LABELS);
        role["metadata"]["labels"][label] = json!(random.of(&["a", "b", "c"]));
    }
    if random.once_in(6) {
        let selectors: Vec<Value> = (0..=random.below(2)).map(|_| selector(random)).collect();
        role["aggregationRule"] = json!({"clusterRoleSelectors": selectors});
    } else {
        role["rules"] = json!(rules(random, true));
    }
    role
}

fn subject(random: &mut Random, namespaced: bool) -> Value {
    match random.below(3) {
        0 => json!({"kind": "User", "apiGroup": API, "name": random.of(&USERS)}),
        1 => json!({"kind": "Group", "apiGroup": API, "name": random.of(&GROUPS)}),
        _ => {
            let name = random.of(&["a0", "a1"]);
            let mut subject = json!({"kind": "ServiceAccount", "name": name});
            if !namespaced || random.once_in(2) {
                subject["namespace"] = json!(random.of(&NAMESPACES[..3]));
            }
            subject
        }
    }
}

fn subjects(random: &mut Random, namespaced: bool) -> Vec<Value> {
    (0..=random.below(2))
        .map(|_| subject(random, namespaced))
        .collect()
}

/// A reference to one of the roles, or at times to one that is not there.
fn reference(random: &mut Random, kind: &str, count: usize) -> Value {
    let name = format!(
        "{}{}",
        kind.to_lowercase(),
        random.below(count + count / 10)
    );
    json!({"apiGroup": API, "kind": kind, "name": name})
}

/// All objects: the path of each one's collection, and the object.
pub(crate) fn objects(random: &mut Random) -> Vec<(String, Value)> {
    let base = format!("/apis/{API}/v1");
    let mut objects = Vec::new();
    for place in 0..CLUSTER_ROLES {
        let role = cluster_role(random, &format!("clusterrole{place}"));
        objects.push((format!("{base}/clusterroles"), role));
    }
    for place in 0..CLUSTER_BINDINGS {
        let binding = json!({
            "metadata": {"name": format!("binding{place}")},
            "roleRef": reference(random, "ClusterRole", CLUSTER_ROLES),
            "subjects": subjects(random, false),
        });
        objects.push((format!("{base}/clusterrolebindings"), binding));
    }
    for namespace in NAMESPACES {
        let base = format!("{base}/namespaces/{namespace}");
        for place in 0..ROLES {
            let metadata = json!({"name": format!("role{place}")});
            let role = json!({"metadata": metadata, "rules": rules(random, false)});
            objects.push((format!("{base}/roles"), role));
        }
        for place in 0..BINDINGS {
            let role = if random.once_in(2) {
                reference(random, "Role", ROLES)
            } else {
                reference(random, "ClusterRole", CLUSTER_ROLES)
            };
            let binding = json!({
                "metadata": {"name": format!("binding{place}")},
                "roleRef": role,
                "subjects": subjects(random, true),
            });
            objects.push((format!("{base}/rolebindings"), binding));
        }
    }
    objects
}

/// Who could ask; at times without the groups that Kubernetes would add.
pub(crate) fn who(random: &mut Random) -> Who {
    let namespace = random.of(&NAMESPACES[..3]);
    let name = random.of(&["u0", "u1", "u2", "stranger"]);
    let groups: Vec<&str> = (0..random.below(3))
        .map(|_| random.of(&["g0", "g1", "g2", "g3"]))
        .collect();
    match random.below(8) {
        0 => Who::anonymous(),
        1 => Who::exactly(name, &groups),
        2..=4 => Who::service_account(namespace, random.of(&["a0", "a1", "a2"])),
        _ => Who::user(name, &groups),
    }
}

/// What could be asked, as clients would and as nobody does.
pub(crate) fn question(random: &mut Random) -> Question<'static> {
    let verb = random.of(&[
        "get",
        "get",
        "create",
        "create",
        "list",
        "watch",
        "impersonate",
        "*",
    ]);
    if random.once_in(8) {
        let path = random.of(&[
            "/metrics",
            "/truth",
            "/truth/",
            "/truth/a",
            "/truth/a/b",
            "/tr",
            "/x/a",
            "/*/a",
        ]);
        return Question::Url { verb, path };
    }
    let &(resource, subresource) = random.of(&[
        &("pods", ""),
        &("pods", "exec"),
        &("pods", "exec"),
        &("pods", "attach"),
        &("pods", "portforward"),
        &("pods", "*"),
        &("nodes", "proxy"),
        &("deployments", "scale"),
        &("users", ""),
        &("serviceaccounts", "token"),
        &("clusterroles", ""),
        &("widgets", "exec"),
        &("pods/exec", ""),
        &("*", ""),
        &("unknown", ""),
    ]);
    Question::Resource(Resource {
        verb,
        group: random.of(&["", "", "", "apps", API, "*", "unknown.io"]),
        resource,
        subresource,
        namespace: random.of(&["", "t0", "t0", "t1", "t2", "t3", "t4", "t5", "unknown"]),
        name: random.of(&["", "x", "y", "z"]),
    })
}
