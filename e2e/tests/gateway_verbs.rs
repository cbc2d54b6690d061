//! Every verb of kubectl through the gateway: each command of a table is run against the API server
//! and through the gateway, and exit code, stdout and stderr have to be equal.
//!
//! Commands that read are asked of the same objects, so ages are all that may differ. Commands that
//! write have a namespace and a node for each side, and the two sides' names are taken for one.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod verbs;

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use streamway_e2e::cluster::{Cluster, Gateway};
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::suite::Suite;
use streamway_e2e::{OLD_API_SERVER, wait};
use verbs::normal::Objects;
use verbs::side::{Ended, Place, Side};
use verbs::table::{By, FIXTURE, GROUPS, Group, Row};

/// What names of the API server's own side and of the gateway's end in: words of one length that occur
/// nowhere else.
const SUFFIXES: [&str; 2] = ["east", "west"];

/// A command through the gateway, and the same without it.
struct Both<'a> {
    cluster: &'a Cluster,
    gateway: &'a Gateway,
}

impl Both<'_> {
    fn kubectls(&self, by: By) -> Result<[Kubectl; 2]> {
        Ok(match by {
            By::User(user) => [self.cluster.kubectl_as(user)?, self.gateway.kubectl(user)?],
            By::OldKubectl => [self.cluster.kubectl_spdy()?, self.gateway.kubectl_spdy()?],
        })
    }

    fn sides(&self, group: &Group) -> Result<[Side; 2]> {
        let [direct, through] = self.kubectls(group.by)?;
        let [east, west] = SUFFIXES.map(|suffix| place(group, suffix));
        Ok([
            Side::new(&direct, &east, &self.cluster.url(), group.objects)?,
            Side::new(&through, &west, &self.gateway.url, group.objects)?,
        ])
    }

    /// Runs a group's commands, on both sides at once; where they differ, all that do are told.
    fn same(&self, group: &Group) -> Result<()> {
        let [direct, through] = &self.sides(group)?;
        let (expected, answers) = thread::scope(|scope| {
            let other = scope.spawn(|| all(direct, group.rows));
            let answers = all(through, group.rows);
            (other.join().expect("no panic"), answers)
        });
        let mut told = Vec::new();
        for ((row, expected), answer) in group.rows.iter().zip(expected?).zip(answers?) {
            let again = || Ok([direct.run(row.0)?, through.run(row.0)?, direct.run(row.0)?]);
            let settled = match group.objects {
                Objects::Equal => [expected, answer],
                Objects::Same | Objects::Measured => settled([expected, answer], again)?,
            };
            told.extend(compared(row, &settled));
        }
        ensure!(
            told.is_empty(),
            "{} of {} commands:\n{}",
            told.len(),
            group.rows.len(),
            told.join("\n")
        );
        Ok(())
    }
}

fn all(side: &Side, rows: &[Row]) -> Result<Vec<Ended>> {
    rows.iter().map(|row| side.run(row.0)).collect()
}

/// The two answers; where they differ, the objects may have changed between them. So they are asked
/// again, until the API server says the same before and after the gateway was asked.
fn settled(first: [Ended; 2], again: impl Fn() -> Result<[Ended; 3]>) -> Result<[Ended; 2]> {
    if first[0] == first[1] {
        return Ok(first);
    }
    wait::until(
        "the objects are as they were",
        Duration::from_secs(60),
        || {
            let [before, through, after] = again()?;
            Ok((before == after).then_some([before, through]))
        },
    )
}

/// What is wrong with a command, if anything.
fn compared(row: &Row, [direct, through]: &[Ended; 2]) -> Option<String> {
    let (command, code, words) = row;
    let meant = |ended: &Ended| {
        ended.code == *code && (ended.stdout.contains(words) || ended.stderr.contains(words))
    };
    if direct != through {
        let [direct, through] = differing(&direct.to_string(), &through.to_string());
        Some(format!(
            "{command}\n=== direct differs from here:\n{direct}\n=== gateway:\n{through}"
        ))
    } else if !meant(direct) {
        Some(format!(
            "{command}\n=== equal, but not exit {code} with {words:?}: {direct}"
        ))
    } else {
        None
    }
}

