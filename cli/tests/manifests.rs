//! `audit -f`: what a pipeline relies on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod run;

use run::{Place, reader};
use serde_json::Value;

/// Kinds of findings that `reader` comes to: exec, attach, portforward, nodes/proxy.
const EACH: usize = 4;

fn findings(report: &str) -> Vec<Value> {
    let report: Value = serde_json::from_str(report).unwrap();
    report["findings"].as_array().unwrap().clone()
}

#[test]
fn exit_codes() {
    let place = Place::new();
    place.write("roles.yaml", &reader(&["jane"]));
    place.write("empty.yaml", "");
    place.write(
        "broken.yaml",
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: [",
    );
    for (words, code) in [
        ("audit -f roles.yaml", 1),
        ("audit -f roles.yaml --server-version 1.34", 1),
        // nodes/proxy is open on every version.
        ("audit -f roles.yaml --server-version 1.36", 1),
        (
            "audit -f roles.yaml --server-version 1.36 --kind get-without-create-exec",
            0,
        ),
        (
            "audit -f roles.yaml --server-version 1.36 --kind get-without-create-exec --fail-on low",
            1,
        ),
        (
            "audit -f roles.yaml --server-version 1.36 --kind get-without-create-exec \
             --feature-gates AuthorizePodWebsocketUpgradeCreatePermission=false",
            1,
        ),
        ("audit -f roles.yaml --fail-on critical", 0),
        ("audit -f roles.yaml --fail-on never", 0),
        // Not shown, and there.
        ("audit -f roles.yaml --severity critical", 1),
        ("audit -f roles.yaml --subject bob", 0),
        ("audit -f empty.yaml", 0),
        ("audit -f broken.yaml", 2),
        ("audit -f broken.yaml -f roles.yaml --fail-on never", 2),
        ("audit -f nothing.yaml", 2),
        ("audit --from roles.yaml", 2),
        ("audit -f roles.yaml --baseline empty.yaml", 2),
        ("audit -f roles.yaml --verify", 2),
        ("audit -f roles.yaml --severity bad", 2),
        ("audit -f roles.yaml --kind exec", 2),
        ("audit -f roles.yaml --write-baseline new.yaml", 2),
        ("audit -f roles.yaml --output-file no/such/folder", 2),
    ] {
        let ended = place.run(words);
        assert_eq!(ended.code, code, "{words}: {ended:?}");
    }
}

#[test]
fn the_table_says_who_what_where() {
    let place = Place::new();
    place.write("deploy/roles.yaml", &reader(&["jane", "evil\\e[2Jname"]));
    let ended = place.run("audit -f deploy --server-version 1.34");
    let rows: Vec<_> = ended.stdout.lines().collect();
    assert!(rows[0].starts_with("SEVERITY   RULE"), "{}", ended.stdout);
    let jane = rows
        .iter()
        .find(|row| row.contains("SW001") && row.contains("User jane"));
    let jane = jane.expect("a row");
    for word in [
        "high",
        "everywhere",
        "exploitable now",
        "deploy/roles.yaml:6",
    ] {
        assert!(jane.contains(word), "{word}: {jane}");
    }
    assert!(
        ended
            .stdout
            .contains("API server 1.34: does not ask for create")
    );
    assert!(
        ended.stdout.contains("6 high, 2 medium"),
        "{}",
        ended.stdout
    );
    // Nothing in it controls a terminal.
    assert!(!ended.stdout.contains('\x1b'), "{:?}", ended.stdout);
    assert!(
        ended.stdout.contains("evil\\u{1b}[2Jname"),
        "{}",
        ended.stdout
    );

    let wide = place
        .run("audit -f deploy --server-version 1.34 -o wide")
        .stdout;
    let path = "ClusterRoleBinding readers → ClusterRole reader → rule 1";
    assert!(
        wide.contains(path) && wide.contains("FINGERPRINT"),
        "{wide}"
    );
}

#[test]
fn json_and_yaml_are_the_same_report() {
    let place = Place::new();
    place.write("roles.yaml", &reader(&["jane"]));
    let json = place.run("audit -f roles.yaml -o json");
    let yaml = place.run("audit -f roles.yaml -o yaml");
    let report: Value = serde_json::from_str(&json.stdout).unwrap();
    let other: Value = serde_saphyr::from_str(&yaml.stdout).unwrap();
    assert_eq!(report, other);
    assert_eq!(report["apiVersion"], "audit.streamway.dev/v1");
    let findings = findings(&json.stdout);
    assert_eq!(findings.len(), EACH);
    let path = &findings[0]["paths"][0];
    assert_eq!(path["ruleLocation"]["file"], "roles.yaml");
    assert_eq!(path["ruleLocation"]["line"], 6);
    assert_eq!(path["bindingLocation"]["line"], 19);
    // The same to a file, and nothing else is printed.
    let sarif = place.run("audit -f roles.yaml -o sarif");
    let log: Value = serde_json::from_str(&sarif.stdout).unwrap();
    let results = log["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), EACH);
    let at = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(at["artifactLocation"]["uri"], "roles.yaml");
    assert!(at["region"]["startLine"].is_u64(), "{at}");
    let page = place.run("audit -f roles.yaml -o html");
    assert!(
        page.stdout.starts_with("<!doctype html>"),
        "{}",
        page.stdout
    );
    assert!(page.stdout.contains("jane"), "{}", page.stdout);
    let file = place.run("audit -f roles.yaml -o json --output-file report.json");
    assert_eq!(
        (file.stdout.as_str(), place.read("report.json")),
        ("", json.stdout)
    );
}

#[test]
fn broken_documents_are_told_by_file_and_line() {
    let place = Place::new();
    let text = format!(
        "{}---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nrules: {{\n",
        reader(&["jane"])
    );
    let ended = place.run_with("audit -f - -o json", text.as_bytes());
    assert_eq!(ended.code, 2);
    assert_eq!(findings(&ended.stdout).len(), EACH);
    assert!(ended.stderr.contains("incomplete: -:2"), "{}", ended.stderr);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["complete"], false);
    assert_eq!(report["warnings"][0]["location"]["file"], "-");
}

#[test]
fn a_hundred_thousand_documents() {
    let place = Place::new();
    let mut text = String::new();
    for number in 0..100_000 {
        text.push_str(&format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{number}}}\n---\n"
        ));
    }
    text.push_str(&reader(&["jane"]));
    let ended = place.run_with("audit -f - -o json", text.as_bytes());
    assert_eq!(
        (ended.code, findings(&ended.stdout).len()),
        (1, EACH),
        "{}",
        ended.stderr
    );
    assert!(ended.stdout.contains("100002 documents"));
}

