//! Turns files of every format into version 2 YAML (`serbroker convert`).
//!
//! A front end rewrites its text into an outline, entry by entry and with the comments. Then
//! the outline is written, and what it means is compared with what the original means: a conversion
//! is not believed, it is checked.

mod compare;
mod model;
pub(in crate::config) mod notes;
pub(in crate::config) mod outline;
#[cfg(test)]
mod tests;

use super::error::{Diagnostic, Severity, Source, Span};
use super::load::{self, Format, Text};
use super::options::{self, Kind, Place, Row, Status};
use super::raw::{RawConnection, RawFile};
use super::resolve;
use super::{Config, legacy, yaml};
use outline::{Body, Entry, Note};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

#[cfg(test)]
pub(in crate::config) use model::canonical as accepter_text;
pub use model::to_yaml;

pub(in crate::config) use compare::{typed, typed_connector};

/// A converted text and what is to be said about it.
#[derive(Debug)]
pub struct Conversion {
    /// Version 2 YAML.
    pub text: String,
    /// What was wrong with the original, and what could not be carried over.
    pub remarks: Vec<Diagnostic>,
}

impl Conversion {
    /// Every connection of the original runs from the converted text as it did before.
    pub fn is_complete(&self) -> bool {
        self.remarks.iter().all(|d| d.severity == Severity::Warning)
    }
}

/// Converts a text. `name` is what messages call it, `path` where it stands: files that it includes
/// are looked for beside it.
pub fn convert(text: &str, name: &str, path: &Path) -> Conversion {
    let source = Arc::new(Source::new(name, text));
    let Text { file: raw, diagnostics, inclusions } = load::load_source(&source, path);
    let (config, more) = resolve::resolve(&raw);
    let mut context = Context::new(&source, &raw, &config, diagnostics.into_iter().chain(more));
    let mut body = match load::recognise(text, path) {
        Format::Yaml => yaml::convert::outline(&source, &mut context),
        Format::Legacy => legacy::convert::outline(&source, &mut context),
    };
    let mut remarks = context.diagnostics;
    remarks.extend(inclusions.iter().filter_map(|(span, file)| left_behind(span, file)));
    let (mut text, mut found) = checked(&body, name, path, &config);
    if model::replace(&mut body, &config, &found.connections) {
        (text, found) = checked(&body, name, path, &config);
    }
    remarks.extend(differences(&raw, found));
    Conversion { text, remarks }
}

/// What is to be said about an included file, which stays as it is: nothing if it needs no conversion.
fn left_behind(span: &Span, file: &Arc<Source>) -> Option<Diagnostic> {
    yaml::convert::is_first_version(file).then(|| {
        let message = format!("{} is included and not converted with this file", file.name);
        Diagnostic::new(Severity::Warning, span.clone(), message)
            .help("it is of version 1: convert it too, and put the result in its place")
    })
}

/// The text of an outline, and what it does in another way than it should.
fn checked(body: &Body, name: &str, path: &Path, before: &Config) -> (String, compare::Differences) {
    let result = Arc::new(Source::new(name, outline::write(body)));
    let raw = load::load_source(&result, path).file;
    let (after, _) = resolve::resolve(&raw);
    (result.text.clone(), compare::compare(before, &after))
}

/// What of the original the converted text does not do in the same way.
fn differences(raw: &RawFile, found: compare::Differences) -> Vec<Diagnostic> {
    let place = |name: &str| raw.connections.iter().find(|c| c.name.value == name);
    let say = |severity, connection: Option<String>, message| Diagnostic {
        severity,
        span: connection.as_deref().and_then(place).map(|c| c.name.span.clone()),
        message,
        help: None,
        connection,
        later: false,
    };
    let mut list = Vec::new();
    for (name, what) in found.connections {
        let message = format!("the conversion is not the same: {what}");
        list.push(say(Severity::Error, Some(name), message));
    }
    for what in found.others {
        list.push(say(Severity::Error, None, format!("the conversion is not the same: {what}")));
    }
    for (name, escape, before, now) in found.shown {
        let message = format!("\\{escape} in its texts shows '{now}' from now on, no longer '{before}'");
        list.push(say(Severity::Warning, Some(name), message));
    }
    list
}

/// What a front end needs to know about the original while it rewrites it.
pub(in crate::config) struct Context<'a> {
    /// Connections that run, by the first byte of their name in the text.
    running: HashMap<usize, &'a RawConnection>,
    /// Everything that is said about the original, and what the conversion adds.
    diagnostics: Vec<Diagnostic>,
    /// Those about the text, by the first byte that they are about.
    places: BTreeMap<usize, Vec<usize>>,
}

impl<'a> Context<'a> {
    fn new(
        source: &Arc<Source>,
        raw: &'a RawFile,
        config: &Config,
        diagnostics: impl Iterator<Item = Diagnostic>,
    ) -> Self {
        let names: HashSet<&str> = config.connections.iter().map(|c| &*c.name).collect();
        let runs = |c: &&RawConnection| {
            Arc::ptr_eq(&c.name.span.source, source) && names.contains(c.name.value.as_str())
        };
        let running = raw.connections.iter().filter(runs).map(|c| (c.name.span.start, c)).collect();
        let mut context = Self { running, diagnostics: Vec::new(), places: BTreeMap::new() };
        for diagnostic in diagnostics {
            // what is said about included files belongs to no place of this text
            let here = diagnostic.span.as_ref().is_some_and(|span| Arc::ptr_eq(&span.source, source));
            context.push(diagnostic, here);
        }
        context
    }

