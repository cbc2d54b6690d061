//! The netlink socket that owns a table.

use std::io::{self, Read};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::message::{Batch, answers};

/// How long the kernel may take; it answers before `send` returns.
const LATE: Duration = Duration::from_secs(2);

/// Several answers, each with the message that it is about.
const ANSWERS: usize = 16 << 10;

/// A socket toward nftables. What it owns goes with it.
#[derive(Debug)]
pub(super) struct Owner(Socket);

/// The kernel would not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum KernelError {
    /// Not allowed.
    #[error("it needs the capability NET_ADMIN")]
    NotAllowed,
    /// It does not know tables with owners.
    #[error("it needs Linux 5.12 or later with nf_tables: {0}")]
    TooOld(io::Error),
    /// It does not know something else.
    #[error(
        "the kernel does not take {subject}: {error}; are its modules nf_tables, nft_chain_nat, nft_redir, nft_fib_inet and nft_reject_inet there?"
    )]
    Refused {
        /// What it was about.
        subject: &'static str,
        /// Its answer.
        error: io::Error,
    },
    /// Nothing was said, or nothing understood.
    #[error("netlink: {0}")]
    Socket(#[from] io::Error),
}

impl Owner {
    /// Opens a socket, in the network namespace of the thread that calls.
    pub(super) fn open() -> Result<Self, KernelError> {
        let protocol = Protocol::from(libc::NETLINK_NETFILTER);
        let domain = Domain::from(libc::AF_NETLINK);
        let socket = Socket::new(domain, Type::RAW, Some(protocol)).map_err(|error| match error
            .raw_os_error()
        {
            Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => KernelError::TooOld(error),
            _ => error.into(),
        })?;
        socket.set_read_timeout(Some(LATE))?;
        Ok(Self(socket))
    }

    /// Has a batch done.
    ///
    /// # Errors
    ///
    /// What the kernel says of the first message that it does not take: then it has done nothing.
    pub(super) fn commit(&self, batch: Batch) -> Result<(), KernelError> {
        let (bytes, subjects) = batch.finish();
        self.0.send(&bytes)?;
        let mut left = subjects.len();
        let mut buffer = vec![0; ANSWERS];
        while left > 0 {
            let read = (&self.0).read(&mut buffer)?;
            for answer in answers(buffer.get(..read).unwrap_or_default()) {
                let error = io::Error::from_raw_os_error(answer.errno);
                let index = usize::try_from(answer.number).unwrap_or(0);
                let subject = index.checked_sub(1).and_then(|index| subjects.get(index));
                match (answer.errno, subject) {
                    (0, _) => left = left.saturating_sub(1),
                    (libc::EPERM | libc::EACCES, None | Some(&"the table")) => {
                        return Err(KernelError::NotAllowed);
                    }
                    (_, None | Some(&"the table")) => return Err(KernelError::TooOld(error)),
                    (_, Some(subject)) => return Err(KernelError::Refused { subject, error }),
                }
            }
        }
        Ok(())
    }
}
