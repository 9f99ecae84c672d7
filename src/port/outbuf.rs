//! Bytes that could not be written yet.

/// A queue of bytes: appended at the end, consumed from the front. Its memory is given back when
/// it runs empty, so that an idle port costs nothing.
#[derive(Debug, Default)]
pub(crate) struct OutBuf {
    bytes: Vec<u8>,
    start: usize,
}

/// Memory up to this size is kept when the queue runs empty.
const KEEP: usize = 4096;

impl OutBuf {
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(crate) fn pending(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Appends. What is gone already is overwritten only now, and only when it is more than what is
    /// left: so the moves are never more than the bytes that passed, and none at all in a queue that is emptied before it is
    /// filled again.
    pub(crate) fn push(&mut self, data: &[u8]) {
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(data);
    }

    /// The first `n` bytes are gone.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.bytes.len());
        if self.start >= self.bytes.len() {
            self.clear();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.start = 0;
        self.bytes.clear();
        if self.bytes.capacity() > KEEP {
            self.bytes = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn behaves_like_a_queue(steps in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), 0usize..400), 0..40)) {
            let mut model = std::collections::VecDeque::new();
            let mut buf = OutBuf::default();
            for (data, take) in steps {
                buf.push(&data);
                model.extend(data);
                let n = take.min(buf.len());
                buf.consume(n);
                model.drain(..n);
                prop_assert_eq!(buf.pending(), &*model.make_contiguous());
                prop_assert_eq!(buf.is_empty(), model.is_empty());
            }
        }
    }
}
