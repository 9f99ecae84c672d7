//! `admin:` and the entries of `admins:`.

use super::names::Problem;
use super::tree::{Kind, Node};
use super::{Place, Session};
use crate::config::error::{Diagnostic, Severity, Span};
use crate::config::raw::{RawAdmin, RawOption, Spanned};

impl Session {
    /// Version 1: there is one, with or without a name.
    pub(super) fn admin_entry(&mut self, key: &Node, value: &Node, place: Place<'_>) {
        if let Some((name, _)) = &value.anchor {
            self.names.define(name, name.clone());
        }
        self.admin(&key.span, value, place);
    }

    /// Version 2: a mapping of names to admin ports.
    pub(super) fn admins(&mut self, value: &Node, place: Place<'_>) {
        for (key, body) in self.map_entries(value, "admin ports") {
            if let Kind::Scalar { text, .. } = &key.kind {
                self.names.define(text, text.clone());
            }
            self.admin(&key.span, body, place);
        }
    }

    fn admin(&mut self, name: &Span, body: &Node, place: Place<'_>) {
        let (mut accepter, mut options) = (None, Vec::new());
        let mut problems = Vec::new();
        // ser2net reads nothing behind an admin port that it does not understand
        for (key, value) in self.map_entries(body, "the keys of the admin port") {
            match self.text(key, place, &mut problems).as_str() {
                "accepter" => {
                    let text = self.text(value, place, &mut problems);
                    accepter = Some(Spanned { value: text, span: value.span.clone() });
                }
                "options" => {
                    for (key, value) in self.map_entries(value, "options of the admin port") {
                        let option = self.admin_option(key, value, place, &mut problems);
                        options.push(option);
                    }
                }
                other => {
                    let help = match crate::config::suggest::nearest(other, ["accepter", "options"]) {
                        Some(near) => format!("did you mean '{near}:'?"),
                        None => "it has accepter and options".to_owned(),
                    };
                    self.structure(&key.span, format!("unknown key '{other}' in the admin port"), &help);
                }
            }
        }
        let failed = problems.iter().any(|(_, problem)| !problem.warning);
        for (span, problem) in problems {
            self.report(span, problem, None);
        }
        if failed || self.stopped {
            return;
        }
        match accepter {
            Some(accepter) => {
                let defaults = self.defaults.clone();
                self.file.admins.push(RawAdmin { place: name.clone(), accepter, defaults, options });
            }
            None => self.diagnostics.push(
                Diagnostic::new(Severity::Error, name.clone(), "the admin port has no accepter".to_owned())
                    .help("write for instance `accepter: tcp,localhost,3000` below it"),
            ),
        }
    }

    fn admin_option(
        &mut self,
        key: &Node,
        value: &Node,
        place: Place<'_>,
        problems: &mut Vec<(Span, Problem)>,
    ) -> RawOption {
        let name = Spanned { value: self.text(key, place, problems), span: key.span.clone() };
        let raw = self.raw_value(value, place, problems);
        RawOption { name, value: Some(Spanned { value: raw, span: value.span.clone() }) }
    }
}
