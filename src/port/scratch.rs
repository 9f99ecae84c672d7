//! Buffers that every port of a thread shares.
//!
//! A port reads and writes within one poll, so a chunk never has to outlive it: one buffer per
//! thread serves a thousand ports, and only what cannot be written at once is copied.

use std::cell::Cell;

/// Bytes that are read from a device or a client at a time, at the most.
pub(crate) const READ_SIZE: usize = 64 * 1024;

thread_local! {
    static READ: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static ENCODE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Runs `work` with a buffer of [`READ_SIZE`] bytes.
pub(crate) fn with_read<R>(work: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut buf = READ.take();
    if buf.len() < READ_SIZE {
        buf.resize(READ_SIZE, 0);
    }
    let result = work(&mut buf);
    READ.set(buf);
    result
}

/// Runs `work` with an empty vector whose memory is reused.
pub(crate) fn with_encode<R>(work: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buf = ENCODE.take();
    buf.clear();
    let result = work(&mut buf);
    ENCODE.set(buf);
    result
}
