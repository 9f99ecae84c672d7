//! Doubling of IAC in data (RFC 854), without a copy where that is possible.

use super::code::IAC;

/// Bytes looked at in one step; a fold over a fixed number of bytes becomes vector instructions.
const STEP: usize = 32;

/// Position of the first IAC.
pub fn find_iac(data: &[u8]) -> Option<usize> {
    let mut steps = data.chunks_exact(STEP);
    let mut skipped = 0;
    for step in steps.by_ref() {
        if step.iter().fold(0, |found, &byte| found | u8::from(byte == IAC)) != 0 {
            let within = step.iter().position(|&byte| byte == IAC)?;
            return Some(skipped + within);
        }
        skipped += STEP;
    }
    let within = steps.remainder().iter().position(|&byte| byte == IAC)?;
    Some(skipped + within)
}

/// Whether data has to be changed to be sent. If not, it can be written as it is.
pub fn needs_escape(data: &[u8]) -> bool {
    find_iac(data).is_some()
}

/// Slices of `data` that, written one after the other, are the escaped data: each slice ends with an
/// IAC that the next one begins with. Fit for a vectored write.
pub fn pieces(data: &[u8]) -> Pieces<'_> {
    Pieces { rest: data, carried: false }
}

/// Iterator of [`pieces`].
#[derive(Clone, Debug)]
pub struct Pieces<'a> {
    rest: &'a [u8],
    /// `rest` begins with an IAC that ended the last piece.
    carried: bool,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let known = usize::from(self.carried);
        if let Some(at) = find_iac(&self.rest[known..]) {
            let piece = &self.rest[..=known + at];
            self.rest = &self.rest[known + at..];
            self.carried = true;
            Some(piece)
        } else {
            Some(std::mem::take(&mut self.rest))
        }
    }
}

/// Appends escaped data.
pub fn append(data: &[u8], out: &mut Vec<u8>) {
    out.reserve(data.len());
    for piece in pieces(data) {
        out.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_iac_is_found_at_every_position_and_length() {
        for length in 0..130 {
            let mut data = vec![0xfe; length];
            assert_eq!(find_iac(&data), None);
            assert!(!needs_escape(&data));
            for at in (0..length).rev() {
                data[at] = IAC;
                assert_eq!(find_iac(&data), Some(at), "length {length}");
            }
        }
    }

    #[test]
    fn pieces_join_to_the_doubled_data() {
        let joined = |data: &[u8]| pieces(data).collect::<Vec<_>>().concat();
        assert_eq!(joined(b""), b"");
        assert_eq!(joined(b"abc"), b"abc");
        assert_eq!(joined(b"\xff"), b"\xff\xff");
        assert_eq!(joined(b"a\xffb"), b"a\xff\xffb");
        assert_eq!(joined(b"\xff\xff\xff"), b"\xff\xff\xff\xff\xff\xff");
        assert_eq!(joined(b"a\xff"), b"a\xff\xff");
    }

    #[test]
    fn data_without_iac_is_one_borrowed_piece() {
        let data = [7; 100];
        let all: Vec<_> = pieces(&data).collect();
        assert_eq!(all.len(), 1);
        assert!(std::ptr::eq(all[0], &raw const data[..]));
    }
}
