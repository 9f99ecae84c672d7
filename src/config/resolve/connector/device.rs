//! Serial devices of connector strings.

use crate::config::gensio::{self, Stack, Word};
use crate::config::options::{Place, Value};
use crate::config::raw::Spanned;
use crate::config::resolve::layers::{Default, Setting, settings};
use crate::config::resolve::matching::{self, Rule};
use crate::config::resolve::report::{Report, sub_span};
use crate::config::resolve::serial;
use crate::config::suggest::fill_in;
use crate::serial::settings::DeviceConfig;
use std::ops::Range;

/// A serial device and its settings.
pub(super) fn device(
    stack: &Stack,
    text: &Spanned<String>,
    rule: Option<Rule>,
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
    let mut device = named(path, &path_place, text, rule, report)?;
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

/// The device by its path, or by a rule: the one of the connection where `match` stands in place of the
/// path, or the one behind `match=`.
fn named(
    path: &str,
    place: &Range<usize>,
    text: &Spanned<String>,
    rule: Option<Rule>,
    report: &mut Report,
) -> Option<DeviceConfig> {
    let span = sub_span(text, place);
    let own = match path.strip_prefix("match=") {
        Some(fields) => match matching::of_text(fields, place.end - fields.len()) {
            Ok(own) => Some(own),
            Err(problem) => {
                report.problem(text, problem);
                return None;
            }
        },
        None => None,
    };
    let found = match (own, rule) {
        (Some(own), Some(other)) if own != other.rule => {
            report.error(other.span, "match says something else than the connector", None);
            return None;
        }
        (Some(own), _) => own,
        (None, Some(rule)) if path == "match" => rule.rule,
        (None, Some(rule)) => {
            let help = format!("write serialdev,match in place of serialdev,{path}, or remove match");
            report.error(rule.span, "the device is named twice: by its path and by match", Some(help));
            return None;
        }
        (None, None) if path == "match" => {
            let help =
                "write match: {vid: 0403, pid: 6001} beside connector, or serialdev,match=vid:0403+pid:6001";
            report.error(span, "nothing says what the device is found by", Some(help.to_owned()));
            return None;
        }
        (None, None) => {
            path_remarks(path, span, report);
            return Some(DeviceConfig::new(path));
        }
    };
    Some(DeviceConfig::matching(found))
}

fn open_option(device: &mut DeviceConfig, setting: &Setting, report: &mut Report) {
    match (setting.row.name, &setting.value) {
        ("nouucplock", Value::Bool(on)) => device.uucp_lock = !on,
        ("uucplock", Value::Bool(on)) => device.uucp_lock = *on,
        ("drain_time", Value::Int(time)) => device.drain_ms = time.map(|t| t.saturating_mul(10)),
        ("char_drain_wait", Value::Int(time)) => device.stall_ms = time.map(|t| t.saturating_mul(10)),
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
