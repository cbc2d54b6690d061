//! What the tests of the controller ask of the API server.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::Resource;
use kube::api::{Api, DeleteParams, PostParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use streamway_crds::{NodeStreaming, StreamingRollout};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::controller::{Audit, Controller};
use streamway_e2e::fake_nodes::{FakeNode, FakeNodes};
use streamway_e2e::wait;

/// The longest that anything is waited for.
const TIME: Duration = Duration::from_secs(90);

/// A cluster with nodes to come, and its audit log.
pub(crate) struct Stage<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) nodes: &'a FakeNodes,
    pub(crate) audit: &'a Audit,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(cluster: &'a Cluster, nodes: &'a FakeNodes, audit: &'a Audit) -> Self {
        Self {
            cluster,
            nodes,
            audit,
        }
    }

    /// Nodes `POOL-0` and on, with an old kubelet.
    pub(crate) fn make(&self, pool: &str, count: usize) -> Result<Vec<String>> {
        let names: Vec<_> = (0..count).map(|index| format!("{pool}-{index}")).collect();
        let nodes = names.iter().map(|name| FakeNode {
            name: name.clone(),
            kubelet: "v1.34.4".to_owned(),
            pool: pool.to_owned(),
        });
        self.nodes.make(&nodes.collect::<Vec<_>>())?;
        Ok(names)
    }

    /// A controller whose Lease is short, if `flags` say nothing else.
    pub(crate) fn controller(&self, name: &str, flags: &[&str]) -> Result<Controller<'a>> {
        let port = format!("--agent-admin-port={}", self.nodes.admin_port());
        let short = [
            "--leader-elect-lease-duration=3s",
            "--leader-elect-renew-deadline=2s",
            "--leader-elect-retry-period=500ms",
        ];
        let flags = if flags.is_empty() { &short } else { flags };
        Controller::start(self.cluster, name, &[&[&*port, "-v=4"], flags].concat())
    }

    pub(crate) fn create(&self, rollout: &Value) -> Result<()> {
        let rollout: StreamingRollout = serde_json::from_value(rollout.clone())?;
        let (_, runtime) = self.nodes.client();
        let api: Api<StreamingRollout> = self.api();
        runtime.block_on(async { api.create(&PostParams::default(), &rollout).await })?;
        Ok(())
    }

    pub(crate) fn delete(&self, rollout: &str) -> Result<()> {
        let (_, runtime) = self.nodes.client();
        let api: Api<StreamingRollout> = self.api();
        runtime.block_on(async { api.delete(rollout, &DeleteParams::default()).await })?;
        Ok(())
    }

    pub(crate) fn node(&self, name: &str) -> Result<Value> {
        self.get::<Node>(name)
    }

    pub(crate) fn streaming(&self, name: &str) -> Result<Value> {
        self.get::<NodeStreaming>(name)
    }

    pub(crate) fn rollout(&self, name: &str) -> Result<Value> {
        self.get::<StreamingRollout>(name)
    }

    /// The wave that a node is in.
    pub(crate) fn wave(&self, node: &str) -> Result<String> {
        let streaming = self.streaming(node)?;
        let wave = streaming.pointer("/spec/wave").and_then(Value::as_str);
        Ok(wave.context("no wave")?.to_owned())
    }

    /// Waits until a rollout is in a phase.
    pub(crate) fn phase(&self, rollout: &str, phase: &str) -> Result<()> {
        let mut last = Value::Null;
        let reached = wait::until(&format!("{rollout} is {phase}"), TIME, || {
            last = self.rollout(rollout)?;
            Ok((last.pointer("/status/phase") == Some(&json!(phase))).then_some(()))
        });
        reached.with_context(|| last["status"].to_string())
    }

    pub(crate) fn until(&self, what: &str, condition: impl FnMut() -> Result<bool>) -> Result<()> {
        let mut condition = condition;
        wait::until(what, TIME, || Ok(condition()?.then_some(())))
    }

    /// Waits until a node is as its kubelet made it, and nothing is wished of it.
    pub(crate) fn given_back(&self, name: &str) -> Result<()> {
        let mut last = Value::Null;
        let given = wait::until(&format!("{name} is given back"), TIME, || {
            last = self.streaming(name)?;
            let spec = &last["spec"];
            let as_before = spec["traffic"] == "Kubelet" && spec["feature"] == "Kubelet";
            Ok((as_before && !declared(&self.node(name)?)).then_some(()))
        });
        given.with_context(|| last.to_string())
    }

    /// Whether the controller's ClusterRole carries the finalizer.
    pub(crate) fn held(&self) -> Result<bool> {
        let role = self.get::<k8s_openapi::api::rbac::v1::ClusterRole>("streamway-controller")?;
        let finalizers = role
            .pointer("/metadata/finalizers")
            .and_then(Value::as_array);
        Ok(finalizers.is_some_and(|all| all.contains(&json!("streamway.dev/withdraw"))))
    }

    /// The notes of Events about an object.
    pub(crate) fn events(&self, about: &str) -> Result<Vec<String>> {
        let selector = format!("regarding.name={about}");
        let args = ["get", "events.events.k8s.io", "-n", "default", "-o", "json"];
        let events = self
            .cluster
            .kubectl()?
            .ok(&[&args[..], &["--field-selector", &selector]].concat())?;
        let events: Value = serde_json::from_str(&events)?;
        let items = events["items"].as_array().context("no list")?;
        let notes = items.iter().filter_map(|event| event["note"].as_str());
        Ok(notes.map(str::to_owned).collect())
    }

    /// How many writes a node cost, and its NodeStreaming's spec and status.
    pub(crate) fn api_writes(&self, entries: &[Value], node: &str) -> (usize, usize, usize) {
        let of = |resource: &str, subresource: &str| {
            let matches = |entry: &&Value| {
                let object = &entry["objectRef"];
                object["resource"] == resource
                    && object["subresource"].as_str().unwrap_or_default() == subresource
                    && object["name"] == node
                    && is_write(entry)
            };
            entries.iter().filter(matches).count()
        };
        (
            of("nodes", "status"),
            of("nodestreamings", ""),
            of("nodestreamings", "status"),
        )
    }

    /// That nothing is written while nothing happens.
    pub(crate) fn quiet(&self, pool: &str) -> Result<()> {
        let writes = || {
            let entries = self.audit.entries();
            let ours = |entry: &&Value| {
                let name = entry["objectRef"]["name"].as_str().unwrap_or_default();
                name.starts_with(pool) && is_write(entry)
            };
            entries.iter().filter(ours).count()
        };
        let before = writes();
        let asked = self.nodes.asked();
        // Three rounds of heartbeats and more.
        self.until("agents are asked", || Ok(self.nodes.asked() > asked + 15))?;
        ensure!(
            writes() == before,
            "{} writes for nothing",
            writes() - before
        );
        Ok(())
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope>,
    {
        Api::all(self.nodes.client().0.clone())
    }

    fn get<K>(&self, name: &str) -> Result<Value>
    where
        K: Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope>,
        K: Clone + Debug + Serialize + DeserializeOwned,
    {
        let (_, runtime) = self.nodes.client();
        let api: Api<K> = self.api();
        let got = runtime.block_on(async { api.get(name).await })?;
        Ok(serde_json::to_value(got)?)
    }
}

