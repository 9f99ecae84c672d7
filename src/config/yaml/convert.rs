//! YAML files of both versions as version 2 outlines.

mod nodes;
mod values;

use super::MAIN_KEYS;
use super::event::{Event, SyntaxError};
use super::names::Version;
use super::tree::{Builder, Kind, Node};
use crate::config::convert::notes::Notes;
use crate::config::convert::outline::{Body, Entry, Item, Note, Value};
use crate::config::convert::{self, Context, default_row, literal, option_row};
use crate::config::error::{Source, Span};
use crate::config::raw::{RawConnection, RawValue};
use nodes::{column, end_of, field, is_key, line_end, map_key, name_key, places};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use values::with_type;

/// Rewrites a text.
pub(in crate::config) fn outline(source: &Arc<Source>, context: &mut Context<'_>) -> Body {
    let (entries, good) = read(source);
    let mut taken = Vec::new();
    for (key, value) in &entries {
        places(key, &mut taken);
        if let Some(value) = value {
            places(value, &mut taken);
        }
    }
    taken.sort_by_key(|range| range.start);
    let notes = Notes::of_yaml(&source.text[..good], &taken);
    let mut rewriter = Rewriter {
        source,
        context,
        notes,
        taken,
        names: HashMap::new(),
        lifted: Vec::new(),
        one_line: false,
        body: Body::default(),
    };
    for (key, value) in &entries {
        rewriter.main_entry(key, value.as_ref());
    }
    let rest = rewriter.notes.before(usize::MAX);
    rewriter.body.note(rest);
    if !source.text[good..].trim().is_empty() {
        let rest = rewriter.span(good, source.text.len());
        let notes = rewriter.context.left_out(&rest);
        rewriter.body.note([Note::Blank]);
        rewriter.body.note(notes);
    }
    convert::finished(rewriter.body)
}

/// The entries of the main level of all documents, and the byte up to which the text can be read.
/// A document that is no mapping is a key without a value.
fn read(source: &Arc<Source>) -> (Vec<(Node, Option<Node>)>, usize) {
    let mut builder = Builder::new(source);
    let mut entries = Vec::new();
    if documents(&mut builder, &mut entries).is_ok() {
        return (entries, source.text.len());
    }
    let end_of_entry =
        |(key, value): &(Node, Option<Node>)| value.as_ref().map_or(key.span.end, end_of).max(key.span.end);
    // to the end of the line: a comment may stand there
    let end = entries.last().map_or(0, |entry| line_end(&source.text, end_of_entry(entry)));
    (entries, end)
}

/// A file has entries of version 1, or does not hold YAML at all.
pub(in crate::config) fn is_first_version(source: &Arc<Source>) -> bool {
    let (entries, _) = read(source);
    entries.iter().any(|(key, _)| match &key.kind {
        Kind::Scalar { text, .. } => MAIN_KEYS.contains(&(text.trim(), Version::One)),
        _ => false,
    })
}

fn documents(builder: &mut Builder, entries: &mut Vec<(Node, Option<Node>)>) -> Result<(), SyntaxError> {
    loop {
        let first = builder.next()?;
        match &first.event {
            Event::End => return Ok(()),
            Event::DocumentStart | Event::DocumentEnd => {}
            Event::MappingStart(_) => loop {
                let next = builder.next()?;
                let Some(key) = builder.node(next)? else { break };
                let next = builder.next()?;
                let value = builder.node(next)?;
                entries.push((key, value));
            },
            _ => entries.extend(builder.node(first)?.filter(|n| !n.is_nothing()).map(|node| (node, None))),
        }
    }
}

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// A text that was defined.
    Text,
    /// Itself: a connection, a rotator, an LED.
    Itself,
}

struct Rewriter<'a, 'c> {
    source: &'a Arc<Source>,
    context: &'a mut Context<'c>,
    notes: Notes,
    /// Places of all scalars, in order.
    taken: Vec<Range<usize>>,
    names: HashMap<String, Meaning>,
    /// Definitions from anchors inside of the entry at hand, which have to stand in front of it.
    lifted: Vec<Entry>,
    /// What is read is written on one line, so comments wait.
    one_line: bool,
    body: Body,
}

impl Rewriter<'_, '_> {
    fn span(&self, start: usize, end: usize) -> Span {
        Span { source: Arc::clone(self.source), start, end }
    }

