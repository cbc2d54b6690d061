//! What must differ between two runs of a command, and what it becomes so that the rest can be compared.

use regex::Regex;

/// What client-go says, or not, of a watch that kubectl itself ends once it has seen enough: whether its
/// reflector hears of the stop or of the closed stream first is chance (tools/cache/reflector.go of
/// 0.37). That watches live through the gateway is seen elsewhere (`gateway_passes.rs`).
const ENDED_WATCH: [(&str, &str); 1] = [(
    r#"(?m)^[IWE]\d{4} .* reflector\.go:\d+\] "Warning: watch ended with error".*(context canceled|very short watch).*\n"#,
    "",
)];

/// Times and widths: in two looks at the same objects nothing else may differ.
const SAME_OBJECTS: [(&str, &str); 3] = [
    (r"\b(\d+d)?(\d+h)?(\d+m)?\d+s\b|\b\d+[dhm]\b", "AGE"),
    // Tables are as wide as their ages.
    (r" {2,}", "  "),
    (r"(?m) +$", ""),
];

/// What two objects of the same manifest have of their own.
const EQUAL_OBJECTS: [(&str, &str); 11] = [
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UID"),
    (r"\beyJ[\w-]+\.[\w-]+\.[\w-]+", "TOKEN"),
    (
        r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| \+0000)",
        "TIME",
    ),
    (
        r"\b[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000",
        "TIME",
    ),
    (r"\b\d+\.\d+\.\d+\.\d+(:\d+)?\b", "ADDRESS"),
    (r#"(resourceVersion"?: ?"?)\d+"#, "${1}VERSION"),
    (r"containerd://[0-9a-f]{64}", "CONTAINER"),
    // `kubectl diff` compares two temporary folders, `kubectl edit` tells of a file.
    (r"\b(LIVE|MERGED|kubectl-edit)-\d+", "$1-N"),
    // The alphabet of generated names (k8s.io/apimachinery, util/rand).
    (
        r"([-=])([bcdfghjklmnpqrstvwxz2456789]{8,10}-)?[bcdfghjklmnpqrstvwxz2456789]{5}\b",
        "${1}GENERATED",
    ),
    (r"([-=])[bcdfghjklmnpqrstvwxz2456789]{8,10}\b", "${1}HASH"),
    (r"-----BEGIN CERTIFICATE-----[^-]+", "CERTIFICATE"),
];

/// Numbers that are measured.
const MEASURED: [(&str, &str); 1] = [(r"\d+(m|Mi|%)?", "N")];

/// How much of two runs may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Objects {
    /// Both read the same objects.
    Same,
    /// Each makes its own.
    Equal,
    /// Both read what is measured meanwhile.
    Measured,
}

/// Rules in their order.
#[derive(Debug)]
pub(crate) struct Normal(Vec<(Regex, String)>);

impl Normal {
    /// `names` are each side's own, and what they are called in both.
    pub(crate) fn new(objects: Objects, names: &[(String, &str)]) -> Self {
        let names = names
            .iter()
            .map(|(name, common)| (regex::escape(name), (*common).to_owned()));
        let own: &[_] = match objects {
            Objects::Same => &[],
            Objects::Equal => &EQUAL_OBJECTS,
            Objects::Measured => &MEASURED,
        };
        let rules = ENDED_WATCH
            .iter()
            .chain(own)
            .chain(&SAME_OBJECTS)
            .map(|(pattern, text)| ((*pattern).to_owned(), (*text).to_owned()));
        let compiled = names
            .chain(rules)
            .map(|(pattern, text)| (Regex::new(&pattern).unwrap(), text));
        Self(compiled.collect())
    }

    /// The text with all of it replaced.
    pub(crate) fn of(&self, text: &str) -> String {
        let replace = |text: String, (pattern, common): &(Regex, String)| {
            pattern.replace_all(&text, common.as_str()).into_owned()
        };
        self.0.iter().fold(text.to_owned(), replace)
    }
}

#[test]
fn a_watch_that_kubectl_ends_is_told_of_by_chance() {
    let normal = Normal::new(Objects::Equal, &[]);
    let reflector =
        "I1128 13:22:47.900802  5819 reflector.go:664] \"Warning: watch ended with error\"";
    let said = |error: &str| format!("{reflector} err=\"{error}\"\nerror: timed out\n");
    for error in ["unable to decode: context canceled", "very short watch: x"] {
        assert_eq!(normal.of(&said(error)), "error: timed out\n");
    }
    let other = said("too old resource version");
    assert_ne!(normal.of(&other), "error: timed out\n");
}
