//! Diagnostics that point at the user's text.

use std::fmt;
use std::sync::{Arc, OnceLock};

/// A text that was read: the file's name as the user gave it, and its content.
#[derive(Debug)]
pub struct Source {
    /// Name for messages: a path, `-Y` or `-C`.
    pub name: String,
    /// The whole text.
    pub text: String,
    /// Where each line begins, found when first asked for: a file of megabytes may have thousands
    /// of places to tell of.
    lines: OnceLock<Vec<usize>>,
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.text == other.text
    }
}

impl Eq for Source {}

impl Source {
    /// A text with the name that messages call it by.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), lines: OnceLock::new() }
    }

    /// Number of the line, from 1, that the byte `at` is in, and where that line begins.
    pub fn line(&self, at: usize) -> (usize, usize) {
        let starts = self.lines.get_or_init(|| {
            std::iter::once(0).chain(self.text.match_indices('\n').map(|(at, _)| at + 1)).collect()
        });
        let number = starts.partition_point(|&start| start <= at);
        (number, number.checked_sub(1).and_then(|i| starts.get(i)).copied().unwrap_or(0))
    }
}

/// A place in a [`Source`]: a range of bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Span {
    /// The text.
    pub source: Arc<Source>,
    /// First byte.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_column();
        write!(f, "{}:{line}:{column}", self.source.name)
    }
}

impl Span {
    /// Line and column of the start, both counted from 1; columns count characters.
    pub fn line_column(&self) -> (usize, usize) {
        let at = self.start.min(self.source.text.len());
        let (line, begin) = self.source.line(at);
        let column = self.source.text.get(begin..at).map_or(0, |before| before.chars().count()) + 1;
        (line, column)
    }
}

/// How bad a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Runs, but the user should know.
    Warning,
    /// The connection that it belongs to does not run.
    Error,
    /// The file as a whole cannot be used.
    Fatal,
}

/// One message about the configuration.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// Where; `None` when it is about a whole file.
    pub span: Option<Span>,
    /// What is wrong, naming the offending token.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// The connection that does not run because of it.
    pub connection: Option<String>,
    /// Not a mistake: the construct is understood, and belongs to a later version.
    pub later: bool,
}

impl Diagnostic {
    /// A diagnostic about a place in the text, not tied to a connection.
    pub fn new(severity: Severity, span: Span, message: impl Into<String>) -> Self {
        Self {
            severity,
            span: Some(span),
            message: message.into(),
            help: None,
            connection: None,
            later: false,
        }
    }

    /// The same with a line of help.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same for a construct of later work.
    #[must_use]
    pub fn later(mut self) -> Self {
        self.later = true;
        self
    }
}
