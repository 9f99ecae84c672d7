//! Diagnostics as text: one line that tools can read (`file:line:column: severity: message`), the
//! line of the file with the place marked, and help.

use super::error::{Diagnostic, Severity, Span};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::fmt::Write as _;

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

/// The first line that a span touches, its number from 1, and the marked bytes of it.
fn marked_line(span: &Span) -> Option<(&str, usize, std::ops::Range<usize>)> {
    let text = span.source.text.as_str();
    let before = text.get(..span.start)?;
    let from = before.rfind('\n').map_or(0, |i| i + 1);
    let line = text.get(from..)?.lines().next().unwrap_or("");
    let start = span.start - from;
    let mut end = span.end.max(span.start).saturating_sub(from).min(line.len());
    while !line.is_char_boundary(end) {
        end += 1;
    }
    (start <= line.len()).then(|| (line, before.matches('\n').count() + 1, start..end.max(start)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::error::Source;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn span(text: &str, start: usize, end: usize) -> Span {
        Span { source: Arc::new(Source { name: "x.yaml".into(), text: text.into() }), start, end }
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
