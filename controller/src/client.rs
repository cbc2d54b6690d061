//! How the API server is reached.

use std::path::Path;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use streamway_daemon::exit::ExitError;

use crate::args::InstallationArgs;

/// By `--kubeconfig`; without it as the pod's service account, or as kubectl would.
///
/// # Errors
///
/// There is no such file, or nothing in it or in the environment says where.
pub(crate) async fn connect(args: &InstallationArgs) -> Result<Client, ExitError> {
    let config = match &args.kubeconfig {
        Some(path) => from_file(path).await?,
        None => Config::infer().await.map_err(|error| {
            ExitError::usage(format_args!(
                "the API server cannot be found: {error}; give --kubeconfig"
            ))
        })?,
    };
    Client::try_from(config).map_err(|error| {
        ExitError::usage(format_args!("the API server cannot be reached: {error}"))
    })
}

async fn from_file(path: &Path) -> Result<Config, ExitError> {
    let wrong = |error: &dyn std::fmt::Display| {
        ExitError::usage(format_args!(
            "--kubeconfig {} cannot be used: {error}",
            path.display()
        ))
    };
    let kubeconfig = Kubeconfig::read_from(path).map_err(|error| wrong(&error))?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    config.map_err(|error| wrong(&error))
}
