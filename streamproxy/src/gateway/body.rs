//! The events of a watch on their way to the client.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::upstream::Leased;

/// A watch. Whatever ends it, its client is told an end, as by an API server whose time for it is over,
/// and watches on from the last event that it got: client-go takes a connection that breaks for such an
/// end, but HTTP/2's reset of one stream, which a broken connection of the gateway's would become, for
/// an error of the API server's, and lists everything again. An event that was cut is no event to it.
#[derive(Debug)]
pub(super) struct Watched {
    body: Leased,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Watched {
    /// Ends with the API server's answer, with its connection, and with `cut`: the end of the grace
    /// period, since a watch need not end by itself.
    pub(super) fn new(body: Leased, cut: &CancellationToken) -> Self {
        Self {
            body,
            cut: Box::pin(cut.clone().cancelled_owned()),
        }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Pending => this.cut.as_mut().poll(cx).map(|()| None),
            Poll::Ready(Some(Err(error))) => {
                tracing::debug!(%error, "a watch was cut");
                Poll::Ready(None)
            }
            ready => ready,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
