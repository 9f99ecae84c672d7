//! What each port, and all else that is configured, will do, option by option, and where each value came from
//! (`serbroker check --explain`).

mod others;

use super::error::{Diagnostic, Span};
use super::load::{self, Inputs};
use super::options::{self, Kind, Place, Row, Status};
use super::resolve::{self, Trace, Written};
use super::values::{self, InForce};
use super::{Config, Connection};
pub use others::{Admin, Led, Others, Rotator};
use serde::Serialize;
use std::fmt::Write as _;

/// A port as it will run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Port {
    /// Its name.
    pub name: Value<String>,
    /// Whether it takes clients.
    pub enabled: bool,
    /// What listens: the accepter with all its types.
    pub listens: Value<String>,
    /// What is bound: addresses as `[family,][host,]port`, or the path of a Unix socket.
    pub address: String,
    /// What is opened: the connector.
    pub opens: Value<String>,
    /// Path of the device.
    pub device: String,
    /// Line settings, for instance `9600N81`.
    pub line: Option<String>,
    /// Seconds after which an idle client is closed; absent: never.
    pub timeout: Value<Option<u64>>,
    /// Every option that could be written for this port.
    pub options: Vec<Setting>,
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Value<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub from: From,
}

/// An option with the value in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Where it is written: `options`, `device`, or the type between whose parentheses it stands.
    pub place: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its value as one would write it; absent: nothing is set.
    pub value: Option<String>,
    /// Where the value came from.
    pub from: From,
    /// This version acts on it.
    pub active: bool,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum From {
    /// It stands in the connection.
    File(Point),
    /// It stands in a section for many connections.
    Default(Point),
    /// Nothing was written.
    BuiltIn,
}

/// A place in a text, both numbers from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Point {
    /// The file as it was named, or `-Y` or `-C`.
    pub file: String,
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

impl Point {
    fn new(span: &Span) -> Self {
        let (line, column) = span.line_column();
        Self { file: span.source.name.clone(), line, column }
    }
}

impl From {
    fn file(span: &Span) -> Self {
        Self::File(Point::new(span))
    }

    fn text(&self) -> String {
        match self {
            Self::File(Point { file, line, column }) => format!("{file}:{line}:{column}"),
            Self::Default(Point { file, line, column: _ }) => format!("default: section at {file}:{line}"),
            Self::BuiltIn => "built in".to_owned(),
        }
    }
}

/// What a configuration will do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Every port.
    pub ports: Vec<Port>,
    /// What else there is.
    #[serde(flatten)]
    pub others: Others,
}

/// Reads a configuration and tells what it will do.
pub fn explain(inputs: &Inputs) -> (Config, Vec<Diagnostic>, Explanation) {
    let (raw, mut diagnostics) = load::load(inputs);
    let (config, more, traces) = resolve::resolve_traced(&raw);
    diagnostics.extend(more);
    let ports = config.connections.iter().zip(&traces.connections).map(|(c, trace)| port(c, trace)).collect();
    let others = others::others(&raw, &config, &traces);
    (config, diagnostics, Explanation { ports, others })
}

fn port(connection: &Connection, trace: &Trace<'_>) -> Port {
    let raw = trace.raw;
    let Connection { name, enabled, accepter, connector, timeout, options: _ } = connection;
    let timeout_from = match &raw.timeout {
        Some(written) => From::file(&written.span),
        None => From::BuiltIn,
    };
    Port {
        name: Value { value: name.to_string(), from: From::file(&raw.name.span) },
        enabled: *enabled,
        listens: Value { value: accepter.text.to_string(), from: From::file(&raw.accepter.span) },
        address: values::address_text(&accepter.listen),
        opens: Value { value: connector.text.to_string(), from: From::file(&raw.connector.span) },
        device: connector.label().to_string(),
        line: connector.device().map(|device| device.line.to_string()),
        timeout: Value { value: timeout.map(|t| t.as_secs()), from: timeout_from },
        options: settings(connection, trace),
    }
}

