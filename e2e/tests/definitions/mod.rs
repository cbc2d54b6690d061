//! Objects that the API server must refuse, each with what its message must say, and ones that it must take.

use serde_json::{Value, json};

/// What is wrong with it, the object, and the part of the message that tells what to write instead.
pub(crate) type Wrong = (&'static str, Value, &'static str);

/// A rollout that is right, with this instead in its spec (RFC 7386).
pub(crate) fn rollout(instead: Value) -> Value {
    let mut object = json!({
        "apiVersion": "streamway.dev/v1alpha1",
        "kind": "StreamingRollout",
        "metadata": {"name": "all"},
        "spec": {"waves": [
            {"name": "canary", "nodes": {"count": 1}},
            {"name": "all", "nodes": {"percent": 100}},
        ]},
    });
    merge(&mut object, json!({"spec": instead}));
    object
}

fn node(spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "streamway.dev/v1alpha1",
        "kind": "NodeStreaming",
        "metadata": {"name": "worker-1"},
    });
    merge(&mut object, json!({"spec": spec}));
    object
}

/// An action that is right, with this instead in its spec.
pub(crate) fn action(instead: Value) -> Value {
    let mut object = json!({
        "apiVersion": "streamway.dev/v1alpha1",
        "kind": "RolloutAction",
        "metadata": {"name": "go-on"},
        "spec": {"rollout": "all", "verb": "Promote"},
    });
    merge(&mut object, json!({"spec": instead}));
    object
}

/// An exemption that is right, with this instead in its spec.
pub(crate) fn exemption(instead: Value) -> Value {
    let mut object = json!({
        "apiVersion": "streamway.dev/v1alpha1",
        "kind": "AccessExemption",
        "metadata": {"name": "runners"},
        "spec": {
            "subjects": [{"kind": "ServiceAccount", "name": "runner", "namespace": "ci"}],
            "reason": "runner 4 has create", "expires": "2027-01-31T00:00:00Z",
        },
    });
    merge(&mut object, json!({"spec": instead}));
    object
}

fn named(mut object: Value, name: &str) -> Value {
    merge(&mut object, json!({"metadata": {"name": name}}));
    object
}

