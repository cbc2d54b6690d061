//! How the API server is reached.

use std::path::Path;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use streamway_daemon::exit::ExitError;

/// By `--kubeconfig`; without it as the pod's service account, or as kubectl would.
///
/// # Errors
/// [`ExitError`] (64) where there is no such file, or nothing says where.
pub(crate) async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ExitError> {
    let config = match kubeconfig {
        Some(path) => from_file(path).await.map_err(|error| {
            let path = path.display();
            ExitError::usage(format_args!("--kubeconfig {path} cannot be used: {error}"))
        })?,
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

async fn from_file(path: &Path) -> Result<Config, kube::config::KubeconfigError> {
    let kubeconfig = Kubeconfig::read_from(path)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await
}
