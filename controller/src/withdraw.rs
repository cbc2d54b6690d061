//! Taking everything back: what uninstalling does, and `controller withdraw` from outside.
//!
//! Nothing of Streamway's needs to be there for it. The order is that of every way out: the feature
//! goes before the traffic, so that no WebSocket meets a kubelet that cannot speak it.

mod left;

use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use streamway_crds::{Feature, NodeStreaming, Traffic, names};
use streamway_daemon::exit::ExitError;
use tokio::time::{Instant, sleep};

use crate::args::WithdrawArgs;
use crate::client;
use crate::uninstall::OwnRights;

pub(crate) use left::{Left, Ports, left_behind};

/// How long what is written may take to hold: a webhook that has not seen the new wish yet puts the
/// old one back, and others write the same Node.
const HOLDS: Duration = Duration::from_secs(15);

/// How many objects are written at once: a deleted account's token is good for a minute.
const AT_ONCE: usize = 16;

/// Takes everything back in one cluster.
pub(crate) struct Withdrawal<'a> {
    pub(crate) client: &'a Client,
    pub(crate) ports: Ports,
    /// Say what would be done, and do nothing.
    pub(crate) dry_run: bool,
}

/// What was done, and what could not be.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// What was taken back.
    pub(crate) done: Vec<String>,
    /// What could not be, and why.
    pub(crate) failed: Vec<String>,
}

impl Account {
    pub(crate) fn note(&mut self, what: String, result: Result<(), String>) {
        match result {
            Ok(()) => {
                tracing::info!(what, "taken back");
                self.done.push(what);
            }
            Err(why) => {
                tracing::error!(what, why, "cannot be taken back");
                self.failed.push(format!("{what}: {why}"));
            }
        }
    }
}

