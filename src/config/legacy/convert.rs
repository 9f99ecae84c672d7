//! Files of the one-line format as version 2 outlines.

use super::definitions::{self, Kind};
use super::lines::{self, Line};
use super::{Session, grammar};
use crate::config::convert::notes::{Found, Notes};
use crate::config::convert::outline::{Body, Entry, Item, Note, Value};
use crate::config::convert::{self, Context, default_row, literal, option_row};
use crate::config::error::{Severity, Source, Span};
use crate::config::raw::{RawConnection, RawOption, RawValue};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Rewrites a text.
pub(in crate::config) fn outline(source: &Arc<Source>, context: &mut Context<'_>) -> Body {
    let lines = lines::lines(source);
    let names = Names::of(&lines);
    let notes = notes(source, &lines);
    let mut rewriter =
        Rewriter { source, context, names, notes, session: Session::default(), body: Body::default() };
    for line in &lines {
        rewriter.line(line);
    }
    let rest = rewriter.notes.before(usize::MAX);
    rewriter.body.note(rest);
    convert::finished(rewriter.body)
}

/// Comment lines and blank lines: those that belong to no line that says something.
fn notes(source: &Source, lines: &[Line]) -> Notes {
    let text = source.text.as_str();
    let mut found = Vec::new();
    let mut lines = lines.iter().map(Line::whole).peekable();
    let mut at = usize::from(text.starts_with('\u{feff}')) * '\u{feff}'.len_utf8();
    for physical in text[at..].split_inclusive('\n') {
        let (begin, end) = (at, at + physical.len());
        at = end;
        while lines.next_if(|span| span.end <= begin).is_some() {}
        if lines.peek().is_some_and(|span| span.start < end) {
            continue;
        }
        let body = physical.trim();
        let note = if body.starts_with('#') { Note::written(body) } else { Note::Blank };
        found.push(Found { at: begin, end, column: Some(0), note });
    }
    Notes::new(found)
}

/// What definitions are called in the new file, where all names share one space.
struct Names {
    /// Names of connections and rotators, which stand for themselves.
    taken: HashSet<String>,
    /// Keywords that define each name.
    keywords: HashMap<String, HashSet<&'static str>>,
}

impl Names {
    fn of(lines: &[Line]) -> Self {
        let mut names = Self { taken: HashSet::new(), keywords: HashMap::new() };
        for line in lines {
            let keyword = grammar::keyword(&line.text)
                .and_then(|(word, body)| Some((*definitions::KEYWORDS.iter().find(|k| **k == word)?, body)));
            match keyword {
                None => {
                    let port = grammar::fields(&line.text).port;
                    names.taken.insert(line.text[port].trim().to_owned());
                }
                Some(("ROTATOR" | "CONTROLPORT" | "DEFAULT" | "LED", _)) => {}
                Some((keyword, body)) => {
                    let name = body.split(':').next().unwrap_or("");
                    names.keywords.entry(name.to_owned()).or_default().insert(keyword);
                }
            }
        }
        names
    }

    /// The name of a definition. It is the one that it had, unless that is taken or cannot be
    /// written in a substitution.
    fn get(&self, keyword: &str, name: &str) -> String {
        let alone = self.keywords.get(name).is_none_or(|k| k.len() == 1);
        if alone && !self.taken.contains(name) && name.chars().all(fits) {
            return name.to_owned();
        }
        let mut made = plain(keyword, name);
        // two names may differ only in what cannot be written
        let same = |other: &&String| *other != name && plain(keyword, other) == made;
        let twins = self.keywords.keys().filter(same).filter(|other| other.as_str() < name).count();
        if twins > 0 {
            made = format!("{made}-{}", twins + 1);
        }
        while self.taken.contains(&made) || self.keywords.contains_key(&made) {
            made.push('_');
        }
        made
    }
}

/// A character that can be part of a name in a substitution.
fn fits(c: char) -> bool {
    c.is_alphanumeric() || "_-./".contains(c)
}

fn plain(keyword: &str, name: &str) -> String {
    let letters: String = name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    format!("{}-{letters}", keyword.to_lowercase())
}

