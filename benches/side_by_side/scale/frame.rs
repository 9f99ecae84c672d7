//! The 16-byte pieces of the paced traffic: who sent it, which one it is, when, and a check over it all.

/// Bytes of a piece on the wire.
pub(crate) const SIZE: usize = 16;

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Paced data from a device.
    Data,
    /// A client's request, or the device's answer to it, which carries the request's number and time.
    Request,
}

/// One piece. On the wire, big-endian: kind and port (2 bytes), number (4), time (8), check (2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) kind: Kind,
    /// Index of the port, below 2¹⁵.
    pub(crate) port: u16,
    /// Counts from 0 for each port and kind.
    pub(crate) number: u32,
    /// Nanoseconds since the start of the run.
    pub(crate) at: u64,
}

impl Piece {
    pub(crate) fn encode(self) -> [u8; SIZE] {
        let kind = if self.kind == Kind::Data { 0 } else { 0x8000 };
        let mut bytes = [0; SIZE];
        bytes[..2].copy_from_slice(&(self.port | kind).to_be_bytes());
        bytes[2..6].copy_from_slice(&self.number.to_be_bytes());
        bytes[6..14].copy_from_slice(&self.at.to_be_bytes());
        let check = check(&bytes[..14]);
        bytes[14..].copy_from_slice(&check.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8; SIZE]) -> Option<Self> {
        let [p0, p1, n0, n1, n2, n3, at @ .., c0, c1] = *bytes;
        if check(&bytes[..14]) != u16::from_be_bytes([c0, c1]) {
            return None;
        }
        let head = u16::from_be_bytes([p0, p1]);
        Some(Self {
            kind: if head & 0x8000 == 0 { Kind::Data } else { Kind::Request },
            port: head & 0x7FFF,
            number: u32::from_be_bytes([n0, n1, n2, n3]),
            at: u64::from_be_bytes(at),
        })
    }
}

/// FNV-1a (RFC 9923), 32 bits folded to 16. Starting from the offset basis, 14 zero bytes do not check.
fn check(bytes: &[u8]) -> u16 {
    let hash =
        bytes.iter().fold(0x811C_9DC5_u32, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash ^ (hash >> 16)) as u16
}

/// Puts one port's pieces together again from reads of any size and checks each.
pub(crate) struct Reader {
    port: u16,
    partial: [u8; SIZE],
    held: usize,
}

impl Reader {
    pub(crate) fn new(port: u16) -> Self {
        Self { port, partial: [0; SIZE], held: 0 }
    }

    /// Takes what was read and hands on each piece that is complete. A damaged piece or one of another
    /// port is an error.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut take: impl FnMut(Piece) -> Result<(), String>,
    ) -> Result<(), String> {
        while !bytes.is_empty() {
            let count = bytes.len().min(SIZE - self.held);
            let (now, later) = bytes.split_at(count);
            self.partial[self.held..self.held + count].copy_from_slice(now);
            self.held += count;
            bytes = later;
            if self.held == SIZE {
                self.held = 0;
                let piece = Piece::decode(&self.partial)
                    .ok_or_else(|| format!("wrong data: a damaged piece at port {}", self.port))?;
                if piece.port != self.port {
                    return Err(format!("wrong data: a piece of port {} at {}", piece.port, self.port));
                }
                take(piece)?;
            }
        }
        Ok(())
    }
}
