//! What an administrator types, taken apart: echo and editing, lines, YAML documents. No socket and
//! no clock.
//!
//! Lines end with CR, LF or both (which makes an empty line, as with ser2net). Backspace and delete
//! take back a character; NUL is nothing; all else is part of the line. A line that begins with
//! `%YAML` turns to documents: from then on each one is a command ([`super::document`]).

use std::mem;

/// Bytes that are taken from a client at a time. A line that becomes too long is thrown away with
/// the rest of its chunk, so this is part of what clients see.
pub const CHUNK: usize = 1024;
/// Bytes of an unfinished line and a chunk behind it.
const LINE_LIMIT: usize = 2048;
/// Bytes of a document.
const DOCUMENT_LIMIT: usize = 16 * 1024;
/// What a line that is too long is answered with.
const TOO_LONG: &[u8] = b"Input line too long\r\n";

/// How input is read and answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// A person types.
    Typed,
    /// Lines without echo and editing.
    Plain,
    /// YAML documents.
    Documents,
}

/// A piece of input that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A line, without its end.
    Line(Vec<u8>),
    /// A YAML document, without the line that ends it.
    Document(Vec<u8>),
    /// A document that is longer than anything that makes sense.
    DocumentTooLong,
}

/// The input of one client.
#[derive(Debug)]
pub struct Input {
    mode: Mode,
    /// The line so far; in a document the line that is being read.
    line: Vec<u8>,
    /// The lines of the document so far.
    document: Vec<u8>,
    /// The document has more than its header.
    begun: bool,
    chunk: Vec<u8>,
    at: usize,
}

impl Default for Input {
    fn default() -> Self {
        Self::new()
    }
}

impl Input {
    /// Input of somebody who types.
    pub fn new() -> Self {
        let (line, document, chunk) = Default::default();
        Self { mode: Mode::Typed, line, document, begun: false, chunk, at: 0 }
    }

    /// Answers are YAML.
    pub fn is_yaml(&self) -> bool {
        self.mode != Mode::Typed
    }

    /// From now on nothing is echoed or edited, and answers are YAML.
    pub fn turn_to_yaml(&mut self) {
        if self.mode == Mode::Typed {
            self.mode = Mode::Plain;
        }
    }

    /// There is nothing left to take apart: more may be read.
    pub fn is_empty(&self) -> bool {
        self.at >= self.chunk.len()
    }

    /// Takes a chunk of at most [`CHUNK`] bytes; the one before must have been taken apart.
    pub fn push(&mut self, chunk: &[u8], echo: &mut Vec<u8>) {
        self.chunk.clear();
        self.at = 0;
        if self.mode != Mode::Documents && self.line.len() + chunk.len() > LINE_LIMIT {
            self.line.clear();
            echo.extend_from_slice(TOO_LONG);
        } else {
            self.chunk.extend_from_slice(chunk);
        }
    }

    /// The next complete entry of the chunk. What is to be shown on the way goes to `echo`.
    pub fn next(&mut self, echo: &mut Vec<u8>) -> Option<Entry> {
        while let Some(&byte) = self.chunk.get(self.at) {
            self.at += 1;
            let entry = match self.mode {
                Mode::Typed => self.typed(byte, echo),
                Mode::Plain => self.plain(byte),
                Mode::Documents => self.document(byte),
            };
            if entry.is_some() {
                return entry;
            }
        }
        None
    }

    fn typed(&mut self, byte: u8, echo: &mut Vec<u8>) -> Option<Entry> {
        // it may become a document, in which nothing is echoed
        let silent = self.line.first().is_some_and(|&first| first == b'%');
        match byte {
            0 => {}
            b'\r' | b'\n' => {
                echo.extend_from_slice(b"\r\n");
                return Some(Entry::Line(mem::take(&mut self.line)));
            }
            0x08 | 0x7f => {
                if self.line.pop().is_some() && !silent {
                    echo.extend_from_slice(b"\x08 \x08");
                }
            }
            _ => {
                self.line.push(byte);
                if self.line[0] != b'%' {
                    echo.push(byte);
                }
                self.look_for_document();
            }
        }
        None
    }

    fn plain(&mut self, byte: u8) -> Option<Entry> {
        match byte {
            0 => {}
            b'\r' | b'\n' => return Some(Entry::Line(mem::take(&mut self.line))),
            _ => {
                self.line.push(byte);
                self.look_for_document();
            }
        }
        None
    }

    fn look_for_document(&mut self) {
        if self.line == b"%YAML" {
            self.mode = Mode::Documents;
        }
    }

    fn document(&mut self, byte: u8) -> Option<Entry> {
        if byte != b'\r' && byte != b'\n' {
            self.line.push(byte);
            if self.document.len() + self.line.len() > DOCUMENT_LIMIT {
                self.line.clear();
                self.document.clear();
                self.begun = false;
                return Some(Entry::DocumentTooLong);
            }
            return None;
        }
        let line = mem::take(&mut self.line);
        let text = line.trim_ascii_end();
        if text == b"..." {
            return self.complete();
        }
        // `---` without an end of the one before
        let entry = if self.begun && text.starts_with(b"---") { self.complete() } else { None };
        if !(text.is_empty() || text.starts_with(b"---") || text.starts_with(b"%") || text.starts_with(b"#"))
        {
            self.begun = true;
        }
        self.document.extend_from_slice(&line);
        self.document.push(b'\n');
        entry
    }

