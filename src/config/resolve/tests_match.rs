//! `match` in YAML: both ways to write it, and what is wrong with others, with the place.

use crate::config::Config;
use crate::config::error::Severity;
use crate::config::load::{Inputs, load};

/// The configuration, and its mistakes as `line:column message`.
fn read(connector: &str, more: &str) -> (Config, Vec<String>) {
    let text = format!("connection: &c\n  accepter: tcp,2000\n  connector: {connector}\n{more}");
    let (raw, mut all) = load(&Inputs { yaml: vec![text], ..Inputs::default() });
    let (config, found) = super::resolve(&raw);
    all.extend(found);
    let said = all.iter().map(|d| {
        assert_eq!(d.severity, Severity::Error, "{}", d.message);
        let (line, column) = d.span.as_ref().unwrap().line_column();
        format!("{line}:{column} {}", d.message)
    });
    (config, said.collect())
}

#[test]
fn devices_by_what_they_are() {
    for (connector, more, label, speed) in [
        (
            "serialdev,match,115200n81,local",
            "  match: {vid: 0403, pid: 0x6001, serial: A50285BI, interface: 0, path: '1-1.*'}\n",
            "match=vid:0403+pid:6001+serial:A50285BI+interface:0+path:1-1.*",
            115_200,
        ),
        ("serialdev,match", "  match:\n    serial: \"a,b c\"\n", "match=serial:a,b c", 9600),
        ("serialdev,match=vid:0403+pid:6001,19200n81", "", "match=vid:0403+pid:6001", 19_200),
        (
            "serialdev,match",
            "  options:\n    match: vid:0403+serial:a+b\n",
            "match=vid:0403+serial:a+b",
            9600,
        ),
        // the same twice is once
        ("serialdev,match=vid:0403", "  match: {vid: 0403}\n", "match=vid:0403", 9600),
    ] {
        let (config, said) = read(connector, more);
        assert!(said.is_empty(), "{connector} {more}: {said:?}");
        let device = config.connections[0].connector.device().unwrap();
        assert_eq!((&*device.path, device.line.baud), (label, speed));
        assert_eq!(format!("match={}", device.rule.as_ref().unwrap()), label);
    }
}

#[test]
fn mistakes_have_their_place() {
    for (connector, more, expected) in [
        ("serialdev,match,9600", "", "3:24 nothing says what the device is found by"),
        (
            "serialdev,match",
            "  match: {vid: 0403, pid: 60012}\n",
            "4:27 pid must be up to four hexadecimal digits like 0403, not '60012'",
        ),
        ("serialdev,match", "  match: {vid: 0403, vendor: x}\n", "4:22 unknown field 'vendor' of match"),
        ("serialdev,match", "  match: {vid: [1]}\n", "4:16 vid takes one value"),
        ("serialdev,match", "  match: {}\n", "4:10 match is empty: every device would do"),
        ("serialdev,match", "  match: x\n", "4:10 'x' is no field with a value"),
        (
            "serialdev,match=vid:0403+pid:x,9600",
            "",
            "3:39 pid must be up to four hexadecimal digits like 0403, not 'x'",
        ),
        (
            "serialdev,/dev/ttyUSB0",
            "  match: {vid: 0403}\n",
            "4:10 the device is named twice: by its path and by match",
        ),
        ("serialdev,match=vid:1", "  match: {vid: 2}\n", "4:10 match says something else than the connector"),
        (
            "tcp,127.0.0.1,2001",
            "  match: {vid: 0403}\n",
            "4:10 match finds serial devices, and the connector is none",
        ),
    ] {
        let (config, said) = read(connector, more);
        assert!(config.connections.is_empty(), "{connector} {more}");
        assert!(said.iter().any(|line| line == expected), "{connector} {more}: {said:?}");
    }
}

#[test]
fn a_time_to_hold_clients_that_are_not_held_is_told_of() {
    let warned = |options: &str| {
        let text = format!(
            "connection: &c\n  accepter: tcp,2000\n  connector: serialdev,/dev/ttyS0,9600n81\n  options:\n{options}"
        );
        let (raw, _) = load(&Inputs { yaml: vec![text], ..Inputs::default() });
        let (config, found) = super::resolve(&raw);
        assert_eq!(config.connections.len(), 1);
        found.iter().any(|d| d.severity == Severity::Warning && d.message.contains("hold-time"))
    };
    assert!(warned("    hold-time: 5s\n"));
    assert!(!warned("    hold-time: 5s\n    on-device-loss: hold\n"));
}
