//! Accepter strings.

mod transport;

use super::connector;
use super::layers::{Default, Setting, settings};
use super::report::{Report, sub_span};
use crate::config::address::Address;
use crate::config::gensio::{self, FILTERS, Layer, Problem, Side, Stack, Word};
use crate::config::options::{self, Place, Value};
use crate::config::raw::Spanned;
use crate::config::{Accepter, ClientFilters, Listen, TelnetOptions, TlsOptions};
use std::path::PathBuf;
use std::sync::Arc;

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
    let (telnet, tls, filters) = filters(&stack, text, defaults, report);
    let bottom = transport::Bottom { stack: &stack, text, defaults, services };
    let listen = transport::resolve(&bottom, report)?;
    if tls.is_some() && !matches!(listen, Listen::Tcp(_) | Listen::Unix(_)) {
        let ssl = stack.filters.iter().find(|layer| layer.name.text == "ssl");
        let span = sub_span(text, &ssl.map_or(0..0, |layer| layer.name.place.clone()));
        report.refused(span, "ssl on something else than tcp and unix", "put tcp or unix below ssl");
    }
    let (text, tls) = (text.value.as_str().into(), tls.map(Box::new));
    Some(Accepter { text, telnet, tls, filters, listen: Arc::new(listen) })
}

fn filters(
    stack: &Stack,
    text: &Spanned<String>,
    defaults: &[Default],
    report: &mut Report,
) -> (Option<TelnetOptions>, Option<TlsOptions>, Option<Box<ClientFilters>>) {
    let (mut telnet, mut tls) = (None, None);
    let mut filters = ClientFilters::default();
    let has_telnet = stack.filters.iter().any(|layer| layer.name.text == "telnet");
    for layer in &stack.filters {
        let span = sub_span(text, &layer.name.place);
        match layer.name.text.as_str() {
            "telnet" if telnet.is_some() => {
                report.refused(span, "telnet twice in one accepter", "write it once");
            }
            "telnet" if tls.is_some() => {
                report.refused(span, "telnet below ssl", "put telnet first: telnet,ssl,tcp,2000");
            }
            "telnet" => telnet = Some(telnet_options(layer, text, defaults, report)),
            "ssl" if tls.is_some() => report.refused(span, "ssl twice in one accepter", "write it once"),
            "ssl" => tls = Some(tls_options(layer, text, defaults, report)),
            "msgdelim" if tls.is_some() => {
                report.refused(span, "msgdelim below ssl", "write it in front of ssl");
            }
            // clients get the same bytes without them
            name @ ("trace" | "ratelimit") if tls.is_some() => {
                report.left_out(span, &format!("{name} below ssl"), Some("write it in front of ssl".into()));
            }
            "msgdelim" if has_telnet && telnet.is_none() => {
                let help = "write it behind telnet: telnet,msgdelim,tcp,2000";
                report.refused(span, "msgdelim in front of telnet", help);
            }
            name @ ("trace" | "ratelimit" | "msgdelim") => {
                let filter = connector::client_filter(layer, stack, text, defaults, report);
                // a pause is one wherever it is made
                let above = has_telnet && telnet.is_none() && name == "trace";
                let list = if above { &mut filters.above } else { &mut filters.below };
                list.extend(filter);
            }
            // it measures, which metrics do, and clients get the same bytes
            "perf" => report.ignored(span, &layer.name.text),
            "keepopen" | "script" => {
                report.error(span, format!("{} cannot be part of an accepter", layer.name.text), None);
            }
            other => report.refused(span, &format!("accepter type {other}"), instead_of(other)),
        }
    }
    let filters = (filters != ClientFilters::default()).then(|| Box::new(filters));
    (telnet, tls, filters)
}

/// What comes nearest to a filter that there is not.
fn instead_of(filter: &str) -> &'static str {
    match filter {
        "certauth" => {
            "let certificates decide who may connect: ssl(clientauth,CA=/path/ca.pem),tcp,2000; \
             or log in by ssh and let a program there connect to a port on loopback"
        }
        "mux" => "write a connection with a port of its own for each channel",
        "relpkt" => "use tcp, which keeps order and repeats what is lost",
        "kiss" | "ax25" => "use raw tcp and let a program like kissattach speak the protocol",
        "xlt" => "let the client translate line ends, as most terminal programs can",
        _ => "leave it out",
    }
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
            ("mode", Value::Text(mode)) => telnet.client = mode == "client",
            ("winsize", Value::Bool(on)) => telnet.winsize = on,
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
