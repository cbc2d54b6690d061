//! Our API on a real API server: what is wrong is refused with what to write instead, what is right is
//! taken, and `kubectl` tells what it means.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod definitions;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use definitions::{Wrong, action, exemption, right, rollout, wrong_others, wrong_rollouts};
use serde_json::{Value, json};
use streamway_crds::{
    ActionResult, NodeStreaming, Phase, RolloutAction, StreamingRollout, definitions,
};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::suite::Suite;
use streamway_e2e::wait;

#[test]
fn the_api_is_taken_and_keeps_what_it_promises() {
    let cluster = Cluster::builder("test-crds").up().unwrap();
    let kubectl = cluster.kubectl().unwrap();
    established(&kubectl).unwrap();
    let mut suite = Suite::default();
    suite.check("wrong rollouts are refused with what to write", || {
        refused(&kubectl, &wrong_rollouts())
    });
    suite.check("other wrong objects are too", || {
        refused(&kubectl, &wrong_others())
    });
    suite.check("right ones are taken", || taken(&kubectl));
    suite.check("samples are taken", || samples(&kubectl));
    suite.check("defaults are those of the types", || defaults(&kubectl));
    suite.check("an action does not change", || immutable(&kubectl));
    suite.check("columns tell the story", || columns(&kubectl));
    suite.check("kubectl explain tells what fields mean", || {
        explained(&kubectl)
    });
    suite.check("definitions go again", || gone(&kubectl));
    suite.verdict();
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn established(kubectl: &Kubectl) -> Result<()> {
    let folder = repository("crds");
    let ended = kubectl.run(
        &["apply", "--server-side", "-k", &folder.to_string_lossy()],
        b"",
    )?;
    ensure!(ended.code == 0, "{}", ended.stderr);
    ensure!(ended.stderr.is_empty(), "{}", ended.stderr);
    kubectl.wait_for_crds()?;
    // A schema that is not structural is taken, and serves nothing of what it says.
    let path = "jsonpath={.items[*].status.conditions[?(@.type==\"NonStructuralSchema\")].message}";
    let not_structural = kubectl.ok(&["get", "crd", "-o", path])?;
    ensure!(not_structural.is_empty(), "{not_structural}");
    // Discovery follows a moment later.
    wait::until("the kinds are served", Duration::from_secs(30), || {
        let kinds = kubectl.ok(&["api-resources", "--categories=streamway", "-o", "name"])?;
        Ok((kinds.lines().count() == definitions()?.len()).then_some(()))
    })
}

fn create(
    kubectl: &Kubectl,
    object: &Value,
    flags: &[&str],
) -> Result<std::result::Result<Value, String>> {
    let args = [
        &["create", "--validate=strict", "-o", "json", "-f", "-"],
        flags,
    ]
    .concat();
    let ended = kubectl.run(&args, object.to_string().as_bytes())?;
    if ended.code != 0 {
        return Ok(Err(ended.stderr));
    }
    Ok(Ok(serde_json::from_slice(&ended.stdout)?))
}

fn refused(kubectl: &Kubectl, table: &[Wrong]) -> Result<()> {
    let mut wrong = Vec::new();
    for (what, object, told) in table {
        match create(kubectl, object, &["--dry-run=server"])? {
            Ok(_) => wrong.push(format!("{what}: taken")),
            Err(message) if !message.contains(told) => wrong.push(format!("{what}: {message}")),
            Err(_) => {}
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn taken(kubectl: &Kubectl) -> Result<()> {
    for (what, object) in right() {
        if let Err(message) = create(kubectl, &object, &["--dry-run=server"])? {
            bail!("{what}: {message}");
        }
    }
    Ok(())
}

fn samples(kubectl: &Kubectl) -> Result<()> {
    let mut count = 0;
    let folders = ["config/samples", "config/samples/access"].map(repository);
    let entries = folders.map(fs::read_dir).into_iter();
    for entry in entries
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flatten()
    {
        let path = entry?.path();
        let text = fs::read_to_string(&path).unwrap_or_default();
        if text.contains("apiVersion: streamway.dev/") {
            let args = ["create", "--validate=strict", "--dry-run=server", "-f", "-"];
            kubectl
                .ok_with(&args, text.as_bytes())
                .with_context(|| path.display().to_string())?;
            count += 1;
        }
    }
    ensure!(count >= 4, "{count} samples are of our API");
    Ok(())
}

/// What the API server fills in is what a program that reads the bare object would take.
fn defaults(kubectl: &Kubectl) -> Result<()> {
    let bare = rollout(json!({}));
    let filled = create(kubectl, &bare, &["--dry-run=server"])?.map_err(anyhow::Error::msg)?;
    let ours: StreamingRollout = serde_json::from_value(bare)?;
    let theirs: StreamingRollout = serde_json::from_value(filled.clone())?;
    ensure!(
        ours.spec == theirs.spec,
        "{:?}\nis not\n{:?}",
        ours.spec,
        theirs.spec
    );
    let written = serde_json::to_value(&ours.spec)?;
    ensure!(
        filled.get("spec") == Some(&written),
        "{written}\nis not\n{filled}"
    );
    Ok(())
}

fn immutable(kubectl: &Kubectl) -> Result<()> {
    create(kubectl, &action(json!({})), &[])?.map_err(anyhow::Error::msg)?;
    let patch = ["patch", "rolloutaction", "go-on", "--type=merge", "-p"];
    let ended = kubectl.run(
        &[&patch[..], &[r#"{"spec":{"verb":"Abort"}}"#]].concat(),
        b"",
    )?;
    let told = "an action does not change once it is made: delete it, and create another";
    ensure!(ended.code != 0 && ended.stderr.contains(told), "{ended:?}");
    kubectl.ok(&[&patch[..], &[r#"{"metadata":{"labels":{"a":"b"}}}"#]].concat())?;
    Ok(())
}

/// Replaces an object's status.
fn status(kubectl: &Kubectl, kind: &str, name: &str, status: &impl serde::Serialize) -> Result<()> {
    let patch = json!({"status": status}).to_string();
    kubectl.ok(&[
        "patch",
        kind,
        name,
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ])?;
    Ok(())
}

fn columns(kubectl: &Kubectl) -> Result<()> {
    let mut all: StreamingRollout = serde_json::from_value(rollout(json!({})))?;
    create(kubectl, &serde_json::to_value(&all)?, &[])?.map_err(anyhow::Error::msg)?;
    let counts = json!({"total": 3, "updated": 1, "ready": 1});
    all.status = serde_json::from_value(json!({
        "phase": Phase::Baking, "progress": "1/2", "nodes": counts, "observedGeneration": 1,
        "next": {"time": "2026-12-01T10:00:00Z", "what": "bake of wave canary ends"},
    }))?;
    status(kubectl, "sroll", "all", &all.status)?;

    let spec = json!({"traffic": "Agent", "feature": "Declared", "mode": "Proxied", "rollout": "all", "wave": "canary"});
    let mut node = NodeStreaming::new("worker-1", serde_json::from_value(spec)?);
    create(kubectl, &serde_json::to_value(&node)?, &[])?.map_err(anyhow::Error::msg)?;
    node.status = serde_json::from_value(json!({
        "state": "On", "mode": "Proxied", "declared": true, "agent": {"traffic": "Agent", "ready": true},
        "lastProbe": {"time": "2026-12-01T09:59:00Z", "result": "Passed"},
    }))?;
    status(kubectl, "nstream", "worker-1", &node.status)?;

    let mut done: RolloutAction = serde_json::from_value(action(json!({"by": "jane"})))?;
    done.status = Some(Default::default());
    if let Some(status) = &mut done.status {
        status.result = Some(ActionResult::Done);
    }
    status(kubectl, "sact", "go-on", &done.status)?;

    create(kubectl, &exemption(json!({})), &[])?.map_err(anyhow::Error::msg)?;

    let table = kubectl.ok(&["get", "streamway"])?;
    println!("{table}");
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    for wanted in [
        "NAME PHASE WAVE NODES UPDATED FAILED NEXT AGE",
        "streamingrollout.streamway.dev/all Baking 1/2 3 1 0 2026-12-01T10:00:00Z",
        "NAME STATE MODE DECLARED TRAFFIC AGENT PROBE ROLLOUT WAVE AGE",
        "nodestreaming.streamway.dev/worker-1 On Proxied true Agent true Passed all canary",
        "NAME ROLLOUT VERB BY RESULT AGE",
        "rolloutaction.streamway.dev/go-on all Promote Done",
        "NAME EXPIRES REASON AGE",
        "accessexemption.streamway.dev/runners 2027-01-31T00:00:00Z runner 4 has create",
    ] {
        let words: Vec<&str> = wanted.split(' ').collect();
        ensure!(
            lines.iter().any(|line| line.starts_with(&words)),
            "no line is {wanted}"
        );
    }
    Ok(())
}

fn explained(kubectl: &Kubectl) -> Result<()> {
    let mut seen = 0;
    for (field, says) in [
        ("streamingrollout", "wave by wave"),
        ("streamingrollout.spec.waves", "nodes.percent is 100"),
        (
            "streamingrollout.spec.waves.nodes",
            "exactly one of count, percent and selector",
        ),
        (
            "streamingrollout.spec.waves.approval",
            "Manual: It waits for a RolloutAction Promote.",
        ),
        (
            "streamingrollout.spec.mode",
            "Proxied: The agent takes WebSockets",
        ),
        ("streamingrollout.spec.windows.timeZone", "Europe/Berlin"),
        ("streamingrollout.status.phase", "WaitingForWindow: "),
        ("nodestreaming.spec", "traffic comes first on the way in"),
        ("nodestreaming.status.agent", "Only the agent writes it"),
        (
            "rolloutaction.spec.verb",
            "Rollback: Take all nodes of all waves back.",
        ),
        (
            "accessexemption.spec.expires",
            "From that second on it is as if it were not there.",
        ),
    ] {
        let text = kubectl.ok(&["explain", field])?;
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(words.contains(says), "{field}: {text}");
        seen += 1;
    }
    // No field goes without a word.
    for kind in [
        "streamingrollout",
        "nodestreaming",
        "rolloutaction",
        "accessexemption",
    ] {
        let text = kubectl.ok(&[
            "get",
            "crd",
            &format!("{kind}s.streamway.dev"),
            "-o",
            "json",
        ])?;
        let definition: Value = serde_json::from_str(&text)?;
        let schema = definition
            .pointer("/spec/versions/0/schema/openAPIV3Schema")
            .context("no schema")?;
        let silent = silent(schema, kind);
        ensure!(silent.is_empty(), "not described: {}", silent.join(", "));
    }
    println!(
        "{}",
        kubectl.ok(&["explain", "streamingrollout.spec.waves"])?
    );
    ensure!(seen == 11);
    Ok(())
}

/// Fields of a schema that have no description.
fn silent(schema: &Value, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let path = format!("{path}.{name}");
        let is_standard = path.split('.').count() == 2
            && ["apiVersion", "kind", "metadata"].contains(&name.as_str());
        if property.get("description").is_none() && !is_standard {
            found.push(path.clone());
        }
        found.extend(silent(property, &path));
    }
    if let Some(items) = schema.get("items") {
        found.extend(silent(items, path));
    }
    found
}

fn gone(kubectl: &Kubectl) -> Result<()> {
    let folder = repository("crds");
    kubectl.ok(&["delete", "-k", &folder.to_string_lossy()])?;
    let left = kubectl.ok(&["get", "crd", "-o", "name"])?;
    ensure!(left.is_empty(), "{left}");
    Ok(())
}
