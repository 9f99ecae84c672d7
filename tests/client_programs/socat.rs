//! socat at the client's side, which makes a local terminal of a port (examples/vm-serial.yaml).

use crate::support::pty::Pty;
use crate::support::pyserial::PySerial;
use crate::support::{Broker, assert_same, connection, free_port, pattern, tools, until};
use serde_json::json;
use std::process::{Child, Command, Stdio};

/// Ended with this value.
struct Socat(Child);

impl Drop for Socat {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The command of the example, on loopback.
fn command(port: u16, link: &str) -> Option<Command> {
    let socat = tools::tool("socat", "socat")?;
    let mut command = Command::new(socat);
    command.arg(format!("pty,link={link},raw,echo=0")).arg(format!("tcp:127.0.0.1:{port}"));
    command.stdin(Stdio::null());
    Some(command)
}

#[test]
fn a_program_on_socats_terminal_has_the_device() {
    let Some(mut python) = PySerial::start() else { return };
    let device = Pty::new();
    let port = free_port();
    let config = connection("vm", &format!("tcp,127.0.0.1,{port}"), device.path(), &["kickolduser: true"]);
    let broker = Broker::start(&config);
    let link = broker.dir().join("ttyV0");
    let link = link.to_str().unwrap();
    for round in 0..2 {
        let Some(mut command) = command(port, link) else { return };
        let socat = Socat(command.spawn().unwrap());
        broker.wait_device("vm", true);
        until("the link", || std::fs::metadata(link).ok());
        python.value("open", json!({"url": link, "baudrate": 115_200}));
        // as much as a pseudo-terminal takes at once
        for part in 0..20 {
            let (up, down) = (pattern(3000, round + part), pattern(3000, round + part + 100));
            python.write(&up);
            assert_same("to the device", &device.read(up.len()), &up);
            device.write(&down);
            assert_same("from the device", &python.read(down.len()), &down);
        }
        python.value("close", json!(null));
        // the other end goes away without a word: the next one comes in
        drop(socat);
        broker.wait_metric("serbroker_port_clients", &[], 0);
    }
}
