//! What reads, and the objects that it reads.

use super::Row;

/// Makes what the others read.
pub(super) const OBJECTS: &[Row] = &[
    (
        "kubectl apply -f web.yaml -f settings.yaml -f pods.yaml",
        0,
        "created",
    ),
    (
        "for n in one two three; do kubectl create configmap $n --from-literal=is=$n; done",
        0,
        "two",
    ),
    ("kubectl label configmap one two tier=back", 0, "labeled"),
    (
        "kubectl create secret generic secret --from-literal=key=value",
        0,
        "created",
    ),
    ("kubectl rollout status deployment/web", 0, "rolled out"),
    (
        "kubectl wait pod/talks --for=jsonpath={.status.phase}=Succeeded --timeout=60s",
        0,
        "met",
    ),
    (
        "kubectl wait pod/again --for=jsonpath='{.status.containerStatuses[0].restartCount}'=1 \
         --timeout=60s",
        0,
        "met",
    ),
    (
        "kubectl wait pod/again --for=condition=Ready --timeout=60s",
        0,
        "met",
    ),
];

pub(super) const GET: &[Row] = &[
    (
        "kubectl get pods,deployments,services -o wide",
        0,
        "NOMINATED NODE",
    ),
    ("kubectl get all", 0, "replicaset.apps/web"),
    ("kubectl get deployment web -o yaml", 0, "resourceVersion"),
    (
        "kubectl get pods -o json --show-managed-fields",
        0,
        "managedFields",
    ),
    (
        r#"kubectl get configmaps -o jsonpath='{range .items[*]}{.metadata.uid}{"\n"}{end}'"#,
        0,
        "-",
    ),
    (
        "kubectl get pods -o custom-columns=NAME:.metadata.name,IP:.status.podIP",
        0,
        "talks",
    ),
    (
        "kubectl get configmaps -o go-template='{{len .items}}'",
        0,
        "5",
    ),
    (
        "kubectl get configmaps --show-labels -L tier",
        0,
        "tier=back",
    ),
    (
        "kubectl get pods -A --sort-by=.metadata.creationTimestamp",
        0,
        "default",
    ),
    (
        "kubectl get configmaps -A --chunk-size=1",
        0,
        "extension-apiserver-authentication",
    ),
    (
        "kubectl get pods --field-selector spec.nodeName=$NODE,status.phase=Succeeded",
        0,
        "talks",
    ),
    (
        "kubectl get configmaps -l 'tier in (back),tier!=front' -o name",
        0,
        "two",
    ),
    ("kubectl get -f web.yaml --server-print=false", 0, "web"),
    (
        "kubectl get deployment web --subresource=status -o yaml",
        0,
        "conditions",
    ),
    (
        "kubectl get --raw /api/v1/namespaces/$NS/configmaps?limit=2",
        0,
        "continue",
    ),
    (
        "kubectl get --raw /apis/apps/v1/namespaces/$NS/deployments/web/scale",
        0,
        "Scale",
    ),
    ("kubectl get --raw /readyz?verbose", 0, "[+]etcd ok"),
    // In whatever order the components answered.
    (
        "kubectl get componentstatuses | sort",
        0,
        "Warning: v1 ComponentStatus is deprecated",
    ),
    (
        "kubectl get events --field-selector involvedObject.name=again",
        0,
        "Pulled",
    ),
    ("kubectl events --for pod/again", 0, "Started"),
];

pub(super) const DESCRIBE: &[Row] = &[
    ("kubectl describe pod again", 0, "Last State"),
    (
        "kubectl describe deployment,service web",
        0,
        "RollingUpdateStrategy",
    ),
    ("kubectl describe configmap settings", 0, "colour"),
    ("kubectl describe node $NODE", 0, "Allocated resources"),
    (
        "kubectl explain deployment.spec.strategy",
        0,
        "rollingUpdate",
    ),
    ("kubectl explain pods --recursive", 0, "ephemeralContainers"),
    ("kubectl api-resources -o wide", 0, "metrics.k8s.io"),
    (
        "kubectl api-resources --namespaced=false --verbs=list -o name",
        0,
        "nodes",
    ),
    ("kubectl api-versions", 0, "apps/v1"),
    ("kubectl version -o yaml", 0, "v1.28.15"),
    ("kubectl cluster-info", 0, "SERVER"),
    ("kubectl auth whoami -o yaml", 0, "system:masters"),
    ("kubectl auth can-i create pods/exec", 0, "yes"),
    ("kubectl auth can-i --list", 0, "*.*"),
    (
        "kubectl auth can-i --list --context dev",
        0,
        "selfsubjectaccessreviews",
    ),
    ("kubectl auth can-i delete nodes --as=dev", 1, "no"),
];

pub(super) const LOGS: &[Row] = &[
    ("kubectl logs talks", 0, "line 5"),
    ("kubectl logs talks --timestamps --tail=2", 0, "Z line 5"),
    ("kubectl logs -f talks", 0, "line 5"),
    ("kubectl logs again", 0, "second"),
    // Of a container that goes on: its lines have to come without its end.
    (
        "rm -f live; mkfifo live; kubectl logs -f again >live & exec 3<live; \
         for n in 1 2; do read -ru 3 line; echo $line; done; kill $!",
        0,
        "second",
    ),
    ("kubectl logs again --previous", 0, "first"),
    (
        "kubectl logs -l app=talks --prefix --limit-bytes=12",
        0,
        "[pod/talks/c] line 1",
    ),
    ("kubectl logs deployment/web --since=1h", 0, "started"),
    (
        "kubectl logs talks --previous",
        1,
        "previous terminated container",
    ),
    (
        "kubectl logs talks -c nosuch",
        1,
        "container nosuch is not valid",
    ),
];

pub(super) const TOP: &[Row] = &[
    ("kubectl top nodes", 0, "MEMORY"),
    ("kubectl top pods --containers", 0, "again"),
    ("kubectl top pod nosuch", 1, "NotFound"),
    (
        "kubectl get --raw /apis/metrics.k8s.io/v1beta1",
        0,
        "PodMetrics",
    ),
];
