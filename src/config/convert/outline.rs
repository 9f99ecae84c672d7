//! The shape of a version 2 file with its comments, and how it is written.
//!
//! There is one way to write an outline, and reading what was written gives the same outline: that
//! is what makes a second conversion change nothing.

use std::fmt::Write as _;

/// What stands between entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum Note {
    /// Blank lines; several count as one.
    Blank,
    /// A comment of one line, with its `#`.
    Comment(String),
}

impl Note {
    /// A comment with this text behind `# `. What would end the line is made visible.
    pub(in crate::config) fn comment(text: &str) -> Self {
        Self::Comment(if text.is_empty() { "#".to_owned() } else { format!("# {}", one_line(text)) })
    }

    /// A comment as it was written, from its `#` on.
    pub(in crate::config) fn written(text: &str) -> Self {
        Self::Comment(one_line(text.trim_end()))
    }
}

/// Text without characters that YAML does not allow or takes for line ends.
fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_printable(c) || c == '\t' { out.push(c) } else { out.extend(c.escape_default()) }
    }
    out
}

/// A character that may stand in a line of YAML 1.1 as it is.
fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum Value {
    /// Text, written with quotes where it needs them.
    Text(String),
    /// `*name`, where `=(name)` is not read.
    Alias(String),
    /// A sequence.
    List(Vec<Item>),
    /// A mapping.
    Map(Body),
}

/// An item of a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct Item {
    /// What stands above it.
    pub(in crate::config) lead: Vec<Note>,
    /// The value.
    pub(in crate::config) value: Value,
    /// A comment behind it.
    pub(in crate::config) trailing: Option<String>,
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct Entry {
    /// What stands above it.
    pub(in crate::config) lead: Vec<Note>,
    /// The key.
    pub(in crate::config) key: String,
    /// The value.
    pub(in crate::config) value: Value,
    /// A comment behind the value, or behind the key of a mapping.
    pub(in crate::config) trailing: Option<String>,
}

impl Entry {
    /// An entry without comments, but for those of a mapping that has no place for them.
    pub(in crate::config) fn new(key: impl Into<String>, mut value: Value) -> Self {
        let lead = match &mut value {
            Value::Map(body) if body.entries.is_empty() => std::mem::take(&mut body.tail),
            _ => Vec::new(),
        };
        Self { lead, key: key.into(), value, trailing: None }
    }

    /// A key with a text.
    pub(in crate::config) fn text(key: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(key, Value::Text(text.into()))
    }
}

/// The entries of a mapping, and the comments below the last of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::config) struct Body {
    /// In order.
    pub(in crate::config) entries: Vec<Entry>,
    /// Below the last entry, as far to the right as the entries.
    pub(in crate::config) tail: Vec<Note>,
}

impl Body {
    /// Takes notes for what comes next: the lead of an entry, or the tail.
    pub(in crate::config) fn note(&mut self, notes: impl IntoIterator<Item = Note>) {
        self.tail.extend(notes);
    }

    /// Appends an entry; what was noted before stands above it.
    pub(in crate::config) fn push(&mut self, mut entry: Entry) {
        let mut lead = std::mem::take(&mut self.tail);
        lead.append(&mut entry.lead);
        self.entries.push(Entry { lead, ..entry });
    }

    /// Appends an entry to the section of this name, a new one when the last one is another.
    pub(in crate::config) fn push_into(&mut self, section: &str, entry: Entry) {
        if let Some(Entry { key, value: Value::Map(body), .. }) = self.entries.last_mut()
            && key == section
        {
            body.note(std::mem::take(&mut self.tail));
            body.push(entry);
            return;
        }
        // the paragraph right above the entry stays with it, what is further up introduces the section
        let mut lead = std::mem::take(&mut self.tail);
        let above = lead.iter().rposition(|note| *note == Note::Blank).map_or(0, |at| at + 1);
        let mut body = Body { entries: Vec::new(), tail: lead.split_off(above) };
        body.push(entry);
        self.entries.push(Entry { lead, ..Entry::new(section, Value::Map(body)) });
    }
}

