//! What a Service does before gateways: a new connection goes to one that is ready, an open one stays.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use streamway_e2e::cluster::Gateway;
use streamway_e2e::https;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::interval;

/// How often a gateway is asked whether it is ready: within the delay of its shutdown, as a probe has
/// to be.
const EVERY: Duration = Duration::from_millis(250);

/// A balancer; it ends with its runtime.
pub(crate) struct Balancer {
    /// Where it listens.
    pub(crate) address: String,
    backends: Backends,
}

type Backends = Arc<Mutex<Vec<Arc<Backend>>>>;

struct Backend {
    address: String,
    ready: AtomicBool,
    connections: AtomicUsize,
}

impl Balancer {
    /// Before no gateway yet.
    pub(crate) fn start(runtime: &Runtime) -> Result<Self> {
        let backends = Backends::default();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?.to_string();
        runtime.spawn(serve(listener, Arc::clone(&backends)));
        Ok(Self { address, backends })
    }

    /// Adds one that is ready.
    pub(crate) fn add(&self, runtime: &Runtime, gateway: &Gateway) {
        let backend = Arc::new(Backend {
            address: gateway.url.trim_start_matches("https://").to_owned(),
            ready: AtomicBool::new(true),
            connections: AtomicUsize::new(0),
        });
        runtime.spawn(probe(Arc::clone(&backend), gateway.metrics_address.clone()));
        self.backends.lock().unwrap().push(backend);
    }

    /// The connections that each got.
    pub(crate) fn connections(&self) -> Vec<usize> {
        let all = self.backends.lock().unwrap();
        all.iter()
            .map(|backend| backend.connections.load(Ordering::Relaxed))
            .collect()
    }
}

async fn probe(backend: Arc<Backend>, metrics_address: String) {
    let mut every = interval(EVERY);
    loop {
        every.tick().await;
        let address = metrics_address.clone();
        let asked = move || https::get_plain(&address, "/readyz");
        let answer = tokio::task::spawn_blocking(asked).await;
        let ready = answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status == 200));
        backend.ready.store(ready, Ordering::Relaxed);
    }
}

async fn serve(listener: TcpListener, backends: Backends) {
    let mut turn = 0;
    while let Ok((mut client, _)) = listener.accept().await {
        let mut ready = backends.lock().unwrap().clone();
        ready.retain(|backend| backend.ready.load(Ordering::Relaxed));
        // With none, the client is refused.
        let Some(backend) = ready.get(turn % ready.len().max(1)) else {
            continue;
        };
        turn += 1;
        backend.connections.fetch_add(1, Ordering::Relaxed);
        let address = backend.address.clone();
        tokio::spawn(async move {
            // One that does not answer is a refusal too, and the test's to notice.
            if let Ok(mut server) = TcpStream::connect(&address).await {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}
