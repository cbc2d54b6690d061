//! Has the kernel redirect what comes for the kubelet's port to the agent's, for as long as the agent
//! is well.
//!
//! A thread of its own holds the table (`redirect/table.rs`) and sends its beats, each after a look at
//! the threads that serve. What ends how:
//!
//! | the agent | new connections go to the kubelet |
//! |---|---|
//! | lets go ([`Wanted::Kubelet`]) | at once; sessions go on, and the table goes with the last of them |
//! | dies | at once: the kernel removes the table with its socket |
//! | hangs, is stopped, gets no CPU | 2 s after its last beat; back with the next |

mod message;
mod socket;
mod table;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::beats::Beats;
use socket::{KernelError, Owner};
use table::{BEAT_ALIVE, BEAT_OPEN, Table};

/// How often a beat is sent: several in the time that one counts.
const EVERY: Duration = Duration::from_millis(400);

/// How long after a failure the kernel is asked again.
const RETRY: Duration = Duration::from_secs(5);

/// Where the node's traffic for the kubelet is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// At the kubelet.
    Kubelet,
    /// At the agent.
    Agent,
}

/// Where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// To the kubelet, as wanted.
    Kubelet,
    /// To the agent, as wanted.
    Agent,
    /// To the kubelet, though the agent is wanted, because of this.
    Failed(String),
}

/// What is redirected, and to whom.
#[derive(Debug, Clone)]
pub(super) struct Redirection {
    /// The kubelet's port.
    pub(super) kubelet: u16,
    /// The agent's, which nobody else shares.
    pub(super) agent: u16,
    /// Whether the agent listens on IPv6 too.
    pub(super) ipv6: bool,
    /// What serves.
    pub(super) beats: Beats,
}

/// The thread that holds the table. It ends, and the table with it, when this is dropped.
#[derive(Debug)]
pub(super) struct Redirect {
    wishes: SyncSender<Wanted>,
    state: watch::Receiver<State>,
    obstacle: Option<String>,
}

impl Redirect {
    /// Starts the thread; `in_use` tells whether connections are left that may have been redirected.
    ///
    /// # Errors
    ///
    /// No thread can be had.
    pub(super) fn start(
        redirection: Redirection,
        in_use: impl Fn() -> bool + Send + 'static,
    ) -> io::Result<Self> {
        // A table that gets no beats changes nothing. Its socket is kept: it was opened before any
        // connection, and when a process dies the kernel closes its files last one first. So
        // connections are closed, and their ends translated, before the table goes.
        let tried = Owner::open().and_then(|owner| Held::new(&redirection, owner));
        let obstacle = tried.err().map(|error| cannot(&error));
        let spare = Owner::open().ok();
        let (wishes, wished) = sync_channel(16);
        let (told, state) = watch::channel(State::Kubelet);
        let mut keeper = Keeper {
            redirection,
            in_use,
            told,
            spare,
            held: None,
            retry: None,
        };
        std::thread::Builder::new()
            .name("redirect".to_owned())
            .spawn(move || keeper.run(&wished))?;
        Ok(Self {
            wishes,
            state,
            obstacle,
        })
    }

    /// Why a table could not be had when this started.
    pub(super) fn obstacle(&self) -> Option<&str> {
        self.obstacle.as_deref()
    }

    /// Says where traffic is wanted. Wishing again changes nothing.
    pub(super) fn want(&self, wanted: Wanted) {
        match self.wishes.try_send(wanted) {
            Ok(()) => {}
            // It is called again and again, with the last wish at last.
            Err(TrySendError::Full(_)) => tracing::warn!("the redirection's thread is behind"),
            Err(TrySendError::Disconnected(_)) => {
                tracing::error!("the redirection's thread is gone")
            }
        }
    }

    /// Where it goes, from now on.
    pub(super) fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }
}

fn cannot(error: &KernelError) -> String {
    format!("the redirection cannot be made: {error}")
}