#[test]
fn a_baseline_accepts_what_is_there_and_nothing_more() {
    let place = Place::new();
    place.write("roles.yaml", &reader(&["jane"]));
    let write = "audit -f roles.yaml --write-baseline base.yaml --reason migration --fail-on never";
    assert_eq!(place.run(write).code, 0);
    let with = "audit -f roles.yaml --baseline base.yaml";
    let ended = place.run(with);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("4 accepted"), "{}", ended.stdout);

    place.write("roles.yaml", &reader(&["jane", "bob"]));
    let ended = place.run(with);
    assert_eq!(ended.code, 1);
    let stdout = ended.stdout;
    assert!(
        stdout.contains("User bob") && !stdout.contains("User jane"),
        "{stdout}"
    );

    // An end that has come.
    let base = place
        .read("base.yaml")
        .replace("reason:", "until: 2020-01-31\n  reason:");
    place.write("base.yaml", &base);
    let ended = place.run(with);
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.contains("User jane"), "{}", ended.stdout);
    assert!(
        ended
            .stderr
            .contains("until 2020-01-31 (migration), and counts again"),
        "{}",
        ended.stderr
    );
}

#[test]
fn fixes_say_what_else_they_do() {
    let place = Place::new();
    let more = "---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: debugger}
rules:
- {apiGroups: [''], resources: [pods, pods/exec], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: debuggers, namespace: web}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: debugger}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: dev}
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: ops}
";
    place.write("roles.yaml", &format!("{}{more}", reader(&["jane"])));
    let add = place.run("audit -f roles.yaml --kind SW001 --subject dev --fix add-create");
    assert_eq!(add.code, 0, "{add:?}");
    let patch = "kubectl patch clusterrole debugger --type json --patch '[{\"op\":\"add\",\"path\":\"/rules/-\",\
        \"value\":{\"apiGroups\":[\"\"],\"resources\":[\"pods/exec\"],\"verbs\":[\"create\"]}}]'";
    assert!(add.stdout.contains(patch), "{}", add.stdout);
    let others = "# And for others, who share a role with them:\n#   User ops: create pods/exec: nowhere → in web";
    assert!(add.stdout.contains(others), "{}", add.stdout);

    let drop = place.run("audit -f roles.yaml --kind SW001 --fix drop-get -o json");
    let proposal: Value = serde_json::from_str(&drop.stdout).unwrap();
    let change = &proposal["changes"][0];
    assert_eq!(change["role"]["name"], "debugger");
    assert_eq!(change["patch"][0]["op"], "test");
    assert_eq!(change["patch"][1]["value"]["resources"][0], "pods");
    // A rule for everything has no exceptions.
    let left = &proposal["left"][0];
    assert!(
        left["why"].as_str().unwrap().contains("for all resources"),
        "{left}"
    );
    assert_eq!(proposal["changes"].as_array().unwrap().len(), 1);
}

