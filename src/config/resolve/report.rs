//! Collects what is wrong with one connection.

use crate::config::error::{Diagnostic, Severity, Span};
use crate::config::gensio::Problem;
use crate::config::options::Row;
use crate::config::raw::Spanned;
use std::ops::Range;

/// Where the value of an option was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// The option.
    pub row: &'static Row,
    /// The text of its value, substitutions done; `None` without one.
    pub value: Option<String>,
    /// The place.
    pub span: Span,
    /// It stands in a `default:` section or for all connections, not in the connection.
    pub is_default: bool,
}

/// The diagnostics of one connection.
pub(super) struct Report {
    connection: String,
    enabled: bool,
    failed: bool,
    diagnostics: Vec<Diagnostic>,
    /// What was written, in the order in which it takes effect; kept only when asked for.
    origins: Option<Vec<Written>>,
}

/// What a report holds at the end.
pub(super) struct Finished {
    /// The connection cannot run.
    pub(super) failed: bool,
    /// All that was said.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Where values came from; empty unless it was asked for.
    pub(super) origins: Vec<Written>,
}

impl Report {
    /// For the connection of this name. `trace`: origins are kept.
    pub(super) fn new(connection: &str, enabled: bool, trace: bool) -> Self {
        Self {
            connection: connection.to_owned(),
            enabled,
            failed: false,
            diagnostics: Vec::new(),
            origins: trace.then(Vec::new),
        }
    }

    /// The end of it.
    pub(super) fn finish(self) -> Finished {
        let Self { connection: _, enabled: _, failed, diagnostics, origins } = self;
        Finished { failed, diagnostics, origins: origins.unwrap_or_default() }
    }

    /// Name of the connection.
    pub(super) fn name(&self) -> &str {
        &self.connection
    }

    /// Runs `work` without keeping where options were written: they are those of something inside
    /// the connection, with other values than the connection's own.
    pub(super) fn untraced<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let origins = self.origins.take();
        let result = work(self);
        self.origins = origins;
        result
    }

    /// An option was written; later ones win.
    pub(super) fn origin(&mut self, row: &'static Row, value: Option<&str>, span: &Span, is_default: bool) {
        if let Some(origins) = &mut self.origins {
            let value = value.map(str::to_owned);
            origins.push(Written { row, value, span: span.clone(), is_default });
        }
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

    /// A construct of ser2net that there is not, and the nearest way that works. For a disabled
    /// connection it is a warning, as with [`Report::blocked`].
    pub(super) fn refused(&mut self, span: Span, what: &str, help: &str) {
        self.failed = true;
        let severity = if self.enabled { Severity::Error } else { Severity::Warning };
        self.push(severity, span, format!("{what} is not supported"), Some(help.to_owned()), false);
    }

    /// A construct of later work that the connection can do without.
    pub(super) fn ignored(&mut self, span: Span, what: &str) {
        self.left_out(span, what, None);
    }

    /// The same, with what to do instead.
    pub(super) fn left_out(&mut self, span: Span, what: &str, help: Option<String>) {
        self.push(Severity::Warning, span, format!("{what} is not yet active"), help, true);
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
