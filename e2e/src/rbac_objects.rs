//! Tens of thousands of roles and bindings, in a real API server.

use anyhow::{Context, Result, ensure};
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::httpclient::{HttpClient, Speaks};

/// The path and the body of one of so many.
type Object = fn(Size, usize) -> (String, Value);

/// How many there are of what.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Roles.
    pub roles: usize,
    /// ClusterRoles.
    pub cluster_roles: usize,
    /// RoleBindings.
    pub bindings: usize,
    /// ClusterRoleBindings.
    pub cluster_bindings: usize,
    /// Namespaces that they are in.
    pub namespaces: usize,
}

impl Size {
    /// 10,000 roles and 60,000 bindings, as of a large organisation.
    pub const LARGE: Self = Self {
        roles: 8_000,
        cluster_roles: 2_000,
        bindings: 55_000,
        cluster_bindings: 5_000,
        namespaces: 1_000,
    };

    /// A fiftieth of that.
    pub const SMALL: Self = Self {
        roles: 160,
        cluster_roles: 40,
        bindings: 1_100,
        cluster_bindings: 100,
        namespaces: 20,
    };
}

/// Requests that are under way at once: an API server and an etcd on two cores take no more.
const AT_ONCE: usize = 24;
const BASE: &str = "/apis/rbac.authorization.k8s.io/v1";
const GROUP: &str = "rbac.authorization.k8s.io";

/// Creates them, as the administrator; they are the same each time. One role of ten gives `get` or
/// `create` alone on a stream.
pub async fn create(cluster: &Cluster, size: Size) -> Result<()> {
    let url = cluster.url();
    let address = url.strip_prefix("https://").context("no https")?;
    // Roles before what refers to them, namespaces before what is in them.
    let parts: [(usize, Object); 5] = [
        (size.namespaces, namespace),
        (size.roles, role),
        (size.cluster_roles, cluster_role),
        (size.bindings, binding),
        (size.cluster_bindings, cluster_binding),
    ];
    for (count, object) in parts {
        let workers = (0..AT_ONCE).map(async |worker| {
            let mut client = HttpClient::connect(address, Speaks::Http2, None).await?;
            for number in (worker..count).step_by(AT_ONCE) {
                let (path, body) = object(size, number);
                post(&mut client, &path, &body).await?;
            }
            anyhow::Ok(())
        });
        futures_util::future::try_join_all(workers).await?;
    }
    Ok(())
}

async fn post(client: &mut HttpClient, path: &str, body: &Value) -> Result<()> {
    let token = format!("Bearer {}", Cluster::token("admin"));
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("authorization", token)
        .header("content-type", "application/json")
        .body(Full::from(body.to_string()))?;
    let answer = client.whole(request).await?;
    let text = String::from_utf8_lossy(&answer.body);
    ensure!(answer.status.is_success(), "{path}: {text}");
    Ok(())
}

fn namespace(_: Size, number: usize) -> (String, Value) {
    let body = json!({"metadata": {"name": format!("team-{number}")}});
    ("/api/v1/namespaces".to_owned(), body)
}

fn role(size: Size, number: usize) -> (String, Value) {
    let namespace = spread(number, size.namespaces);
    let path = format!("{BASE}/namespaces/team-{namespace}/roles");
    let body = json!({"metadata": {"name": format!("role-{number}")}, "rules": rules(number)});
    (path, body)
}

fn cluster_role(_: Size, number: usize) -> (String, Value) {
    let body = json!({"metadata": {"name": format!("role-{number}")}, "rules": rules(number)});
    (format!("{BASE}/clusterroles"), body)
}

fn binding(size: Size, number: usize) -> (String, Value) {
    // Half of them to a Role of their namespace, half to a ClusterRole.
    let role = spread(number, size.roles);
    let namespace = spread(role, size.namespaces);
    let (kind, role) = if number.is_multiple_of(2) {
        ("Role", role)
    } else {
        ("ClusterRole", spread(number, size.cluster_roles))
    };
    let path = format!("{BASE}/namespaces/team-{namespace}/rolebindings");
    (path, bound(size, number, kind, role))
}

fn cluster_binding(size: Size, number: usize) -> (String, Value) {
    let role = spread(number, size.cluster_roles);
    (
        format!("{BASE}/clusterrolebindings"),
        bound(size, number, "ClusterRole", role),
    )
}

fn bound(size: Size, number: usize, kind: &str, role: usize) -> Value {
    let namespace = format!("team-{}", spread(number, size.namespaces));
    json!({
        "metadata": {"name": format!("binding-{number}")},
        "roleRef": {"apiGroup": GROUP, "kind": kind, "name": format!("role-{role}")},
        "subjects": [
            {"kind": "User", "apiGroup": GROUP, "name": format!("user-{}", spread(number, 20_000))},
            {"kind": "Group", "apiGroup": GROUP, "name": format!("group-{}", spread(number, 500))},
            {"kind": "ServiceAccount", "name": format!("account-{}", spread(number, 20)),
             "namespace": namespace},
        ],
    })
}

/// Four rules: what applications have, and in one role of five a stream, or everything to read.
fn rules(number: usize) -> Value {
    let read = ["get", "list", "watch"];
    let last = match number % 20 {
        0 => json!({"verbs": ["create"], "apiGroups": [""], "resources": ["pods/exec"]}),
        1 => {
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods/exec", "pods/attach"]})
        }
        2 => json!({"verbs": read, "apiGroups": ["*"], "resources": ["*"]}),
        3 => json!({"verbs": ["get", "create"], "apiGroups": [""], "resources": ["pods/exec"]}),
        _ => json!({"verbs": read, "apiGroups": ["batch"], "resources": ["jobs", "cronjobs"]}),
    };
    json!([
        {"verbs": read, "apiGroups": [""], "resources": ["pods", "services", "configmaps", "secrets"]},
        {"verbs": ["*"], "apiGroups": ["apps"], "resources": ["deployments", "statefulsets"]},
        {"verbs": ["get", "update"], "apiGroups": ["example.com"],
         "resources": [format!("widgets-{}", spread(number, 300))],
         "resourceNames": [format!("settings-{number}")]},
        last,
    ])
}

/// A number below `bound` that jumps about with `number`.
fn spread(number: usize, bound: usize) -> usize {
    number.wrapping_mul(0x9e37_79b9) % 1_000_003 % bound
}
