//! Deliberate errors, with which the benchmark checks that it would notice one.

/// Which byte of each direction a fault strikes: soon after the opening exchange.
const STRUCK: u64 = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Fault {
    /// One bit is changed.
    Flip,
    /// One byte is left out.
    Drop,
    /// One byte is sent twice.
    Double,
}

impl Fault {
    pub(crate) const ALL: [Self; 3] = [Self::Flip, Self::Drop, Self::Double];
}

/// A fault in one direction.
pub(crate) struct Spoiler {
    fault: Fault,
    passed: u64,
}

impl Spoiler {
    pub(crate) fn new(fault: Fault) -> Self {
        Self { fault, passed: 0 }
    }

    /// Passes the first `count` bytes of `buffer`, which holds one more; how many they have become.
    pub(crate) fn spoil(&mut self, buffer: &mut [u8], count: usize) -> usize {
        let begun = self.passed;
        self.passed += count as u64;
        if !(begun..self.passed).contains(&STRUCK) {
            return count;
        }
        let at = (STRUCK - begun) as usize;
        match self.fault {
            Fault::Flip => {
                buffer[at] ^= 0x10;
                count
            }
            Fault::Drop => {
                buffer.copy_within(at + 1..count, at);
                count - 1
            }
            Fault::Double => {
                buffer.copy_within(at..count, at + 1);
                count + 1
            }
        }
    }

    /// What to write for the beginning of `bytes`, and how many of them that is. Whoever writes less
    /// than all of it has passed so many, and else the number given.
    pub(crate) fn piece<'a>(&self, bytes: &'a [u8]) -> (std::borrow::Cow<'a, [u8]>, usize) {
        let before = usize::try_from(STRUCK.saturating_sub(self.passed)).unwrap_or(usize::MAX);
        let Some(&first) = bytes.first() else { return (bytes.into(), 0) };
        if self.passed > STRUCK {
            return (bytes.into(), bytes.len());
        }
        if before > 0 {
            let count = before.min(bytes.len());
            return (bytes[..count].into(), count);
        }
        let struck = match self.fault {
            Fault::Flip => vec![first ^ 0x10],
            Fault::Drop => Vec::new(),
            Fault::Double => vec![first, first],
        };
        (struck.into(), 1)
    }

    /// Says how many bytes of what [`Spoiler::piece`] began with have passed.
    pub(crate) fn advance(&mut self, count: usize) {
        self.passed += count as u64;
    }
}
