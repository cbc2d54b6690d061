//! What only the leader does: it plans and writes, gives agents their identities, and takes
//! everything back when its own rights are deleted.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use streamway_crds::names;
use streamway_daemon::exit::ExitError;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::access::Access;
use crate::approver::{Agents, Approver};
use crate::args::RunArgs;
use crate::control::Control;
use crate::events::Events;
use crate::hold::Hold;
use crate::metrics::Metrics;
use crate::observe::{Caches, Changes};
use crate::uninstall::OwnRights;
use crate::withdraw::{Account, Ports, Withdrawal};

/// Told to end, the controller looks for so long whether it is being uninstalled: `kubectl delete -k`
/// deletes the Deployment and the rights one after the other.
const UNINSTALL_MAY_FOLLOW: Duration = Duration::from_secs(3);

/// Between two tries to take everything back.
const AGAIN: Duration = Duration::from_secs(1);

/// The one that acts.
pub(crate) struct Leader {
    client: Client,
    args: RunArgs,
    caches: Caches,
    changes: Changes,
    metrics: Metrics,
    rights: OwnRights,
    hold: Arc<Hold>,
    events: Events,
}

impl Leader {
    pub(crate) fn new(
        client: Client,
        args: RunArgs,
        (caches, changes): (Caches, Changes),
        metrics: Metrics,
        identity: String,
    ) -> Self {
        let rights = OwnRights::new(&client, &args.installation.namespace, &args.own_rights);
        let hold = Arc::new(Hold::new(rights.clone(), caches.own.clone()));
        let events = Events::new(&client, identity);
        Self {
            events,
            client,
            args,
            caches,
            changes,
            metrics,
            rights,
            hold,
        }
    }

    /// Acts until `stop`, or until it has uninstalled everything. Writes that are under way at `stop`
    /// come to their end first.
    ///
    /// # Errors
    ///
    /// It uninstalled, which leaves it nothing to do.
    pub(crate) async fn run(&self, stop: CancellationToken) -> Result<(), ExitError> {
        if stop
            .run_until_cancelled(self.caches.ready())
            .await
            .is_none()
        {
            return Ok(());
        }
        let approver = self.approver();
        // A task of its own: what it is at must not keep nodes waiting. It ends with the leader.
        let access = Access::new(&self.client, &self.metrics);
        let _access = AbortOnDropHandle::new(tokio::spawn(access.run()));
        // One token for both ways to end: writes under way are finished in either case.
        let quiet = stop.child_token();
        let control = Control::new(
            &self.client,
            &self.args,
            (&self.caches, &self.changes),
            &self.metrics,
            &self.hold,
            self.events.clone(),
        );
        let acting = control.run(quiet.clone());
        tokio::pin!(acting);
        tokio::select! {
            () = &mut acting => {}
            () = approver.run() => {}
            () = self.rights_go() => {
                tracing::warn!("the controller's rights are being deleted; taking everything back");
                quiet.cancel();
                acting.await;
                return self.uninstall(&stop).await;
            }
        }
        // Told to end. Held rights mean that nodes depend on us: see whether they are to be let go.
        if self.hold.is_held()
            && timeout(UNINSTALL_MAY_FOLLOW, self.rights_go())
                .await
                .is_ok()
        {
            return self.uninstall(&CancellationToken::new()).await;
        }
        Ok(())
    }

    /// Whether its rights are being deleted, so that all it does is to take everything back.
    pub(crate) fn is_uninstalling(&self) -> bool {
        self.hold.is_going()
    }

    /// Waits until somebody deletes the controller's rights.
    async fn rights_go(&self) {
        while !self.hold.is_going() {
            self.changes.rights.notified().await;
        }
    }

    /// Takes everything back, again and again until it is done; then lets go of the rights.
    async fn uninstall(&self, stop: &CancellationToken) -> Result<(), ExitError> {
        let withdrawal = Withdrawal {
            client: &self.client,
            ports: Ports {
                agent: self.args.installation.agent_port,
                kubelet: names::KUBELET_PORT,
            },
            dry_run: false,
        };
        let mut taken_back = false;
        loop {
            let account = self.withdrawn(&withdrawal, &mut taken_back).await;
            if account.failed.is_empty() {
                return Err(ExitError::failure(
                    "the controller's rights were deleted, so everything was taken back; install \
                     it again with kubectl apply --server-side -k config/overlays/default",
                ));
            }
            let again = tokio::time::sleep(AGAIN);
            if stop.run_until_cancelled(again).await.is_none() {
                return Err(ExitError::failure(format_args!(
                    "not everything could be taken back: {}; run controller withdraw",
                    account.failed.join("; ")
                )));
            }
        }
    }

    /// Once everything is `taken_back`, only the rights are let go of: with the first of them goes the
    /// right to look at Nodes again.
    async fn withdrawn(&self, withdrawal: &Withdrawal<'_>, taken_back: &mut bool) -> Account {
        let mut account = Account::default();
        if !*taken_back {
            account = withdrawal.everything().await;
            if account.failed.is_empty() {
                let outlived = self.rights.outlive().await;
                let what = "rights to let go of the rights".to_owned();
                account.note(what, outlived.map_err(|error| error.to_string()));
            }
            *taken_back = account.failed.is_empty();
        }
        if *taken_back {
            self.rights.release(false, &mut account).await;
        }
        account
    }

    fn approver(&self) -> Approver {
        let caches = self.caches.clone();
        Approver {
            client: self.client.clone(),
            agents: Agents {
                namespace: self.args.agent_namespace.clone(),
                service_account: self.args.agent_service_account.clone(),
            },
            metrics: self.metrics.clone(),
            requests: caches.requests,
            roles: caches.roles,
            bindings: caches.bindings,
            pods: caches.pods,
            streamings: caches.streamings,
            changed: self.changes.identities.clone(),
        }
    }
}
