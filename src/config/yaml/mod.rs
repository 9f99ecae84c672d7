//! YAML files of ser2net, version 1 and version 2 (ser2net.yaml(5)).
//!
//! ser2net's files are not plain YAML: keys repeat, the names of anchors are data, and they live
//! across documents and included files. So this reads events, entry by entry of the main level,
//! and keeps what stood before an error.

mod admin;
mod connection;
pub(super) mod convert;
pub mod de;
mod event;
mod include;
mod leds;
mod names;
mod rotator;
mod sections;
pub mod simple;
mod tree;

use super::error::{Diagnostic, Severity, Source, Span};
use super::raw::{RawConnection, RawFile, RawOption, RawValue, Spanned};
use event::{Event, SyntaxError};
use names::{Names, Problem, Version};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tree::{Builder, Kind, Node};

/// Keys of ser2net at the main level, with the version that has them.
const MAIN_KEYS: [(&str, Version); 15] = [
    ("connection", Version::One),
    ("define", Version::One),
    ("default", Version::One),
    ("delete_default", Version::One),
    ("rotator", Version::One),
    ("admin", Version::One),
    ("led", Version::One),
    ("connections", Version::Two),
    ("defines", Version::Two),
    ("defaults", Version::Two),
    ("delete_defaults", Version::Two),
    ("rotators", Version::Two),
    ("admins", Version::Two),
    ("leds", Version::Two),
    // in both
    ("include", Version::One),
];

/// serbroker's own keys at the main level: they go to [`RawFile::settings`].
pub const OWN_KEYS: [&str; 2] = ["metrics", "allow"];

/// A key of the main level, of ser2net or of serbroker.
pub(super) fn is_main_key(word: &str) -> bool {
    MAIN_KEYS.iter().any(|(key, _)| *key == word) || OWN_KEYS.contains(&word)
}

/// Reads YAML texts one after the other; names and defaults live on from text to text.
#[derive(Default)]
pub(super) struct Session {
    /// What was read.
    pub(super) file: RawFile,
    /// What is wrong with it.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Files that were included, each with the place that names it.
    pub(super) inclusions: Vec<(Span, Arc<Source>)>,
    names: Names,
    /// `default:` values in force, named `class:name`.
    defaults: Vec<RawOption>,
    /// Files being read, outermost first.
    chain: Vec<PathBuf>,
    /// Files and bytes included so far.
    included: (usize, usize),
    /// The structure broke: what follows is looked at, but not kept.
    stopped: bool,
}

/// Where a text came from, for relative names in it.
#[derive(Clone, Copy)]
struct Place<'a> {
    dir: Option<&'a Path>,
    version: Version,
}

impl Session {
    /// Reads a text; `path` is its file.
    pub(super) fn read(&mut self, source: &Arc<Source>, path: Option<&Path>) {
        let dir = path.and_then(Path::parent);
        if let Some(path) = path {
            self.chain.push(include::identity(path));
        }
        let mut builder = Builder::new(source);
        if let Err(error) = self.documents(&mut builder, dir) {
            self.syntax_error(&builder, error, source);
        }
        if path.is_some() {
            self.chain.pop();
        }
    }

    fn documents(&mut self, builder: &mut Builder, dir: Option<&Path>) -> Result<(), SyntaxError> {
        loop {
            let first = builder.next()?;
            match &first.event {
                Event::End => return Ok(()),
                Event::DocumentStart | Event::DocumentEnd => {}
                Event::MappingStart(_) => self.entries(builder, dir)?,
                _ => {
                    let Some(node) = builder.node(first)? else { continue };
                    if !node.is_nothing() {
                        let header =
                            matches!(&node.kind, Kind::Scalar { text, .. } if text.starts_with("YAML "));
                        let help = if header {
                            "write `%YAML 1.1`, with the percent sign, or remove the line"
                        } else {
                            "a configuration is a mapping: `connection: &name` with accepter: and \
                             connector: below it"
                        };
                        let message =
                            format!("{} where keys such as 'connection:' are expected", node.describe());
                        self.structure(&node.span, message, help);
                    }
                }
            }
        }
    }

