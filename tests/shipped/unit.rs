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

/// The arguments that the unit starts `serbroker attach` with, as systemd would make them of a file of
/// its environment.
fn attach_arguments(file: &str) -> Vec<String> {
    let unit = text("systemd/serbroker-attach@.service");
    let service = settings(&unit, "Service");
    let value = |key: &str| service.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str()).unwrap();
    assert_eq!(value("EnvironmentFile"), "/etc/serbroker/attach/%i.conf");
    let (_, built_in) = value("Environment").trim_matches('"').split_once('=').unwrap();
    let read = |name: &str| {
        let line = file.lines().find_map(|line| line.strip_prefix(name));
        line.map(|rest| rest.strip_prefix('=').unwrap().to_owned())
    };
    let options = read("OPTIONS").unwrap_or_else(|| built_in.to_owned());
    let words = value("ExecStart").split(' ').flat_map(|word| match word {
        "$OPTIONS" => options.split_whitespace().map(str::to_owned).collect(),
        "${URL}" => vec![read("URL").unwrap()],
        other => vec![other.replace("%i", "ttyV0")],
    });
    words.collect()
}

#[test]
fn the_unit_of_attach_starts_it() {
    for file in [text("examples/attach/ttyV0.conf"), "URL=tcp://[::1]:4000".to_owned()] {
        let words = attach_arguments(&file);
        let Ok(serbroker::cli::Command::Attach { options, .. }) = serbroker::cli::parse(&words) else {
            panic!("{words:?}");
        };
        assert_eq!(options.link.to_str(), Some("/dev/ttyV0"));
        assert_eq!(options.group.as_deref(), Some("dialout"));
    }
    let service = settings(&text("systemd/serbroker-attach@.service"), "Service");
    // a terminal that is made in a /dev of its own is seen by nobody
    for key in ["PrivateDevices", "DevicePolicy", "DeviceAllow", "PrivateNetwork", "PrivateUsers", "User"] {
        assert!(service.iter().all(|(k, _)| k != key), "{key}");
    }
    for (key, wanted) in [("Type", "notify"), ("Restart", "on-failure"), ("ProtectSystem", "strict")] {
        assert!(service.contains(&(key.into(), wanted.into())), "{key}");
    }
}

#[test]
fn systemd_accepts_the_units() {
    systemd_accepts("serbroker.service");
    systemd_accepts("serbroker-attach@.service");
}

fn systemd_accepts(name: &str) {
    if !available("systemd-analyze", "systemd") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let unit = text(&format!("systemd/{name}"));
    let unit = unit.replace("/usr/sbin/serbroker", env!("CARGO_BIN_EXE_serbroker"));
    let file = dir.path().join(name.replace('@', "@ttyV0"));
    fs::write(&file, unit).unwrap();
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // complaints about other units of the machine are not ours
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("serbroker")).collect();
    assert!(ours.is_empty(), "{said}");
    assert!(path("systemd").join(name).is_file());
}
