//! Lines of the old format: continuation, comments, line ends; with the way back to the text.

use crate::config::error::{Source, Span};
use std::ops::Range;
use std::sync::Arc;

/// A line with its continuations joined.
#[derive(Debug)]
pub(super) struct Line {
    /// Without line ends, leading and trailing blanks.
    pub(super) text: String,
    /// Where pieces of `text` begin: (byte of `text`, byte of the source).
    pieces: Vec<(usize, usize)>,
    source: Arc<Source>,
}

impl Line {
    /// The place of a part of the line.
    pub(super) fn span(&self, part: Range<usize>) -> Span {
        let start = self.at(part.start);
        let end = if part.end > part.start { self.at(part.end - 1) + 1 } else { start };
        Span { source: Arc::clone(&self.source), start, end: end.max(start) }
    }

    /// The place of the whole line.
    pub(super) fn whole(&self) -> Span {
        self.span(0..self.text.len())
    }

    fn at(&self, byte: usize) -> usize {
        let next = self.pieces.partition_point(|(begin, _)| *begin <= byte);
        self.pieces.get(next.saturating_sub(1)).map_or(0, |(begin, at)| at + (byte - begin))
    }
}

/// The lines that say something: no comments, no blank lines.
///
/// A backslash at the end of a line joins the next one to it; a comment is not continued.
pub(super) fn lines(source: &Arc<Source>) -> Vec<Line> {
    let mut found = Vec::new();
    let mut open: Option<Line> = None;
    let mut at = usize::from(source.text.starts_with('\u{feff}')) * '\u{feff}'.len_utf8();
    for physical in source.text[at..].split_inclusive('\n') {
        let begin = at;
        at += physical.len();
        let content = physical.trim_end_matches(['\n', '\r']);
        let joined = content.strip_suffix('\\');
        if let Some(line) = &mut open {
            line.pieces.push((line.text.len(), begin));
            line.text.push_str(joined.unwrap_or(content));
        } else {
            let body = content.trim_start();
            if body.is_empty() || body.starts_with('#') {
                continue;
            }
            let text = joined.unwrap_or(content).trim_start().to_owned();
            let pieces = vec![(0, begin + content.len() - body.len())];
            open = Some(Line { text, pieces, source: Arc::clone(source) });
        }
        if joined.is_none() {
            found.extend(open.take());
        }
    }
    found.extend(open);
    for line in &mut found {
        line.text.truncate(line.text.trim_end().len());
    }
    found.retain(|line| !line.text.is_empty());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (Arc<Source>, Vec<Line>) {
        let source = Arc::new(Source::new("t", text));
        let lines = lines(&source);
        (source, lines)
    }

    #[test]
    fn joined_lines_know_where_they_came_from() {
        let (source, lines) = of("# x \\\n  2000:raw \\\r\n\t:0\\\nfoo\r\n\n \n3\\");
        let texts: Vec<_> = lines.iter().map(|l| l.text.as_str()).collect();
        assert_eq!(texts, ["2000:raw \t:0foo", "3"]);
        let at = texts[0].find("foo").unwrap();
        let span = lines[0].span(at..at + 3);
        assert_eq!(&source.text[span.start..span.end], "foo");
        assert_eq!(span.line_column(), (4, 1));
        assert_eq!(lines[0].whole().line_column(), (2, 3));
    }
}
