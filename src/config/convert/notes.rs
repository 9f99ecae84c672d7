//! Finds the comments and blank lines of a text.

use super::outline::Note;
use std::ops::Range;

/// A comment or blank line and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct Found {
    /// First byte: the `#`, or the begin of the blank line.
    pub(in crate::config) at: usize,
    /// Byte after the last, without the line end.
    pub(in crate::config) end: usize,
    /// Characters before it in the line; `None` when something else stands there.
    pub(in crate::config) column: Option<usize>,
    /// What it is.
    pub(in crate::config) note: Note,
}

/// Comments and blank lines, handed out in order.
#[derive(Debug, Default)]
pub(in crate::config) struct Notes {
    found: std::collections::VecDeque<Found>,
}

/// Characters that end a line of YAML 1.1.
const LINE_ENDS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];

impl Notes {
    /// The notes of a YAML text. `taken` are the places of its scalars, in order.
    pub(in crate::config) fn of_yaml(text: &str, taken: &[Range<usize>]) -> Self {
        let mut found = std::collections::VecDeque::new();
        let mut taken = taken.iter().peekable();
        let mut line_start = usize::from(text.starts_with('\u{feff}')) * '\u{feff}'.len_utf8();
        let mut at = line_start;
        // whether something but blanks stood in the line so far
        let mut empty = true;
        let mut blank_before = true;
        while let Some(c) = text[at..].chars().next() {
            while taken.next_if(|range| range.end <= at).is_some() {}
            if let Some(range) = taken.peek().filter(|range| range.contains(&at)) {
                let inside = &text[at..range.end];
                if let Some(end) = inside.rfind('\n') {
                    line_start = at + end + 1;
                }
                empty = inside.ends_with('\n');
                blank_before = empty;
                at = range.end;
                continue;
            }
            if LINE_ENDS.contains(&c) {
                if empty && c == '\n' {
                    let column = Some(0);
                    found.push_back(Found { at: line_start, end: at, column, note: Note::Blank });
                }
                at += c.len_utf8();
                if c != '\r' || !text[at..].starts_with('\n') {
                    (line_start, empty) = (at, true);
                }
                blank_before = true;
                continue;
            }
            if c == '#' && blank_before {
                let length = text[at..].find(LINE_ENDS).unwrap_or(text.len() - at);
                let column = empty.then(|| text[line_start..at].chars().count());
                let note = Note::written(&text[at..at + length]);
                found.push_back(Found { at, end: at + length, column, note });
                at += length;
                empty = false;
                continue;
            }
            blank_before = c == ' ' || c == '\t';
            empty &= blank_before;
            at += c.len_utf8();
        }
        Self { found }
    }

    /// Notes that were found in another way, in order.
    pub(in crate::config) fn new(found: impl IntoIterator<Item = Found>) -> Self {
        Self { found: found.into_iter().collect() }
    }

    /// All that begin before a place and were not yet handed out.
    pub(in crate::config) fn before(&mut self, at: usize) -> Vec<Note> {
        let mut notes = Vec::new();
        while self.found.front().is_some_and(|f| f.at < at) {
            notes.extend(self.found.pop_front().map(|f| f.note));
        }
        notes
    }

    /// The comment behind what ends at a place, on the same line.
    pub(in crate::config) fn behind(&mut self, text: &str, end: usize) -> Option<String> {
        let next = self.found.front()?;
        let between = text.get(end..next.at)?;
        if next.column.is_some() || between.contains(LINE_ENDS) {
            return None;
        }
        match self.found.pop_front()?.note {
            Note::Comment(comment) => Some(comment),
            Note::Blank => None,
        }
    }

    /// The comments below the last key of a mapping that stand as far to the right as its keys,
    /// with the blank lines between them, up to `limit`, where something else begins.
    pub(in crate::config) fn below(&mut self, column: usize, limit: usize) -> Vec<Note> {
        let comment_follows = |found: &std::collections::VecDeque<Found>| {
            let next = found.iter().find(|f| f.note != Note::Blank);
            next.is_some_and(|f| f.at < limit && f.column.is_some_and(|c| c >= column))
        };
        let mut notes = Vec::new();
        while comment_follows(&self.found) {
            while let Some(next) = self.found.pop_front() {
                let comment = next.note != Note::Blank;
                notes.push(next.note);
                if comment {
                    break;
                }
            }
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_told_from_what_only_looks_like_them() {
        let text = "# a\nk: 'x # y' # b\n\n  # c\r\nz: a#b\n";
        let scalar = text.find('\'').unwrap_or(0);
        let taken = [4..5, scalar..scalar + 7];
        let notes = Notes::of_yaml(text, &taken);
        let found: Vec<_> = notes.found.iter().map(|f| (f.note.clone(), f.column)).collect();
        let comment = |t: &str| Note::Comment(t.to_owned());
        assert_eq!(
            found,
            [
                (comment("# a"), Some(0)),
                (comment("# b"), None),
                (Note::Blank, Some(0)),
                (comment("# c"), Some(2)),
            ]
        );
    }

    #[test]
    fn the_column_decides_where_a_comment_below_belongs() {
        let text = "    # deep\n\n    # too\n  # not\n";
        let mut notes = Notes::of_yaml(text, &[]);
        assert_eq!(notes.below(4, 4).len(), 0);
        assert_eq!(notes.below(4, usize::MAX).len(), 3);
        assert_eq!(notes.below(4, usize::MAX), []);
        assert_eq!(notes.before(usize::MAX), [Note::Comment("# not".to_owned())]);
    }
}
