//! The body of a plain answer on its way to the client.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::upstream::Leased;

/// An answer's body that shutdown waits for. A watch never ends by itself: at the end of the grace
/// period it is ended as an API server ends one, between two events, and its client watches on
/// elsewhere.
#[derive(Debug)]
pub(super) struct Passing {
    body: Leased,
    _waited_for: TaskTrackerToken,
    cut: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl Passing {
    pub(super) fn new(body: Leased, waited_for: TaskTrackerToken) -> Self {
        Self {
            body,
            _waited_for: waited_for,
            cut: None,
        }
    }

    /// Ends with `cut`.
    pub(super) fn ending_with(mut self, cut: &CancellationToken) -> Self {
        self.cut = Some(Box::pin(cut.clone().cancelled_owned()));
        self
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Pending => {}
            ready => return ready,
        }
        match &mut this.cut {
            Some(cut) => cut.as_mut().poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
