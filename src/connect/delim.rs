//! Messages with marks around them (`msgdelim`), as gensio writes them.
//!
//! A message is `FE 01` payload checksum `FE 01`; the mark at its end begins the next one. FE inside
//! is `FE 00`. The checksum is CRC-16/XMODEM (polynomial 0x1021, start 0) over the payload, high byte
//! first. This was found by watching gensio 2.6.2.

use super::Channel;
use super::filter::Filter;
use crate::port::outbuf::OutBuf;
use crate::serial::IoFailure;
use std::task::{Context, Poll, ready};

const ESCAPE: u8 = 0xfe;
const ESCAPED: u8 = 0;
const MARK: u8 = 1;

/// Most bytes of payload in a message that we write: gensio's buffers are 128 bytes by default, with
/// the checksum.
const WRITE_MAX: usize = 126;
/// Most bytes of a message that is read; longer ones are dropped.
const READ_MAX: usize = 64 * 1024 - 2;
/// Bytes read at a time.
const CHUNK: usize = 4 * 1024;
/// Rounds of reading without a message before others have their turn.
const ROUNDS: usize = 16;

/// CRC-16/XMODEM.
fn crc16(data: &[u8]) -> u16 {
    data.iter().fold(0, |crc, &byte| {
        (0..8).fold(
            crc ^ u16::from(byte) << 8,
            |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
            },
        )
    })
}

/// Finds messages in a stream.
#[derive(Debug)]
struct Finder {
    crc: bool,
    /// The last byte was [`ESCAPE`].
    escape: bool,
    /// What came since the last mark; `None` before the first one, and in a message too long.
    message: Option<Vec<u8>>,
}

impl Finder {
    /// Takes a byte; `Some` when it ends a good message that is not empty.
    fn feed(&mut self, byte: u8) -> Option<Vec<u8>> {
        match (std::mem::replace(&mut self.escape, byte == ESCAPE), byte) {
            (false, ESCAPE) => {}
            (true, MARK) => {
                let mut message = self.message.replace(Vec::new())?;
                if self.crc {
                    let payload = message.len().checked_sub(2)?;
                    let sum = u16::from_be_bytes([message[payload], message[payload + 1]]);
                    message.truncate(payload);
                    if crc16(&message) != sum {
                        return None;
                    }
                }
                return Some(message).filter(|message| !message.is_empty());
            }
            (true, ESCAPED) => self.push(ESCAPE),
            // nothing that gensio writes: whatever it belongs to is broken
            (true, _) => self.message = None,
            (false, byte) => self.push(byte),
        }
        None
    }

    fn push(&mut self, byte: u8) {
        if let Some(message) = &mut self.message {
            message.push(byte);
            if message.len() > READ_MAX + 2 {
                self.message = None;
            }
        }
    }
}

/// A channel of messages as a stream.
#[derive(Debug)]
pub(super) struct Delimited {
    below: Box<dyn Channel>,
    finder: Finder,
    raw: Box<[u8]>,
    /// Payload that was read and is not yet taken.
    ready: OutBuf,
    /// Ready for the wire.
    out: OutBuf,
    /// The mark in front of the first message is written.
    begun: bool,
}

