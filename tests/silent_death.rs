//! Clients whose machine dies: their packets are lost from one moment to the next, in network
//! namespaces of the test's own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use rustix::process::geteuid;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::pty::Pty;
use support::{Broker, connection, free_port, tools};

/// Set in the part of the test that runs inside of the namespace: the name of the other one.
const INSIDE: &str = "SERBROKER_TEST_FAR_NAMESPACE";
const TEST: &str = "a_client_that_dies_silently_leaves_its_place_within_half_a_minute";

/// Two network namespaces with a wire between them.
struct Wire {
    near: String,
    far: String,
}

impl Wire {
    /// `None`, and that is said, without root and iproute2.
    fn new() -> Option<Self> {
        let ip = tools::tool("ip", "iproute2")?;
        if !geteuid().is_root() {
            tools::missing("network namespaces need root");
            return None;
        }
        let id = std::process::id();
        let wire = Self { near: format!("sbn{id}"), far: format!("sbf{id}") };
        for words in [
            format!("netns add {}", wire.near),
            format!("netns add {}", wire.far),
            format!("link add near netns {} type veth peer name far netns {}", wire.near, wire.far),
            format!("-n {} addr add 10.99.0.1/24 dev near", wire.near),
            format!("-n {} addr add 10.99.0.2/24 dev far", wire.far),
            format!("-n {} link set near up", wire.near),
            format!("-n {} link set lo up", wire.near),
            format!("-n {} link set far up", wire.far),
        ] {
            let done = Command::new(&ip).args(words.split(' ')).output().unwrap();
            if !done.status.success() {
                tools::missing(&format!("ip {words}: {}", String::from_utf8_lossy(&done.stderr)));
                return None;
            }
        }
        Some(wire)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for name in [&self.near, &self.far] {
            // what is left of a test that failed is gone with the machine
            let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
        }
    }
}

/// A client in the other namespace.
struct Remote(Child);

impl Remote {
    fn connect(far: &str, port: u16) -> Self {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", far, "socat", "-u", &format!("TCP:10.99.0.1:{port}"), "STDOUT"]);
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_client_that_dies_silently_leaves_its_place_within_half_a_minute() {
    if let Ok(far) = std::env::var(INSIDE) {
        return inside(&far);
    }
    let (Some(_), Some(wire)) = (tools::tool("socat", "socat"), Wire::new()) else { return };
    let status = Command::new("ip")
        .args(["netns", "exec", &wire.near])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(INSIDE, &wire.far)
        .status()
        .unwrap();
    assert!(status.success());
}

fn inside(far: &str) {
    let (quiet, busy, soon) = (Pty::new(), Pty::new(), Pty::new());
    let (to_quiet, to_busy, to_soon) = (free_port(), free_port(), free_port());
    let config = connection("quiet", &format!("tcp,10.99.0.1,{to_quiet}"), quiet.path(), &[])
        + &connection("busy", &format!("tcp,10.99.0.1,{to_busy}"), busy.path(), &[])
        + &connection("soon", &format!("tcp,10.99.0.1,{to_soon}"), soon.path(), &["user-timeout: 3"]);
    let broker = Broker::start(&config);
    let _clients = [to_quiet, to_busy, to_soon].map(|port| Remote::connect(far, port));
    broker.wait_metric("serbroker_port_clients", &[], 3);
    for (name, pty) in [("busy", &busy), ("soon", &soon)] {
        pty.write(b"heard");
        let port = format!("port=\"{name}\"");
        broker.wait_metric("serbroker_port_bytes_total", &[&port, "direction=\"to_clients\""], 5);
    }
    let cut = Command::new("ip").args(["-n", far, "link", "set", "far", "down"]).status().unwrap();
    assert!(cut.success());
    let begun = Instant::now();
    busy.write(b"lost");
    soon.write(b"lost");
    let mut times: [Option<Duration>; 3] = [None; 3];
    while times.contains(&None) {
        for (time, name) in times.iter_mut().zip(["quiet", "busy", "soon"]) {
            let label = format!("port=\"{name}\"");
            if time.is_none() && broker.metric("serbroker_port_clients", &[&label]) == 0 {
                *time = Some(begun.elapsed());
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(40), "they keep their places: {times:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let [Some(quiet), Some(busy), Some(soon)] = times else { unreachable!("invariant: the loop ended") };
    eprintln!("gone after {quiet:?} of silence and {busy:?} and {soon:?} with bytes on their way");
    // what was said last was said a moment before
    assert!(quiet < Duration::from_secs(30) && busy < Duration::from_secs(21), "{quiet:?} {busy:?}");
    assert!(soon < Duration::from_secs(10), "{soon:?}");
    assert_eq!(broker.metric("serbroker_port_disconnects_total", &["reason=\"peer_timeout\""]), 3);
}
