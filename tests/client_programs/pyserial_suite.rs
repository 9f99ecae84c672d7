//! pyserial's own tests (its source distribution has them) over `rfc2217://`, on a device with a
//! loop-back plug: what is sent comes back, RTS leads to CTS and DTR to DSR.

use crate::support::pty::{Echo, Pty};
use crate::support::shim::{LoopBack, Shim};
use crate::support::tools::{missing, python};
use crate::support::{Broker, Process, connection, free_port, tools, until};
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Tests that cannot pass whatever is at the other end, and why. All others pass or skip themselves.
const CANNOT: [(&str, &str); 5] = [
    (
        "test.Test4_Nonblocking.test2_Loopback",
        "pyserial's RFC 2217 port gives one byte at a time when its time limit is 0",
    ),
    (
        "test.Test4_Nonblocking.test2_LoopbackTimeout",
        "pyserial's RFC 2217 port gives one byte at a time when its time limit is 0",
    ),
    ("test.Test_MoreTimeouts.test_WriteTimeout", "pyserial's RFC 2217 port has no write_timeout"),
    ("test_cancel.TestCancelRead.test_cancel_once", "pyserial's RFC 2217 port has no cancel_read"),
    ("test_cancel.TestCancelWrite.test_cancel_once", "pyserial's RFC 2217 port has no cancel_write"),
];

/// Tests that skip themselves on everything but a local serial port.
const LOCAL_ONLY: [&str; 2] = ["test_exclusive.", "test_rs485.Test_RS485_class."];

/// Some of the tests leave their port open when they end.
const OPTIONS: &[&str] = &["kickolduser: true"];

/// Where `tests/run` puts the distribution.
fn suite() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/pyserial-3.5/test");
    if !dir.is_dir() {
        missing(&format!("pyserial's own tests are not in {}; tests/run fetches them", dir.display()));
        return None;
    }
    Some(dir)
}

/// A device with a loop-back plug.
struct Device {
    echo: Echo,
    _lines: LoopBack,
    shim: Shim,
}

impl Device {
    fn new() -> Option<Self> {
        let shim = Shim::build()?;
        let echo = Pty::new().echo();
        let lines = shim.lines(echo.number()).looped_back();
        Some(Self { echo, _lines: lines, shim })
    }
}

#[derive(Debug)]
struct Outcome {
    verdict: String,
    text: String,
    seconds: f64,
}

/// Runs all; by name.
fn run(python: &Path, suite: &Path, port: u16) -> BTreeMap<String, Outcome> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/suite.py");
    let url = format!("rfc2217://127.0.0.1:{port}");
    let output = Command::new(python)
        .arg(script)
        .arg(suite)
        .arg(url)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "suite.py: {}", output.status);
    let mut found = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| value[name].as_str().unwrap().to_owned();
        let outcome = Outcome {
            verdict: text("outcome"),
            text: text("text"),
            seconds: value["seconds"].as_f64().unwrap(),
        };
        found.insert(text("test"), outcome);
    }
    found
}

fn tell(who: &str, found: &BTreeMap<String, Outcome>) {
    for (name, Outcome { verdict, text, seconds }) in found {
        if verdict != "passed" {
            eprintln!("{who}: {name} {verdict} after {seconds:.1} s: {text}");
        }
    }
    let count = |wanted: &str| found.values().filter(|o| o.verdict == wanted).count();
    let seconds: f64 = found.values().map(|o| o.seconds).sum();
    eprintln!(
        "pyserial's tests, {who}: {} passed, {} failed, {} skipped, {seconds:.1} s",
        count("passed"),
        count("failed"),
        count("skipped")
    );
}

#[test]
fn the_tests_of_pyserial_pass() {
    let (Some(python), Some(suite)) = (python(), suite()) else { return };
    let Some(device) = Device::new() else { return };
    let port = free_port();
    let config =
        connection("loop", &format!("telnet(rfc2217),tcp,127.0.0.1,{port}"), device.echo.path(), OPTIONS);
    let _broker = Broker::start_with(&config, |command| device.shim.preload(command));
    let found = run(&python, &suite, port);
    tell("serbroker", &found);
    assert!(found.len() > 50, "only {} tests", found.len());
    let mut wrong = Vec::new();
    for (name, outcome) in &found {
        let wanted = if CANNOT.iter().any(|(cannot, _)| cannot == name) {
            "failed"
        } else if LOCAL_ONLY.iter().any(|local| name.starts_with(local)) {
            "skipped"
        } else {
            "passed"
        };
        if outcome.verdict != wanted {
            wrong.push(format!("{name}: {outcome:?}, not {wanted}"));
        }
    }
    for (name, reason) in CANNOT {
        assert!(found.contains_key(name), "no {name} ({reason})");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The same with ser2net, for the figures in docs/performance.md:
/// `cargo test --test client_programs ser2net -- --ignored --nocapture`.
#[test]
#[ignore = "a comparison: it has nothing to say about this program"]
fn the_same_with_ser2net() {
    let (Some(python), Some(suite)) = (python(), suite()) else { return };
    let Some(ser2net) = tools::tool("ser2net", "ser2net") else { return };
    let Some(device) = Device::new() else { return };
    let port = free_port();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ser2net.yaml");
    let accepter = format!("telnet(rfc2217),tcp,127.0.0.1,{port}");
    let config = connection("loop", &accepter, device.echo.path(), OPTIONS);
    std::fs::write(&file, format!("%YAML 1.1\n---\n{config}")).unwrap();
    let mut command = Command::new(ser2net);
    command.args(["-n", "-d", "-u", "-c"]).arg(&file).stdin(Stdio::null());
    device.shim.preload(&mut command);
    let _process = Process::start(&mut command);
    drop(until("ser2net", || TcpStream::connect(("127.0.0.1", port)).ok()));
    let found = run(&python, &suite, port);
    tell("ser2net", &found);
    assert!(found.len() > 50, "only {} tests", found.len());
}
