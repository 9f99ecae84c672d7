//! Filters of connector strings.

use super::Ends;
use crate::config::TelnetOptions;
use crate::config::connector::{
    Directions, Filter, KeepOpen, MsgDelim, RateLimit, TlsClient, TraceFile, TraceTap,
};
use crate::config::error::Span;
use crate::config::gensio::Layer;
use crate::config::options::{Place, Value};
use crate::config::resolve::layers::{Setting, settings};
use crate::config::resolve::report::sub_span;
use std::path::PathBuf;
use std::time::Duration;

/// The filters, outermost first. `None`, with a report, when one of them cannot be run.
pub(super) fn resolve(ends: &mut Ends<'_>) -> Option<Vec<Filter>> {
    let mut list = Vec::new();
    let mut complete = true;
    let stack = ends.stack;
    for layer in &stack.filters {
        let name = layer.name.text.as_str();
        let span = sub_span(ends.text, &layer.name.place);
        let filter = match name {
            "telnet" => telnet(ends, layer, &span),
            "ssl" => tls(ends, layer, &span),
            "keepopen" => Some(keep_open(ends, layer)),
            "trace" | "ratelimit" | "msgdelim" => of_client(ends, layer),
            other => {
                refuse(ends, span, &format!("connector type {other}"), instead_of(other));
                None
            }
        };
        complete &= filter.is_some();
        list.extend(filter);
    }
    complete.then_some(list)
}

/// One of `trace`, `ratelimit` and `msgdelim`.
pub(super) fn of_client(ends: &mut Ends<'_>, layer: &Layer) -> Option<Filter> {
    let span = sub_span(ends.text, &layer.name.place);
    match layer.name.text.as_str() {
        "trace" => Some(trace(ends, layer, &span)),
        "ratelimit" => rate_limit(ends, layer, &span),
        _ => Some(msg_delim(ends, layer)),
    }
}

/// What to do without a filter that there is not.
fn instead_of(name: &str) -> &'static str {
    match name {
        "perf" => "it moves no data of clients; measure with a program such as iperf",
        "mux" | "relpkt" => "leave it away at both ends: a TCP connection is reliable by itself",
        "certauth" => "let the certificate of ssl tell who we are: ssl(CA=...,key=...,cert=...)",
        "script" => "run the whole dialogue by the stdio connector",
        "xlt" => "run a program that translates by the stdio connector",
        "ax25" | "kiss" => "run a packet radio program by the stdio connector",
        _ => "leave it away",
    }
}

fn refuse(ends: &mut Ends<'_>, span: Span, what: &str, help: &str) {
    ends.report.blocked(span, what, Some(help.to_owned()));
}

fn of(ends: &mut Ends<'_>, layer: &Layer, name: &'static str) -> Vec<Setting> {
    settings(Place::Layer(name), &layer.options, ends.text, ends.defaults, ends.report)
}

fn telnet(ends: &mut Ends<'_>, layer: &Layer, span: &Span) -> Option<Filter> {
    let mut telnet = TelnetOptions::default();
    let mut server = false;
    for setting in of(ends, layer, "telnet") {
        match (setting.row.name, setting.value) {
            ("rfc2217", Value::Bool(on)) => telnet.rfc2217 = on,
            ("mode", Value::Text(mode)) if !setting.is_default => server = mode == "server",
            _ => {}
        }
    }
    if server {
        refuse(
            ends,
            span.clone(),
            "telnet server mode in a connector",
            "a connector is the client: leave mode away",
        );
        return None;
    }
    Some(Filter::Telnet(telnet))
}

