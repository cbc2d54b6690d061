//! An HTTP/2 connection and its requests as one task.
//!
//! hyper hands each request's future to an executor. As a task of its own it would cost an allocation and
//! two rounds through the scheduler for each request, and all of them are the connection's thread's anyway.

use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::stream::FuturesUnordered;
use futures_util::task::AtomicWaker;
use futures_util::{FutureExt, StreamExt};
use hyper::rt::Executor;

/// How often a turn goes around, before other connections of the thread have theirs.
const ROUNDS: usize = 32;

/// How many requests a turn begins.
const NEW: usize = 32;

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
        // One that panics resets its own stream, by being dropped, and no other.
        let request = AssertUnwindSafe(request).catch_unwind().map(drop);
        // Not taken only after the connection's end, which is the request's too.
        let _ = self.0.send(Box::pin(request));
    }
}

/// Runs a connection to its end, and the requests that it hands out meanwhile. Those that are not over by
/// then end with it: nobody is there for their answers.
pub(crate) fn drive<C: Future + Send>(
    connection: C,
    taken: Taken,
) -> impl Future<Output = C::Output> + Send {
    let mut connection = Box::pin(connection);
    let mut requests = FuturesUnordered::new();
    let turn = Arc::new(Turn::default());
    let (to_connection, to_requests) = (Part::of(&turn), Part::of(&turn));
    to_connection.woken.store(true, SeqCst);
    let [connection_waker, requests_waker] =
        [&to_connection, &to_requests].map(|part| Waker::from(Arc::clone(part)));
    poll_fn(move |cx| {
        turn.task.register(cx.waker());
        turn.now.store(true, SeqCst);
        let mut room = NEW;
        for _ in 0..ROUNDS {
            // First, so that requests that are always busy leave it what tokio lets a task do in one turn:
            // it writes their answers, and takes what the peer sent.
            if to_connection.woken.swap(false, SeqCst) {
                let cx = &mut Context::from_waker(&connection_waker);
                if let Poll::Ready(output) = connection.as_mut().poll(cx) {
                    return Poll::Ready(output);
                }
            }
            let before = requests.len();
            requests.extend(taken.0.try_iter().take(room));
            let new = requests.len() - before;
            room -= new;
            if to_requests.woken.swap(false, SeqCst) || new > 0 {
                let cx = &mut Context::from_waker(&requests_waker);
                while let Poll::Ready(Some(())) = requests.poll_next_unpin(cx) {}
            }
            if room == 0 {
                // More may be there.
                break;
            }
            let woken = || to_requests.woken.load(SeqCst) || to_connection.woken.load(SeqCst);
            if !woken() {
                turn.now.store(false, SeqCst);
                // Another thread may have seen the turn just before its end.
                if !woken() {
                    return Poll::Pending;
                }
                turn.now.store(true, SeqCst);
            }
        }
        turn.now.store(false, SeqCst);
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// The task's turn. What is woken in it is seen before its end, and costs no other.
#[derive(Debug, Default)]
struct Turn {
    now: AtomicBool,
    task: AtomicWaker,
}

/// A part of the task, the connection or its requests: each is polled only when it was woken.
#[derive(Debug)]
struct Part {
    woken: AtomicBool,
    turn: Arc<Turn>,
}

impl Part {
    fn of(turn: &Arc<Turn>) -> Arc<Self> {
        Arc::new(Self {
            woken: AtomicBool::new(false),
            turn: Arc::clone(turn),
        })
    }
}

impl Wake for Part {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, SeqCst);
        if !self.turn.now.load(SeqCst) {
            self.turn.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

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

    #[tokio::test]
    #[allow(clippy::panic, reason = "what is tested")]
    async fn a_request_that_panics_ends_no_other() {
        let (requests, taken) = requests();
        let (answered, answer) = oneshot::channel();
        let (panicked, panics) = oneshot::channel::<()>();
        let connection = async move {
            requests.execute(async move {
                let _dropped = panicked;
                panic!("a request that panics, as this test wants");
            });
            requests.execute(async move {
                // What the first held is gone: its stream would be reset.
                panics.await.unwrap_err();
                let _ = answered.send(());
            });
            answer.await
        };
        drive(connection, taken).await.unwrap();
    }

    #[tokio::test]
    async fn requests_that_end_at_once_leave_turns_to_others() {
        let (requests, taken) = requests();
        let turns = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&turns);
        let other = tokio::spawn(async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
        let mut left = 100 * ROUNDS;
        // As a client whose requests are all there, and answered without a wait.
        let connection = poll_fn(move |cx| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            let answered = cx.waker().clone();
            requests.execute(async move { answered.wake() });
            Poll::Pending
        });
        drive(connection, taken).await;
        other.abort();
        assert!(turns.load(Ordering::Relaxed) > 50, "{turns:?}");
    }
    #[tokio::test]
    async fn a_burst_of_requests_is_begun_in_several_turns() {
        let (requests, taken) = requests();
        let begun = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 * NEW {
            let begun = Arc::clone(&begun);
            requests.execute(async move {
                begun.fetch_add(1, Ordering::Relaxed);
                std::future::pending::<()>().await;
            });
        }
        let mut driven = Box::pin(drive(std::future::pending::<()>(), taken));
        for turn in 1..=4 {
            assert!(futures_util::poll!(driven.as_mut()).is_pending());
            assert_eq!(begun.load(Ordering::Relaxed), turn.min(3) * NEW);
        }
    }

    #[tokio::test]
    async fn a_connection_goes_on_beside_requests_that_are_always_busy() {
        let (requests, taken) = requests();
        let (sender, mut received) = tokio::sync::mpsc::channel(1000);
        for number in 0..1000 {
            sender.try_send(number).unwrap();
        }
        requests.execute(async {
            loop {
                tokio::task::coop::consume_budget().await;
            }
        });
        let connection = async {
            for number in 0..1000 {
                assert_eq!(received.recv().await, Some(number));
            }
        };
        let driven = drive(connection, taken);
        let over = tokio::time::timeout(std::time::Duration::from_secs(30), driven).await;
        over.unwrap();
    }
}
