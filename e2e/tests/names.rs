//! `config/` and the programs agree on every name and port: what `config/` renders to, against
//! `streamway_crds::names`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Of JSON: what is not there is null.
#![allow(clippy::indexing_slicing)]

use std::fs;

use serde_json::{Value, json};
use streamway_crds::names;
use streamway_e2e::product::repository;

/// The objects of an overlay, as it is rendered.
fn rendered(overlay: &str) -> Vec<Value> {
    let path = repository().join(format!("config/rendered/{overlay}.yaml"));
    let text = fs::read_to_string(&path).unwrap();
    serde_saphyr::from_multiple(&text).unwrap()
}

fn find<'a>(objects: &'a [Value], kind: &str, namespace: &str, name: &str) -> &'a Value {
    let found = objects.iter().find(|object| {
        let meta = &object["metadata"];
        let in_namespace = meta["namespace"].as_str().unwrap_or_default() == namespace;
        object["kind"] == kind && meta["name"] == name && in_namespace
    });
    found.unwrap_or_else(|| panic!("no {kind} {namespace}/{name}"))
}

fn each(check: impl Fn(&[Value])) {
    for overlay in ["default", "ha", "dev"] {
        check(&rendered(overlay));
    }
}

/// A workload's container, whose program, flags and ports are looked at.
fn container<'a>(workload: &'a Value, name: &str) -> &'a Value {
    let containers = workload["spec"]["template"]["spec"]["containers"].as_array();
    let mut containers = containers.unwrap().iter();
    let found = containers.find(|container| container["name"] == name);
    found.unwrap_or_else(|| panic!("no container {name}"))
}

fn has_argument(container: &Value, argument: &str) {
    let has = container["args"]
        .as_array()
        .unwrap()
        .contains(&json!(argument));
    assert!(has, "no {argument} in {}", container["args"]);
}

#[test]
fn namespaces_and_their_pod_security() {
    each(|objects| {
        for (name, level) in [
            (names::SYSTEM_NAMESPACE, "restricted"),
            (names::NODES_NAMESPACE, "privileged"),
        ] {
            let labels = &find(objects, "Namespace", "", name)["metadata"]["labels"];
            assert_eq!(labels["pod-security.kubernetes.io/enforce"], level);
        }
    });
}

#[test]
fn every_object_says_what_it_is_part_of() {
    each(|objects| {
        for object in objects {
            let labels = &object["metadata"]["labels"];
            assert_eq!(labels[names::PART_OF_LABEL], names::PART_OF, "{object}");
        }
        for (kind, namespace, name, component) in [
            (
                "Deployment",
                names::SYSTEM_NAMESPACE,
                names::CONTROLLER,
                "controller",
            ),
            (
                "Deployment",
                names::SYSTEM_NAMESPACE,
                names::WEBHOOK,
                "webhook",
            ),
            ("DaemonSet", names::NODES_NAMESPACE, names::AGENT, "agent"),
        ] {
            let workload = find(objects, kind, namespace, name);
            for labels in [
                &workload["metadata"]["labels"],
                &workload["spec"]["template"]["metadata"]["labels"],
            ] {
                assert_eq!(labels[names::COMPONENT_LABEL], component);
                assert_eq!(labels[names::PART_OF_LABEL], names::PART_OF);
            }
            let account = &workload["spec"]["template"]["spec"]["serviceAccountName"];
            assert_eq!(account, name);
            find(objects, "ServiceAccount", namespace, name);
            find(objects, "ClusterRole", "", name);
            let binding = find(objects, "ClusterRoleBinding", "", name);
            assert_eq!(binding["roleRef"]["name"], name);
            let subject = json!([{"kind": "ServiceAccount", "name": name, "namespace": namespace}]);
            assert_eq!(binding["subjects"], subject);
        }
    });
}

#[test]
fn what_the_controller_holds_its_rights_by() {
    each(|objects| {
        let role = find(objects, "ClusterRole", "", names::CONTROLLER);
        let named = |resource: &str, name: &str| {
            let rules = role["rules"].as_array().unwrap().iter();
            let mut rules = rules.filter(|rule| rule["resources"] == json!([resource]));
            let rule = rules.next().unwrap_or_else(|| panic!("no {resource}"));
            assert_eq!(rule["resourceNames"], json!([name]));
        };
        named("serviceaccounts", names::CONTROLLER);
        named("leases", names::CONTROLLER_LEASE);
        named("signers", names::AGENT_SIGNER);
    });
}

#[test]
fn ports_of_the_agents() {
    each(|objects| {
        let agents = find(objects, "DaemonSet", names::NODES_NAMESPACE, names::AGENT);
        let agent = container(agents, names::AGENT_CONTAINER);
        has_argument(agent, &format!("--listen=[::]:{}", names::AGENT_PORT));
        let kubelet = format!("--kubelet=https://127.0.0.1:{}", names::KUBELET_PORT);
        has_argument(agent, &kubelet);
        let metrics = format!("--metrics-listen=[::]:{}", names::AGENT_ADMIN_PORT);
        has_argument(agent, &metrics);
        let probe = container(agents, names::PROBE_CONTAINER);
        has_argument(probe, &format!("--listen=127.0.0.1:{}", names::PROBE_PORT));
        // Two pods of one node must not be kept apart by their ports.
        for container in [agent, probe] {
            assert_eq!(container.get("ports"), None);
        }
        for binding in [
            find(
                objects,
                "ClusterRoleBinding",
                "",
                "streamway-agent-auth-delegator",
            ),
            find(
                objects,
                "RoleBinding",
                "kube-system",
                "streamway-agent-authentication-reader",
            ),
        ] {
            assert_eq!(binding["subjects"][0]["name"], names::AGENT_GROUP);
        }
    });
}