fn tls(ends: &mut Ends<'_>, layer: &Layer, span: &Span) -> Option<Filter> {
    let (mut key, mut cert, mut ca) = (None, None, None);
    let (mut unverified, mut server) = (false, false);
    for setting in of(ends, layer, "ssl") {
        match (setting.row.name, setting.value) {
            // the built-in key and certificate are those of our own servers
            ("key", Value::Text(text)) => key = Some(PathBuf::from(&text)).filter(|_| !text.is_empty()),
            ("cert", Value::Text(text)) => cert = Some(PathBuf::from(&text)).filter(|_| !text.is_empty()),
            ("ca", Value::Text(text)) => ca = Some(PathBuf::from(&text)).filter(|_| !text.is_empty()),
            ("allow-authfail", Value::Bool(on)) => unverified = on,
            ("mode", Value::Text(mode)) if !setting.is_default => server = mode == "server",
            _ => {}
        }
    }
    if server {
        refuse(
            ends,
            span.clone(),
            "ssl server mode in a connector",
            "a connector is the client: leave mode away",
        );
        return None;
    }
    if ca.is_none() && !unverified {
        let help = "name the authority that signed the server's certificate, or the certificate itself: \
                    ssl(CA=/path/ca.pem)";
        let message = "ssl without CA cannot tell whom it talks to";
        ends.report.error(span.clone(), message, Some(help.to_owned()));
        return None;
    }
    let identity = match (key, cert) {
        // gensio(5): without cert, the certificate is expected in the file of the key
        (Some(key), cert) => Some((cert.unwrap_or_else(|| key.clone()), key)),
        (None, Some(_)) => {
            let help = Some("write ssl(key=/path/key.pem,cert=/path/cert.pem)".to_owned());
            ends.report.error(span.clone(), "ssl has a cert but no key", help);
            return None;
        }
        (None, None) => None,
    };
    Some(Filter::Tls(TlsClient { ca, identity, unverified }))
}

fn keep_open(ends: &mut Ends<'_>, layer: &Layer) -> Filter {
    let mut keep = KeepOpen { retry: Duration::from_secs(1), discards: false };
    for setting in of(ends, layer, "keepopen") {
        match (setting.row.name, setting.value) {
            ("retry-time", Value::Time(time)) => keep.retry = time,
            ("discard-badwrites", Value::Bool(on)) => keep.discards = on,
            _ => {}
        }
    }
    Filter::KeepOpen(keep)
}

fn rate_limit(ends: &mut Ends<'_>, layer: &Layer, span: &Span) -> Option<Filter> {
    let (mut length, mut delay) = (1, None);
    for setting in of(ends, layer, "ratelimit") {
        match (setting.row.name, setting.value) {
            ("xmit_len", Value::Int(Some(n))) => length = n as usize,
            ("xmit_delay", Value::Time(time)) => delay = Some(time),
            _ => {}
        }
    }
    if delay.is_none() {
        let help = Some("write for instance ratelimit(xmit_len=16,xmit_delay=10m)".to_owned());
        ends.report.error(span.clone(), "ratelimit needs xmit_delay", help);
    }
    delay.map(|delay| Filter::RateLimit(RateLimit { length, delay }))
}

fn msg_delim(ends: &mut Ends<'_>, layer: &Layer) -> Filter {
    let mut delim = MsgDelim { crc: true };
    for setting in of(ends, layer, "msgdelim") {
        if let ("crc", Value::Bool(on)) = (setting.row.name, setting.value) {
            delim.crc = on;
        }
    }
    Filter::MsgDelim(delim)
}

fn trace(ends: &mut Ends<'_>, layer: &Layer, span: &Span) -> Filter {
    let none = Directions::default();
    let mut tap = TraceTap { copies: none, blocks: none, raw: false, file: None, empties: false };
    let (mut path, mut stderr, mut stdout) = (None, false, false);
    for setting in of(ends, layer, "trace") {
        match (setting.row.name, setting.value) {
            ("dir", Value::Text(text)) => tap.copies = directions(&text),
            ("block", Value::Text(text)) => tap.blocks = directions(&text),
            ("raw", Value::Bool(on)) => tap.raw = on,
            ("delold", Value::Bool(on)) => tap.empties = on,
            ("file", Value::Text(text)) => path = Some(PathBuf::from(text)),
            ("stderr", Value::Bool(on)) => stderr = on,
            ("stdout", Value::Bool(on)) => stdout = on,
            _ => {}
        }
    }
    tap.file = match (stdout, stderr) {
        (true, _) => Some(TraceFile::Stdout),
        (false, true) => Some(TraceFile::Stderr),
        (false, false) => path.map(TraceFile::Path),
    };
    if tap.copies == none && tap.blocks == none {
        let help = Some("write for instance trace(dir=both,file=/path)".to_owned());
        ends.report.warning(span.clone(), "trace without dir copies nothing", help);
    } else if tap.copies != none && tap.file.is_none() {
        let help = Some("write for instance trace(dir=both,file=/path)".to_owned());
        ends.report.warning(span.clone(), "trace without file copies nothing", help);
    }
    Filter::Trace(tap)
}

fn directions(text: &str) -> Directions {
    Directions { read: matches!(text, "read" | "both"), write: matches!(text, "write" | "both") }
}
