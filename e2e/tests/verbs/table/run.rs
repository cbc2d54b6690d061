//! What starts pods, moves them, and waits for them.

use super::Row;

pub(super) const ROLLOUT: &[Row] = &[
    ("kubectl apply -f web.yaml", 0, "created"),
    (
        "kubectl rollout status deployment/web | tail -n 1",
        0,
        "successfully rolled out",
    ),
    ("kubectl scale deployment web --replicas=2", 0, "scaled"),
    (
        "kubectl rollout status deployment/web | tail -n 1",
        0,
        "successfully rolled out",
    ),
    (
        "kubectl wait deployment/web --for=jsonpath={.status.readyReplicas}=2 --timeout=60s",
        0,
        "met",
    ),
    (
        "kubectl scale deployment web --replicas=1 --timeout=60s",
        0,
        "scaled",
    ),
    ("kubectl rollout pause deployment/web", 0, "paused"),
    (
        "kubectl set env deployment/web COLOUR=red",
        0,
        "env updated",
    ),
    ("kubectl rollout resume deployment/web", 0, "resumed"),
    (
        "kubectl rollout status deployment/web | tail -n 1",
        0,
        "successfully rolled out",
    ),
    ("kubectl rollout history deployment/web", 0, "REVISION"),
    (
        "kubectl rollout history deployment/web --revision=2",
        0,
        "COLOUR",
    ),
    ("kubectl rollout restart deployment/web", 0, "restarted"),
    (
        "kubectl rollout status deployment/web | tail -n 1",
        0,
        "successfully rolled out",
    ),
    (
        "kubectl rollout undo deployment/web --to-revision=1",
        0,
        "rolled back",
    ),
    (
        "kubectl rollout status deployment/web | tail -n 1",
        0,
        "successfully rolled out",
    ),
    (
        "kubectl set image deployment/web c=nosuch.invalid/box:2",
        0,
        "image updated",
    ),
    (
        "kubectl rollout status deployment/web --timeout=1s | tail -n 1",
        1,
        "timed out waiting",
    ),
    ("kubectl rollout undo deployment/web", 0, "rolled back"),
    (
        "kubectl rollout undo deployment/web --to-revision=99",
        1,
        "unable to find",
    ),
];

pub(super) const PODS: &[Row] = &[
    ("kubectl apply -f pods.yaml", 0, "created"),
    // Refused until the container is there, then followed to its end.
    (
        "until kubectl logs -f talks 2>errors; do :; done",
        0,
        "line 5",
    ),
    (
        "kubectl wait pod/talks --for=jsonpath={.status.phase}=Succeeded --timeout=60s",
        0,
        "met",
    ),
    (
        "kubectl run box --image=$IMAGE --labels=app=box \
         --overrides='{\"spec\":{\"nodeName\":\"'$NODE'\"}}' --command -- sleep 1000000",
        0,
        "created",
    ),
    (
        "kubectl wait pod/box --for=condition=Ready --timeout=60s",
        0,
        "met",
    ),
    (
        "kubectl debug box --image=$IMAGE --container=look --attach=false -- sleep 1000000",
        0,
        "",
    ),
    (
        "kubectl wait pod/box --for=jsonpath='{.status.ephemeralContainerStatuses[0].state.running}' \
         --timeout=60s",
        0,
        "met",
    ),
    (
        "kubectl debug box --copy-to=copy --set-image=box=$IMAGE --attach=false",
        0,
        "",
    ),
    (
        "kubectl get pod box copy -o jsonpath='{.items[*].spec.containers[*].name}'",
        0,
        "box box",
    ),
    (
        "kubectl wait pod/box --for=condition=Nosuch --timeout=1s",
        1,
        "timed out",
    ),
    ("kubectl create serviceaccount robot", 0, "created"),
    ("kubectl create token robot --duration=1h", 0, "TOKEN"),
    (
        "kubectl auth whoami --token=$(kubectl create token robot)",
        0,
        ":robot",
    ),
    (
        "kubectl get pods --token=$(kubectl create token robot)",
        1,
        "cannot list resource",
    ),
    ("kubectl apply -f csr.yaml", 0, "created"),
    ("kubectl get csr jane-$SIDE", 0, "Pending"),
    ("kubectl certificate approve jane-$SIDE", 0, "approved"),
    (
        "kubectl wait csr/jane-$SIDE --for=jsonpath={.status.certificate} --timeout=60s",
        0,
        "met",
    ),
    (
        "kubectl get csr jane-$SIDE -o jsonpath={.status.certificate} | base64 -d",
        0,
        "CERTIFICATE",
    ),
    ("kubectl certificate deny jane-$SIDE", 1, "Approved"),
];

pub(super) const NODES: &[Row] = &[
    ("kubectl apply -f drained.yaml", 0, "created"),
    (
        "kubectl rollout status deployment/guarded | tail -n 1",
        0,
        "rolled out",
    ),
    (
        "kubectl rollout status daemonset/daemon | tail -n 1",
        0,
        "rolled out",
    ),
    (
        "kubectl wait pod/bare --for=condition=Ready --timeout=60s",
        0,
        "met",
    ),
    (
        "kubectl wait pdb/guarded --for=jsonpath={.status.currentHealthy}=1 --timeout=60s",
        0,
        "met",
    ),
    ("kubectl cordon $NODE", 0, "cordoned"),
    ("kubectl get node $NODE", 0, "SchedulingDisabled"),
    // kubectl tells what it may not delete in no order.
    (
        "kubectl drain $NODE --pod-selector=drained 2>&1 | sed 's/, cannot/\\ncannot/g; s/[][]/\\n/g' | sort",
        1,
        "declare no controller",
    ),
    ("kubectl delete pod bare", 0, "deleted"),
    (
        "kubectl drain $NODE --pod-selector=drained --ignore-daemonsets --timeout=1s",
        1,
        "disruption budget",
    ),
    ("kubectl delete pdb guarded", 0, "deleted"),
    (
        "kubectl drain $NODE --pod-selector=drained --ignore-daemonsets",
        0,
        "evicted",
    ),
    ("kubectl uncordon $NODE", 0, "uncordoned"),
    (
        "kubectl taint node $NODE example.com/kept=yes:PreferNoSchedule",
        0,
        "tainted",
    ),
    (
        "kubectl taint node $NODE example.com/kept=no:PreferNoSchedule",
        1,
        "overwrite is false",
    ),
    ("kubectl taint node $NODE example.com/kept-", 0, "untainted"),
];
