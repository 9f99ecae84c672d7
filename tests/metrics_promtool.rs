//! A real Prometheus' own checker reads the metrics.

use serbroker::metrics::{Metrics, PortState, ReloadOutcome};
use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};

#[test]
fn promtool_finds_nothing() {
    let metrics = Metrics::new().unwrap();
    let port = metrics.port("heat pump \"1\" é\\");
    port.state(PortState::Open, None);
    let _second = metrics.port("192.168.1.1,2000");
    metrics.config_read(ReloadOutcome::Applied, 0, 1);

    let spawned = Command::new("promtool")
        .args(["check", "metrics", "--extended"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            assert!(
                std::env::var_os("CI").is_none(),
                "promtool is missing; Debian has it in package prometheus"
            );
            eprintln!("NOT TESTED: promtool is not installed");
            return;
        }
        Err(error) => panic!("promtool: {error}"),
    };
    let text = metrics.render().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && err.is_empty(), "{}\n{out}\n{err}\n{text}", output.status);
    assert!(out.contains("serbroker_port_bytes_total"), "{out}");
}
