//! Events of a YAML text: the one place that knows which parser reads it.

use libyaml_safer::{EventData, Mark, Parser, ScalarStyle};
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What comes next in a YAML text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A document begins.
    DocumentStart,
    /// It ends.
    DocumentEnd,
    /// `*name`.
    Alias(String),
    /// A scalar, with the name after `&`.
    Scalar {
        /// Name of the anchor.
        anchor: Option<String>,
        /// The text, quotes and folding undone.
        text: String,
        /// It stands without quotes.
        plain: bool,
    },
    /// `[` or the first `-`.
    SequenceStart(Option<String>),
    /// Its end.
    SequenceEnd,
    /// A mapping begins, with the name after `&`.
    MappingStart(Option<String>),
    /// Its end.
    MappingEnd,
    /// The text is over.
    End,
}

/// An event and its place: bytes of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Located {
    /// The event.
    pub(super) event: Event,
    /// First byte (of the anchor, when there is one).
    pub(super) start: usize,
    /// Byte after the last.
    pub(super) end: usize,
}

/// The text is not YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// What is wrong.
    pub(super) message: String,
    /// Where.
    pub(super) at: usize,
    /// What was being read, and where that began.
    pub(super) context: Option<(String, usize)>,
}

/// Reads events.
pub(super) struct Reader {
    parser: Parser<Cursor<Vec<u8>>>,
    offsets: Offsets,
    over: bool,
}

impl Reader {
    /// A reader over a text.
    pub(super) fn new(text: &str) -> Self {
        let body = text.strip_prefix('\u{feff}').unwrap_or(text);
        // a block scalar header whose text lacks the last line end makes the parser panic
        let mut bytes = body.as_bytes().to_vec();
        bytes.push(b'\n');
        let mut parser = Parser::new();
        parser.set_input(Cursor::new(bytes));
        let before = text.len() - body.len();
        Self { parser, offsets: Offsets { before, len: text.len(), last: before }, over: false }
    }

    /// The next event. After an error and after [`Event::End`] there is nothing but `End`.
    pub(super) fn next(&mut self) -> Result<Located, SyntaxError> {
        loop {
            if self.over {
                let end = self.offsets.len;
                return Ok(Located { event: Event::End, start: end, end });
            }
            let parser = &mut self.parser;
            // The parser has a known panic (a tag directly before a comma); a configuration must
            // never take the program down. After a panic it is not used again.
            let next = catch_unwind(AssertUnwindSafe(|| parser.parse()));
            let next = match next {
                Ok(Ok(event)) => event,
                Ok(Err(error)) => {
                    self.over = true;
                    return Err(self.syntax_error(&error));
                }
                Err(_) => {
                    self.over = true;
                    return Err(SyntaxError {
                        message: "the YAML parser gave up here".to_owned(),
                        at: self.offsets.last,
                        context: None,
                    });
                }
            };
            let start = self.offsets.byte(&next.start_mark);
            let end = self.offsets.byte(&next.end_mark).max(start);
            self.offsets.last = end;
            let event = match next.data {
                EventData::StreamStart { .. } => continue,
                EventData::StreamEnd => {
                    self.over = true;
                    Event::End
                }
                EventData::DocumentStart { .. } => Event::DocumentStart,
                EventData::DocumentEnd { .. } => Event::DocumentEnd,
                EventData::Alias { anchor } => Event::Alias(anchor),
                EventData::Scalar { anchor, value, style, .. } => {
                    Event::Scalar { anchor, text: value, plain: style == ScalarStyle::Plain }
                }
                EventData::SequenceStart { anchor, .. } => Event::SequenceStart(anchor),
                EventData::SequenceEnd => Event::SequenceEnd,
                EventData::MappingStart { anchor, .. } => Event::MappingStart(anchor),
                EventData::MappingEnd => Event::MappingEnd,
            };
            return Ok(Located { event, start, end });
        }
    }

    fn syntax_error(&self, error: &libyaml_safer::Error) -> SyntaxError {
        let at = error.problem_mark().map_or(self.offsets.last, |mark| self.offsets.byte(&mark));
        let context = error
            .context()
            .zip(error.context_mark())
            .map(|(text, mark)| (text.to_owned(), self.offsets.byte(&mark)))
            .filter(|(text, _)| !text.is_empty());
        SyntaxError { message: error.problem().to_owned(), at, context }
    }
}

/// The way from the parser's places to those of the whole text.
struct Offsets {
    /// Bytes before the parser's text: a byte order mark.
    before: usize,
    /// Bytes of the whole text.
    len: usize,
    /// Where the last event ended.
    last: usize,
}

impl Offsets {
    fn byte(&self, mark: &Mark) -> usize {
        let index = usize::try_from(mark.index).unwrap_or(usize::MAX);
        index.saturating_add(self.before).min(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> (Vec<Located>, Option<SyntaxError>) {
        let mut reader = Reader::new(text);
        let mut events = Vec::new();
        loop {
            match reader.next() {
                Ok(Located { event: Event::End, .. }) => return (events, None),
                Ok(event) => events.push(event),
                Err(error) => return (events, Some(error)),
            }
        }
    }

    #[test]
    fn places_are_bytes_also_after_other_characters() {
        let text = "\u{feff}# Grüße aus Köln, für alle: äöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöü\nä: &x ö\n";
        let (events, error) = all(text);
        assert_eq!(error, None);
        let scalars: Vec<_> = events
            .iter()
            .filter(|e| matches!(e.event, Event::Scalar { .. }))
            .map(|e| &text[e.start..e.end])
            .collect();
        assert_eq!(scalars, ["ä", "&x ö"]);
    }

    #[test]
    fn known_panics_of_the_parser_are_errors_or_do_not_happen() {
        assert_eq!(all("k: >\n a").1, None);
        let (_, error) = all("[!,]");
        // newer parsers may accept it; what counts is that this line is reached
        assert!(error.is_none_or(|e| e.at <= 4));
    }

    #[test]
    fn after_an_error_the_text_is_over() {
        let mut reader = Reader::new("a: 'x\n");
        while let Ok(event) = reader.next() {
            assert_ne!(event.event, Event::End);
        }
        assert_eq!(reader.next().map(|e| e.event), Ok(Event::End));
    }
}