#[test]
fn exemptions_have_a_reason_and_an_end() {
    let place = Place::new();
    place.write("roles.yaml", &reader(&["jane"]));
    let exempt = "audit -f roles.yaml --fix exempt";
    let ended = place.run(exempt);
    assert_eq!(ended.code, 2);
    assert!(
        ended.stderr.contains("--reason and --until"),
        "{}",
        ended.stderr
    );
    let ended = place.run(&format!("{exempt} --reason migration --until 2027-01-31"));
    assert_eq!(ended.code, 0, "{ended:?}");
    let object: Value = serde_saphyr::from_str(&ended.stdout).unwrap();
    assert_eq!(object["kind"], "AccessExemption");
    let spec = &object["spec"];
    assert_eq!(spec["expires"], "2027-02-01T00:00:00Z");
    assert_eq!(spec["subjects"][0]["name"], "jane");
    let resources: Vec<_> = spec["resources"].as_array().unwrap().iter().collect();
    assert_eq!(resources, ["pods/exec", "pods/attach", "pods/portforward"]);
    assert!(spec["namespaces"].is_null());
}

#[test]
fn help_and_completion() {
    let place = Place::new();
    let help = place.run("audit --help");
    assert_eq!(help.code, 0);
    for word in [
        "--fail-on",
        "kubectl kustomize deploy |",
        "Exit codes",
        "--as-group",
    ] {
        assert!(help.stdout.contains(word), "{word}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = place.run(&format!("completion {shell}"));
        assert!(
            script.stdout.contains("kubectl-streamway") && script.stdout.contains("fail-on"),
            "{shell}"
        );
    }
    assert_eq!(
        place.run("__complete audit --fail-").stdout,
        "--fail-on\n:4\n"
    );
}

#[test]
fn without_a_cluster_the_way_out_is_told() {
    let place = Place::new();
    let ended = place.run("audit --kubeconfig nowhere");
    assert_eq!(ended.code, 2);
    assert!(
        ended.stderr.contains("--kubeconfig nowhere"),
        "{}",
        ended.stderr
    );
    place.write(
        "config",
        "{apiVersion: v1, kind: Config, current-context: c, \
         clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}], \
         users: [{name: u, user: {token: secret-token}}], \
         contexts: [{name: c, context: {cluster: c, user: u}}]}",
    );
    let ended = place.run("audit --kubeconfig config");
    assert_eq!(ended.code, 2);
    assert!(
        ended.stderr.contains("https://127.0.0.1:1 cannot be asked"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("secret-token"));
}