struct Keeper<F> {
    redirection: Redirection,
    in_use: F,
    told: watch::Sender<State>,
    /// The next table's.
    spare: Option<Owner>,
    held: Option<Held>,
    /// Not before.
    retry: Option<Instant>,
}

/// A table that stands.
struct Held {
    /// Declared first, so that it goes first: with it the table.
    owner: Owner,
    table: Table,
    beats: UdpSocket,
    /// Beats were sent that redirect new connections.
    open: bool,
}

impl<F: Fn() -> bool> Keeper<F> {
    fn run(&mut self, wished: &Receiver<Wanted>) {
        let mut wanted = Wanted::Kubelet;
        loop {
            match wished.recv_timeout(EVERY) {
                Ok(wish) => wanted = wish,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let state = match wanted {
                Wanted::Agent => self.redirect(),
                Wanted::Kubelet => self.release(),
            };
            self.tell(state);
        }
    }

    fn redirect(&mut self) -> State {
        if self.held.is_none() {
            if self.retry.is_some_and(|at| Instant::now() < at) {
                return self.told.borrow().clone();
            }
            let owner = self.spare.take().map_or_else(Owner::open, Ok);
            match owner.and_then(|owner| Held::new(&self.redirection, owner)) {
                Ok(held) => self.held = Some(held),
                Err(error) => {
                    self.retry = Some(Instant::now() + RETRY);
                    return State::Failed(cannot(&error));
                }
            }
        }
        if !self.redirection.beats.are_fresh() {
            return State::Failed("the threads that serve do not answer".to_owned());
        }
        let Some(held) = &mut self.held else {
            return State::Kubelet;
        };
        held.open = true;
        match held.beat(BEAT_ALIVE).and_then(|()| held.beat(BEAT_OPEN)) {
            Ok(()) => State::Agent,
            Err(error) => {
                self.let_go();
                State::Failed(format!("the redirection was lost: {error}"))
            }
        }
    }

    fn release(&mut self) -> State {
        self.retry = None;
        let Some(held) = &mut self.held else {
            return State::Kubelet;
        };
        let closed = if held.open {
            held.open = false;
            held.owner.commit(held.table.close())
        } else {
            Ok(())
        };
        let beaten = !self.redirection.beats.are_fresh() || held.beat(BEAT_ALIVE).is_ok();
        if let Err(error) = &closed {
            tracing::warn!(%error, "the redirection ends with its table");
        }
        // Without its table the kernel may stop translating what was redirected.
        if closed.is_err() || !beaten || !(self.in_use)() {
            self.let_go();
        }
        State::Kubelet
    }

    fn let_go(&mut self) {
        self.held = None;
        // It takes the number of the one before, the lowest that is free.
        self.spare = Owner::open().ok();
    }

    fn tell(&self, state: State) {
        self.told.send_if_modified(|now| {
            if *now == state {
                return false;
            }
            match &state {
                State::Kubelet => tracing::info!("new connections go to the kubelet"),
                State::Agent => tracing::info!(
                    kubelet = self.redirection.kubelet,
                    agent = self.redirection.agent,
                    "new connections for the kubelet's port come here"
                ),
                State::Failed(reason) => {
                    tracing::warn!(reason, "new connections go to the kubelet")
                }
            }
            *now = state;
            true
        });
    }
}

impl Held {
    fn new(redirection: &Redirection, owner: Owner) -> Result<Self, KernelError> {
        let beats = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let table = Table {
            name: format!("streamway-{:08x}", RandomState::new().hash_one(0) >> 32),
            kubelet: redirection.kubelet,
            agent: redirection.agent,
            ipv6: redirection.ipv6,
            beats: beats.local_addr()?.port(),
        };
        owner.commit(table.create())?;
        Ok(Self {
            owner,
            table,
            beats,
            open: false,
        })
    }

    /// Sends a beat. That it does not get away proves that the table's rule is there.
    fn beat(&self, destination: u16) -> io::Result<()> {
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, destination);
        match self.beats.send_to(&[], to) {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(io::Error::other("the table is gone")),
        }
    }
}