struct Rewriter<'a, 'c> {
    source: &'a Arc<Source>,
    context: &'a mut Context<'c>,
    names: Names,
    notes: Notes,
    /// Reads the lines again, so that definitions are known as they are at each line.
    session: Session,
    body: Body,
}

impl Rewriter<'_, '_> {
    fn line(&mut self, line: &Line) {
        let whole = line.whole();
        let lead = self.notes.before(whole.start);
        self.body.note(lead);
        // what was said about earlier lines is of no use any more
        self.session.diagnostics.clear();
        self.session.line(line);
        let wrong = self.session.diagnostics.iter().any(|d| d.severity > Severity::Warning);
        match grammar::keyword(&line.text) {
            Some((word, body)) if definitions::KEYWORDS.contains(&word) => {
                if wrong || !self.definition(line, word, body) {
                    self.leave_out(&whole);
                }
            }
            _ => self.port(line),
        }
    }

    fn leave_out(&mut self, part: &Span) {
        let notes = self.context.left_out(part);
        self.body.note(notes);
    }

    /// A definition line; `false` when version 2 has nothing for it.
    fn definition(&mut self, line: &Line, keyword: &str, body: &str) -> bool {
        let (name, text) = body.split_once(':').unwrap_or((body, ""));
        match keyword {
            "ROTATOR" => {
                let port = name.trim();
                let items = text.split_whitespace().map(|connection| Item {
                    lead: Vec::new(),
                    value: Value::Text(literal(connection)),
                    trailing: None,
                });
                let rotator = Body {
                    entries: vec![
                        Entry::text("accepter", literal(&convert::typed(port))),
                        Entry::new("connections", Value::List(items.collect())),
                    ],
                    tail: Vec::new(),
                };
                self.body.push_into("rotators", Entry::new(format!("rotator-{port}"), Value::Map(rotator)));
            }
            "CONTROLPORT" => {
                // behind a further colon stood options of 2.x
                let accepter = Entry::text("accepter", literal(&convert::typed(name.trim())));
                let admin = Body { entries: vec![accepter], tail: Vec::new() };
                self.body.push_into("admins", Entry::new("admin", Value::Map(admin)));
            }
            "LED" => return self.led(name, text),
            "DEFAULT" => return self.default(line, body),
            "RS485CONF" => {
                let notes = [&line.text, "is rs485=... in the connectors below"].map(Note::comment);
                self.body.note(notes);
            }
            "DEVICE" => {
                let entry = Entry::text(literal(&self.names.get(keyword, name)), literal(text.trim()));
                self.body.push_into("defines", entry);
            }
            _ => {
                let entry = Entry::text(literal(&self.names.get(keyword, name)), literal(text));
                self.body.push_into("defines", entry);
            }
        }
        true
    }

    fn led(&mut self, name: &str, text: &str) -> bool {
        let (driver, parameters) = text.split_once(':').unwrap_or((text, ""));
        if driver != "sysfs" {
            return false;
        }
        let mut led = Body::default();
        led.push(Entry::text("driver", driver));
        let mut options = Body::default();
        for word in parameters.split_whitespace() {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            options.push(Entry::text(literal(key), literal(value)));
        }
        if !options.entries.is_empty() {
            led.push(Entry::new("options", Value::Map(options)));
        }
        self.body.push_into("leds", Entry::new(name, Value::Map(led)));
        true
    }

    fn default(&mut self, line: &Line, body: &str) -> bool {
        let name = body.split(':').next().unwrap_or("").trim();
        let is_it = |option: &&RawOption| {
            option.name.value.ends_with(&format!(":{}", name.replace('_', "-")))
                || option.name.value.ends_with(&format!(":{name}"))
        };
        // the line was read just now, so it is the last one of its name
        let Some(option) = self.session.definitions.defaults().iter().rfind(is_it).cloned() else {
            return self.remctl(line, name);
        };
        let (class, name) = option.name.value.split_once(':').unwrap_or(("", &option.name.value));
        let text = match option.value.map(|v| v.value) {
            Some(RawValue::Scalar(text)) => text,
            _ => String::new(),
        };
        let entry = Entry::text(name, literal(&text));
        if let Some(note) = self.context.idle(&entry, default_row(class, name), &text, &option.name.span) {
            self.body.note([note]);
            return true;
        }
        let mut default = Body::default();
        default.push(Entry::text("value", literal(&text)));
        if !class.is_empty() {
            default.push(Entry::text("class", literal(class)));
        }
        self.body.push_into("defaults", Entry::new(name, Value::Map(default)));
        true
    }