    fn complete(&mut self) -> Option<Entry> {
        let document = mem::take(&mut self.document);
        mem::take(&mut self.begun).then_some(Entry::Document(document))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Types `text` in chunks of `size`; what is shown, with `«»` around each complete entry.
    fn typed(input: &mut Input, text: &[u8], size: usize) -> String {
        let mut shown = Vec::new();
        for chunk in text.chunks(size) {
            input.push(chunk, &mut shown);
            while let Some(entry) = input.next(&mut shown) {
                match entry {
                    Entry::Line(line) => {
                        shown.extend_from_slice("«".as_bytes());
                        shown.extend_from_slice(&line);
                        shown.extend_from_slice("»".as_bytes());
                    }
                    Entry::Document(text) => {
                        shown.extend_from_slice(format!("«{}»", String::from_utf8_lossy(&text)).as_bytes());
                    }
                    Entry::DocumentTooLong => shown.extend_from_slice("«!»".as_bytes()),
                }
            }
        }
        String::from_utf8_lossy(&shown).into_owned()
    }

    #[test]
    fn lines_are_echoed_and_edited() {
        for (text, shown) in [
            ("ver\n", "ver\r\n«ver»"),
            ("ver\r\n", "ver\r\n«ver»\r\n«»"),
            ("a\r\0b\r", "a\r\n«a»b\r\n«b»"),
            ("abc\x08\x08d\r", "abc\x08 \x08\x08 \x08d\r\n«ad»"),
            ("ab\x7f\x7f\x7fc\r", "ab\x08 \x08\x08 \x08c\r\n«c»"),
            ("\x08\r", "\r\n«»"),
            ("x\x03\x15\x04y\r", "x\x03\x15\x04y\r\n«x\x03\x15\x04y»"),
            ("%foo\r", "\r\n«%foo»"),
            ("%\x08ab\r", "ab\r\n«ab»"),
            (" %YAML\r", " %YAML\r\n« %YAML»"),
            ("ver%YAML\r", "ver%YAML\r\n«ver%YAML»"),
        ] {
            for size in [1, 2, 1024] {
                assert_eq!(typed(&mut Input::new(), text.as_bytes(), size), shown, "{text:?} by {size}");
            }
        }
    }

    #[test]
    fn long_lines_go_with_their_chunk() {
        let mut input = Input::new();
        let long = "a".repeat(5000) + "\rb\r";
        let shown = typed(&mut input, long.as_bytes(), CHUNK);
        let (first, rest) = (5000 - 2048 - 1024, "a".repeat(2048));
        let kept = "a".repeat(first);
        assert_eq!(shown, format!("{rest}Input line too long\r\n{kept}\r\n«{kept}»b\r\n«b»"));
        // the end of the line counts too
        let mut input = Input::new();
        assert_eq!(typed(&mut input, &[b'a'; 2048], CHUNK).len(), 2048);
        assert_eq!(typed(&mut input, b"\r", CHUNK), "Input line too long\r\n");
        assert_eq!(typed(&mut input, b"\r", CHUNK), "\r\n«»");
        let mut input = Input::new();
        assert_eq!(typed(&mut input, &[b'a'; 2047], CHUNK).len(), 2047);
        assert!(typed(&mut input, b"\r", CHUNK).starts_with("\r\n«aa"));
    }

    #[test]
    fn without_echo() {
        let mut input = Input::new();
        assert_eq!(typed(&mut input, b"yaml\r", 9), "yaml\r\n«yaml»");
        input.turn_to_yaml();
        assert_eq!(typed(&mut input, b"\nver\x08\r\r\0a\n", 9), "«»«ver\x08»«»«a»");
    }

    #[test]
    fn documents() {
        let text = "%YAML 1.1\n---\na: b\n...\n---\r\nc: d\r\n...\r\n...\n---\ne: f\n---\ng: h\n...\n";
        for size in [1, 3, 1024] {
            let shown = typed(&mut Input::new(), text.as_bytes(), size);
            assert_eq!(
                shown, "«%YAML 1.1\n---\na: b\n»«---\n\nc: d\n\n»«---\ne: f\n»«---\ng: h\n»",
                "by {size}"
            );
        }
        let mut input = Input::new();
        typed(&mut input, b"%YAML 1.1\n---\n", CHUNK);
        let shown = typed(&mut input, &vec![b'x'; DOCUMENT_LIMIT + CHUNK], CHUNK);
        assert_eq!(shown, "«!»");
    }

    proptest! {
        #[test]
        fn how_input_is_cut_makes_no_difference(
            text in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(8u8), Just(b'%'), any::<u8>()], 0..300),
            size in 1usize..40,
        ) {
            prop_assert_eq!(typed(&mut Input::new(), &text, size), typed(&mut Input::new(), &text, CHUNK));
        }

        #[test]
        fn nothing_is_kept_without_bound(text in prop::collection::vec(any::<u8>(), 0..200), times in 1usize..200) {
            let mut input = Input::new();
            if times.is_multiple_of(2) {
                typed(&mut input, b"%YAML", CHUNK);
            }
            for _ in 0..times {
                typed(&mut input, &text, CHUNK);
                prop_assert!(input.line.len() <= LINE_LIMIT.max(DOCUMENT_LIMIT));
                prop_assert!(input.document.len() <= DOCUMENT_LIMIT + 2);
            }
        }
    }
}
