//! `connection: &name` and the entries of `connections:`.

use super::names::{Problem, Version};
use super::tree::{Kind, Node};
use super::{Place, Session};
use crate::config::error::{Diagnostic, Severity, Span};
use crate::config::raw::{Origin, RawConnection, RawOption, RawValue, Spanned};

/// Keys of a connection. `name` is how ser2net 4.0 named connections without an anchor.
const KEYS: [&str; 6] = ["accepter", "connector", "timeout", "enable", "options", "name"];

/// serbroker's own keys of a connection; they count as options.
pub(super) const OWN_KEYS: [&str; 2] = ["allow", "match"];

/// A key that belongs into a connection.
pub(super) fn is_connection_key(word: &str) -> bool {
    KEYS.contains(&word) || OWN_KEYS.contains(&word)
}

/// A connection while its keys are read.
#[derive(Default)]
struct Draft {
    accepter: Option<Spanned<String>>,
    connector: Option<Spanned<String>>,
    timeout: Option<Spanned<String>>,
    enable: Option<Spanned<String>>,
    options: Vec<RawOption>,
    problems: Vec<(Span, Problem)>,
}

impl Draft {
    fn error(&mut self, span: &Span, message: String, help: Option<String>) {
        self.problems
            .push((span.clone(), Problem { message, help, part: None, warning: false, undefined: false }));
    }

    fn warning(&mut self, span: &Span, message: String, help: &str) {
        let help = Some(help.to_owned());
        self.problems
            .push((span.clone(), Problem { message, help, part: None, warning: true, undefined: false }));
    }
}

impl Session {
    /// Version 1: the anchor is the name.
    pub(super) fn connection_entry(&mut self, key: &Node, value: &Node, place: Place<'_>) {
        let name =
            value.anchor.clone().map(|(value, span)| Spanned { value, span }).or_else(|| name_key(value));
        match name {
            Some(name) => {
                self.connection(name, value, place);
            }
            None => self.diagnostics.push(Diagnostic {
                later: false,
                severity: Severity::Error,
                span: Some(key.span.clone()),
                message: "a connection without a name".to_owned(),
                help: Some("write `connection: &name`".to_owned()),
                connection: None,
            }),
        }
    }

    /// Version 2: a mapping of names to connections.
    pub(super) fn connections(&mut self, value: &Node, place: Place<'_>) {
        let Kind::Map(entries) = &value.kind else {
            if !value.is_nothing() {
                self.structure(
                    &value.span,
                    format!("{} where connections are expected", value.describe()),
                    "write one `name:` for each connection, indented, with its keys below it",
                );
            }
            return;
        };
        for (key, body) in entries {
            let Kind::Scalar { text, .. } = &key.kind else {
                self.structure(
                    &key.span,
                    format!("{} where the name of a connection is expected", key.describe()),
                    "write `name:`",
                );
                continue;
            };
            let name = Spanned { value: text.clone(), span: key.span.clone() };
            self.connection(name, body, place);
        }
    }

    fn connection(&mut self, name: Spanned<String>, body: &Node, place: Place<'_>) {
        // a rotator may name a connection that does not run; that is not a second mistake
        self.names.define(&name.value, name.value.clone());
        let mut draft = Draft::default();
        match &body.kind {
            Kind::Map(entries) => {
                for (key, value) in entries {
                    self.connection_key(&mut draft, key, value, place);
                }
            }
            _ if body.is_nothing() => {}
            _ => draft.error(
                &body.span,
                format!("{} where the keys of the connection are expected", body.describe()),
                Some(
                    "write `accepter: …` and `connector: …` on lines of their own, with a blank \
                      after the colon"
                        .to_owned(),
                ),
            ),
        }
        let enabled = match draft.enable.take() {
            None => true,
            Some(word) => match word.value.as_str() {
                "on" | "ON" | "On" => true,
                "off" | "OFF" | "Off" => false,
                other => {
                    draft.error(
                        &word.span,
                        format!("enable is '{other}', but must be on or off"),
                        Some("write `enable: on` or `enable: off`".to_owned()),
                    );
                    true
                }
            },
        };
        let complete = matches!(body.kind, Kind::Map(_)) || body.is_nothing();
        for (key, found) in [("accepter", &draft.accepter), ("connector", &draft.connector)] {
            if found.is_none() && complete {
                let problem = Problem {
                    message: format!("the connection '{}' has no {key}", name.value),
                    help: Some(if key == "accepter" {
                        "add for instance `accepter: tcp,2000`".to_owned()
                    } else {
                        "add for instance `connector: serialdev,/dev/ttyUSB0,9600n81,local`".to_owned()
                    }),
                    part: None,
                    warning: false,
                    undefined: false,
                };
                draft.problems.push((name.span.clone(), problem));
            }
        }
        let broken = draft.problems.iter().any(|(_, problem)| !problem.warning);
        for (span, problem) in draft.problems {
            self.report(span, problem, Some(&name.value));
        }
        if let (Some(accepter), Some(connector), false) = (draft.accepter, draft.connector, broken) {
            self.keep(RawConnection {
                name,
                enabled,
                accepter,
                connector,
                timeout: draft.timeout,
                defaults: self.defaults.clone(),
                options: draft.options,
                origin: Origin::Yaml,
            });
        }
    }