/// Writes a whole file. A kind of section that comes again begins another document, since the keys
/// of a YAML mapping are unique.
pub(in crate::config) fn write(file: &Body) -> String {
    let mut out = "%YAML 1.1\n---\n".to_owned();
    let mut seen: Vec<&str> = Vec::new();
    let mut fresh = true;
    for entry in &file.entries {
        if seen.contains(&entry.key.as_str()) {
            while out.ends_with("\n\n") {
                out.pop();
            }
            out.push_str("\n---\n");
            seen.clear();
            fresh = true;
        }
        seen.push(&entry.key);
        write_entry(&mut out, entry, 0, fresh);
        fresh = false;
    }
    write_notes(&mut out, &file.tail, 0, fresh);
    while out.ends_with("\n\n") {
        out.pop();
    }
    out
}

fn write_notes(out: &mut String, notes: &[Note], indent: usize, mut fresh: bool) {
    for note in notes {
        match note {
            Note::Blank if fresh || out.ends_with("\n\n") => {}
            Note::Blank => out.push('\n'),
            Note::Comment(text) => {
                let _ = writeln!(out, "{:indent$}{text}", "");
                fresh = false;
            }
        }
    }
}

/// `fresh`: nothing stands above in this mapping, so blank lines have nothing to keep apart.
fn write_entry(out: &mut String, entry: &Entry, indent: usize, fresh: bool) {
    write_notes(out, &entry.lead, indent, fresh);
    let _ = write!(out, "{:indent$}{}:", "", scalar(&entry.key, false));
    let trailing = |out: &mut String| {
        if let Some(comment) = &entry.trailing {
            let _ = write!(out, " {comment}");
        }
        out.push('\n');
    };
    match &entry.value {
        Value::Map(body) if !body.entries.is_empty() => {
            trailing(out);
            write_body(out, body, indent + 2);
        }
        Value::List(items) if items.iter().any(|i| !i.lead.is_empty() || i.trailing.is_some()) => {
            trailing(out);
            for item in items {
                write_notes(out, &item.lead, indent + 2, false);
                let _ = write!(out, "{:width$}- {}", "", flow(&item.value), width = indent + 2);
                if let Some(comment) = &item.trailing {
                    let _ = write!(out, " {comment}");
                }
                out.push('\n');
            }
        }
        Value::Text(text) => {
            let _ = write!(out, " {}", scalar(text, false));
            trailing(out);
        }
        value => {
            let _ = write!(out, " {}", flow(value));
            trailing(out);
        }
    }
}

fn write_body(out: &mut String, body: &Body, indent: usize) {
    for (i, entry) in body.entries.iter().enumerate() {
        write_entry(out, entry, indent, i == 0);
    }
    write_notes(out, &body.tail, indent, false);
}

/// A value on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::Text(text) => scalar(text, true),
        Value::Alias(name) => format!("*{name}"),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| flow(&item.value)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(body) => {
            let entries: Vec<String> = body
                .entries
                .iter()
                .map(|e| format!("{}: {}", scalar(&e.key, true), flow(&e.value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

/// A text as YAML: plain when it can be, in single quotes when it must, in double quotes when it
/// holds what only escapes can say. `flow`: between brackets.
pub(in crate::config) fn scalar(text: &str, flow: bool) -> String {
    if text.chars().any(|c| !is_printable(c)) {
        return double_quoted(text);
    }
    let first = text.chars().next();
    let indicator = |c: char| "-?:,[]{}#&*!|>'\"%@`~".contains(c);
    let plain = first.is_some_and(|c| !indicator(c) && !c.is_whitespace())
        && !text.ends_with(|c: char| c.is_whitespace() || c == ':')
        && !text.contains(": ")
        && !text.contains(" #")
        // three of them begin or end a document
        && !text.starts_with("...")
        // YAML 1.1 takes these for something else than text
        && !matches!(text, "=" | "<<")
        && !(flow && text.contains([',', '[', ']', '{', '}', ':', '?']));
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

fn double_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_printable(c) => out.push(c),
            // what YAML escapes has at most 16 bits here: control characters and separators
            c => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
        }
    }
    out.push('"');
    out
}
