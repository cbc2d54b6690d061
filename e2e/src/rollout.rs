//! A rollout as its administrator sees it: the object that kubectl applies, what its status tells, and how
//! sessions come to a node by the API server's own account.

use std::fmt::{self, Write as _};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::jiff::Timestamp;
use streamway_crds::{
    NodeState, NodeStreaming, NodeStreamingStatus, StreamingRollout, StreamingRolloutStatus,
};

use crate::cluster::Cluster;
use crate::kubectl::Kubectl;
use crate::wait;

/// Sessions that [`Rollout::way`] counts by: more than the prober may add meanwhile to the other count.
const COUNTED: u64 = 5;

/// How a session came to a node, by `apiserver_websocket_streaming_requests_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The API server spoke SPDY to it.
    Translated,
    /// The API server passed the WebSocket on as it was.
    Passed,
}

impl fmt::Display for Way {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Translated => "translated",
            Self::Passed => "WebSocket",
        })
    }
}

/// A rollout in a cluster that Streamway is installed in.
#[derive(Debug)]
pub struct Rollout<'a> {
    cluster: &'a Cluster,
    kubectl: Kubectl,
    name: String,
}

impl<'a> Rollout<'a> {
    /// The one of this name, there or not yet.
    pub fn new(cluster: &'a Cluster, name: &str) -> Result<Self> {
        Ok(Self {
            cluster,
            kubectl: cluster.kubectl()?,
            name: name.to_owned(),
        })
    }

    /// Applies it; `spec` is YAML, two spaces in.
    pub fn apply(&self, spec: &str) -> Result<()> {
        self.kubectl.apply(&format!(
            "apiVersion: streamway.dev/v1alpha1\nkind: StreamingRollout\nmetadata: {{name: {}}}\nspec:\n{spec}",
            self.name
        ))
    }

    /// Asks for a verb, and waits until it was carried out.
    pub fn act(&self, verb: &str) -> Result<()> {
        let verb_name = verb.to_ascii_lowercase();
        let name = format!(
            "{}-{verb_name}-{}",
            self.name,
            Timestamp::now().as_millisecond()
        );
        self.kubectl.apply(&format!(
            "apiVersion: streamway.dev/v1alpha1\nkind: RolloutAction\nmetadata: {{name: {name}}}\n\
             spec: {{rollout: {}, verb: {verb}, reason: a test's}}\n",
            self.name
        ))?;
        let path = "jsonpath={.status.result} {.status.message}";
        wait::until("the action is answered", Duration::from_secs(20), || {
            let told = self
                .kubectl
                .ok(&["get", "rolloutaction", &name, "-o", path])?;
            ensure!(!told.starts_with("Refused"), "{verb}: {told}");
            Ok(told.starts_with("Done").then_some(()))
        })
    }

    /// Deletes it.
    pub fn delete(&self) -> Result<()> {
        self.kubectl
            .ok(&["delete", "streamingrollout", &self.name])
            .map(drop)
    }

    /// Its status.
    pub fn status(&self) -> Result<StreamingRolloutStatus> {
        let text = self
            .kubectl
            .ok(&["get", "streamingrollout", &self.name, "-o", "json"])?;
        let rollout: StreamingRollout = serde_json::from_str(&text)?;
        Ok(rollout.status.unwrap_or_default())
    }

    /// Waits until its status, of its newest spec, is as `wanted` says.
    pub fn wait(
        &self,
        what: &str,
        time: Duration,
        mut wanted: impl FnMut(&StreamingRolloutStatus) -> bool,
    ) -> Result<StreamingRolloutStatus> {
        wait::until(what, time, || {
            let status = self.status()?;
            Ok(wanted(&status).then_some(status))
        })
        .with_context(|| self.told())
    }

    /// A NodeStreaming's status.
    pub fn node(&self, node: &str) -> Result<NodeStreamingStatus> {
        let text = self
            .kubectl
            .ok(&["get", "nodestreaming", node, "-o", "json"])?;
        let streaming: NodeStreaming = serde_json::from_str(&text)?;
        Ok(streaming.status.unwrap_or_default())
    }

    /// Waits until a node is in a state.
    pub fn node_is(&self, node: &str, state: NodeState, time: Duration) -> Result<()> {
        wait::until(&format!("{node} is {state:?}"), time, || {
            let status = self.node(node)?;
            Ok((status.state == Some(state)).then_some(()))
        })
        .with_context(|| self.told())
    }

    /// Runs commands on a node, and reads which way they came.
    ///
    /// # Errors
    ///
    /// A command fails, or they came neither way.
    pub fn way(&self, node: &str) -> Result<Way> {
        let counts = || -> Result<(u64, u64)> {
            let of = |proxy_type| self.cluster.streaming_requests(proxy_type);
            Ok((of("translated_at_apiserver")?, of("proxied_to_kubelet")?))
        };
        let before = counts()?;
        for _ in 0..COUNTED {
            let told = self
                .kubectl
                .ok(&["exec", &format!("box-{node}"), "--", "echo", "hi"])?;
            ensure!(told == "hi\n", "{told:?}");
        }
        let after = counts()?;
        let (translated, passed) = (after.0 - before.0, after.1 - before.1);
        match (translated, passed) {
            (COUNTED.., _) => Ok(Way::Translated),
            (0, COUNTED..) => Ok(Way::Passed),
            _ => bail!("{node}: {translated} translated, {passed} passed on, of {COUNTED}"),
        }
    }

    /// What `kubectl get streamingrollouts,nodestreamings` says.
    pub fn columns(&self) -> Result<String> {
        self.kubectl
            .ok(&["get", "streamingrollouts,nodestreamings"])
    }

    /// The columns, and why nodes are where they are: for whoever looks why it is not as it should be.
    fn told(&self) -> String {
        let mut told = self.columns().unwrap_or_default();
        let messages =
            "jsonpath={range .items[*]}{.metadata.name}: {.status.message}{\"\\n\"}{end}";
        for kind in ["streamingrollouts", "nodestreamings"] {
            let lines = self.kubectl.ok(&["get", kind, "-o", messages]);
            let _ = write!(told, "{}", lines.unwrap_or_default());
        }
        told
    }
}
