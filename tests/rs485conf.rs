//! RS485CONF lines of the one-line format, down to the driver.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use std::io::Read;
use support::free_port;
use support::net::{Client, End};
use support::pty::Pty;

#[test]
fn direction_control_of_a_one_line_file_reaches_the_driver() {
    let dir = tempfile::tempdir().unwrap();
    let pty = Pty::new();
    let port = free_port();
    let file = dir.path().join("ser2net.conf");
    let text = format!("RS485CONF:bus:1:2:1:0\n{port}:raw:0:{}:9600 LOCAL rs485=bus\n", pty.path());
    std::fs::write(&file, text).unwrap();
    let mut command = support::serbroker();
    let process = support::Process::start(command.args(["-n", "-u", "-c"]).arg(&file));
    let mut client = Client::connect(port);
    // a pseudo-terminal knows no direction: the client is told, as with ser2net
    let mut text = String::new();
    client.0.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("Device open failure: "), "{text}");
    assert_eq!(client.rest().1, End::Fin);
    process.stderr.wait(&["RS-485"]);
}
