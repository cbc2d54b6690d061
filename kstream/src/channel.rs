//! Remote command's channels (`*.channel.k8s.io`): the first byte of every message.

use std::fmt;

/// The first byte of v5's close signal: `ff NN` ends the sender's half of channel NN
/// (`k8s.io/streaming/pkg/httpstream/wsstream/conn.go`).
pub const CLOSE: u8 = 255;

/// A channel. Kubernetes has these five, whichever of them a request uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Channel {
    /// From the client.
    Stdin = 0,
    /// To the client.
    Stdout = 1,
    /// To the client; not with a terminal.
    Stderr = 2,
    /// To the client: the command's status, once.
    Error = 3,
    /// From the client: terminal sizes.
    Resize = 4,
}

/// Not a channel's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("channel {0} is none of 0 to 4")]
pub struct UnknownChannel(pub u8);

impl TryFrom<u8> for Channel {
    type Error = UnknownChannel;

    fn try_from(number: u8) -> Result<Self, UnknownChannel> {
        Ok(match number {
            0 => Self::Stdin,
            1 => Self::Stdout,
            2 => Self::Stderr,
            3 => Self::Error,
            4 => Self::Resize,
            other => return Err(UnknownChannel(other)),
        })
    }
}

impl Channel {
    /// The value of SPDY's `streamtype` header for it.
    pub fn stream_type(self) -> &'static str {
        match self {
            Self::Stdin => "stdin",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Error => "error",
            Self::Resize => "resize",
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.stream_type())
    }
}

/// Which streams a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamOptions {
    /// The command reads.
    pub stdin: bool,
    /// The command's output is wanted.
    pub stdout: bool,
    /// The command's errors are wanted apart.
    pub stderr: bool,
    /// The command has a terminal, whose output is stdout alone.
    pub tty: bool,
}

/// A request that wants nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("you must specify at least 1 of stdin, stdout, stderr")]
pub struct NoStreams;

impl StreamOptions {
    /// From a kubelet's query: `input=1&output=1&error=1&tty=1`; nothing but `1` is yes, and of
    /// several the first counts (`k8s.io/cri-streaming/pkg/streaming/remotecommand`).
    ///
    /// # Errors
    ///
    /// None of the three is wanted; kubelet answers 400 with this text.
    pub fn from_kubelet_query(query: &str) -> Result<Self, NoStreams> {
        let names = ["input", "output", "error", "tty"];
        Self::from_query(query, names, |value| value == "1")
    }

    /// From an API server's query: `stdin=true&stdout=true&stderr=true&tty=true`; any value but `0` and
    /// `false` is yes (`Convert_Slice_string_To_bool` of `k8s.io/apimachinery@v0.36.3/pkg/runtime`).
    ///
    /// # Errors
    ///
    /// None of the three is wanted.
    pub fn from_api_query(query: &str) -> Result<Self, NoStreams> {
        let names = ["stdin", "stdout", "stderr", "tty"];
        let yes = |value: &str| value != "0" && !value.eq_ignore_ascii_case("false");
        Self::from_query(query, names, yes)
    }

    fn from_query(
        query: &str,
        names: [&str; 4],
        yes: impl Fn(&str) -> bool,
    ) -> Result<Self, NoStreams> {
        let wants = |name: &str| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            let value = pairs.find(|(own, _)| own == name);
            value.is_some_and(|(_, value)| yes(&value))
        };
        let [stdin, stdout, stderr, tty] = names.map(wants);
        let options = Self {
            stdin,
            stdout,
            stderr: stderr && !tty,
            tty,
        };
        if stdin || stdout || options.stderr {
            Ok(options)
        } else {
            Err(NoStreams)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubelets_query() {
        let options = |query| StreamOptions::from_kubelet_query(query);
        let all = StreamOptions {
            stdin: true,
            stdout: true,
            stderr: true,
            tty: false,
        };
        assert_eq!(options("command=sh&input=1&output=1&error=1"), Ok(all));
        let terminal = StreamOptions {
            stderr: false,
            tty: true,
            ..all
        };
        assert_eq!(options("input=1&output=1&error=1&tty=1"), Ok(terminal));
        for nothing in [
            "",
            "command=ls",
            "output=true",
            "output=0&output=1",
            "tty=1&error=1",
        ] {
            assert_eq!(options(nothing), Err(NoStreams), "{nothing}");
        }
    }

    #[test]
    fn api_servers_query() {
        let options = |query| StreamOptions::from_api_query(query);
        let wanted = StreamOptions {
            stdin: true,
            stdout: true,
            stderr: false,
            tty: true,
        };
        for query in [
            "command=sh&stdin=true&stdout=true&stderr=true&tty=true",
            "stdin=1&stdout=yes&tty",
            "st%64in=tr%75e&stdout=true&stderr=false&tty=T",
            "stdin=true&stdin=false&stdout=true&tty=true",
        ] {
            assert_eq!(options(query), Ok(wanted), "{query}");
        }
        for nothing in [
            "",
            "command=stdin",
            "stdout=false",
            "stdout=0&stdin=False",
            "Stdout=true",
        ] {
            assert_eq!(options(nothing), Err(NoStreams), "{nothing}");
        }
    }

    #[test]
    fn numbers_and_channels_are_one_to_one() {
        for number in 0..=255 {
            match Channel::try_from(number) {
                Ok(channel) => assert_eq!(channel as u8, number),
                Err(error) => assert!(number > 4, "{error}"),
            }
        }
    }
}
