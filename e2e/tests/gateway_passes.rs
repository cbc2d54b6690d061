//! The whole API passes through the gateway: each request is asked of the API server with and without
//! it, over HTTP/1.1 and HTTP/2, and the answers are compared. Behind a Service stands a server that
//! does what API servers pass on and never do themselves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::io::{Read, Write};

use anyhow::{Context, Result, ensure};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use serde_json::Value;
use streamway_e2e::backend::Backend;
use streamway_e2e::checks::{noise, sha256};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::httpclient::{HttpClient, Speaks, Whole};
use streamway_e2e::suite::Suite;
use streamway_e2e::{OLD_API_SERVER, https};
use tokio_tungstenite::tungstenite::Message;

const SERVICE: &str = "/api/v1/namespaces/default/services/backend:http/proxy";

/// A Service whose one endpoint is the backend. An API server connects to pods only, so there is a pod
/// that no node has, with the backend's address.
fn manifest(address: std::net::SocketAddr) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: backend, namespace: default}}\nspec:\n  \
         containers: [{{name: c, image: none}}]\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {{name: backend, namespace: default}}\nspec:\n  \
         ports: [{{name: http, port: 80}}]\n---\n\
         apiVersion: v1\nkind: Endpoints\nmetadata: {{name: backend, namespace: default}}\nsubsets:\n\
         - addresses: [{{ip: {}, targetRef: {{kind: Pod, name: backend, namespace: default}}}}]\n  \
         ports: [{{name: http, port: {}}}]\n",
        address.ip(),
        address.port()
    )
}

/// A request of admin's, by method, path and headers.
fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path).header(
        "authorization",
        format!("Bearer {}", Cluster::token("admin")),
    );
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
        .body(Full::new(Bytes::copy_from_slice(body)))
        .unwrap()
}

/// What differs between two answers to one request, whoever gave them.
const OWN: [&str; 5] = [
    "date",
    "audit-id",
    "content-length",
    "transfer-encoding",
    "connection",
];

fn compared(mut answer: Whole) -> (http::StatusCode, HeaderMap, Bytes, Option<HeaderMap>) {
    for name in OWN {
        answer.headers.remove(name);
    }
    (answer.status, answer.headers, answer.body, answer.trailers)
}

/// The beginning of an answer, for a message.
fn brief(answer: &impl std::fmt::Debug) -> String {
    format!("{answer:?}").chars().take(1500).collect()
}

struct Both {
    direct: String,
    gateway: String,
}

impl Both {
    /// Asks both, in both versions of HTTP; the answers must be equal, and satisfy `wanted`.
    ///
    /// The cluster is alive: where the API server's own answer is another one afterwards, it is asked
    /// again.
    async fn same(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        wanted: impl Fn(&Whole) -> bool,
    ) -> Result<()> {
        for speaks in [Speaks::Http1, Speaks::Http2] {
            let mut direct = HttpClient::connect(&self.direct, speaks, None).await?;
            let mut through = HttpClient::connect(&self.gateway, speaks, None).await?;
            let asked = || request(method, path, headers, body);
            let mut expected = direct.whole(asked()).await.context("direct")?;
            loop {
                let answer = through
                    .whole(asked())
                    .await
                    .context("through the gateway")?;
                ensure!(
                    wanted(&answer),
                    "{method} {path} over {speaks:?}: {}",
                    brief(&answer)
                );
                let answer = compared(answer);
                let before = compared(expected);
                if answer == before {
                    break;
                }
                expected = direct.whole(asked()).await.context("direct")?;
                ensure!(
                    compared(expected.clone()) != before,
                    "{method} {path} over {speaks:?}: direct {}, gateway {}",
                    brief(&before),
                    brief(&answer)
                );
            }
        }
        Ok(())
    }
}

