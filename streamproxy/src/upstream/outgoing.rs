//! The body of a request on its way to a server.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// A client's body as it comes, or one of ours.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// The client's.
    Incoming(Incoming),
    /// The client's, and something that is held until all of it was sent.
    Upload { body: Incoming, _sending: Arc<()> },
    /// Ours.
    Full(Full<Bytes>),
}

impl Default for Outgoing {
    /// None.
    fn default() -> Self {
        Self::Full(Full::default())
    }
}

impl Outgoing {
    /// What is held as long as there is a client's body to send, if there is.
    pub(super) fn upload(&mut self) -> Option<Arc<()>> {
        if self.is_end_stream() {
            return None;
        }
        match std::mem::take(self) {
            // One that was given back is sent anew.
            Self::Incoming(body) | Self::Upload { body, .. } => {
                let held = Arc::new(());
                let _sending = Arc::clone(&held);
                *self = Self::Upload { body, _sending };
                Some(held)
            }
            other => {
                *self = other;
                None
            }
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Incoming(body) | Self::Upload { body, .. } => Pin::new(body).poll_frame(cx),
            Self::Full(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Incoming(body) | Self::Upload { body, .. } => body.is_end_stream(),
            Self::Full(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Incoming(body) | Self::Upload { body, .. } => body.size_hint(),
            Self::Full(body) => body.size_hint(),
        }
    }
}
