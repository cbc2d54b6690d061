//! What each tool finds of what is planted in a real API server (streamway_e2e::planted): who has `get` and
//! not `create`, or `create` and not `get`, on what sessions are opened by.
//!
//! `kubectl streamway audit` is asked for findings. The others are asked who may `get` and who may `create`,
//! and the difference is taken, as their users would.
#![allow(
    clippy::indexing_slicing,
    reason = "of JSON: what is not there is null"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::planted::{NAMESPACES, SHAPES};
use streamway_e2e::{run, wait};

use super::{LONG, Tools};

/// Resource, and the rules that find those with `get` only, `create` only, and both.
const ASKED: [(&str, [&str; 3]); 4] = [
    ("pods/exec", ["SW001", "SW011", ""]),
    ("pods/attach", ["SW002", "SW012", ""]),
    ("pods/portforward", ["SW003", "SW013", ""]),
    ("nodes/proxy", ["SW021", "", "SW022"]),
];

/// Rule and subject, as in `SW001 User jane`.
type Found = BTreeSet<String>;

/// Subjects, as in `User jane`.
type Subjects = BTreeSet<String>;

pub(super) fn run(tools: &Tools) -> Result<()> {
    // With controllers: one of them fills aggregated ClusterRoles.
    let cluster = Cluster::builder("bench-audit-found")
        .controllers(true)
        .up()?;
    let kubectl = cluster.kubectl()?;
    for namespace in NAMESPACES {
        kubectl.ok(&["create", "namespace", namespace])?;
    }
    let objects = SHAPES.iter().flat_map(|shape| shape.objects());
    let items: Vec<Value> = objects.map(|(_, object)| object).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    kubectl.apply(&list.to_string())?;

    let asked: BTreeSet<_> = ASKED.iter().flat_map(|(_, rules)| rules).collect();
    let shapes = SHAPES.iter().flat_map(|shape| {
        let rules = shape.found.split(' ').filter(|rule| asked.contains(rule));
        rules.map(|rule| format!("{rule} {}", shape.shown()))
    });
    let planted: Found = shapes.filter(|one| !one.starts_with(' ')).collect();
    wait::until("aggregated roles are filled", LONG, || {
        let roles: Value =
            serde_json::from_str(&kubectl.ok(&["get", "clusterroles", "-o", "json"])?)?;
        let roles = roles["items"].as_array().context("no roles")?;
        let empty = |role: &Value| {
            role.get("aggregationRule").is_some()
                && role["rules"].as_array().is_none_or(Vec::is_empty)
        };
        let mut planted = roles.iter().filter(|role| empty(role));
        Ok(planted.next().is_none().then_some(()))
    })?;
    let ours = findings(tools, &cluster)?;
    println!(
        "\nfound of {} that are planted in {} shapes",
        planted.len(),
        SHAPES.len()
    );
    println!(
        "{:34} {:>6} {:>7} {:>6}",
        "program", "found", "missed", "wrong"
    );
    let told = |name: &str, found: &Found| {
        let of_planted = |one: &&String| SHAPES.iter().any(|shape| one.ends_with(&shape.shown()));
        let missed: Vec<_> = planted.difference(found).collect();
        let wrong: Vec<_> = found.difference(&planted).filter(of_planted).collect();
        let right = planted.len() - missed.len();
        println!(
            "{name:34} {right:>6} {:>7} {:>6}",
            missed.len(),
            wrong.len()
        );
        println!("    missed: {missed:?}\n    wrong: {wrong:?}");
    };
    told("kubectl streamway audit", &ours);
    let by = |who: &dyn Fn(&str, &str) -> Result<Subjects>| differences(who);
    let who_can_in = |place: &[&str], verb: &str, resource: &str| {
        who_can(&tools.who_can, &cluster, place, verb, resource)
    };
    let everywhere = by(&|verb, resource| who_can_in(&["-A"], verb, resource))?;
    told("kubectl-who-can -A", &everywhere);
    let each = by(&|verb, resource| {
        let all = NAMESPACES.iter();
        let all = all.map(|namespace| who_can_in(&["-n", namespace], verb, resource));
        let all: Result<Vec<Subjects>> = all.collect();
        Ok(all?.into_iter().flatten().collect())
    })?;
    told("kubectl-who-can -n, each namespace", &each);
    let asked = by(&|verb, resource| rbac_who_can(&tools.rbac_tool, &cluster, verb, resource))?;
    told("rbac-tool who-can", &asked);
    let rules = rbac_rules(&tools.rbac_tool, &cluster)?;
    let listed = by(&|verb, resource| Ok(in_rules(&rules, verb, resource)))?;
    told("rbac-tool policy-rules, filtered", &listed);
    Ok(())
}

