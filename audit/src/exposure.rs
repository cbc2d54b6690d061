//! What a finding comes to on a server.

use std::fmt;

use serde::{Deserialize, Serialize};
use streamway_rbac::{Kind, Stream};

use crate::server::{CREATE_CHECK, EXEC_WEBSOCKETS, FORWARD_WEBSOCKETS, Server};
use crate::severity::Severity;

/// What a finding comes to on the server in question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exposure {
    /// In a word.
    pub state: State,
    /// In a sentence.
    pub text: String,
}

/// States of exposure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// It works today, on this server; or may, where the server is not known.
    Exploitable,
    /// It works today, at the kubelet, whatever the API server does.
    OpenAtKubelet,
    /// This server refuses it.
    Blocked,
    /// Sessions work today and will not for ever.
    WillBreak,
    /// What it opens is allowed, and out of sight.
    OutOfSight,
    /// It leads to more.
    Detour,
}

impl State {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exploitable => "exploitable now",
            Self::OpenAtKubelet => "open at the kubelet",
            Self::Blocked => "blocked here",
            Self::WillBreak => "will break",
            Self::OutOfSight => "allowed, out of sight",
            Self::Detour => "a way around",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How bad a kind is on a server, for somebody or for everybody, and why.
pub(crate) fn judge(kind: Kind, everybody: bool, server: &Server) -> (Severity, Exposure) {
    let (severity, state, text) = match kind {
        Kind::GetWithoutCreate(stream) => get_only(stream, server),
        Kind::CreateWithoutGet(stream) => create_only(stream, server),
        Kind::NodesProxy { create: false } => nodes(server),
        Kind::NodesProxy { create: true } => {
            let text = "may run commands, and does so past admission and the API server's audit log \
                where it talks to a kubelet";
            (Severity::Low, State::OutOfSight, text.to_owned())
        }
        Kind::Detour(_) => {
            let text = "what it can reach in this way is not counted as its own";
            (Severity::Note, State::Detour, text.to_owned())
        }
    };
    let worse = everybody && matches!(state, State::Exploitable | State::OpenAtKubelet);
    let severity = if worse { Severity::Critical } else { severity };
    (severity, Exposure { state, text })
}

fn get_only(stream: Stream, server: &Server) -> (Severity, State, String) {
    let (what, open) = match stream {
        Stream::Exec => ("runs commands in pods", Severity::High),
        Stream::Attach => ("talks to processes in pods", Severity::High),
        Stream::PortForward => ("reaches ports of pods", Severity::Medium),
    };
    let called = server.called();
    match server.checks_create() {
        Some(true) => (
            Severity::Low,
            State::Blocked,
            format!(
                "{called} asks for create as well and answers 403; open again if its gate \
                 {CREATE_CHECK} is turned off"
            ),
        ),
        Some(false) => {
            let later = match &server.version {
                Some(version) if !version.is_at_least(35) => "refused from 1.35 on".to_owned(),
                _ => format!("its gate {CREATE_CHECK} is off"),
            };
            let text = format!("{what} by WebSocket: {called} asks for get alone; {later}");
            (open, State::Exploitable, text)
        }
        None => {
            let text =
                format!("{what} by WebSocket on API servers before 1.35; refused from 1.35 on");
            (open, State::Exploitable, text)
        }
    }
}

fn create_only(stream: Stream, server: &Server) -> (Severity, State, String) {
    let gate = match stream {
        Stream::Exec | Stream::Attach => EXEC_WEBSOCKETS,
        Stream::PortForward => FORWARD_WEBSOCKETS,
    };
    let text = match server.is_on(gate) {
        Some(false) => format!(
            "works over SPDY, which {} speaks only; needs get as well once it takes WebSockets",
            server.called()
        ),
        Some(true) | None => {
            "each session first asks for a WebSocket and is refused with 403, then \
            works over SPDY; breaks when SPDY goes"
                .to_owned()
        }
    };
    (Severity::Low, State::WillBreak, text)
}

fn nodes(server: &Server) -> (Severity, State, String) {
    let check = match server.checks_create() {
        Some(true) => "; the API server's create check does not reach that far",
        _ => "",
    };
    let instead = match &server.version {
        Some(version) if version.is_at_least(36) => {
            "; since 1.36 monitoring can do without, by nodes/metrics, nodes/stats, nodes/pods and the \
             like, which closes nothing for who keeps nodes/proxy"
        }
        _ => "",
    };
    let text = format!(
        "runs commands in any pod of the nodes by a WebSocket to their kubelets, past admission and the \
         API server's audit log{check}{instead}"
    );
    (Severity::High, State::OpenAtKubelet, text)
}
