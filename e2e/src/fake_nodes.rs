//! Nodes that are nothing but objects, with agents that are nothing but answers.
//!
//! Fakes, for two things that real nodes cannot be made to do: to be five thousand on one machine, and
//! to misbehave on command. What is real is all that the controller talks to: the API server, etcd,
//! HTTP. A node is a Node object of a kubelet that never was, a Lease, and an agent's Pod; its address
//! is one of its own in 127.0.0.0/8, so that one listener is every node's agent and knows by the
//! address whose. An agent does what the real one reports: once its NodeStreaming says where traffic
//! is to go, its status says that it goes there. No traffic goes anywhere, so nothing here proves a
//! session: tests on real nodes do.

mod agents;
mod objects;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::runtime::Runtime;

/// How an agent answers the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agent {
    /// Ready; its sessions end well.
    Well,
    /// Ready; each of its sessions fails.
    Failing,
    /// It says that it is not ready, and why.
    NotReady(String),
    /// It takes connections and answers nothing, as a stopped process does. Its status stands still.
    Hanging,
}

/// A node to make.
#[derive(Debug, Clone)]
pub struct FakeNode {
    /// The Node's name.
    pub name: String,
    /// Its kubelet's version, such as `v1.34.4`.
    pub kubelet: String,
    /// Its label `pool`.
    pub pool: String,
}

/// Nodes, and the agents on them. Dropping it ends the agents; the objects stay.
#[allow(missing_debug_implementations, reason = "kube's client has none")]
pub struct FakeNodes {
    runtime: Runtime,
    client: Client,
    agents: Arc<Agents>,
    port: u16,
}

/// What every agent's answer is looked up in.
#[derive(Debug, Default)]
struct Agents {
    by_name: Mutex<HashMap<String, State>>,
    by_address: Mutex<HashMap<Ipv4Addr, String>>,
}

#[derive(Debug)]
struct State {
    agent: Agent,
    /// Sessions that it counted.
    sessions: u64,
    failed: u64,
    asked: u64,
}

impl FakeNodes {
    /// None yet, in the cluster of a kubeconfig's administrator; their agents listen.
    pub fn start(kubeconfig: &Path) -> Result<Self> {
        // The client's TLS; one that is installed already stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = Runtime::new()?;
        let client = runtime.block_on(connect(kubeconfig))?;
        let agents = Arc::new(Agents::default());
        let port = runtime.block_on(agents::listen(Arc::clone(&agents)))?;
        runtime.spawn(agents::follow(client.clone(), Arc::clone(&agents)));
        Ok(Self {
            runtime,
            client,
            agents,
            port,
        })
    }

    /// The port of the agents' `/readyz` and `/metrics`, for `--agent-admin-port`.
    pub fn admin_port(&self) -> u16 {
        self.port
    }

    /// Makes nodes, each with its Lease and its agent's ready Pod, sixteen at once.
    pub fn make(&self, nodes: &[FakeNode]) -> Result<()> {
        let mut all = Vec::new();
        for node in nodes {
            let address = self.agents.add(&node.name)?;
            all.push((node.clone(), address));
        }
        self.runtime.block_on(objects::make(&self.client, all))
    }

    /// From now on a node's agent is like this.
    pub fn set(&self, node: &str, agent: Agent) -> Result<()> {
        let mut agents = self.agents.by_name();
        agents.get_mut(node).context("no such node")?.agent = agent;
        Ok(())
    }

    /// How often agents were asked for anything.
    pub fn asked(&self) -> u64 {
        self.agents
            .by_name()
            .values()
            .map(|state| state.asked)
            .sum()
    }

    /// A client of the administrator's, and the runtime that it works in.
    pub fn client(&self) -> (&Client, &Runtime) {
        (&self.client, &self.runtime)
    }
}

impl Agents {
    /// A new agent, well, at an address of its own.
    fn add(&self, name: &str) -> Result<Ipv4Addr> {
        let mut addresses = self.by_address();
        let index = u32::try_from(addresses.len())? + 1;
        // From 127.1.0.1 on: nothing else listens there.
        let address = Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 0).to_bits() + index);
        addresses.insert(address, name.to_owned());
        let state = State {
            agent: Agent::Well,
            sessions: 0,
            failed: 0,
            asked: 0,
        };
        self.by_name().insert(name.to_owned(), state);
        Ok(address)
    }

    fn by_name(&self) -> MutexGuard<'_, HashMap<String, State>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn by_address(&self) -> MutexGuard<'_, HashMap<Ipv4Addr, String>> {
        self.by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(kubeconfig: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    Ok(Client::try_from(config)?)
}
