//! Options of types and of serial ports: defaults in force, then what is written.

use super::report::{Report, sub_span};
use crate::config::error::Span;
use crate::config::gensio::Word;
use crate::config::options::{self, Kind, Place, Row, Status, Value};
use crate::config::raw::Spanned;
use crate::config::suggest::fill_in;

/// A `default:` entry for an option of a type.
#[derive(Clone, Debug)]
pub(super) struct Default {
    /// Its row.
    pub(super) row: &'static Row,
    /// It was given for a class, which weighs more than one for all.
    pub(super) classed: bool,
    /// Value as written.
    pub(super) text: String,
    /// Where.
    pub(super) span: Span,
}

/// An option with its value.
pub(super) struct Setting {
    /// Its row.
    pub(super) row: &'static Row,
    /// The value.
    pub(super) value: Value,
    /// Where it stands.
    pub(super) span: Span,
    /// It comes from a `default:` section.
    pub(super) is_default: bool,
}

/// All settings of a place: the defaults, then those written in `words`, in order.
/// Options that are not active are reported and left out.
pub(super) fn settings(
    place: Place,
    words: &[Word],
    text: &Spanned<String>,
    defaults: &[Default],
    report: &mut Report,
) -> Vec<Setting> {
    let mut list = Vec::new();
    let of_place = |d: &&Default| d.row.place == place;
    let (classed, plain): (Vec<&Default>, Vec<&Default>) =
        defaults.iter().filter(of_place).partition(|d| d.classed);
    for default in plain.into_iter().chain(classed) {
        let (row, span) = (default.row, default.span.clone());
        match row.read(Some(&default.text)) {
            Ok(read) => {
                report.origin(row, Some(&default.text), &span, true);
                keep(&mut list, Setting { row, value: read.value, span, is_default: true }, report);
            }
            Err(message) => report.warning(span, format!("{message}; the default is not used"), None),
        }
    }
    for word in words {
        let span = sub_span(text, &word.place);
        let Some(row) = options::find(place, word.key()) else {
            unknown(place, word, span, report);
            continue;
        };
        match row.read(word.value()) {
            Ok(read) => {
                if let Some(warning) = read.warning {
                    report.warning(span.clone(), warning, None);
                }
                report.origin(row, word.value(), &span, false);
                keep(&mut list, Setting { row, value: read.value, span, is_default: false }, report);
            }
            Err(message) => report.error(span, message, None),
        }
    }
    list
}

fn keep(list: &mut Vec<Setting>, setting: Setting, report: &mut Report) {
    let row = setting.row;
    match row.status {
        Status::Active => list.push(setting),
        Status::Moot => {}
        _ if is_idle(row, &setting.value) => {}
        Status::Later => report.left_out(setting.span, &described(row), nearest_way(row)),
        Status::Blocks => report.blocked(setting.span, &described(row), nearest_way(row)),
    }
}

/// Whether this value asks for nothing, so that nothing is missing when it is left out.
pub(in crate::config) fn is_idle(row: &Row, value: &Value) -> bool {
    match (row.kind, value) {
        (Kind::Bool, Value::Bool(set)) => row.default.and_then(options::bool_of) == Some(*set),
        (Kind::Choice(_), Value::Text(text)) => text == "off",
        (Kind::IntOrOff, Value::Int(None)) => true,
        _ => false,
    }
}

/// What to write today instead of an option that is not active, where there is such a thing.
pub(super) fn nearest_way(row: &Row) -> Option<String> {
    let way = match row.name {
        "authdir" => {
            "nobody is authenticated without clientauth; with it, ssl(clientauth,CA=/path/ca.pem) lets in those whom an authority signed"
        }
        "pamauth" | "allowed-users" => {
            "nobody is asked for a name or a password, as in ser2net without certauth; ssl(clientauth,CA=/path/ca.pem) asks for a certificate, allow: limits the addresses"
        }
        "authdir-admin" | "pamauth-admin" => "let the admin port listen on a loopback address only",
        "tcpd" | "tcpdname" => "allow: limits the addresses",
        _ => return None,
    };
    Some(way.to_owned())
}

/// How an option is named in messages.
pub(super) fn described(row: &Row) -> String {
    match row.place {
        Place::Layer(layer) => format!("option {} of {layer}", row.name),
        _ => format!("option {}", row.name),
    }
}

fn unknown(place: Place, word: &Word, span: Span, report: &mut Report) {
    let name = word.key();
    let other_place = |other: Place| options::find(other, name).is_some();
    let (of, help) = match place {
        Place::Layer("serialdev") if other_place(Place::Serial) => (
            " of serialdev".to_owned(),
            Some(format!("write it behind the device: serialdev,/dev/...,{}", word.text)),
        ),
        Place::Layer(layer) => (format!(" of {layer}"), suggestion(place, name)),
        _ if other_place(Place::Layer("serialdev")) => (
            " behind the device".to_owned(),
            Some(format!("write it in parentheses: serialdev({}),/dev/...", word.text)),
        ),
        _ if other_place(Place::Connection) => {
            (" behind the device".to_owned(), Some(format!("write it under options: as {name}")))
        }
        _ => (
            " behind the device".to_owned(),
            fill_in(&word.text).or_else(|| upper_case(name)).or_else(|| suggestion(place, name)),
        ),
    };
    report.error(span, format!("unknown option '{}'{of}", word.text), help);
}

fn upper_case(name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    options::find(Place::Serial, &upper).map(|_| format!("write {upper}"))
}

fn suggestion(place: Place, name: &str) -> Option<String> {
    let names = options::rows(place).map(|row| row.name);
    options::suggest(name, names).map(|name| format!("did you mean {name}?"))
}
