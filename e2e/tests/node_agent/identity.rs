//! Who the agent is, and that it is nobody on other nodes.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use serde_json::json;
use streamway_crds::names;
use streamway_e2e::kubectl::Ended;
use streamway_e2e::pki::{Authority, Pair};

use super::process::{Agent, address};
use super::traffic::FIRST;
use super::world::World;

/// Nobody approves: it is not ready and says why. Approved, it is.
pub(crate) fn waits_for_approval(world: &World<'_>) -> Result<()> {
    let agent = Agent::start(world, "one", FIRST)?;
    agent.says("a client certificate is asked for")?;
    agent.check("/livez")?;
    let unready = agent.check("/readyz").err().map(|error| error.to_string());
    let says = unready.is_some_and(|why| why.contains("certificate"));
    ensure!(says, "it should wait for its certificate");
    let denied = world.pending("one")?;
    let [request] = &*denied else {
        anyhow::bail!("{denied:?}");
    };
    world.kubectl.ok(&["certificate", "deny", request])?;
    let told = agent.says("was denied")?;
    let approved = world.approve("one")?;
    agent.ready()?;
    let status = world.status("one", "the agent reports", |agent| agent["ready"] == true)?;
    ensure!(
        status["podName"] == FIRST && status["traffic"] == "Kubelet",
        "{status}"
    );
    ensure!(!status["certificateNotAfter"].is_null(), "{status}");
    println!("    denied: {told}\n    approved: {approved}, then {status}");
    Ok(())
}

/// kubectl, as the user of an agent's certificate.
fn kubectl_as(world: &World<'_>, pem: PathBuf, args: &[&str]) -> Result<Ended> {
    let pair = Pair {
        certificate: pem.clone(),
        key: pem,
    };
    world.kubectl.clone().with_certificate(pair).run(args, b"")
}

/// What node two's agent may do about node one: nothing.
pub(crate) fn good_for_one_node(world: &World<'_>) -> Result<()> {
    let agent = Agent::start(world, "two", "other")?;
    world.approve("two")?;
    agent.ready()?;
    let pem = agent.certificate();
    let pods = |node: &str| -> Result<Ended> {
        let server = format!("https://{}", address(world, node, 10250)?);
        let args = [
            "--server",
            &server,
            "--insecure-skip-tls-verify",
            "get",
            "--raw",
            "/pods",
        ];
        kubectl_as(world, pem.clone(), &args)
    };
    let (own, other) = (pods("two")?, pods("one")?);
    ensure!(own.code == 0, "{}", own.stderr);
    ensure!(
        other.code != 0 && other.stderr.contains("orbidden"),
        "{}",
        other.stderr
    );
    println!(
        "    its certificate at another kubelet: {}",
        other.stderr.trim()
    );
    let patch = json!({"status": {"agent": {"ready": true}}}).to_string();
    let write = [
        "patch",
        "nodestreaming",
        "one",
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ];
    let spec = r#"{"spec":{"traffic":"Kubelet"}}"#;
    let refused: [&[&str]; 7] = [
        &["get", "nodestreaming", "one"],
        &["get", "nodestreamings"],
        &write,
        &["patch", "nodestreaming", "two", "--type=merge", "-p", spec],
        &["get", "node", "one"],
        &["exec", "box-two", "--", "true"],
        &["get", "secrets", "--all-namespaces"],
    ];
    for args in refused {
        let ended = kubectl_as(world, pem.clone(), args)?;
        ensure!(
            ended.code != 0 && ended.stderr.contains("orbidden"),
            "{args:?}: {}",
            ended.stderr
        );
    }
    let own = kubectl_as(world, pem.clone(), &["get", "nodestreaming", "two"])?;
    ensure!(own.code == 0, "{}", own.stderr);
    agent.kill()
}

/// Files of another node, of another cluster, and of nobody are not used.
pub(crate) fn replaced(world: &World<'_>) -> Result<()> {
    let agent = Agent::of(world, "other");
    let (certificates, current) = (agent.certificates(), agent.certificate());
    let good = fs::read_to_string(&current)?;
    let stranger = Authority::new(&certificates, "stranger")?;
    let of = |node: &str, authority: &Authority| -> Result<String> {
        let user = names::agent_user(node);
        let pair = authority.client("wrong", &user, &[names::AGENT_GROUP])?;
        let [certificate, key] = [pair.certificate, pair.key].map(fs::read_to_string);
        Ok(format!("{}{}", certificate?, key?))
    };
    for (wrong, told) in [
        (
            of("two", &stranger)?,
            "the API server does not know the stored client certificate",
        ),
        (
            of("one", world.cluster.authority())?,
            "the stored client certificate is not used",
        ),
        (
            good.replace("CERTIFICATE", "CERT"),
            "the stored client certificate is not used",
        ),
    ] {
        fs::remove_file(&current)?;
        fs::write(&current, &wrong)?;
        fs::write(world.cluster.log("other"), "")?;
        let agent = Agent::start(world, "two", "other")?;
        let line = agent.says(told)?;
        world.approve("two")?;
        agent.ready()?;
        ensure!(
            fs::read_to_string(&current)? != wrong,
            "the file was not replaced"
        );
        println!("    {line}");
        agent.kill()?;
    }
    // A good one is used.
    let agent = Agent::start(world, "two", "other")?;
    agent.ready()?;
    ensure!(world.pending("two")?.is_empty());
    agent.kill()
}