    fn main_entry(&mut self, key: &Node, value: Option<&Node>) {
        let lead = self.notes.before(key.span.start);
        self.body.note(lead);
        let word = match &key.kind {
            Kind::Scalar { text, .. } => text.trim(),
            _ => "",
        };
        let Some(value) = value else { return self.leave_out(key, key) };
        let part = self.span(key.span.start, end_of(value));
        if word != "connections" && self.context.is_broken(&part) {
            return self.leave_out(key, value);
        }
        if super::OWN_KEYS.contains(&word) || word == "include" {
            let trailing = self.behind_key(key, value);
            let converted = self.own_value(value);
            let trailing = trailing.or_else(|| self.behind(value));
            self.body.push(Entry { trailing, ..Entry::new(word, converted) });
            return;
        }
        let Some((word, version)) = MAIN_KEYS.iter().find(|(known, _)| *known == word) else {
            return self.leave_out(key, value);
        };
        match version {
            Version::One => self.entry(word, key, value),
            Version::Two => self.section(word, key, value),
        }
    }

    /// Turns an entry into comments.
    fn leave_out(&mut self, key: &Node, value: &Node) {
        let notes = self.dropped(key, value);
        self.body.note(notes);
    }

    fn dropped(&mut self, key: &Node, value: &Node) -> Vec<Note> {
        let end = end_of(value).max(key.span.end);
        // up to the end of the line, unless more follows there (a flow mapping)
        let line = line_end(&self.source.text, end);
        let rest = self.source.text[end..line].trim_start();
        let end = if rest.is_empty() || rest.starts_with('#') { line } else { end };
        let part = self.span(key.span.start, end);
        let notes = self.context.left_out(&part);
        // its comments are among the lines
        self.notes.before(end);
        notes
    }

    /// An entry of version 1.
    fn entry(&mut self, word: &str, key: &Node, value: &Node) {
        let anchor = value.anchor.as_ref();
        match word {
            "connection" => {
                let by_key = name_key(value);
                let name = anchor.cloned().or_else(|| by_key.clone());
                let raw = name.as_ref().and_then(|(_, span)| self.context.running(span));
                let (Some((name, _)), Some(raw)) = (name, raw) else { return self.leave_out(key, value) };
                let named_by_key = anchor.is_none();
                self.connection(&name, key, value, raw, Version::One, named_by_key);
            }
            "define" => {
                let Some((name, _)) = anchor else { return self.leave_out(key, value) };
                let trailing = self.behind_key(key, value);
                let text = self.bare_text(value, Version::One);
                self.names.insert(name.clone(), Meaning::Text);
                let trailing = trailing.or_else(|| self.behind(value));
                let entry = Entry { trailing, ..Entry::text(literal(name), text) };
                self.body.push_into("defines", entry);
            }
            "default" => {
                let (Some(name), Kind::Map(_)) = (field(value, "name"), &value.kind) else {
                    return self.leave_out(key, value);
                };
                let Kind::Scalar { text: name, .. } = &name.kind else { return self.leave_out(key, value) };
                self.default(name, key, value, Version::One);
            }
            "delete_default" => {
                let text = |name| match field(value, name).map(|node| &node.kind) {
                    Some(Kind::Scalar { text, .. }) => Some(text.clone()),
                    _ => None,
                };
                let (Some(name), Some(class)) = (text("name"), text("class")) else {
                    return self.leave_out(key, value);
                };
                let trailing = self.behind_key(key, value);
                let item = Item { lead: Vec::new(), value: Value::Text(class), trailing: None };
                let name = name.trim_end_matches(',');
                let entry = Entry { trailing, ..Entry::new(name, Value::List(vec![item])) };
                self.body.push_into("delete_defaults", entry);
                let inside = self.notes.before(end_of(value));
                self.body.note(inside);
            }
            _ => {
                // rotator, led, admin
                let name = anchor.map_or(word, |(name, _)| name);
                self.names.insert(name.to_owned(), Meaning::Itself);
                let trailing = self.behind_key(key, value);
                let converted = self.value(value, Version::One);
                let trailing = trailing.or_else(|| self.behind(value));
                let entry = Entry { trailing, ..Entry::new(name, converted) };
                self.put(&format!("{word}s"), entry, Version::One);
            }
        }
    }

