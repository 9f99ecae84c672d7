//! LEDs: what the sections say, and which one an option means.

use super::{Common, scalar};
use crate::config::error::{Diagnostic, Severity, Span};
use crate::config::options::{Row, number_of};
use crate::config::raw::RawLed;
use crate::config::resolve::report::Report;
use crate::config::{LED_DURATION_MS, Led, Options, suggest};
use std::collections::HashMap;
use std::sync::Arc;

/// The LEDs of a configuration by name; `None` is one that cannot be used, which was said.
pub(super) type Named = HashMap<String, Option<Arc<Led>>>;

const KEYS: [&str; 3] = ["device", "duration", "state"];

/// Resolves all LEDs, in order. A port is no worse without one, so that mistakes are warnings.
pub(super) fn resolve(raw: &[RawLed], diagnostics: &mut Vec<Diagnostic>) -> (Vec<Arc<Led>>, Named) {
    let mut list = Vec::new();
    let mut named = Named::new();
    for led in raw {
        if named.contains_key(&led.name.value) {
            let message = format!("the LED '{}' is defined already: the first one is used", led.name.value);
            diagnostics.push(Diagnostic::new(Severity::Warning, led.name.span.clone(), message));
            continue;
        }
        let found = one(led, diagnostics).map(Arc::new);
        list.extend(found.clone());
        named.insert(led.name.value.clone(), found);
    }
    (list, named)
}

fn one(raw: &RawLed, diagnostics: &mut Vec<Diagnostic>) -> Option<Led> {
    let RawLed { name, driver, options } = raw;
    let mut warn = |span: &Span, message: String, help: &str| {
        let diagnostic = Diagnostic::new(Severity::Warning, span.clone(), message);
        diagnostics.push(if help.is_empty() { diagnostic } else { diagnostic.help(help) });
    };
    match driver {
        Some(driver) if driver.value == "sysfs" => {}
        Some(driver) => {
            let message = format!("unknown LED driver '{}' of LED '{}'", driver.value, name.value);
            warn(&driver.span, message, "the only one is sysfs; ports run without the LED");
            return None;
        }
        None => {
            let message = format!("the LED '{}' has no driver", name.value);
            warn(&name.span, message, "add `driver: sysfs`; ports run without the LED");
            return None;
        }
    }
    let mut device = None;
    let (mut duration_ms, mut lit_by_one) = (LED_DURATION_MS, true);
    for (key, value) in options {
        let Ok(Some(text)) = scalar(Some(value)) else {
            warn(&value.span, format!("{} takes one value", key.value), "");
            continue;
        };
        match key.value.as_str() {
            "device" => device = Some((text, &value.span)),
            "duration" => match number_of(text).and_then(|n| u32::try_from(n).ok()).filter(|&n| n > 0) {
                Some(n) => duration_ms = n,
                None => warn(
                    &value.span,
                    format!(
                        "duration must be a number of milliseconds, not '{text}'; {LED_DURATION_MS} is used"
                    ),
                    "",
                ),
            },
            "state" => match text {
                "0" | "1" => lit_by_one = text == "1",
                _ => warn(&value.span, format!("state must be 0 or 1, not '{text}'; 1 is used"), ""),
            },
            other => {
                let near = suggest::nearest(other, KEYS).map(|near| format!("did you mean {near}?"));
                let message = format!("unknown option '{other}' of an LED");
                warn(&key.span, message, near.as_deref().unwrap_or("it has device, duration and state"));
            }
        }
    }
    let Some((device, span)) = device else {
        let message = format!("the LED '{}' has no device", name.value);
        warn(
            &name.span,
            message,
            "add `device:` with a name from /sys/class/leds; ports run without the LED",
        );
        return None;
    };
    if device.is_empty() || device.contains(['/', '\0']) || device.starts_with('.') {
        let message = format!("'{device}' is no name of an LED");
        warn(span, message, "write a name from /sys/class/leds; ports run without the LED");
        return None;
    }
    Some(Led { name: name.value.as_str().into(), device: device.into(), duration_ms, lit_by_one })
}

/// Sets `led-tx` or `led-rx`.
pub(super) fn set(
    row: &Row,
    name: &str,
    span: &Span,
    options: &mut Options,
    common: &Common,
    report: &mut Report,
) {
    let slot = if row.name == "led-tx" { &mut options.led_tx } else { &mut options.led_rx };
    if let Some(led) = common.leds.get(name) {
        slot.clone_from(led);
        return;
    }
    let help = match suggest::nearest(name, common.leds.keys().map(String::as_str)) {
        Some(near) => format!("did you mean '{near}'?"),
        None => "define it above the connection with `led:` or `leds:`".to_owned(),
    };
    report.error(span.clone(), format!("there is no LED '{name}'"), Some(help));
}

#[cfg(test)]
#[path = "leds_tests.rs"]
mod tests;
