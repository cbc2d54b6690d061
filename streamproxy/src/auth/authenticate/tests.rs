use futures_util::future::join_all;
use http::{HeaderValue, header};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use serde_json::{Value, json};

use super::super::fake::Fake;
use super::*;

fn bearer(token: &str) -> HeaderMap {
    let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

/// Knows one token, `good`; `odd` cannot be reviewed.
fn api() -> Fake {
    Fake::new(|_, review| {
        let status = match review["spec"]["token"].as_str() {
            Some("good") => json!({ "authenticated": true, "user": {
                "username": "system:serviceaccount:ns:sa", "uid": "7",
                "groups": ["system:serviceaccounts"], "extra": { "node": ["a"] } } }),
            Some("odd") => json!({ "authenticated": false, "error": "key service is away" }),
            _ => json!({}),
        };
        (201, review_with(review, status))
    })
}

fn review_with(review: &Value, status: Value) -> Value {
    let mut review = review.clone();
    review["status"] = status;
    review
}

struct Pki {
    ca: Arc<ClientCa>,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "ca");
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let ca = Arc::new(ClientCa::empty());
        ca.replace(pem.as_bytes()).unwrap();
        Self {
            ca,
            issuer: Issuer::new(params, key),
        }
    }

    fn client(&self, name: &[(DnType, &str)]) -> PeerCertificates {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (attribute, value) in name {
            params.distinguished_name.push(attribute.clone(), *value);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        PeerCertificates(vec![certificate.der().clone()])
    }
}

#[tokio::test]
async fn anonymous_only_where_it_is_allowed() {
    let headers = HeaderMap::new();
    let closed = Authenticator::new(None, None, false);
    let answer = closed.authenticate(None, &headers).await;
    assert!(matches!(answer, Err(AuthError::Unauthorized)));
    let open = Authenticator::new(None, None, true);
    let user = open.authenticate(None, &headers).await.unwrap();
    assert_eq!(
        (user.name.as_str(), user.groups),
        ("system:anonymous", vec!["system:unauthenticated".into()])
    );
}

#[tokio::test]
async fn a_certificate_says_who() {
    let pki = Pki::new();
    let uid = DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 57683, 2]);
    let name = [
        (DnType::OrganizationName, "admins"),
        (DnType::CommonName, "ann"),
        (uid, "42"),
    ];
    let peer = pki.client(&name);
    let authenticator = Authenticator::new(Some(pki.ca), None, true);
    let user = authenticator
        .authenticate(Some(&peer), &HeaderMap::new())
        .await
        .unwrap();
    assert_eq!((user.name.as_str(), user.uid.as_str()), ("ann", "42"));
    assert_eq!(user.groups, ["admins", "system:authenticated"]);
    let credential = &user.extra["authentication.kubernetes.io/credential-id"][0];
    assert!(
        credential.starts_with("X509SHA256=") && credential.len() == 11 + 64,
        "{credential}"
    );
}

#[tokio::test]
async fn a_wrong_credential_is_never_anonymous() {
    let pki = Pki::new();
    let stranger = Pki::new().client(&[(DnType::CommonName, "admin")]);
    let api = api();
    let authenticator = Authenticator::new(Some(pki.ca), Some(api.client()), true);
    let mut raw = HeaderMap::new();
    raw.insert(
        header::AUTHORIZATION,
        HeaderValue::from_bytes(b"Bearer \xff").unwrap(),
    );
    for (peer, headers) in [
        (Some(&stranger), HeaderMap::new()),
        (Some(&stranger), bearer("bad")),
        (None, bearer("bad")),
        (None, bearer("odd")),
        (None, raw),
    ] {
        let answer = authenticator.authenticate(peer, &headers).await;
        assert!(
            matches!(answer, Err(AuthError::Unauthorized)),
            "{headers:?}"
        );
    }
    // Not meant as a token: no credential, thus anonymous.
    let mut basic = HeaderMap::new();
    basic.insert(
        header::AUTHORIZATION,
        HeaderValue::from_static("Basic YTpi"),
    );
    let user = authenticator.authenticate(None, &basic).await.unwrap();
    assert_eq!(user.name, "system:anonymous");
}