#[test]
fn controller_and_webhook_are_reached() {
    each(|objects| {
        for (name, container_name) in [
            (names::CONTROLLER, "controller"),
            (names::WEBHOOK, "webhook"),
        ] {
            let workload = find(objects, "Deployment", names::SYSTEM_NAMESPACE, name);
            let container = container(workload, container_name);
            has_argument(
                container,
                &format!("--metrics-listen=0.0.0.0:{}", names::ADMIN_PORT),
            );
            find(objects, "Service", names::SYSTEM_NAMESPACE, name);
        }
        let webhook = find(
            objects,
            "Deployment",
            names::SYSTEM_NAMESPACE,
            names::WEBHOOK,
        );
        let listen = format!("--listen=0.0.0.0:{}", names::WEBHOOK_PORT);
        has_argument(container(webhook, "webhook"), &listen);
        let role = find(objects, "Role", names::SYSTEM_NAMESPACE, names::WEBHOOK);
        assert_eq!(
            role["rules"][0]["resourceNames"],
            json!([names::WEBHOOK_SECRET])
        );
        let role = find(objects, "ClusterRole", "", names::WEBHOOK);
        assert_eq!(
            role["rules"][1]["resourceNames"],
            json!([names::WEBHOOK_CONFIGURATION])
        );
    });
}

#[test]
fn the_webhooks_configuration() {
    each(|objects| {
        let kind = "MutatingWebhookConfiguration";
        let configuration = find(objects, kind, "", names::WEBHOOK_CONFIGURATION);
        let webhooks = configuration["webhooks"].as_array().unwrap();
        let mut webhooks = webhooks.iter();
        let webhook = webhooks.find(|webhook| webhook["name"] == names::NODE_STATUS_WEBHOOK);
        let webhook = webhook.expect("the webhook of Nodes' status");
        let service = &webhook["clientConfig"]["service"];
        assert_eq!(service["name"], names::WEBHOOK);
        assert_eq!(service["namespace"], names::SYSTEM_NAMESPACE);
        assert_eq!(service["path"], names::NODE_STATUS_PATH);
        // It is the webhook's own to write; applying the manifest again must not take it away.
        assert_eq!(webhook["clientConfig"].get("caBundle"), None);
        assert_eq!(webhook["failurePolicy"], "Ignore");
        let account = format!(
            "system:serviceaccount:{}:{}",
            names::SYSTEM_NAMESPACE,
            names::CONTROLLER
        );
        let conditions = webhook["matchConditions"].to_string();
        assert!(conditions.contains(&account), "{conditions}");
    });
}

#[test]
fn the_access_webhooks_configuration() {
    let objects = rendered("access-webhook");
    let kind = "ValidatingWebhookConfiguration";
    let configuration = find(&objects, kind, "", names::ACCESS_CONFIGURATION);
    let controller = format!(
        "system:serviceaccount:{}:{}",
        names::SYSTEM_NAMESPACE,
        names::CONTROLLER
    );
    let mut failing = 0;
    for webhook in configuration["webhooks"].as_array().unwrap() {
        let service = &webhook["clientConfig"]["service"];
        assert_eq!(service["name"], names::WEBHOOK);
        assert_eq!(service["namespace"], names::SYSTEM_NAMESPACE);
        let path = service["path"].as_str().unwrap();
        assert!(path.starts_with(names::CONNECT_PATH), "{path}");
        assert_eq!(webhook["clientConfig"].get("caBundle"), None);
        let selector = &webhook["namespaceSelector"];
        assert!(selector.to_string().contains(names::CREATE_CHECK_LABEL));
        let conditions = webhook["matchConditions"].to_string();
        assert!(conditions.contains("system:masters") && conditions.contains(&controller));
        if webhook["failurePolicy"] == "Fail" {
            failing += 1;
            // What repairs the webhook must not wait for it.
            for own in [
                names::SYSTEM_NAMESPACE,
                names::NODES_NAMESPACE,
                "kube-system",
            ] {
                assert!(selector.to_string().contains(own), "{selector}");
            }
        }
    }
    assert_eq!(failing, 1);
    let role = find(&objects, "ClusterRole", "", "streamway-access-webhook");
    let own = &role["rules"][2]["resourceNames"];
    assert_eq!(*own, json!([names::ACCESS_CONFIGURATION]));
    let deployment = find(
        &objects,
        "Deployment",
        names::SYSTEM_NAMESPACE,
        names::WEBHOOK,
    );
    has_argument(container(deployment, "webhook"), "--access-check");
}
