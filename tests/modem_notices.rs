//! How soon RFC 2217 clients hear of modem lines that change, on a driver that does not tell of edges:
//! the pseudo-terminals of the shim. Real drivers are in tests/vm.
#![allow(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod support;

use std::fs;
use std::time::{Duration, Instant};
use support::net::Client;
use support::pty::Pty;
use support::shim::{CD, CTS, DSR, RI, Shim};
use support::{Broker, connection, free_port, wait_for};

/// WILL COM-PORT.
const AGREE: &[u8] = b"\xff\xfb\x2c";

fn mask(bits: u8) -> Vec<u8> {
    // IAC is doubled
    let value: &[u8] = if bits == 0xff { b"\xff\xff" } else { &[bits] };
    [b"\xff\xfa\x2c\x0b", value, b"\xff\xf0"].concat()
}

fn notice(state: u8) -> [u8; 7] {
    [0xff, 0xfa, 0x2c, 107, state, 0xff, 0xf0]
}

/// Threads of the broker that watch modem lines.
fn watches(broker: &Broker) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", broker.process.child.id())).unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name == "modem-lines\n").count()
}

#[test]
fn a_change_is_told_at_once_and_only_to_who_wants_to_know() {
    let Some(shim) = Shim::build() else { return };
    let (pty, port) = (Pty::new(), free_port());
    let lines = shim.lines(pty.number());
    let accepter = format!("telnet(rfc2217),tcp,127.0.0.1,{port}");
    let broker =
        Broker::start_with(&connection("p", &accepter, pty.path(), &[]), |command| shim.preload(command));
    let mut client = Client::connect(port);
    broker.wait_device("p", true);
    assert_eq!(watches(&broker), 0, "a watch for a client that has not agreed to COM-PORT");
    client.send(AGREE);
    client.receive_until(&notice(0));
    wait_for("a watch", || watches(&broker) == 1);

    let mut times = Vec::new();
    for (inputs, state) in
        [(CTS, 0x11), (CTS | DSR, 0x32), (CTS | DSR | CD, 0xb8), (CTS | DSR | CD | RI, 0xf4), (0, 0x0f)]
    {
        let begun = Instant::now();
        lines.set_inputs(inputs);
        client.receive_until(&notice(state));
        times.push(begun.elapsed());
    }
    times.sort();
    assert!(times[times.len() / 2] < Duration::from_millis(200), "{times:?}");

    client.send(&mask(0));
    client.receive_until(&notice(0));
    wait_for("no watch for who does not want to know", || watches(&broker) == 0);
    client.send(&mask(0xff));
    client.receive_until(&notice(0));
    wait_for("a watch again", || watches(&broker) == 1);
    drop(client);
    broker.wait_device("p", false);
    assert_eq!(watches(&broker), 0, "the watch outlives the device");
}
