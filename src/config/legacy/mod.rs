//! The one-line format of ser2net 2.x to 4.4 (ser2net.conf):
//! `<network port>:<state>:<timeout>:<device>:<options>` and the definitions beside it.

pub(super) mod convert;
mod definitions;
mod grammar;
mod lines;
mod words;

use super::error::{Diagnostic, Severity, Source, Span};
use super::raw::{Origin, RawConnection, RawFile, RawOption, RawValue, Spanned};
use definitions::{Definitions, Kind};
use lines::Line;
use std::ops::Range;
use std::sync::Arc;
pub(crate) use words::is_option_name;
use words::{Meaning, meaning};

/// Reads legacy texts one after the other; definitions live on from text to text.
#[derive(Default)]
pub(super) struct Session {
    /// What was read.
    pub(super) file: RawFile,
    /// What is wrong with it.
    pub(super) diagnostics: Vec<Diagnostic>,
    definitions: Definitions,
    banner_said: bool,
}

/// Mistakes for which a suggestion is looked for, and names that are looked at.
const SUGGESTIONS: usize = 200;

/// A line begins like one of this format.
pub(super) fn looks_legacy(line: &str) -> bool {
    if grammar::keyword(line).is_some_and(|(word, _)| definitions::KEYWORDS.contains(&word)) {
        return true;
    }
    let fields = grammar::fields(line);
    let field = |range: &Option<Range<usize>>| range.clone().map(|r| &line[r]);
    let state = field(&fields.state)
        .is_some_and(|s| grammar::STATES.iter().any(|known| known.eq_ignore_ascii_case(s.trim())));
    state || fields.rest.is_some() && line.starts_with(|c: char| c.is_ascii_digit())
}

impl Session {
    /// Reads a text.
    pub(super) fn read(&mut self, source: &Arc<Source>) {
        for line in lines::lines(source) {
            self.line(&line);
        }
    }

    fn line(&mut self, line: &Line) {
        match grammar::keyword(&line.text) {
            Some((word, _)) if definitions::KEYWORDS.contains(&word) => self.definition(line),
            _ => self.port(line),
        }
    }

    fn say(
        &mut self,
        severity: Severity,
        span: Span,
        message: String,
        help: Option<String>,
        connection: Option<&str>,
    ) {
        self.diagnostics.push(Diagnostic {
            later: false,
            severity,
            span: Some(span),
            message,
            help,
            connection: connection.filter(|_| severity != Severity::Warning).map(str::to_owned),
        });
    }

    fn port(&mut self, line: &Line) {
        let fields = grammar::fields(&line.text);
        let port = trimmed(&line.text, fields.port.clone());
        let name = line.text[port.clone()].to_owned();
        let before = self.diagnostics.len();
        let Some(state) = self.state(line, &fields, &name) else { return };
        let timeout = self.timeout(line, fields.timeout.clone(), &name);
        let Some(rest) = fields.rest else {
            self.say(
                Severity::Error,
                line.whole(),
                format!("the line of port '{name}' ends before its device"),
                Some("a line is <port>:<state>:<timeout>:<device>:<options>".to_owned()),
                Some(&name),
            );
            return;
        };
        let (device, options) = {
            let definitions = &self.definitions;
            let is_word = |word: &str| {
                meaning(word) != Meaning::Unknown
                    || definitions.names(word)
                    || word.contains('=') && !word.contains(':')
            };
            let split = grammar::device(&line.text[rest.clone()], is_word);
            let shift = |r: Range<usize>| rest.start + r.start..rest.start + r.end;
            (shift(split.device), split.options.map(shift))
        };
        let alias = self.definitions.device(&line.text[device.clone()]).map(str::to_owned);
        let mut draft = Draft {
            name: &name,
            alias: alias.as_ref().map(|_| line.text[device.clone()].to_owned()),
            serial: Vec::new(),
            options: Vec::new(),
            remctl: self.definitions.remctl,
        };
        let path = alias.unwrap_or_else(|| line.text[device.clone()].to_owned());
        // "dev:/tty/USB0": a colon has slipped, and what follows is no list of options
        let slipped =
            options.clone().filter(|o| !path.starts_with('/') && line.text[o.clone()].starts_with('/'));
        let stem = match &slipped {
            Some(rest) => self.slipped_colon(line, device.start..rest.end, &name),
            None => self.device_stem(line, device.clone(), &path, &name),
        };
        let end = options.as_ref().map_or(device.end, |o| o.end).max(device.end);
        if let Some(options) = options.filter(|_| slipped.is_none()) {
            self.options(line, options, &mut draft);
        }
        if state == "rawlp" {
            draft.serial.push("WRONLY".to_owned());
        }
        let broken = self.diagnostics[before..].iter().any(|d| d.severity > Severity::Warning);
        let Some(stem) = stem.filter(|_| !broken) else { return };
        let accepter = match (state, draft.remctl) {
            ("telnet", true) => format!("telnet(rfc2217),{name}"),
            ("telnet", false) => format!("telnet,{name}"),
            _ => name.clone(),
        };
        let connector = std::iter::once(stem).chain(draft.serial).collect::<Vec<_>>().join(",");
        let options = draft.options;
        self.file.connections.push(RawConnection {
            name: Spanned { value: name.clone(), span: line.span(port.clone()) },
            enabled: state != "off",
            accepter: Spanned { value: accepter, span: line.span(port) },
            // with the options, where the words of the connector stand
            connector: Spanned { value: connector, span: line.span(device.start..end) },
            timeout,
            defaults: self.definitions.defaults().to_vec(),
            options,
            origin: Origin::Legacy,
        });
    }

