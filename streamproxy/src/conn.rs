//! A TCP connection that is read in large steps.
//!
//! rustls asks for 4 KiB at a time (0.23.46, `msgs/deframer/buffers.rs`), which costs five system
//! calls for a full record. This reads 64 KiB at once into a buffer that is borrowed from the
//! worker thread while it holds bytes, so an idle connection holds none.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

use crate::relay::pool::{self, Buffer};

/// A TCP connection with read-ahead.
#[derive(Debug)]
pub(crate) struct Conn {
    tcp: TcpStream,
    ahead: Buffer,
    /// Bytes of `ahead` that were handed out.
    taken: usize,
}

impl Conn {
    /// Sends small writes at once: every write here is a whole TLS record.
    pub(crate) fn new(tcp: TcpStream) -> Self {
        // An option that cannot be set costs latency, not the connection.
        let _ = tcp.set_nodelay(true);
        Self {
            tcp,
            ahead: Buffer::new(),
            taken: 0,
        }
    }

    /// The socket, for its state and addresses.
    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.taken == this.ahead.len() {
            this.ahead = pool::take();
            this.taken = 0;
            match poll_read_buf(Pin::new(&mut this.tcp), cx, &mut this.ahead) {
                Poll::Ready(Ok(_)) => {}
                other => {
                    pool::give(std::mem::take(&mut this.ahead));
                    ready!(other)?;
                }
            }
        }
        let rest = this.ahead.get(this.taken..).unwrap_or_default();
        let bytes = rest
            .get(..rest.len().min(buf.remaining()))
            .unwrap_or_default();
        buf.put_slice(bytes);
        this.taken += bytes.len();
        if this.taken == this.ahead.len() {
            pool::give(std::mem::take(&mut this.ahead));
            this.taken = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
