//! Flags of `controller withdraw`.

use clap::Args;
use streamway_crds::names;

use super::InstallationArgs;

/// Flags of `controller withdraw`.
#[derive(Debug, Clone, Args)]
pub struct WithdrawArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it")]
    pub installation: InstallationArgs,

    /// Say what would be taken back, and write nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Port that kubelets listen on, for Nodes whose NodeStreaming no longer tells it
    #[arg(long, value_name = "PORT", default_value_t = names::KUBELET_PORT)]
    pub kubelet_port: u16,

    /// Name of the controller's ServiceAccount, ClusterRole and ClusterRoleBinding, which lose their
    /// finalizer; empty for none
    #[arg(long, value_name = "NAME", default_value = names::CONTROLLER)]
    pub own_rights: String,

    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it")]
    pub logs: streamway_daemon::logs::LogArgs,
}

pub(super) fn help() -> &'static str {
    "Examples:\n  \
     See what is left, then take it back:\n    \
     controller withdraw --kubeconfig admin.conf --dry-run\n    \
     controller withdraw --kubeconfig admin.conf"
}
