//! Roles and bindings of every shape, each with what is to be found in it: for what looks at RBAC.
#![allow(clippy::indexing_slicing, reason = "of JSON, where it sets a field")]

use serde_json::{Value, json};

/// The namespaces that they are in.
pub const NAMESPACES: [&str; 3] = ["planted-a", "planted-b", "planted-c"];

const API: &str = "rbac.authorization.k8s.io";

/// A shape: whom it is bound to, how, and what of it is to be found.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// What it is called; the names of its roles and bindings begin with it.
    pub name: &'static str,
    /// How it is bound.
    scope: Scope,
    /// Whom it is bound to: `user:NAME`, `group:NAME`, `account:NAMESPACE/NAME`.
    pub subject: &'static str,
    /// Rules with `;` between: `VERBS RESOURCES [@GROUPS] [=NAMES]`, lists with commas. Without groups it
    /// is the core group.
    rules: &'static str,
    /// Ids of the rules that find the subject, with spaces between.
    pub found: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// A ClusterRole, by a ClusterRoleBinding.
    Everywhere,
    /// A ClusterRole, by a RoleBinding in the first namespace.
    Bound,
    /// A Role in the first namespace, by a RoleBinding.
    Own,
    /// The same in the second.
    Other,
    /// A ClusterRole that selects one with these rules, by a ClusterRoleBinding.
    Aggregated,
    /// A ClusterRole that selects one that selects one with these rules, by a ClusterRoleBinding.
    Twice,
    /// Rules that end up in `view`, which is bound in the first namespace.
    View,
    /// A role that nobody has, and bindings to roles that are not there.
    Dangling,
}

use Scope::{Aggregated, Bound, Dangling, Everywhere, Other, Own, Twice, View};

const fn shape(
    name: &'static str,
    scope: Scope,
    subject: &'static str,
    rules: &'static str,
    found: &'static str,
) -> Shape {
    Shape {
        name,
        scope,
        subject,
        rules,
        found,
    }
}

