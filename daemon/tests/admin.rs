//! The admin endpoints over HTTP.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prometheus_client::registry::Registry;
use streamway_daemon::admin::{Admin, Readiness};
use streamway_daemon::exit::FAILURE;
use streamway_daemon::gates::FeatureGates;
use tokio::sync::oneshot;

async fn get(addr: SocketAddr, path: &str) -> (u16, String) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let request = Request::get(format!("http://{addr}{path}"))
        .body(Empty::new())
        .unwrap();
    let response = client.request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn health_and_metrics() {
    let admin = Admin::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let addr = admin.local_addr().unwrap();
    let mut registry = Registry::default();
    FeatureGates::default().register(&mut registry);
    let readiness = Readiness::new();
    let kubelet = readiness.condition("kubelet");
    let (end, ended) = oneshot::channel::<()>();
    let serving = tokio::spawn(admin.serve(registry, readiness.clone(), async {
        let _ = ended.await;
    }));

    let ok = (200, "ok".to_owned());
    assert_eq!(get(addr, "/livez").await, ok);
    assert_eq!(get(addr, "/healthz").await, ok);
    let waiting = "[+]ping ok\n[-]kubelet failed: not yet\nreadyz check failed\n";
    assert_eq!(get(addr, "/readyz").await, (500, waiting.to_owned()));
    kubelet.met();
    assert_eq!(get(addr, "/readyz").await, ok);
    let verbose = "[+]ping ok\n[+]kubelet ok\nreadyz check passed\n";
    assert_eq!(
        get(addr, "/readyz?verbose").await,
        (200, verbose.to_owned())
    );
    kubelet.unmet("connection refused");
    let (status, text) = get(addr, "/readyz?verbose=1").await;
    assert_eq!(status, 500);
    assert!(
        text.contains("[-]kubelet failed: connection refused\n"),
        "{text}"
    );
    assert_eq!(get(addr, "/livez").await, ok, "not ready is not dead");

    let (status, text) = get(addr, "/metrics").await;
    assert_eq!(status, 200);
    assert!(text.contains("streamway_feature_enabled{"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert_eq!(get(addr, "/debug").await.0, 404);

    end.send(()).unwrap();
    serving.await.unwrap().unwrap();
}

#[test]
fn a_busy_port_is_one_clear_line() {
    let first = Admin::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let addr = first.local_addr().unwrap();
    let error = Admin::bind(addr).unwrap_err();
    assert_eq!(error.code(), FAILURE);
    let text = error.to_string();
    let start = format!("cannot listen on {addr}: address already in use; ");
    assert!(
        text.starts_with(&start) && text.contains("--metrics-listen"),
        "{text}"
    );
    assert!(!text.contains('\n'));
}

#[tokio::test]
async fn a_unix_socket_answers_too() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    // One that was left behind is no obstacle.
    drop(Admin::bind_socket(&path).unwrap());
    let liveness = Readiness::new();
    let threads = liveness.condition("threads");
    let admin = Admin::bind_socket(&path).unwrap().alive_while(liveness);
    tokio::spawn(admin.serve(
        Registry::default(),
        Readiness::new(),
        std::future::pending(),
    ));
    let ask = async |endpoint: &str| {
        let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        let request = format!("GET {endpoint} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    assert!(ask("/readyz").await.starts_with("HTTP/1.1 200"));
    let dead = ask("/livez").await;
    assert!(dead.starts_with("HTTP/1.1 500") && dead.contains("[-]threads failed"));
    threads.met();
    assert!(ask("/livez").await.starts_with("HTTP/1.1 200"));
    let missing = Admin::bind_socket(&folder.path().join("not/there")).unwrap_err();
    assert!(missing.to_string().contains("--admin-socket"), "{missing}");
}
