//! Lists in pages, from an API server that knows no protobuf and forgets its pages: a fake, since a real one
//! does neither on demand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[allow(dead_code, reason = "other tests use the rest")]
mod run;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use run::Place;
use serde_json::{Value, json};

/// What is answered to a path and query; 404 where there is nothing.
type Answers = fn(&str) -> Option<(u16, Value)>;

/// A server until the test ends, and a kubeconfig for it.
fn serve(place: &Place, answers: Answers) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            // One that the client drops ends its thread.
            std::thread::spawn(move || answer(connection, answers).ok());
        }
    });
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "fake",
        "clusters": [{"name": "fake", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "fake", "user": {}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
    });
    place.write("kubeconfig", &config.to_string());
}

fn answer(mut connection: TcpStream, answers: Answers) -> std::io::Result<()> {
    let mut lines = BufReader::new(connection.try_clone()?).lines();
    while let Some(first) = lines.next().transpose()? {
        while lines
            .next()
            .transpose()?
            .is_some_and(|line| !line.is_empty())
        {}
        let path = first.split(' ').nth(1).unwrap_or_default();
        let missing = || (404, status(404, "NotFound", ""));
        let (code, body) = answers(path).unwrap_or_else(missing);
        let body = body.to_string();
        write!(
            connection,
            "HTTP/1.1 {code} x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
    }
    Ok(())
}

fn status(code: u16, reason: &str, resume: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code,
        "message": format!("it is {reason}"), "metadata": {"continue": resume}})
}

fn list(kind: &str, next: &str, items: &[Value]) -> Value {
    json!({"kind": format!("{kind}List"), "apiVersion": "rbac.authorization.k8s.io/v1",
        "metadata": {"resourceVersion": "7", "continue": next}, "items": items})
}

fn role() -> Value {
    json!({"metadata": {"name": "reader"},
        "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods/exec"]}]})
}

fn binding(user: &str) -> Value {
    json!({"metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]})
}

/// Bindings in three pages, of which the second is forgotten and offered anew.
fn forgets(path: &str) -> Option<(u16, Value)> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let page = query
        .split('&')
        .find_map(|part| part.strip_prefix("continue="))
        .unwrap_or_default();
    let kind = path.strip_prefix("/apis/rbac.authorization.k8s.io/v1/");
    Some(match (path, kind, page) {
        ("/version", ..) => (200, json!({"gitVersion": "v1.34.4"})),
        (_, Some("roles"), _) => (200, list("Role", "", &[])),
        (_, Some("rolebindings"), _) => (200, list("RoleBinding", "", &[])),
        (_, Some("clusterroles"), _) => (200, list("ClusterRole", "", &[role()])),
        (_, Some("clusterrolebindings"), "") => {
            (200, list("ClusterRoleBinding", "second", &[binding("a")]))
        }
        (_, Some("clusterrolebindings"), "second") => (410, status(410, "Expired", "anew")),
        (_, Some("clusterrolebindings"), "anew") => {
            (200, list("ClusterRoleBinding", "third", &[binding("b")]))
        }
        (_, Some("clusterrolebindings"), "third") => {
            (200, list("ClusterRoleBinding", "", &[binding("c")]))
        }
        _ => return None,
    })
}

/// The same, and the rest is not offered.
fn forgets_for_good(path: &str) -> Option<(u16, Value)> {
    match path.contains("continue=anew") || path.contains("continue=second") {
        true => Some((410, status(410, "Expired", ""))),
        false => forgets(path),
    }
}

#[test]
fn a_page_that_is_forgotten_is_asked_for_as_the_server_says() {
    let place = Place::new();
    serve(&place, forgets);
    let ended = place.run("audit --kubeconfig kubeconfig -o json");
    assert_eq!(ended.code, 1, "{ended:?}");
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let names: Vec<_> = findings
        .iter()
        .map(|own| own["subject"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(report["complete"], true);
    assert_eq!(report["source"]["bindings"], 3);
}

#[test]
fn a_list_that_cannot_go_on_is_not_taken_for_whole() {
    let place = Place::new();
    serve(&place, forgets_for_good);
    let ended = place.run("audit --kubeconfig kubeconfig -o json");
    assert_eq!(ended.code, 2, "{ended:?}");
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["complete"], false);
    let told = ended
        .stderr
        .contains("clusterrolebindings cannot be listed");
    assert!(
        told && ended.stderr.contains("it is Expired"),
        "{}",
        ended.stderr
    );
}
