//! Tables of what people write, and what becomes of it.

use proptest::prelude::*;
use streamway_rbac::{Index, Kind, Object, Stream};

use super::*;

const READER: &str = "\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: reader
rules:
- verbs: [list]
  apiGroups: [\"\"]
  resources: [pods]
-
  verbs: [get]
  apiGroups: ['*']
  resources:
  - '*'
";
const READERS: &str = "\
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: readers, namespace: n}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects:
- {kind: Group, apiGroup: rbac.authorization.k8s.io, name: devs}
- kind: ServiceAccount
  name: bot
";

fn read(text: impl AsRef<[u8]>) -> Manifests {
    let mut manifests = Manifests::default();
    manifests.read("m.yaml", text.as_ref()).unwrap();
    manifests
}

fn problems(manifests: &Manifests) -> Vec<String> {
    manifests.problems().map(ToString::to_string).collect()
}

/// Who has `get pods/exec` only, with the lines of subject and rule.
fn getters(manifests: Manifests) -> Vec<String> {
    let (policy, places) = manifests.into_parts();
    let index = Index::new(policy);
    let findings = index.findings();
    let getters = findings.iter();
    let getters = getters.filter(|found| found.kind == Kind::GetWithoutCreate(Stream::Exec));
    let told = getters.flat_map(|found| &found.paths).map(|path| {
        let line = |place: Option<Place>| place.map_or(0, |place| place.line);
        let (subject, rule) = (places.subject(path), places.rule(path));
        format!("{} {} {}", path.subject, line(subject), line(rule))
    });
    told.collect()
}

const FOUND: [&str; 2] = ["Group devs 20 10", "ServiceAccount n/bot 21 10"];

#[test]
fn lines_are_the_sources() {
    let text = format!("{READER}---\n{READERS}");
    assert_eq!(getters(read(&text)), FOUND);
    let windows = format!("\u{feff}{}", text.replace('\n', "\r\n"));
    assert_eq!(getters(read(windows)), FOUND);
    // The binding may come first, and something else between.
    let other = "apiVersion: v1\nkind: ConfigMap\ndata:\n  a: |\n    ---\n    {{ x }}\n    \\\n";
    let text = format!("{READERS}---\n{other}---\n---\n{READER}");
    let found = getters(read(&text));
    assert_eq!(found, ["Group devs 6 28", "ServiceAccount n/bot 7 28"]);
}

#[test]
fn places_of_objects() {
    let manifests = read(format!("# roles\n\n{READER}"));
    let reader = Object {
        kind: ObjectKind::ClusterRole,
        namespace: "",
        name: "reader",
    };
    let place = manifests.places().object(&reader).unwrap();
    assert_eq!(place.to_string(), "m.yaml:3");
    let namespaced = Object {
        kind: ObjectKind::Role,
        ..reader
    };
    assert_eq!(manifests.places().object(&namespaced), None);
}

#[test]
fn json_and_lists() {
    let role = r#"{"kind": "ClusterRole", "metadata": {"name": "reader"}, "apiVersion": "rbac.authorization.k8s.io/v1", "rules": [{"verbs": ["get"], "apiGroups": ["*"], "resources": ["*"]}]}"#;
    let binding = r#"{"roleRef": {"kind": "ClusterRole", "name": "reader"}, "subjects": [{"kind": "User", "name": "jane"}], "metadata": {"name": "b"}"#;
    let typed = r#", "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding"}"#;
    let version = r#""apiVersion": "rbac.authorization.k8s.io/v1""#;
    let table = [
        ("JSON documents", format!("{role}\n{binding}{typed}\n")),
        (
            "kubectl get -o json",
            format!(
                "{{\n\"apiVersion\": \"v1\",\n\"items\": [{role},\n{binding}{typed}],\n\"kind\": \"List\"}}"
            ),
        ),
        (
            "a list of its own kind",
            format!(
                "{role}\n{{\"items\": [{binding}}}], \"kind\": \"ClusterRoleBindingList\", {version}}}"
            ),
        ),
        (
            "with the kind first",
            format!(
                "{role}\n{{\"kind\": \"ClusterRoleBindingList\", {version}, \"items\": [{binding}}}]}}"
            ),
        ),
        (
            "lists in a list",
            format!(
                "{{\"kind\": \"List\", \"items\": [{{\"kind\": \"List\", \"items\": [{role}]}}, {binding}{typed}]}}"
            ),
        ),
        (
            "a list with an anchor",
            format!("kind: List\nitems: &a\n- {role}\n- {binding}{typed}\n"),
        ),
        (
            "escapes",
            format!(
                "{}\n{binding}{typed}",
                role.replace("authorization.", "\\u0061uthorization\\u002e")
            ),
        ),
        (
            "tabs",
            format!("{}\n{binding}{typed}", role.replace(' ', "\n\t")),
        ),
    ];
    for (name, text) in table {
        let manifests = read(&text);
        assert_eq!(problems(&manifests), [""; 0], "{name}");
        let found = getters(manifests);
        let who: Vec<_> = found.iter().map(|told| told.get(..9)).collect();
        assert_eq!(who, [Some("User jane")], "{name}: {text}");
    }
}

#[test]
fn what_is_not_ours_is_passed_over() {
    let items = format!(
        "apiVersion: example.com/v1\nkind: Bundle\nitems:\n- {}",
        READER.replace('\n', "\n  ")
    );
    for text in [
        items.as_str(),
        "kind: ClusterRole\nmetadata: {name: x}\n",
        "apiVersion: authorization.example.com/v1\nkind: Role\nrules: 7\n",
        "# rbac.authorization.k8s.io\n",
        "rbac.authorization.k8s.io",
        "- rbac.authorization.k8s.io\n",
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Other\nrules: 7\n",
        "kind: Secret\ndata: {\n",
    ] {
        let manifests = read(text);
        assert_eq!(
            (problems(&manifests), manifests.objects()),
            (vec![], 0),
            "{text}"
        );
    }
}

#[test]
fn the_rest_is_read() {
    let role = |body: &str| {
        let head = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role";
        format!("{head}\n{body}\n").into_bytes()
    };
    let named = |body: &str| role(&format!("metadata: {{name: x}}\n{body}"));
    let nested = format!("rules: {}", "[".repeat(100_000));
    let template = "a template that is not rendered: pass the output of `helm template`";
    let table: [(Vec<u8>, &str); 18] = [
        (named("rules:\n- verbs: [get"), "5: "),
        (named("rules:\n  - verbs: []\n - apiGroups: []"), "6: "),
        (named("rules:\n\t- verbs: []"), "5: "),
        (
            named("rules: []\nrules: []"),
            "5: the key rules is there twice",
        ),
        (named("rules: get"), "4: rules is a scalar, not a list"),
        (
            named("rules: [get]"),
            "4: rules[0] is a scalar, not a mapping",
        ),
        (
            named("rules:\n- verbs:\n  - [get]"),
            "6: rules[0].verbs[0] is a list, not a string",
        ),
        (role("metadata: []"), "3: metadata is a list, not a mapping"),
        (role("metadata: {namespace: x}"), "1: a Role without a name"),
        (named("rules: *a"), "4: "),
        (named("rules: &a [*a]"), "4: "),
        (named(&nested), "4: "),
        (named("rules: []\n}"), "5: "),
        (named("? {a: b}\n: c"), "4: a key that is no string"),
        (
            named("rules:\n{{- range .Values.rules }}\n- x\n{{ end }}"),
            template,
        ),
        (role("metadata: {name: {{ .Values.name }}}"), template),
        (role("metadata:\n  name: '{{ .Values.name }}'"), template),
        (
            [named("rules: []"), vec![b'#', 0xc3, b'\n']].concat(),
            "5: not UTF-8 text",
        ),
    ];
    for (broken, told) in table {
        let shown =
            String::from_utf8_lossy(broken.get(..broken.len().min(200)).unwrap()).into_owned();
        let text = [b"---\n", broken.as_slice(), b"\n---\n", READER.as_bytes()].concat();
        let manifests = read(&text);
        let found = problems(&manifests);
        let line = told
            .split_once(": ")
            .and_then(|(line, rest)| Some((line.parse::<u32>().ok()?, rest)));
        let expected = match line {
            Some((line, rest)) => format!("m.yaml:{}: {rest}", line + 1),
            None => told.to_owned(),
        };
        assert_eq!(found.len(), 1, "{shown}: {found:?}");
        assert!(
            found[0].contains(&expected),
            "{shown}: {} instead of {expected}",
            found[0]
        );
        assert_eq!(manifests.objects(), 1, "{shown}");
    }
}

#[test]
fn warnings() {
    let old = READER.replace("/v1\n", "/v1beta1\n");
    let manifests = read(format!(
        "{old}---\n{READER}---\n{}",
        READER.replace("/v1", "/v7")
    ));
    let expected = [
        "m.yaml:1: rbac.authorization.k8s.io/v1beta1 is gone since Kubernetes 1.22: an API server \
         refuses it, write rbac.authorization.k8s.io/v1",
        "m.yaml:15: ClusterRole reader again, first in m.yaml:1: the later one counts",
        "m.yaml:29: rbac.authorization.k8s.io/v7 is no version of the RBAC API: it is \
         rbac.authorization.k8s.io/v1",
    ];
    assert_eq!(problems(&manifests), expected);
    let warnings: Vec<_> = manifests
        .problems()
        .map(|problem| problem.cause.is_warning())
        .collect();
    assert_eq!(warnings, [true, true, false]);
    assert_eq!(manifests.objects(), 2);
}

#[test]
fn a_role_that_is_bound_and_nowhere_is_told_once() {
    let other = READERS.replace("{name: readers, ", "{name: others, ");
    let unresolved = |text: String| {
        let told = read(text).unresolved();
        assert!(told.iter().all(|problem| problem.cause.is_warning()));
        told.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let expected = [
        "m.yaml:1: ClusterRole reader is bound and not among these manifests: what it gives is not known",
    ];
    assert_eq!(unresolved(format!("{READERS}---\n{other}")), expected);
    assert_eq!(
        unresolved(READERS.replace("kind: ClusterRole,", "kind: Role,")),
        [expected[0].replace("ClusterRole reader", "Role n/reader")]
    );
    for known in ["reader", "view", "system:auth-delegator"] {
        let bound = READERS.replace("name: reader}", &format!("name: '{known}'}}"));
        let none: [&str; 0] = [];
        assert_eq!(unresolved(format!("{bound}---\n{READER}")), none);
    }
}

#[test]
fn kubernetes_own_roles_are_known_and_not_counted() {
    let nothing = Manifests::default();
    assert_eq!((nothing.objects(), nothing.places().roles()), (0, 0));
    // It may get whatever there is.
    let own = "system:controller:generic-garbage-collector";
    let bound = READERS.replace("name: reader}", &format!("name: '{own}'}}"));
    assert_eq!(
        getters(read(bound)),
        ["Group devs 6 0", "ServiceAccount n/bot 7 0"]
    );
}

#[test]
fn what_is_added_to_view_is_found_where_it_is_written() {
    let label = "labels: {rbac.authorization.k8s.io/aggregate-to-view: 'true'}";
    let part = READER.replace("  name: reader", &format!("  name: part\n  {label}"));
    let part = part
        .replace("'*'", "pods/exec")
        .replace("[pods/exec]", "['']");
    let bound = READERS.replace("name: reader}", "name: view}");
    let text = format!("{bound}---\n{part}");
    assert_eq!(
        getters(read(text)),
        ["Group devs 6 20", "ServiceAccount n/bot 7 20"]
    );
    // Their edit has create as well.
    let edit = READERS.replace("name: reader}", "name: edit}");
    let none: [&str; 0] = [];
    assert_eq!(getters(read(format!("{edit}---\n{part}"))), none);
    // One of their own takes its place.
    let own = READER.replace("name: reader", "name: edit");
    assert_eq!(getters(read(format!("{edit}---\n{own}"))).len(), 2);
}

#[test]
fn utf16_is_told_once() {
    let text: Vec<u8> = format!("\u{feff}{READER}---\n{READERS}")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(
        problems(&read(text)),
        ["m.yaml:1: UTF-16 text: convert it to UTF-8"]
    );
}

#[test]
fn fields_that_nobody_has_to_know() {
    let text = READER.replace(
        "rules:",
        "spec: {a: &a [1]}\nstatus: null\nsubjects: null\nrules:",
    );
    let text = format!(
        "{}\n---\n{READERS}",
        text.replace("name: reader", "name: reader\n  annotations: {x: 1}")
    );
    let manifests = read(text);
    assert_eq!((problems(&manifests), manifests.objects()), (vec![], 2));
    let numbers = read(READER.replace("name: reader", "name: 007"));
    assert!(
        numbers
            .places()
            .0
            .keys()
            .any(|(_, _, name)| &**name == "007")
    );
}

#[test]
fn aggregated_roles_hold_what_they_select() {
    let labels = "name: reader\n  labels: {own: 'true'}";
    let text = format!(
        "{}---\n{}---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: all}}\n\
         aggregationRule:\n  clusterRoleSelectors:\n  - matchLabels: {{own: 'true'}}\n  - matchExpressions:\n\
         \x20   - {{key: x, operator: In, values: [a]}}\nrules: []\n",
        READER.replace("name: reader", labels),
        READERS.replace("name: reader}", "name: all}"),
    );
    let found = getters(read(text));
    assert_eq!(found, ["Group devs 21 11", "ServiceAccount n/bot 22 11"]);
}

#[test]
fn aliases() {
    let shared = "x: &rules\n- {verbs: [get], apiGroups: ['*'], resources: ['*']}\n";
    let text = READER.split("rules:").next().unwrap();
    let manifests = read(format!("{text}{shared}rules: *rules\n---\n{READERS}"));
    assert_eq!(
        getters(manifests),
        ["Group devs 14 6", "ServiceAccount n/bot 15 6"]
    );
    let merged = read(format!(
        "{text}y: &y\n  {}z: {{<<: [*y]}}\n<<: *y\n",
        "rules: []\n"
    ));
    assert_eq!((problems(&merged), merged.objects()), (vec![], 1));

    // A billion of laughs, as verbs and as lists of lists.
    let mut bomb = format!("{text}a0: &a0 [{}]\n", "get,".repeat(1000));
    bomb.push_str(&format!("rules: [{}]\n", "{verbs: *a0},".repeat(5000)));
    let told = problems(&read(&bomb));
    assert!(
        told.len() == 1 && told[0].contains("aliases that stand for more than"),
        "{told:?}"
    );

    let mut bomb = "apiVersion: v1\nkind: List\nl0: &l0 {kind: List, items: [{kind: rbac.authorization.k8s.io}]}\n".to_owned();
    for level in 1..9 {
        let before = format!("*l{},", level - 1).repeat(10);
        bomb.push_str(&format!(
            "l{level}: &l{level} {{kind: List, items: [{before}]}}\n"
        ));
    }
    bomb.push_str("items: [*l8]\n");
    let told = problems(&read(&bomb));
    assert!(
        told.len() == 1 && told[0].contains("aliases that stand for more than"),
        "{told:?}"
    );

    let mut bomb = "x: rbac.authorization.k8s.io\nm: &m {".to_owned();
    (0..2000).for_each(|key| bomb.push_str(&format!("k{key}: 1,")));
    bomb.push_str(&format!("}}\nn: [{}]\n", "{<<: *m},".repeat(2000)));
    let told = problems(&read(&bomb));
    assert!(
        told.len() == 1 && told[0].contains("aliases that stand for more than"),
        "{told:?}"
    );
}

#[test]
fn problems_are_bounded() {
    let manifests = read("{{\n---\n".repeat(1500));
    assert_eq!(
        (manifests.problems().count(), manifests.problems_left_out()),
        (1000, 500)
    );
    assert_eq!(manifests.documents(), 1500);
}

/// Pieces of which much that is nearly right can be made.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "rbac.authorization.k8s.io/v1",
        "apiVersion: ",
        "kind: ",
        "Role",
        "List",
        "metadata:",
        "name: x",
        "rules:",
        "subjects:",
        "items:",
        "\n",
        "\n  ",
        "\n- ",
        "\n\t",
        "{",
        "}",
        "[",
        "]",
        ",",
        ": ",
        "&a ",
        "*a",
        "<<: ",
        "|\n",
        ">\n",
        "\"",
        "'",
        "\\",
        "\\u0000",
        "#",
        "? ",
        "!!binary ",
        "%YAML 1.2\n",
        "...",
        "\r\n",
        "\u{feff}",
        "{{ .Values }}",
        "null",
        "é",
        "\0",
    ]);
    let piece = prop_oneof![
        8 => words.prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn nothing_takes_its_neighbours_along(junk in pieces()) {
        let text = [b"---\n", READER.as_bytes(), b"---\n", &junk, b"\n---\n", READERS.as_bytes()].concat();
        let manifests = read(text);
        prop_assert!(manifests.objects() >= 2);
        let found = getters(manifests);
        prop_assert!(found.iter().any(|told| told.starts_with("Group devs ")), "{found:?}");
    }

    #[test]
    fn anything_ends(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read(&bytes);
    }
}