/// What the difference between who may `get` and who may `create` comes to.
fn differences(who: &dyn Fn(&str, &str) -> Result<Subjects>) -> Result<Found> {
    let mut found = Found::new();
    for (resource, [get_only, create_only, both]) in ASKED {
        let (get, create) = (who("get", resource)?, who("create", resource)?);
        for (rule, subjects) in [
            (get_only, &get - &create),
            (create_only, &create - &get),
            (both, &get & &create),
        ] {
            if !rule.is_empty() {
                found.extend(subjects.iter().map(|subject| format!("{rule} {subject}")));
            }
        }
    }
    Ok(found)
}

fn findings(tools: &Tools, cluster: &Cluster) -> Result<Found> {
    let report = asked(&mut tools.ours(cluster, &["--severity", "low", "-o", "json"]))?;
    let findings = report["findings"].as_array().context("no findings")?;
    let found = findings.iter().map(|finding| {
        let rule = finding["rule"].as_str().unwrap_or_default();
        format!("{rule} {}", subject(&finding["subject"]))
    });
    Ok(found.collect())
}

/// Subjects of all bindings that it tells.
fn who_can(
    program: &Path,
    cluster: &Cluster,
    place: &[&str],
    verb: &str,
    resource: &str,
) -> Result<Subjects> {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let mut command = Command::new(program);
    command
        .args([verb, resource, "--subresource", subresource])
        .args(place)
        .args(["-o", "json"])
        .args(["--context", "admin", "--kubeconfig"])
        .arg(cluster.kubeconfig());
    let told = asked(&mut command)?;
    let bindings = ["roleBindings", "clusterRoleBindings"];
    let bindings = bindings.iter().filter_map(|kind| told[*kind].as_array());
    let subjects = bindings
        .flatten()
        .filter_map(|binding| binding["subjects"].as_array());
    Ok(subjects.flatten().map(subject).collect())
}

fn rbac_who_can(program: &Path, cluster: &Cluster, verb: &str, resource: &str) -> Result<Subjects> {
    let told = rbac_tool(program, cluster, &["who-can", verb, resource])?;
    Ok(told.as_array().into_iter().flatten().map(subject).collect())
}

/// All rules of all subjects.
fn rbac_rules(program: &Path, cluster: &Cluster) -> Result<Value> {
    rbac_tool(program, cluster, &["policy-rules"])
}

fn rbac_tool(program: &Path, cluster: &Cluster, words: &[&str]) -> Result<Value> {
    let mut command = Command::new(program);
    command
        .args(words)
        .args(["-o", "json", "--cluster-context", "admin"])
        .env("KUBECONFIG", cluster.kubeconfig());
    asked(&mut command)
}

/// Those with a rule for the verb and the resource, as one would filter the list.
fn in_rules(all: &Value, verb: &str, resource: &str) -> Subjects {
    let any = |rule: &Value, key: &str, wanted: &str| rule[key] == wanted || rule[key] == "*";
    let fits = |rule: &Value| {
        any(rule, "verb", verb) && any(rule, "resource", resource) && any(rule, "apiGroup", "core")
    };
    let all = all.as_array().into_iter().flatten();
    let with = all.filter(|one| {
        let rules = one["allowedTo"].as_array();
        rules.is_some_and(|rules| rules.iter().any(fits))
    });
    with.map(subject).collect()
}

fn subject(subject: &Value) -> String {
    let text = |key: &str| subject[key].as_str().unwrap_or_default();
    match text("namespace") {
        "" => format!("{} {}", text("kind"), text("name")),
        namespace => format!("{} {namespace}/{}", text("kind"), text("name")),
    }
}

fn asked(command: &mut Command) -> Result<Value> {
    let told = run::output(command)?;
    serde_json::from_str(&told).with_context(|| format!("{command:?}"))
}