    /// The entries of one document.
    fn entries(&mut self, builder: &mut Builder, dir: Option<&Path>) -> Result<(), SyntaxError> {
        let mut seen: [bool; 2] = [false; 2];
        loop {
            let next = builder.next()?;
            let Some(key) = builder.node(next)? else { return Ok(()) };
            let next = builder.next()?;
            let Some(value) = builder.node(next)? else { return Ok(()) };
            let Kind::Scalar { text: word, .. } = &key.kind else {
                self.structure(
                    &key.span,
                    format!("{} where a key of the main level is expected", key.describe()),
                    "write a key such as 'connection:'",
                );
                continue;
            };
            let word = word.trim();
            if OWN_KEYS.contains(&word) {
                self.setting(word, &value, dir);
                continue;
            }
            let Some((_, version)) = MAIN_KEYS.iter().find(|(known, _)| *known == word) else {
                self.unknown_main_key(word, &key.span);
                continue;
            };
            if word != "include" {
                self.mixed(&mut seen, *version, &key.span);
            }
            self.entry(word, &key, &value, Place { dir, version: *version });
        }
    }

    fn entry(&mut self, word: &str, key: &Node, value: &Node, place: Place<'_>) {
        match word {
            "connection" => self.connection_entry(key, value, place),
            "connections" => self.connections(value, place),
            "define" => self.define(key, value, place),
            "defines" => self.defines(value, place),
            "default" => self.default_entry(key, value, place),
            "defaults" => self.defaults_map(value, place),
            "delete_default" => self.delete_default(key, value, place),
            "delete_defaults" => self.delete_defaults(value),
            "include" => self.include(value, place),
            "rotator" => self.rotator_entry(key, value, place),
            "rotators" => self.rotators(value, place),
            "led" => self.led_entry(key, value, place),
            "leds" => self.leds(value, place),
            "admin" => self.admin_entry(key, value, place),
            "admins" => self.admins(value, place),
            _ => self.unknown_main_key(word, &key.span),
        }
    }

    fn mixed(&mut self, seen: &mut [bool; 2], version: Version, span: &Span) {
        let before = *seen;
        seen[usize::from(version == Version::Two)] = true;
        if before != *seen && *seen == [true, true] {
            self.diagnostics.push(Diagnostic {
                later: false,
                severity: Severity::Warning,
                span: Some(span.clone()),
                message: "keys of version 1 and version 2 in one document; ser2net refuses this".to_owned(),
                help: Some("keep to `connection: &name` or to `connections:`".to_owned()),
                connection: None,
            });
        }
    }

    fn unknown_main_key(&mut self, word: &str, span: &Span) {
        let keys = MAIN_KEYS.iter().map(|(key, _)| *key).chain(OWN_KEYS);
        let help = match super::suggest::nearest(word, keys) {
            _ if connection::is_connection_key(word) => {
                format!("'{word}:' belongs to a connection: indent it below `connection: &name`")
            }
            Some(near) => format!("did you mean '{near}:'?"),
            None => "the keys of the main level are connection, define, default, include, rotator, \
                     admin, led, their plurals, metrics and allow"
                .to_owned(),
        };
        self.structure(span, format!("unknown key '{word}' at the main level"), &help);
    }

    /// serbroker's own settings.
    fn setting(&mut self, word: &str, value: &Node, dir: Option<&Path>) {
        let place = Place { dir, version: Version::One };
        let mut problems = Vec::new();
        let raw = self.raw_value(value, place, &mut problems);
        for (span, problem) in problems {
            self.report(span, problem, None);
        }
        self.file.settings.push((Spanned { value: word.to_owned(), span: value.span.clone() }, raw));
    }

