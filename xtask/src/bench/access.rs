//! Row `access`: what each enforcer of `create` costs a session, by a real API server's own account.
//!
//! A session is asked for in pods that are not there: everything is asked as for any other, and then the
//! answer is 404. The API server, the webhook and who asks share this machine.

use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use streamway_crds::names::CREATE_CHECK_LABEL;
use streamway_e2e::cluster::Cluster;
use streamway_e2e::https::{self, Connection};
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::product::repository;
use streamway_e2e::webhook::{self, Authorization, Replica};
use streamway_e2e::{sessions, wait};

pub(super) const NAME: &str = "access";

/// Sessions of a whole row, and of a quick one.
const SESSIONS: (usize, usize) = (2000, 200);

/// How long a change takes at most to be everywhere.
const SOON: Duration = Duration::from_secs(30);

/// What is asked to refuse who lacks `create`.
#[derive(Clone, Copy)]
struct Enforcer {
    name: &'static str,
    /// What its pods' names begin with: the webhook remembers what was asked before.
    pods: &'static str,
    /// The API server's histogram of what it takes, and a label of it.
    histogram: Option<(&'static str, &'static str)>,
}

const NONE: Enforcer = Enforcer {
    name: "none",
    pods: "none",
    histogram: None,
};
const POLICY: Enforcer = Enforcer {
    name: "policy",
    pods: "policy",
    histogram: Some((
        "apiserver_validating_admission_policy_check_duration_seconds",
        "create-check",
    )),
};
const ADMISSION: Enforcer = Enforcer {
    name: "admission",
    pods: "admission",
    histogram: Some((
        "apiserver_admission_webhook_admission_duration_seconds",
        "connect-deny.streamway.dev",
    )),
};
const AUTHORIZATION: Enforcer = Enforcer {
    name: "before RBAC",
    pods: "rbac",
    histogram: Some((
        "apiserver_authorization_webhook_duration_seconds",
        "streamway",
    )),
};

pub(super) fn run(program: &Path, quick: bool) -> Result<()> {
    let count = if quick { SESSIONS.1 } else { SESSIONS.0 };
    let cluster = Cluster::builder("bench-access")
        .api_server_flags(&[
            "--feature-gates=AuthorizePodWebsocketUpgradeCreatePermission=false",
            "--enable-aggregator-routing=true",
        ])
        .up()?;
    let kubectl = cluster.kubectl()?;
    kubectl.apply(sessions::RIGHTS)?;
    webhook::install(&kubectl)?;
    let label = format!("{CREATE_CHECK_LABEL}=Deny");
    kubectl.ok(&["label", "namespace", "default", &label])?;
    println!(
        "\n{count} sessions each, asked for one after the other; milliseconds\n\
         {:18} {:6} {:>9} {:>9} {:>9} {:>12} {:>12}",
        "enforcer", "asked", "p50", "p99", "calls", "server mean", "webhook mean"
    );
    let config = repository().join("config");
    measure(&cluster, NONE, None, "", count)?;

    let policy = config.join("overlays/policy-only");
    let policy = policy.to_string_lossy();
    kubectl.ok(&["apply", "-k", &policy])?;
    enforced(&cluster)?;
    measure(&cluster, POLICY, None, "", count)?;
    kubectl.ok(&["delete", "-k", &policy])?;

    for (rbac, told) in [(false, ""), (true, "index")] {
        let component = config.join("components/access-webhook");
        for file in ["roles.yaml", "validatingwebhookconfiguration.yaml"] {
            kubectl.ok(&["apply", "-f", &component.join(file).to_string_lossy()])?;
        }
        let rights = config.join("components/rbac-answers-first/roles.yaml");
        kubectl.ok(&["apply", "-f", &rights.to_string_lossy()])?;
        let authority = cluster.file("front-proxy-ca.crt");
        let authority = authority.to_string_lossy();
        let mut flags = vec!["--access-check", "--client-ca-file", &authority];
        if rbac {
            flags.push("--rbac-answers-first");
        }
        let replica = Replica::start_build(&cluster, usize::from(rbac), program, &flags)?;
        replica.join(&kubectl)?;
        enforced(&cluster)?;
        measure(&cluster, ADMISSION, Some(&replica), told, count)?;
        delete_configuration(&kubectl)?;
        Authorization::sample(&replica, "/authorize")?.restart(&cluster)?;
        enforced(&cluster)?;
        measure(&cluster, AUTHORIZATION, Some(&replica), told, count)?;
        cluster.restart_api_server(0)?;
        replica.leave(&kubectl)?;
        cluster.kill_named(&replica.name)?;
    }
    Ok(())
}