    /// A section of version 2.
    fn section(&mut self, word: &str, key: &Node, value: &Node) {
        let Kind::Map(entries) = &value.kind else { return self.leave_out(key, value) };
        let column = column(entries.first().map(|(key, _)| key));
        let comment = self.behind_key(key, value);
        let outer = std::mem::take(&mut self.body);
        for (key, value) in entries {
            let lead = self.notes.before(key.span.start);
            self.body.note(lead);
            let Kind::Scalar { text: name, .. } = &key.kind else {
                self.leave_out(key, value);
                continue;
            };
            match word {
                "connections" => match self.context.running(&key.span) {
                    Some(raw) => self.connection(name, key, value, raw, Version::Two, false),
                    None => self.leave_out(key, value),
                },
                "defaults" => self.default(name, key, value, Version::Two),
                _ => {
                    let meaning = if word == "defines" { Meaning::Text } else { Meaning::Itself };
                    let trailing = self.behind_key(key, value);
                    let converted = self.value(value, Version::Two);
                    let trailing = trailing.or_else(|| self.behind(value));
                    self.names.insert(name.clone(), meaning);
                    self.body.push(Entry { trailing, ..Entry::new(name, converted) });
                }
            }
        }
        let below = self.below(column, value);
        self.body.note(below);
        let comment = comment.or_else(|| self.behind(value));
        let inner = std::mem::replace(&mut self.body, outer);
        self.put_lifted();
        if inner.entries.is_empty() {
            self.body.note(comment.map(Note::Comment));
            self.body.note(inner.tail);
        } else {
            self.body.push(Entry { trailing: comment, ..Entry::new(word, Value::Map(inner)) });
        }
    }

    fn default(&mut self, name: &str, key: &Node, value: &Node, version: Version) {
        let mut trailing = self.behind_key(key, value);
        let (mut text, mut class) = (String::new(), String::new());
        let mut body = Body::default();
        if let Kind::Map(entries) = &value.kind {
            for (key, value) in entries {
                let lead = self.notes.before(key.span.start);
                body.note(lead);
                let converted = self.text(value, version);
                let behind = self.behind(value);
                if is_key(key, "name") {
                    body.note(behind.map(Note::Comment));
                    continue;
                }
                let word = if is_key(key, "class") { "class" } else { "value" };
                let slot = if word == "class" { &mut class } else { &mut text };
                slot.clone_from(&converted);
                body.push(Entry { trailing: behind, ..Entry::text(word, converted) });
            }
            let below = self.below(column(map_key(value)), value);
            body.note(below);
            trailing = trailing.or_else(|| self.behind(value));
        } else {
            text = self.text(value, version);
            body.push(Entry { trailing: self.behind(value), ..Entry::text("value", text.clone()) });
        }
        let span = field(value, "name").filter(|_| version == Version::One).map_or(&key.span, |n| &n.span);
        let shown = Entry::text(name, text.clone());
        if let Some(note) = self.context.idle(&shown, default_row(&class, name), &text, span) {
            self.body.note(
                body.entries
                    .into_iter()
                    .flat_map(|e| e.lead.into_iter().chain(e.trailing.map(Note::Comment))),
            );
            self.body.note(body.tail);
            self.body.note([note]);
            self.body.note(trailing.map(Note::Comment));
            return;
        }
        let entry = Entry { trailing, ..Entry::new(name, Value::Map(body)) };
        self.put("defaults", entry, version);
    }

    fn connection(
        &mut self,
        name: &str,
        key: &Node,
        value: &Node,
        raw: &RawConnection,
        version: Version,
        named_by_key: bool,
    ) {
        let trailing = self.behind_key(key, value);
        let mut body = Body::default();
        let entries: &[(Node, Node)] = if let Kind::Map(entries) = &value.kind { entries } else { &[] };
        for (key, value) in entries {
            let lead = self.notes.before(key.span.start);
            body.note(lead);
            let Kind::Scalar { text: word, .. } = &key.kind else { continue };
            match word.as_str() {
                "options" => self.options(&mut body, key, value, raw, version),
                "name" if named_by_key => body.note(self.behind(value).map(Note::Comment)),
                "name" => {
                    let notes = self.dropped(key, value);
                    body.note(notes);
                }
                "accepter" => {
                    let before = self.behind_key(key, value);
                    let text = self.text(value, version);
                    let text = with_type(text, &raw.accepter.value, &convert::typed(&raw.accepter.value));
                    let trailing = before.or_else(|| self.behind(value));
                    body.push(Entry { trailing, ..Entry::text("accepter", text) });
                }
                "connector" => {
                    let before = self.behind_key(key, value);
                    let text = self.text(value, version);
                    let typed = convert::typed_connector(&raw.connector.value);
                    let text = with_type(text, &raw.connector.value, &typed);
                    let trailing = before.or_else(|| self.behind(value));
                    body.push(Entry { trailing, ..Entry::text("connector", text) });
                }
                other => {
                    let before = self.behind_key(key, value);
                    let converted = self.value(value, version);
                    let trailing = before.or_else(|| self.behind(value));
                    body.push(Entry { trailing, ..Entry::new(other, converted) });
                }
            }
        }
        let below = self.below(column(map_key(value)), value);
        body.note(below);
        self.names.insert(name.to_owned(), Meaning::Itself);
        let trailing = trailing.or_else(|| self.behind(value));
        let entry = Entry { trailing, ..Entry::new(name, Value::Map(body)) };
        self.put("connections", entry, version);
    }

