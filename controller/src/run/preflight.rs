//! What must be there before the controller can begin, and what to do where it is not.

use kube::Client;
use streamway_crds::names;
use streamway_daemon::exit::ExitError;

use super::rights;
use crate::args::RunArgs;
use crate::withdraw::is_not_found;

/// Kinds of ours that the API server must know.
const KINDS: [&str; 3] = ["nodestreamings", "rolloutactions", "streamingrollouts"];

/// Looks at the API server, at our kinds, and at the controller's rights.
///
/// # Errors
///
/// One of them is missing; the message says which and what installs it.
pub(super) async fn check(client: &Client, args: &RunArgs) -> Result<(), ExitError> {
    client.apiserver_version().await.map_err(no_answer)?;
    let known = kinds(client).await?;
    let unknown: Vec<_> = KINDS
        .iter()
        .filter(|kind| !known.iter().any(|one| one == *kind))
        .collect();
    if !unknown.is_empty() {
        let unknown: Vec<_> = unknown
            .iter()
            .map(|kind| format!("{kind}.{}", names::GROUP))
            .collect();
        return Err(ExitError::failure(format_args!(
            "the API server does not know {}; install the definitions with \
             kubectl apply --server-side -k crds, or all of Streamway with \
             kubectl apply --server-side -k config/overlays/default",
            unknown.join(", ")
        )));
    }
    let missing = rights::missing(client, args).await.map_err(no_answer)?;
    if missing.is_empty() {
        return Ok(());
    }
    let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
    let account = if args.own_rights.is_empty() {
        "the controller's account".to_owned()
    } else {
        format!("ClusterRole {}", args.own_rights)
    };
    Err(ExitError::failure(format_args!(
        "the controller may not: {}; give these verbs to {account}, or restore it with \
         kubectl apply --server-side -k config/overlays/default",
        missing.join("; ")
    )))
}

/// Names of our kinds that are served; none where the group is not.
async fn kinds(client: &Client) -> Result<Vec<String>, ExitError> {
    let version = format!("{}/{}", names::GROUP, names::VERSION);
    match client.list_api_group_resources(&version).await {
        Ok(list) => Ok(list
            .resources
            .into_iter()
            .map(|resource| resource.name)
            .collect()),
        Err(error) if is_not_found(&error) => Ok(Vec::new()),
        Err(error) => Err(no_answer(error)),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn no_answer(error: kube::Error) -> ExitError {
    ExitError::failure(format_args!(
        "the API server cannot be asked: {error}; check that it runs and that the kubeconfig or the \
         service account is its own"
    ))
}
