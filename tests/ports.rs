//! `serbroker ports` on this machine: pseudo-terminals that connections name, and what holds them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use serde_json::Value;
use std::path::Path;
use std::process::Output;
use support::pty::Pty;
use support::{connection, serbroker};

fn ports(config: &Path, more: &[&str]) -> Output {
    serbroker().args(["ports", "-c"]).arg(config).args(more).output().unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_terminal_of_two_connections_is_one_port_whatever_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let pty = Pty::new();
    let link = dir.path().join("meter");
    pty.link(&link);
    let file = dir.path().join("serbroker.yaml");
    let text = ["direct", "linked", "gone"]
        .iter()
        .zip([pty.path(), link.to_str().unwrap(), "/dev/serial/by-id/no-such-adapter"])
        .map(|(name, device)| connection(name, "tcp,0", device, &[]))
        .collect::<String>();
    std::fs::write(&file, format!("%YAML 1.1\n---\n{text}")).unwrap();

    let found = json(&ports(&file, &["--json"]));
    let all = found["ports"].as_array().unwrap();
    let ours: Vec<&Value> = all.iter().filter(|port| port["path"] == pty.path()).collect();
    assert_eq!(ours.len(), 1, "{found:#}");
    let port = ours[0];
    assert_eq!(port["driver"], "pseudo-terminal");
    assert_eq!(port["other_names"][0], link.to_str().unwrap());
    let names: Vec<&Value> =
        port["connections"].as_array().unwrap().iter().map(|user| &user["name"]).collect();
    assert_eq!(names, ["direct", "linked"]);
    assert_eq!(port["access"]["may_open"], true);
    // the test itself has the near end open
    let us = port["held_by"].as_array().unwrap().iter().any(|p| p["pid"] == std::process::id());
    assert!(us, "{found:#}");
    assert_eq!(found["missing"][0]["connection"]["name"], "gone");
    assert_eq!(found["missing"].as_array().unwrap().len(), 1);

    let table = String::from_utf8(ports(&file, &[]).stdout).unwrap();
    let row = table.lines().find(|line| line.starts_with(pty.path())).unwrap();
    assert!(row.contains(&format!("({})", std::process::id())) && row.ends_with("direct, linked"), "{table}");
    assert!(table.contains("connection gone: /dev/serial/by-id/no-such-adapter: there is no such device"));
}

#[test]
fn the_kernels_serial_ports_are_listed() {
    // what the kernel itself says of 8250 ports: uart:unknown is a place without hardware
    let Ok(driver) = std::fs::read_to_string("/proc/tty/driver/serial") else {
        eprintln!("skipped: /proc/tty/driver/serial cannot be read: no 8250 driver, or not root");
        return;
    };
    let expected: Vec<String> = driver
        .lines()
        .filter(|line| line.contains(" uart:") && !line.contains("uart:unknown"))
        .filter_map(|line| Some(format!("ttyS{}", line.split_once(':')?.0.trim())))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("serbroker.yaml");
    std::fs::write(&file, "%YAML 1.1\n---\nconnections: {}\n").unwrap();
    let found = json(&ports(&file, &["--json"]));
    let ours = found["ports"].as_array().unwrap().iter().filter_map(|port| port["name"].as_str());
    let ours: Vec<&str> = ours.filter(|name| name.starts_with("ttyS")).collect();
    // a container may have a /proc that shows more than its /sys
    let known = |name: &&String| Path::new("/sys/class/tty").join(name).exists();
    assert_eq!(ours, expected.iter().filter(known).collect::<Vec<_>>());
}

#[test]
fn a_configuration_that_cannot_be_read_is_told_and_ports_are_listed_all_the_same() {
    let output = ports(Path::new("/nonexistent/serbroker.yaml"), &["--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent/serbroker.yaml"));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(found["ports"].is_array());
}