/// All options of the places that the connection has, in the order of the table.
fn settings(connection: &Connection, trace: &Trace<'_>) -> Vec<Setting> {
    let in_force = values::in_force(connection);
    let has = |place: Place| match place {
        Place::Connection => true,
        Place::Serial | Place::Layer("serialdev") => connection.connector.device().is_some(),
        Place::Layer(_) => in_force.iter().any(|value| value.place == place),
        Place::Admin => false,
    };
    options::OPTIONS
        .iter()
        .filter(|row| has(row.place))
        .filter_map(|row| {
            let written = trace.origins.iter().rfind(|w| decides(w.row, row));
            let known = in_force.iter().find(|v| v.place == row.place && v.name == row.name);
            // ways to say another option are shown only where they were used
            if known.is_none() && written.is_none() && row.status == Status::Active {
                return None;
            }
            Some(setting(row, known, written))
        })
        .collect()
}

/// Whether what was written for one option decides about the value of another.
fn decides(written: &Row, shown: &Row) -> bool {
    let same_place = |a: &Row, b: &Row| a.place == b.place;
    let same = same_place(written, shown) && written.name == shown.name;
    // NONE, 8databits and their like are parts of the speed
    let part = written.kind == Kind::Flag && shown.place == Place::Serial && shown.name == "speed";
    let whole = |what: &str| {
        written.name == format!("trace-{what}")
            && shown.name.starts_with("trace-")
            && shown.name.ends_with(what)
    };
    let all_files = same_place(written, shown) && (whole("hexdump") || whole("timestamp"));
    same || part || all_files || written.name == "nouucplock" && shown.name == "uucplock"
}

fn setting(row: &'static Row, known: Option<&InForce>, written: Option<&Written>) -> Setting {
    let value = match (known, written) {
        (Some(known), _) => known.value.clone(),
        (None, Some(Written { value: None, .. })) if matches!(row.kind, Kind::Bool | Kind::Flag) => {
            Some("true".to_owned())
        }
        (None, Some(written)) => written.value.clone(),
        (None, None) => row.default.map(str::to_owned),
    };
    let from = match written {
        Some(written) if written.is_default => From::Default(Point::new(&written.span)),
        Some(written) => From::file(&written.span),
        None => From::BuiltIn,
    };
    let place = match row.place {
        Place::Connection => "options",
        Place::Serial => "device",
        Place::Layer(layer) => layer,
        Place::Admin => "admin",
    };
    Setting {
        place,
        name: row.name,
        value,
        from,
        active: matches!(row.status, Status::Active | Status::Moot),
    }
}

/// All of it as text for people, in columns.
pub fn text(explanation: &Explanation) -> String {
    let mut out = String::new();
    for port in &explanation.ports {
        one(&mut out, port);
    }
    explanation.others.text(&mut out);
    out
}

fn one(out: &mut String, port: &Port) {
    let Port { name, enabled, listens, address, opens, device, line, timeout, options } = port;
    let state = if *enabled { "" } else { ", disabled" };
    let never = || "never".to_owned();
    let mut rows = vec![
        ["enabled".to_owned(), enabled.to_string(), String::new()],
        ["listens".to_owned(), listens.value.clone(), listens.from.text()],
        ["address".to_owned(), address.clone(), String::new()],
        ["opens".to_owned(), opens.value.clone(), opens.from.text()],
        [
            "device".to_owned(),
            line.as_ref().map_or_else(|| device.clone(), |line| format!("{device} {line}")),
            String::new(),
        ],
        [
            "timeout".to_owned(),
            timeout.value.map_or_else(never, |seconds| format!("{seconds} s")),
            timeout.from.text(),
        ],
    ];
    rows.extend(options.iter().map(row_text));
    table(out, "port", Some(name), state, &rows);
}

