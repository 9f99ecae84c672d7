//! Deterministic pseudo-random test data, sent as an endless stream and checked byte by byte.

/// Bytes after which a stream repeats: a prime, so that a loss or repetition of whole blocks of any
/// power of two never falls on the same bytes again.
const PERIOD: usize = 1_048_573;

/// Largest slice [`Stream::upcoming`] gives and the size of every buffer that reads one.
pub(crate) const CHUNK: usize = 64 * 1024;

/// One endless pseudo-random byte stream.
pub(crate) struct Pattern {
    /// One period followed by its own first `CHUNK` bytes, so that every chunk is contiguous.
    block: Vec<u8>,
}

impl Pattern {
    /// Evenly distributed bytes; 0xFF is one of 256.
    pub(crate) fn even(seed: u64) -> Self {
        Self::build(seed, 0, 0xFF)
    }

    /// As [`Pattern::even`], with a further 16th of the bytes set to 0xFF (the telnet IAC), in runs
    /// as well as alone.
    pub(crate) fn rich_in_ff(seed: u64) -> Self {
        Self::build(seed, 16, 0xFF)
    }

    /// Bytes below 0x80, of which none means anything to telnet.
    #[allow(dead_code, reason = "used by the data_path benchmark")]
    pub(crate) fn ascii(seed: u64) -> Self {
        Self::build(seed, 0, 0x7F)
    }

    fn build(seed: u64, ff_below: u8, mask: u8) -> Self {
        // xorshift64* (Vigna 2016); any non-zero state will do
        let mut state = seed | 1;
        let mut next = || {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_be_bytes()
        };
        let mut block: Vec<u8> = Vec::with_capacity(PERIOD + CHUNK);
        while block.len() < PERIOD {
            let [byte, choice, ..] = next();
            block.push(if choice < ff_below { 0xFF } else { byte & mask });
        }
        block.extend_from_within(..CHUNK);
        Self { block }
    }

    /// The stream from its beginning.
    pub(crate) fn stream(&self) -> Stream<'_> {
        Stream { pattern: self, offset: 0 }
    }
}

/// A place in a [`Pattern`]: the sender's or the receiver's.
pub(crate) struct Stream<'a> {
    pattern: &'a Pattern,
    offset: u64,
}

impl Stream<'_> {
    /// Bytes passed so far.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next [`CHUNK`] bytes to send.
    pub(crate) fn upcoming(&self) -> &[u8] {
        let start = (self.offset % PERIOD as u64) as usize;
        &self.pattern.block[start..start + CHUNK]
    }

    /// Moves on after `count` bytes were sent.
    pub(crate) fn advance(&mut self, count: usize) {
        self.offset += count as u64;
    }

    /// Compares received bytes with what was due and moves on. The error names the offset of the
    /// first wrong byte.
    pub(crate) fn verify(&mut self, received: &[u8]) -> Result<(), String> {
        for part in received.chunks(CHUNK) {
            let due = &self.upcoming()[..part.len()];
            if part != due {
                let wrong = part.iter().zip(due).take_while(|(got, due)| got == due).count();
                let (at, got, due) = (self.offset + wrong as u64, part[wrong], due[wrong]);
                return Err(format!("wrong data: byte {at} is 0x{got:02x}, not 0x{due:02x}"));
            }
            self.advance(part.len());
        }
        Ok(())
    }
}