    /// `options:`; several of them in one connection become one.
    fn options(&mut self, body: &mut Body, key: &Node, value: &Node, raw: &RawConnection, version: Version) {
        let comment = self.behind_key(key, value);
        let mut options = Body::default();
        let entries: &[(Node, Node)] = if let Kind::Map(entries) = &value.kind { entries } else { &[] };
        for (key, value) in entries {
            let lead = self.notes.before(key.span.start);
            options.note(lead);
            let before = self.behind_key(key, value);
            let read = raw.options.iter().find(|option| option.name.span == key.span);
            let written =
                self.option_value(value, read.and_then(|o| o.value.as_ref()).map(|v| &v.value), version);
            let trailing = before.or_else(|| self.behind(value));
            let name = read.map_or_else(String::new, |option| option.name.value.clone());
            let Some(written) = written else {
                let shown = self.source.text.get(value.span.start..value.span.end).unwrap_or("");
                options.note([Note::comment(&format!("left out: {name}: {shown}"))]);
                options.note(trailing.map(Note::Comment));
                continue;
            };
            let entry = Entry { trailing, ..Entry::new(literal(&name), written) };
            let text = match read.and_then(|o| o.value.as_ref()).map(|v| &v.value) {
                Some(RawValue::Scalar(text)) => text.as_str(),
                _ => "",
            };
            match self.context.idle(&entry, option_row(&name), text, &key.span) {
                Some(note) => {
                    options.note([note]);
                    options.note(entry.trailing.map(Note::Comment));
                }
                None => options.push(entry),
            }
        }
        let below = self.below(column(map_key(value)), value);
        options.note(below);
        let comment = comment.or_else(|| self.behind(value));
        if options.entries.is_empty() {
            body.note(comment.map(Note::Comment));
            return body.note(options.tail);
        }
        if let Some(Entry { value: Value::Map(earlier), .. }) =
            body.entries.iter_mut().find(|entry| entry.key == "options")
        {
            earlier.note(std::mem::take(&mut body.tail));
            earlier.note(comment.map(Note::Comment));
            for entry in options.entries {
                earlier.push(entry);
            }
            return earlier.note(options.tail);
        }
        body.push(Entry { trailing: comment, ..Entry::new("options", Value::Map(options)) });
    }

    fn put_lifted(&mut self) {
        let notes = std::mem::take(&mut self.body.tail);
        for entry in std::mem::take(&mut self.lifted) {
            self.body.push_into("defines", entry);
        }
        self.body.tail = notes;
    }

    /// Appends an entry to its section (version 1) or to the section at hand (version 2).
    fn put(&mut self, section: &str, entry: Entry, version: Version) {
        match version {
            Version::One => {
                self.put_lifted();
                self.body.push_into(section, entry);
            }
            Version::Two => self.body.push(entry),
        }
    }

    /// The comment behind a key whose value begins on another line.
    fn behind_key(&mut self, key: &Node, value: &Node) -> Option<String> {
        let after = value.anchor.as_ref().map_or(key.span.end, |(_, span)| span.end);
        // behind an anchor only what is inside tells where a block begins
        let inside = match &value.kind {
            Kind::Map(entries) => entries.first().map(|(key, _)| key.span.start),
            Kind::List(items) => items.first().map(|item| item.span.start),
            Kind::Scalar { .. } | Kind::Alias(_) => None,
        };
        let begins = inside.unwrap_or(value.span.start).max(after);
        let same_line = !self.source.text.get(after..begins).unwrap_or("").contains('\n');
        if same_line && !value.is_nothing() { None } else { self.notes.behind(&self.source.text, after) }
    }

    /// The comment behind a value.
    fn behind(&mut self, value: &Node) -> Option<String> {
        match value.kind {
            // what stands behind the last value of a block was found there
            Kind::Map(_) if !self.source.text[value.span.start..].starts_with('{') => None,
            _ => self.notes.behind(&self.source.text, end_of(value)),
        }
    }

    /// The comments below the last key of a mapping, whose keys stand in a column.
    fn below(&mut self, column: usize, map: &Node) -> Vec<Note> {
        if map_key(map).is_none() {
            // an empty mapping is written on one line: what comes next takes its comments
            return Vec::new();
        }
        let mut notes = self.notes.before(end_of(map));
        let next = self.taken.partition_point(|range| range.start < end_of(map));
        let limit = self.taken.get(next).map_or(usize::MAX, |range| range.start);
        notes.extend(self.notes.below(column, limit));
        notes
    }
}
