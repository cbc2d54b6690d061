//! Watches over shared connections, against servers that real ones cannot be made to be: few streams,
//! HTTP/1.1 only, and gone in the middle of the handshake.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::conn::Conn;

const KIND: Kind = Kind {
    noun: "the API server",
    flag: "--apiserver",
    port: 6443,
    example: "https://10.0.0.1:6443",
};

/// What the server speaks.
#[derive(Clone, Copy)]
enum Speaks {
    /// HTTP/2, with so many streams on a connection.
    Http2(u32),
    Http1,
    /// It closes every connection.
    Nothing,
}

/// A server; each answer to a watch is one line, and then the watch stays open. Counts its connections.
async fn server(speaks: Speaks) -> (Server, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    let acceptor = acceptor(speaks);
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                match speaks {
                    Speaks::Nothing => {}
                    Speaks::Http1 => {
                        let io = TokioIo::new(acceptor.accept(tcp).await.unwrap());
                        let builder = hyper::server::conn::http1::Builder::new();
                        let _ = builder.serve_connection(io, service_fn(watch)).await;
                    }
                    Speaks::Http2(streams) => {
                        let io = TokioIo::new(acceptor.accept(tcp).await.unwrap());
                        let mut builder =
                            hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        builder.max_concurrent_streams(streams);
                        let _ = builder.serve_connection(io, service_fn(watch)).await;
                    }
                }
            });
        }
    });
    (Server::new(KIND, &url, &any()).unwrap(), accepted)
}

/// Takes any certificate; without a use where the URL says http.
fn any() -> Tls {
    Tls::new(verifier(None).unwrap(), None, None)
}

fn acceptor(speaks: Speaks) -> TlsAcceptor {
    let signed = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = match speaks {
        Speaks::Http2(_) => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        _ => vec![b"http/1.1".to_vec()],
    };
    TlsAcceptor::from(Arc::new(config))
}

type Watch = http_body_util::combinators::BoxBody<Bytes, Infallible>;

/// The request's host and path, and nothing more, ever.
async fn watch(request: Request<Incoming>) -> Result<Response<Watch>, Infallible> {
    let host = match request.uri().authority() {
        Some(authority) => authority.to_string(),
        None => String::from_utf8(request.headers()["host"].as_bytes().to_vec()).unwrap(),
    };
    let line = Bytes::from(format!("{host}{}\n", request.uri().path()));
    let first = futures_util::stream::iter([Ok(Frame::data(line))]);
    let body = futures_util::StreamExt::chain(first, futures_util::stream::pending());
    Ok(Response::new(http_body_util::StreamBody::new(body).boxed()))
}

fn request() -> Request<Outgoing> {
    let mut request = Request::new(Outgoing::default());
    *request.uri_mut() = Uri::from_static("/api/v1/pods");
    let host = HeaderValue::from_static("kubernetes.example");
    request.headers_mut().insert(header::HOST, host);
    request
}

/// Opens so many watches at once, and reads the first line of each.
async fn watches(server: &Server, count: usize) -> Vec<Response<Leased>> {
    let opened = join_all((0..count).map(|_| server.watch(request()))).await;
    let mut answers = Vec::new();
    for answer in opened {
        let mut answer = answer.unwrap();
        let line = answer.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(
            line.into_data().unwrap(),
            "kubernetes.example/api/v1/pods\n"
        );
        answers.push(answer);
    }
    answers
}

#[tokio::test]
async fn watches_share_a_connection() {
    streamway_daemon::install_crypto_provider();
    let (server, accepted) = server(Speaks::Http2(250)).await;
    let _open = watches(&server, 100).await;
    assert_eq!(accepted.load(Ordering::Relaxed), 1);
    let _more = watches(&server, 1).await;
    assert_eq!(
        accepted.load(Ordering::Relaxed),
        2,
        "100 are enough for one"
    );
}

#[tokio::test]
async fn no_watch_waits_for_another_to_end() {
    streamway_daemon::install_crypto_provider();
    let (server, accepted) = server(Speaks::Http2(2)).await;
    let open = watches(&server, 5).await;
    assert_eq!(accepted.load(Ordering::Relaxed), 3);
    drop(open);
    let _again = watches(&server, 5).await;
    assert_eq!(accepted.load(Ordering::Relaxed), 3, "there was room again");
}

