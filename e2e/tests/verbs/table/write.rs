//! What writes objects that nothing runs for.

use super::Row;

pub(super) const APPLY: &[Row] = &[
    ("kubectl apply -f settings.yaml", 0, "created"),
    ("kubectl apply -f settings.yaml", 0, "unchanged"),
    (
        "sed s/red/blue/ settings.yaml | kubectl diff -f -",
        1,
        "+  colour: blue",
    ),
    (
        "sed s/red/blue/ settings.yaml | kubectl apply -f -",
        0,
        "configured",
    ),
    (
        "kubectl apply view-last-applied configmap settings",
        0,
        "colour: blue",
    ),
    (
        "kubectl diff --server-side --field-manager=other --force-conflicts -f settings.yaml",
        1,
        "+  colour: red",
    ),
    (
        "kubectl apply --server-side --field-manager=other -f settings.yaml",
        1,
        "conflict",
    ),
    (
        "kubectl apply --server-side --field-manager=other --force-conflicts -f settings.yaml",
        0,
        "serverside-applied",
    ),
    (
        "kubectl get configmap settings -o yaml --show-managed-fields",
        0,
        "manager: other",
    ),
    (
        "KUBE_EDITOR='sed -i s/small/large/' kubectl edit configmap settings",
        0,
        "edited",
    ),
    (
        "KUBE_EDITOR=true kubectl edit configmap settings",
        0,
        "no changes made",
    ),
    (
        "kubectl create -f web.yaml --dry-run=server -o yaml",
        0,
        "revisionHistoryLimit",
    ),
    (
        "sed s/tier:/shelf:/ settings.yaml | kubectl replace -f -",
        0,
        "replaced",
    ),
    ("kubectl replace --force -f settings.yaml", 0, "replaced"),
    ("kubectl get configmap settings -o yaml", 0, "colour: red"),
    (
        "kubectl create deployment idle --image=$IMAGE --replicas=0",
        0,
        "created",
    ),
    (
        "kubectl create job once --image=$IMAGE --dry-run=server -o json -- true",
        0,
        "controller-uid",
    ),
    (
        "kubectl create cronjob often --image=$IMAGE --schedule='@yearly' -- true",
        0,
        "created",
    ),
    (
        "kubectl create role reads --verb=get,list --resource=pods,pods/log",
        0,
        "created",
    ),
    (
        "kubectl create rolebinding reads --role=reads --user=jane",
        0,
        "created",
    ),
    (
        "kubectl create role reads --verb=watch --resource=pods --dry-run=client -o yaml | kubectl auth reconcile -f -",
        0,
        "reconciled",
    ),
    (
        "kubectl get cronjobs,roles,rolebindings -o wide",
        0,
        "Role/reads",
    ),
];