    fn state(&mut self, line: &Line, fields: &grammar::Fields, name: &str) -> Option<&'static str> {
        let Some(range) = fields.state.clone() else {
            let help = match line.text.split_once(':') {
                Some(_) => None,
                None => Some("a line is <port>:<state>:<timeout>:<device>:<options>".to_owned()),
            };
            let message = format!("no state given for '{name}'");
            self.say(Severity::Error, line.whole(), message, help, Some(name));
            return None;
        };
        let word = &line.text[range.clone()];
        if let Some(state) = grammar::STATES.iter().find(|state| **state == word) {
            if name.is_empty() {
                let message = "the network port is missing".to_owned();
                self.say(Severity::Error, line.whole(), message, None, Some(name));
                return None;
            }
            if let Some((host, number)) = name.rsplit_once(':')
                && !name.contains(',')
                && number.parse::<u16>().is_ok()
            {
                let message = format!("'{name}' is no network port");
                let help = format!("write a comma between host and port: '{host},{number}'");
                let span = line.span(fields.port.clone());
                self.say(Severity::Error, span, message, Some(help), Some(name));
                return None;
            }
            return Some(state);
        }
        let help = match definitions::KEYWORDS.iter().find(|k| k.eq_ignore_ascii_case(name)) {
            Some(keyword) => format!("write '{keyword}:' in capitals"),
            None => match super::suggest::nearest(word.trim(), grammar::STATES) {
                Some(near) => format!("did you mean '{near}'?"),
                None => "the state is raw, rawlp, telnet or off".to_owned(),
            },
        };
        let message = format!("unknown state '{word}'");
        let span = line.span(range);
        self.say(Severity::Error, span, message, Some(help), Some(name));
        None
    }

    fn timeout(&mut self, line: &Line, range: Option<Range<usize>>, name: &str) -> Option<Spanned<String>> {
        let range = range?;
        let text = line.text[range.clone()].trim();
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            let message = format!("the timeout '{text}' is not a number of seconds");
            let help = Some("write 0 for no timeout".to_owned());
            self.say(Severity::Error, line.span(range), message, help, Some(name));
            return None;
        }
        Some(Spanned { value: text.to_owned(), span: line.span(range) })
    }

    /// The begin of the connector string.
    fn device_stem(&mut self, line: &Line, range: Range<usize>, path: &str, name: &str) -> Option<String> {
        if let Some(sol) = path.strip_prefix("sol.") {
            return Some(format!("ipmisol,{sol}"));
        }
        if path.starts_with('/') || path.contains(',') {
            return Some(path.to_owned());
        }
        let help = if path.is_empty() {
            "write a path such as /dev/ttyS0".to_owned()
        } else if let Some(help) = super::suggest::fill_in(path) {
            help
        } else if let Some(near) = super::suggest::nearest(path, self.definitions.devices()) {
            format!("did you mean the DEVICE: '{near}'?")
        } else {
            format!("write a path such as /dev/{path}, or define '{path}' with a DEVICE: line above")
        };
        let message = format!("the device '{path}' is not a path");
        self.say(Severity::Error, line.span(range), message, Some(help), Some(name));
        None
    }

    /// A path with a colon in its first part.
    fn slipped_colon(&mut self, line: &Line, range: Range<usize>, name: &str) -> Option<String> {
        let text = &line.text[range.clone()];
        let place = range.start..range.start + text.find(char::is_whitespace).unwrap_or(text.len());
        let (first, rest) = line.text[place.clone()].split_once(':').unwrap_or((text, ""));
        let message = format!("the device '{first}' is not a path, and '{rest}' is no option");
        let help = "a colon stands only behind the whole device: write for instance /dev/ttyUSB0:9600";
        self.say(Severity::Error, line.span(place), message, Some(help.to_owned()), Some(name));
        None
    }

    fn options(&mut self, line: &Line, range: Range<usize>, draft: &mut Draft<'_>) {
        let (found, comment) = grammar::words(&line.text[range.clone()], range.start);
        if let Some(at) = comment {
            self.say(
                Severity::Warning,
                line.span(at..line.text.len()),
                "a comment behind the options; ser2net refuses this".to_owned(),
                Some("put the comment on a line of its own".to_owned()),
                None,
            );
        }
        for word in found {
            for piece in pieces(&word) {
                self.word(line, &piece, draft);
            }
        }
    }

    fn word(&mut self, line: &Line, word: &grammar::Word, draft: &mut Draft<'_>) {
        let text = word.text.as_str();
        let span = || line.span(word.at.clone());
        let known = if self.definitions.numbered(text) { Meaning::Unknown } else { meaning(text) };
        match known {
            Meaning::Serial(serial) => draft.serial.push(serial),
            Meaning::Remctl(on) => draft.remctl = on,
            Meaning::Option("banner", value) if text == "banner" => {
                self.bare_banner(text, span());
                draft.push("banner", span(), value);
            }
            Meaning::Option(option, value) => self.option(option, &value, span(), draft),
            Meaning::Unknown => match self.definitions.string(text) {
                Some((kind, value)) => draft.push(kind.option(), span(), value),
                None => self.unknown_word(text, span(), draft.name),
            },
        }
    }

    /// ser2net 4 takes the bare word for an empty banner, whatever BANNER: lines say. Said once.
    fn bare_banner(&mut self, text: &str, span: Span) {
        if std::mem::replace(&mut self.banner_said, true) {
            return;
        }
        let (message, help) = if self.definitions.names(text) {
            (
                "the word 'banner' sends no banner, as in ser2net 4, though BANNER:banner is defined",
                "give the BANNER: line and this word another name, for instance 'welcome'",
            )
        } else {
            (
                "no BANNER: line defines 'banner'; no banner is sent",
                "remove the word, or add `BANNER:welcome:text` above and write 'welcome' here",
            )
        };
        self.say(Severity::Warning, span, message.to_owned(), Some(help.to_owned()), None);
    }

    fn option(&mut self, option: &'static str, value: &str, span: Span, draft: &mut Draft<'_>) {
        let value = match option {
            "trace-read" | "trace-write" | "trace-both" => {
                let Some(file) = self.definitions.text(Kind::TraceFile, value) else {
                    let message = format!("no TRACEFILE: line above defines '{value}'; nothing is traced");
                    let near = super::suggest::nearest(value, self.definitions.of_kind(Kind::TraceFile));
                    let help = match near {
                        Some(near) => format!("did you mean '{near}'?"),
                        None => {
                            "add `TRACEFILE:name:/path/of/the/file` above and write the name here".to_owned()
                        }
                    };
                    return self.say(Severity::Warning, span, message, Some(help), None);
                };
                file.to_owned()
            }
            "rs485" => return self.rs485(value, span, draft),
            "led-tx" | "led-rx" if self.definitions.text(Kind::Led, value).is_none() => {
                let message = format!("no LED: line above defines '{value}'");
                let near = super::suggest::nearest(value, self.definitions.of_kind(Kind::Led));
                let help = near.map(|near| format!("did you mean '{near}'?"));
                self.say(Severity::Error, span, message, help, Some(draft.name));
                return;
            }
            _ => value.to_owned(),
        };
        draft.push(option, span, value);
    }

    /// `rs485=name`: the RS485CONF: line of that name becomes a setting of the device.
    fn rs485(&mut self, name: &str, span: Span, draft: &mut Draft<'_>) {
        let (message, help) = match self.definitions.text(Kind::Rs485, name).map(definitions::rs485) {
            Some(Some(setting)) => return draft.serial.push(setting),
            Some(None) => (
                format!("RS485CONF:{name} has no two delays and two switches"),
                Some(
                    "write `RS485CONF:name:before:after:rts_on_send:rx_during_tx`, the delays in \
                      milliseconds, the others 0 or 1"
                        .to_owned(),
                ),
            ),
            // without direction control nothing on the bus would work
            None => {
                let near = super::suggest::nearest(name, self.definitions.of_kind(Kind::Rs485));
                let help = near.map(|near| format!("did you mean '{near}'?"));
                (format!("no RS485CONF: line above defines '{name}'"), help)
            }
        };
        self.say(Severity::Error, span, message, help, Some(draft.name));
    }

    fn unknown_word(&mut self, text: &str, span: Span, name: &str) {
        if let Some(full) = words::shortened_default(text) {
            let message = format!("'{text}' is taken for '{full}'");
            let help = Some(format!("write '{full}'"));
            return self.say(Severity::Warning, span, message, help, None);
        }
        if text.to_lowercase().starts_with("banner") && !text.contains('=') {
            let message = format!("no BANNER: line above defines '{text}'; no banner is sent");
            let help = Some(format!("add `BANNER:{text}:text` above, or remove the word"));
            return self.say(Severity::Warning, span, message, help, None);
        }
        let help = (self.diagnostics.len() < SUGGESTIONS).then(|| {
            let defined: Vec<&str> = self.definitions.all_names().take(SUGGESTIONS).collect();
            words::suggestion(text, &defined)
        });
        self.say(Severity::Error, span, format!("unknown option '{text}'"), help, Some(name));
    }
}

