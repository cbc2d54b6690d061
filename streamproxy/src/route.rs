//! What a request to a streaming endpoint names. Which path is one, each role knows.

/// A streaming endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Subresource {
    /// Runs a command.
    Exec,
    /// Joins the container's own process.
    Attach,
    /// Opens connections to ports.
    PortForward,
}

impl Subresource {
    /// The pod subresource's name, as in upstream's metric labels.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::PortForward => "portforward",
        }
    }
}

/// What a streaming path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// The endpoint.
    pub(crate) subresource: Subresource,
    /// The pod's namespace.
    pub(crate) namespace: String,
    /// The pod's name.
    pub(crate) pod: String,
    /// The container's name; empty for port-forward, and where the request leaves it open.
    pub(crate) container: String,
}