    fn connection_key(&mut self, draft: &mut Draft, key: &Node, value: &Node, place: Place<'_>) {
        let Kind::Scalar { text: word, .. } = &key.kind else {
            let message = format!("{} where a key of the connection is expected", key.describe());
            draft.error(&key.span, message, None);
            return;
        };
        match word.as_str() {
            "options" => self.options(draft, value, place),
            "name" => {}
            own if OWN_KEYS.contains(&own) => {
                let raw = self.raw_value(value, place, &mut draft.problems);
                draft.options.push(RawOption {
                    name: Spanned { value: own.to_owned(), span: key.span.clone() },
                    value: Some(Spanned { value: raw, span: value.span.clone() }),
                });
            }
            "accepter" | "connector" | "timeout" | "enable" => {
                let text = self.text(value, place, &mut draft.problems);
                let found = Spanned { value: text, span: value.span.clone() };
                let slot = match word.as_str() {
                    "accepter" => &mut draft.accepter,
                    "connector" => &mut draft.connector,
                    "timeout" => &mut draft.timeout,
                    _ => &mut draft.enable,
                };
                if slot.is_none() {
                    *slot = Some(found);
                } else {
                    draft.error(
                        &key.span,
                        format!("'{word}:' stands twice in the connection"),
                        Some("remove one of the two, or begin another connection".to_owned()),
                    );
                }
            }
            other => draft.error(
                &key.span,
                format!("unknown key '{other}' in the connection"),
                Some(suggestion(other)),
            ),
        }
    }

    /// `options:`; it may stand several times.
    fn options(&mut self, draft: &mut Draft, value: &Node, place: Place<'_>) {
        let Kind::Map(entries) = &value.kind else {
            if value.is_nothing() {
                draft.warning(
                    &value.span,
                    "'options:' is empty; ser2net 4 refuses this".to_owned(),
                    "remove it, or write the options below it, indented",
                );
            } else {
                draft.error(
                    &value.span,
                    format!("{} where options are expected", value.describe()),
                    Some("write `name: value` lines below 'options:', indented".to_owned()),
                );
            }
            return;
        };
        for (key, value) in entries {
            let name = self.text(key, place, &mut draft.problems);
            let before = draft.problems.len();
            let raw = self.raw_value(value, place, &mut draft.problems);
            if name.eq_ignore_ascii_case("banner") {
                // many published files lack the define; nobody needs the banner to use the port
                let rest = if raw == RawValue::Scalar(String::new()) {
                    "; no banner is sent"
                } else {
                    "; the banner goes without it"
                };
                for (_, problem) in draft.problems[before..].iter_mut().filter(|(_, p)| p.undefined) {
                    problem.warning = true;
                    problem.message.push_str(rest);
                }
            }
            draft.options.push(RawOption {
                name: Spanned { value: name, span: key.span.clone() },
                value: Some(Spanned { value: raw, span: value.span.clone() }),
            });
        }
    }
}

fn name_key(value: &Node) -> Option<Spanned<String>> {
    let Kind::Map(entries) = &value.kind else { return None };
    entries.iter().find_map(|(key, value)| match (&key.kind, &value.kind) {
        (Kind::Scalar { text: key, .. }, Kind::Scalar { text, .. }) if key == "name" => {
            Some(Spanned { value: text.clone(), span: value.span.clone() })
        }
        _ => None,
    })
}

fn suggestion(word: &str) -> String {
    if crate::config::legacy::is_option_name(word) {
        return format!("'{word}' is an option: write it below 'options:', indented");
    }
    match crate::config::suggest::nearest(word, KEYS.into_iter().chain(OWN_KEYS)) {
        Some(near) => format!("did you mean '{near}:'?"),
        None => "a connection has accepter, connector, timeout, enable, options, allow and match".to_owned(),
    }
}

impl Version {
    /// In help texts.
    pub(super) fn define_example(self) -> &'static str {
        match self {
            Self::One => "define: &name text",
            Self::Two => "defines: with `name: text` below it",
        }
    }
}
