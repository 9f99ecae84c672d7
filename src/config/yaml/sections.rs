//! Sections of the main level that say something for those that follow: define, default.

use super::tree::{Kind, Node};
use super::{Place, Session};
use crate::config::error::{Diagnostic, Severity, Span};
use crate::config::raw::{RawOption, RawValue, Spanned};

/// Most defaults that can be in force: each connection gets a copy of them.
const MAX_DEFAULTS: usize = 500;

/// A `default:` while its keys are read.
#[derive(Default)]
struct DefaultKeys {
    name: Option<Spanned<String>>,
    value: Option<Spanned<String>>,
    class: Option<Spanned<String>>,
}

impl Session {
    fn warning(&mut self, span: &Span, message: &str, help: &str) {
        self.diagnostics.push(Diagnostic {
            later: false,
            severity: Severity::Warning,
            span: Some(span.clone()),
            message: message.to_owned(),
            help: Some(help.to_owned()),
            connection: None,
        });
    }

    /// `define: &name text`.
    pub(super) fn define(&mut self, key: &Node, value: &Node, place: Place<'_>) {
        if matches!(value.kind, Kind::List(_) | Kind::Map(_)) {
            self.structure(
                &value.span,
                format!("{} where the text of a define is expected", value.describe()),
                "write `define: &name text`",
            );
            return;
        }
        if value.anchor.is_none() {
            let help = format!("write `{}`", place.version.define_example());
            self.warning(&key.span, "a define without a name has no effect", &help);
            return;
        }
        let mut problems = Vec::new();
        self.text(value, place, &mut problems);
        for (span, problem) in problems {
            self.report(span, problem, None);
        }
    }

    /// `defines:` with names and texts.
    pub(super) fn defines(&mut self, value: &Node, place: Place<'_>) {
        for (key, value) in self.map_entries(value, "names and texts") {
            let mut problems = Vec::new();
            let name = self.text(key, place, &mut problems);
            let text = self.text(value, place, &mut problems);
            self.names.define(&name, text);
            for (span, problem) in problems {
                self.report(span, problem, None);
            }
        }
    }

