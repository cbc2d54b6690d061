//! exec and attach, `v5.channel.k8s.io`.

use std::time::Duration;

use kube::Client;
use streamway_crds::names;
use streamway_kstream::channel::{CLOSE, Channel};
use streamway_kstream::status::{self, Outcome};
use streamway_kstream::subprotocol::Subprotocol;

use super::Target;
use super::socket::{ProbeError, Socket};
use crate::random;

/// What is sent on stdin: more than one frame of any hop's buffer, less than what any of them would
/// hold back.
const PAYLOAD: usize = 48 << 10;

/// The code that the command is to end with: none that a shell, a signal or a runtime gives.
const EXIT_CODE: i64 = 43;

/// How long the answer to a line may take before the line is sent again.
const LINE_AGAIN: Duration = Duration::from_millis(250);

/// A command that copies stdin to stdout, says a line on stderr, and ends with a code.
pub(super) async fn exec(client: &Client, target: &Target) -> Result<(), ProbeError> {
    let code = EXIT_CODE.to_string();
    let query = query(&["/streamproxy", "probe-target", "exec", "--exit-code", &code]);
    let mut socket = open(client, target, "exec", &query).await?;
    let sent = payload();
    for chunk in sent.chunks(16 << 10) {
        socket
            .send([&[Channel::Stdin as u8], chunk].concat())
            .await?;
    }
    // v5's own message: stdin ends, and the command with it.
    socket.send(vec![CLOSE, Channel::Stdin as u8]).await?;
    let (mut stdout, mut stderr, mut error) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(message) = socket.next().await? {
        let Some((&channel, bytes)) = message.split_first() else {
            continue;
        };
        match Channel::try_from(channel) {
            Ok(Channel::Stdout) => bounded(&mut stdout, bytes)?,
            Ok(Channel::Stderr) => bounded(&mut stderr, bytes)?,
            Ok(Channel::Error) => bounded(&mut error, bytes)?,
            _ => return Err(ProbeError::Wrong(format!("a message on channel {channel}"))),
        }
    }
    socket.close().await;
    same("stdout", &stdout, &sent)?;
    same(
        "stderr",
        &stderr,
        format!("probe-target: {} bytes\n", sent.len()).as_bytes(),
    )?;
    match status::parse(&error) {
        Ok(Outcome::ExitCode(EXIT_CODE)) => Ok(()),
        Ok(other) => Err(ProbeError::Wrong(format!(
            "ended with {other:?}, not {EXIT_CODE}"
        ))),
        Err(error) => Err(ProbeError::Wrong(error.to_string())),
    }
}

/// The container's main process, which sends each line back. It goes on when we leave.
///
/// A runtime may take stdin before it gives us stdout: containerd 1.x and 2.x start with the one and then
/// add the other (`ContainerIO.Attach`). A line that comes back in between is nobody's, so it is sent again.
pub(super) async fn attach(client: &Client, target: &Target) -> Result<(), ProbeError> {
    let query = query(&[]);
    let mut socket = open(client, target, "attach", &query).await?;
    let word = format!("{:016x}", random::number());
    let line = [&[Channel::Stdin as u8], word.as_bytes(), b"\n"].concat();
    let mut again = tokio::time::interval(LINE_AGAIN);
    let mut stdout = Vec::new();
    loop {
        let message = tokio::select! {
            // At once for the first time.
            _ = again.tick() => {
                socket.send(line.clone()).await?;
                continue;
            }
            message = socket.next() => message?,
        };
        let Some(message) = message else { break };
        match message.split_first() {
            Some((&channel, bytes)) if channel == Channel::Stdout as u8 => {
                bounded(&mut stdout, bytes)?;
            }
            Some((&channel, bytes)) if channel == Channel::Error as u8 => {
                let text = String::from_utf8_lossy(bytes);
                return Err(ProbeError::Wrong(format!("the process ended: {text:.200}")));
            }
            _ => {}
        }
        // Others may be attached: their lines come too.
        if stdout
            .windows(word.len())
            .any(|window| window == word.as_bytes())
        {
            socket.close().await;
            return Ok(());
        }
    }
    Err(ProbeError::Wrong(
        "closed before the line came back".to_owned(),
    ))
}

async fn open(
    client: &Client,
    target: &Target,
    subresource: &str,
    query: &str,
) -> Result<Socket, ProbeError> {
    Socket::open(client, target, subresource, query, Subprotocol::V5).await
}

fn query(command: &[&str]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("container", names::PROBE_CONTAINER);
    for stream in ["stdin", "stdout", "stderr"] {
        query.append_pair(stream, "true");
    }
    for word in command {
        query.append_pair("command", word);
    }
    query.finish()
}

/// Bytes that nobody sent before.
pub(super) fn payload() -> Vec<u8> {
    let words = std::iter::repeat_with(|| random::number().to_le_bytes());
    words.flatten().take(PAYLOAD).collect()
}

/// Appends, as long as no more comes than was sent.
fn bounded(all: &mut Vec<u8>, bytes: &[u8]) -> Result<(), ProbeError> {
    if all.len() + bytes.len() > 2 * PAYLOAD {
        return Err(ProbeError::Wrong("more came back than was sent".to_owned()));
    }
    all.extend_from_slice(bytes);
    Ok(())
}

/// That what came is what was sent.
pub(super) fn same(what: &str, came: &[u8], sent: &[u8]) -> Result<(), ProbeError> {
    if came == sent {
        return Ok(());
    }
    let at = came
        .iter()
        .zip(sent)
        .take_while(|(came, sent)| came == sent)
        .count();
    let (came, sent) = (came.len(), sent.len());
    Err(ProbeError::Wrong(format!(
        "{what}: {came} bytes came back of {sent}, the first {at} of them right"
    )))
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt, StreamExt};
    use tokio::net::TcpListener;
    use tokio_tungstenite::accept_hdr_async;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

    use super::*;

    /// An API server whose runtime takes a line before it gives stdout: no real one can be made to.
    async fn loses_the_first_line(listener: TcpListener) {
        let (stream, _) = listener.accept().await.unwrap();
        #[allow(clippy::result_large_err, reason = "the library's own type")]
        let chooses = |_: &Request, mut response: Response| {
            let v5 = Subprotocol::V5.as_str().parse().unwrap();
            let headers = response.headers_mut();
            headers.insert("sec-websocket-protocol", v5);
            Ok(response)
        };
        let mut socket = accept_hdr_async(stream, chooses).await.unwrap();
        let lost = socket.next().await.unwrap().unwrap().into_data();
        let again = socket.next().await.unwrap().unwrap().into_data();
        assert_eq!(lost, again);
        let echo = [&[Channel::Stdout as u8], &again[1..]].concat();
        socket.send(Message::Binary(echo.into())).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    }

    #[tokio::test]
    async fn a_line_that_came_before_stdout_is_sent_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(loses_the_first_line(listener));
        let config = kube::Config::new(url.parse().unwrap());
        let client = Client::try_from(config).unwrap();
        let target = Target {
            namespace: "streamway-nodes".to_owned(),
            pod: "streamway-agent".to_owned(),
        };
        let attached = tokio::time::timeout(Duration::from_secs(30), attach(&client, &target));
        attached.await.unwrap().unwrap();
        server.await.unwrap();
    }
}