/// All shapes. Several may be for one subject: what is found then is of all of them together, and told
/// with each.
pub const SHAPES: [Shape; 70] = [
    shape(
        "exec-get",
        Everywhere,
        "user:exec-get",
        "get pods/exec",
        "SW001",
    ),
    shape(
        "attach-get",
        Everywhere,
        "user:attach-get",
        "get pods/attach",
        "SW002",
    ),
    shape(
        "forward-get",
        Everywhere,
        "user:forward-get",
        "get pods/portforward",
        "SW003",
    ),
    shape(
        "exec-create",
        Everywhere,
        "user:exec-create",
        "create pods/exec",
        "SW011",
    ),
    shape(
        "attach-create",
        Everywhere,
        "user:attach-create",
        "create pods/attach",
        "SW012",
    ),
    shape(
        "forward-create",
        Everywhere,
        "user:forward-create",
        "create pods/portforward",
        "SW013",
    ),
    shape("both", Everywhere, "user:both", "get,create pods/exec", ""),
    shape(
        "both-by-two-rules",
        Everywhere,
        "user:two-rules",
        "get pods/exec;create pods/exec",
        "",
    ),
    shape(
        "everything",
        Everywhere,
        "user:everything",
        "* * @*",
        "SW022",
    ),
    shape(
        "reader",
        Everywhere,
        "user:reader-of-all",
        "get,list,watch * @*",
        "SW001 SW002 SW003 SW021",
    ),
    shape(
        "reader-of-core",
        Everywhere,
        "user:reader-of-core",
        "get *",
        "SW001 SW002 SW003 SW021",
    ),
    shape(
        "reader-of-apps",
        Everywhere,
        "user:reader-of-apps",
        "get * @apps",
        "",
    ),
    shape(
        "reader-in-one",
        Bound,
        "user:reader-in-one",
        "get,list,watch * @*",
        "SW001 SW002 SW003",
    ),
    shape(
        "any-exec",
        Everywhere,
        "user:any-exec",
        "get */exec",
        "SW001",
    ),
    shape(
        "any-exec-of-any-group",
        Everywhere,
        "user:any-group",
        "get */exec @*",
        "SW001",
    ),
    shape(
        "any-exec-create",
        Everywhere,
        "user:any-exec-create",
        "create */exec",
        "SW011",
    ),
    shape(
        "any-exec-mends",
        Everywhere,
        "user:mended",
        "get pods/exec;create */exec",
        "",
    ),
    shape("any-any", Everywhere, "user:any-any", "get */*", ""),
    shape("pods-any", Everywhere, "user:pods-any", "get pods/*", ""),
    shape(
        "pods-any-create",
        Everywhere,
        "user:pods-any-create",
        "get pods/exec;create pods/*",
        "SW001",
    ),
    shape(
        "pods-only",
        Everywhere,
        "user:pods-only",
        "get,list,watch pods",
        "",
    ),
    shape(
        "pods-log",
        Everywhere,
        "user:pods-log",
        "get pods/log,pods/status",
        "",
    ),
    shape(
        "all-verbs",
        Everywhere,
        "user:all-verbs",
        "* pods/exec,pods/attach,pods/portforward",
        "",
    ),
    shape(
        "wrong-group",
        Everywhere,
        "user:wrong-group",
        "get pods/exec @apps",
        "",
    ),
    shape(
        "several-groups",
        Everywhere,
        "user:several-groups",
        "get pods/exec @apps,-",
        "SW001",
    ),
    shape(
        "wrong-case",
        Everywhere,
        "user:wrong-case",
        "GET pods/exec",
        "",
    ),
    shape(
        "other-verbs",
        Everywhere,
        "user:other-verbs",
        "list,watch,patch,update,delete pods/exec",
        "",
    ),
    shape(
        "two-streams",
        Everywhere,
        "user:two-streams",
        "get,delete pods/exec,pods/attach",
        "SW001 SW002",
    ),
    shape(
        "named",
        Everywhere,
        "user:named",
        "get pods/exec =web",
        "SW001",
    ),
    shape(
        "named-covered",
        Everywhere,
        "user:named-covered",
        "get pods/exec =web;create pods/exec =web,db",
        "SW011",
    ),
    shape(
        "named-in-part",
        Everywhere,
        "user:named-in-part",
        "get pods/exec;create pods/exec =web",
        "SW001",
    ),
    shape(
        "named-apart",
        Everywhere,
        "user:named-apart",
        "get pods/exec =web;create pods/exec =db",
        "SW001 SW011",
    ),
    shape("role", Own, "user:role", "get pods/exec", "SW001"),
    shape(
        "bound",
        Bound,
        "user:bound",
        "get pods/portforward",
        "SW003",
    ),
    shape(
        "bound-nodes",
        Bound,
        "user:bound-nodes",
        "get nodes/proxy",
        "",
    ),
    shape(
        "here-and-there-get",
        Own,
        "user:here-and-there",
        "get pods/exec",
        "SW001 SW011",
    ),
    shape(
        "here-and-there-create",
        Other,
        "user:here-and-there",
        "create pods/exec",
        "SW001 SW011",
    ),
    shape(
        "mended-in-one-get",
        Everywhere,
        "user:mended-in-one",
        "get pods/exec",
        "SW001",
    ),
    shape(
        "mended-in-one-create",
        Own,
        "user:mended-in-one",
        "create pods/exec",
        "SW001",
    ),
    shape(
        "mended-here-get",
        Own,
        "user:mended-here",
        "get pods/attach",
        "",
    ),
    shape(
        "mended-here-create",
        Everywhere,
        "user:mended-here",
        "get,create pods/attach",
        "",
    ),
    shape(
        "same-twice",
        Everywhere,
        "user:same-twice",
        "get pods/exec",
        "SW001",
    ),
    shape(
        "same-again",
        Own,
        "user:same-twice",
        "get pods/exec",
        "SW001",
    ),
    shape(
        "nodes-get",
        Everywhere,
        "user:nodes-get",
        "get nodes/proxy",
        "SW021",
    ),
    shape(
        "nodes-both",
        Everywhere,
        "user:nodes-both",
        "get,create nodes/proxy",
        "SW022",
    ),
    shape(
        "nodes-create",
        Everywhere,
        "user:nodes-create",
        "create nodes/proxy",
        "",
    ),
    shape(
        "nodes-named",
        Everywhere,
        "user:nodes-named",
        "get nodes/proxy =n1",
        "SW021",
    ),
    shape(
        "any-proxy",
        Everywhere,
        "user:any-proxy",
        "get */proxy",
        "SW021",
    ),
    shape(
        "nodes-metrics",
        Everywhere,
        "user:nodes-metrics",
        "get nodes/metrics,nodes/stats,nodes/log",
        "",
    ),
    shape(
        "group",
        Everywhere,
        "group:developers",
        "get pods/exec",
        "SW001",
    ),
    shape(
        "account",
        Own,
        "account:planted-a/runner",
        "get pods/exec",
        "SW001",
    ),
    shape(
        "account-everywhere",
        Everywhere,
        "account:planted-b/runner",
        "get pods/attach",
        "SW002",
    ),
    shape(
        "account-without-namespace",
        Own,
        "account:/local",
        "get pods/exec",
        "SW001",
    ),
    shape(
        "account-as-user",
        Everywhere,
        "user:system:serviceaccount:planted-a:as-user",
        "get pods/exec",
        "SW001",
    ),
    shape(
        "accounts-of-one",
        Everywhere,
        "group:system:serviceaccounts:planted-c",
        "get pods/exec",
        "SW001",
    ),
    shape(
        "account-mended",
        Everywhere,
        "account:planted-c/mended",
        "create pods/exec",
        "",
    ),
    shape(
        "strangers",
        Everywhere,
        "group:system:unauthenticated",
        "get pods/portforward",
        "SW003",
    ),
    shape(
        "masters",
        Everywhere,
        "group:system:masters",
        "get pods/exec",
        "",
    ),
    shape(
        "impersonator",
        Everywhere,
        "user:impersonator",
        "impersonate users,groups",
        "SW031 SW032",
    ),
    shape(
        "impersonator-of-one",
        Everywhere,
        "user:impersonator-of-one",
        "impersonate users =exec-get",
        "SW031",
    ),
    shape(
        "impersonator-of-accounts",
        Own,
        "user:impersonator-of-accounts",
        "impersonate serviceaccounts",
        "SW033",
    ),
    shape(
        "impersonator-who-may",
        Everywhere,
        "user:impersonator-who-may",
        "impersonate users;get,create pods/exec,pods/attach,pods/portforward",
        "",
    ),
    shape(
        "token",
        Own,
        "user:token",
        "create serviceaccounts/token",
        "SW034",
    ),
    shape(
        "escalator",
        Everywhere,
        "user:escalator",
        "escalate,bind roles,clusterroles @rbac.authorization.k8s.io",
        "SW035 SW036 SW037 SW038",
    ),
    shape(
        "aggregated",
        Aggregated,
        "user:aggregated",
        "get pods/exec",
        "SW001",
    ),
    shape(
        "aggregated-both",
        Aggregated,
        "user:aggregated-both",
        "get,create pods/exec",
        "",
    ),
    shape(
        "aggregated-twice",
        Twice,
        "user:aggregated-twice",
        "get pods/attach",
        "SW002",
    ),
    shape("viewers", View, "group:viewers", "get pods/attach", "SW002"),
    shape("dangling", Dangling, "user:dangling", "get pods/exec", ""),
    shape(
        "odd-name",
        Everywhere,
        "user:o'neil <b>&[x](y)",
        "get pods/exec",
        "SW001",
    ),
];

