//! Whether the converted text means the same.

use crate::config::values::{self, InForce};
use crate::config::{Accepter, Config, Connection, Connector, Rotator, gensio};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// An accepter string with the type that ser2net 4.6 wants to be written: `tcp,2000` for `2000`.
/// Other strings come back as they are.
pub(in crate::config) fn typed(text: &str) -> String {
    let Ok(stack) = gensio::parse(text, gensio::Side::Accepter) else { return text.to_owned() };
    let (None, Some(tail)) = (&stack.base, &stack.tail) else { return text.to_owned() };
    let filters = &text[..tail.place.start];
    // `ipv4,tcp,host,port` names the type behind the family
    let mut fields: Vec<&str> = tail.text.split(',').map(str::trim_start).collect();
    let named = fields.iter().take(fields.len().saturating_sub(1)).position(|f| *f == "tcp");
    match named {
        Some(at) => {
            fields.remove(at);
            format!("{filters}tcp,{}", fields.join(","))
        }
        // another protocol, or nothing that could run
        None if fields.iter().any(|f| matches!(*f, "udp" | "sctp")) => text.to_owned(),
        None => format!("{filters}tcp,{}", tail.text),
    }
}

/// A connector string with the type that ser2net 4.6 wants to be written: `serialdev,/dev/ttyS0`
/// for `/dev/ttyS0`.
pub(in crate::config) fn typed_connector(text: &str) -> String {
    let Ok(stack) = gensio::parse(text, gensio::Side::Connector) else { return text.to_owned() };
    match (&stack.base, &stack.tail) {
        (None, Some(tail)) if tail.text.starts_with('/') => {
            format!("{}serialdev,{}", &text[..tail.place.start], tail.text)
        }
        _ => text.to_owned(),
    }
}

/// What is not the same in two configurations.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Differences {
    /// Connection of the first, and what is different about it.
    pub(super) connections: Vec<(String, String)>,
    /// Differences that belong to no connection of the first.
    pub(super) others: Vec<String>,
    /// Escapes that show another text: connection, escape, before, now.
    pub(super) shown: Vec<(String, char, Arc<str>, Arc<str>)>,
}

/// Compares two configurations. The type that was put into accepters counts as no difference.
pub(super) fn compare(before: &Config, after: &Config) -> Differences {
    let mut differences = Differences::default();
    let Config { connections, rotators, admin, metrics, leds } = before;
    if *leds != after.leds {
        differences.others.push("the LEDs would not be the same".to_owned());
    }
    if *metrics != after.metrics {
        differences.others.push("metrics would be served at another place".to_owned());
    }
    let expected = admin.as_deref().map(|admin| {
        let mut expected = admin.clone();
        if let Some(now) =
            after.admin.as_ref().filter(|now| *now.accepter.text == *typed(&admin.accepter.text))
        {
            expected.accepter.text = now.accepter.text.clone();
        }
        expected
    });
    if expected.as_ref() != after.admin.as_deref() {
        differences.others.push("the admin port would not be the same".to_owned());
    }
    let named: HashMap<&str, &Connection> = after.connections.iter().map(|c| (&*c.name, &**c)).collect();
    for connection in connections {
        let Some(&now) = named.get(&*connection.name) else {
            differences.connections.push((connection.name.to_string(), "it would not run".to_owned()));
            continue;
        };
        let mut expected = Connection::clone(connection);
        if *now.accepter.text == *typed(&connection.accepter.text) {
            expected.accepter.text = now.accepter.text.clone();
        }
        // the device says what the words mean, and is compared on its own
        let bare = !connection.connector.text.starts_with("serialdev");
        let put_in = *now.connector.text == *typed_connector(&connection.connector.text);
        if put_in || bare && now.connector.text.starts_with("serialdev,") {
            expected.connector.text = now.connector.text.clone();
        }
        if expected != *now {
            differences.connections.push((connection.name.to_string(), describe(&expected, now)));
            continue;
        }
        let texts = [
            ('p', &connection.accepter.text, &now.accepter.text),
            ('d', &connection.connector.text, &now.connector.text),
        ];
        for (escape, before, now) in texts {
            if before != now && shows(connection, escape) {
                differences.shown.push((connection.name.to_string(), escape, before.clone(), now.clone()));
            }
        }
    }
    let mut expected: Vec<Rotator> = rotators.iter().map(|rotator| Rotator::clone(rotator)).collect();
    for (rotator, now) in expected.iter_mut().zip(&after.rotators) {
        if *now.accepter.text == *typed(&rotator.accepter.text) {
            rotator.accepter.text = now.accepter.text.clone();
        }
    }
    if !expected.iter().eq(after.rotators.iter().map(|rotator| &**rotator)) {
        differences.others.push("the rotators would not be the same".to_owned());
    }
    let known: HashSet<&str> = connections.iter().map(|c| &*c.name).collect();
    for new in after.connections.iter().filter(|c| !known.contains(&*c.name)) {
        differences.others.push(format!("a connection '{}' would run that did not", new.name));
    }
    let order = |config: &Config| config.connections.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
    if differences.connections.is_empty() && differences.others.is_empty() && order(before) != order(after) {
        differences.others.push("the connections would stand in another order".to_owned());
    }
    differences
}

