//! What is shipped beside the program agrees with it: configurations load, the manual pages list its
//! options, the README's commands exist, the service unit is sound.

#![allow(clippy::unwrap_used, reason = "a test program: a failed unwrap is a failed test")]

mod manual;
mod readme;
mod unit;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A path of the repository.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A text file of the repository.
fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The program with these arguments.
fn serbroker(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_serbroker")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Runs `check` on a file; it must find at least `connections` connections and nothing wrong.
fn check(file: &Path, connections: usize) {
    let name = file.to_str().unwrap();
    let output = serbroker(&["check", name]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}: {}\n{out}{err}", output.status);
    let found = out
        .trim_end()
        .strip_prefix(&format!("{name}: "))
        .and_then(|rest| rest.strip_suffix(" connection(s), 0 error(s), 0 warning(s)"))
        .and_then(|count| count.parse::<usize>().ok());
    assert!(found.is_some_and(|count| count >= connections), "{name}\n{out}{err}");
    assert_eq!(err, "", "{name}");
}

/// Whether an outside program is there; under CI it has to be.
fn available(program: &str, debian_package: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    if !found {
        assert!(
            std::env::var_os("CI").is_none(),
            "{program} is missing; Debian has it in package {debian_package}"
        );
        eprintln!("NOT TESTED: {program} is not installed");
    }
    found
}

#[test]
fn every_shipped_configuration_loads_without_a_word() {
    let mut seen = Vec::new();
    for directory in ["conf", "examples"] {
        for entry in fs::read_dir(path(directory)).unwrap() {
            let file = entry.unwrap().path();
            if file.is_file() {
                check(&file, 1);
                seen.push(file.file_name().unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    for name in [
        "serbroker.yaml",
        "heat-pump.yaml",
        "heat-pump.conf",
        "linky-tic.yaml",
        "esp32-lab.yaml",
        "vm-serial.yaml",
    ] {
        assert!(seen.iter().any(|s| s == name), "{name} is missing");
    }
}

#[test]
fn the_shipped_configuration_opens_nothing_to_the_network() {
    let inputs = serbroker::config::load::Inputs {
        file: Some(path("conf/serbroker.yaml")),
        ..serbroker::config::load::Inputs::default()
    };
    let config = serbroker::broker::read(&inputs).config;
    assert!(config.metrics.is_some_and(|address| address.ip().is_loopback()));
    for connection in &config.connections {
        assert!(!connection.enabled, "{} would run", connection.name);
        let host = connection.accepter.tcp.host.as_deref();
        assert_eq!(host, Some("127.0.0.1"), "{}", connection.name);
        assert!(connection.options.allow.is_some(), "{}", connection.name);
    }
}

/// The two spellings of one set-up mean the same.
#[test]
fn both_formats_of_the_heat_pump_agree() {
    let read = |name: &str| {
        let inputs = serbroker::config::load::Inputs {
            file: Some(path(name)),
            ..serbroker::config::load::Inputs::default()
        };
        serbroker::broker::read(&inputs).config.connections
    };
    let (yaml, lines) = (read("examples/heat-pump.yaml"), read("examples/heat-pump.conf"));
    assert_eq!((yaml.len(), lines.len()), (2, 2));
    for (a, b) in yaml.iter().zip(&lines) {
        assert_eq!(a.connector.target, b.connector.target);
        assert_eq!(a.connector.filters, b.connector.filters);
        assert_eq!(a.accepter.tcp, b.accepter.tcp);
        assert_eq!(a.accepter.telnet, b.accepter.telnet);
        assert_eq!((a.timeout, a.options.kickolduser), (b.timeout, b.options.kickolduser));
        assert_eq!(a.options.max_connections, b.options.max_connections);
        let allowed = a.options.allow.as_deref().unwrap();
        let rules: Vec<_> = b.options.remaddr.iter().map(|rule| rule.net).collect();
        assert_eq!(allowed, rules);
    }
}

#[test]
fn check_tells_the_place_and_fails_on_errors() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.yaml");
    let bad = text("examples/linky-tic.yaml").replace("telnet(rfc2217),tcp,2170", "telnet(rfc2217),tcp,");
    fs::write(&file, &bad).unwrap();
    let output = serbroker(&["check", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let line = bad.lines().position(|l| l.contains("accepter:")).unwrap() + 1;
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.contains(&format!("bad.yaml:{line}:")), "{err}");
}

#[test]
fn help_mentions_every_flag() {
    let output = serbroker(&["--help"]);
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    for argument in serbroker::cli::command().get_arguments() {
        let long = argument.get_long().unwrap();
        assert!(help.contains(&format!("--{long}")), "--{long}\n{help}");
        let short = argument.get_short().unwrap();
        assert!(help.contains(&format!("-{short}, ")), "-{short}\n{help}");
    }
    for command in serbroker::cli::command().get_subcommands() {
        assert!(help.contains(&format!("  {} ", command.get_name())), "{help}");
    }
}

#[test]
fn licences_are_those_of_the_manifest() {
    assert!(text("Cargo.toml").contains("license = \"MIT OR Apache-2.0\""));
    assert!(text("LICENSE-MIT").starts_with("MIT License\n\nCopyright (c) "));
    let apache = text("LICENSE-APACHE");
    assert!(apache.contains("Version 2.0, January 2004") && apache.contains("END OF TERMS AND CONDITIONS"));
}
