//! `streamproxy probe-target`: what a prober's sessions go to. It sends back what it is told, and has
//! nothing that anybody could want.
//!
//! | session | what answers |
//! |---|---|
//! | attach | the process itself: each line of stdin comes back on stdout, after `--prefix` |
//! | port-forward | `--listen`: every byte comes back |
//! | exec | `probe-target exec`: stdin comes back on stdout, a line on stderr, then `--exit-code` |

use std::io::{self, BufRead, Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use streamway_daemon::exit::ExitError;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::args::{ProbeTarget, ProbeTargetArgs};
use crate::port::Port;

/// Longest line of stdin that is sent back whole, in bytes.
const LINE: u64 = 64 << 10;

/// Connections at the same time; others wait.
const CONNECTIONS: usize = 64;

/// How long a connection may stay.
const LONGEST: Duration = Duration::from_secs(600);

/// Runs until a signal; `exec` until stdin ends.
///
/// # Errors
///
/// A socket that cannot be bound, signals that cannot be listened to.
pub fn run(args: &ProbeTargetArgs) -> Result<ExitCode, ExitError> {
    if let Some(ProbeTarget::Exec { exit_code }) = args.command {
        return exec(exit_code).map_err(|error| {
            ExitError::failure(format_args!("stdin cannot be copied to stdout: {error}"))
        });
    }
    let failed = |error: io::Error| ExitError::failure(format_args!("cannot run: {error}"));
    let prefix = args.prefix.clone();
    // It reads when it pleases, and ends with the process.
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || send_back_lines(io::stdin().lock(), io::stdout(), &prefix))
        .map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    runtime.block_on(async {
        let mut term = signal(SignalKind::terminate()).map_err(failed)?;
        let mut int = signal(SignalKind::interrupt()).map_err(failed)?;
        let listener = listen(args.listen)
            .map_err(|error| ExitError::bind("--listen", args.listen, &error))?;
        tokio::select! {
            () = send_back_bytes(listener) => {}
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn exec(exit_code: u8) -> io::Result<ExitCode> {
    let mut stdout = io::stdout().lock();
    let copied = io::copy(&mut io::stdin().lock(), &mut stdout)?;
    stdout.flush()?;
    writeln!(io::stderr(), "probe-target: {copied} bytes")?;
    Ok(ExitCode::from(exit_code))
}

/// Until `lines` end, or nobody reads them any more.
fn send_back_lines(mut lines: impl BufRead, mut to: impl Write, prefix: &str) {
    let mut line = Vec::new();
    loop {
        line.clear();
        match lines.by_ref().take(LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let sent = to
            .write_all(&[prefix.as_bytes(), &line].concat())
            .and_then(|()| to.flush());
        if sent.is_err() {
            return;
        }
    }
}

/// The agent's pods are on the node's network, and at an update the old one is there until the new one is
/// ready: they share the port.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let mut listeners = Port::share(address, 1)?.listen()?;
    let listener = listeners.pop().ok_or(io::ErrorKind::AddrNotAvailable)?;
    TcpListener::from_std(listener)
}

async fn send_back_bytes(listener: TcpListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(async move {
                    let _ = timeout(LONGEST, send_back(stream)).await;
                    drop(place);
                });
            }
            // Out of descriptors: a connection has to end first.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn send_back(mut stream: TcpStream) -> io::Result<u64> {
    let (mut read, mut write) = stream.split();
    let copied = tokio::io::copy(&mut read, &mut write).await?;
    tokio::io::AsyncWriteExt::shutdown(&mut write).await?;
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn lines_come_back() {
        let mut out = Vec::new();
        send_back_lines(&b"one\ntwo"[..], &mut out, "> ");
        assert_eq!(out, b"> one\n> two");
    }

    #[test]
    fn a_line_without_end_costs_little() {
        let mut out = Vec::new();
        let endless = io::BufReader::new(io::repeat(b'x').take(LINE * 2));
        send_back_lines(endless, &mut out, "");
        assert_eq!(out.len() as u64, LINE * 2);
    }

    #[tokio::test]
    async fn an_update_has_two_of_them() {
        let old = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let new = listen(old.local_addr().unwrap()).unwrap();
        let _client = TcpStream::connect(new.local_addr().unwrap()).await.unwrap();
        new.accept().await.unwrap();
    }

    #[tokio::test]
    async fn bytes_come_back() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(send_back_bytes(listener));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await.unwrap();
        assert_eq!(back, b"hello");
    }
}