/// Whether a Node declares the feature.
pub(crate) fn declared(node: &Value) -> bool {
    let features = node
        .pointer("/status/declaredFeatures")
        .and_then(Value::as_array);
    features.is_some_and(|all| all.contains(&json!("ExtendWebSocketsToKubelet")))
}

/// A rollout over the nodes of the pool of its name, judged each second by what their agents count.
pub(crate) fn rollout(name: &str, waves: Value) -> Value {
    json!({
        "apiVersion": "streamway.dev/v1alpha1",
        "kind": "StreamingRollout",
        "metadata": {"name": name},
        "spec": {
            "nodeSelector": {"matchLabels": {"pool": name}},
            "waves": waves,
            "analysis": {
                "interval": "1s", "minSamples": 1, "inconclusiveLimit": 60, "failureLimit": 1,
                "objectives": [{"indicator": "Sessions", "min": "99%"}],
                "prober": {"enabled": false},
            },
        },
    })
}

fn is_write(entry: &Value) -> bool {
    let verb = entry["verb"].as_str().unwrap_or_default();
    let ok = entry["responseStatus"]["code"]
        .as_u64()
        .is_some_and(|code| code < 300);
    ok && ["create", "update", "patch", "delete"].contains(&verb)
}

/// What the controller did with a node, in order: what each write of the Node and of the wish
/// changed, with its place in the audit log.
fn changes(entries: &[Value], node: &str) -> Vec<(usize, String)> {
    let (mut traffic, mut feature) = ("Kubelet".to_owned(), "Kubelet".to_owned());
    let mut found = Vec::new();
    for (place, entry) in entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| is_write(entry))
    {
        let object = &entry["objectRef"];
        if object["name"] != node {
            continue;
        }
        let body = &entry["requestObject"];
        let mut note = |what: String| found.push((place, what));
        match (object["resource"].as_str(), object["subresource"].as_str()) {
            (Some("nodestreamings"), None) if entry["verb"] == "create" => {
                note("created".to_owned())
            }
            (Some("nodestreamings"), None) => {
                let told =
                    |field: &str| body["spec"][field].as_str().unwrap_or("Kubelet").to_owned();
                if told("traffic") != traffic {
                    traffic = told("traffic");
                    note(format!("traffic {traffic}"));
                }
                if told("feature") != feature {
                    feature = told("feature");
                    note(format!("feature {feature}"));
                }
            }
            (Some("nodes"), Some("status")) => {
                if let Some(features) = body["status"].get("declaredFeatures") {
                    let declares = declared(&json!({"status": {"declaredFeatures": features}}));
                    note(if declares { "declares" } else { "withdraws" }.to_owned());
                }
            }
            _ => {}
        }
    }
    found
}

/// The same, without the places.
pub(crate) fn order_of(entries: &[Value], node: &str) -> Vec<String> {
    changes(entries, node)
        .into_iter()
        .map(|(_, what)| what)
        .collect()
}

/// The places only.
pub(crate) fn writes_to(entries: &[Value], node: &str) -> Vec<usize> {
    changes(entries, node)
        .into_iter()
        .map(|(place, _)| place)
        .collect()
}