async fn answers_are_the_api_servers(both: &Both) -> Result<()> {
    let list = "/api/v1/namespaces/kube-system/configmaps";
    let ok = |answer: &Whole| answer.status == 200;
    let protobuf = "application/vnd.kubernetes.protobuf";
    both.same("GET", list, &[("accept", protobuf)], b"", |answer| {
        ok(answer) && answer.body.starts_with(b"k8s\0")
    })
    .await?;
    both.same(
        "GET",
        "/openapi/v2",
        &[("accept-encoding", "gzip")],
        b"",
        |answer| {
            ok(answer)
                && answer
                    .headers
                    .get("content-encoding")
                    .is_some_and(|coding| coding == "gzip")
        },
    )
    .await?;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    both.same("GET", list, &[("accept", table)], b"", ok)
        .await?;
    both.same("HEAD", "/healthz", &[], b"", ok).await?;
    both.same("GET", "/version", &[], b"", ok).await?;
    both.same("GET", "/api/v1/nosuch", &[], b"", |answer| {
        answer.status == 404
    })
    .await?;
    both.same(
        "GET",
        "/api/v1/pods?watch=true&timeoutSeconds=1",
        &[],
        b"",
        ok,
    )
    .await?;
    both.same("GET", list, &[("accept", "text/nothing")], b"", |answer| {
        answer.status == 406
    })
    .await?;
    both.same(
        "POST",
        list,
        &[("content-type", "application/json")],
        b"{",
        |answer| answer.status == 400,
    )
    .await?;
    both.same(
        "PUT",
        "/api/v1/namespaces/default",
        &[("content-type", "text/x")],
        b"x",
        |answer| answer.status.is_client_error(),
    )
    .await?;
    both.same("TRACE", list, &[], b"", |answer| answer.status == 405)
        .await?;
    both.same(
        "GET",
        "/api/v1/namespaces/default/pods/p%2Fq",
        &[],
        b"",
        |answer| answer.status == 404,
    )
    .await?;
    both.same("GET", "/openapi/v2", &[], b"", ok).await
}

async fn a_services_answers_pass(both: &Both) -> Result<()> {
    for code in ["200", "204", "304", "404", "409", "429", "500", "503"] {
        let path = format!("{SERVICE}/status/{code}");
        both.same("GET", &path, &[], b"", |answer| {
            answer.status.as_str() == code
                && answer
                    .headers
                    .get("retry-after")
                    .is_some_and(|after| after == "7")
        })
        .await?;
    }
    let trailing = [("te", "trailers")];
    both.same(
        "GET",
        &format!("{SERVICE}/trailers"),
        &trailing,
        b"",
        |answer| {
            answer.body == "body"
                && answer
                    .trailers
                    .as_ref()
                    .is_some_and(|trailers| trailers.get("checksum").is_some())
        },
    )
    .await
}

async fn what_breaks_off_breaks_off(both: &Both) -> Result<()> {
    for speaks in [Speaks::Http1, Speaks::Http2] {
        for address in [&both.direct, &both.gateway] {
            let mut client = HttpClient::connect(address, speaks, None).await?;
            let path = format!("{SERVICE}/half");
            // The break may come before the head has left an API server.
            let whole = client.whole(request("GET", &path, &[], b"")).await;
            ensure!(
                !whole.is_ok_and(|answer| answer.status == 200),
                "{speaks:?} {address}: a body that broke off looks whole"
            );
        }
    }
    Ok(())
}

/// The first piece of a body has to arrive before the second exists.
async fn nothing_is_held_back(both: &Both) -> Result<()> {
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let mut reader = HttpClient::connect(&both.gateway, speaks, None).await?;
        let mut other = HttpClient::connect(&both.gateway, speaks, None).await?;
        let mut body = reader
            .send(request("GET", &format!("{SERVICE}/drip"), &[], b""))
            .await?
            .into_body();
        let mut next = async || -> Result<Vec<u8>> {
            let mut bytes = Vec::new();
            while bytes.is_empty() {
                let frame = body.frame().await.context("the body ended")??;
                bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            }
            Ok(bytes)
        };
        ensure!(next().await? == b"one\n");
        other
            .whole(request("POST", &format!("{SERVICE}/more"), &[], b""))
            .await?;
        ensure!(next().await? == b"two\n");
    }
    Ok(())
}

