//! The service unit.

use super::{available, path, text};
use std::fs;
use std::process::Command;

/// `key=value` lines of a section.
fn settings(unit: &str, section: &str) -> Vec<(String, String)> {
    unit.lines()
        .skip_while(|line| *line != format!("[{section}]"))
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn the_unit_has_what_a_serial_broker_needs() {
    let unit = text("systemd/serbroker.service");
    let service = settings(&unit, "Service");
    let value = |key: &str| {
        let found: Vec<&str> = service.iter().filter(|(k, _)| k == key).map(|(_, v)| v.as_str()).collect();
        assert!(!found.is_empty(), "{key} is missing");
        found.join(" ")
    };
    for (key, wanted) in [
        ("Type", "notify"),
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
        ("User", "serbroker"),
        ("SupplementaryGroups", "dialout"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("AmbientCapabilities", "CAP_NET_BIND_SERVICE"),
        ("CapabilityBoundingSet", "CAP_NET_BIND_SERVICE"),
        ("Restart", "on-failure"),
        ("LimitNOFILE", "65536"),
        ("ConfigurationDirectory", "serbroker"),
        ("RuntimeDirectory", "serbroker"),
        ("LogsDirectory", "serbroker"),
        ("MemoryDenyWriteExecute", "yes"),
    ] {
        assert_eq!(value(key), wanted, "{key}");
    }
    assert!(value("ExecStart").starts_with("/usr/sbin/serbroker"));
    assert!(value("ReadWritePaths").contains("/run/lock"), "lock files cannot be made");
    assert!(value("RestrictAddressFamilies").contains("AF_INET AF_INET6"));
    // each of these takes serial devices away
    for key in
        ["PrivateDevices", "DevicePolicy", "DeviceAllow", "ProtectClock", "PrivateNetwork", "PrivateUsers"]
    {
        assert!(service.iter().all(|(k, _)| k != key), "{key}");
    }
    let dependencies = settings(&unit, "Unit");
    assert!(dependencies.contains(&("After".into(), "network.target".into())));
    assert!(!unit.lines().any(|line| !line.starts_with('#') && line.contains("network-online.target")));
    assert_eq!(settings(&unit, "Install"), [("WantedBy".into(), "multi-user.target".into())]);
    let users = text("systemd/serbroker.sysusers.conf");
    assert!(users.contains("\nu serbroker ") && users.contains("\nm serbroker dialout"));
}

#[test]
fn systemd_accepts_the_unit() {
    if !available("systemd-analyze", "systemd") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let unit =
        text("systemd/serbroker.service").replace("/usr/sbin/serbroker", env!("CARGO_BIN_EXE_serbroker"));
    let file = dir.path().join("serbroker.service");
    fs::write(&file, unit).unwrap();
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // complaints about other units of the machine are not ours
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("serbroker")).collect();
    assert!(ours.is_empty(), "{said}");
    assert!(path("systemd/serbroker.service").is_file());
}
