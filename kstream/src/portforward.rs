//! Port-forward's streams (`portforward.k8s.io` over SPDY): two for each forwarded connection.

/// What a stream of a forwarded connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamKind {
    /// The upstream's words where the connection fails.
    Error,
    /// The connection's bytes.
    Data,
}

/// A stream, as its headers tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortForwardStream {
    /// What it is for.
    pub kind: StreamKind,
    /// The port in the pod.
    pub port: u16,
    /// Which connection; its two streams have the same.
    pub request_id: u32,
}

/// Headers that no forwarded connection's stream has. Upstream's server resets such a stream
/// (`k8s.io/cri-streaming/pkg/streaming/portforward/httpstream.go`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// `port` is missing or none of 1 to 65535.
    #[error("port is {0:?}, none of 1 to 65535")]
    Port(Option<String>),
    /// `streamtype` is missing or unknown.
    #[error("streamtype is {0:?}, neither error nor data")]
    Kind(Option<String>),
    /// `requestid` is no number.
    #[error("requestid is {0:?}, not a number")]
    RequestId(String),
}

impl PortForwardStream {
    /// Reads the headers of the stream with the id `stream`. Names may be in any case.
    ///
    /// Without `requestid`, as from old clients, an error stream's request is its own id, and a data
    /// stream's the id before it.
    ///
    /// # Errors
    ///
    /// Names the header that is missing or wrong.
    pub fn parse<'a>(
        stream: u32,
        headers: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, StreamError> {
        let (mut port, mut kind, mut request) = (None, None, None);
        for (name, value) in headers {
            match name.to_ascii_lowercase().as_str() {
                "port" => port = Some(value),
                "streamtype" => kind = Some(value),
                "requestid" => request = Some(value),
                _ => {}
            }
        }
        let number = port
            .and_then(|port| port.parse().ok())
            .filter(|port| *port > 0);
        let port = number.ok_or_else(|| StreamError::Port(port.map(str::to_owned)))?;
        let kind = match kind {
            Some("error") => StreamKind::Error,
            Some("data") => StreamKind::Data,
            other => return Err(StreamError::Kind(other.map(str::to_owned))),
        };
        let request_id = match (request, kind) {
            (Some(text), _) => text
                .parse()
                .map_err(|_| StreamError::RequestId(text.to_owned()))?,
            (None, StreamKind::Error) => stream,
            (None, StreamKind::Data) => stream.saturating_sub(2),
        };
        Ok(Self {
            kind,
            port,
            request_id,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(stream: u32, headers: &[(&str, &str)]) -> Result<(StreamKind, u16, u32), StreamError> {
        let stream = PortForwardStream::parse(stream, headers.iter().copied())?;
        Ok((stream.kind, stream.port, stream.request_id))
    }

    #[test]
    fn streams_of_a_connection_have_its_id() {
        let error = parse(
            5,
            &[("streamType", "error"), ("Port", "80"), ("requestID", "3")],
        );
        assert_eq!(error, Ok((StreamKind::Error, 80, 3)));
        let data = parse(
            7,
            &[("streamtype", "data"), ("port", "80"), ("requestid", "3")],
        );
        assert_eq!(data, Ok((StreamKind::Data, 80, 3)));
    }

    #[test]
    fn old_clients_have_the_error_streams_id() {
        assert_eq!(
            parse(5, &[("streamtype", "error"), ("port", "1")])
                .unwrap()
                .2,
            5
        );
        assert_eq!(
            parse(7, &[("streamtype", "data"), ("port", "1")])
                .unwrap()
                .2,
            5
        );
        assert_eq!(
            parse(1, &[("streamtype", "data"), ("port", "1")])
                .unwrap()
                .2,
            0
        );
    }

    #[test]
    fn wrong_headers_are_named() {
        for port in ["", "0", "65536", "-1", "x"] {
            let error = parse(1, &[("streamtype", "data"), ("port", port)]);
            assert_eq!(error, Err(StreamError::Port(Some(port.into()))));
        }
        assert_eq!(
            parse(1, &[("streamtype", "data")]),
            Err(StreamError::Port(None))
        );
        let kind = parse(1, &[("streamtype", "stdin"), ("port", "1")]);
        assert_eq!(kind, Err(StreamError::Kind(Some("stdin".into()))));
        let id = parse(
            1,
            &[("streamtype", "data"), ("port", "1"), ("requestid", "a")],
        );
        assert_eq!(id, Err(StreamError::RequestId("a".into())));
    }
}