/// A client or the device is sent what the escape stands for, or a trace file is named so.
fn shows(connection: &Connection, escape: char) -> bool {
    let o = &connection.options;
    let files = [&o.traces.read, &o.traces.write, &o.traces.both].map(|file| &file.name);
    [&o.banner, &o.openstr, &o.closestr].into_iter().chain(files).flatten().any(|template| {
        let mut bytes = template.0.iter();
        std::iter::from_fn(|| bytes.next().map(|b| (*b == b'\\').then(|| bytes.next()).flatten()))
            .any(|escaped| escaped.is_some_and(|b| char::from(*b) == escape))
    })
}

/// What is different about a connection, in words.
fn describe(before: &Connection, after: &Connection) -> String {
    let mut parts = Vec::new();
    let show = |v: &Option<String>| v.clone().unwrap_or_else(|| "nothing".to_owned());
    let after_values = values::in_force(after);
    for InForce { place, name, value } in values::in_force(before) {
        let now = after_values.iter().find(|v| v.place == place && v.name == name);
        let now = now.map_or(&None, |v| &v.value);
        if *now != value {
            parts.push(format!("{name} would be {} instead of {}", show(now), show(&value)));
        }
    }
    let Connection { name: _, enabled, accepter, connector, timeout, options: _ } = before;
    if *enabled != after.enabled {
        parts.push("it would be switched the other way".to_owned());
    }
    if *timeout != after.timeout {
        parts.push("the timeout would be another".to_owned());
    }
    let Accepter { text, telnet: _, tls: _, filters, listen } = accepter;
    if *text != after.accepter.text {
        parts.push(format!("the accepter would be '{}' instead of '{text}'", after.accepter.text));
    } else if (filters, listen) != (&after.accepter.filters, &after.accepter.listen) {
        parts.push("it would listen at another place".to_owned());
    }
    let Connector { text, filters, target } = connector;
    if *text != after.connector.text {
        parts.push(format!("the connector would be '{}' instead of '{text}'", after.connector.text));
    } else if (filters, target) != (&after.connector.filters, &after.connector.target) {
        parts.push("it would open something else".to_owned());
    }
    if parts.is_empty() {
        parts.push("it would not be the same".to_owned());
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connectors_get_their_type() {
        for (text, expected) in [
            ("/dev/ttyS0,9600", "serialdev,/dev/ttyS0,9600"),
            ("keepopen,/dev/ttyS0", "keepopen,serialdev,/dev/ttyS0"),
            ("sdev,/dev/ttyS0", "sdev,/dev/ttyS0"),
            ("tcp,localhost,1", "tcp,localhost,1"),
        ] {
            assert_eq!(typed_connector(text), expected);
        }
    }

    #[test]
    fn accepters_get_their_type() {
        for (text, expected) in [
            ("2000", "tcp,2000"),
            ("localhost,2000", "tcp,localhost,2000"),
            ("telnet(rfc2217),3001", "telnet(rfc2217),tcp,3001"),
            ("telnet,ipv6,tcp,::1,2000", "telnet,tcp,ipv6,::1,2000"),
            ("tcp,2000", "tcp,2000"),
            ("telnet,ssl(key=/k),tcp(nodelay),::1,2000", "telnet,ssl(key=/k),tcp(nodelay),::1,2000"),
            ("udp,2000", "udp,2000"),
            ("ipv4,udp,2000", "ipv4,udp,2000"),
        ] {
            assert_eq!(typed(text), expected);
            assert_eq!(typed(expected), expected);
        }
    }
}