#[tokio::test]
async fn any_right_credential_will_do_and_the_certificate_comes_first() {
    let pki = Pki::new();
    let stranger = Pki::new().client(&[(DnType::CommonName, "admin")]);
    let nameless = pki.client(&[(DnType::OrganizationName, "admins")]);
    let ann = pki.client(&[(DnType::CommonName, "ann")]);
    let api = api();
    let authenticator = Authenticator::new(Some(pki.ca), Some(api.client()), false);
    let account = "system:serviceaccount:ns:sa";
    for (peer, token, name) in [
        (&stranger, "good", account),
        (&nameless, "good", account),
        (&ann, "bad", "ann"),
        (&ann, "good", "ann"),
    ] {
        let user = authenticator
            .authenticate(Some(peer), &bearer(token))
            .await
            .unwrap();
        assert_eq!(user.name, name, "{token}");
    }
    let tokens = api.asked();
    assert!(
        tokens
            .iter()
            .all(|(_, review)| review["spec"]["token"] == "good"),
        "{tokens:?}"
    );
}

#[tokio::test]
async fn a_token_is_reviewed_once() {
    let api = api();
    let authenticator = Authenticator::new(None, Some(api.client()), false);
    for _ in 0..2 {
        let user = authenticator
            .authenticate(None, &bearer("good"))
            .await
            .unwrap();
        assert_eq!(
            (user.name.as_str(), user.uid.as_str()),
            ("system:serviceaccount:ns:sa", "7")
        );
        assert_eq!(
            user.groups,
            ["system:serviceaccounts", "system:authenticated"]
        );
        assert_eq!(user.extra["node"], ["a"]);
        authenticator
            .authenticate(None, &bearer("unknown"))
            .await
            .unwrap_err();
    }
    let asked = api.asked();
    assert_eq!(asked.len(), 2, "a known and an unknown one");
    assert_eq!(asked[0].0, "/apis/authentication.k8s.io/v1/tokenreviews");
    assert_eq!(asked[0].1["kind"], "TokenReview");
    assert_eq!(asked[0].1["spec"], json!({ "token": "good" }));
}

#[tokio::test]
async fn a_failed_review_is_not_remembered() {
    let api = Fake::new(|nth, review| match nth {
        1 => (
            403,
            json!({ "kind": "Status", "status": "Failure", "code": 403 }),
        ),
        2 => (
            201,
            review_with(review, json!({ "error": "key service is away" })),
        ),
        3 => (201, json!("no review")),
        _ => (
            201,
            review_with(
                review,
                json!({ "authenticated": true, "user": { "username": "ann" } }),
            ),
        ),
    });
    let authenticator = Authenticator::new(None, Some(api.client()), false);
    for _ in 1..=3 {
        authenticator
            .authenticate(None, &bearer("t"))
            .await
            .unwrap_err();
    }
    assert_eq!(
        authenticator
            .authenticate(None, &bearer("t"))
            .await
            .unwrap()
            .name,
        "ann"
    );
    assert_eq!(api.asked().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_api_server_is_asked_again_and_a_silent_one_is_given_up() {
    let api = Fake::new(|nth, review| match nth {
        1..=4 => (
            429,
            json!({ "kind": "Status", "status": "Failure", "code": 429 }),
        ),
        _ => (
            201,
            review_with(
                review,
                json!({ "authenticated": true, "user": { "username": "ann" } }),
            ),
        ),
    });
    let authenticator = Authenticator::new(None, Some(api.client()), false);
    assert_eq!(
        authenticator
            .authenticate(None, &bearer("t"))
            .await
            .unwrap()
            .name,
        "ann"
    );

    let silent = Fake::new(|_, _| (500, json!({})));
    silent.answers.forget_permits(usize::MAX);
    let authenticator = Authenticator::new(None, Some(silent.client()), false);
    authenticator
        .authenticate(None, &bearer("t"))
        .await
        .unwrap_err();
    assert_eq!(silent.asked().len(), 1);
}

#[tokio::test]
async fn requests_at_once_share_a_review() {
    let api = api();
    api.answers.forget_permits(usize::MAX);
    let authenticator = Authenticator::new(None, Some(api.client()), false);
    let headers = bearer("good");
    let all = join_all((0..20).map(|_| authenticator.authenticate(None, &headers)));
    let release = async {
        while api.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        api.answers.add_permits(100);
    };
    let (users, ()) = tokio::join!(all, release);
    assert!(users.iter().all(Result::is_ok));
    assert_eq!(api.asked().len(), 1);
}
