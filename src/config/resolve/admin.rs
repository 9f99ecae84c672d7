//! The admin port: an accepter, and options that all are refused.

use super::layers::Default;
use super::report::{Finished, Report, Written};
use super::{Common, accepter, scalar};
use crate::config::error::{Diagnostic, Severity, Span};
use crate::config::options::{self, Place, Row};
use crate::config::raw::RawAdmin;
use crate::config::{Admin, Listen};
use std::sync::Arc;

/// What the mistakes of the admin port are told under.
const NAME: &str = "admin";
/// Name of the admin port in the files of hosts_access(5), as ser2net has it.
const WRAP_NAME: &str = "ser2net-control";

/// Resolves the first of the admin ports; the others are mistakes.
pub(super) fn resolve(raw: &[RawAdmin], common: &Common) -> (Option<Admin>, Vec<Diagnostic>, Vec<Written>) {
    let Some((first, others)) = raw.split_first() else { return (None, Vec::new(), Vec::new()) };
    let mut report = Report::new(NAME, true, common.trace);
    let mut defaults = Vec::new();
    for option in &first.defaults {
        let written = option.name.value.as_str();
        let (class, name) = written.split_once(':').unwrap_or(("", written));
        let Some(row) = options::find_default(Some(class).filter(|c| !c.is_empty()), name) else { continue };
        if row.place == Place::Admin {
            refuse(row, option.name.span.clone(), &mut report);
        }
        if let (Place::Layer(_), Ok(text)) = (row.place, scalar(option.value.as_ref())) {
            let (text, span) = (text.unwrap_or("").to_owned(), option.name.span.clone());
            defaults.push(Default { row, classed: !class.is_empty(), text, span });
        }
    }
    // ser2net goes on without an option that it does not know
    let mut unknown = Vec::new();
    for option in &first.options {
        let name = option.name.value.as_str();
        let span = option.name.span.clone();
        if let Some(row) = options::find(Place::Admin, name) {
            refuse(row, span, &mut report);
        } else {
            let near = options::suggest(name, options::rows(Place::Admin).map(|row| row.name));
            let message = format!("unknown option '{name}' of the admin port");
            let help = near.map(|near| format!("did you mean {near}?"));
            // the admin port runs without it
            let connection = Some(NAME.to_owned());
            unknown.push(Diagnostic { help, connection, ..Diagnostic::new(Severity::Error, span, message) });
        }
    }
    let mut accepter = accepter::resolve(&first.accepter, &defaults, &common.services, &mut report);
    let usual = options::find(Place::Layer("tcp"), "tcpdname").and_then(|row| row.default);
    if let Some(Listen::Tcp(tcp)) = accepter.as_mut().map(|accepter| Arc::make_mut(&mut accepter.listen))
        && Some(&*tcp.wrap_name) == usual
    {
        tcp.wrap_name = WRAP_NAME.into();
    }
    let Finished { failed, mut diagnostics, origins } = report.finish();
    // it is no connection; with this the converter leaves the whole of it out
    for diagnostic in &mut diagnostics {
        diagnostic.connection = None;
    }
    diagnostics.append(&mut unknown);
    for other in others {
        let at = &first.place;
        let place = if Arc::ptr_eq(&at.source, &other.place.source) {
            format!("the one in line {}", at.line_column().0)
        } else {
            format!("the one at {at:?}")
        };
        let message = format!("the admin port is already configured: {place} is used");
        diagnostics.push(
            Diagnostic::new(Severity::Error, other.place.clone(), message)
                .help("there is one admin port; remove the others"),
        );
    }
    let admin = accepter.filter(|_| !failed).map(|accepter| Admin { accepter, allow: common.allow.clone() });
    (admin, diagnostics, origins)
}

/// An option that asks for a login.
fn refuse(row: &Row, span: Span, report: &mut Report) {
    let message = format!(
        "{} cannot be kept: there is no login on the admin port, and without it everybody would be let in",
        row.name
    );
    let help = "remove the option, and let the accepter check who comes: \
                ssl(clientauth,CA=/path/ca.pem),tcp,3000, or tcp,localhost,3000";
    report.error(span, message, Some(help.into()));
}