fn merge(object: &mut Value, instead: Value) {
    match (object, instead) {
        (Value::Object(object), Value::Object(instead)) => {
            for (key, value) in instead {
                if value.is_null() {
                    object.remove(&key);
                } else {
                    merge(object.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (object, instead) => *object = instead,
    }
}

/// A rollout whose first wave has these nodes.
fn first(nodes: Value) -> Value {
    rollout(
        json!({"waves": [{"name": "canary", "nodes": nodes}, {"name": "all", "nodes": {"percent": 100}}]}),
    )
}

/// A rollout of one wave, with this beside its name and nodes.
fn wave(more: Value) -> Value {
    let mut only = json!({"name": "all", "nodes": {"percent": 100}});
    merge(&mut only, more);
    rollout(json!({"waves": [only]}))
}

fn window(more: Value) -> Value {
    let mut only = json!({"name": "nights"});
    merge(&mut only, more);
    rollout(json!({"windows": [only]}))
}

/// Rollouts that must be refused.
pub(crate) fn wrong_rollouts() -> Vec<Wrong> {
    let mut table = wrong_waves();
    table.extend(wrong_times());
    table.extend(wrong_judgements());
    table
}

fn wrong_waves() -> Vec<Wrong> {
    let one_of = "write exactly one of count, percent and selector";
    let name = "write a name of lower-case letters, digits and dashes";
    let unavailable = "write a number such as 2 or a percentage such as \"10%\", more than zero";
    let key = "write a label's key, such as topology.kubernetes.io/zone";
    let value = "write a label's value: 63 letters";
    let selector = |selector| first(json!({"selector": selector}));
    let expression = |more| selector(json!({"matchExpressions": [more]}));
    vec![
        (
            "no waves",
            rollout(json!({"waves": null})),
            "spec.waves: Required value",
        ),
        (
            "an empty list of waves",
            rollout(json!({"waves": []})),
            "write at least one wave, such as {name: all, nodes: {percent: 100}}",
        ),
        (
            "21 waves",
            rollout(
                json!({"waves": (0..21).map(|n| json!({"name": format!("w{n}"), "nodes": {"count": 1}})).collect::<Vec<_>>()}),
            ),
            "must have at most 20 items",
        ),
        (
            "two waves of one name",
            rollout(
                json!({"waves": [{"name": "all", "nodes": {"count": 1}}, {"name": "all", "nodes": {"percent": 100}}]}),
            ),
            "spec.waves[1]: Duplicate value: {\"name\":\"all\"}",
        ),
        (
            "a last wave by count",
            rollout(json!({"waves": [{"name": "all", "nodes": {"count": 3}}]})),
            "the last wave takes all nodes that are left: write nodes: {percent: 100} in it",
        ),
        (
            "a last wave of a part",
            rollout(json!({"waves": [{"name": "all", "nodes": {"percent": 50}}]})),
            "the last wave takes all nodes that are left",
        ),
        (
            "parts that become smaller",
            rollout(
                json!({"waves": [{"name": "a", "nodes": {"percent": 50}}, {"name": "b", "nodes": {"percent": 20}}, {"name": "c", "nodes": {"percent": 100}}]}),
            ),
            "write more in each wave than in the one before, such as 5, 25, 100",
        ),
        (
            "parts that stay",
            rollout(
                json!({"waves": [{"name": "a", "nodes": {"percent": 100}}, {"name": "b", "nodes": {"percent": 100}}]}),
            ),
            "write more in each wave than in the one before",
        ),
        (
            "a wave without nodes",
            rollout(json!({"waves": [{"name": "all"}]})),
            "spec.waves[0].nodes: Required value",
        ),
        ("nodes of nothing", first(json!({})), one_of),
        (
            "count and percent",
            first(json!({"count": 1, "percent": 10})),
            one_of,
        ),
        (
            "percent and selector",
            first(json!({"percent": 10, "selector": {}})),
            one_of,
        ),
        (
            "no percent",
            first(json!({"percent": 0})),
            "should be greater than or equal to 1",
        ),
        (
            "percent over 100",
            first(json!({"percent": 101})),
            "should be less than or equal to 100",
        ),
        (
            "percent as text",
            first(json!({"percent": "10%"})),
            "must be of type integer",
        ),
        (
            "a count of none",
            first(json!({"count": 0})),
            "should be greater than or equal to 1",
        ),
        (
            "a wave without name",
            wave(json!({"name": null})),
            "name: Required value",
        ),
        ("an empty name", wave(json!({"name": ""})), name),
        ("a name in capitals", wave(json!({"name": "All"})), name),
        (
            "a name with a space",
            wave(json!({"name": "all nodes"})),
            name,
        ),
        (
            "a long name",
            wave(json!({"name": "a".repeat(64)})),
            "may not be more than 63",
        ),
        (
            "none unavailable",
            wave(json!({"maxUnavailable": 0})),
            unavailable,
        ),
        (
            "fewer than none unavailable",
            wave(json!({"maxUnavailable": -1})),
            unavailable,
        ),
        (
            "0% unavailable",
            wave(json!({"maxUnavailable": "0%"})),
            unavailable,
        ),
        (
            "101% unavailable",
            wave(json!({"maxUnavailable": "101%"})),
            unavailable,
        ),
        (
            "a number as text",
            wave(json!({"maxUnavailable": "2"})),
            unavailable,
        ),
        (
            "an approval that is none",
            wave(json!({"approval": "manual"})),
            "supported values: \"Automatic\", \"Manual\"",
        ),
        (
            "a label's key of blanks",
            selector(json!({"matchLabels": {"a b": "c"}})),
            key,
        ),
        (
            "a label's value of blanks",
            selector(json!({"matchLabels": {"a": "b c"}})),
            value,
        ),
        (
            "an operator that is none",
            expression(json!({"key": "a", "operator": "Equals"})),
            "supported values: \"In\", \"NotIn\", \"Exists\", \"DoesNotExist\"",
        ),
        (
            "an expression's key",
            expression(json!({"key": "/a", "operator": "Exists"})),
            key,
        ),
        (
            "an expression's value",
            expression(json!({"key": "a", "operator": "In", "values": ["-b"]})),
            value,
        ),
        (
            "In without values",
            expression(json!({"key": "a", "operator": "In"})),
            "In and NotIn need values: write at least one, or use Exists or DoesNotExist",
        ),
        (
            "Exists with values",
            expression(json!({"key": "a", "operator": "Exists", "values": ["b"]})),
            "Exists and DoesNotExist take no values: remove them, or use In or NotIn",
        ),
        (
            "the rollout's own selector",
            rollout(
                json!({"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": []}]}}),
            ),
            "In and NotIn need values",
        ),
    ]
}

fn wrong_times() -> Vec<Wrong> {
    let duration = "write whole numbers with units, such as 30s, 10m or 1h30m; a year at most";
    let both = "write either days, from and to, for every week, or start and end, for once";
    let hours = "write hours and minutes, such as \"22:00\"";
    let day = "write year, month and day, such as \"2026-12-20\"";
    vec![
        ("a bake without unit", wave(json!({"bake": "10"})), duration),
        (
            "a bake as number",
            wave(json!({"bake": 600})),
            "must be of type string",
        ),
        ("a bake in days", wave(json!({"bake": "1d"})), duration),
        (
            "a bake with a fraction",
            wave(json!({"bake": "1.5h"})),
            duration,
        ),
        ("a bake of years", wave(json!({"bake": "8785h"})), duration),
        (
            "a bake that overflows",
            wave(json!({"bake": "999999999999h"})),
            duration,
        ),
        (
            "no progress deadline",
            rollout(json!({"progressDeadline": "0s"})),
            "write a progressDeadline of more than zero, such as 10m",
        ),
        (
            "a window of no time",
            window(json!({})),
            "write when it is: days, from and to, for every week, or start and end, for once",
        ),
        (
            "a window by week and by date",
            window(json!({"days": ["Monday"], "start": "2026-12-20", "end": "2026-12-21"})),
            both,
        ),
        (
            "a window of hours and dates",
            window(
                json!({"from": "22:00", "to": "04:00", "start": "2026-12-20", "end": "2026-12-21"}),
            ),
            both,
        ),
        (
            "from without to",
            window(json!({"from": "22:00"})),
            "from and to need each other: write both, or none for the whole day",
        ),
        (
            "to without from",
            window(json!({"to": "22:00"})),
            "from and to need each other",
        ),
        (
            "from that is to",
            window(json!({"from": "22:00", "to": "22:00"})),
            "from and to are the same: remove both for the whole day",
        ),
        (
            "an hour that is none",
            window(json!({"from": "24:00", "to": "04:00"})),
            hours,
        ),
        (
            "an hour in words",
            window(json!({"from": "10 pm", "to": "04:00"})),
            hours,
        ),
        (
            "a day that is none",
            window(json!({"days": ["Mon"]})),
            "supported values: \"Monday\", \"Tuesday\"",
        ),
        (
            "a day twice",
            window(json!({"days": ["Monday", "Monday"]})),
            "Duplicate value: \"Monday\"",
        ),
        (
            "a time zone that is none",
            window(json!({"days": ["Monday"], "timeZone": "Berlin"})),
            "write a time zone by its IANA name, such as Europe/Berlin or UTC",
        ),
        (
            "start without end",
            window(json!({"start": "2026-12-20"})),
            "start and end need each other: write both",
        ),
        (
            "end without start",
            window(json!({"end": "2026-12-20"})),
            "start and end need each other: write both",
        ),
        (
            "end before start",
            window(json!({"start": "2026-12-20", "end": "2026-12-19"})),
            "end is before start: write the first day as start and the last as end",
        ),
        (
            "a date with a time",
            window(json!({"start": "2026-12-20T00:00:00Z", "end": "2026-12-21"})),
            day,
        ),
        (
            "a date in another order",
            window(json!({"start": "20.12.2026", "end": "2026-12-21"})),
            day,
        ),
        (
            "a date that is none",
            window(json!({"start": "2026-02-30", "end": "2026-12-21"})),
            day,
        ),
        (
            "two blackouts of one name",
            rollout(
                json!({"blackouts": [{"name": "a", "days": ["Monday"]}, {"name": "a", "days": ["Friday"]}]}),
            ),
            "spec.blackouts[1]: Duplicate value: {\"name\":\"a\"}",
        ),
    ]
}

fn wrong_judgements() -> Vec<Wrong> {
    let analysis = |analysis| rollout(json!({"analysis": analysis}));
    let objective = |more| {
        let mut objective = json!({"indicator": "Sessions"});
        merge(&mut objective, more);
        rollout(json!({"analysis": {"objectives": [objective]}}))
    };
    let percentage = "write a number from 0 to 100 with a percent sign, three decimals at most, such as \"99.9%\"";
    let interval = "intervals and the timeout are more than zero: write such as 30s";
    vec![
        (
            "a mode that is none",
            rollout(json!({"mode": "Translated"})),
            "supported values: \"Auto\", \"Native\", \"Proxied\"",
        ),
        (
            "a way for Native",
            rollout(json!({"mode": "Native", "way": "Port"})),
            "remove way, or use mode Auto or Proxied",
        ),
        (
            "a way that is none",
            rollout(json!({"way": "iptables"})),
            "supported values: \"Redirect\", \"Port\"",
        ),
        (
            "an adopt that is none",
            rollout(json!({"adopt": true})),
            "must be of type string",
        ),
        (
            "a scope that is none",
            rollout(json!({"rollbackScope": "Node"})),
            "supported values: \"Wave\", \"All\"",
        ),
        (
            "an end that is none",
            rollout(json!({"onFailure": "Ignore"})),
            "supported values: \"Rollback\", \"Pause\"",
        ),
        (
            "a field that is none",
            rollout(json!({"wave": []})),
            "unknown field \"spec.wave\"",
        ),
        (
            "a pause in words",
            rollout(json!({"paused": "yes"})),
            "must be of type boolean",
        ),
        (
            "no objectives",
            analysis(json!({"objectives": []})),
            "write at least one objective, or leave objectives out for the default ones",
        ),
        (
            "an objective twice",
            analysis(json!({"objectives": [{"indicator": "Probes"}, {"indicator": "Probes"}]})),
            "Duplicate value: {\"indicator\":\"Probes\"}",
        ),
        (
            "an indicator that is none",
            objective(json!({"indicator": "Latency"})),
            "supported values: \"Upgrades\", \"Sessions\", \"Probes\"",
        ),
        (
            "a share as number",
            objective(json!({"min": 99.9})),
            "must be of type string",
        ),
        (
            "a share without sign",
            objective(json!({"min": "99.9"})),
            percentage,
        ),
        (
            "a share over 100",
            objective(json!({"min": "100.5%"})),
            percentage,
        ),
        (
            "a share of four decimals",
            objective(json!({"maxWorse": "0.0001%"})),
            percentage,
        ),
        (
            "Probes without a prober",
            analysis(json!({"prober": {"enabled": false}})),
            "write objectives without Probes, or prober.enabled: true",
        ),
        (
            "an interval of nothing",
            analysis(json!({"interval": "0s"})),
            interval,
        ),
        (
            "a prober without pause",
            analysis(json!({"prober": {"interval": "0m"}})),
            interval,
        ),
        (
            "a prober without time",
            analysis(json!({"prober": {"timeout": "0ms"}})),
            interval,
        ),
        (
            "no samples",
            analysis(json!({"minSamples": 0})),
            "should be greater than or equal to 1",
        ),
        (
            "a limit below none",
            analysis(json!({"failureLimit": -1})),
            "should be greater than or equal to 0",
        ),
        (
            "a name that is no label",
            named(rollout(json!({})), &"a".repeat(64)),
            "nodes carry the rollout's name as a label: write a name of 63 characters at most",
        ),
    ]
}

/// Objects of the other kinds that must be refused.
pub(crate) fn wrong_others() -> Vec<Wrong> {
    vec![
        (
            "declared to a kubelet",
            node(json!({"feature": "Declared"})),
            "feature Declared needs traffic Agent",
        ),
        (
            "a mode that is not resolved",
            node(json!({"mode": "Auto"})),
            "supported values: \"Native\", \"Proxied\", \"Translated\", \"Gateway\"",
        ),
        (
            "traffic to nowhere",
            node(json!({"traffic": "Webhook"})),
            "supported values: \"Kubelet\", \"Agent\"",
        ),
        (
            "an action on nothing",
            action(json!({"rollout": null})),
            "spec.rollout: Required value",
        ),
        (
            "an action on no name",
            action(json!({"rollout": ""})),
            "write the name of the StreamingRollout that the action is for",
        ),
        (
            "an action without verb",
            action(json!({"verb": null})),
            "spec.verb: Required value",
        ),
        (
            "a verb in small letters",
            action(json!({"verb": "promote"})),
            "supported values: \"Promote\", \"Abort\", \"Retry\", \"Pause\", \"Resume\", \"Rollback\"",
        ),
        (
            "a reason that is a book",
            action(json!({"reason": "a".repeat(1025)})),
            "may not be more than 1024",
        ),
        (
            "an exemption of nobody",
            exemption(json!({"subjects": []})),
            "write at least one subject",
        ),
        (
            "an exemption of masters",
            exemption(json!({"subjects": [{"kind": "Group", "name": "system:masters"}]})),
            "members of system:masters are never asked: remove it",
        ),
        (
            "a service account of no namespace",
            exemption(json!({"subjects": [{"kind": "ServiceAccount", "name": "runner"}]})),
            "a ServiceAccount is in a namespace: write it",
        ),
        (
            "a user in a namespace",
            exemption(json!({"subjects": [{"kind": "User", "name": "jane", "namespace": "ci"}]})),
            "only a ServiceAccount has a namespace: remove it",
        ),
        (
            "a subject without a name",
            exemption(json!({"subjects": [{"kind": "User", "name": ""}]})),
            "write the name",
        ),
        (
            "a kind of subjects that there is not",
            exemption(json!({"subjects": [{"kind": "Team", "name": "a"}]})),
            "supported values: \"User\", \"Group\", \"ServiceAccount\"",
        ),
        (
            "a pattern of namespaces",
            exemption(json!({"namespaces": ["team-*"]})),
            "write names of namespaces, or leave the list out for all of them",
        ),
        (
            "an exemption from nothing",
            exemption(json!({"resources": []})),
            "write at least one resource",
        ),
        (
            "an exemption from another rule",
            exemption(json!({"resources": ["pods/log"]})),
            "supported values: \"pods/exec\", \"pods/attach\", \"pods/portforward\", \"nodes/proxy\"",
        ),
        (
            "an exemption without a reason",
            exemption(json!({"reason": null})),
            "spec.reason: Required value",
        ),
        (
            "an exemption with a blank reason",
            exemption(json!({"reason": "  "})),
            "write why, and who is to see to it",
        ),
        (
            "an exemption for ever",
            exemption(json!({"expires": null})),
            "spec.expires: Required value",
        ),
        (
            "an exemption until some day",
            exemption(json!({"expires": "31 January"})),
            "must be of type date-time",
        ),
    ]
}

/// Objects that must be taken.
pub(crate) fn right() -> Vec<(&'static str, Value)> {
    vec![
        ("two waves", rollout(json!({}))),
        ("an exemption everywhere", exemption(json!({}))),
        (
            "an exemption of all that there is",
            exemption(json!({
                "subjects": [{"kind": "User", "name": "jane@example.com"}, {"kind": "Group", "name": "oidc:developers"}],
                "namespaces": ["a", "b-1"],
                "resources": ["pods/exec", "pods/attach", "pods/portforward", "nodes/proxy"],
            })),
        ),
        (
            "parts",
            rollout(
                json!({"waves": [{"name": "a", "nodes": {"percent": 5}}, {"name": "b", "nodes": {"percent": 25}}, {"name": "c", "nodes": {"percent": 100}}]}),
            ),
        ),
        ("a selector of everything", first(json!({"selector": {}}))),
        (
            "a selector of all that there is",
            first(json!({"selector": {
                "matchLabels": {"topology.kubernetes.io/zone": "a", "empty": "", "A_b.c-d": "E_f.g-h"},
                "matchExpressions": [
                    {"key": "a", "operator": "In", "values": ["b", ""]},
                    {"key": "a.b/c", "operator": "NotIn", "values": ["d"]},
                    {"key": "e", "operator": "Exists"},
                    {"key": "f", "operator": "DoesNotExist", "values": []},
                ],
            }})),
        ),
        (
            "parts of the wave",
            wave(json!({"maxUnavailable": "100%", "bake": "0s", "approval": "Manual"})),
        ),
        (
            "nights",
            window(
                json!({"days": ["Monday", "Sunday"], "from": "22:00", "to": "04:00", "timeZone": "Europe/Berlin"}),
            ),
        ),
        (
            "whole days",
            window(json!({"days": ["Saturday"], "timeZone": "America/New_York"})),
        ),
        ("every day", window(json!({"from": "00:00", "to": "23:59"}))),
        (
            "dates",
            window(json!({"start": "2028-02-29", "end": "2028-02-29"})),
        ),
        (
            "everything else",
            rollout(json!({
                "nodeSelector": {"matchLabels": {"kubernetes.io/os": "linux"}},
                "mode": "Proxied", "way": "Port", "adopt": "Reset", "paused": true, "progressDeadline": "1h30m",
                "onFailure": "Pause", "rollbackScope": "All",
                "blackouts": [{"name": "christmas", "start": "2026-12-20", "end": "2027-01-06"}],
                "analysis": {
                    "objectives": [{"indicator": "Sessions", "min": "99.95%", "maxWorse": "0.5%"}],
                    "interval": "1m", "minSamples": 1, "failureLimit": 0, "inconclusiveLimit": 0, "errorLimit": 0,
                    "prober": {"enabled": false},
                },
            })),
        ),
        ("a node that nobody wants anything of", node(json!({}))),
        (
            "a node with an agent",
            node(
                json!({"traffic": "Agent", "feature": "Declared", "mode": "Proxied", "rollout": "all", "wave": "canary"}),
            ),
        ),
        (
            "a node that is masked",
            node(json!({"feature": "Withdrawn", "mode": "Native"})),
        ),
        (
            "an action",
            action(json!({"reason": "the canary has been quiet for a day"})),
        ),
    ]
}