pub(super) const PATCH: &[Row] = &[
    (
        "kubectl create deployment idle --image=$IMAGE --replicas=0",
        0,
        "created",
    ),
    (
        r#"kubectl patch deployment idle -p '{"spec":{"template":{"spec":{"containers":[{"name":"box","tty":true}]}}}}'"#,
        0,
        "patched",
    ),
    (
        r#"kubectl patch deployment idle --type=merge -p '{"spec":{"paused":true}}'"#,
        0,
        "patched",
    ),
    (
        r#"kubectl patch deployment idle --type=json -p '[{"op":"add","path":"/spec/minReadySeconds","value":3}]'"#,
        0,
        "patched",
    ),
    (
        r#"kubectl patch deployment idle --type=json -p '[{"op":"test","path":"/spec/paused","value":false}]'"#,
        1,
        "the server rejected our request",
    ),
    (
        r#"kubectl patch deployment idle --subresource=scale --type=merge -p '{"spec":{"replicas":0}}' -o yaml"#,
        0,
        "kind: Scale",
    ),
    ("kubectl label deployment idle tier=back", 0, "labeled"),
    (
        "kubectl label deployment idle tier=front",
        1,
        "already has a value",
    ),
    (
        "kubectl label deployment idle tier=front --overwrite",
        0,
        "labeled",
    ),
    (
        "kubectl label deployment idle --list | sort",
        0,
        "tier=front",
    ),
    (
        "kubectl annotate deployment idle example.com/note='a note'",
        0,
        "annotated",
    ),
    (
        "kubectl annotate deployment idle example.com/note-",
        0,
        "annotated",
    ),
    (
        "kubectl set image deployment/idle box=nosuch:2",
        0,
        "image updated",
    ),
    (
        "kubectl set env deployment/idle COLOUR=red",
        0,
        "env updated",
    ),
    (
        "kubectl set resources deployment idle --limits=cpu=200m",
        0,
        "updated",
    ),
    (
        "kubectl set serviceaccount deployment idle default",
        0,
        "updated",
    ),
    (
        "kubectl get deployment idle -o jsonpath='{.spec}'",
        0,
        "nosuch:2",
    ),
    (
        "kubectl scale deployment idle --current-replicas=5 --replicas=6",
        1,
        "Expected replicas to be 5",
    ),
    (
        "kubectl autoscale deployment idle --min=1 --max=2 --cpu=80%",
        0,
        "autoscaled",
    ),
    (
        "kubectl get hpa idle -o jsonpath='{.spec}'",
        0,
        "averageUtilization",
    ),
    ("kubectl delete hpa idle", 0, "deleted"),
    (
        "kubectl expose deployment idle --port=80 --target-port=8080",
        0,
        "exposed",
    ),
    (
        "kubectl set selector service idle app=other",
        0,
        "selector updated",
    ),
    ("kubectl get service idle -o yaml", 0, "app: other"),
];

pub(super) const DELETE: &[Row] = &[
    ("kubectl apply -f held.yaml -f settings.yaml", 0, "created"),
    (
        "kubectl delete configmap held --timeout=1s",
        1,
        "timed out waiting",
    ),
    (
        "kubectl get configmap held -o jsonpath={.metadata.finalizers}",
        0,
        "example.com/held",
    ),
    // It says so, and then waits until another lets go of the object.
    (
        r#"mkfifo told; kubectl delete configmap held >told & exec 3<told; read -ru 3 line; echo $line; \
           kubectl patch configmap held --type=merge -p '{"metadata":{"finalizers":null}}'; wait $!"#,
        0,
        "patched",
    ),
    ("kubectl get configmap held", 1, "not found"),
    (
        "kubectl delete -f settings.yaml --dry-run=server",
        0,
        "server dry run",
    ),
    ("kubectl delete -f settings.yaml --wait=false", 0, "deleted"),
    ("kubectl delete -f settings.yaml --ignore-not-found", 0, ""),
    (
        "kubectl create deployment idle --image=$IMAGE --replicas=0",
        0,
        "created",
    ),
    (
        "kubectl rollout status deployment/idle | tail -n 1",
        0,
        "rolled out",
    ),
    (
        "kubectl delete deployment idle --cascade=orphan",
        0,
        "deleted",
    ),
    (
        "kubectl get rs -o jsonpath='{.items[*].metadata.name} {.items[*].metadata.ownerReferences}'",
        0,
        "idle-",
    ),
    (
        "kubectl delete rs -l app=idle --cascade=foreground",
        0,
        "deleted",
    ),
    (
        "kubectl create configmap one && kubectl create configmap two",
        0,
        "created",
    ),
    ("kubectl delete configmap one two nosuch", 1, "not found"),
    (
        "kubectl run box --image=$IMAGE --overrides='{\"spec\":{\"nodeName\":\"'$NODE'\"}}' \
         --command -- sleep 1000000",
        0,
        "created",
    ),
    (
        "kubectl delete pod box --force --grace-period=0",
        0,
        "Immediate deletion",
    ),
    ("kubectl delete configmaps --all", 0, "deleted"),
    (
        "kubectl create namespace gone-$SIDE && kubectl delete namespace gone-$SIDE",
        0,
        "deleted",
    ),
];