    /// The entries of a mapping; anything else breaks the structure, nothing is an empty mapping.
    pub(super) fn map_entries<'n>(
        &mut self,
        value: &'n Node,
        what: &str,
    ) -> impl Iterator<Item = (&'n Node, &'n Node)> + use<'n> {
        let entries = if let Kind::Map(entries) = &value.kind { entries.as_slice() } else { &[] };
        if !matches!(value.kind, Kind::Map(_)) && !value.is_nothing() {
            self.structure(
                &value.span,
                format!("{} where {what} are expected", value.describe()),
                "write one `key: value` a line, indented",
            );
        }
        entries.iter().map(|(key, value)| (key, value))
    }

    fn default_keys(&mut self, value: &Node, place: Place<'_>, section: &str) -> Option<DefaultKeys> {
        let mut found = DefaultKeys::default();
        let mut good = true;
        let mut problems = Vec::new();
        for (key, value) in self.map_entries(value, "name, value and class") {
            let word = self.text(key, place, &mut problems);
            let slot = match word.as_str() {
                "name" => &mut found.name,
                "value" => &mut found.value,
                "class" => &mut found.class,
                other => {
                    good = false;
                    let help = match crate::config::suggest::nearest(other, ["name", "value", "class"]) {
                        Some(near) => format!("did you mean '{near}:'?"),
                        None => "it has name, value and class".to_owned(),
                    };
                    self.structure(&key.span, format!("unknown key '{other}' in {section}"), &help);
                    continue;
                }
            };
            *slot = Some(Spanned { value: String::new(), span: value.span.clone() });
            let text = self.text(value, place, &mut problems);
            if let Some(slot) = match word.as_str() {
                "name" => found.name.as_mut(),
                "value" => found.value.as_mut(),
                _ => found.class.as_mut(),
            } {
                slot.value = text;
            }
        }
        for (span, problem) in problems {
            good &= problem.warning;
            // which value a default has decides about all that follows
            self.structure(&span, problem.message, problem.help.as_deref().unwrap_or(""));
        }
        good.then_some(found)
    }

    /// `default:` with name, value and class.
    pub(super) fn default_entry(&mut self, key: &Node, value: &Node, place: Place<'_>) {
        let Some(found) = self.default_keys(value, place, "a default") else { return };
        match found.name {
            Some(name) => self.set_default(name, found.value, found.class.as_ref()),
            None => self.structure(
                &key.span,
                "a default without a name".to_owned(),
                "add for instance `name: speed`",
            ),
        }
    }

    /// `defaults:` with a mapping for each name.
    pub(super) fn defaults_map(&mut self, value: &Node, place: Place<'_>) {
        for (key, body) in self.map_entries(value, "names of defaults") {
            let Kind::Scalar { text, .. } = &key.kind else { continue };
            let name = Spanned { value: text.clone(), span: key.span.clone() };
            if let Kind::Scalar { .. } | Kind::Alias(_) = body.kind {
                // `speed: 9600n81` can only mean one thing
                let mut problems = Vec::new();
                let text = self.text(body, place, &mut problems);
                for (span, problem) in problems {
                    self.structure(&span, problem.message, problem.help.as_deref().unwrap_or(""));
                }
                let value = Spanned { value: text, span: body.span.clone() };
                self.set_default(name, Some(value), None);
                continue;
            }
            let section = format!("the default '{text}'");
            if let Some(found) = self.default_keys(body, place, &section) {
                self.set_default(name, found.value, found.class.as_ref());
            }
        }
    }

    fn set_default(
        &mut self,
        name: Spanned<String>,
        value: Option<Spanned<String>>,
        class: Option<&Spanned<String>>,
    ) {
        let class = class.map_or("", |class| class.value.as_str());
        let full = format!("{class}:{}", name.value);
        self.defaults.retain(|default| default.name.value != full);
        if self.defaults.len() >= MAX_DEFAULTS {
            self.structure(
                &name.span,
                format!("more than {MAX_DEFAULTS} defaults"),
                "set options in the connections instead",
            );
            return;
        }
        self.defaults.push(RawOption {
            name: Spanned { value: full, span: name.span },
            value: value.map(|v| Spanned { value: RawValue::Scalar(v.value), span: v.span }),
        });
    }

    fn remove_default(&mut self, name: &str, class: &Spanned<String>) {
        let full = format!("{}:{name}", class.value);
        self.defaults.retain(|default| default.name.value != full);
    }

    /// `delete_default:` with name and class.
    pub(super) fn delete_default(&mut self, key: &Node, value: &Node, place: Place<'_>) {
        let Some(found) = self.default_keys(value, place, "delete_default") else { return };
        // the manual page's own example has a comma after the name
        let name = found.name.map(|n| n.value.trim_end_matches(',').to_owned());
        match (name, found.class) {
            (Some(name), Some(class)) => self.remove_default(&name, &class),
            _ => self.structure(
                &key.span,
                "delete_default needs name and class".to_owned(),
                "base defaults cannot be deleted; set them to another value with default:",
            ),
        }
    }

    /// `delete_defaults:` with a list of classes for each name.
    pub(super) fn delete_defaults(&mut self, value: &Node) {
        for (key, classes) in self.map_entries(value, "names of defaults") {
            let Kind::Scalar { text: name, .. } = &key.kind else { continue };
            let list = match &classes.kind {
                Kind::List(items) => items.as_slice(),
                _ => std::slice::from_ref(classes),
            };
            for class in list {
                if let Kind::Scalar { text, .. } = &class.kind {
                    let class = Spanned { value: text.clone(), span: class.span.clone() };
                    self.remove_default(name, &class);
                }
            }
        }
    }
}