/// The columns of an option.
fn row_text(setting: &Setting) -> [String; 3] {
    let Setting { place, name, value, from, active } = setting;
    let shown = value.as_ref().map_or_else(|| "-".to_owned(), |value| quoted(value));
    let from = if *active { from.text() } else { format!("{}, not yet active", from.text()) };
    [format!("{place} {name}"), shown, from]
}

/// Writes a thing with its rows. `state`: what is to be said behind its name.
fn table(out: &mut String, what: &str, name: Option<&Value<String>>, state: &str, rows: &[[String; 3]]) {
    // one long value shall not push all others to the right
    let width = |column: usize, most: usize| {
        rows.iter().map(|row| row[column].chars().count()).filter(|n| *n <= most).max().unwrap_or(0)
    };
    let (first, second) = (width(0, 40), width(1, 50));
    // writing to a String cannot fail
    let _ = match name {
        Some(name) => writeln!(out, "{what} {}{state}  ({})", quoted(&name.value), name.from.text()),
        None => writeln!(out, "{what}{state}"),
    };
    for [label, value, from] in rows {
        let line = format!("  {label:first$}  {value:second$}  {from}");
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out.push('\n');
}

/// A value on one line: control characters as escapes, nothing as `""`.
fn quoted(text: &str) -> String {
    if text.is_empty() {
        return "\"\"".to_owned();
    }
    let mut out = String::new();
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(text: &str) -> Vec<Port> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        std::fs::write(&path, text).unwrap();
        let inputs = Inputs { file: Some(path.clone()), ..Inputs::default() };
        let mut ports = explain(&inputs).2.ports;
        let strip = |from: &mut From| {
            if let From::File(point) | From::Default(point) = from {
                assert_eq!(point.file, path.display().to_string());
                point.file = "t".to_owned();
            }
        };
        for port in &mut ports {
            [&mut port.name.from, &mut port.listens.from, &mut port.opens.from, &mut port.timeout.from]
                .into_iter()
                .for_each(strip);
            port.options.iter_mut().for_each(|option| strip(&mut option.from));
        }
        ports
    }

    fn shown(ports: &[Port]) -> String {
        let mut out = String::new();
        for port in ports {
            one(&mut out, port);
        }
        out
    }

    #[track_caller]
    fn shows(ports: &[Port], place: &str, name: &str) -> (Option<String>, String, bool) {
        let found =
            ports[0].options.iter().find(|o| o.place == place && o.name == name).expect("it is shown");
        (found.value.clone(), found.from.text(), found.active)
    }

    #[test]
    fn every_value_says_where_it_came_from() {
        let ports = ports(
            "allow: [10.0.0.0/8]\ndefaults:\n  speed:\n    value: 19200e71\n  chardelay:\n    value: false\nconnections:\n  \
             con1:\n    accepter: telnet(rfc2217),tcp(nodelay=false),127.0.0.1,2000\n    timeout: 60\n    \
             connector: serialdev(nouucplock),/dev/ttyS0,local,2stopbits\n    options:\n      \
             kickolduser: true\n      trace-both: /tmp/x\n      max-connections: 2\n",
        );
        assert_eq!(ports.len(), 1);
        let at = |line: usize, column: usize| format!("t:{line}:{column}");
        assert_eq!(ports[0].name.from.text(), at(8, 3));
        assert_eq!((ports[0].listens.from.text(), ports[0].address.as_str()), (at(9, 15), "127.0.0.1,2000"));
        assert_eq!((ports[0].device.as_str(), ports[0].line.as_deref()), ("/dev/ttyS0", Some("19200E72")));
        assert_eq!((ports[0].timeout.value, ports[0].timeout.from.text()), (Some(60), at(10, 14)));
        let shows = |place, name| shows(&ports, place, name);
        assert_eq!(shows("options", "kickolduser"), (Some("true".into()), at(13, 7), true));
        assert_eq!(
            shows("options", "chardelay"),
            (Some("false".into()), "default: section at t:5".into(), true)
        );
        assert_eq!(
            shows("options", "allow"),
            (Some("10.0.0.0/8".into()), "default: section at t:1".into(), true)
        );
        assert_eq!(shows("options", "banner"), (None, "built in".into(), true));
        assert_eq!(shows("options", "chardelay-max"), (Some("20000".into()), "built in".into(), true));
        assert_eq!(shows("telnet", "rfc2217"), (Some("true".into()), at(9, 22), true));
        assert_eq!(shows("tcp", "nodelay"), (Some("false".into()), at(9, 35), true));
        assert_eq!(shows("tcp", "reuseaddr"), (Some("true".into()), "built in".into(), true));
        assert_eq!(shows("device", "local"), (Some("true".into()), at(11, 49), true));
        assert_eq!(shows("device", "2stopbits"), (Some("true".into()), at(11, 55), true));
        assert_eq!(shows("device", "speed"), (Some("19200E72".into()), at(11, 55), true));
        assert_eq!(shows("serialdev", "uucplock"), (Some("false".into()), at(11, 26), true));
        let trace = ports[0].options.iter().find(|o| o.name == "trace-both").unwrap();
        assert_eq!(trace.value.as_deref(), Some("/tmp/x"));
        assert_eq!(trace.from.text(), at(14, 7));
    }

    #[test]
    fn legacy_words_have_their_places_too() {
        let ports =
            ports("BANNER:b:hi\nDEFAULT:local:true\n2000:telnet:0:/dev/ttyS0:9600 EVEN b -chardelay\n");
        let shows = |place, name| shows(&ports, place, name);
        assert_eq!(shows("device", "speed"), (Some("9600E81".into()), "t:3:31".into(), true));
        assert_eq!(shows("device", "local"), (Some("true".into()), "default: section at t:2".into(), true));
        assert_eq!(shows("options", "banner"), (Some("hi".into()), "t:3:36".into(), true));
        assert_eq!(shows("options", "chardelay"), (Some("false".into()), "t:3:38".into(), true));
        assert_eq!(ports[0].timeout.value, None);
    }

    #[test]
    fn what_does_nothing_yet_is_marked_and_nothing_is_left_out() {
        let ports = ports("1:raw:0:/dev/ttyS0\n");
        for row in options::OPTIONS.iter().filter(|row| row.place == Place::Connection) {
            let found = ports[0].options.iter().find(|o| o.place == "options" && o.name == row.name);
            assert_eq!(
                found.map(|o| o.active),
                Some(matches!(row.status, Status::Active | Status::Moot)),
                "{}",
                row.name
            );
        }
        let text = shown(&ports);
        for line in text.lines().filter(|line| line.contains("built in")) {
            let mut words = line.split_whitespace();
            let place = match words.next() {
                Some("options") => Place::Connection,
                Some("device") => Place::Serial,
                Some("tcp") => Place::Layer("tcp"),
                Some("serialdev") => Place::Layer("serialdev"),
                other => panic!("{other:?}"),
            };
            let row = options::find(place, words.next().unwrap_or("")).expect("a row");
            assert_eq!(
                line.ends_with("not yet active"),
                !matches!(row.status, Status::Active | Status::Moot),
                "{line}"
            );
        }
    }

    #[test]
    fn columns_are_aligned_and_control_characters_harmless() {
        let ports = ports(
            "connections:\n  \"a\\nb\":\n    accepter: tcp,1\n    connector: serialdev,/dev/x\n    \
                           options:\n      banner: \"\\x1b[0m\"\n",
        );
        let text = shown(&ports);
        assert!(text.starts_with("port a\\nb  (t:2:3)\n"), "{text}");
        assert!(text.contains("\\u{1b}[0m") && !text.contains('\u{1b}'), "{text}");
        let column = |line: &&str| line.find("built in");
        let columns: std::collections::BTreeSet<_> = text.lines().filter_map(|l| column(&l)).collect();
        assert_eq!(columns.len(), 1, "{text}");
    }
}