/// A port line while its words are read.
struct Draft<'a> {
    name: &'a str,
    /// The name of the DEVICE: line, when there is one; `\o` stands for it.
    alias: Option<String>,
    serial: Vec<String>,
    options: Vec<RawOption>,
    remctl: bool,
}

impl Draft<'_> {
    fn push(&mut self, option: &'static str, span: Span, value: String) {
        let value = match &self.alias {
            Some(alias) if TEMPLATES.contains(&option) => with_alias(&value, alias),
            _ => value,
        };
        self.options.push(RawOption {
            name: Spanned { value: option.to_owned(), span: span.clone() },
            value: Some(Spanned { value: RawValue::Scalar(value), span }),
        });
    }
}

/// Options whose text is a template.
const TEMPLATES: [&str; 6] = ["banner", "openstr", "closestr", "trace-read", "trace-write", "trace-both"];

/// `\o` is the device as the line names it, before its DEVICE: line is looked up.
fn with_alias(text: &str, alias: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\').1.then(|| chars.next()).flatten() {
            Some('o') => out.push_str(&alias.replace('\\', "\\\\")),
            Some(next) => out.extend([c, next]),
            None => out.push(c),
        }
    }
    out
}

/// The pieces of a word between commas (ser2net 2.x separated options so); a text option keeps the
/// commas behind it.
fn pieces(word: &grammar::Word) -> Vec<grammar::Word> {
    if !word.text.contains(',') || word.text.len() != word.at.len() || words::takes_commas(&word.text) {
        return vec![word.clone()];
    }
    let mut found = Vec::new();
    let mut at = 0;
    while at < word.text.len() {
        let rest = &word.text[at..];
        let end = match rest.find(',') {
            Some(comma) if !words::takes_commas(rest) => at + comma,
            _ => word.text.len(),
        };
        if end > at {
            let place = word.at.start + at..word.at.start + end;
            found.push(grammar::Word { text: word.text[at..end].to_owned(), at: place });
        }
        at = end + 1;
    }
    found
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    let start = range.start + part.len() - part.trim_start().len();
    start..start + part.trim().len()
}

#[cfg(test)]
mod tests;
