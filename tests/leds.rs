//! LEDs of a running port, on files that look like those of the kernel.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use serbroker::alarm::Alarms;
use serbroker::broker;
use serbroker::config::load::Inputs;
use serbroker::led::Leds;
use serbroker::metrics::Metrics;
use serbroker::port::{self, Claims, Environment};
use serbroker::status::StatusTable;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use support::net::Client;
use support::pty::Pty;
use support::{free_port, wait_for};

/// The directory of an LED as the kernel makes it.
fn fake(base: &Path, name: &str) {
    let dir = base.join(name);
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("trigger"), "[none] timer transient\n").unwrap();
    for attribute in ["brightness", "activate", "duration", "state"] {
        fs::write(dir.join(attribute), "0").unwrap();
    }
}

fn get(base: &Path, name: &str, attribute: &str) -> String {
    fs::read_to_string(base.join(name).join(attribute)).unwrap()
}

#[test]
fn each_direction_lights_its_own_led() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    fake(base, "board:tx");
    fake(base, "board:rx");
    let (pty, port) = (Pty::new(), free_port());
    let led = |name: &str| {
        format!("led: &{name}\n  driver: sysfs\n  options:\n    device: \"board:{name}\"\n    duration: 30\n")
    };
    let text = format!(
        "{}{}connection: &p\n  accepter: tcp,127.0.0.1,{port}\n  \
         connector: serialdev(uucplock=false),{},115200n81,local\n  options:\n    led-tx: *tx\n    led-rx: *rx\n",
        led("tx"),
        led("rx"),
        pty.path()
    );
    let reading = broker::read(&Inputs { yaml: vec![text], ..Inputs::default() });
    assert!(reading.diagnostics.is_empty(), "{:?}", reading.diagnostics);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let leds = Arc::new(Leds::at(base));
    let env = Arc::new(Environment {
        alarms: Alarms::default(),
        claims: Arc::new(Claims::default()),
        metrics: Arc::new(Metrics::new().unwrap()),
        status: StatusTable::new(),
        doors: Arc::default(),
        names: Arc::default(),
        signature: "test".into(),
        traces: Arc::default(),
        leds: Arc::clone(&leds),
        hotplug: Arc::default(),
        events: Arc::default(),
        wrap: serbroker::net::wrap::Files::default(),
        stdio_left: Arc::default(),
    });
    let inside = runtime.enter();
    let (handle, task) = port::start(reading.config.connections[0].clone(), env);
    drop(inside);
    let settings = |name: &str| ["trigger", "duration", "state", "activate"].map(|a| get(base, name, a));
    for name in ["board:tx", "board:rx"] {
        wait_for("the trigger", || settings(name) == ["transient", "30", "1", "0"]);
    }

    let mut client = Client::connect(port);
    pty.write(b"down");
    assert_eq!(client.receive(4), b"down");
    wait_for("rx", || get(base, "board:rx", "activate") == "1");
    assert_eq!(get(base, "board:tx", "activate"), "0", "nothing was sent to the device");
    client.send(b"up");
    assert_eq!(pty.read(2), b"up");
    wait_for("tx", || get(base, "board:tx", "activate") == "1");
    // and again, once the flash is over
    fs::write(base.join("board:rx/activate"), "0").unwrap();
    wait_for("rx again", || {
        pty.write(b"x");
        client.receive(1);
        get(base, "board:rx", "activate") == "1"
    });

    handle.shutdown();
    runtime.block_on(task).unwrap();
    for name in ["board:tx", "board:rx"] {
        wait_for("giving back", || get(base, name, "trigger") == "none");
        assert_eq!(get(base, name, "brightness"), "0");
    }
}
