//! `streamproxy check`: asks a process for its health by its Unix socket. A kubelet's probe cannot ask
//! by port where two pods share the node's ports.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use streamway_daemon::exit::ExitError;

use crate::args::CheckArgs;

/// How long an answer may take.
const LATE: Duration = Duration::from_secs(2);

/// The most that is read of an answer.
const MOST: u64 = 64 << 10;

/// Asks once.
///
/// # Errors
///
/// Ends with 1 where the process is not well, or cannot be asked.
pub fn run(args: &CheckArgs) -> Result<(), ExitError> {
    let answer = ask(args).map_err(|error| {
        let path = args.admin_socket.display();
        ExitError::failure(format_args!("{path} cannot be asked: {error}"))
    })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.split(' ').nth(1) == Some("200") {
        return Ok(());
    }
    let status = head.lines().next().unwrap_or_default();
    Err(ExitError::failure(format_args!(
        "{status}: {}",
        body.trim_end()
    )))
}

fn ask(args: &CheckArgs) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(&args.admin_socket)?;
    stream.set_read_timeout(Some(LATE))?;
    stream.set_write_timeout(Some(LATE))?;
    let endpoint = &args.endpoint;
    write!(
        stream,
        "GET {endpoint} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(MOST).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;

    use super::*;

    /// What is made of an answer: nothing, or why not.
    fn asked(answer: &'static str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let admin_socket = folder.path().join("admin.sock");
        let listener = UnixListener::bind(&admin_socket).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // It comes in as many pieces as it likes.
            let mut head = String::new();
            let mut reader = BufReader::new(&stream);
            while !head.ends_with("\r\n\r\n") {
                assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
            }
            stream.write_all(answer.as_bytes()).unwrap();
            head
        });
        let endpoint = "/readyz".to_owned();
        let result = run(&CheckArgs {
            admin_socket,
            endpoint,
        });
        let head = server.join().unwrap();
        assert!(head.starts_with("GET /readyz HTTP/1.1\r\n"), "{head}");
        result.err().map(|error| error.to_string())
    }

    #[test]
    fn only_200_is_well() {
        assert_eq!(asked("HTTP/1.1 200 OK\r\n\r\nok"), None);
        let failed = asked("HTTP/1.1 500 Internal Server Error\r\n\r\n[-]kubelet failed: x\n");
        let told = "HTTP/1.1 500 Internal Server Error: [-]kubelet failed: x";
        assert_eq!(failed.as_deref(), Some(told));
        assert!(asked("").is_some());
        assert!(asked("HTTP/1.1 20000 OK\r\n\r\n").is_some());
    }
}
