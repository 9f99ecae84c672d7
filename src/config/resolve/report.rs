//! Collects what is wrong with one connection.

use crate::config::error::{Diagnostic, Severity, Span};
use crate::config::gensio::Problem;
use crate::config::raw::Spanned;
use std::ops::Range;

/// The diagnostics of one connection.
pub(super) struct Report {
    connection: String,
    enabled: bool,
    failed: bool,
    diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// For the connection of this name.
    pub(super) fn new(connection: &str, enabled: bool) -> Self {
        Self { connection: connection.to_owned(), enabled, failed: false, diagnostics: Vec::new() }
    }

    /// Whether the connection cannot run, and all that was said.
    pub(super) fn finish(self) -> (bool, Vec<Diagnostic>) {
        (self.failed, self.diagnostics)
    }

    fn push(&mut self, severity: Severity, span: Span, message: String, help: Option<String>, later: bool) {
        let connection = Some(self.connection.clone());
        let diagnostic = Diagnostic { severity, span: Some(span), message, help, connection, later };
        self.diagnostics.push(diagnostic);
    }

    /// A mistake; the connection does not run.
    pub(super) fn error(&mut self, span: Span, message: impl Into<String>, help: Option<String>) {
        self.failed = true;
        self.push(Severity::Error, span, message.into(), help, false);
    }

    /// A mistake inside a string.
    pub(super) fn problem(&mut self, text: &Spanned<String>, problem: Problem) {
        self.error(sub_span(text, &problem.place), problem.message, problem.help);
    }

    /// Runs, but the user should know.
    pub(super) fn warning(&mut self, span: Span, message: impl Into<String>, help: Option<String>) {
        self.push(Severity::Warning, span, message.into(), help, false);
    }

    /// A construct of later work that the connection needs. A disabled connection would not have
    /// run anyway, so for that it is a warning.
    pub(super) fn blocked(&mut self, span: Span, what: &str, help: Option<String>) {
        self.failed = true;
        let severity = if self.enabled { Severity::Error } else { Severity::Warning };
        self.push(severity, span, format!("{what} is not yet active in this version"), help, true);
    }

    /// A construct of later work that the connection can do without.
    pub(super) fn ignored(&mut self, span: Span, what: &str) {
        self.push(Severity::Warning, span, format!("{what} is not yet active"), None, true);
    }
}

/// The span of some bytes of a text. Where the text does not stand in the source letter by letter
/// (substitutions, folded lines), it is the one place that reads the same, or else the whole text.
pub(super) fn sub_span(text: &Spanned<String>, place: &Range<usize>) -> Span {
    let span = &text.span;
    let source = span.source.text.as_str();
    // A scalar may stand in quotes.
    for start in [span.start, span.start + 1] {
        if source.get(start..start + text.value.len()) == Some(text.value.as_str()) {
            return Span {
                source: span.source.clone(),
                start: start + place.start,
                end: start + place.end.max(place.start + 1).min(text.value.len()).max(place.start),
            };
        }
    }
    let written = source.get(span.start..span.end).unwrap_or("");
    let piece = text.value.get(place.clone()).filter(|piece| piece.len() > 1).unwrap_or("");
    let mut found = written.match_indices(piece);
    match (piece, found.next(), found.next()) {
        ("", ..) => span.clone(),
        (_, Some((at, _)), None) => {
            let start = span.start + at;
            Span { source: span.source.clone(), start, end: start + piece.len() }
        }
        _ => span.clone(),
    }
}
