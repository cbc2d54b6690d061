use super::*;

fn parse(flags: &[&str]) -> Result<FeatureGates, GateError> {
    FeatureGates::parse(flags)
}

#[test]
fn defaults_are_those_of_the_table() {
    let gates = parse(&[]).unwrap();
    for gate in FeatureGate::ALL {
        assert_eq!(gates.enabled(gate), gate.spec().default, "{}", gate.name());
    }
    parse(&["", " , "]).unwrap();
}

#[test]
fn every_gate_stands_once_in_the_list() {
    let bits = FeatureGate::ALL
        .iter()
        .fold(0u32, |bits, gate| bits | 1 << *gate as u32);
    assert_eq!(bits.count_ones() as usize, FeatureGate::ALL.len());
    assert_eq!(bits.trailing_ones() as usize, FeatureGate::ALL.len());
}

#[test]
fn names_win_over_stages_and_the_last_value_wins() {
    use FeatureGate::*;
    let gates = parse(&["PortForwardWebsockets=true", "AllBeta=false"]).unwrap();
    assert!(gates.enabled(PortForwardWebsockets));
    assert!(!gates.enabled(TranslateStreamCloseWebsocketRequests));
    assert!(
        !gates.enabled(ExtendWebSocketsToKubelet),
        "with its dependency, no error"
    );

    let gates = parse(&["PortForwardWebsockets=true,PortForwardWebsockets=F"]).unwrap();
    assert!(!gates.enabled(PortForwardWebsockets));
    let gates = parse(&[" PortForwardWebsockets = 0 ", "PortForwardWebsockets=T"]).unwrap();
    assert!(gates.enabled(PortForwardWebsockets));
}

#[test]
fn what_is_refused_says_what_to_write() {
    for (flag, text) in [
        (
            "PortForwardWebsocket=true",
            "unknown feature gate \"PortForwardWebsocket\"; did you mean PortForwardWebsockets?",
        ),
        (
            "extendwebsocketstokubelet=true",
            "unknown feature gate \"extendwebsocketstokubelet\"; \
             did you mean ExtendWebSocketsToKubelet?",
        ),
        (
            "WatchList=true",
            "unknown feature gate \"WatchList\"; --help lists the names",
        ),
        (
            "PortForwardWebsockets",
            "feature gate \"PortForwardWebsockets\" has no value; \
             write PortForwardWebsockets=true or PortForwardWebsockets=false",
        ),
        (
            "AllBeta=yes",
            "feature gate AllBeta cannot be \"yes\"; write AllBeta=true or AllBeta=false",
        ),
        (
            "NodeDeclaredFeatures=false",
            "feature gate ExtendWebSocketsToKubelet is on but needs NodeDeclaredFeatures, which is \
             off; set NodeDeclaredFeatures=true, or ExtendWebSocketsToKubelet=false as well",
        ),
    ] {
        assert_eq!(parse(&[flag]).unwrap_err().to_string(), text, "{flag}");
        assert_eq!(
            ExitError::from(parse(&[flag]).unwrap_err()).code(),
            crate::exit::USAGE
        );
    }
    parse(&["NodeDeclaredFeatures=false,ExtendWebSocketsToKubelet=false"]).unwrap();
}

#[test]
fn help_names_every_gate_with_default_and_stage() {
    let help = help();
    assert!(help.contains("  AllAlpha=false (ALPHA) – "), "{help}");
    for gate in FeatureGate::ALL {
        assert!(
            help.contains(&format!("  {}=true (BETA) – ", gate.name())),
            "{help}"
        );
    }
}

#[test]
fn the_metric_says_what_is_on() {
    let mut registry = Registry::default();
    parse(&["PortForwardWebsockets=false"])
        .unwrap()
        .register(&mut registry);
    let text = crate::metrics::encode(&registry).unwrap();
    let line = |name, value| {
        format!("streamway_feature_enabled{{name=\"{name}\",stage=\"BETA\"}} {value}\n")
    };
    assert!(text.contains(&line("PortForwardWebsockets", 0)), "{text}");
    assert!(text.contains(&line("NodeDeclaredFeatures", 1)), "{text}");
}

#[test]
fn distances() {
    for (a, b, expected) in [
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "", 3),
        ("kitten", "sitting", 3),
    ] {
        assert_eq!(distance(a, b), expected, "{a} {b}");
    }
}
