//! Devices whose open(2) does not return: a preloaded library plays the driver that hangs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use support::net::{Client, End};
use support::pty::Pty;
use support::{Broker, connection, free_port, tools};

/// More than may be opened at a time.
const MANY: usize = 70;

/// The library, and the file that makes opens hang.
fn library(dir: &Path) -> Option<(PathBuf, PathBuf)> {
    let gcc = tools::tool("gcc", "gcc")?;
    let (library, held) = (dir.join("hang.so"), dir.join("held"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/opening/hang.c");
    let built =
        Command::new(gcc).args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    fs::write(&held, "").unwrap();
    Some((library, held))
}

#[test]
fn devices_that_hang_cost_their_own_ports_only() {
    let dir = tempfile::tempdir().unwrap();
    let Some((library, held)) = library(dir.path()) else { return };
    let sick: Vec<Pty> = (0..MANY).map(|_| Pty::new()).collect();
    let well = Pty::new();
    let mut config = String::new();
    let ports: Vec<u16> = (0..MANY).map(|_| free_port()).collect();
    for (number, port) in ports.iter().enumerate() {
        let link = dir.path().join(format!("hangs-{number}"));
        sick[number].link(&link);
        let accepter = format!("tcp,127.0.0.1,{port}");
        config += &connection(&format!("h{number}"), &accepter, link.to_str().unwrap(), &[]);
    }
    let good = free_port();
    config += &connection("good", &format!("tcp,127.0.0.1,{good}"), well.path(), &[]);
    let broker = Broker::start_with(&config, |command| {
        command.env("LD_PRELOAD", &library).env("HANG", &held);
    });
    let mut waiting: Vec<Client> = ports.iter().map(|port| Client::connect(*port)).collect();
    broker.wait_metric("serbroker_port_state", &["state=\"opening\""], MANY as u64);
    // the bytes of another port, and an open that comes behind all of these
    let begun = Instant::now();
    let mut client = Client::connect(good);
    client.send(b"ping");
    assert_eq!(well.read(4), b"ping");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    // whoever waits is told after a while, and so is who comes later
    let first = waiting.remove(0).rest();
    let (text, end) = &first;
    assert_eq!(String::from_utf8_lossy(text), "Device open failure: Operation timed out\r\n");
    assert_eq!(*end, End::Fin);
    broker.log.wait(&["hangs-0", "open(2) has not returned", "hangs"]);
    let begun = Instant::now();
    assert_eq!(Client::connect(ports[0]).rest().0, first.0);
    assert!(begun.elapsed() < Duration::from_secs(1), "at once, {:?}", begun.elapsed());
    // when the driver is well again, so is the port
    fs::remove_file(&held).unwrap();
    broker.log.wait(&["hangs-0", "open(2) returned"]);
    broker.wait_device("h0", false);
    let mut client = Client::connect(ports[0]);
    client.send(b"back");
    assert_eq!(sick[0].read(4), b"back");
}
