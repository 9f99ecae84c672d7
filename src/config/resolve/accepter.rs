//! Accepter strings.

use super::layers::{Default, Setting, settings};
use super::report::{Report, sub_span};
use crate::config::address::{self, Address};
use crate::config::gensio::{self, FILTERS, Layer, Problem, Side, Stack, Word};
use crate::config::options::{self, Place, Value};
use crate::config::raw::Spanned;
use crate::config::{Accepter, TcpListen, TelnetOptions, TlsOptions};
use std::path::PathBuf;

/// Resolves an accepter string. `None`, with a report, when it cannot be run.
pub(super) fn resolve(
    text: &Spanned<String>,
    defaults: &[Default],
    services: &str,
    report: &mut Report,
) -> Option<Accepter> {
    if text.value.trim().is_empty() {
        report.error(text.span.clone(), "the accepter is empty", Some("write for instance tcp,2000".into()));
        return None;
    }
    let stack = match gensio::parse(&text.value, Side::Accepter) {
        Ok(stack) => stack,
        Err(problem) => {
            report.problem(text, problem);
            return None;
        }
    };
    let (telnet, tls) = filters(&stack, text, defaults, report);
    let tcp = base(&stack, text, defaults, services, report)?;
    Some(Accepter { text: text.value.as_str().into(), telnet, tls, tcp })
}

fn filters(
    stack: &Stack,
    text: &Spanned<String>,
    defaults: &[Default],
    report: &mut Report,
) -> (Option<TelnetOptions>, Option<TlsOptions>) {
    let (mut telnet, mut tls) = (None, None);
    for layer in &stack.filters {
        let span = sub_span(text, &layer.name.place);
        match layer.name.text.as_str() {
            "telnet" if telnet.is_some() => report.blocked(span, "telnet twice in one accepter", None),
            "telnet" if tls.is_some() => {
                report.blocked(
                    span,
                    "telnet below ssl",
                    Some("put telnet first: telnet,ssl,tcp,2000".into()),
                );
            }
            "telnet" => telnet = Some(telnet_options(layer, text, defaults, report)),
            "ssl" if tls.is_some() => report.blocked(span, "ssl twice in one accepter", None),
            "ssl" => tls = Some(tls_options(layer, text, defaults, report)),
            // These only watch or slow down what goes to the clients, who get the same bytes.
            "trace" | "perf" | "ratelimit" => report.ignored(span, &layer.name.text),
            "keepopen" | "script" => {
                report.error(span, format!("{} cannot be part of an accepter", layer.name.text), None);
            }
            other => report.blocked(span, &format!("accepter type {other}"), None),
        }
    }
    (telnet, tls)
}

fn telnet_options(
    layer: &Layer,
    text: &Spanned<String>,
    defaults: &[Default],
    report: &mut Report,
) -> TelnetOptions {
    let mut telnet = TelnetOptions::default();
    for setting in settings(Place::Layer("telnet"), &layer.options, text, defaults, report) {
        match (setting.row.name, setting.value) {
            ("rfc2217", Value::Bool(on)) => telnet.rfc2217 = on,
            ("mode", Value::Text(mode)) if mode == "client" => {
                report.blocked(setting.span, "telnet client mode in an accepter", None);
            }
            _ => {}
        }
    }
    telnet
}

fn tls_options(
    layer: &Layer,
    text: &Spanned<String>,
    defaults: &[Default],
    report: &mut Report,
) -> TlsOptions {
    let place = Place::Layer("ssl");
    let path = |name| options::find(place, name).and_then(|row| row.default).map(PathBuf::from);
    let (mut key, mut cert, mut ca) = (None, None, None);
    let (mut client_auth, mut lets_in): (Option<Setting>, Option<Setting>) = (None, None);
    for setting in settings(place, &layer.options, text, defaults, report) {
        match (setting.row.name, &setting.value) {
            ("key", Value::Text(value)) => key = Some(PathBuf::from(value)),
            ("cert", Value::Text(value)) => cert = Some(PathBuf::from(value)),
            ("ca", Value::Text(value)) => ca = Some(PathBuf::from(value)).filter(|_| !value.is_empty()),
            ("clientauth", Value::Bool(on)) => client_auth = on.then_some(setting),
            ("allow-authfail", Value::Bool(on)) => lets_in = on.then_some(setting),
            ("mode", Value::Text(mode)) if mode == "client" => {
                report.blocked(setting.span, "ssl client mode in an accepter", None);
            }
            _ => {}
        }
    }
    match (&client_auth, &ca, lets_in) {
        (Some(_), Some(_), Some(lets_in)) => {
            report.blocked(lets_in.span, "letting clients with invalid certificates in", None);
        }
        (Some(auth), None, _) => report.blocked(
            auth.span.clone(),
            "clientauth with the key directories of users",
            Some(
                "name the authorities that sign client certificates: ssl(clientauth,CA=/path/ca.pem)".into(),
            ),
        ),
        // A certificate that an authority signed is enough here; ser2net also looks for its user.
        (Some(auth), Some(_), None) => {
            report.ignored(auth.span.clone(), "looking the user of a client certificate up in authdir");
        }
        _ => {}
    }
    // gensio(5): without cert, the certificate is expected in the file of the key.
    let (key, cert) = match (key, cert.filter(|c| !c.as_os_str().is_empty())) {
        (Some(key), Some(cert)) => (key, cert),
        (Some(key), None) => (key.clone(), key),
        (None, cert) => {
            let key = path("key").unwrap_or_default();
            (key, cert.or_else(|| path("cert")).unwrap_or_default())
        }
    };
    TlsOptions { key, cert, client_auth: client_auth.is_some() && ca.is_some(), ca }
}

