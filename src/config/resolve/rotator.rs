//! Rotators: an accepter and the connections that it leads to.

use super::connection::{default, explicit};
use super::report::{Finished, Report, Written};
use super::{Common, accepter};
use crate::config::error::Diagnostic;
use crate::config::options::{self, Place};
use crate::config::raw::{RawOption, RawRotator};
use crate::config::{Connection, Rotator};
use std::collections::HashSet;
use std::sync::Arc;

/// Options of a connection that a rotator has too (ser2net.yaml(5), "ROTATOR"; the last four are
/// serbroker's).
pub(in crate::config) const OPTIONS: [&str; 8] = [
    "accepter-retry-time",
    "authdir",
    "pamauth",
    "allowed-users",
    "allow",
    "refusal-text",
    "keepalive",
    "user-timeout",
];

/// Resolves a rotator over `connections`. `None` comes with at least one error.
pub(super) fn resolve(
    raw: &RawRotator,
    connections: &[Arc<Connection>],
    written: &HashSet<&str>,
    common: &Common,
) -> (Option<Rotator>, Vec<Diagnostic>, Vec<Written>) {
    let mut report = Report::new(&raw.name.value, true, common.trace);
    if raw.name.value.is_empty() {
        report.error(raw.name.span.clone(), "the rotator has no name", None);
    }
    let mut options = common.options.clone();
    options.allow.clone_from(&common.allow);
    if let (Some(span), Some(row)) = (&common.allow_span, options::find(Place::Connection, "allow")) {
        report.origin(row, None, span, true);
    }
    let mut layer_defaults = Vec::new();
    for option in raw.defaults.iter().filter(|option| concerns_rotators(option)) {
        default(option, &mut options, &mut layer_defaults, common, &mut report);
    }
    for option in &raw.options {
        if is_known(&option.name.value) {
            explicit(option, raw.origin, &mut options, common, &mut report);
        } else {
            let name = &option.name.value;
            let help = match options::suggest(name, OPTIONS.into_iter()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("a rotator has {}", OPTIONS.join(", ")),
            };
            report.error(
                option.name.span.clone(),
                format!("unknown option '{name}' of a rotator"),
                Some(help),
            );
        }
    }
    let accepter = accepter::resolve(&raw.accepter, &layer_defaults, &common.services, &mut report);
    let mut members: Vec<Arc<str>> = Vec::new();
    for member in &raw.members {
        let name = member.value.as_str();
        if members.iter().any(|known| **known == *name) {
            report.warning(
                member.span.clone(),
                format!("connection '{name}' stands twice in the rotator"),
                None,
            );
            continue;
        }
        let found = connections.iter().find(|c| *c.name == *name);
        match found {
            Some(connection) if !connection.enabled => report.warning(
                member.span.clone(),
                format!("connection '{name}' is switched off: the rotator passes it over"),
                None,
            ),
            // one that was written but cannot run has been complained about
            Some(_) => {}
            None if written.contains(name) => {}
            None => report.warning(
                member.span.clone(),
                format!("there is no connection '{name}': the rotator passes it over"),
                options::suggest(name, written.iter().copied()).map(|near| format!("did you mean {near}?")),
            ),
        }
        members.push(found.map_or_else(|| name.into(), |c| c.name.clone()));
    }
    if members.is_empty() {
        let help = Some("name the connections: connections: [con1, con2]".into());
        report.error(raw.name.span.clone(), "a rotator without connections", help);
    }
    let Finished { failed, mut diagnostics, origins } = report.finish();
    for diagnostic in &mut diagnostics {
        diagnostic.message = format!("rotator {}: {}", raw.name.value, diagnostic.message);
        diagnostic.connection = None;
    }
    let rotator = accepter.filter(|_| !failed).map(|accepter| Rotator {
        name: raw.name.value.as_str().into(),
        accepter,
        members,
        options,
    });
    (rotator, diagnostics, origins)
}

fn is_known(name: &str) -> bool {
    OPTIONS.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// A default that a rotator takes: its own options and those of the types in its accepter.
fn concerns_rotators(option: &RawOption) -> bool {
    let (class, name) = option.name.value.split_once(':').unwrap_or(("", &option.name.value));
    let row = options::find_default(Some(class).filter(|c| !c.is_empty()), name);
    row.is_some_and(|row| match row.place {
        Place::Connection => is_known(row.name),
        Place::Layer(_) => true,
        Place::Serial | Place::Admin => false,
    })
}
