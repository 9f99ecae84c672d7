//! What a configuration has besides ports: rotators, the admin port, the address of metrics, LEDs.

use super::{From, Setting, Value, row_text, setting, table};
use crate::config::options;
use crate::config::raw::{RawAdmin, RawFile};
use crate::config::resolve::{ROTATOR_OPTIONS, Traces, Written};
use crate::config::values::{self, InForce};
use crate::config::{self, Accepter, Config};
use serde::Serialize;

/// A rotator as it will run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rotator {
    /// Its name.
    pub name: Value<String>,
    /// What listens: the accepter with all its types.
    pub listens: Value<String>,
    /// What is bound, as of a port.
    pub address: String,
    /// The connections that it leads to, in the order in which they are tried.
    pub connections: Vec<String>,
    /// Its options, and those of its accepter.
    pub options: Vec<Setting>,
}

/// The admin port as it will run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Admin {
    /// What listens: the accepter with all its types.
    pub listens: Value<String>,
    /// What is bound, as of a port.
    pub address: String,
    /// Who may connect, as networks; absent: everybody.
    pub allow: Value<Option<String>>,
    /// The options of its accepter.
    pub options: Vec<Setting>,
}

/// An LED.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Led {
    /// Its name.
    pub name: Value<String>,
    /// Its name in `/sys/class/leds`.
    pub device: String,
    /// Milliseconds that a flash lasts.
    pub duration: u32,
    /// What is written to light it: 0 or 1.
    pub state: u8,
}

/// Everything that is no port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Others {
    /// Rotators, in the order of the file.
    pub rotators: Vec<Rotator>,
    /// The admin port; absent: there is none.
    pub admin: Option<Admin>,
    /// Where metrics and health are served; absent: nowhere.
    pub metrics: Option<Value<String>>,
    /// LEDs, in the order of the file.
    pub leds: Vec<Led>,
}

/// Where a setting for the whole file stands, if it does.
fn setting_from(raw: &RawFile, names: &[&str]) -> From {
    let found = raw.settings.iter().rfind(|(path, _)| names.contains(&path.value.as_str()));
    found.map_or(From::BuiltIn, |(path, _)| From::file(&path.span))
}

/// The options that `in_force` has values for, in the order of the table.
fn settings(in_force: &[InForce], origins: &[Written]) -> Vec<Setting> {
    let rows = options::OPTIONS.iter().filter_map(|row| {
        let known = in_force.iter().find(|value| value.place == row.place && value.name == row.name)?;
        let written = origins.iter().rfind(|w| w.row.place == row.place && w.row.name == row.name);
        Some(setting(row, Some(known), written))
    });
    rows.collect()
}

fn rotators(config: &Config, traces: &Traces<'_>) -> Vec<Rotator> {
    let explained = config.rotators.iter().zip(&traces.rotators).map(|(rotator, (raw, origins))| {
        let config::Rotator { name, accepter, members, options } = rotator.as_ref();
        let mut in_force = values::of_options(options);
        in_force.retain(|value| ROTATOR_OPTIONS.contains(&value.name));
        in_force.extend(values::of_accepter(accepter));
        Rotator {
            name: Value { value: name.to_string(), from: From::file(&raw.name.span) },
            listens: Value { value: accepter.text.to_string(), from: From::file(&raw.accepter.span) },
            address: values::address_text(&accepter.listen),
            connections: members.iter().map(ToString::to_string).collect(),
            options: settings(&in_force, origins),
        }
    });
    explained.collect()
}

fn admin(config: &config::Admin, raw: &RawAdmin, file: &RawFile, origins: &[Written]) -> Admin {
    let config::Admin { accepter, allow } = config;
    let Accepter { text, listen, .. } = accepter;
    let networks = allow.as_ref().map(|list| {
        let texts: Vec<_> = list.iter().map(ToString::to_string).collect();
        texts.join(" ")
    });
    Admin {
        listens: Value { value: text.to_string(), from: From::file(&raw.accepter.span) },
        address: values::address_text(listen),
        allow: Value { value: networks, from: setting_from(file, &["allow"]) },
        options: settings(&values::of_accepter(accepter), origins),
    }
}

