//! Definition lines: BANNER, DEVICE, DEFAULT and their like.

use super::lines::Line;
use super::{Session, grammar};
use crate::config::error::Severity;
use crate::config::raw::{Origin, RawAdmin, RawLed, RawOption, RawRotator, RawValue, Spanned};
use std::collections::HashMap;

/// Words that begin a definition.
pub(super) const KEYWORDS: [&str; 12] = [
    "BANNER",
    "SIGNATURE",
    "OPENSTR",
    "CLOSESTR",
    "CLOSEON",
    "TRACEFILE",
    "RS485CONF",
    "LED",
    "DEVICE",
    "DEFAULT",
    "ROTATOR",
    "CONTROLPORT",
];

/// Kinds of named texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Banner,
    Signature,
    OpenStr,
    CloseStr,
    CloseOn,
    TraceFile,
    Rs485,
    Led,
}

impl Kind {
    fn of(keyword: &str) -> Option<Self> {
        Some(match keyword {
            "BANNER" => Self::Banner,
            "SIGNATURE" => Self::Signature,
            "OPENSTR" => Self::OpenStr,
            "CLOSESTR" => Self::CloseStr,
            "CLOSEON" => Self::CloseOn,
            "TRACEFILE" => Self::TraceFile,
            "RS485CONF" => Self::Rs485,
            "LED" => Self::Led,
            _ => return None,
        })
    }

    /// The option that a name of this kind sets by standing among the options.
    pub(super) fn option(self) -> &'static str {
        match self {
            Self::Banner => "banner",
            Self::Signature => "signature",
            Self::OpenStr => "openstr",
            Self::CloseStr => "closestr",
            Self::CloseOn => "closeon",
            Self::TraceFile => "trace-both",
            Self::Rs485 => "rs485",
            Self::Led => "led-tx",
        }
    }
}

/// Kinds whose name alone is an option, in the order in which they are looked up.
const STRINGS: [Kind; 5] = [Kind::Banner, Kind::Signature, Kind::OpenStr, Kind::CloseStr, Kind::CloseOn];

/// What definition lines have set so far.
#[derive(Default)]
pub(super) struct Definitions {
    texts: HashMap<(Kind, String), String>,
    devices: HashMap<String, String>,
    defaults: Vec<RawOption>,
    /// `DEFAULT:remctl:true`.
    pub(super) remctl: bool,
}

impl Definitions {
    /// A word names a text that can be an option.
    pub(super) fn names(&self, word: &str) -> bool {
        STRINGS.iter().any(|kind| self.texts.contains_key(&(*kind, word.to_owned())))
    }

    /// A word is a number too small for a speed, and the name of a text.
    pub(super) fn numbered(&self, word: &str) -> bool {
        word.parse::<u32>().is_ok_and(|n| n < 50) && self.names(word)
    }

    /// The text that a word names, of the first kind that has it.
    pub(super) fn string(&self, word: &str) -> Option<(Kind, String)> {
        STRINGS
            .iter()
            .find_map(|kind| self.texts.get(&(*kind, word.to_owned())).map(|text| (*kind, text.clone())))
    }

    pub(super) fn text(&self, kind: Kind, name: &str) -> Option<&str> {
        self.texts.get(&(kind, name.to_owned())).map(String::as_str)
    }

    pub(super) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.texts.keys().filter(move |(k, _)| *k == kind).map(|(_, name)| name.as_str())
    }

    pub(super) fn all_names(&self) -> impl Iterator<Item = &str> {
        self.texts.keys().filter(|(kind, _)| STRINGS.contains(kind)).map(|(_, name)| name.as_str())
    }

    pub(super) fn device(&self, name: &str) -> Option<&str> {
        self.devices.get(name).map(String::as_str)
    }

    pub(super) fn devices(&self) -> impl Iterator<Item = &str> {
        self.devices.keys().map(String::as_str)
    }

    pub(super) fn defaults(&self) -> &[RawOption] {
        &self.defaults
    }
}

/// The text of an RS485CONF: line, `before:after:rts_on_send:rx_during_tx`, as a setting of the
/// device. RTS has the other level when nothing is sent. `None` when it is something else.
pub(super) fn rs485(text: &str) -> Option<String> {
    let fields: Vec<u32> = text.split(':').map(|f| f.trim().parse().ok()).collect::<Option<_>>()?;
    let [before, after, on_send @ 0..=1, both @ 0..=1] = fields[..] else { return None };
    let level = if on_send == 1 { "rts_on_send" } else { "rts_after_send" };
    let receive = if both == 1 { ":rx_during_tx" } else { "" };
    Some(format!("rs485={before}:{after}:{level}{receive}"))
}