/// A watch's event has to arrive while the watch goes on.
async fn a_watch_is_live(both: &Both) -> Result<()> {
    let maps = "/api/v1/namespaces/default/configmaps";
    for (speaks, name) in [(Speaks::Http1, "one"), (Speaks::Http2, "two")] {
        let mut watcher = HttpClient::connect(&both.gateway, speaks, None).await?;
        let mut writer = HttpClient::connect(&both.gateway, speaks, None).await?;
        let watch =
            format!("{maps}?watch=true&fieldSelector=metadata.name={name}&resourceVersion=0");
        let mut events = watcher
            .send(request("GET", &watch, &[], b""))
            .await?
            .into_body();
        for (method, path, kind) in [
            ("POST", maps.to_owned(), "ADDED"),
            ("DELETE", format!("{maps}/{name}"), "DELETED"),
        ] {
            let object = format!(
                r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}}}}"#
            );
            let body = if method == "POST" {
                object.as_bytes()
            } else {
                b""
            };
            let written = writer
                .whole(request(
                    method,
                    &path,
                    &[("content-type", "application/json")],
                    body,
                ))
                .await?;
            ensure!(written.status.is_success(), "{written:?}");
            let frame = events.frame().await.context("the watch ended")??;
            let event: Value = serde_json::from_slice(frame.data_ref().context("data")?)?;
            ensure!(
                event["type"] == kind && event["object"]["metadata"]["name"] == name,
                "{event}"
            );
        }
    }
    Ok(())
}

async fn uploads_arrive_whole(both: &Both) -> Result<()> {
    let data = noise(48 << 20);
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let mut client = HttpClient::connect(&both.gateway, speaks, None).await?;
        let answer = client
            .whole(request("POST", &format!("{SERVICE}/echo"), &[], &data))
            .await?;
        let seen: Value = serde_json::from_slice(&answer.body)?;
        ensure!(
            seen["len"] == data.len() && seen["sha256"] == sha256(&data),
            "{seen}"
        );
    }
    Ok(())
}

async fn headers_are_as_behind_a_load_balancer(both: &Both) -> Result<()> {
    let sent = [
        ("x-forwarded-for", "192.0.2.1"),
        ("x-own", "kept"),
        ("connection", "x-hop"),
        ("x-hop", "not kept"),
        ("x-remote-user", "admin"),
        ("x-remote-extra-scopes", "all"),
    ];
    let mut client = HttpClient::connect(&both.gateway, Speaks::Http1, None).await?;
    let path = format!("{SERVICE}/echo");
    let answer = client.whole(request("GET", &path, &sent, b"")).await?;
    let seen: Value = serde_json::from_slice(&answer.body)?;
    let header = |name: &str| {
        seen["headers"][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let chain: Vec<String> = header("x-forwarded-for")
        .split(", ")
        .map(str::to_owned)
        .collect();
    // The client's word, the client by the gateway, the gateway by the API server.
    ensure!(chain.len() == 3 && chain[0] == "192.0.2.1", "{chain:?}");
    ensure!(
        header("x-own") == "kept" && header("x-hop").is_empty(),
        "{seen}"
    );
    ensure!(
        header("x-remote-user").is_empty() && header("x-remote-extra-scopes").is_empty(),
        "{seen}"
    );

    let id = "11111111-2222-3333-4444-555555555555";
    let answer = client
        .whole(request("GET", "/version", &[("audit-id", id)], b""))
        .await?;
    ensure!(
        answer.headers.get("audit-id").is_some_and(|own| own == id),
        "{answer:?}"
    );
    Ok(())
}

/// The client says that it waits, and waits.
fn expectations_are_met(both: &Both) -> Result<()> {
    let mut connection = https::connect(&both.gateway, None)?;
    let head = format!(
        "POST {SERVICE}/echo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 5\r\n\
         Expect: 100-continue\r\nConnection: close\r\n\r\n",
        Cluster::token("admin")
    );
    connection.write_all(head.as_bytes())?;
    connection.flush()?;
    let mut told = [0; 25];
    connection.read_exact(&mut told)?;
    ensure!(
        &told == b"HTTP/1.1 100 Continue\r\n\r\n",
        "{:?}",
        String::from_utf8_lossy(&told)
    );
    connection.write_all(b"hello")?;
    connection.flush()?;
    let answer = String::from_utf8_lossy(&https::read_all(&mut connection)).into_owned();
    ensure!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("\"len\":5"),
        "{answer}"
    );
    Ok(())
}

/// A WebSocket inside `services/proxy` is somebody else's, and passes.
async fn websockets_inside_pass(both: &Both) -> Result<()> {
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let upgrade = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", key),
    ];
    let mut client = HttpClient::connect(&both.gateway, Speaks::Http1, None).await?;
    let mut answer = client
        .send(request("GET", &format!("{SERVICE}/ws"), &upgrade, b""))
        .await?;
    ensure!(answer.status() == 101, "{answer:?}");
    let io = hyper_util::rt::TokioIo::new(hyper::upgrade::on(&mut answer).await?);
    let role = tokio_tungstenite::tungstenite::protocol::Role::Client;
    let mut socket = tokio_tungstenite::WebSocketStream::from_raw_socket(io, role, None).await;
    for message in [Message::text("hello"), Message::binary(noise(1 << 20))] {
        socket.send(message.clone()).await?;
        let echoed = socket.next().await.context("the socket ended")??;
        ensure!(echoed == message);
    }
    // One that is refused is answered as any request.
    let mut client = HttpClient::connect(&both.gateway, Speaks::Http1, None).await?;
    let answer = client
        .whole(request(
            "GET",
            &format!("{SERVICE}/status/429"),
            &upgrade,
            b"",
        ))
        .await?;
    ensure!(
        answer.status == 429 && answer.body.starts_with(b"this is 429"),
        "{answer:?}"
    );
    Ok(())
}

