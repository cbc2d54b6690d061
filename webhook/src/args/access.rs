//! Flags of the rule that sessions need `create`.

use std::path::PathBuf;

use clap::Args;
use streamway_crds::names;
use streamway_daemon::exit::ExitError;
use streamway_daemon::tls::ClientCa;

use crate::callers::Callers;

/// Who is asked for `create`, and by whom.
#[derive(Debug, Clone, Args)]
pub struct AccessArgs {
    /// Serve /admit/connect, and with --client-ca-file /authorize: a session in a pod needs create as
    /// well as get
    #[arg(long)]
    pub access_check: bool,

    /// ValidatingWebhookConfiguration whose caBundle is kept current as well
    #[arg(long, value_name = "NAME", default_value = names::ACCESS_CONFIGURATION, requires = "access_check")]
    pub validating_webhook_configuration: String,

    /// CA bundle (PEM), read again when it changes. Who shows a certificate of it may ask at
    /// /authorize; without it nobody
    #[arg(long, value_name = "FILE", requires = "access_check")]
    pub client_ca_file: Option<PathBuf>,

    /// Common names that such a certificate must have one of, by comma; without it any
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        requires = "client_ca_file"
    )]
    pub client_allowed_names: Vec<String>,

    /// At /authorize, get on nodes/proxy needs create as well: a kubelet that is asked directly runs
    /// commands for it
    #[arg(long, requires = "client_ca_file")]
    pub guard_nodes_proxy: bool,

    /// Take RBAC's yes from memory, and ask the API server only where RBAC does not allow, and now and then
    /// to compare. Right where no authorizer before RBAC denies create; takes rights to watch roles and
    /// bindings, and the memory to hold them
    #[arg(long, requires = "access_check")]
    pub rbac_answers_first: bool,
}

impl AccessArgs {
    /// Who may ask at /authorize; none where nobody may.
    ///
    /// # Errors
    /// [`ExitError`] (64) for a file that cannot be used.
    pub(crate) fn callers(&self) -> Result<Option<(Callers, ClientCa)>, ExitError> {
        let Some(path) = &self.client_ca_file else {
            return Ok(None);
        };
        let authorities = ClientCa::from_file("--client-ca-file", path)?;
        let callers = Callers::new(authorities.clone(), self.client_allowed_names.clone());
        Ok(Some((callers, authorities)))
    }
}
