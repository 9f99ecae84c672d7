//! Connector strings.

use super::layers::{Default, Setting, settings};
use super::report::{Report, sub_span};
use super::serial;
use crate::config::Connector;
use crate::config::address;
use crate::config::gensio::{self, FILTERS, Side, Stack, Word};
use crate::config::options::{self, Place, Value};
use crate::config::raw::Spanned;
use crate::config::suggest::fill_in;
use crate::serial::settings::DeviceConfig;

/// Resolves a connector string. `None`, with a report, when it cannot be run.
pub(super) fn resolve(
    text: &Spanned<String>,
    defaults: &[Default],
    services: &str,
    report: &mut Report,
) -> Option<Connector> {
    if text.value.trim().is_empty() {
        let help = Some("write for instance serialdev,/dev/ttyUSB0,9600n81,local".into());
        report.error(text.span.clone(), "the connector is empty", help);
        return None;
    }
    let stack = match gensio::parse(&text.value, Side::Connector) {
        Ok(stack) => stack,
        Err(problem) => {
            report.problem(text, problem);
            return None;
        }
    };
    let is_serial = is_serial(&stack, text, services, report)?;
    for layer in &stack.filters {
        let span = sub_span(text, &layer.name.place);
        match layer.name.text.as_str() {
            // A port opens its device again by itself, which is what keepopen is for; the others
            // only watch. Pacing (ratelimit) is not left out: a slow device may depend on it.
            "keepopen" | "trace" | "perf" if is_serial => report.ignored(span, &layer.name.text),
            other => report.blocked(span, &format!("connector type {other}"), None),
        }
    }
    if !is_serial {
        return None;
    }
    let device = device(&stack, text, defaults, report)?;
    Some(Connector { text: text.value.as_str().into(), device })
}

/// Whether the base is a serial device; `None`, reported, when it is nothing known.
fn is_serial(stack: &Stack, text: &Spanned<String>, services: &str, report: &mut Report) -> Option<bool> {
    match (&stack.base, &stack.tail) {
        (Some(layer), _) if matches!(layer.name.text.as_str(), "serialdev" | "sdev") => Some(true),
        (Some(layer), _) => {
            let span = sub_span(text, &layer.name.place);
            report.blocked(span, &format!("connector type {}", layer.name.text), None);
            Some(false)
        }
        (None, Some(tail)) if tail.text.starts_with('/') => Some(true),
        (None, Some(tail))
            if address::parse_list(&tail.text, 0, services).is_ok() && !is_word(&tail.text) =>
        {
            report.blocked(sub_span(text, &tail.place), "a network address as connector", None);
            Some(false)
        }
        (None, tail) => {
            let first = tail.as_ref().map_or("", |t| t.text.split([',', '(', ' ']).next().unwrap_or(""));
            let known = FILTERS.iter().chain(Side::Connector.bases()).copied();
            let help = match options::suggest(first, known) {
                Some(name) => format!("did you mean {name}?"),
                None => "write serialdev,/dev/...".to_owned(),
            };
            let start = tail.as_ref().map_or(0, |t| t.place.start);
            let span = sub_span(text, &(start..start + first.len()));
            report.error(span, format!("unknown connector type '{first}'"), Some(help));
            None
        }
    }
}

/// A lone word could be the name of a service, but hardly means one in a connector.
fn is_word(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn device(
    stack: &Stack,
    text: &Spanned<String>,
    defaults: &[Default],
    report: &mut Report,
) -> Option<DeviceConfig> {
    let empty = Word { text: String::new(), place: text.value.len()..text.value.len() };
    let tail = stack.tail.as_ref().unwrap_or(&empty);
    let trimmed = tail.text.trim_start();
    let start = tail.place.start + tail.text.len() - trimmed.len();
    let (path, rest) = trimmed.split_once(',').unwrap_or((trimmed, ""));
    let path_place = start..start + path.len();
    let words = match gensio::split_words(rest, tail.place.end - rest.len()) {
        Ok(words) => words,
        Err(problem) => {
            report.problem(text, problem);
            return None;
        }
    };
    path_remarks(path, sub_span(text, &path_place), report);
    let mut device = DeviceConfig::new(path);
    let no_options = Vec::new();
    let parenthesised = stack.base.as_ref().map_or(&no_options, |base| &base.options);
    for setting in settings(Place::Layer("serialdev"), parenthesised, text, defaults, report) {
        open_option(&mut device, &setting, report);
    }
    serial::apply(&mut device, &words, text, defaults, report);
    if device.read_only && device.write_only {
        report.error(text.span.clone(), "rdonly and wronly exclude each other", None);
    }
    Some(device)
}

fn open_option(device: &mut DeviceConfig, setting: &Setting, report: &mut Report) {
    match (setting.row.name, &setting.value) {
        ("nouucplock", Value::Bool(on)) => device.uucp_lock = !on,
        ("uucplock", Value::Bool(on)) => device.uucp_lock = *on,
        ("drain_time", Value::Int(time)) => device.drain_ms = time.map(|t| t.saturating_mul(10)),
        ("char_drain_wait", Value::Int(time)) => {
            device.stall_ms = Some(time.map_or(u32::MAX / 10 * 10, |t| t.saturating_mul(10)));
        }
        ("custspeed", Value::Bool(false)) if !setting.is_default => {
            report.warning(
                setting.span.clone(),
                "speeds other than the classic ones are always allowed",
                None,
            );
        }
        _ => {}
    }
}

/// Says what looks odd in a device path. Any path can be opened, or fail to, later.
fn path_remarks(path: &str, span: crate::config::error::Span, report: &mut Report) {
    if path.is_empty() {
        report.warning(span, "no device is given; clients will be refused", None);
    } else if path.contains(['"', '\'']) {
        report.warning(
            span,
            "quotes are part of the device name",
            Some("write the name without quotes".into()),
        );
    } else if path.contains(char::is_whitespace) {
        let help = Some("write a comma between the device and its settings".into());
        report.warning(span, format!("blanks are part of the device name '{path}'"), help);
    } else if path.contains('*') {
        report.warning(span, format!("'*' in '{path}' is not replaced"), Some("write *(name)".into()));
    } else if let Some(help) = fill_in(path) {
        report.warning(span, format!("the device '{path}' was not filled in"), Some(help));
    }
}