impl Withdrawal<'_> {
    /// NodeStreamings and Nodes, in order: features, then traffic and ports; the agents' roles last.
    pub(crate) async fn everything(&self) -> Account {
        let mut account = Account::default();
        let wanted = json!({"spec": {"feature": Feature::Kubelet}});
        let asks = |one: &NodeStreaming| one.spec.feature != Feature::Kubelet;
        self.streamings("no feature is wanted", &wanted, asks, &mut account)
            .await;
        self.nodes(false, &mut account).await;
        let wanted = json!({"spec": {"traffic": Traffic::Kubelet}});
        let asks = |one: &NodeStreaming| one.spec.traffic != Traffic::Kubelet;
        self.streamings("no traffic is wanted", &wanted, asks, &mut account)
            .await;
        self.nodes(true, &mut account).await;
        self.roles::<ClusterRoleBinding>(&mut account).await;
        self.roles::<ClusterRole>(&mut account).await;
        account
    }

    /// Patches the NodeStreamings that ask for something.
    async fn streamings(
        &self,
        what: &str,
        patch: &Value,
        asks: impl Fn(&NodeStreaming) -> bool,
        account: &mut Account,
    ) {
        let api: Api<NodeStreaming> = Api::all(self.client.clone());
        let listed = match api.list(&ListParams::default()).await {
            Ok(listed) => listed,
            // The CRD is gone.
            Err(error) if is_not_found(&error) => return,
            Err(error) => {
                account
                    .failed
                    .push(format!("NodeStreamings cannot be listed: {error}"));
                return;
            }
        };
        let params = self.params();
        let written = listed
            .iter()
            .filter(|one| asks(one))
            .map(|streaming| async {
                let name = streaming.name_any();
                let written = api.patch(&name, &params, &Patch::Merge(patch)).await;
                (name, written)
            });
        let mut written = futures_util::stream::iter(written).buffer_unordered(AT_ONCE);
        while let Some((name, written)) = written.next().await {
            account.note(
                format!("NodeStreaming {name}: {what}"),
                gone_is_fine(written),
            );
        }
    }

    /// Patches the Nodes that have something of ours; their ports only where `ports` says so.
    async fn nodes(&self, ports: bool, account: &mut Account) {
        let api: Api<Node> = Api::all(self.client.clone());
        let mut pages = ListParams::default().limit(500);
        loop {
            let page = match api.list(&pages).await {
                Ok(page) => page,
                Err(error) => {
                    account
                        .failed
                        .push(format!("Nodes cannot be listed: {error}"));
                    return;
                }
            };
            let taken = page.items.into_iter().filter_map(|node| {
                let left = self.left(&node, ports);
                let what = format!("Node {}: {}", node.name_any(), told(&left));
                let taken = self.node(&api, node, ports);
                (!left.is_nothing()).then_some(async { (what, taken.await) })
            });
            let mut taken = futures_util::stream::iter(taken).buffer_unordered(AT_ONCE);
            while let Some((what, result)) = taken.next().await {
                account.note(what, result);
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => pages = pages.continue_token(&token),
                None => return,
            }
        }
    }

    /// Writes until it holds.
    async fn node(&self, api: &Api<Node>, mut node: Node, ports: bool) -> Result<(), String> {
        let name = node.name_any();
        let deadline = Instant::now() + HOLDS;
        loop {
            let patch = self.left(&node, ports).patch(&node);
            let patched = api
                .patch_status(&name, &self.params(), &Patch::Merge(&patch))
                .await;
            let why = match patched {
                Ok(written) if self.left(&written, ports).is_nothing() => return Ok(()),
                Ok(_) => "somebody puts it back".to_owned(),
                Err(error) if is_not_found(&error) => return Ok(()),
                Err(error) => error.to_string(),
            };
            if Instant::now() > deadline {
                return Err(why);
            }
            sleep(Duration::from_millis(500)).await;
            match api.get_opt(&name).await {
                Ok(Some(now)) if self.left(&now, ports).is_nothing() => return Ok(()),
                Ok(Some(now)) => node = now,
                Ok(None) => return Ok(()),
                Err(_) => {}
            }
        }
    }

    fn left(&self, node: &Node, ports: bool) -> Left {
        let left = left_behind(node, self.ports);
        Left {
            port: left.port.filter(|_| ports),
            ..left
        }
    }

    /// Deletes the rights of agents.
    async fn roles<K>(&self, account: &mut Account)
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let kind = K::kind(&());
        let api: Api<K> = Api::all(self.client.clone());
        let ours = ListParams::default().labels(names::NODE_LABEL);
        let listed = match api.list(&ours).await {
            Ok(listed) => listed,
            Err(error) => {
                account
                    .failed
                    .push(format!("{kind}s cannot be listed: {error}"));
                return;
            }
        };
        let params = DeleteParams {
            dry_run: self.dry_run,
            ..DeleteParams::default()
        };
        let names = listed.iter().map(ResourceExt::name_any);
        let deleted = names
            .filter(|name| name.starts_with(names::AGENT_USER_PREFIX))
            .map(|name| async {
                let deleted = api.delete(&name, &params).await;
                (name, deleted)
            });
        let mut deleted = futures_util::stream::iter(deleted).buffer_unordered(AT_ONCE);
        while let Some((name, deleted)) = deleted.next().await {
            account.note(format!("{kind} {name}: deleted"), gone_is_fine(deleted));
        }
    }

    fn params(&self) -> PatchParams {
        PatchParams {
            dry_run: self.dry_run,
            field_manager: Some(names::CONTROLLER_MANAGER.to_owned()),
            ..PatchParams::default()
        }
    }
}

fn told(left: &Left) -> String {
    let feature = left
        .declares
        .is_some()
        .then(|| format!("{} withdrawn", names::FEATURE));
    let port = left.port.map(|port| format!("kubelet port {port} again"));
    [feature, port]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
}

/// Whether an error says that an object, or a kind, is not there.
pub(crate) fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

fn gone_is_fine<T>(result: Result<T, kube::Error>) -> Result<(), String> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if is_not_found(&error) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Runs `controller withdraw`.
///
/// # Errors
///
/// Something could not be taken back.
pub(crate) async fn run(args: &WithdrawArgs) -> Result<(), ExitError> {
    let client = client::connect(&args.installation).await?;
    let withdrawal = Withdrawal {
        client: &client,
        ports: Ports {
            agent: args.installation.agent_port,
            kubelet: args.kubelet_port,
        },
        dry_run: args.dry_run,
    };
    let mut account = withdrawal.everything().await;
    let own = OwnRights::new(&client, &args.installation.namespace, &args.own_rights);
    if account.failed.is_empty() {
        own.release(args.dry_run, &mut account).await;
    }
    let verb = if args.dry_run { "would be" } else { "was" };
    say(&format!("{} {verb} taken back", account.done.len()));
    if account.failed.is_empty() {
        return Ok(());
    }
    Err(ExitError::failure(format_args!(
        "not everything could be taken back: {}; run it again",
        account.failed.join("; ")
    )))
}

/// A line for whoever runs the command.
#[allow(clippy::print_stdout)]
fn say(line: &str) {
    println!("{line}");
}
