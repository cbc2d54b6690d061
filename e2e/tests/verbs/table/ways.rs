//! Events as they come, refusals, and what other users and an older kubectl do again.

use super::Row;

/// A pipe is read line by line: each is there before the next thing is done.
pub(super) const WATCH: &[Row] = &[
    (
        "mkfifo live; kubectl get configmaps -w -o name --field-selector metadata.name=settings >live & \
         exec 3<live; kubectl apply -f settings.yaml; read -ru 3 line; echo $line; \
         kubectl label configmap settings a=b; read -ru 3 line; echo $line; \
         kubectl delete configmap settings; read -ru 3 line; echo $line; kill $!",
        0,
        "labeled",
    ),
    (
        "mkfifo rest; kubectl apply -f settings.yaml; \
         kubectl get configmaps --watch --output-watch-events -l tier >rest & exec 3<rest; \
         for n in 1 2; do read -ru 3 line; echo $line; done; \
         kubectl delete configmap settings; read -ru 3 line; echo $line; kill $!",
        0,
        "DELETED",
    ),
    (
        "kubectl get --raw \"/api/v1/namespaces/$NS/configmaps?watch=1&timeoutSeconds=1\" \
         | grep -o '\"type\":\"[A-Z]*\"'",
        0,
        "ADDED",
    ),
    (
        "kubectl apply -f settings.yaml; \
         kubectl wait configmap/settings --for=jsonpath={.data.colour}=blue --timeout=60s & \
         sed s/red/blue/ settings.yaml | kubectl apply -f - >applied; wait $!",
        0,
        "met",
    ),
    (
        "mkfifo proxy; kubectl proxy --port=0 >proxy & exec 3<proxy; read -ru 3 line; echo $line; \
         through() { KUBECONFIG= $KUBECTL --server=http://${line##* } -n $NS \"$@\"; }; \
         through create configmap proxied --from-literal=a=b; through get configmap proxied -o yaml; \
         through get configmap nosuch; kill $!",
        0,
        "Starting to serve",
    ),
];

pub(super) const REFUSED: &[Row] = &[
    ("kubectl get pod nosuch", 1, "NotFound"),
    ("kubectl get nosuch", 1, "doesn't have a resource type"),
    (
        "kubectl get --raw /apis/nosuch/v1",
        1,
        "could not find the requested resource",
    ),
    ("kubectl get pods --context dev", 1, "Forbidden"),
    ("kubectl delete node $NODE --context dev", 1, "Forbidden"),
    ("kubectl get pods --as=dev", 1, "User \"dev\" cannot list"),
    (
        "kubectl get pods --context dev --as=admin",
        1,
        "cannot impersonate",
    ),
    ("kubectl get pods --token=wrong", 1, "Unauthorized"),
    (
        "kubectl get pods --context no-user --username=x --password=y",
        1,
        "system:anonymous",
    ),
    ("kubectl apply -f refused.yaml", 1, "unknown field"),
    (
        "kubectl apply -f refused.yaml --validate=ignore",
        0,
        "created",
    ),
    (
        "kubectl apply -f refused.yaml --validate=warn",
        0,
        "Warning: unknown field",
    ),
    (
        "kubectl create -f refused.yaml --validate=ignore",
        1,
        "AlreadyExists",
    ),
    ("kubectl create configmap Wrong_Name", 1, "is invalid"),
    (
        "kubectl get configmap refused -o yaml | sed 's/resourceVersion: .*/resourceVersion: \"1\"/' \
         | kubectl replace -f -",
        1,
        "Conflict",
    ),
    ("kubectl create quota none --hard=secrets=0", 0, "created"),
    (
        "kubectl wait quota/none --for=jsonpath={.status.hard.secrets}=0 --timeout=60s",
        0,
        "met",
    ),
    ("kubectl create secret generic one", 1, "exceeded quota"),
    (
        "kubectl label ns $NS pod-security.kubernetes.io/warn=restricted",
        0,
        "labeled",
    ),
    (
        "kubectl create deployment loose --image=$IMAGE --replicas=0",
        0,
        "Warning: would violate",
    ),
    (
        "kubectl label ns $NS pod-security.kubernetes.io/enforce=restricted",
        0,
        "labeled",
    ),
    ("kubectl apply -f pods.yaml", 1, "violates PodSecurity"),
    (
        r#"kubectl patch deployment loose --type=merge -p '{"spec":{"selector":{"matchLabels":{"a":"b"}}}}'"#,
        1,
        "field is immutable",
    ),
    (
        "head -c 2000000 /dev/zero | tr '\\0' x >big; kubectl create configmap big --from-file=big",
        1,
        "Too long",
    ),
    (
        "head -c 4000000 /dev/zero | tr '\\0' x >big; kubectl create configmap big --from-file=big",
        1,
        "Request entity too large",
    ),
];

/// What is done again by other users and by kubectl 1.28.
pub(super) const AGAIN: &[Row] = &[
    // Not the table: the gateway says by which certificate a user came, 1.28 does not yet.
    (
        "kubectl auth whoami -o jsonpath='{.status.userInfo.username} {.status.userInfo.groups}'",
        0,
        "system:authenticated",
    ),
    ("kubectl apply -f settings.yaml -f pods.yaml", 0, "created"),
    (
        "sed s/red/blue/ settings.yaml | kubectl diff -f -",
        1,
        "+  colour: blue",
    ),
    (
        "kubectl apply --server-side --field-manager=other -f settings.yaml",
        0,
        "serverside-applied",
    ),
    ("kubectl get configmap settings -o yaml", 0, "colour: red"),
    (
        "kubectl get configmaps --show-labels -o wide --chunk-size=1",
        0,
        "tier=front",
    ),
    (
        "until kubectl logs -f talks 2>errors; do :; done",
        0,
        "line 5",
    ),
    (
        "mkfifo live; kubectl get configmaps -w -o name >live & \
         exec 3<live; for n in 1 2; do read -ru 3 line; echo $line; done; \
         kubectl label configmap settings a=b; read -ru 3 line; echo $line; kill $!",
        0,
        "labeled",
    ),
    ("kubectl get pod nosuch", 1, "NotFound"),
    ("kubectl delete configmap settings", 0, "deleted"),
    ("kubectl delete pods --all", 0, "deleted"),
];
