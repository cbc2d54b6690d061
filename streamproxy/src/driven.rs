//! An HTTP/2 connection and its requests as one task.
//!
//! hyper hands each request's future to an executor. As a task of its own it would cost an allocation and
//! two rounds through the scheduler for each request, and all of them are the connection's thread's anyway.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::rt::Executor;

type Request = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes requests, for [`drive`]; as many as a connection may have streams.
#[derive(Debug, Clone)]
pub(crate) struct Requests(Sender<Request>);

/// What was taken.
#[derive(Debug)]
pub(crate) struct Taken(Receiver<Request>);

/// An executor for one connection, and what it takes.
pub(crate) fn requests() -> (Requests, Taken) {
    let (sender, receiver) = channel();
    (Requests(sender), Taken(receiver))
}

impl<F> Executor<F> for Requests
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, request: F) {
        // Not taken only after the connection's end, which is the request's too.
        let _ = self.0.send(Box::pin(request));
    }
}

/// Runs a connection to its end, and the requests that it hands out meanwhile. Those that are not over by
/// then end with it: nobody is there for their answers.
pub(crate) async fn drive<C: Future + Send>(connection: C, taken: Taken) -> C::Output {
    let mut all = FuturesUnordered::new();
    all.push(Driven::Connection(Box::pin(connection)));
    poll_fn(move |cx| {
        loop {
            while let Ok(request) = taken.0.try_recv() {
                all.push(Driven::Request(request));
            }
            match all.poll_next_unpin(cx) {
                Poll::Ready(Some(Some(output))) => return Poll::Ready(output),
                Poll::Ready(_) => {}
                Poll::Pending => match taken.0.try_recv() {
                    Ok(request) => all.push(Driven::Request(request)),
                    Err(_) => return Poll::Pending,
                },
            }
        }
    })
    .await
}

enum Driven<C> {
    Connection(Pin<Box<C>>),
    Request(Request),
}

impl<C: Future> Future for Driven<C> {
    /// The connection's end; none is a request's.
    type Output = Option<C::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Connection(connection) => connection.as_mut().poll(cx).map(Some),
            Self::Request(request) => request.as_mut().poll(cx).map(|()| None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_request_runs_beside_its_connection() {
        let (requests, taken) = requests();
        let (answered, answer) = oneshot::channel();
        let connection = async move {
            // The second is handed out by what woke for the first.
            let (first, second) = oneshot::channel();
            requests.execute(async move {
                let _ = first.send(1);
            });
            let one = second.await.unwrap();
            requests.execute(async move {
                let _ = answered.send(one + 1);
            });
            answer.await.unwrap()
        };
        assert_eq!(drive(connection, taken).await, 2);
    }

    #[tokio::test]
    async fn a_request_ends_with_its_connection() {
        let (requests, taken) = requests();
        let held = Arc::new(());
        let (begun, begins) = oneshot::channel();
        let holds = Arc::clone(&held);
        let connection = async move {
            requests.execute(async move {
                let _holds = holds;
                let _ = begun.send(());
                std::future::pending::<()>().await;
            });
            begins.await.unwrap();
        };
        drive(connection, taken).await;
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