    /// A value with its substitutions made.
    fn raw_value(&mut self, node: &Node, place: Place<'_>, problems: &mut Vec<(Span, Problem)>) -> RawValue {
        match &node.kind {
            Kind::Scalar { .. } | Kind::Alias(_) => RawValue::Scalar(self.text(node, place, problems)),
            Kind::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    let value = self.raw_value(item, place, problems);
                    list.push(Spanned { value, span: item.span.clone() });
                }
                RawValue::List(list)
            }
            Kind::Map(entries) => {
                let mut map = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    let name = self.text(key, place, problems);
                    let raw = self.raw_value(value, place, problems);
                    map.push((
                        Spanned { value: name, span: key.span.clone() },
                        Spanned { value: raw, span: value.span.clone() },
                    ));
                }
                RawValue::Map(map)
            }
        }
    }

    /// A scalar or alias as text; anything else is a problem.
    fn text(&mut self, node: &Node, place: Place<'_>, problems: &mut Vec<(Span, Problem)>) -> String {
        let text = match &node.kind {
            Kind::Alias(name) => match self.names.get(name) {
                Ok(text) => text,
                Err(problem) => {
                    problems.push((node.span.clone(), problem));
                    String::new()
                }
            },
            Kind::Scalar { text, .. } => {
                let (made, found) = self.names.substitute(text, place.version, place.dir);
                for problem in found {
                    problems.push((part_of(&node.span, text, problem.part), problem));
                }
                made
            }
            Kind::List(_) | Kind::Map(_) => {
                problems.push((
                    node.span.clone(),
                    Problem {
                        message: format!("{} found where a text is expected", node.describe()),
                        help: None,
                        part: None,
                        warning: false,
                        undefined: false,
                    },
                ));
                String::new()
            }
        };
        if let Some((name, _)) = &node.anchor {
            self.names.define(name, text.clone());
        }
        text
    }

    fn report(&mut self, span: Span, problem: Problem, connection: Option<&str>) {
        let severity = if problem.warning { Severity::Warning } else { Severity::Error };
        self.diagnostics.push(Diagnostic {
            later: false,
            severity,
            span: Some(span),
            message: problem.message,
            help: problem.help,
            connection: connection.filter(|_| !problem.warning).map(str::to_owned),
        });
    }

    /// An error after which the meaning of the rest is open.
    fn structure(&mut self, span: &Span, message: String, help: &str) {
        let first = !self.stopped;
        self.stopped = true;
        let kept = self.file.connections.len();
        let mut help = help.to_owned();
        if first && kept > 0 {
            help.push_str("; only the connections before this place run");
        }
        self.diagnostics.push(Diagnostic {
            later: false,
            severity: if kept == 0 { Severity::Fatal } else { Severity::Error },
            span: Some(span.clone()),
            message,
            help: Some(help),
            connection: None,
        });
    }

    fn syntax_error(&mut self, builder: &Builder, error: SyntaxError, source: &Source) {
        let (at, hint) = explain(&error, &source.text);
        let mut message = error.message;
        if let Some((context, begin)) = error.context {
            let (line, column) = builder.span(begin, begin).line_column();
            message = format!("{message} {context} that begins at line {line}, column {column}");
        }
        let end = source.text[at..].chars().next().map_or(at, |c| at + c.len_utf8());
        self.structure(&builder.span(at, end), format!("not valid YAML: {message}"), hint);
    }

    /// Keeps a connection, unless the structure broke before it.
    fn keep(&mut self, connection: RawConnection) {
        if !self.stopped {
            self.file.connections.push(connection);
        }
    }
}

/// The place of a part of a scalar, when the scalar stands in the text as it is.
fn part_of(span: &Span, text: &str, part: Option<(usize, usize)>) -> Span {
    let Some((start, end)) = part else { return span.clone() };
    let written = span.source.text.get(span.start..span.end).unwrap_or("");
    let Some(piece) = text.get(start..end) else { return span.clone() };
    // quotes and folding move the parts: look for the nth piece of this look
    let nth = text[..start].matches(piece).count();
    match written.match_indices(piece).nth(nth) {
        Some((at, _)) if !piece.is_empty() => Span {
            source: Arc::clone(&span.source),
            start: span.start + at,
            end: span.start + at + piece.len(),
        },
        _ => span.clone(),
    }
}

/// Where a syntax error shall point, and what to do about it.
fn explain(error: &SyntaxError, text: &str) -> (usize, &'static str) {
    let mut at = error.at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    if error.message.contains("control characters") {
        let bad = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{85}');
        let found = text.find(bad).unwrap_or(at);
        return (found, "remove the character");
    }
    let line = text[..at].rfind('\n').map_or(0, |i| i + 1);
    let indent = text[line..].split(|c: char| !c.is_whitespace()).next().unwrap_or("");
    if indent.contains('\t') {
        return (line + indent.find('\t').unwrap_or(0), "indent with blanks; YAML does not allow tabs");
    }
    let hint = if error.message.contains("end of stream") {
        "a quote or bracket that is opened must be closed"
    } else if error.message.contains("mapping values") {
        "one key a line; a text that holds ': ' must stand in quotes"
    } else if error.message.contains("expected key") && comment_before(&text[..line]) {
        "a comment ends the text that goes on here; put it on a line of its own, above the key"
    } else {
        "check the indentation: keys of one connection begin in the same column"
    };
    (at, hint)
}

/// The last line ends with a comment, and with something before it.
fn comment_before(text: &str) -> bool {
    let last = text.trim_end().rsplit('\n').next().unwrap_or("").trim_start();
    !last.starts_with('#') && (last.contains(" #") || last.contains("\t#"))
}

#[cfg(test)]
mod tests;