fn delete_configuration(kubectl: &Kubectl) -> Result<()> {
    let name = streamway_crds::names::ACCESS_CONFIGURATION;
    let delete = ["delete", "validatingwebhookconfiguration", name];
    kubectl.ok(&delete).map(drop)
}

/// Waits until who may only get is refused.
fn enforced(cluster: &Cluster) -> Result<()> {
    wait::until("it is enforced", SOON, || {
        sessions::refused(cluster, "reader", "any").map(Some)
    })
}

/// Asks for sessions in pods of their own, which nobody remembers, and then in one.
fn measure(
    cluster: &Cluster,
    enforcer: Enforcer,
    replica: Option<&Replica<'_>>,
    told: &str,
    count: usize,
) -> Result<()> {
    for (again, asked) in [(false, "first"), (true, "again")] {
        let mut connection = connect(cluster)?;
        ask(&mut connection, "warm")?;
        let before = (histogram(cluster, enforcer)?, answering(replica)?);
        let mut times = Vec::with_capacity(count);
        for index in 0..count {
            let pod = if again {
                "warm".to_owned()
            } else {
                format!("{}{told}-{index}", enforcer.pods)
            };
            let begun = Instant::now();
            ask(&mut connection, &pod)?;
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        let at = |part: usize| {
            let time = times.get(count * part / 100).copied();
            time.unwrap_or_default().as_secs_f64() * 1e3
        };
        let after = (histogram(cluster, enforcer)?, answering(replica)?);
        let name = format!("{} {told}", enforcer.name);
        println!(
            "{name:18} {asked:6} {:>9.3} {:>9.3} {:>9} {:>12} {:>12}",
            at(50),
            at(99),
            after.0.count - before.0.count,
            mean(after.0, before.0),
            mean(after.1, before.1),
        );
    }
    Ok(())
}

/// A histogram's sum in seconds, and its count.
#[derive(Clone, Copy, Default)]
struct Total {
    seconds: f64,
    count: f64,
}

/// The mean in milliseconds.
fn mean(after: Total, before: Total) -> String {
    let count = after.count - before.count;
    if count > 0.0 {
        format!("{:.3}", (after.seconds - before.seconds) / count * 1e3)
    } else {
        "-".to_owned()
    }
}

/// What the webhook says of its own answers, from a request that was read on.
fn answering(replica: Option<&Replica<'_>>) -> Result<Total> {
    let Some(replica) = replica else {
        return Ok(Total::default());
    };
    let name = "streamway_webhook_duration_seconds";
    Ok(Total {
        seconds: replica.counted(&format!("{name}_sum"), "")?,
        count: replica.counted(&format!("{name}_count"), "")?,
    })
}

/// What the API server says of an enforcer.
fn histogram(cluster: &Cluster, enforcer: Enforcer) -> Result<Total> {
    let Some((name, label)) = enforcer.histogram else {
        return Ok(Total::default());
    };
    let metrics = cluster.kubectl()?.ok(&["get", "--raw", "/metrics"])?;
    let sum = |part: &str| -> f64 {
        let wanted = format!("{name}_{part}{{");
        let lines = metrics.lines();
        let lines = lines.filter(|line| line.starts_with(&wanted) && line.contains(label));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum()
    };
    Ok(Total {
        seconds: sum("sum"),
        count: sum("count"),
    })
}

fn connect(cluster: &Cluster) -> Result<Connection> {
    let connection = https::connect(&cluster.url().replace("https://", ""), None)?;
    connection.sock.set_nodelay(true)?;
    Ok(connection)
}

/// Asks for a session, whose pod is not there.
fn ask(connection: &mut Connection, pod: &str) -> Result<()> {
    let request = format!(
        "GET /api/v1/namespaces/default/pods/{pod}/exec?command=true&stdout=true HTTP/1.1\r\n\
         Host: bench\r\nAuthorization: Bearer {}\r\n\r\n",
        Cluster::token("dev")
    );
    connection.write_all(request.as_bytes())?;
    connection.flush()?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = connection.read(&mut chunk)?;
        ensure!(count > 0, "the API server closed");
        answer.extend_from_slice(chunk.get(..count).unwrap_or_default());
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then_some(value)
        });
        let length: usize = length.context("no length")?.parse()?;
        if body.len() >= length {
            ensure!(head.starts_with("HTTP/1.1 404"), "{text}");
            return Ok(());
        }
    }
}
