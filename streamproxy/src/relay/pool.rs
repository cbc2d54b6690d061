//! Read buffers that belong to worker threads, not to sessions: an idle session holds none.

use std::cell::RefCell;

/// A read buffer; `len` bytes of it are filled.
pub(crate) type Buffer = Vec<u8>;

/// Bytes of one buffer: four full TLS records, and two of Kubernetes' 32 KiB chunks.
pub(crate) const CAPACITY: usize = 64 << 10;

/// Buffers that a thread keeps. A task that runs needs at most four.
const KEPT: usize = 8;

thread_local! {
    static FREE: RefCell<Vec<Buffer>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer of at least [`CAPACITY`] bytes.
pub(crate) fn take() -> Buffer {
    FREE.with_borrow_mut(Vec::pop)
        .unwrap_or_else(|| Vec::with_capacity(CAPACITY))
}

/// Gives a buffer back. One that grew (a stalled upload) is freed instead.
pub(crate) fn give(mut buffer: Buffer) {
    if buffer.capacity() < CAPACITY || buffer.capacity() > 2 * CAPACITY {
        return;
    }
    FREE.with_borrow_mut(|free| {
        if free.len() < KEPT {
            buffer.clear();
            free.push(buffer);
        }
    });
}