    fn push(&mut self, diagnostic: Diagnostic, here: bool) {
        if let Some(span) = diagnostic.span.as_ref().filter(|_| here) {
            self.places.entry(span.start).or_default().push(self.diagnostics.len());
        }
        self.diagnostics.push(diagnostic);
    }

    /// The connection whose name begins at this place, when it runs.
    pub(in crate::config) fn running(&self, name: &Span) -> Option<&'a RawConnection> {
        self.running.get(&name.start).copied()
    }

    /// What is said about a part of the text.
    fn about(&self, part: &Span) -> impl Iterator<Item = &Diagnostic> {
        let found = self.places.range(part.start..part.end.max(part.start + 1));
        found.flat_map(|(_, list)| list).filter_map(|at| self.diagnostics.get(*at))
    }

    /// Why nothing runs of what stands in a part of the text.
    fn reason(&self, part: &Span) -> Option<&str> {
        let found = self.about(part).max_by_key(|d| (d.severity, !d.later))?;
        Some(&found.message)
    }

    /// Whether there is a mistake in a part of the text that belongs to no connection.
    pub(in crate::config) fn is_broken(&self, part: &Span) -> bool {
        self.about(part).any(|d| d.severity > Severity::Warning && d.connection.is_none())
    }

    /// Says something about a place of the text, unless something is said about it already.
    fn say(&mut self, diagnostic: Diagnostic) {
        let known = diagnostic.span.as_ref().is_some_and(|span| self.places.contains_key(&span.start));
        if !known {
            self.push(diagnostic, true);
        }
    }

    /// Lines of the text as comments, with the reason above them.
    pub(in crate::config) fn left_out(&mut self, part: &Span) -> Vec<Note> {
        let reason = self.reason(part).map(str::to_owned);
        if reason.is_none() {
            let message = "this is not carried over: nothing of it runs";
            self.say(Diagnostic::new(Severity::Warning, part.clone(), message));
        }
        let reason = reason.as_deref().unwrap_or("nothing of it runs");
        let mut notes = vec![Note::comment(&format!("left out: {reason}"))];
        let text = part.source.text.as_str();
        let start = text[..part.start].rfind('\n').map_or(0, |at| at + 1);
        notes.extend(commented(&text[start..part.end]));
        notes
    }

    /// The comment for an option that is not carried over, or `None` for one that is.
    pub(in crate::config) fn idle(
        &mut self,
        option: &Entry,
        row: Option<&Row>,
        text: &str,
        span: &Span,
    ) -> Option<Note> {
        let message = match row {
            Some(row) if matches!(row.status, Status::Active | Status::Moot) => return None,
            // what asks for nothing costs nothing
            Some(row) if row.read(Some(text)).is_ok_and(|read| resolve::is_idle(row, &read.value)) => {
                return None;
            }
            Some(row) => format!("option {} is not yet active", row.name),
            None => format!("'{}' is not an option", option.key),
        };
        let outline::Value::Text(value) = &option.value else { return None };
        let comment = format!("{message}: {}: {}", option.key, outline::scalar(value, false));
        self.say(Diagnostic::new(Severity::Warning, span.clone(), message).later());
        Some(Note::comment(&comment))
    }
}

/// Lines as comments. What is a comment already, or blank, stays so.
pub(in crate::config) fn commented(text: &str) -> Vec<Note> {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let filled = lines.iter().filter(|line| !line.is_empty());
    let width = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let indent = filled.map(|line| width(line)).min().unwrap_or(0);
    lines
        .iter()
        .map(|line| match line.get(indent..).unwrap_or("") {
            "" => Note::Blank,
            line if line.trim_start().starts_with('#') => Note::written(line.trim_start()),
            line => Note::comment(line),
        })
        .collect()
}

/// Whether an entry of a `default:` section does something.
pub(in crate::config) fn default_row(class: &str, name: &str) -> Option<&'static Row> {
    options::find_default(Some(class).filter(|class| !class.is_empty()), name)
}

/// The row of an option of connections.
pub(in crate::config) fn option_row(name: &str) -> Option<&'static Row> {
    options::find(Place::Connection, name).filter(|row| row.kind != Kind::Flag)
}

/// The text as version 2 writes it: `=(` and `={` would be substitutions.
pub(in crate::config) fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("=(").into_iter().chain(rest.find("={")).min() {
        out.push_str(&rest[..at + 2]);
        out.push('=');
        rest = &rest[at + 2..];
    }
    out + rest
}

/// A whole file from its entries: blank lines at the end say nothing.
pub(in crate::config) fn finished(mut body: Body) -> Body {
    while body.tail.last() == Some(&Note::Blank) {
        body.tail.pop();
    }
    body
}
