//! The gateway as `docs/gateway.md` says to install it: its commands as they stand there, its image in
//! real pods before a 1.28 API server, a rollout under load, and its end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod installation;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::suite::Suite;
use streamway_e2e::{OLD_API_SERVER, https, wait};

use installation::{DEPLOYMENT, NAMESPACE, ready, replaced, through, write_site};

#[test]
fn the_gateway_is_installed_by_its_document() {
    let cluster = Cluster::builder("test-config-runs")
        .api_server(OLD_API_SERVER)
        .controllers(true)
        .node("one", OLD_API_SERVER, None)
        .up()
        .unwrap();
    installation::import_image(&cluster, "one").unwrap();
    let kubectl = cluster.kubectl().unwrap();
    let mut suite = Suite::default();
    suite.check("docs/gateway.md: install", || {
        installation::install(&cluster)?;
        // The autoscaler asks for the second.
        wait::until("two pods are ready", Duration::from_secs(90), || {
            Ok((ready(&kubectl)?.len() == 2).then_some(()))
        })
    });
    suite.check("its processes have no rights", without_rights);
    suite.check("tokens and certificates arrive through each pod", || {
        let pods = ready(&kubectl)?;
        ensure!(!pods.is_empty(), "no pods");
        pods.iter().try_for_each(|pod| identities(&cluster, pod))
    });
    suite.check(
        "kubectl's exec is WebSocket through it, and not without",
        || {
            let pods = ready(&kubectl)?;
            let leg = exec_leg(&kubectl, None)?;
            ensure!(leg.contains("fallback"), "{leg}");
            let leg = exec_leg(&kubectl, pods.first())?;
            let websocket = leg.contains("v5.channel.k8s.io") && !leg.contains("fallback");
            ensure!(websocket, "{leg}");
            Ok(())
        },
    );
    suite.check("a rollout refuses no request and cuts no session", || {
        rollout(&kubectl)
    });
    suite.check(
        "the other mode: whom the role names is impersonated",
        || impersonation(&cluster, &kubectl),
    );
    suite.check("docs/gateway.md: uninstall", || {
        installation::as_documented(&cluster, "Uninstall")?;
        let left = kubectl.ok(&["get", "namespace", NAMESPACE, "--ignore-not-found"])?;
        ensure!(left.is_empty(), "{left}");
        Ok(())
    });
    suite.verdict();
}

/// What the kernel says of the gateways' processes.
fn without_rights() -> Result<()> {
    let mut found = 0;
    for entry in fs::read_dir("/proc")?.flatten() {
        let read = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        if !read("cmdline").starts_with("/streamproxy\0gateway\0") {
            continue;
        }
        found += 1;
        let status = read("status");
        let says = |name: &str| -> Option<Vec<&str>> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.split_whitespace().collect())
        };
        let none = "0000000000000000";
        for (name, wanted) in [
            ("Uid:", &["65532"; 4][..]),
            ("Gid:", &["65532"; 4]),
            ("CapEff:", &[none]),
            ("CapBnd:", &[none]),
            ("NoNewPrivs:", &["1"]),
            ("Seccomp:", &["2"]),
        ] {
            ensure!(says(name).as_deref() == Some(wanted), "{name} {status}");
        }
        let mounts = read("mounts");
        let root = mounts
            .lines()
            .find(|line| line.split(' ').nth(1) == Some("/"));
        let read_only = root.and_then(|line| line.split(' ').nth(3));
        ensure!(
            read_only.is_some_and(|flags| flags.starts_with("ro")),
            "{mounts}"
        );
    }
    ensure!(found == 2, "{found} processes");
    Ok(())
}

fn identities(cluster: &Cluster, pod: &str) -> Result<()> {
    for (user, groups) in [
        ("admin", "[system:masters system:authenticated]"),
        ("cert-admin", "[system:masters system:authenticated]"),
        ("cert-dev", "[team-a team-b system:authenticated]"),
    ] {
        let [server, name] = through(pod);
        let whoami = ["auth", "whoami", server.as_str(), name.as_str()];
        let told = cluster.kubectl_as(user)?.ok(&whoami)?;
        ensure!(told.contains(&format!(" {user}\n")), "{told}");
        ensure!(told.contains(groups), "{told}");
    }
    Ok(())
}

