use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const POLICY: Policy = Policy {
    agent_port: 10350,
    features: true,
};

const OLD: &str = "v1.34.4";
const NEW: &str = "v1.36.3";

fn wish(traffic: Traffic, feature: Feature, way: Way) -> NodeStreamingSpec {
    NodeStreamingSpec {
        traffic,
        feature,
        way,
        ..NodeStreamingSpec::default()
    }
}

fn feature(feature: Feature) -> NodeStreamingSpec {
    wish(Traffic::Agent, feature, Way::Redirect)
}

/// A Node, as API servers send it: lists that are empty are not there.
fn node(version: &str, features: &[&str], port: i32) -> Value {
    let mut status = json!({
        "capacity": {"cpu": "2"},
        "conditions": [{"type": "Ready", "status": "True"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        "nodeInfo": {"kubeletVersion": version, "machineID": "0"},
    });
    if !features.is_empty() {
        status["declaredFeatures"] = json!(features);
    }
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}, "status": status})
}

fn read(node: &Value) -> Node {
    serde_json::from_value(node.clone()).unwrap()
}

/// What becomes of the update, and what was changed in it.
fn decided(
    wish: &NodeStreamingSpec,
    old: &Value,
    new: &Value,
    policy: Policy,
) -> (Value, Vec<Change>) {
    let mut after = new.clone();
    let Some(patch) = decide(wish, &read(old), &read(new), policy) else {
        return (after, Vec::new());
    };
    assert!(!patch.changes.is_empty() && !patch.operations.is_empty());
    let operations = serde_json::to_value(&patch.operations).unwrap();
    let operations: json_patch::Patch = serde_json::from_value(operations).unwrap();
    json_patch::patch(&mut after, &operations).unwrap();
    (after, patch.changes)
}

#[test]
fn features_are_kept_as_wished() {
    use Change::{AddFeature, RemoveFeature};
    use Feature::{Declared, Kubelet, Withdrawn};
    const F: &str = FEATURE;
    for (wanted, version, old, new, after, change) in [
        // A kubelet that declares, masked.
        (
            Withdrawn,
            NEW,
            &[][..],
            &[F][..],
            &[][..],
            Some(RemoveFeature),
        ),
        (
            Withdrawn,
            NEW,
            &["A"],
            &["A", F, "Z"],
            &["A", "Z"],
            Some(RemoveFeature),
        ),
        (Withdrawn, NEW, &[], &["A"], &["A"], None),
        (Withdrawn, NEW, &[], &[], &[], None),
        // Whoever declares it: nobody is to.
        (Withdrawn, OLD, &[F], &[F], &[], Some(RemoveFeature)),
        // A kubelet that writes the list and does not know the feature, or has its gate off.
        (Declared, NEW, &[F], &[], &[F], Some(AddFeature)),
        (
            Declared,
            NEW,
            &[F],
            &["Z", "A"],
            &["A", F, "Z"],
            Some(AddFeature),
        ),
        (Declared, "v1.35.0", &[F], &[], &[F], Some(AddFeature)),
        (Declared, NEW, &[F], &[F], &[F], None),
        // The controller has not declared it yet, or withdrew it a moment ago.
        (Declared, NEW, &[], &[], &[], None),
        // Older kubelets leave it alone: who takes it away is a person who means it.
        (Declared, OLD, &[F], &[], &[], None),
        (Declared, "v1.34.9-gke.100", &[F], &[], &[], None),
        (Declared, "", &[F], &[], &[], None),
        // As the kubelet wants it.
        (Kubelet, NEW, &[], &[F], &[F], None),
        (Kubelet, NEW, &[F], &[], &[], None),
    ] {
        let (old, new, wanted_after) = (
            node(version, old, 10250),
            node(version, new, 10250),
            node(version, after, 10250),
        );
        let (after, changes) = decided(&feature(wanted), &old, &new, POLICY);
        let case = format!("{wanted:?} {version}: {old} -> {new}");
        assert_eq!(after, wanted_after, "{case}");
        assert_eq!(changes, change.into_iter().collect::<Vec<_>>(), "{case}");
        // Without the gate the list is nobody's but the kubelet's.
        let off = Policy {
            features: false,
            ..POLICY
        };
        assert_eq!(
            decided(&feature(wanted), &old, &new, off),
            (new, Vec::new()),
            "{case}"
        );
    }
}

#[test]
fn the_port_is_kept_where_it_leads_to_the_agent() {
    use Traffic::{Agent, Kubelet};
    use Way::{Port, Redirect};
    for (traffic, way, old, new, after) in [
        (Agent, Port, 10350, 10250, 10350),
        (Agent, Port, 10350, 0, 10350),
        (Agent, Port, 10350, 10350, 10350),
        // The controller has not moved it yet, or moved it back a moment ago.
        (Agent, Port, 10250, 10250, 10250),
        (Agent, Port, 10250, 10251, 10251),
        // Not by this way, and not at all.
        (Agent, Redirect, 10350, 10250, 10250),
        (Kubelet, Port, 10350, 10250, 10250),
        (Kubelet, Redirect, 10350, 10250, 10250),
    ] {
        let wish = wish(traffic, Feature::Kubelet, way);
        let (old, new) = (node(OLD, &[], old), node(OLD, &[], new));
        let (got, changes) = decided(&wish, &old, &new, POLICY);
        let case = format!("{traffic:?} {way:?}: {old} -> {new}");
        assert_eq!(got, node(OLD, &[], after), "{case}");
        let changed = got != new;
        assert_eq!(changes == [Change::SetPort], changed, "{case}: {changes:?}");
    }
}

