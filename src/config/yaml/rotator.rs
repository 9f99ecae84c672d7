//! `rotator: &name` and the entries of `rotators:`.

use super::names::Problem;
use super::tree::{Kind, Node};
use super::{Place, Session};
use crate::config::error::{Diagnostic, Severity, Span};
use crate::config::raw::{Origin, RawOption, RawRotator, Spanned};

/// Keys of a rotator.
const KEYS: [&str; 3] = ["accepter", "connections", "options"];

/// A rotator while its keys are read.
#[derive(Default)]
struct Draft {
    accepter: Option<Spanned<String>>,
    members: Option<Vec<Spanned<String>>>,
    options: Vec<RawOption>,
    problems: Vec<(Span, Problem)>,
}

impl Draft {
    fn error(&mut self, span: &Span, message: String, help: &str) {
        let help = Some(help.to_owned());
        self.problems
            .push((span.clone(), Problem { message, help, part: None, warning: false, undefined: false }));
    }
}

impl Session {
    /// Version 1: the anchor is the name.
    pub(super) fn rotator_entry(&mut self, key: &Node, value: &Node, place: Place<'_>) {
        match value.anchor.clone() {
            Some((name, span)) => self.rotator(Spanned { value: name, span }, value, place),
            None => self.diagnostics.push(
                Diagnostic::new(Severity::Error, key.span.clone(), "a rotator without a name".to_owned())
                    .help("write `rotator: &name`"),
            ),
        }
    }

    /// Version 2: a mapping of names to rotators.
    pub(super) fn rotators(&mut self, value: &Node, place: Place<'_>) {
        for (key, body) in self.map_entries(value, "rotators") {
            if let Kind::Scalar { text, .. } = &key.kind {
                let name = Spanned { value: text.clone(), span: key.span.clone() };
                self.rotator(name, body, place);
            }
        }
    }

    fn rotator(&mut self, name: Spanned<String>, body: &Node, place: Place<'_>) {
        self.names.define(&name.value, name.value.clone());
        let mut draft = Draft::default();
        match &body.kind {
            Kind::Map(entries) => {
                for (key, value) in entries {
                    self.rotator_key(&mut draft, key, value, place);
                }
            }
            _ if body.is_nothing() => {}
            _ => {
                let message = format!("{} where the keys of the rotator are expected", body.describe());
                draft.error(&body.span, message, "write `accepter: …` and `connections: […]` below it");
            }
        }
        if draft.accepter.is_none() {
            let message = "it has no accepter".to_owned();
            draft.error(&name.span, message, "add for instance `accepter: tcp,2000`");
        }
        if draft.members.as_ref().is_none_or(Vec::is_empty) {
            let message = "it has no connections".to_owned();
            draft.error(&name.span, message, "add for instance `connections: [con1, con2]`");
        }
        let broken = draft.problems.iter().any(|(_, problem)| !problem.warning);
        for (span, problem) in draft.problems {
            let message = format!("rotator {}: {}", name.value, problem.message);
            self.report(span, Problem { message, ..problem }, None);
        }
        if let (Some(accepter), Some(members), false) =
            (draft.accepter, draft.members, broken || self.stopped)
        {
            self.file.rotators.push(RawRotator {
                name,
                accepter,
                members,
                defaults: self.defaults.clone(),
                options: draft.options,
                origin: Origin::Yaml,
            });
        }
    }

    fn rotator_key(&mut self, draft: &mut Draft, key: &Node, value: &Node, place: Place<'_>) {
        let Kind::Scalar { text: word, .. } = &key.kind else {
            let message = format!("{} where a key of the rotator is expected", key.describe());
            return draft.error(&key.span, message, "write `accepter:`, `connections:` or `options:`");
        };
        match word.as_str() {
            "accepter" => {
                let text = self.text(value, place, &mut draft.problems);
                draft.accepter = Some(Spanned { value: text, span: value.span.clone() });
            }
            "connections" => {
                let items = match &value.kind {
                    Kind::List(items) => items.as_slice(),
                    // one alone needs no brackets
                    _ if !value.is_nothing() => std::slice::from_ref(value),
                    _ => &[],
                };
                let mut members = Vec::with_capacity(items.len());
                for item in items {
                    let text = self.text(item, place, &mut draft.problems);
                    members.push(Spanned { value: text, span: item.span.clone() });
                }
                draft.members = Some(members);
            }
            "options" => {
                if let Kind::Map(entries) = &value.kind {
                    for (key, value) in entries {
                        let name = self.text(key, place, &mut draft.problems);
                        let raw = self.raw_value(value, place, &mut draft.problems);
                        draft.options.push(RawOption {
                            name: Spanned { value: name, span: key.span.clone() },
                            value: Some(Spanned { value: raw, span: value.span.clone() }),
                        });
                    }
                } else if !value.is_nothing() {
                    let message = format!("{} where options are expected", value.describe());
                    draft.error(&value.span, message, "write `name: value` lines below 'options:', indented");
                }
            }
            // serbroker's own, as in a connection
            "allow" => {
                let raw = self.raw_value(value, place, &mut draft.problems);
                draft.options.push(RawOption {
                    name: Spanned { value: word.clone(), span: key.span.clone() },
                    value: Some(Spanned { value: raw, span: value.span.clone() }),
                });
            }
            other => {
                let help = match crate::config::suggest::nearest(other, KEYS) {
                    Some(near) => format!("did you mean '{near}:'?"),
                    None => "a rotator has accepter, connections, options and allow".to_owned(),
                };
                draft.error(&key.span, format!("unknown key '{other}' in the rotator"), &help);
            }
        }
    }
}