/// The first lines that two texts do not share.
fn differing(one: &str, other: &str) -> [String; 2] {
    let shared = one.lines().zip(other.lines());
    let shared = shared.take_while(|(one, other)| one == other).count();
    [one, other].map(|text| {
        let lines: Vec<&str> = text.lines().skip(shared).take(20).collect();
        lines.join("\n")
    })
}

/// Where a side works: its own place, or the one that both read.
fn place(group: &Group, suffix: &'static str) -> Place {
    let [east, _] = SUFFIXES;
    let own = group.objects == Objects::Equal;
    let name = group.namespace;
    Place {
        namespace: if own {
            format!("{name}-{suffix}")
        } else {
            name.to_owned()
        },
        node: format!("node-{}", if own { suffix } else { east }),
        suffix,
    }
}

/// Makes the namespaces, what is read by both sides, and the rights of `cert-dev`.
fn prepare(both: &Both<'_>) -> Result<()> {
    let admin = both.cluster.kubectl()?;
    let mut names: Vec<String> = GROUPS
        .iter()
        .flat_map(|group| SUFFIXES.map(|suffix| place(group, suffix).namespace))
        .collect();
    names.dedup();
    let manifests = names
        .iter()
        .map(|name| format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n---\n"));
    admin.apply(&manifests.collect::<String>())?;
    for name in &names {
        wait::until(
            "the namespace has an account",
            Duration::from_secs(30),
            || {
                admin
                    .ok(&["get", "-n", name, "sa/default", "cm/kube-root-ca.crt"])
                    .map(Some)
            },
        )?;
    }
    for name in names.iter().filter(|name| name.starts_with("few-")) {
        let edit = [
            "create",
            "rolebinding",
            "edit",
            "--clusterrole=edit",
            "--group=team-a",
        ];
        admin.ok(&[&edit[..], &["-n", name]].concat())?;
    }
    let [direct, _] = both.sides(&FIXTURE)?;
    for row in FIXTURE.rows {
        let ended = direct.run(row.0)?;
        ensure!(
            ended.code == row.1 && ended.stdout.contains(row.2),
            "{}: {ended}",
            row.0
        );
    }
    wait::until("the pods are measured", Duration::from_secs(60), || {
        let told = admin.ok(&["top", "pods", "-n", "reads"])?;
        let has = |pod| told.lines().any(|line| line.starts_with(pod));
        Ok(["again", "web-"].iter().all(has).then_some(()))
    })
}

/// Answers that the gateway has passed, by its own count.
fn passed(gateway: &Gateway) -> Result<u64> {
    let metrics = gateway.metrics()?;
    let counters = metrics
        .lines()
        .filter(|line| line.starts_with("streamway_requests_total"));
    let counts: Option<Vec<u64>> = counters
        .map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect();
    Ok(counts.context("no count in the metrics")?.iter().sum())
}

#[test]
fn every_verb_works_as_without_the_gateway() {
    let builder = Cluster::builder("test-gateway-verbs")
        .api_server(OLD_API_SERVER)
        .controllers(true)
        .metrics_server(true);
    let nodes = SUFFIXES.iter().fold(builder, |builder, suffix| {
        builder.node(&format!("node-{suffix}"), OLD_API_SERVER, None)
    });
    let cluster = nodes.up().unwrap();
    let gateway = cluster.gateway("gateway").up().unwrap();
    let both = Both {
        cluster: &cluster,
        gateway: &gateway,
    };
    prepare(&both).unwrap();
    let before = passed(&gateway).unwrap();
    let mut suite = Suite::default();
    let mut commands = 0;
    for group in &GROUPS {
        let count = group.rows.len();
        commands += count;
        suite.check(&format!("{}: {count} commands", group.what), || {
            both.same(group)
        });
    }
    suite.check(&format!("all {commands} went through the gateway"), || {
        let passed = passed(&gateway)? - before;
        // A command asks once at least; `kustomize` and the like, which ask nothing, are not here.
        ensure!(passed >= u64::try_from(commands)?, "{passed} requests");
        Ok(())
    });
    suite.verdict();
}