impl Delimited {
    pub(super) fn new(below: Box<dyn Channel>, crc: bool) -> Self {
        Self {
            below,
            finder: Finder { crc, escape: false, message: None },
            raw: vec![0; CHUNK].into(),
            ready: OutBuf::default(),
            out: OutBuf::default(),
            begun: false,
        }
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoFailure>> {
        while !self.out.is_empty() {
            let count = ready!(self.below.poll_write(cx, self.out.pending()))?;
            self.out.consume(count);
        }
        Poll::Ready(Ok(()))
    }

    fn message(&mut self, payload: &[u8]) {
        let mut wire = Vec::with_capacity(payload.len() + 8);
        if !std::mem::replace(&mut self.begun, true) {
            wire.extend([ESCAPE, MARK]);
        }
        let sum = self.finder.crc.then(|| crc16(payload).to_be_bytes());
        for &byte in payload.iter().chain(sum.iter().flatten()) {
            wire.push(byte);
            if byte == ESCAPE {
                wire.push(ESCAPED);
            }
        }
        wire.extend([ESCAPE, MARK]);
        self.out.push(&wire);
    }
}

impl Filter for Delimited {
    fn below(&mut self) -> &mut dyn Channel {
        &mut *self.below
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoFailure>> {
        for _ in 0..ROUNDS {
            if !self.ready.is_empty() {
                let count = buf.len().min(self.ready.len());
                buf[..count].copy_from_slice(&self.ready.pending()[..count]);
                self.ready.consume(count);
                return Poll::Ready(Ok(count));
            }
            let count = ready!(self.below.poll_read(cx, &mut self.raw))?;
            for &byte in &self.raw[..count] {
                if let Some(message) = self.finder.feed(byte) {
                    self.ready.push(&message);
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, IoFailure>> {
        ready!(self.poll_out(cx))?;
        let piece = &data[..data.len().min(WRITE_MAX)];
        self.message(piece);
        if let Poll::Ready(Err(failure)) = self.poll_out(cx) {
            return Poll::Ready(Err(failure));
        }
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoFailure>> {
        ready!(self.poll_out(cx))?;
        self.below.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // a far end that is gone already needs nothing more
        let _ = ready!(self.poll_out(cx));
        self.below.poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::connector::Echo;
    use crate::connect::echo::Echoing;
    use proptest::prelude::*;

    fn find(stream: &[u8]) -> Vec<Vec<u8>> {
        let mut finder = Finder { crc: true, escape: false, message: None };
        stream.iter().filter_map(|&byte| finder.feed(byte)).collect()
    }

    #[test]
    fn messages_as_gensio_writes_them() {
        // recorded from gensio 2.6.2
        let recorded = [
            &b"\xfe\x01a\x7c\x87\xfe\x01"[..],
            b"123456789\x31\xc3\xfe\x01",
            b"\xfe\x00\xff\xfd\x00\x01\x02\x03\x36\xb2\xfe\x01",
            b"\x00\x00\x00\xfe\x01",
        ];
        let payloads = [&b"a"[..], b"123456789", b"\xfe\xff\xfd\x00\x01\x02\x03", b"\x00"];
        let mut channel = Delimited::new(Box::new(Echoing::new(&Echo { echoes: true, data: None })), true);
        for payload in payloads {
            channel.message(payload);
        }
        assert_eq!(channel.out.pending(), recorded.concat());
        assert_eq!(find(&recorded.concat()), payloads);
    }

    #[test]
    fn what_is_broken_is_dropped_and_the_rest_is_found() {
        let stream = b"lost\xfe\x01a\x7c\x87\xfe\x01bad12\xfe\x01x\xfe\x07y\xfe\x01\x7c\xfe\x01\xfe\x01a\x7c\x87\xfe\x01";
        assert_eq!(find(stream), [b"a", b"a"]);
    }

    proptest! {
        #[test]
        fn a_stream_comes_through(data in prop::collection::vec(prop_oneof![Just(ESCAPE), any::<u8>()], 1..2000), crc: bool) {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let echo = Echoing::new(&Echo { echoes: true, data: None });
            let mut channel: Box<dyn Channel> = Box::new(Delimited::new(Box::new(echo), crc));
            let (mut left, mut back) = (&data[..], Vec::new());
            let mut buf = [0; 300];
            while back.len() < data.len() {
                if let (false, Poll::Ready(count)) = (left.is_empty(), channel.poll_write(&mut cx, left)) {
                    left = &left[count.unwrap()..];
                }
                if let Poll::Ready(count) = channel.poll_read(&mut cx, &mut buf) {
                    back.extend_from_slice(&buf[..count.unwrap()]);
                }
            }
            prop_assert_eq!(back, data);
        }

        #[test]
        fn nothing_breaks_the_finder(stream in prop::collection::vec(any::<u8>(), 0..300)) {
            let found: usize = find(&stream).iter().map(Vec::len).sum();
            prop_assert!(found <= stream.len());
        }
    }
}
