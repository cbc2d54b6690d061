//! The few fields of a Node that decisions are made from; the rest of a review is not even read.

use serde::Deserialize;

/// A Node, as an AdmissionReview holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Node {
    /// Absent in no Node that an API server sends.
    pub status: Option<Status>,
}

/// `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Features that the node declares (KEP-5328).
    pub declared_features: Option<Vec<String>>,
    /// Ports of the node's daemons.
    pub daemon_endpoints: Option<DaemonEndpoints>,
    /// What the node is.
    pub node_info: Option<NodeInfo>,
}

/// `status.daemonEndpoints`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DaemonEndpoints {
    /// The kubelet's.
    pub kubelet_endpoint: Option<KubeletEndpoint>,
}

/// `status.daemonEndpoints.kubeletEndpoint`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct KubeletEndpoint {
    /// In capitals, unlike all other fields (`k8s.io/api/core/v1` `DaemonEndpoint`).
    #[serde(rename = "Port")]
    pub port: Option<i32>,
}

/// `status.nodeInfo`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeInfo {
    /// `v1.36.3`.
    pub kubelet_version: Option<String>,
}

impl Node {
    /// What is declared; an absent list is an empty one.
    pub fn declared(&self) -> &[String] {
        let status = self.status.as_ref();
        let list = status.and_then(|status| status.declared_features.as_deref());
        list.unwrap_or_default()
    }

    /// The kubelet's port; 0 stands for none, as the API has it.
    pub fn port(&self) -> i32 {
        let status = self.status.as_ref();
        let endpoints = status.and_then(|status| status.daemon_endpoints.as_ref());
        let kubelet = endpoints.and_then(|endpoints| endpoints.kubelet_endpoint.as_ref());
        kubelet.and_then(|kubelet| kubelet.port).unwrap_or_default()
    }

    /// The kubelet's major and minor version; `None` where it says none that can be read.
    pub fn kubelet_version(&self) -> Option<(u32, u32)> {
        let version = self
            .status
            .as_ref()?
            .node_info
            .as_ref()?
            .kubelet_version
            .as_ref()?;
        let mut numbers = version.strip_prefix('v')?.split('.').map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Some((major, minor)),
            _ => None,
        }
    }
}