#[test]
fn the_whole_api_passes_through() {
    let cluster = Cluster::builder("test-gateway-passes")
        .api_server(OLD_API_SERVER)
        .up()
        .unwrap();
    let gateway = cluster.gateway("gateway").up().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let host = |url: &str| url.trim_start_matches("https://").to_owned();
    let both = Both {
        direct: host(&cluster.url()),
        gateway: host(&gateway.url),
    };
    let bridge = both.direct.split(':').next().unwrap().to_owned();
    let backend = runtime.block_on(Backend::start(&bridge)).unwrap();
    cluster
        .kubectl()
        .unwrap()
        .apply(&manifest(backend.address))
        .unwrap();
    let running = format!(
        r#"{{"status":{{"phase":"Running","podIP":"{0}","podIPs":[{{"ip":"{0}"}}]}}}}"#,
        backend.address.ip()
    );
    let patch = [
        "patch",
        "pod",
        "backend",
        "--subresource=status",
        "-p",
        &running,
    ];
    cluster.kubectl().unwrap().ok(&patch).unwrap();
    let run = |check| runtime.block_on(check);
    let mut suite = Suite::default();
    suite.check("answers are the API server's, headers and body", || {
        run(Box::pin(answers_are_the_api_servers(&both)) as Check<'_>)
    });
    suite.check(
        "a service's statuses, Retry-After and trailers pass",
        || run(Box::pin(a_services_answers_pass(&both))),
    );
    suite.check("a body that breaks off does not look whole", || {
        run(Box::pin(what_breaks_off_breaks_off(&both)))
    });
    suite.check("nothing of a body is held back", || {
        run(Box::pin(nothing_is_held_back(&both)))
    });
    suite.check("a watch is live", || run(Box::pin(a_watch_is_live(&both))));
    suite.check("large uploads arrive whole", || {
        run(Box::pin(uploads_arrive_whole(&both)))
    });
    suite.check("headers are as behind a load balancer", || {
        run(Box::pin(headers_are_as_behind_a_load_balancer(&both)))
    });
    suite.check("Expect: 100-continue", || expectations_are_met(&both));
    suite.check("WebSockets inside services/proxy pass", || {
        run(Box::pin(websockets_inside_pass(&both)))
    });
    suite.verdict();
}

type Check<'a> = std::pin::Pin<Box<dyn Future<Output = Result<()>> + 'a>>;