#[test]
fn both_are_kept_in_one_update() {
    let wish = wish(Traffic::Agent, Feature::Declared, Way::Port);
    let (old, new) = (node(NEW, &[FEATURE], 10350), node(NEW, &[], 10250));
    let (after, changes) = decided(&wish, &old, &new, POLICY);
    assert_eq!(after, old);
    assert_eq!(changes, [Change::AddFeature, Change::SetPort]);
}

#[test]
fn what_is_not_there_is_made() {
    let wish = wish(Traffic::Agent, Feature::Declared, Way::Port);
    let old = node(NEW, &[FEATURE], 10350);
    for new in [
        json!({"status": {"nodeInfo": {"kubeletVersion": NEW}}}),
        json!({"status": {"nodeInfo": {"kubeletVersion": NEW}, "daemonEndpoints": {}}}),
        json!({"status": {"nodeInfo": {"kubeletVersion": NEW}, "daemonEndpoints": {"kubeletEndpoint": {}}}}),
    ] {
        let (after, _) = decided(&wish, &old, &new, POLICY);
        assert_eq!(
            after["status"]["declaredFeatures"],
            json!([FEATURE]),
            "{new}"
        );
        let port = &after["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"];
        assert_eq!(port, 10350, "{new}");
    }
    let (after, changes) = decided(&wish, &old, &json!({}), POLICY);
    assert_eq!(
        after,
        json!({"status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": 10350}}}})
    );
    assert_eq!(
        changes,
        [Change::SetPort],
        "it is not known which kubelet it is"
    );
}

fn any_wish() -> impl Strategy<Value = NodeStreamingSpec> {
    let traffic = prop_oneof![Just(Traffic::Kubelet), Just(Traffic::Agent)];
    let features = prop_oneof![
        Just(Feature::Kubelet),
        Just(Feature::Declared),
        Just(Feature::Withdrawn)
    ];
    let way = prop_oneof![Just(Way::Redirect), Just(Way::Port)];
    (traffic, features, way).prop_map(|(traffic, feature, way)| wish(traffic, feature, way))
}

fn any_features() -> impl Strategy<Value = Option<Vec<String>>> {
    let name = prop_oneof![Just(FEATURE.to_owned()), "[A-CZ]"];
    proptest::option::of(proptest::collection::vec(name, 0..5))
}

/// A status with all that decisions look at present or not, and members that nobody knows.
fn any_node() -> impl Strategy<Value = Value> {
    let version = prop_oneof![
        Just(OLD),
        Just(NEW),
        Just("v1.35.0"),
        Just("unknown"),
        Just("")
    ];
    let port = prop_oneof![Just(0), Just(10250), Just(10350), any::<i32>()];
    let other = proptest::collection::btree_map("x[a-z]{0,4}", any::<i32>(), 0..4);
    (version, any_features(), proptest::option::of(port), other).prop_map(
        |(version, features, port, other)| {
            let mut status = json!(other);
            status["nodeInfo"] = json!({"kubeletVersion": version, "x": other});
            if let Some(features) = features {
                status["declaredFeatures"] = json!(features);
            }
            if let Some(port) = port {
                status["daemonEndpoints"] =
                    json!({"kubeletEndpoint": {"Port": port}, "xother": other});
            }
            json!({"metadata": {"name": "a", "labels": other}, "status": status})
        },
    )
}

/// The two fields that may change, taken out of a Node.
fn without_ours(mut node: Value) -> Value {
    let status = node["status"].as_object_mut().unwrap();
    status.remove("declaredFeatures");
    if let Some(endpoints) = status
        .get_mut("daemonEndpoints")
        .and_then(Value::as_object_mut)
    {
        if let Some(kubelet) = endpoints
            .get_mut("kubeletEndpoint")
            .and_then(Value::as_object_mut)
        {
            kubelet.remove("Port");
        }
        endpoints.retain(|_, value| *value != json!({}));
    }
    status.retain(|name, value| name != "daemonEndpoints" || *value != json!({}));
    node
}

proptest! {
    #[test]
    fn nothing_else_ever_changes(wish in any_wish(), old in any_node(), new in any_node()) {
        let (after, changes) = decided(&wish, &old, &new, POLICY);
        prop_assert_eq!(without_ours(after.clone()), without_ours(new.clone()));
        let features = |node: &Value| read(node).declared().to_vec();
        let touched = changes.iter().any(|change| *change != Change::SetPort);
        prop_assert!(touched || after["status"].get("declaredFeatures") == new["status"].get("declaredFeatures"));
        if touched {
            let got = features(&after);
            prop_assert!(got.is_sorted() && got.windows(2).all(|two| two[0] != two[1]), "{:?}", got);
            let others = |list: Vec<String>| {
                let others = list.into_iter().filter(|name| name != FEATURE);
                others.collect::<std::collections::BTreeSet<_>>()
            };
            prop_assert_eq!(others(got), others(features(&new)));
            prop_assert_ne!(&after["status"]["declaredFeatures"], &json!([]));
        }
        // What is changed is as wished, and then stays as it is.
        prop_assert_eq!(decided(&wish, &old, &after, POLICY).1, vec![]);
    }

    #[test]
    fn nothing_is_declared_or_moved_that_was_not_before(wish in any_wish(), old in any_node(), new in any_node()) {
        let (after, _) = decided(&wish, &old, &new, POLICY);
        let declares = |node: &Value| read(node).declared().iter().any(|name| name == FEATURE);
        prop_assert!(!declares(&after) || declares(&new) || declares(&old));
        let (after, new, old) = (read(&after).port(), read(&new).port(), read(&old).port());
        prop_assert!(after == new || after == old);
    }
}
