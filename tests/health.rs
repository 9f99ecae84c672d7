//! The health endpoints of the built program: true numbers, and reasons.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use serde_json::Value;
use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use support::net::{Client, get};
use support::pty::Pty;
use support::{Broker, connection, free_port, pattern, tools, wait_for};

fn ready(broker: &Broker) -> (u16, Value) {
    let (status, body) = get(broker.health, "/readyz").unwrap();
    (status, serde_json::from_str(&body).unwrap())
}

#[test]
fn promtool_and_the_counters_agree_with_the_traffic() {
    let (a, b) = (Pty::new(), Pty::new());
    let (raw, telnet) = (free_port(), free_port());
    let broker = Broker::start(
        &(connection("raw", &format!("tcp,127.0.0.1,{raw}"), a.path(), &["max-connections: 2"])
            + &connection("telnet", &format!("telnet(rfc2217),tcp,127.0.0.1,{telnet}"), b.path(), &[])),
    );
    let mut clients = [Client::connect(raw), Client::connect(raw)];
    broker.wait_metric("serbroker_port_clients", &["port=\"raw\""], 2);
    broker.wait_device("raw", true);
    let (up, down) = (pattern(20_000, 1), pattern(30_000, 2));
    clients[0].send(&up);
    assert_eq!(a.read(up.len()), up);
    a.write(&down);
    for client in &mut clients {
        assert_eq!(client.receive(down.len()), down);
    }
    let (text, _) = Client::connect(raw).rest();
    assert_eq!(text, b"Port already in use\r\n");

    let mut remote = Client::connect(telnet);
    assert_eq!(remote.receive(21).last(), Some(&0x2c));
    broker.wait_device("telnet", true);
    remote.send(b"\xff\xfb\x2cab\xff\xff");
    assert_eq!(b.read(3), b"ab\xff");
    assert_eq!(remote.receive(7), b"\xff\xfa\x2c\x6b\x00\xff\xf0");
    b.write(b"x\xffy");
    assert_eq!(remote.receive(4), b"x\xff\xffy");

    let bytes = |port: &str, direction: &str| {
        let labels = [format!("port=\"{port}\""), format!("direction=\"{direction}\"")];
        broker.metric("serbroker_port_bytes_total", &[&labels[0], &labels[1]])
    };
    assert_eq!(bytes("raw", "from_clients"), 20_000);
    assert_eq!(bytes("raw", "to_device"), 20_000);
    assert_eq!(bytes("raw", "from_device"), 30_000);
    assert_eq!(bytes("raw", "to_clients"), 60_000);
    assert_eq!(bytes("telnet", "to_device"), 3);
    assert_eq!(bytes("telnet", "from_device"), 3);
    // as they were sent, commands included; what is received of the device counts without escapes
    assert_eq!(bytes("telnet", "from_clients"), 7);
    assert_eq!(bytes("telnet", "to_clients"), 3);
    // longer than any that RFC 2217 knows, and none of its option
    remote.send(&[&b"\xff\xfa\x2c\x01"[..], &[7; 1000], b"\xff\xf0!"].concat());
    assert_eq!(b.read(1), b"!");
    broker.wait_metric("serbroker_port_telnet_malformed_total", &["port=\"telnet\""], 1);
    let raw_port = ["port=\"raw\""];
    assert_eq!(broker.metric("serbroker_port_connections_total", &raw_port), 2);
    assert_eq!(broker.metric("serbroker_port_refusals_total", &raw_port), 1);
    assert_eq!(broker.metric("serbroker_port_device_opens_total", &raw_port), 1);
    assert_eq!(broker.metric("serbroker_port_device_up", &raw_port), 1);
    assert_eq!(broker.metric("serbroker_port_listener_up", &[]), 2);
    assert_eq!(broker.metric("serbroker_port_dropped_bytes_total", &[]), 0);
    drop(clients);
    broker.wait_metric("serbroker_port_disconnects_total", &["port=\"raw\"", "reason=\"peer\""], 2);
    broker.wait_metric("serbroker_port_device_up", &raw_port, 0);

    let Some(promtool) = tools::tool("promtool", "prometheus") else { return };
    let mut child = Command::new(promtool)
        .args(["check", "metrics", "--extended"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let text = broker.metrics();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && err.is_empty(), "{out}\n{err}\n{text}");
    assert!(out.contains("serbroker_port_bytes_total"), "{out}");
}

#[test]
fn readiness_follows_the_device_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("tty");
    let port = free_port();
    let broker =
        Broker::start(&connection("usb", &format!("tcp,127.0.0.1,{port}"), link.to_str().unwrap(), &[]));
    let (status, body) = get(broker.health, "/healthz").unwrap();
    assert!(status == 200 && body.contains("\"ok\""), "{body}");
    // nobody has wanted the device yet; that it is not there can be known all the same
    wait_for("the absence", || ready(&broker).0 == 503);
    assert_eq!(broker.metric("serbroker_port_device_open_failures_total", &[]), 0);

    let (text, _) = Client::connect(port).rest();
    assert_eq!(text, b"Device open failure: Value or file not found\r\n");
    let (status, state) = ready(&broker);
    assert_eq!((status, &state["ready"]), (503, &Value::Bool(false)));
    let reason = state["ports"][0].to_string();
    assert!(reason.contains(link.to_str().unwrap()) && reason.contains("no such device"), "{reason}");
    assert_eq!(broker.metric("serbroker_port_device_fault", &["reason=\"missing\""]), 1);
    assert_eq!(broker.metric("serbroker_port_device_open_failures_total", &["reason=\"missing\""]), 1);
    assert_eq!(get(broker.health, "/healthz").unwrap().0, 200, "the process itself is well");

    let pty = Pty::new();
    pty.link(&link);
    let client = Client::connect(port);
    broker.wait_device("usb", true);
    assert_eq!(ready(&broker).0, 200);
    assert_eq!(broker.metric("serbroker_port_device_fault", &[]), 0);
    drop(client);
    broker.wait_device("usb", false);
    assert_eq!(ready(&broker).0, 200);
}

