//! `led: &name` and the entries of `leds:`.

use super::tree::{Kind, Node};
use super::{Place, Session};
use crate::config::error::{Diagnostic, Severity, Span};
use crate::config::raw::{RawLed, Spanned};

impl Session {
    /// Version 1: the anchor is the name.
    pub(super) fn led_entry(&mut self, key: &Node, value: &Node, place: Place<'_>) {
        match value.anchor.clone() {
            Some((name, span)) => self.led(Spanned { value: name, span }, value, place),
            None => {
                self.led_warning(&key.span, "an LED without a name cannot be used", "write `led: &name`");
            }
        }
    }

    /// Version 2: a mapping of names to LEDs.
    pub(super) fn leds(&mut self, value: &Node, place: Place<'_>) {
        for (key, body) in self.map_entries(value, "names of LEDs") {
            if let Kind::Scalar { text, .. } = &key.kind {
                self.led(Spanned { value: text.clone(), span: key.span.clone() }, body, place);
            }
        }
    }

    fn led(&mut self, name: Spanned<String>, body: &Node, place: Place<'_>) {
        self.names.define(&name.value, name.value.clone());
        let mut led = RawLed { name, driver: None, options: Vec::new() };
        let mut problems = Vec::new();
        let entries: &[(Node, Node)] = match &body.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        };
        for (key, value) in entries {
            let word = self.text(key, place, &mut problems);
            match word.as_str() {
                "driver" => {
                    let driver = self.text(value, place, &mut problems);
                    led.driver = Some(Spanned { value: driver, span: value.span.clone() });
                }
                "options" => {
                    let Kind::Map(entries) = &value.kind else {
                        let help = "write `device:` and others below it, indented";
                        self.led_warning(&value.span, "these are no options of an LED", help);
                        continue;
                    };
                    for (key, value) in entries {
                        let name = self.text(key, place, &mut problems);
                        let raw = self.raw_value(value, place, &mut problems);
                        led.options.push((
                            Spanned { value: name, span: key.span.clone() },
                            Spanned { value: raw, span: value.span.clone() },
                        ));
                    }
                }
                other => {
                    let help = match crate::config::suggest::nearest(other, ["driver", "options"]) {
                        Some(near) => format!("did you mean '{near}:'?"),
                        None => "an LED has driver and options".to_owned(),
                    };
                    self.led_warning(&key.span, &format!("unknown key '{other}' in an LED"), &help);
                }
            }
        }
        for (span, problem) in problems {
            self.report(span, problem, None);
        }
        if !self.stopped {
            self.file.leds.push(led);
        }
    }

    fn led_warning(&mut self, span: &Span, message: &str, help: &str) {
        self.diagnostics
            .push(Diagnostic::new(Severity::Warning, span.clone(), message.to_owned()).help(help));
    }
}