/// Tells what `config`, which was made of `raw`, has besides ports.
pub(super) fn others(raw: &RawFile, config: &Config, traces: &Traces<'_>) -> Others {
    // of several admin ports the first counts
    let written = config.admin.as_deref().zip(raw.admins.first());
    let leds = config.leds.iter().map(|led| {
        let config::Led { name, device, duration_ms, lit_by_one } = led.as_ref();
        let raw = raw.leds.iter().find(|raw| *raw.name.value == **name);
        Led {
            name: Value {
                value: name.to_string(),
                from: raw.map_or(From::BuiltIn, |raw| From::file(&raw.name.span)),
            },
            device: device.to_string(),
            duration: *duration_ms,
            state: u8::from(*lit_by_one),
        }
    });
    Others {
        rotators: rotators(config, traces),
        admin: written.map(|(config, written)| admin(config, written, raw, &traces.admin)),
        metrics: config.metrics.map(|address| Value {
            value: address.to_string(),
            from: setting_from(raw, &["metrics", "metrics.listen"]),
        }),
        leds: leds.collect(),
    }
}

impl Others {
    /// As text for people, in columns.
    pub(super) fn text(&self, out: &mut String) {
        let Self { rotators, admin, metrics, leds } = self;
        let plain = |label: &str, value: &str| [label.to_owned(), value.to_owned(), String::new()];
        let from =
            |label: &str, value: &Value<String>| [label.to_owned(), value.value.clone(), value.from.text()];
        for Rotator { name, listens, address, connections, options } in rotators {
            let mut rows = vec![
                from("listens", listens),
                plain("address", address),
                plain("connections", &connections.join(" ")),
            ];
            rows.extend(options.iter().map(row_text));
            table(out, "rotator", Some(name), "", &rows);
        }
        if let Some(Admin { listens, address, allow, options }) = admin {
            let everybody = || "everybody".to_owned();
            let mut rows = vec![
                from("listens", listens),
                plain("address", address),
                ["allow".to_owned(), allow.value.clone().unwrap_or_else(everybody), allow.from.text()],
            ];
            rows.extend(options.iter().map(row_text));
            table(out, "admin", None, "", &rows);
        }
        if let Some(metrics) = metrics {
            table(out, "metrics", None, "", &[from("listens", metrics)]);
        }
        for Led { name, device, duration, state } in leds {
            let rows = [
                plain("device", device),
                plain("duration", &format!("{duration} ms")),
                plain("state", &state.to_string()),
            ];
            table(out, "led", Some(name), "", &rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{explain, text};
    use crate::config::load::Inputs;

    #[test]
    fn all_that_listens_and_all_leds_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        let yaml = "metrics: 127.0.0.1:9100\nallow: [10.0.0.0/8]\nled: &l\n  driver: sysfs\n  options:\n    \
                    device: red\n    duration: 30\nconnection: &a\n  accepter: tcp,2000\n  connector: \
                    serialdev,/dev/x\nrotator: &r\n  accepter: telnet,tcp(nodelay=false),ipv4,2001\n  \
                    connections: [*a]\n  options:\n    refusal-text: false\nadmin:\n  accepter: \
                    tcp,localhost,2002\n";
        std::fs::write(&path, yaml).unwrap();
        let (_, diagnostics, found) = explain(&Inputs { file: Some(path.clone()), ..Inputs::default() });
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let shown = text(&found).replace(&path.display().to_string(), "t");
        let has = |line: &str| {
            let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert!(shown.lines().any(|found| words(found) == words(line)), "{line}\n{shown}");
        };
        has("rotator r (t:11:10)");
        has("listens telnet,tcp(nodelay=false),ipv4,2001 t:12:13");
        has("address ipv4,2001");
        has("connections a");
        has("options refusal-text false t:15:5");
        has("options allow 10.0.0.0/8 default: section at t:2");
        has("tcp nodelay false t:12:24");
        has("telnet rfc2217 false built in");
        has("admin");
        has("listens tcp,localhost,2002 t:17:13");
        has("allow 10.0.0.0/8 t:2:8");
        has("metrics");
        has("listens 127.0.0.1:9100 t:1:10");
        has("led l (t:3:6)");
        has("device red");
        has("duration 30 ms");
        has("state 1");
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(json["ports"][0]["name"]["value"], "a");
        assert_eq!(json["rotators"][0]["connections"][0], "a");
        assert_eq!(json["admin"]["address"], "localhost,2002");
        assert_eq!(json["metrics"]["from"]["line"], 1);
        assert_eq!(json["leds"][0]["duration"], 30);
    }
}