    /// `DEFAULT:remctl` is part of the accepters from now on.
    fn remctl(&mut self, line: &Line, name: &str) -> bool {
        if name != "remctl" {
            return false;
        }
        self.body
            .note([Note::comment(&line.text), Note::comment("is telnet(rfc2217) in the accepters below")]);
        true
    }

    fn port(&mut self, line: &Line) {
        let fields = grammar::fields(&line.text);
        let port = super::trimmed(&line.text, fields.port.clone());
        let raw = self.context.running(&line.span(port));
        let Some(raw) = raw else { return self.leave_out(&line.whole()) };
        let mut body = Body::default();
        let RawConnection { name, enabled, accepter, connector: _, timeout, defaults, options, origin: _ } =
            raw;
        body.push(Entry::text("accepter", literal(&convert::typed(&accepter.value))));
        body.push(Entry::text("connector", self.connector(line, &fields, raw)));
        if !enabled {
            body.push(Entry::text("enable", "off"));
        }
        // 0 is never, as when nothing is said
        if let Some(timeout) = timeout.as_ref().filter(|t| !t.value.trim_matches('0').is_empty()) {
            body.push(Entry::text("timeout", timeout.value.clone()));
        }
        let mut list = Body::default();
        for option in options {
            self.option(&mut list, option, defaults);
        }
        for (text, message) in self.unknown_words(line, options) {
            list.note([Note::comment(&format!("left out: {text}: {message}"))]);
        }
        if list.entries.is_empty() {
            body.note(list.tail);
        } else {
            body.push(Entry::new("options", Value::Map(list)));
        }
        let trailing = comment(line, &fields).map(|text| match Note::written(text) {
            Note::Comment(comment) => comment,
            Note::Blank => String::new(),
        });
        let entry = Entry { trailing, ..Entry::new(name.value.clone(), Value::Map(body)) };
        self.body.push_into("connections", entry);
    }

    /// The connector string; the device by the name of its DEVICE: line.
    fn connector(&self, line: &Line, fields: &grammar::Fields, raw: &RawConnection) -> String {
        let text = raw.connector.value.as_str();
        let rest = fields.rest.clone().map_or("", |rest| &line.text[rest]).trim_start();
        let name = rest.split(':').next().unwrap_or("").trim();
        let named = self.session.definitions.device(name).filter(|path| !path.is_empty());
        let (path, words) = if let Some(after) = named.and_then(|path| text.strip_prefix(path)) {
            (format!("=({})", self.names.get("DEVICE", name)), after)
        } else {
            let end = text.find(',').unwrap_or(text.len());
            (literal(&text[..end]), &text[end..])
        };
        let words: Vec<&str> = words.split(',').filter(|word| !word.is_empty()).collect();
        let is_speed = |d: &RawOption| d.name.value.rsplit(':').next() == Some("speed");
        let mut parts = vec!["serialdev".to_owned(), path];
        parts.extend(shorter(&words, raw.defaults.iter().any(is_speed)));
        parts.join(",")
    }

