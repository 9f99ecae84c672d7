//! Turns connections as written into connections that can run.
//!
//! A mistake costs the connection that it is in, never the others. So does a construct that this
//! version does not act on, unless the connection is the same without it for its clients and its
//! device (mDNS …): those are left out with a warning.

mod accepter;
mod access;
mod admin;
mod connection;
mod connector;
mod layers;
mod leds;
mod matching;
mod report;
mod rotator;
mod serial;

pub(crate) use serial::mode_of as line_mode;

use super::error::{Diagnostic, Severity, Span};
use super::options;
use super::raw::{RawConnection, RawFile, RawRotator, RawValue, Spanned};
use super::{Config, Options};
use ipnet::IpNet;
pub(super) use layers::is_idle;
pub use report::Written;
pub(super) use rotator::OPTIONS as ROTATOR_OPTIONS;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

/// What every connection starts from.
struct Common {
    allow: Option<Vec<IpNet>>,
    /// Where `allow` stands for all connections.
    allow_span: Option<Span>,
    /// Origins are kept.
    trace: bool,
    services: String,
    /// The LEDs by name.
    leds: leds::Named,
    /// As they are when nothing is written.
    options: Options,
}

/// Resolves a whole configuration. Connections with an [`Severity::Error`] are not in the result;
/// with a [`Severity::Fatal`] the result must not be used. Names of services are looked up in
/// `/etc/services`.
pub fn resolve(raw: &RawFile) -> (Config, Vec<Diagnostic>) {
    let (config, diagnostics, _) = resolve_with(raw, services(), false);
    (config, diagnostics)
}

/// A connection as written, and where each of its options was written.
#[derive(Debug)]
pub struct Trace<'a> {
    /// As written.
    pub raw: &'a RawConnection,
    /// In the order in which they take effect.
    pub origins: Vec<Written>,
}

/// Where the values of a configuration were written, one entry for each thing that is in it.
#[derive(Debug, Default)]
pub struct Traces<'a> {
    /// Of the connections.
    pub connections: Vec<Trace<'a>>,
    /// Of the rotators: as written, and their options.
    pub rotators: Vec<(&'a RawRotator, Vec<Written>)>,
    /// Of the types in the admin port's accepter.
    pub admin: Vec<Written>,
}

/// [`resolve`] with the origins of what is in the configuration.
pub fn resolve_traced(raw: &RawFile) -> (Config, Vec<Diagnostic>, Traces<'_>) {
    resolve_with(raw, services(), true)
}

fn services() -> String {
    std::fs::read_to_string("/etc/services").unwrap_or_default()
}

