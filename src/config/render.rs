//! Diagnostics as text: one line that tools can read (`file:line:column: severity: message`), the
//! line of the file with the place marked, and help.

use super::error::{Diagnostic, Severity, Span};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::fmt::Write as _;
use std::ops::Range;

/// Renders diagnostics as plain text.
pub fn render(diagnostics: &[Diagnostic]) -> String {
    render_with(diagnostics, false)
}

/// Renders diagnostics, in colour if asked for.
pub fn render_with(diagnostics: &[Diagnostic], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for diagnostic in diagnostics {
        one(&mut out, diagnostic, &renderer);
    }
    out
}

/// The first line alone, without its line end: what goes to a log.
pub fn headline(diagnostic: &Diagnostic) -> String {
    let severity = match diagnostic.severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
        Severity::Fatal => "fatal",
    };
    let mut line = String::new();
    if let Some(span) = &diagnostic.span {
        let (row, column) = span.line_column();
        // Writing to a String cannot fail.
        let _ = write!(line, "{}:{row}:{column}: ", span.source.name);
    }
    let _ = write!(line, "{severity}: ");
    if let Some(connection) = &diagnostic.connection {
        let _ = write!(line, "connection {connection}: ");
    }
    line.push_str(&diagnostic.message);
    visible(&line)
}

/// Control characters, which a configuration may hold, as escapes: one message is one line.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

fn one(out: &mut String, diagnostic: &Diagnostic, renderer: &Renderer) {
    out.push_str(&headline(diagnostic));
    out.push('\n');
    let level = if diagnostic.severity == Severity::Warning { Level::WARNING } else { Level::ERROR };
    if let Some((line, number, place)) = diagnostic.span.as_ref().and_then(marked_line) {
        let snippet =
            Snippet::source(line).line_start(number).annotation(AnnotationKind::Primary.span(place));
        out.push_str(&renderer.render(&[Group::with_level(level).element(snippet)]));
        out.push('\n');
    }
    if let Some(help) = &diagnostic.help {
        let _ = writeln!(out, "  help: {}", visible(help));
    }
}

/// Bytes of a long line that are shown before the marked place, and from there on.
const SHOWN: usize = 120;

/// The first line that a span touches, its number from 1, and the marked bytes of it. Of a very
/// long line only the part around the mark.
fn marked_line(span: &Span) -> Option<(&str, usize, Range<usize>)> {
    let text = span.source.text.as_str();
    let (number, from) = span.source.line(span.start);
    let rest = text.get(from..)?;
    let line = rest.split('\n').next().unwrap_or("");
    let line = line.strip_suffix('\r').unwrap_or(line);
    let start = span.start - from;
    if !line.is_char_boundary(start) {
        return None;
    }
    let mut end = span.end.max(span.start).saturating_sub(from).min(line.len());
    while !line.is_char_boundary(end) {
        end += 1;
    }
    let (mut first, mut last) = (start.saturating_sub(SHOWN), line.len().min(start + SHOWN));
    while !line.is_char_boundary(first) {
        first -= 1;
    }
    while !line.is_char_boundary(last) {
        last += 1;
    }
    Some((line.get(first..last)?, number, start - first..end.clamp(start, last) - first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::error::Source;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn span(text: &str, start: usize, end: usize) -> Span {
        Span { source: Arc::new(Source::new("x.yaml", text)), start, end }
    }

    #[test]
    fn a_marked_line_with_help() {
        let text = "connection: &a\n  accepter: tcp(nodelai),2000\n";
        let mut diagnostic = Diagnostic::new(Severity::Error, span(text, 31, 38), "unknown option 'nodelai'")
            .help("did you mean nodelay?");
        diagnostic.connection = Some("a".into());
        assert_eq!(
            render(&[diagnostic]),
            "x.yaml:2:17: error: connection a: unknown option 'nodelai'\n  \
             |\n2 |   accepter: tcp(nodelai),2000\n  |                 ^^^^^^^\n  help: did you mean nodelay?\n"
        );
    }

    #[test]
    fn of_a_long_line_the_part_around_the_place() {
        let text = format!("{}here{}\n", "ä".repeat(5000), "ö".repeat(5000));
        let at = text.find("here").unwrap_or_default();
        let out = render(&[Diagnostic::new(Severity::Error, span(&text, at, at + 4), "wrong")]);
        assert!(out.len() < 1000 && out.contains("äähereöö") && out.contains(" ^^^^\n"), "{out}");
        let whole = render(&[Diagnostic::new(Severity::Error, span(&text, 0, text.len()), "wrong")]);
        assert!(whole.len() < 1000, "{whole}");
    }

    #[test]
    fn colour_only_on_request() {
        let diagnostic = Diagnostic::new(Severity::Warning, span("abc", 0, 1), "hm");
        assert!(!render(std::slice::from_ref(&diagnostic)).contains('\x1b'));
        assert!(render_with(&[diagnostic], true).contains('\x1b'));
    }

    #[test]
    fn a_message_is_one_line() {
        let mut diagnostic = Diagnostic::new(Severity::Fatal, span("a", 0, 1), "a\nb\x1b[0m");
        assert_eq!(headline(&diagnostic), "x.yaml:1:1: fatal: a\\nb\\u{1b}[0m");
        diagnostic.span = None;
        assert_eq!(render(&[diagnostic]), "fatal: a\\nb\\u{1b}[0m\n");
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a\\n\\t é\\x00\\x1b]{0,40}", start in 0usize..60, end in 0usize..60) {
            render(&[Diagnostic::new(Severity::Error, span(&text, start, end), "x")]);
        }
    }
}
