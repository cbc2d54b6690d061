use std::collections::BTreeMap;

use rcgen::{CertificateParams, CertifiedIssuer, DnType, KeyPair};
use rustls_pki_types::CertificateDer;

use super::*;

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn client(issuer: &CertifiedIssuer<'static, KeyPair>, name: &str) -> PeerCertificates {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
        .distinguished_name
        .push(DnType::OrganizationName, "dev");
    params
        .extended_key_usages
        .push(rcgen::ExtendedKeyUsagePurpose::ClientAuth);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    PeerCertificates(vec![CertificateDer::from(certificate.der().to_vec())])
}

fn names() -> RequestHeaders {
    let name = |name: &'static str| vec![HeaderName::from_static(name)];
    RequestHeaders {
        user: vec![
            HeaderName::from_static("x-remote-user"),
            HeaderName::from_static("x-other-user"),
        ],
        uid: name("x-remote-uid"),
        group: name("x-remote-group"),
        extra_prefix: vec!["x-remote-extra-".to_owned(), "x-other-".to_owned()],
    }
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn user(name: &str, groups: &[&str]) -> UserInfo {
    UserInfo {
        name: name.to_owned(),
        uid: "7".to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        extra: BTreeMap::from([("acme.com/Scope".to_owned(), vec!["all".to_owned()])]),
    }
}

#[test]
fn certificate_before_token_and_a_wrong_one_is_not_none() {
    streamway_daemon::install_crypto_provider();
    let (ours, theirs) = (authority(), authority());
    let ca = ClientCa::empty();
    ca.replace(ours.pem().as_bytes()).unwrap();
    let identities = Identities {
        client_ca: Some(Arc::new(ca)),
        telling: Telling::FrontProxy(names()),
    };
    let token = headers(&[("authorization", "Bearer x")]);
    let none = HeaderMap::new();
    let jane = client(&ours, "jane");
    for sent in [&token, &none] {
        match identities.caller(Some(&jane), sent) {
            Ok(Caller::Certificate(user)) => {
                assert_eq!(
                    (user.name.as_str(), user.groups),
                    ("jane", vec!["dev".to_owned()])
                );
            }
            other => panic!("{other:?}"),
        }
    }
    let forged = client(&theirs, "admin");
    assert_eq!(
        identities.caller(Some(&forged), &none).unwrap_err(),
        IdentityError::Stranger
    );
    let caller = identities.caller(Some(&forged), &token).unwrap();
    assert!(matches!(caller, Caller::Theirs), "{caller:?}");
    assert!(matches!(identities.caller(None, &none), Ok(Caller::Theirs)));
}

#[test]
fn a_user_is_told_whole() {
    let mut told = headers(&[
        ("authorization", "Bearer x"),
        ("accept", "*/*"),
        (
            "sec-websocket-protocol",
            "base64url.bearer.authorization.k8s.io.dG9rZW4, v4.channel.k8s.io",
        ),
    ]);
    names()
        .tell(&user("jane", &["dev", "", "ops, qa"]), &mut told)
        .unwrap();
    assert_eq!(
        told,
        headers(&[
            ("accept", "*/*"),
            ("sec-websocket-protocol", "v4.channel.k8s.io"),
            ("x-remote-user", "jane"),
            ("x-remote-uid", "7"),
            ("x-remote-group", "dev"),
            ("x-remote-group", "ops, qa"),
            ("x-remote-extra-acme.com%2f%53cope", "all"),
        ])
    );
}

#[test]
fn a_user_who_would_arrive_as_another_is_refused() {
    for name in [
        " admin", "admin ", "\tadmin", "ad\nmin", "ad\0min", "a\u{7f}",
    ] {
        let error = names()
            .tell(&user(name, &[]), &mut HeaderMap::new())
            .unwrap_err();
        assert_eq!(
            error,
            IdentityError::Unspeakable(name.to_owned()),
            "{name:?}"
        );
        let groups = user("jane", &[name]);
        assert!(
            names().tell(&groups, &mut HeaderMap::new()).is_err(),
            "{name:?}"
        );
    }
    names()
        .tell(&user("jürgen", &["a b"]), &mut HeaderMap::new())
        .unwrap();
}

#[test]
fn only_the_gateway_says_who_a_caller_is() {
    let identities = Identities {
        client_ca: None,
        telling: Telling::FrontProxy(names()),
    };
    let mut claims = headers(&[
        ("x-remote-user", "admin"),
        ("x-remote-whatever", "1"),
        ("x-other-user", "admin"),
        ("x-other-scope", "all"),
        ("impersonate-user", "jane"),
        ("accept", "*/*"),
    ]);
    identities.strip_claims(&mut claims);
    // What the client may say itself stays: the API server asks whether it may.
    assert_eq!(
        claims,
        headers(&[("impersonate-user", "jane"), ("accept", "*/*")])
    );
}

#[test]
fn masters_are_not_impersonated() {
    let mut told = HeaderMap::new();
    let error = super::super::credential::impersonate(&user("root", &[MASTERS]), &mut told);
    assert_eq!(error.unwrap_err(), IdentityError::Masters);
    assert!(told.is_empty());
    super::super::credential::impersonate(&user("jane", &["dev"]), &mut told).unwrap();
    assert_eq!(
        told,
        headers(&[
            ("impersonate-user", "jane"),
            ("impersonate-uid", "7"),
            ("impersonate-group", "dev"),
        ])
    );
}