/// [`resolve_traced`] with the text of `/etc/services` as an argument, and origins only on demand.
fn resolve_with(raw: &RawFile, services: String, trace: bool) -> (Config, Vec<Diagnostic>, Traces<'_>) {
    let mut diagnostics = Vec::new();
    let mut traces = Traces::default();
    let (metrics, allow) = settings(raw, &mut diagnostics);
    let allow_span =
        raw.settings.iter().rfind(|(path, _)| path.value == "allow").map(|(path, _)| path.span.clone());
    let (leds, named) = leds::resolve(&raw.leds, &mut diagnostics);
    let common = Common { allow, allow_span, trace, services, leds: named, options: Options::default() };
    let mut config = Config { connections: Vec::new(), rotators: Vec::new(), admin: None, metrics, leds };
    let mut names: HashMap<&str, &Span> = HashMap::new();
    for connection in &raw.connections {
        let name = &connection.name;
        if let Some(first) = names.get(name.value.as_str()) {
            let first = first.line_column().0;
            // ser2net 4.3.11 keeps the first of two equal names, in both formats (3.5.1 kept the last).
            diagnostics.push(
                Diagnostic::new(
                    Severity::Error,
                    name.span.clone(),
                    format!("duplicate connection name '{}': the one in line {first} is used", name.value),
                )
                .help("give each connection a name of its own"),
            );
            continue;
        }
        names.insert(&name.value, &name.span);
        let resolved = connection::resolve(connection, &common);
        if trace && resolved.connection.is_some() {
            traces.connections.push(Trace { raw: connection, origins: resolved.origins });
        }
        config.connections.extend(resolved.connection.map(|mut connection| {
            // in a long file most have the same, and a copy would be the largest part of a port
            if let Some(shared) = config.connections.last().map(|last| &last.options)
                && **shared == *connection.options
            {
                connection.options = Arc::clone(shared);
            }
            Arc::new(connection)
        }));
        diagnostics.extend(resolved.diagnostics);
    }
    let written: HashSet<&str> = raw.connections.iter().map(|c| c.name.value.as_str()).collect();
    let mut rotators: HashSet<&str> = HashSet::new();
    for rotator in &raw.rotators {
        let name = &rotator.name;
        if !rotators.insert(&name.value) {
            let message = format!("duplicate rotator name '{}': the first is used", name.value);
            diagnostics.push(
                Diagnostic::new(Severity::Error, name.span.clone(), message)
                    .help("give each rotator a name of its own"),
            );
            continue;
        }
        let (resolved, found, origins) = rotator::resolve(rotator, &config.connections, &written, &common);
        if resolved.is_some() {
            traces.rotators.push((rotator, origins));
        }
        config.rotators.extend(resolved.map(Arc::new));
        diagnostics.extend(found);
    }
    let (admin, found, origins) = admin::resolve(&raw.admins, &common);
    traces.admin = origins;
    config.admin = admin.map(Arc::new);
    diagnostics.extend(found);
    // A default in force for many connections says the same thing for each of them.
    let mut seen = HashSet::new();
    diagnostics.retain(|d| {
        let place = d.span.as_ref().map(|s| (s.source.name.clone(), s.start));
        d.severity != Severity::Warning || seen.insert((place, d.message.clone()))
    });
    (config, diagnostics, traces)
}

/// serbroker's own settings at the top of the file.
fn settings(raw: &RawFile, diagnostics: &mut Vec<Diagnostic>) -> (Option<SocketAddr>, Option<Vec<IpNet>>) {
    let (mut metrics, mut allow) = (None, None);
    for (path, value) in &raw.settings {
        let refused = |message| Diagnostic::new(Severity::Error, path.span.clone(), message);
        match path.value.as_str() {
            "metrics" | "metrics.listen" => match access::metrics(value, &path.span) {
                Ok(address) => metrics = Some(address),
                Err(error) => diagnostics.push(Diagnostic {
                    span: error.span.or(Some(path.span.clone())),
                    ..refused(error.message)
                        .help("write for instance metrics: 127.0.0.1:9100, or metrics: 9100")
                }),
            },
            // Running without a limit that was asked for would let strangers in.
            "allow" => match access::allowed(value) {
                Ok(list) => allow = Some(list),
                Err(message) => diagnostics.push(Diagnostic {
                    severity: Severity::Fatal,
                    ..refused(message).help("write for instance allow: [192.168.1.0/24, ::1]")
                }),
            },
            other => {
                let diagnostic = refused(format!("unknown setting '{other}'"));
                let near = options::suggest(other, ["metrics", "allow"].into_iter());
                diagnostics.push(match near {
                    Some(near) => diagnostic.help(format!("did you mean {near}?")),
                    None => diagnostic,
                });
            }
        }
    }
    (metrics, allow)
}

/// The scalar in a value; a list or a mapping is none.
fn scalar(value: Option<&Spanned<RawValue>>) -> Result<Option<&str>, ()> {
    match value.map(|v| &v.value) {
        None => Ok(None),
        Some(RawValue::Scalar(text)) => Ok(Some(text)),
        Some(_) => Err(()),
    }
}

#[cfg(test)]
#[path = "resolve/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "resolve/tests_files.rs"]
mod tests_files;

#[cfg(test)]
#[path = "resolve/tests_connectors.rs"]
mod tests_connectors;

#[cfg(test)]
#[path = "resolve/tests_match.rs"]
mod tests_match;