impl Shape {
    /// The objects: the path of each one's collection, and the object.
    pub fn objects(&self) -> Vec<(String, Value)> {
        let [first, second, _] = NAMESPACES;
        let name = self.name;
        let label = |name: &str| format!("planted.streamway.dev/{name}");
        match self.scope {
            Everywhere => vec![self.cluster_role(json!({})), self.cluster_binding(name)],
            Bound => vec![
                self.cluster_role(json!({})),
                self.binding(first, "ClusterRole", name),
            ],
            Own => vec![self.role(first), self.binding(first, "Role", name)],
            Other => vec![self.role(second), self.binding(second, "Role", name)],
            Aggregated => {
                let own = label(name);
                let all = format!("{name}-all");
                vec![
                    self.cluster_role(json!({ &own: "true" })),
                    aggregating(&all, &own, json!({})),
                    self.cluster_binding(&all),
                ]
            }
            Twice => {
                let (own, more) = (label(name), label(&format!("{name}-more")));
                let (middle, all) = (format!("{name}-middle"), format!("{name}-all"));
                vec![
                    self.cluster_role(json!({ &own: "true" })),
                    aggregating(&middle, &own, json!({ &more: "true" })),
                    aggregating(&all, &more, json!({})),
                    self.cluster_binding(&all),
                ]
            }
            View => vec![
                self.cluster_role(json!({format!("{API}/aggregate-to-view"): "true"})),
                self.binding(first, "ClusterRole", "view"),
            ],
            Dangling => vec![
                self.role(second),
                self.binding(first, "Role", name),
                self.binding(second, "ClusterRole", name),
                self.cluster_binding(name),
            ],
        }
    }

