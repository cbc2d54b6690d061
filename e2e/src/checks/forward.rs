//! kubectl port-forward with several connections at once.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::kubectl::Kubectl;
use crate::wait;

/// Connections at once.
const CONNECTIONS: usize = 8;
/// Bytes of the page that each fetches.
const PAGE: usize = 4 << 20;

/// Kills kubectl whatever happens.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Has the pod serve a page.
pub(super) fn serve(kubectl: &Kubectl, pod: &str) -> Result<()> {
    let script =
        "mkdir -p /tmp/www; cat >/tmp/www/page; httpd -h /tmp/www -p 8080 2>/dev/null; true";
    kubectl
        .ok_with(
            &["exec", "-i", pod, "--", "sh", "-c", script],
            &super::noise(PAGE),
        )
        .map(drop)
}

/// Fetches the page on several connections at once, then has a connection refused, then fetches it
/// again. kubectl's log.
pub(super) fn connections(kubectl: &Kubectl, pod: &str) -> Result<String> {
    let page = super::noise(PAGE);
    let mut command = kubectl.command(&["-v=6", "port-forward", pod, ":8080", ":9"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = Killed(command.spawn().context("starting kubectl port-forward")?);
    let stdout = child.0.stdout.take().context("stdout")?;
    let mut stderr = child.0.stderr.take().context("stderr")?;
    let (lines, told) = mpsc::sync_channel(64);
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    let log = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    });
    let port = |to: &str| {
        wait::until("kubectl says its port", Duration::from_secs(20), || {
            let line = told
                .recv_timeout(Duration::from_secs(1))
                .unwrap_or_default();
            let local = line.strip_prefix("Forwarding from 127.0.0.1:");
            let local = local
                .and_then(|rest| rest.strip_suffix(to))
                .map(str::to_owned);
            Ok(local.and_then(|port| port.trim_end_matches(" -> ").parse::<u16>().ok()))
        })
    };
    let good = port("8080")?;
    let refused = port("9")?;
    // Nobody reads the rest; kubectl must not wait for someone who does.
    std::thread::spawn(move || while told.recv().is_ok() {});

    let fetched: Vec<Result<Vec<u8>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|_| scope.spawn(|| fetch(good)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Ok(Vec::new())))
            .collect()
    });
    for body in fetched {
        let body = body?;
        ensure!(
            body == page,
            "{} of {PAGE} bytes arrived, or others",
            body.len()
        );
    }
    let nothing = fetch(refused).unwrap_or_default();
    ensure!(nothing.is_empty(), "a port that refuses answered");
    ensure!(
        fetch(good)? == page,
        "the good port does not work after another refused"
    );
    let alive = child.0.try_wait()?.is_none();
    drop(child);
    let log = log.join().unwrap_or_default();
    ensure!(alive, "the refused connection ended kubectl: {log}");
    Ok(log)
}

/// The body of the page.
fn fetch(port: u16) -> Result<Vec<u8>> {
    let mut connection = TcpStream::connect(("127.0.0.1", port))?;
    connection.set_read_timeout(Some(Duration::from_secs(30)))?;
    connection.write_all(b"GET /page HTTP/1.0\r\n\r\n")?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .map_or(answer.len(), |at| at + 4);
    Ok(answer.split_off(end))
}