impl Session {
    /// A definition line.
    pub(super) fn definition(&mut self, line: &Line) {
        let Some((keyword, body)) = grammar::keyword(&line.text) else { return };
        let start = line.text.len() - body.len();
        match keyword {
            "ROTATOR" => return self.rotator(line, body, start),
            "CONTROLPORT" => return self.control_port(line, body, start),
            "DEFAULT" => return self.default_line(line, body, start),
            _ => {}
        }
        let (name, text) = match body.split_once(':') {
            Some((name, text)) => (name, Some(text)),
            None => (body, None),
        };
        if name.is_empty() {
            let message = format!("{keyword}: without a name");
            let help = Some(format!("write `{keyword}:name:text`"));
            return self.say(Severity::Error, line.whole(), message, help, None);
        }
        let Some(text) = text else {
            let message = format!("{keyword}:{name} has no text");
            let help = Some(format!("write `{keyword}:{name}:text`"));
            return self.say(Severity::Error, line.whole(), message, help, None);
        };
        match Kind::of(keyword) {
            Some(kind) => {
                if kind == Kind::Led {
                    self.led(line, name, text);
                }
                self.definitions.texts.insert((kind, name.to_owned()), text.to_owned());
            }
            None => {
                self.definitions.devices.insert(name.to_owned(), text.trim().to_owned());
            }
        }
    }

    /// `ROTATOR:port:names`: the accepter is plain TCP, the names are ports of connections.
    fn rotator(&mut self, line: &Line, body: &str, start: usize) {
        let (port, names) = body.split_once(':').unwrap_or((body, ""));
        let behind = start + port.len() + 1;
        let members = names.split_whitespace().map(|name| {
            // a word of `names`, so it lies within it
            let at = behind + (name.as_ptr() as usize - names.as_ptr() as usize);
            Spanned { value: name.to_owned(), span: line.span(at..at + name.len()) }
        });
        let members: Vec<_> = members.collect();
        let at = start + port.len() - port.trim_start().len();
        let port = Spanned { value: port.trim().to_owned(), span: line.span(at..at + port.trim().len()) };
        if port.value.is_empty() || members.is_empty() {
            let message = "a rotator needs a port and connections".to_owned();
            let help = Some("write `ROTATOR:port:port1 port2`".to_owned());
            return self.say(Severity::Error, line.whole(), message, help, None);
        }
        self.file.rotators.push(RawRotator {
            // the name that a converted file gives it, too: a connection may have the same port text
            name: Spanned { value: format!("rotator-{}", port.value), span: port.span.clone() },
            accepter: port,
            members,
            defaults: self.definitions.defaults.clone(),
            options: Vec::new(),
            origin: Origin::Legacy,
        });
    }

    /// `CONTROLPORT:accepter`.
    fn control_port(&mut self, line: &Line, body: &str, start: usize) {
        let at = start + body.len() - body.trim_start().len();
        let accepter = body.trim();
        self.file.admins.push(RawAdmin {
            place: line.whole(),
            accepter: Spanned { value: accepter.to_owned(), span: line.span(at..at + accepter.len()) },
            defaults: self.definitions.defaults.clone(),
            options: Vec::new(),
        });
    }

    /// `LED:name:driver:key=value key=value`.
    fn led(&mut self, line: &Line, name: &str, text: &str) {
        let (driver, rest) = text.split_once(':').unwrap_or((text, ""));
        let spanned = |value: &str| Spanned { value: value.to_owned(), span: line.whole() };
        let options = rest.split_whitespace().map(|word| {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            (spanned(key), Spanned { value: RawValue::Scalar(value.to_owned()), span: line.whole() })
        });
        let led = RawLed { name: spanned(name), driver: Some(spanned(driver)), options: options.collect() };
        self.file.leds.push(led);
    }

    /// `DEFAULT:name:value` or `DEFAULT:name:value:class`.
    fn default_line(&mut self, line: &Line, body: &str, start: usize) {
        let mut parts = body.splitn(3, ':');
        let name = parts.next().unwrap_or("");
        let value = parts.next().map(str::trim);
        let class = parts.next().unwrap_or("").trim();
        let span = line.span(start..start + name.len());
        let name = name.trim();
        if name.is_empty() {
            let help = Some("write for instance `DEFAULT:speed:9600`".to_owned());
            return self.say(
                Severity::Error,
                line.whole(),
                "a default without a name".to_owned(),
                help,
                None,
            );
        }
        match name {
            "remctl" => {
                self.definitions.remctl = matches!(value, Some("true" | "1" | "on" | "yes"));
                return;
            }
            "databits" | "stopbits" | "parity" => {
                let message = format!("the default '{name}' has no effect, as in ser2net 4");
                let help = Some("write the whole setting, for instance `DEFAULT:speed:9600e71`".to_owned());
                return self.say(Severity::Warning, span, message, help, None);
            }
            _ => {}
        }
        let full = format!("{class}:{}", name.replace("telnet_brk_on_sync", "telnet-brk-on-sync"));
        self.definitions.defaults.retain(|default| default.name.value != full);
        self.definitions.defaults.push(RawOption {
            value: value
                .map(|value| Spanned { value: RawValue::Scalar(value.to_owned()), span: span.clone() }),
            name: Spanned { value: full, span },
        });
    }
}
