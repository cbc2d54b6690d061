//! Ports of the machine that several processes may hold at once: the old and the new one of an update.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// A port that is bound and does not listen yet. It has a socket for each thread, among which the
/// kernel spreads connections.
#[derive(Debug)]
pub(crate) struct Port {
    sockets: Vec<Socket>,
    address: SocketAddr,
}

impl Port {
    /// Binds `count` sockets to a port that other processes of the same user may hold too.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub(crate) fn share(address: SocketAddr, count: usize) -> io::Result<Self> {
        let first = bind(address, |first| {
            first.set_reuse_address(true)?;
            first.set_reuse_port(true)
        })?;
        Self::with_others(first, count)
    }

    /// Binds `count` sockets to a port of `ports` that no other process holds, and that none that asks
    /// like this will be given.
    ///
    /// # Errors
    ///
    /// What the kernel says of the last, where none is free.
    pub(crate) fn alone(ip: IpAddr, ports: RangeInclusive<u16>, count: usize) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for port in ports {
            match bind(SocketAddr::new(ip, port), |_| Ok(())) {
                Ok(first) => {
                    // From here on our own other sockets may join.
                    first.set_reuse_port(true)?;
                    return Self::with_others(first, count);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn with_others(first: Socket, count: usize) -> io::Result<Self> {
        let address = first.local_addr()?;
        let missing = io::ErrorKind::AddrNotAvailable;
        let address = address.as_socket().ok_or(missing)?;
        let mut sockets = vec![first];
        for _ in 1..count {
            sockets.push(bind(address, |other| other.set_reuse_port(true))?);
        }
        Ok(Self { sockets, address })
    }

    /// The address that was bound.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens. From now on the kernel gives new connections to these sockets and no longer to those
    /// of an older process, which goes on with what it has accepted.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub(crate) fn listen(self) -> io::Result<Vec<TcpListener>> {
        for socket in &self.sockets {
            socket.listen(BACKLOG)?;
        }
        if let Some(last) = self.sockets.last() {
            prefer_newest(last, self.sockets.len());
        }
        Ok(self.sockets.into_iter().map(TcpListener::from).collect())
    }
}

/// `[::]` is all addresses, as for Go: IPv4's too, and those alone where there is no IPv6.
fn bind(address: SocketAddr, prepare: impl Fn(&Socket) -> io::Result<()>) -> io::Result<Socket> {
    let bind = |address: SocketAddr| {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        prepare(&socket)?;
        socket.bind(&address.into())?;
        Ok(socket)
    };
    bind(address).or_else(|error: io::Error| match error.raw_os_error() {
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL) if address.ip() == Ipv6Addr::UNSPECIFIED => {
            bind(SocketAddr::new(
                Ipv4Addr::UNSPECIFIED.into(),
                address.port(),
            ))
        }
        _ => Err(error),
    })
}

/// Has the kernel choose among the last `count` sockets of the port, if an older process has as many
/// before them; where that is wrong it spreads connections over all, as without this.
///
/// The sockets of a port are numbered in the order in which they began to listen; a program of classic
/// BPF gives the number, and a number that no socket has leaves the choice to the kernel.
fn prefer_newest(socket: &Socket, count: usize) {
    /// `SKF_AD_OFF + SKF_AD_RANDOM`: a random number.
    const RANDOM: u32 = (-0x1000_i32 + 56).cast_unsigned();
    let count = u32::try_from(count).unwrap_or(1);
    let step = |code, k| libc::sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    };
    // A = random; A %= count; A += count; return A
    let mut steps = [
        step(0x20, RANDOM),
        step(0x94, count),
        step(0x04, count),
        step(0x16, 0),
    ];
    let program = libc::sock_fprog {
        len: 4,
        filter: steps.as_mut_ptr(),
    };
    let length = libc::socklen_t::try_from(size_of_val(&program)).unwrap_or(0);
    // SAFETY: the descriptor is open for as long as `socket` is borrowed; the kernel reads
    // `sock_fprog` and the four instructions that it points to, and both live until it has.
    #[allow(unsafe_code)]
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            length,
        )
    };
    if status != 0 {
        let error = io::Error::last_os_error();
        tracing::debug!(%error, "an older process goes on to get new connections");
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpStream;

    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// How many connections wait at each.
    fn waiting(listeners: &[TcpListener]) -> Vec<usize> {
        let count = |listener: &TcpListener| std::iter::from_fn(|| listener.accept().ok()).count();
        listeners.iter().map(count).collect()
    }

    fn connect(address: SocketAddr) {
        for _ in 0..64 {
            TcpStream::connect(address).unwrap();
        }
    }

    #[test]
    fn the_newest_gets_new_connections() {
        let old = Port::share(SocketAddr::new(LOOPBACK, 0), 2).unwrap();
        let address = old.address();
        let old = old.listen().unwrap();
        connect(address);
        let at_old = waiting(&old);
        assert!(at_old.iter().all(|count| *count > 0), "{at_old:?}");
        let new = Port::share(address, 2).unwrap();
        connect(address);
        assert_eq!(
            waiting(&old).iter().sum::<usize>(),
            64,
            "it does not listen yet"
        );
        let new = new.listen().unwrap();
        connect(address);
        assert_eq!(waiting(&old), [0, 0]);
        let at_new = waiting(&new);
        assert!(at_new.iter().all(|count| *count > 0), "{at_new:?}");
        drop(old);
        connect(address);
        assert_eq!(waiting(&new).iter().sum::<usize>(), 64);
    }

    #[test]
    fn all_addresses_are_ipv4s_too() {
        let port = Port::share(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0), 2).unwrap();
        let address = SocketAddr::new(LOOPBACK, port.address().port());
        let listeners = port.listen().unwrap();
        connect(address);
        assert_eq!(waiting(&listeners).iter().sum::<usize>(), 64);
    }

    #[test]
    fn alone_is_alone() {
        let free = Port::share(SocketAddr::new(LOOPBACK, 0), 1).unwrap();
        let port = free.address().port();
        drop(free);
        let mine = Port::alone(LOOPBACK, port..=port, 2).unwrap();
        let refused = Port::alone(LOOPBACK, port..=port, 2).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        let mine = mine.listen().unwrap();
        let refused = Port::alone(LOOPBACK, port..=port, 2).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        connect(SocketAddr::new(LOOPBACK, port));
        let at_mine = waiting(&mine);
        assert!(at_mine.iter().all(|count| *count > 0), "{at_mine:?}");
    }
}