#[tokio::test]
async fn a_server_of_http_1_1_gets_a_connection_for_each() {
    streamway_daemon::install_crypto_provider();
    let (server, accepted) = server(Speaks::Http1).await;
    let _open = watches(&server, 5).await;
    assert_eq!(accepted.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn those_that_wait_share_a_failure() {
    streamway_daemon::install_crypto_provider();
    let (server, accepted) = server(Speaks::Nothing).await;
    let opened = join_all((0..20).map(|_| server.watch(request()))).await;
    for answer in opened {
        let unanswered = answer.unwrap_err();
        assert!(
            matches!(unanswered.error, UpstreamError::Dial(_)),
            "{unanswered:?}"
        );
        assert!(unanswered.request.is_some(), "it can go to another");
    }
    assert_eq!(accepted.load(Ordering::Relaxed), 1);
    let later = server.watch(request()).await;
    assert!(later.is_err());
    assert_eq!(accepted.load(Ordering::Relaxed), 2, "a later one tries");
}

/// A pooled connection that served a request, its pool and its server's side.
async fn pooled() -> (Box<Pooled>, Arc<Pool>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tcp, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (mut theirs, pool) = (accepted.unwrap().0, Arc::new(Pool::default()));
    let stream = Upstream::Plain(Conn::new(tcp.unwrap()));
    let fresh = Pooled::new(stream).await.unwrap();
    let answers = async {
        // Read, or the connection would end with a reset, which hyper tells the request by itself.
        let mut head = [0; 1024];
        assert_ne!(theirs.read(&mut head).await.unwrap(), 0);
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        theirs.write_all(answer).await.unwrap();
    };
    let (answer, ()) = tokio::join!(fresh.exchange(request(), Arc::clone(&pool)), answers);
    assert_eq!(answer.unwrap().collect().await.unwrap().to_bytes(), "ok");
    (pool.take().unwrap(), pool, theirs)
}

/// Sends a request, which comes back.
async fn comes_back(pooled: Box<Pooled>, pool: Arc<Pool>) {
    for _ in 0..200 {
        // Until the runtime has heard of what the server did.
        tokio::task::yield_now().await;
    }
    let sent = timeout(Duration::from_secs(10), pooled.exchange(request(), pool));
    let lost = sent.await.unwrap().unwrap_err();
    assert!(lost.request.is_some());
}

#[tokio::test]
async fn a_request_on_a_connection_that_its_server_closed_comes_back() {
    let (pooled, pool, theirs) = pooled().await;
    drop(theirs);
    comes_back(pooled, pool).await;
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_is_not_the_next_requests() {
    let (pooled, pool, mut theirs) = pooled().await;
    // As servers do whose patience with an idle connection is at its end.
    let answer = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    theirs.write_all(answer).await.unwrap();
    comes_back(pooled, pool).await;
    let mut sent = Vec::new();
    theirs.read_to_end(&mut sent).await.unwrap();
    assert!(sent.is_empty(), "{sent:?}");
}

#[tokio::test]
async fn a_request_that_each_connection_loses_is_sent_three_times() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = Server::new(KIND, &url, &any()).unwrap();
    let heads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&heads);
    let (go_on, waits) = tokio::sync::watch::channel(());
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let (counted, mut waits) = (Arc::clone(&counted), waits.clone());
            tokio::spawn(async move {
                let mut head = [0; 1024];
                assert_ne!(tcp.read(&mut head).await.unwrap(), 0);
                waits.changed().await.unwrap();
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                tcp.write_all(answer).await.unwrap();
                // The next is read, and its connection ends.
                assert_ne!(tcp.read(&mut head).await.unwrap(), 0);
                counted.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    // Ten at once, so that ten connections are in the pool.
    let sent = join_all((0..10).map(|_| server.send(request())));
    let goes_on = async {
        while server.dialed() < 10 {
            tokio::task::yield_now().await;
        }
        go_on.send(()).unwrap();
    };
    let (answers, ()) = tokio::join!(sent, goes_on);
    for answer in answers {
        answer.unwrap().collect().await.unwrap();
    }
    let last = timeout(Duration::from_secs(30), server.send(request())).await;
    last.unwrap().unwrap();
    assert_eq!(server.dialed(), 11);
    assert_eq!(heads.load(Ordering::Relaxed), 2);
}

/// Answers at once, and reads what is sent meanwhile, for as long as it comes.
async fn answers_early(listener: TcpListener, is_pooled: oneshot::Receiver<()>) {
    // The first is closed while it is in the pool.
    let (mut first, _) = listener.accept().await.unwrap();
    let mut some = vec![0; 64 << 10];
    assert_ne!(first.read(&mut some).await.unwrap(), 0);
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    first.write_all(answer).await.unwrap();
    is_pooled.await.unwrap();
    drop(first);
    let (tcp, _) = listener.accept().await.unwrap();
    let (mut reads, mut writes) = tcp.into_split();
    assert_ne!(reads.read(&mut some).await.unwrap(), 0);
    let answers = async {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
        writes.write_all(head.as_bytes()).await.unwrap();
        let _ = writes.write_all(&vec![b'a'; LARGE]).await;
    };
    let takes = async { while reads.read(&mut some).await.is_ok_and(|read| read > 0) {} };
    tokio::join!(answers, takes);
}

/// More than the buffers of any socket hold.
const LARGE: usize = 64 << 20;

#[tokio::test]
async fn an_upload_goes_on_beside_an_answer_that_nobody_reads_yet() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = Server::new(KIND, &url, &any()).unwrap();
    let (pooled, is_pooled) = oneshot::channel();
    tokio::spawn(answers_early(listener, is_pooled));
    let first = server.send(request()).await.unwrap();
    assert_eq!(first.collect().await.unwrap().to_bytes(), "ok");
    pooled.send(()).unwrap();
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = front.local_addr().unwrap();
    tokio::spawn(async move {
        let io = TokioIo::new(front.accept().await.unwrap().0);
        let passes = service_fn(|request: Request<Incoming>| async {
            let sent = server.send(request.map(Outgoing::Incoming)).await;
            sent.map_err(|unanswered| unanswered.error)
        });
        let builder = hyper::server::conn::http1::Builder::new();
        let _ = builder.serve_connection(io, passes).await;
    });
    let mut client = TcpStream::connect(address).await.unwrap();
    let passed = async {
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {LARGE}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&vec![b'u'; LARGE]).await.unwrap();
        let mut answer = vec![0; LARGE];
        client.read_exact(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    };
    timeout(Duration::from_secs(60), passed).await.unwrap();
}
