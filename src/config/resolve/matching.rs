//! `match`: what a device is found by, as a mapping of the connection or as text in the connector.

use super::report::Report;
use crate::config::error::Span;
use crate::config::gensio::Problem;
use crate::config::options;
use crate::config::raw::{RawOption, RawValue, Spanned};
use crate::serial::find::{FIELDS, Match};
use std::ops::Range;

/// A rule and where it stands.
pub(super) struct Rule {
    pub(super) rule: Match,
    pub(super) span: Span,
}

const EXAMPLE: &str = "write for instance match: {vid: 0403, pid: 6001, serial: A50285BI}";

/// The rule among the options of a connection; the last one counts. A wrong one is reported, and is
/// as good as none.
pub(super) fn of_options(list: &[RawOption], report: &mut Report) -> Option<Rule> {
    let option = list.iter().rfind(|option| option.name.value.eq_ignore_ascii_case("match"))?;
    let value = option.value.as_ref();
    let span = value.map_or(&option.name.span, |value| &value.span).clone();
    let rule = match value.map(|value| &value.value) {
        Some(RawValue::Map(fields)) => of_fields(fields, report)?,
        Some(RawValue::Scalar(text)) if !text.is_empty() => match of_text(text, 0) {
            Ok(rule) => rule,
            Err(problem) => {
                report.problem(&Spanned { value: text.clone(), span }, problem);
                return None;
            }
        },
        _ => {
            report.error(span, "match needs fields that say what the device is", Some(EXAMPLE.to_owned()));
            return None;
        }
    };
    if rule.is_empty() {
        report.error(span, "match is empty: every device would do", Some(EXAMPLE.to_owned()));
        return None;
    }
    Some(Rule { rule, span })
}

fn of_fields(fields: &[(Spanned<String>, Spanned<RawValue>)], report: &mut Report) -> Option<Match> {
    let mut rule = Match::default();
    let mut good = true;
    for (name, value) in fields {
        let mut wrong = |span: &Span, message: String, help: Option<String>| {
            report.error(span.clone(), message, help);
            good = false;
        };
        if !FIELDS.contains(&name.value.as_str()) {
            wrong(&name.span, format!("unknown field '{}' of match", name.value), Some(known(&name.value)));
            continue;
        }
        match &value.value {
            RawValue::Scalar(text) => {
                if let Err(message) = rule.set(&name.value, text) {
                    wrong(&value.span, message, None);
                }
            }
            _ => wrong(&value.span, format!("{} takes one value", name.value), None),
        }
    }
    good.then_some(rule)
}

fn known(name: &str) -> String {
    match options::suggest(name, FIELDS.into_iter()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("there are {}", FIELDS.join(", ")),
    }
}

/// Reads `vid:0403+pid:6001`; places count from `offset`. A `+` that no name of a field and no colon
/// follow is part of the value before it.
pub(super) fn of_text(text: &str, offset: usize) -> Result<Match, Problem> {
    let is_field = |piece: &str| {
        piece.split_once(':').is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_alphabetic()))
    };
    let mut pieces: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    for piece in text.split('+') {
        let end = start + piece.len();
        match pieces.last_mut() {
            Some(last) if !is_field(piece) => last.end = end,
            _ => pieces.push(start..end),
        }
        start = end + 1;
    }
    let mut rule = Match::default();
    for piece in pieces {
        let place = offset + piece.start..offset + piece.end;
        let piece = &text[piece];
        let Some((name, value)) = piece.split_once(':') else {
            return Err(Problem::new(place, format!("'{piece}' is no field with a value"))
                .help("write for instance match=vid:0403+pid:6001+serial:A50285BI"));
        };
        if !FIELDS.contains(&name) {
            return Err(Problem::new(place, format!("unknown field '{name}' of match")).help(known(name)));
        }
        rule.set(name, value).map_err(|message| Problem::new(place, message))?;
    }
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_in_text() {
        let rule = of_text("vid:0403+pid:6001+serial:A+1+B+path:1-1.*", 0).unwrap();
        assert_eq!(rule.to_string(), "vid:0403+pid:6001+serial:A+1+B+path:1-1.*");
        for (text, place, says) in [
            ("", 7..7, "no field"),
            ("vid", 7..10, "no field"),
            ("vid:0403+pid:x", 16..21, "hexadecimal"),
            ("vid:0403+vendor:1", 16..24, "unknown field 'vendor'"),
        ] {
            let problem = of_text(text, 7).unwrap_err();
            assert_eq!(problem.place, place, "{text}");
            assert!(problem.message.contains(says), "{}", problem.message);
        }
    }
}