    fn cluster_role(&self, labels: Value) -> (String, Value) {
        let metadata = json!({"name": self.name, "labels": labels});
        let role = object("ClusterRole", metadata, json!({"rules": self.rules()}));
        (collection("clusterroles", ""), role)
    }

    fn role(&self, namespace: &str) -> (String, Value) {
        let metadata = json!({"name": self.name, "namespace": namespace});
        let role = object("Role", metadata, json!({"rules": self.rules()}));
        (collection("roles", namespace), role)
    }

    fn cluster_binding(&self, role: &str) -> (String, Value) {
        let rest = json!({
            "roleRef": {"apiGroup": API, "kind": "ClusterRole", "name": role},
            "subjects": [self.subject()],
        });
        let binding = object("ClusterRoleBinding", json!({"name": self.name}), rest);
        (collection("clusterrolebindings", ""), binding)
    }

    fn binding(&self, namespace: &str, kind: &str, role: &str) -> (String, Value) {
        let rest = json!({
            "roleRef": {"apiGroup": API, "kind": kind, "name": role},
            "subjects": [self.subject()],
        });
        let metadata = json!({"name": self.name, "namespace": namespace});
        let binding = object("RoleBinding", metadata, rest);
        (collection("rolebindings", namespace), binding)
    }

    fn subject(&self) -> Value {
        let (kind, name) = self.subject.split_once(':').unwrap_or_default();
        let named = |kind: &str| json!({"apiGroup": API, "kind": kind, "name": name});
        match kind {
            "user" => named("User"),
            "group" => named("Group"),
            _ => {
                let (namespace, name) = name.split_once('/').unwrap_or_default();
                let mut account = json!({"kind": "ServiceAccount", "name": name});
                if !namespace.is_empty() {
                    account["namespace"] = json!(namespace);
                }
                account
            }
        }
    }

    fn rules(&self) -> Vec<Value> {
        let list = |text: &str| {
            let items = text.split(',');
            let items = items.map(|item| if item == "-" { "" } else { item }.to_owned());
            items.collect::<Vec<String>>()
        };
        let rules = self.rules.split(';').map(|rule| {
            let mut words = rule.split(' ');
            let verbs = list(words.next().unwrap_or_default());
            let resources = list(words.next().unwrap_or_default());
            let mut rule = json!({"verbs": verbs, "apiGroups": [""], "resources": resources});
            for word in words {
                match word.split_at_checked(1) {
                    Some(("@", groups)) => rule["apiGroups"] = json!(list(groups)),
                    Some(("=", names)) => rule["resourceNames"] = json!(list(names)),
                    _ => {}
                }
            }
            rule
        });
        rules.collect()
    }

    /// The subject as reports show it: `User jane`, `ServiceAccount a/b`.
    pub fn shown(&self) -> String {
        let (kind, name) = self.subject.split_once(':').unwrap_or_default();
        match (kind, name.strip_prefix("system:serviceaccount:")) {
            ("user", Some(account)) => format!("ServiceAccount {}", account.replace(':', "/")),
            ("user", None) => format!("User {name}"),
            ("group", _) => format!("Group {name}"),
            // A binding's own namespace.
            _ if name.starts_with('/') => format!("ServiceAccount {}{name}", NAMESPACES[0]),
            _ => format!("ServiceAccount {name}"),
        }
    }
}

fn aggregating(name: &str, label: &str, labels: Value) -> (String, Value) {
    let selectors = json!([{"matchLabels": {label: "true"}}]);
    let rest = json!({"aggregationRule": {"clusterRoleSelectors": selectors}, "rules": []});
    let role = object("ClusterRole", json!({"name": name, "labels": labels}), rest);
    (collection("clusterroles", ""), role)
}

fn object(kind: &str, metadata: Value, rest: Value) -> Value {
    let mut object = json!({"apiVersion": format!("{API}/v1"), "kind": kind, "metadata": metadata});
    if let (Value::Object(object), Value::Object(rest)) = (&mut object, rest) {
        object.extend(rest);
    }
    object
}

fn collection(kind: &str, namespace: &str) -> String {
    match namespace {
        "" => format!("/apis/{API}/v1/{kind}"),
        namespace => format!("/apis/{API}/v1/namespaces/{namespace}/{kind}"),
    }
}
