//! Other tools that look at RBAC, to be compared with.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::build;

/// rbac-tool of alcideio: `$RBAC_TOOL`, or built once from its published Go module.
///
/// # Errors
///
/// It can be neither found nor built.
pub fn rbac_tool() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("RBAC_TOOL") {
        return Ok(path.into());
    }
    build::go_module("rbac-tool", "1.20.0", "github.com/alcideio/rbac-tool", "")
}

/// kubectl-who-can of aquasecurity: `$KUBECTL_WHO_CAN`, or built once from its published Go module.
///
/// # Errors
///
/// It can be neither found nor built.
pub fn kubectl_who_can() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("KUBECTL_WHO_CAN") {
        return Ok(path.into());
    }
    build::go_module(
        "kubectl-who-can",
        "0.4.0",
        "github.com/aquasecurity/kubectl-who-can",
        "/cmd/kubectl-who-can",
    )
}

/// `kubectl-streamway` that the tests run: `$KUBECTL_STREAMWAY`, or the one that cargo built beside them.
///
/// # Errors
///
/// There is none.
pub fn kubectl_streamway() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("KUBECTL_STREAMWAY") {
        return Ok(path.into());
    }
    // target/PROFILE/deps/TEST-HASH
    let test = std::env::current_exe()?;
    let profile = test.ancestors().nth(2).unwrap_or(&test);
    let path = profile.join("kubectl-streamway");
    ensure!(
        path.exists(),
        "there is no {}: cargo build --workspace, or cargo xtask test",
        path.display()
    );
    Ok(path)
}