    fn option(&mut self, list: &mut Body, option: &RawOption, defaults: &[RawOption]) {
        let name = option.name.value.as_str();
        let Some(RawValue::Scalar(text)) = option.value.as_ref().map(|v| &v.value) else { return };
        let has_default = || defaults.iter().any(|d| d.name.value.ends_with(":banner"));
        if name == "banner" && text.is_empty() && !has_default() {
            return;
        }
        let usable = |led: &str| led.split(':').next() == Some("sysfs");
        if matches!(name, "led-tx" | "led-rx")
            && !self.session.definitions.text(Kind::Led, text).is_some_and(usable)
        {
            // its definition became a comment too
            return list
                .note([Note::comment(&format!("left out: {name}: {text}: the LED has no known driver"))]);
        }
        let span = &option.name.span;
        let word = span.source.text.get(span.start..span.end).unwrap_or("");
        let word = word.split_once('=').map_or(word, |(_, value)| value).trim_matches(['"', '\'']);
        let kinds: &[(Kind, &str)] = match name {
            "banner" => &[(Kind::Banner, "BANNER")],
            "signature" => &[(Kind::Signature, "SIGNATURE")],
            "openstr" => &[(Kind::OpenStr, "OPENSTR")],
            "closestr" => &[(Kind::CloseStr, "CLOSESTR")],
            "closeon" => &[(Kind::CloseOn, "CLOSEON")],
            "trace-read" | "trace-write" | "trace-both" => &[(Kind::TraceFile, "TRACEFILE")],
            _ => &[],
        };
        let named = kinds.iter().find(|(kind, _)| self.session.definitions.text(*kind, word) == Some(text));
        let value = match named {
            Some((_, keyword)) => format!("=({})", self.names.get(keyword, word)),
            None => literal(text),
        };
        let entry = Entry::text(name, value);
        match self.context.idle(&entry, option_row(name), text, span) {
            Some(note) => list.note([note]),
            None => list.push(entry),
        }
    }

    /// Words that were read with a warning and are no option, with what was said.
    fn unknown_words(&self, line: &Line, options: &[RawOption]) -> Vec<(String, String)> {
        let whole = line.whole();
        let fields = grammar::fields(&line.text);
        let comment = comment(line, &fields);
        let mut found = Vec::new();
        for diagnostic in &self.session.diagnostics {
            let Some(span) = diagnostic.span.as_ref().filter(|s| (whole.start..whole.end).contains(&s.start))
            else {
                continue;
            };
            let word = self.source.text.get(span.start..span.end).unwrap_or("");
            if options.iter().all(|o| o.name.span.start != span.start) && comment != Some(word) {
                found.push((word.to_owned(), diagnostic.message.clone()));
            }
        }
        found
    }
}

/// The words behind the device as one writes them today: `9600n81` for `9600 8DATABITS NONE
/// 1STOPBIT`. With a default for the speed a word that is missing may mean another thing than usual.
fn shorter(words: &[&str], has_default: bool) -> Vec<String> {
    let (mut speed, mut parity, mut size, mut stop) = (None, None, None, None);
    let mut rest: Vec<String> = Vec::new();
    for word in words {
        let lower = word.to_lowercase();
        let slot = match lower.as_str() {
            "none" | "even" | "odd" | "mark" | "space" => &mut parity,
            _ if lower.ends_with("databits") => &mut size,
            _ if lower.ends_with("stopbit") || lower.ends_with("stopbits") => &mut stop,
            _ if lower.bytes().all(|b| b.is_ascii_digit()) => &mut speed,
            _ if lower.starts_with(|c: char| c.is_ascii_digit()) => {
                // a mode of its own says several of these at once: the order counts
                return words.iter().map(|word| literal(word)).collect();
            }
            // what is said twice counts once, the last time
            _ => {
                let key = lower.split('=').next().unwrap_or("").to_owned();
                rest.retain(|other| other.split('=').next() != Some(&key));
                rest.push(lower);
                continue;
            }
        };
        *slot = lower.chars().next();
        if lower.bytes().all(|b| b.is_ascii_digit()) {
            // the whole number, kept beside its mark
            rest.retain(|other| !other.starts_with(|c: char| c.is_ascii_digit()));
            rest.insert(0, lower);
        }
    }
    let complete = parity.is_some() && size.is_some() && stop.is_some();
    if has_default && !complete || speed.is_none() && (has_default || parity.or(size).or(stop).is_some()) {
        return words.iter().map(|word| literal(word)).collect();
    }
    if let Some(number) = rest.first_mut().filter(|_| speed.is_some()) {
        number.push(parity.unwrap_or('n'));
        number.push(size.unwrap_or('8'));
        number.push(stop.unwrap_or('1'));
    }
    rest.iter().map(|word| literal(word)).collect()
}

/// The comment behind the options of a line.
fn comment<'l>(line: &'l Line, fields: &grammar::Fields) -> Option<&'l str> {
    let rest = fields.rest.clone()?;
    let (_, at) = grammar::words(&line.text[rest.clone()], rest.start);
    at.and_then(|at| line.text.get(at..))
}
