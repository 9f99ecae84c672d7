//! Doubling of IAC in data (RFC 854), without a copy where there is none.

use super::code::IAC;
use memchr::{memchr, memchr_iter};

/// Position of the first IAC.
pub fn find_iac(data: &[u8]) -> Option<usize> {
    memchr(IAC, data)
}

/// Whether data has to be changed to be sent. If not, it can be written as it is.
pub fn needs_escape(data: &[u8]) -> bool {
    find_iac(data).is_some()
}

/// Appends escaped data.
pub fn append(data: &[u8], out: &mut Vec<u8>) {
    out.reserve(data.len());
    let mut from = 0;
    for at in memchr_iter(IAC, data) {
        // up to an IAC, which the next piece begins with once more
        out.extend_from_slice(&data[from..=at]);
        from = at;
    }
    out.extend_from_slice(&data[from..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_iac_is_doubled() {
        let escaped = |data: &[u8]| {
            let mut out = b"<".to_vec();
            append(data, &mut out);
            out
        };
        assert_eq!(escaped(b""), b"<");
        assert_eq!(escaped(b"abc"), b"<abc");
        assert_eq!(escaped(b"\xff"), b"<\xff\xff");
        assert_eq!(escaped(b"a\xffb"), b"<a\xff\xffb");
        assert_eq!(escaped(b"\xff\xff\xff"), b"<\xff\xff\xff\xff\xff\xff");
        assert_eq!(escaped(b"a\xff"), b"<a\xff\xff");
        assert!(needs_escape(b"a\xff") && !needs_escape(b"a\xfe"));
    }
}
