//! Finding a string in a stream (`closeon`, `sendon`).
//!
//! ser2net's manual documents its comparison as imperfect: after a mismatch it starts over with the
//! byte behind it, so `ababc` is not found in `abababc` and `ab` not in `aab`. Compatible on purpose:
//! a string that was chosen to work with ser2net must not start to fire earlier.

/// Looks for one string in bytes that come piece by piece.
#[derive(Debug)]
pub struct Matcher {
    text: Vec<u8>,
    /// Bytes of `text` that the end of the stream matches.
    matched: usize,
}

impl Matcher {
    /// A matcher for `text`, which is not empty (an empty text never matches).
    pub fn new(text: Vec<u8>) -> Self {
        Self { text, matched: 0 }
    }

    /// Feeds the next bytes; true when the string ended somewhere in them.
    pub fn feed(&mut self, data: &[u8]) -> bool {
        let mut found = false;
        for &byte in data {
            match self.text.get(self.matched) {
                Some(&want) if want == byte => self.matched += 1,
                _ => self.matched = 0,
            }
            if self.matched == self.text.len() && !self.text.is_empty() {
                self.matched = 0;
                found = true;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_string_in_pieces() {
        let mut m = Matcher::new(b"BYE".to_vec());
        assert!(!m.feed(b"aB"));
        assert!(!m.feed(b"Y"));
        assert!(m.feed(b"Exyz"));
        assert!(!m.feed(b"BY"));
    }

    #[test]
    fn is_as_imperfect_as_documented() {
        let mut m = Matcher::new(b"ababc".to_vec());
        assert!(!m.feed(b"abababc"));
        assert!(m.feed(b"ababc"));
        let mut m = Matcher::new(b"ab".to_vec());
        assert!(!m.feed(b"aab"));
        assert!(m.feed(b"xab"));
    }

    #[test]
    fn empty_never_matches() {
        assert!(!Matcher::new(Vec::new()).feed(b"anything"));
    }
}