fn base(
    stack: &Stack,
    text: &Spanned<String>,
    defaults: &[Default],
    services: &str,
    report: &mut Report,
) -> Option<TcpListen> {
    let no_options = Vec::new();
    let (words, at) = match &stack.base {
        Some(layer) if layer.name.text == "tcp" => (&layer.options, layer.name.place.clone()),
        Some(layer) => {
            let span = sub_span(text, &layer.name.place);
            report.blocked(span, &format!("accepter type {}", layer.name.text), None);
            return None;
        }
        None => (&no_options, text.value.len()..text.value.len()),
    };
    let (mut nodelay, mut reuseaddr) = (true, true);
    for setting in settings(Place::Layer("tcp"), words, text, defaults, report) {
        match (setting.row.name, setting.value) {
            ("nodelay", Value::Bool(on)) => nodelay = on,
            ("reuseaddr", Value::Bool(on)) => reuseaddr = on,
            ("laddr", _) => {
                let help = Some("an accepter listens at the address in front of its port".into());
                report.error(setting.span, "laddr is an option of connectors", help);
            }
            _ => {}
        }
    }
    let Some(tail) = &stack.tail else {
        let problem = Problem::new(at, "the port is missing").help("write for instance tcp,2000");
        report.problem(text, problem);
        return None;
    };
    let list = match address::parse_list(&tail.text, tail.place.start, services) {
        Ok(list) => list,
        Err(problem) => {
            report.problem(text, if stack.base.is_some() { problem } else { unknown_type(tail, problem) });
            return None;
        }
    };
    let mut list = list.into_iter();
    let first = list.next()?;
    if let Some(second) = list.next() {
        let span = sub_span(text, &second.port.place);
        report.blocked(
            span,
            "more than one address in an accepter",
            Some("write one connection for each".into()),
        );
    }
    if let Some(protocol) = first.protocol.as_ref().filter(|p| p.text != "tcp") {
        report.blocked(sub_span(text, &protocol.place), &format!("accepter type {}", protocol.text), None);
    }
    remarks(&first, stack.base.is_some(), text, report);
    let host = first.host.map(|h| h.text.into());
    Some(TcpListen { family: first.family, host, port: first.number, nodelay, reuseaddr })
}

/// The first word of an address that is none may have been meant as a type.
fn unknown_type(tail: &Word, problem: Problem) -> Problem {
    let first = tail.text.split([',', '(']).next().unwrap_or("");
    let trimmed = first.trim_end();
    let looks_like_type = !trimmed.is_empty()
        && trimmed.bytes().all(|b| b.is_ascii_alphanumeric())
        && trimmed.bytes().any(|b| b.is_ascii_alphabetic())
        && (first.len() < tail.text.len() || near_type(trimmed).is_some());
    if !looks_like_type || trimmed == "localhost" || trimmed.starts_with("ipv") {
        return problem;
    }
    let place = tail.place.start..tail.place.start + trimmed.len();
    if first != trimmed {
        return Problem::new(place, format!("a blank must not follow '{trimmed}'"));
    }
    let unknown = Problem::new(place, format!("unknown accepter type '{trimmed}'"));
    match near_type(trimmed) {
        Some(name) => unknown.help(format!("did you mean {name}?")),
        None => unknown,
    }
}

fn near_type(word: &str) -> Option<&'static str> {
    options::suggest(word, FILTERS.iter().chain(Side::Accepter.bases()).copied())
}

fn remarks(address: &Address, has_type: bool, text: &Spanned<String>, report: &mut Report) {
    let port = address.port.text.trim_start_matches('+');
    if port.parse::<u64>().is_ok_and(|n| n > 0xffff) {
        report.warning(
            sub_span(text, &address.port.place),
            format!("port {port} is above 65535; like ser2net this listens on {}", address.number),
            None,
        );
    }
    let Some(host) = address.host.as_ref().filter(|_| !has_type && address.protocol.is_none()) else {
        return;
    };
    let name = host.text.as_str();
    if name == "localhost" || name.contains(['.', ':']) {
        return;
    }
    let span = sub_span(text, &host.place);
    match near_type(name) {
        Some(near) if near.eq_ignore_ascii_case(name) => {
            let help = Some(format!("write {near}, in lower case"));
            report.error(span, format!("unknown accepter type '{name}'"), help);
        }
        near => {
            let near = near.unwrap_or("tcp");
            let help = Some(format!("write {near},{} if the type {near} is meant", address.port.text));
            report.warning(span, format!("'{name}' is no accepter type and is taken as a host"), help);
        }
    }
}