#[test]
fn a_taken_metrics_port_does_not_keep_ports_from_running() {
    let holder = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken = holder.local_addr().unwrap().port();
    let (pty, port) = (Pty::new(), free_port());
    let config = connection("raw", &format!("tcp,127.0.0.1,{port}"), pty.path(), &[]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("serbroker.yaml");
    std::fs::write(&file, format!("%YAML 1.1\n---\nmetrics: 127.0.0.1:{taken}\n{config}")).unwrap();
    let mut command = support::serbroker();
    let process = support::Process::start(command.args(["-n", "-u", "-c"]).arg(&file));
    process.stderr.wait(&["ERROR", &format!("127.0.0.1:{taken}"), "ports run without"]);
    let mut client = Client::connect(port);
    client.send(b"runs");
    assert_eq!(pty.read(4), b"runs");
    assert_eq!(process.stderr.count(&["panicked"]), 0);
}

#[test]
fn a_taken_client_port_is_told_and_used_once_it_is_free() {
    let holder = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken = holder.local_addr().unwrap().port();
    let pty = Pty::new();
    let broker = Broker::start(&connection("raw", &format!("tcp,127.0.0.1,{taken}"), pty.path(), &[]));
    let (status, state) = ready(&broker);
    assert_eq!(status, 503, "{state}");
    assert!(state["ports"][0].to_string().contains("another program listens there"), "{state}");
    assert_eq!(broker.metric("serbroker_port_listener_up", &[]), 0);
    drop(holder);
    wait_for("readiness", || ready(&broker).0 == 200);
    let mut client = Client::connect(taken);
    client.send(b"now");
    assert_eq!(pty.read(3), b"now");
}
