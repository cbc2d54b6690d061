//! What the kernel knows of a connection that we do not read from or write to right now.

use std::os::fd::AsRawFd;
use std::time::Duration;

use tokio::net::TcpStream;

/// A peer that acknowledges nothing for so long is gone: a machine without power, a cut cable. The
/// kernel probes a closed window at least every 120 s (`TCP_RTO_MAX`), so that a peer that is alive
/// and merely reads nothing is heard of more often than this.
const SILENT: Duration = Duration::from_secs(150);

/// TCP_INFO, as far as it is used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TcpInfo {
    state: u8,
    unacknowledged: bool,
    last_ack: Duration,
}

impl TcpInfo {
    /// Asks the kernel. `None` where it does not answer.
    pub(crate) fn of(tcp: &TcpStream) -> Option<Self> {
        let mut info = std::mem::MaybeUninit::<libc::tcp_info>::zeroed();
        let mut len = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
        // SAFETY: the descriptor is open for as long as `tcp` is borrowed; `info` is `len` bytes
        // that the kernel may write; every field of `tcp_info` is an integer, so any bytes, and the
        // zeroes that stay where an old kernel writes less, are a valid value.
        #[allow(unsafe_code)]
        let info = unsafe {
            let status = libc::getsockopt(
                tcp.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                info.as_mut_ptr().cast(),
                &raw mut len,
            );
            if status != 0 {
                return None;
            }
            info.assume_init()
        };
        Some(Self {
            state: info.tcpi_state,
            unacknowledged: info.tcpi_unacked > 0 || info.tcpi_probes > 0,
            last_ack: Duration::from_millis(info.tcpi_last_ack_recv.into()),
        })
    }

    /// Whether the peer has closed its side or reset the connection, bytes that nobody read yet
    /// notwithstanding.
    pub(crate) fn peer_closed(self) -> bool {
        const TCP_CLOSE: u8 = 7;
        const TCP_CLOSE_WAIT: u8 = 8;
        matches!(self.state, TCP_CLOSE | TCP_CLOSE_WAIT)
    }

    /// Whether the peer's kernel answers nothing any more, though it owes an answer.
    pub(crate) fn peer_is_silent(self) -> bool {
        self.unacknowledged && self.last_ack >= SILENT
    }
}
