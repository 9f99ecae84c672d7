//! A configuration from the model alone, without a text that it came from.

use super::literal;
use super::outline::{self, Body, Entry, Item, Value};
use crate::config::connector::{Filter, Target};
use crate::config::gensio::{Layer, Word};
use crate::config::options::{self, Kind, Place};
use crate::config::values::{self, InForce};
use crate::config::{Accepter, Admin, Config, Connection, Connector, Led, Options, Rotator};
use crate::serial::settings::DeviceConfig;

/// A configuration as version 2 YAML: what is read from it is the configuration again, with the
/// accepters and connectors as this writes them. What is as it would be without saying is not said.
pub fn to_yaml(config: &Config) -> String {
    let Config { connections, rotators, admin, metrics, leds } = config;
    let mut body = Body::default();
    if let Some(metrics) = metrics {
        body.push(Entry::text("metrics", metrics.to_string()));
    }
    for led in leds {
        body.push_into("leds", Entry::new(led.name.to_string(), Value::Map(led_entries(led))));
    }
    for connection in connections {
        let entry = Entry::new(connection.name.to_string(), Value::Map(entries(connection, false)));
        body.push_into("connections", entry);
    }
    for rotator in rotators {
        let Rotator { name, accepter, members, options } = rotator.as_ref();
        let items = members.iter().map(|member| Item {
            lead: Vec::new(),
            value: Value::Text(literal(member)),
            trailing: None,
        });
        let mut entries = Body::default();
        entries.push(Entry::text("accepter", literal(&accepter_text(accepter, false))));
        entries.push(Entry::new("connections", Value::List(items.collect())));
        push_options(&mut entries, options, false);
        body.push_into("rotators", Entry::new(name.to_string(), Value::Map(entries)));
    }
    if let Some(admin) = admin {
        // who may connect stands at the top of a file, for all that listens
        let Admin { accepter, allow: _ } = admin.as_ref();
        let mut entries = Body::default();
        entries.push(Entry::text("accepter", literal(&accepter_text(accepter, false))));
        body.push_into("admins", Entry::new("admin", Value::Map(entries)));
    }
    outline::write(&body)
}

/// Writes connections that a front end could not carry over word by word from the model, with all
/// their options, so that no default decides about them. False when there are none of them.
pub(super) fn replace(body: &mut Body, config: &Config, different: &[(String, String)]) -> bool {
    let mut done = false;
    for section in body.entries.iter_mut().filter(|entry| entry.key == "connections") {
        let Value::Map(section) = &mut section.value else { continue };
        for entry in &mut section.entries {
            let wanted = different.iter().any(|(name, _)| *name == entry.key);
            let connection = config.connections.iter().find(|c| wanted && *c.name == *entry.key);
            if let Some(connection) = connection {
                entry.value = Value::Map(entries(connection, true));
                done = true;
            }
        }
    }
    done
}

fn led_entries(led: &Led) -> Body {
    let Led { name: _, device, duration_ms, lit_by_one } = led;
    let mut options = Body::default();
    options.push(Entry::text("device", literal(device)));
    options.push(Entry::text("duration", duration_ms.to_string()));
    options.push(Entry::text("state", if *lit_by_one { "1" } else { "0" }));
    let mut body = Body::default();
    body.push(Entry::text("driver", "sysfs"));
    body.push(Entry::new("options", Value::Map(options)));
    body
}

fn entries(connection: &Connection, all: bool) -> Body {
    let Connection { name: _, enabled, accepter, connector, timeout, options } = connection;
    let mut body = Body::default();
    body.push(Entry::text("accepter", literal(&accepter_text(accepter, all))));
    body.push(Entry::text("connector", literal(&connector_text(connector, all))));
    if !enabled {
        body.push(Entry::text("enable", "off"));
    }
    if let Some(timeout) = timeout {
        body.push(Entry::text("timeout", timeout.as_secs().to_string()));
    }
    push_options(&mut body, options, all);
    body
}

fn push_options(body: &mut Body, options: &Options, all: bool) {
    let mut list = Body::default();
    for Said { place: _, name, value } in said(values::of_options(options), all) {
        list.push(Entry::text(name, literal(&value)));
    }
    if !list.entries.is_empty() {
        body.push(Entry::new("options", Value::Map(list)));
    }
}

/// A value that has to be written.
struct Said {
    place: Place,
    name: &'static str,
    value: String,
}

impl Said {
    /// As a word of an accepter or connector: `local`, `drain_time=5`.
    fn word(&self) -> String {
        let switched = options::find(self.place, self.name).is_some_and(|row| row.kind == Kind::Bool);
        if switched && self.value == "true" {
            return self.name.to_owned();
        }
        format!("{}={}", self.name, self.value)
    }
}

fn said(list: Vec<InForce>, all: bool) -> Vec<Said> {
    list.into_iter()
        .filter(|value| all || !value.is_built_in())
        .filter_map(|InForce { place, name, value }| value.map(|value| Said { place, name, value }))
        .collect()
}

fn layer(name: &'static str, list: &[Said]) -> String {
    let word = |text: String| Word { text, place: 0..0 };
    let of_layer = list.iter().filter(|said| said.place == Place::Layer(name));
    let options = of_layer.map(|said| word(said.word())).collect();
    Layer { name: word(name.to_owned()), options }.to_string()
}

fn filter_text(filter: &Filter, all: bool) -> String {
    let list = said(values::connector::of_filter(filter), all);
    layer(values::connector::filter_name(filter), &list)
}

/// The accepter string for the fields of an accepter.
pub(super) fn accepter_text(accepter: &Accepter, all: bool) -> String {
    let list = said(values::of_accepter(accepter), all);
    let Accepter { text: _, telnet, tls, filters, listen } = accepter;
    let (above, below) = filters.as_ref().map_or((&[][..], &[][..]), |f| (&f.above[..], &f.below[..]));
    let mut parts: Vec<String> = above.iter().map(|filter| filter_text(filter, all)).collect();
    parts.extend(telnet.is_some().then(|| layer("telnet", &list)));
    parts.extend(below.iter().map(|filter| filter_text(filter, all)));
    parts.extend(tls.is_some().then(|| layer("ssl", &list)));
    parts.push(layer(values::transport_name(listen), &list));
    parts.extend(Some(values::address_text(listen)).filter(|address| !address.is_empty()));
    parts.join(",")
}

/// The accepter string that says only what is not built in.
#[cfg(test)]
pub(in crate::config) fn canonical(accepter: &Accepter) -> String {
    accepter_text(accepter, false)
}

/// The connector string for the fields of a connector.
pub(super) fn connector_text(connector: &Connector, all: bool) -> String {
    let Connector { text, filters, target } = connector;
    let Target::Serial(device) = target else {
        // the other types are written in one way only, which is how ser2net 4.6 wants them
        return text.to_string();
    };
    let list = said(values::of_device(device), all);
    let DeviceConfig { path, rule, .. } = device;
    // the rule is an option of the connection
    let path = if rule.is_some() { "match".to_owned() } else { path.to_string() };
    let mut parts: Vec<String> = filters.iter().map(|filter| filter_text(filter, all)).collect();
    parts.extend([layer("serialdev", &list), path]);
    parts.extend(list.iter().filter(|said| said.place == Place::Serial).map(|said| match said.name {
        "speed" => said.value.to_lowercase(),
        _ => said.word(),
    }));
    parts.join(",")
}
