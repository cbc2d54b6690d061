//! The objects that a node is.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use futures_util::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use streamway_crds::names;

use super::FakeNode;

/// Objects made at once.
const AT_ONCE: usize = 16;

pub(super) async fn make(client: &Client, nodes: Vec<(FakeNode, Ipv4Addr)>) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    for name in ["kube-node-lease", names::NODES_NAMESPACE] {
        create(&namespaces, json!({"metadata": {"name": name}})).await?;
    }
    let made = nodes.into_iter().map(|(node, address)| async move {
        one(client, &node, address)
            .await
            .with_context(|| format!("making node {}", node.name))
    });
    let mut made = futures_util::stream::iter(made).buffer_unordered(AT_ONCE);
    while let Some(made) = made.next().await {
        made?;
    }
    Ok(())
}

async fn one(client: &Client, node: &FakeNode, address: Ipv4Addr) -> Result<()> {
    let name = &node.name;
    create(&Api::<Node>::all(client.clone()), object(node, address)).await?;
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let lease = json!({
        "metadata": {"name": name},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40},
    });
    create(&leases, lease).await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), names::NODES_NAMESPACE);
    let pod = format!("{}-{name}", names::AGENT);
    let image = |name: &str| json!({"name": name, "image": "none.invalid/none:0"});
    let agent = json!({
        "metadata": {"name": pod, "labels": {"app.kubernetes.io/name": names::AGENT}},
        "spec": {
            "nodeName": name,
            "serviceAccountName": names::AGENT,
            "automountServiceAccountToken": false,
            "hostNetwork": true,
            "containers": [image(names::AGENT_CONTAINER), image(names::PROBE_CONTAINER)],
        },
    });
    create(&pods, agent).await?;
    let ready = json!({"status": {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
    }});
    let params = PatchParams::default();
    pods.patch_status(&pod, &params, &Patch::Merge(ready))
        .await?;
    Ok(())
}

fn object(node: &FakeNode, address: Ipv4Addr) -> Value {
    json!({
        "metadata": {
            "name": node.name,
            "labels": {"pool": node.pool, "kubernetes.io/os": "linux"},
        },
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}],
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": names::KUBELET_PORT}},
            "nodeInfo": {
                "kubeletVersion": node.kubelet, "operatingSystem": "linux",
                "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "",
                "kernelVersion": "6.1.0", "kubeProxyVersion": "", "machineID": "", "osImage": "",
                "systemUUID": "",
            },
        },
    })
}

/// Makes an object that may be there already.
async fn create<K>(api: &Api<K>, object: Value) -> Result<()>
where
    K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    let object: K = serde_json::from_value(object)?;
    match api.create(&PostParams::default(), &object).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        made => Ok(made.map(drop)?),
    }
}