/// What kubectl logs of an exec, through a pod or not.
fn exec_leg(kubectl: &Kubectl, pod: Option<&String>) -> Result<String> {
    let flags = pod.map(|pod| through(pod)).into_iter().flatten();
    let flags: Vec<String> = flags.collect();
    let mut args = vec!["-v=6", "exec", "box-one"];
    args.extend(flags.iter().map(String::as_str));
    args.extend(["--", "echo", "done"]);
    let ended = kubectl.run(&args, b"")?;
    ensure!(ended.code == 0 && ended.stdout == b"done\n", "{ended:?}");
    Ok(ended.stderr)
}

fn rollout(kubectl: &Kubectl) -> Result<()> {
    let before = ready(kubectl)?;
    let old = before.first().context("a pod")?;
    let [server, name] = through(old);
    let script = "echo started; until [ -e /tmp/go ]; do sleep 0.1; done; echo ended";
    let session = ["exec", "box-one", &server, &name, "--", "sh", "-c", script];
    let mut session = kubectl.command(&session).stdout(Stdio::piped()).spawn()?;
    let mut said = BufReader::new(session.stdout.take().context("stdout")?).lines();
    ensure!(said.next().transpose()?.as_deref() == Some("started"));

    let over = AtomicBool::new(false);
    let (served, rolled) = std::thread::scope(|scope| {
        let client = scope.spawn(|| requests(kubectl, &over));
        let restart = ["rollout", "restart", "-n", NAMESPACE, DEPLOYMENT];
        let rolled = kubectl
            .ok(&restart)
            .and_then(|_| replaced(kubectl, &before));
        over.store(true, Ordering::Relaxed);
        (client.join().expect("no panic"), rolled)
    });
    rolled?;
    let served = served?;
    ensure!(served > 50, "{served} requests in a whole rollout");

    kubectl.ok(&["exec", "box-one", "--", "sh", "-c", "true >/tmp/go"])?;
    ensure!(said.next().transpose()?.as_deref() == Some("ended"));
    let status = wait::until("the session ends", Duration::from_secs(10), || {
        Ok(session.try_wait()?)
    })?;
    ensure!(status.success(), "{status}");
    Ok(())
}

/// Changes the installation to impersonation, where pods use their service account.
fn impersonation(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let before = ready(kubectl)?;
    let names = [
        ("jane, joe", "cert-dev"),
        ("developers, operators", "team-a, team-b"),
    ];
    write_site(cluster, "site-impersonation", &names)?;
    let site = cluster.file("install/site");
    kubectl.ok(&["apply", "--server-side", "-k", &site.to_string_lossy()])?;
    replaced(kubectl, &before)?;
    for pod in ready(kubectl)? {
        let [server, name] = through(&pod);
        let whoami = ["auth", "whoami", server.as_str(), name.as_str()];
        let told = cluster.kubectl_as("cert-dev")?.ok(&whoami)?;
        ensure!(
            told.contains("[team-a team-b system:authenticated]"),
            "{told}"
        );
        let raw = ["get", "--raw", "/version", server.as_str(), name.as_str()];
        let refused = cluster.kubectl_as("cert-admin")?.run(&raw, b"")?;
        let says = refused.stderr.contains("--proxy-client-cert-file");
        ensure!(refused.code != 0 && says, "{refused:?}");
    }
    Ok(())
}

/// One connection and request after another, to the addresses that the Service had a while ago: some
/// requests lag behind the endpoints, as kube-proxies and load balancers do.
fn requests(kubectl: &Kubectl, over: &AtomicBool) -> Result<usize> {
    let request = "GET /version HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n";
    let mut served = 0;
    while !over.load(Ordering::Relaxed) {
        let lagging = ready(kubectl)?;
        for pod in lagging.iter().cycle().take(20) {
            let answer = https::exchange(&format!("{pod}:6443"), None, request)
                .with_context(|| format!("after {served} requests"))?;
            ensure!(answer.status == 200, "after {served}: {answer:?}");
            served += 1;
        }
    }
    Ok(served)
}
