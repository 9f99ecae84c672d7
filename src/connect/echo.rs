//! Something that answers with what it gets (`echo`).

use super::Channel;
use crate::config::connector::Echo;
use crate::serial::IoFailure;
use std::collections::VecDeque;
use std::io::Read as _;
use std::task::{Context, Poll, Waker};

/// Bytes that wait for being read at the most; above it nothing more is taken.
const HELD_MAX: usize = 64 * 1024;

/// What was written and not yet read.
#[derive(Debug)]
pub(super) struct Echoing {
    echoes: bool,
    /// It ends when `held` is empty.
    ends: bool,
    held: VecDeque<u8>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Echoing {
    pub(super) fn new(options: &Echo) -> Self {
        let Echo { echoes, data } = options;
        Self {
            echoes: *echoes,
            ends: !echoes && data.is_some(),
            held: data.iter().flat_map(|data| data.bytes()).collect(),
            reader: None,
            writer: None,
        }
    }
}

impl Channel for Echoing {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoFailure>> {
        // reading from memory does not fail
        let count = self.held.read(buf).unwrap_or(0);
        if count == 0 {
            if self.ends {
                return Poll::Ready(Err(IoFailure::Ended("all of its data is sent".into())));
            }
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
        Poll::Ready(Ok(count))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, IoFailure>> {
        if !self.echoes {
            return Poll::Ready(Ok(data.len()));
        }
        let count = data.len().min(HELD_MAX.saturating_sub(self.held.len()));
        if count == 0 {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.held.extend(&data[..count]);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(echoes: bool, data: Option<&str>) -> Echoing {
        Echoing::new(&Echo { echoes, data: data.map(Into::into) })
    }

    #[test]
    fn what_is_written_comes_back_and_not_too_much_of_it() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut echo = channel(true, Some("hi"));
        let mut buf = [0; 8];
        assert!(matches!(echo.poll_write(&mut cx, b"you"), Poll::Ready(Ok(3))));
        assert!(matches!(echo.poll_read(&mut cx, &mut buf), Poll::Ready(Ok(5))));
        assert_eq!(&buf[..5], b"hiyou");
        assert!(echo.poll_read(&mut cx, &mut buf).is_pending());
        let much = vec![7; HELD_MAX + 1];
        assert!(matches!(echo.poll_write(&mut cx, &much), Poll::Ready(Ok(HELD_MAX))));
        assert!(echo.poll_write(&mut cx, b"x").is_pending());
        assert!(matches!(echo.poll_read(&mut cx, &mut buf), Poll::Ready(Ok(8))));
        assert!(matches!(echo.poll_write(&mut cx, b"x"), Poll::Ready(Ok(1))));
    }

    #[test]
    fn data_without_echo_ends() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut echo = channel(false, Some("hi"));
        let mut buf = [0; 8];
        assert!(matches!(echo.poll_write(&mut cx, b"you"), Poll::Ready(Ok(3))));
        assert!(matches!(echo.poll_read(&mut cx, &mut buf), Poll::Ready(Ok(2))));
        assert!(matches!(echo.poll_read(&mut cx, &mut buf), Poll::Ready(Err(IoFailure::Ended(_)))));
        let mut sink = channel(false, None);
        assert!(matches!(sink.poll_write(&mut cx, b"you"), Poll::Ready(Ok(3))));
        assert!(sink.poll_read(&mut cx, &mut buf).is_pending());
    }
}
