//! Against an API server that signs what it is asked, played by a function: a real one signs nothing that
//! is old before an hour is over.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use http::{Request, Response, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

const USER: &str = "streamway:node:one";

/// The clients' certificate for a request, which has `left` more seconds of a thousand.
fn sign(request: &str, left: u64) -> String {
    let issuer = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    let issuer = rcgen::CertifiedIssuer::self_signed(params, issuer).unwrap();
    let mut asked = rcgen::CertificateSigningRequestParams::from_pem(request).unwrap();
    let now = SystemTime::now();
    asked.params.not_before = (now - Duration::from_secs(1000 - left)).into();
    asked.params.not_after = (now + Duration::from_secs(left)).into();
    asked.signed_by(&issuer).unwrap().pem()
}

/// Signs the `n`th request so that it has `lives[n]` of its thousand seconds left; denies the others.
fn api_server(lives: &'static [u64], asked: Arc<AtomicUsize>) -> Client {
    let last = Arc::new(std::sync::Mutex::new(Value::Null));
    Client::new(
        tower::service_fn(move |request: Request<Body>| {
            let (last, asked) = (Arc::clone(&last), Arc::clone(&asked));
            async move {
                let (head, body) = request.into_parts();
                if head.method == http::Method::POST {
                    let number = asked.fetch_add(1, Ordering::Relaxed);
                    let mut made: Value = serde_json::from_slice(&body.collect_bytes().await?)?;
                    let pem = STANDARD.decode(made["spec"]["request"].as_str().unwrap())?;
                    made["metadata"] = json!({"name": "request", "uid": number.to_string()});
                    made["status"] = match lives.get(number) {
                        Some(left) => {
                            let certificate = sign(&String::from_utf8(pem)?, *left);
                            json!({"certificate": STANDARD.encode(certificate)})
                        }
                        None => json!({"conditions": [{"type": "Denied", "status": "True"}]}),
                    };
                    *last.lock().unwrap() = made;
                }
                let answer = last.lock().unwrap().to_string();
                let response = Response::builder().status(StatusCode::OK);
                Ok::<_, tower::BoxError>(response.body(Body::from(answer.into_bytes()))?)
            }
        }),
        "default",
    )
}

fn keeper(folder: &std::path::Path, asking: Client) -> Keeper {
    streamway_daemon::install_crypto_provider();
    Keeper {
        user: USER.to_owned(),
        // Nobody listens there.
        bootstrap: Config::new(http::Uri::from_static("https://127.0.0.1:1")),
        asking,
        store: Store::new(folder).unwrap(),
        metrics: AgentMetrics::default(),
    }
}

#[tokio::test]
async fn it_is_renewed_when_it_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    // The first is past 90 % of its life, the second is not.
    let keeper = keeper(folder.path(), api_server(&[90, 310], Arc::clone(&asked)));
    let first = keeper.new_one().await;
    let client = keeper.client(&first).unwrap();
    let current = Arc::new(ArcSwap::from_pointee(client));
    let (told, mut not_after) = watch::channel(first.validity.not_after);
    let store = keeper.store.clone();
    let keeping = tokio::spawn(async move {
        keeper.keep(first, &current, &told, &Notify::new()).await;
    });
    let renewed = timeout(Duration::from_secs(30), not_after.changed()).await;
    renewed.expect("it is not renewed").unwrap();
    let second = store.load(USER, UnixTime::now()).unwrap().unwrap();
    assert_eq!(second.validity.not_after, *not_after.borrow());
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    keeping.abort();
}

#[tokio::test(start_paused = true)]
async fn a_denial_is_asked_about_again_later() {
    let folder = tempfile::tempdir().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let keeper = keeper(folder.path(), api_server(&[], Arc::clone(&asked)));
    let hour = Duration::from_secs(3600);
    let given = timeout(hour, keeper.new_one()).await;
    assert!(given.is_err());
    let asked = asked.load(Ordering::Relaxed);
    assert!((20..=40).contains(&asked), "asked {asked} times in an hour");
    assert!(!keeper.store.current().exists());
}

#[tokio::test]
async fn a_stored_one_is_used_while_nobody_can_tell() {
    let folder = tempfile::tempdir().unwrap();
    let keeper = keeper(folder.path(), api_server(&[500], Arc::default()));
    assert!(keeper.stored().await.is_none());
    let made = keeper.new_one().await;
    let stored = keeper.stored().await.unwrap();
    assert_eq!(stored.key, made.key);
}
