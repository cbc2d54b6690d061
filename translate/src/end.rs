//! How a session ends, and whose doing it was.

/// Whose fault an end is. Drives the log level, the metric's label and the close code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// Nobody's: the session ran to its end.
    None,
    /// The client's.
    Client,
    /// The upstream's: the kubelet, its runtime, or the way to them.
    Upstream,
    /// Ours: drain, shutdown.
    Local,
}

/// What came of a session. A closed set: it is a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// A Success status arrived and was handed on.
    Success,
    /// The command ended with this exit code, which is not 0. 32 bits and more: Windows'
    /// codes do not fit a byte.
    ExitCode(i64),
    /// The upstream said Failure, without an exit code.
    Failure,
    /// A tunnel's upstream or client closed it in an orderly way.
    Closed,
    /// The client left: end of file, reset or Close frame before the end.
    ClientGone,
    /// The client broke the protocol.
    ClientMisbehaved,
    /// The upstream went away without a status.
    UpstreamLost,
    /// The upstream broke the protocol.
    UpstreamMisbehaved,
    /// The upstream answered no ping in time.
    UpstreamSilent,
    /// The upstream reset an output stream before the status: output is missing.
    Truncated,
    /// Our own shutdown cut the session at the end of its grace period.
    Shutdown,
}

impl Outcome {
    /// The metric's and the log's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ExitCode(_) => "exit_code",
            Self::Failure => "failure",
            Self::Closed => "closed",
            Self::ClientGone => "client_gone",
            Self::ClientMisbehaved => "client_misbehaved",
            Self::UpstreamLost => "upstream_lost",
            Self::UpstreamMisbehaved => "upstream_misbehaved",
            Self::UpstreamSilent => "upstream_silent",
            Self::Truncated => "truncated",
            Self::Shutdown => "shutdown",
        }
    }

    /// Whether the upstream said how the command ended, well or not.
    pub fn is_the_commands(self) -> bool {
        matches!(self, Self::Success | Self::ExitCode(_) | Self::Failure)
    }

    /// Whose fault it is.
    pub fn fault(self) -> Fault {
        match self {
            Self::Success | Self::ExitCode(_) | Self::Closed => Fault::None,
            Self::ClientGone | Self::ClientMisbehaved => Fault::Client,
            Self::Failure
            | Self::UpstreamLost
            | Self::UpstreamMisbehaved
            | Self::UpstreamSilent
            | Self::Truncated => Fault::Upstream,
            Self::Shutdown => Fault::Local,
        }
    }
}

/// A session's end. What is queued for the client is still to be written, unless the client is
/// gone; then its leg is closed for writing and read until it closes too (lingering), so that the
/// kernel does not turn unread client bytes into a reset that destroys the tail of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// What came of the session.
    pub outcome: Outcome,
    /// What happened, in words, for the log; never a session's content.
    pub detail: String,
}

impl End {
    pub(crate) fn new(outcome: Outcome, detail: impl Into<String>) -> Self {
        Self {
            outcome,
            detail: detail.into(),
        }
    }

    /// Whether the client is still there to be told.
    pub fn tells_client(&self) -> bool {
        self.outcome != Outcome::ClientGone
    }
}
