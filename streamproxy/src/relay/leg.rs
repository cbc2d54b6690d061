//! One connection of a session: its input buffer, and the chunks on their way out.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BufMut;
use streamway_translate::{Chunk, Transmit};
use tokio::io::ReadBuf;
use tokio_util::io::poll_read_buf;

use super::Stream;
use super::pool::{self, Buffer};
use super::tcp_info::TcpInfo;
use crate::stream::Opened;

/// Chunks that one vectored write takes.
const BATCH: usize = 32;

/// One side of a session.
#[derive(Debug)]
pub(crate) struct Leg<S> {
    stream: S,
    /// Bytes that were read and that chunks of the other leg may still point into.
    pub(super) buffer: Buffer,
    /// Bytes that came before the session began; handed out by the first `read`.
    early: Vec<u8>,
    writing: VecDeque<Chunk>,
    /// Bytes of the front of `writing` that are written.
    written: usize,
    /// The stream holds bytes that it has not given to the kernel.
    pub(super) flushing: bool,
    refuses: bool,
    closed: bool,
}

impl<S: Stream> Leg<S> {
    pub(crate) fn new(opened: Opened<S>) -> Self {
        Self {
            stream: opened.stream,
            buffer: Buffer::new(),
            early: opened.early,
            writing: VecDeque::new(),
            written: 0,
            flushing: false,
            refuses: false,
            closed: false,
        }
    }

    pub(super) fn info(&self) -> Option<TcpInfo> {
        TcpInfo::of(self.stream.tcp())
    }

    /// Whether every chunk is with the stream, so that the other leg's buffer is free.
    pub(super) fn took_all(&self, out: &Transmit) -> bool {
        self.writing.is_empty() && out.is_empty()
    }

    /// Gives the input buffer back.
    pub(super) fn release(&mut self) {
        if self.buffer.capacity() > 0 {
            pool::give(std::mem::take(&mut self.buffer));
        }
    }

    /// Takes no more: what waits is dropped, and what comes later too.
    pub(super) fn stop_writing(&mut self, out: &mut Transmit) {
        self.refuses = true;
        self.writing.clear();
        self.written = 0;
        self.flushing = false;
        out.clear();
    }

    /// Reads up to `most` bytes behind those that the buffer holds. Returns where the new ones
    /// start; at the end of the stream there are none.
    pub(super) fn read(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        let from = self.buffer.len();
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            self.buffer.extend_from_slice(&early);
            return Poll::Ready(Ok(from));
        }
        if self.buffer.capacity() == 0 {
            self.buffer = pool::take();
        }
        let most = most.min(pool::CAPACITY);
        if self.buffer.capacity() - from < most {
            self.buffer.reserve(most);
        }
        // As much as the stream has: fewer, larger writes.
        let mut result = Poll::Pending;
        loop {
            let room = most - (self.buffer.len() - from);
            if room == 0 {
                break;
            }
            let mut target = (&mut self.buffer).limit(room);
            match poll_read_buf(Pin::new(&mut self.stream), cx, &mut target) {
                Poll::Ready(Ok(bytes)) => {
                    result = Poll::Ready(Ok(from));
                    if bytes == 0 {
                        break;
                    }
                }
                Poll::Ready(Err(error)) if result.is_pending() => return Poll::Ready(Err(error)),
                // An error is met again by the next read.
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        if result.is_pending() && from == 0 {
            self.release();
        }
        result
    }

    /// Writes what it can of `out`; payload ranges are of `payload`. Whether anything moved.
    pub(super) fn write(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Transmit,
        payload: &[u8],
    ) -> io::Result<bool> {
        if self.refuses {
            out.clear();
            return Ok(false);
        }
        let mut moved = false;
        loop {
            while self.writing.len() < BATCH
                && let Some(chunk) = out.pop()
            {
                self.writing.push_back(chunk);
            }
            if self.writing.is_empty() {
                break;
            }
            let mut slices = [IoSlice::new(&[]); 2 * BATCH];
            let count = gather(&self.writing, self.written, payload, &mut slices);
            let slices = slices.get(..count).unwrap_or_default();
            match Pin::new(&mut self.stream).poll_write_vectored(cx, slices) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(bytes)) => {
                    self.advance(bytes);
                    self.flushing = true;
                    moved = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(moved),
            }
        }
        if self.writing.capacity() > 0 {
            self.writing = VecDeque::new();
        }
        if self.flushing && Pin::new(&mut self.stream).poll_flush(cx)?.is_ready() {
            self.flushing = false;
        }
        Ok(moved)
    }

    /// Closes our side, once everything is written. Whether it is closed.
    pub(super) fn close(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.closed {
            self.closed = Pin::new(&mut self.stream).poll_shutdown(cx).is_ready();
        }
        self.closed
    }

    /// Reads and drops. Whether the peer has closed its side too.
    pub(super) fn drain(&mut self, cx: &mut Context<'_>, still_read: &Transmit) -> bool {
        if still_read.is_empty() {
            self.release();
        }
        let mut scratch = [0_u8; 4096];
        loop {
            let mut target = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut target) {
                Poll::Ready(Ok(())) if !target.filled().is_empty() => {}
                Poll::Ready(_) => return true,
                Poll::Pending => return false,
            }
        }
    }

    fn advance(&mut self, mut bytes: usize) {
        while let Some(front) = self.writing.front() {
            let left = front.len() - self.written;
            if bytes < left {
                self.written += bytes;
                return;
            }
            bytes -= left;
            self.written = 0;
            self.writing.pop_front();
        }
    }
}

/// The unwritten bytes of `chunks`, as slices; how many there are.
fn gather<'a>(
    chunks: &'a VecDeque<Chunk>,
    mut skip: usize,
    payload: &'a [u8],
    slices: &mut [IoSlice<'a>],
) -> usize {
    let mut count = 0;
    for chunk in chunks {
        let parts = match chunk {
            Chunk::Framed {
                head,
                payload: range,
            } => [
                head.as_slice(),
                payload.get(range.clone()).unwrap_or_default(),
            ],
            Chunk::Own(bytes) => [bytes.as_slice(), &[]],
            _ => continue,
        };
        for part in parts {
            let skipped = skip.min(part.len());
            skip -= skipped;
            let part = part.get(skipped..);
            if let (Some(part), Some(slot)) =
                (part.filter(|part| !part.is_empty()), slices.get_mut(count))
            {
                *slot = IoSlice::new(part);
                count += 1;
            }
        }
    }
    count
}
