//! A device that goes away and comes back, played by pseudo-terminals behind a link that moves.
//! What only real hardware shows is in `tests/vm/cases/cable_*.py`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::net::{Client, End, get};
use support::pty::Pty;
use support::{Broker, connection, free_port, wait_for};

/// A link in a directory of its own that leads to a pseudo-terminal, or nowhere.
struct Cable {
    dir: tempfile::TempDir,
    pty: Option<Pty>,
}

impl Cable {
    fn unplugged() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), pty: None }
    }

    fn plugged() -> Self {
        let mut cable = Self::unplugged();
        cable.plug();
        cable
    }

    fn link(&self) -> PathBuf {
        self.dir.path().join("adapter")
    }

    /// Another device under the same name.
    fn plug(&mut self) {
        let pty = Pty::new();
        pty.link(&self.link());
        self.pty = Some(pty);
    }

    fn unplug(&mut self) {
        fs::remove_file(self.link()).unwrap();
        self.pty = None;
    }

    fn pty(&self) -> &Pty {
        self.pty.as_ref().unwrap()
    }

    fn broker(&self, port: u16, options: &[&str]) -> Broker {
        let link = self.link();
        let accepter = format!("tcp,127.0.0.1,{port}");
        Broker::start(&connection("p", &accepter, link.to_str().unwrap(), options))
    }
}

/// Descriptors of the program that lead to a pseudo-terminal.
fn open_terminals(broker: &Broker) -> usize {
    let list = fs::read_dir(format!("/proc/{}/fd", broker.process.child.id())).unwrap();
    list.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter(|target| target.starts_with("/dev/pts"))
        .count()
}

fn state(broker: &Broker, state: &str) -> u64 {
    broker.metric("serbroker_port_state", &["port=\"p\"", &format!("state=\"{state}\"")])
}

fn dropped(broker: &Broker, reason: &str, direction: &str) -> u64 {
    let labels = [format!("reason=\"{reason}\""), format!("direction=\"{direction}\"")];
    broker.metric("serbroker_port_dropped_bytes_total", &[&labels[0], &labels[1]])
}

/// Processor time of the program so far, in hundredths of a second.
fn cpu(broker: &Broker) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", broker.process.child.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn clients_that_are_held_go_on_with_the_device_that_comes_back() {
    let (mut cable, port) = (Cable::plugged(), free_port());
    let options = ["max-connections: 3", "on-device-loss: hold", "hold-time: 20s"];
    let broker = cable.broker(port, &options);
    let mut clients = [Client::connect(port), Client::connect(port)];
    broker.wait_device("p", true);
    for client in &mut clients {
        client.send(b"before");
        assert_eq!(cable.pty().read(6), b"before");
    }
    for _ in 0..3 {
        cable.unplug();
        broker.wait_metric("serbroker_port_device_fault", &["reason=\"lost\""], 1);
        assert_eq!(open_terminals(&broker), 0, "the device is free at once");
        // what is sent into the air is counted, and not sent later
        let lost = dropped(&broker, "device_away", "to_device");
        clients[0].send(b"into the air");
        wait_for("the count", || dropped(&broker, "device_away", "to_device") == lost + 12);
        cable.plug();
        let back = Instant::now();
        broker.wait_device("p", true);
        assert!(back.elapsed() < Duration::from_secs(1), "{:?}", back.elapsed());
        for client in &mut clients {
            client.send(b"again");
            assert_eq!(cable.pty().read(5), b"again");
        }
        cable.pty().write(b"to all");
        for client in &mut clients {
            assert_eq!(client.receive(6), b"to all");
        }
    }
    broker.log.wait_count(&["its clients go on"], 3);
    assert_eq!(broker.log.count(&["client left"]), 0);
}

#[test]
fn clients_are_held_for_the_time_that_is_given_and_no_longer() {
    let (mut cable, port) = (Cable::plugged(), free_port());
    let broker = cable.broker(port, &["max-connections: 2", "on-device-loss: hold", "hold-time: 700m"]);
    let mut client = Client::connect(port);
    broker.wait_device("p", true);
    let begun = Instant::now();
    cable.unplug();
    broker.wait_metric("serbroker_port_device_fault", &["reason=\"lost\""], 1);
    // somebody who comes later has a time of its own, and is read meanwhile
    let mut late = Client::connect(port);
    assert_eq!(client.rest(), (Vec::new(), End::Fin));
    let time = begun.elapsed();
    assert!(time >= Duration::from_millis(600) && time < Duration::from_secs(5), "{time:?}");
    assert_eq!(late.rest(), (Vec::new(), End::Fin));
    broker.log.wait_count(&["client left", "the device is gone"], 2);
    // and the port is as good as new
    cable.plug();
    broker.wait_metric("serbroker_port_device_fault", &["reason=\"lost\""], 0);
    let mut client = Client::connect(port);
    client.send(b"x");
    assert_eq!(cable.pty().read(1), b"x");
}

#[test]
fn a_client_that_leaves_while_it_is_held_is_seen_and_nothing_waits_for_it() {
    let (mut cable, port) = (Cable::plugged(), free_port());
    let broker = cable.broker(port, &["on-device-loss: hold", "hold-time: 1H"]);
    let mut client = Client::connect(port);
    broker.wait_device("p", true);
    cable.unplug();
    broker.wait_metric("serbroker_port_device_fault", &["reason=\"lost\""], 1);
    client.send(b"abc");
    drop(client);
    broker.log.wait(&["client left"]);
    cable.plug();
    broker.wait_device("p", false);
    assert_eq!(open_terminals(&broker), 0, "nobody wants it");
}

#[test]
fn without_the_options_clients_are_closed_and_the_next_one_is_told_why() {
    let (mut cable, port) = (Cable::plugged(), free_port());
    let broker = cable.broker(port, &["banner: hello"]);
    let mut client = Client::connect(port);
    assert_eq!(client.receive(5), b"hello");
    cable.unplug();
    assert_eq!(client.rest(), (Vec::new(), End::Fin));
    assert_eq!(open_terminals(&broker), 0);
    let text = b"Device open failure: Value or file not found\r\n".to_vec();
    assert_eq!(Client::connect(port).rest(), (text, End::Fin));
    cable.plug();
    let mut client = Client::connect(port);
    assert_eq!(client.receive(5), b"hello");
}

#[test]
fn a_port_whose_device_is_absent_at_the_start_says_so_and_serves_when_it_comes() {
    let (mut cable, port) = (Cable::unplugged(), free_port());
    let broker = cable.broker(port, &[]);
    broker.log.wait(&["listening on"]);
    broker.log.wait(&["WARN", "adapter", "no such device"]);
    broker.wait_metric("serbroker_port_device_fault", &["reason=\"missing\""], 1);
    let (status, body) = get(broker.health, "/readyz").unwrap();
    assert!(status == 503 && body.contains("\"reason\":\"missing\"") && body.contains("adapter"), "{body}");
    assert_eq!(broker.metric("serbroker_port_device_open_failures_total", &["port=\"p\""]), 0);
    cable.plug();
    wait_for("ready", || get(broker.health, "/readyz").unwrap().0 == 200);
    assert_eq!(broker.metric("serbroker_port_device_opens_total", &["port=\"p\""]), 0, "nobody asked");
    let mut client = Client::connect(port);
    client.send(b"x");
    assert_eq!(cable.pty().read(1), b"x");
}

#[test]
fn a_client_that_comes_while_the_device_is_absent_is_held_too() {
    let (mut cable, port) = (Cable::unplugged(), free_port());
    let broker = cable.broker(port, &["on-device-loss: hold", "banner: hello"]);
    let mut client = Client::connect(port);
    assert_eq!(client.receive(5), b"hello");
    broker.wait_metric("serbroker_port_device_fault", &["reason=\"missing\""], 1);
    cable.plug();
    cable.pty().write(b"data");
    assert_eq!(client.receive(4), b"data");
    client.send(b"x");
    assert_eq!(cable.pty().read(1), b"x");
}

#[test]
fn a_device_that_is_open_always_is_opened_once_and_again_after_a_loss() {
    let (mut cable, port) = (Cable::plugged(), free_port());
    let broker = cable.broker(port, &["device-open: always", "openstr: hi"]);
    broker.wait_device("p", true);
    assert_eq!(cable.pty().read(2), b"hi");
    // what nobody hears is counted, and not kept
    cable.pty().write(b"nobody hears this");
    wait_for("the count", || dropped(&broker, "unheard", "to_clients") == 17);
    for _ in 0..5 {
        let mut client = Client::connect(port);
        // what arrives says that the client is heard
        client.send(b"no");
        assert_eq!(cable.pty().read(2), b"no");
        cable.pty().write(b"yes");
        assert_eq!(client.receive(3), b"yes");
        drop(client);
        wait_for("the client to leave", || broker.metric("serbroker_port_clients", &["port=\"p\""]) == 0);
    }
    let opens = || broker.metric("serbroker_port_device_opens_total", &["port=\"p\""]);
    assert_eq!((opens(), state(&broker, "open")), (1, 1));
    let mut client = Client::connect(port);
    broker.wait_metric("serbroker_port_clients", &["port=\"p\""], 1);
    cable.unplug();
    assert_eq!(client.rest(), (Vec::new(), End::Fin), "on-device-loss is close");
    wait_for("not ready", || get(broker.health, "/readyz").unwrap().0 == 503);
    cable.plug();
    let back = Instant::now();
    assert_eq!(cable.pty().read(2), b"hi");
    assert!(back.elapsed() < Duration::from_secs(1), "{:?}", back.elapsed());
    wait_for("ready", || get(broker.health, "/readyz").unwrap().0 == 200);
    assert_eq!(opens(), 2);
}

#[test]
fn a_device_that_is_open_always_is_closed_with_its_port_and_follows_the_configuration() {
    let (mut cable, port) = (Cable::unplugged(), free_port());
    let mut broker = cable.broker(port, &["device-open: always"]);
    broker.wait_metric("serbroker_port_device_fault", &["reason=\"missing\""], 1);
    cable.plug();
    broker.wait_device("p", true);
    let link = cable.link();
    let accepter = format!("tcp,127.0.0.1,{port}");
    broker.reload(&connection("p", &accepter, link.to_str().unwrap(), &[]));
    broker.wait_device("p", false);
    assert_eq!(open_terminals(&broker), 0);
    broker.reload(&connection("p", &accepter, link.to_str().unwrap(), &["device-open: always"]));
    broker.wait_device("p", true);
    let (status, time) = broker.terminate();
    assert!(status.success() && time < Duration::from_secs(2), "{status} {time:?}");
}

#[test]
fn a_link_in_a_directory_that_comes_later_is_found() {
    let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
    let link = dir.path().join("serial/by-id/usb-adapter");
    let accepter = format!("tcp,127.0.0.1,{port}");
    let options = ["device-open: always", "connector-retry-time: 1000"];
    let broker = Broker::start(&connection("p", &accepter, link.to_str().unwrap(), &options));
    broker.wait_metric("serbroker_port_device_fault", &["reason=\"missing\""], 1);
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    let pty = Pty::new();
    pty.link(&link);
    broker.wait_device("p", true);
    let mut client = Client::connect(port);
    client.send(b"x");
    assert_eq!(pty.read(1), b"x");
}

#[test]
fn a_port_that_holds_clients_takes_no_processor_time() {
    let (mut cable, port) = (Cable::plugged(), free_port());
    let broker = cable.broker(port, &["max-connections: 10", "on-device-loss: hold", "hold-time: 1M"]);
    let clients: Vec<Client> = (0..10).map(|_| Client::connect(port)).collect();
    broker.wait_device("p", true);
    cable.unplug();
    broker.wait_metric("serbroker_port_device_fault", &["reason=\"lost\""], 1);
    let before = cpu(&broker);
    let mut first = clients.into_iter().next().unwrap();
    assert!(first.during(Duration::from_secs(3)).is_empty());
    let spent = cpu(&broker) - before;
    assert!(spent <= 3, "{spent} hundredths of a second in three seconds");
}

#[test]
fn the_settings_that_a_client_asked_for_are_in_force_on_the_device_that_comes_back() {
    let (mut cable, port) = (Cable::plugged(), free_port());
    let link = cable.link();
    let accepter = format!("telnet(rfc2217),tcp,127.0.0.1,{port}");
    let options = ["on-device-loss: hold"];
    let broker = Broker::start(&connection("p", &accepter, link.to_str().unwrap(), &options));
    let mut client = Client::connect(port);
    broker.wait_device("p", true);
    let set_baud = |baud: u32| {
        // IAC WILL COM-PORT, then IAC SB COM-PORT SET-BAUDRATE … IAC SE (RFC 2217)
        let mut text = vec![0xff, 0xfb, 44, 0xff, 0xfa, 44, 1];
        text.extend(baud.to_be_bytes());
        text.extend([0xff, 0xf0]);
        text
    };
    let answer = |baud: u32| {
        let mut text = vec![0xff, 0xfa, 44, 101];
        text.extend(baud.to_be_bytes());
        text.extend([0xff, 0xf0]);
        text
    };
    client.send(&set_baud(38400));
    client.receive_until(&answer(38400));
    let speed = |pty: &Pty| pty.termios().output_speed();
    assert_eq!(speed(cable.pty()), 38400);
    cable.unplug();
    broker.wait_metric("serbroker_port_device_fault", &["reason=\"lost\""], 1);
    cable.plug();
    broker.wait_device("p", true);
    assert_eq!(speed(cable.pty()), 38400);
    // asked while it is away
    cable.unplug();
    broker.wait_metric("serbroker_port_device_fault", &["reason=\"lost\""], 1);
    client.send(&set_baud(19200));
    client.receive_until(&answer(19200));
    cable.plug();
    broker.wait_device("p", true);
    assert_eq!(speed(cable.pty()), 19200);
    // the next client finds what is configured
    drop(client);
    broker.wait_device("p", false);
    let _next = Client::connect(port);
    broker.wait_device("p", true);
    assert_eq!(speed(cable.pty()), 115_200);
}

#[test]
fn a_port_that_is_switched_off_leaves_its_device_alone_and_rests() {
    let (mut cable, port, admin) = (Cable::plugged(), free_port(), free_port());
    let link = cable.link();
    let (accepter, device) = (format!("tcp,127.0.0.1,{port}"), link.to_str().unwrap());
    let broker = Broker::start(&format!(
        "admin:\n  accepter: tcp,127.0.0.1,{admin}\n{}",
        connection("p", &accepter, device, &["device-open: always"])
    ));
    let order = |line: &str| {
        let mut session = Client::connect(admin);
        session.receive_until(b"-> ");
        session.send(format!("{line}\r\n").as_bytes());
        session.receive_until(b"-> ");
    };
    broker.wait_device("p", true);
    order("setportenable p off");
    broker.wait_device("p", false);
    assert_eq!(open_terminals(&broker), 0);
    order("setportenable p on");
    broker.wait_device("p", true);
    // off while it is away
    cable.unplug();
    broker.wait_metric("serbroker_port_device_fault", &["reason=\"lost\""], 1);
    order("setportenable p off");
    let before = cpu(&broker);
    std::thread::sleep(Duration::from_secs(1));
    let spent = cpu(&broker) - before;
    assert!(spent <= 5, "{spent} hundredths of a second in one second");
    cable.plug();
    order("setportenable p on");
    broker.wait_device("p", true);
}

#[test]
fn other_connectors_stay_open_and_hold_their_clients_too() {
    let (far, port) = (free_port(), free_port());
    let broker = Broker::start(&format!(
        "connection: &p\n  accepter: tcp,127.0.0.1,{port}\n  connector: tcp,127.0.0.1,{far}\n  options:\n    \
         on-device-loss: hold\n    device-open: always\n"
    ));
    let mut client = Client::connect(port);
    broker.wait_metric("serbroker_port_clients", &["port=\"p\""], 1);
    let listener = std::net::TcpListener::bind(("127.0.0.1", far)).unwrap();
    for round in 0..2 {
        let (mut server, _) = listener.accept().unwrap();
        broker.wait_device("p", true);
        server.write_all(b"down").unwrap();
        assert_eq!(client.receive(4), b"down", "round {round}");
        client.send(b"up");
        let mut got = [0; 2];
        server.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"up", "round {round}");
    }
    assert_eq!(broker.log.count(&["client left"]), 0);
}

#[test]
fn a_stale_node_is_named() {
    // a device number that the kernel has given to no device
    let dir = tempfile::tempdir().unwrap();
    let node = dir.path().join("ttyUSB0");
    if !make_node(&node) {
        return support::tools::missing("device nodes: mknod needs root");
    }
    let port = free_port();
    let broker =
        Broker::start(&connection("p", &format!("tcp,127.0.0.1,{port}"), node.to_str().unwrap(), &[]));
    broker.wait_metric("serbroker_port_device_fault", &["reason=\"stale\""], 1);
    broker.log.wait(&["WARN", "stale", "240:77"]);
    let (status, body) = get(broker.health, "/readyz").unwrap();
    assert!(status == 503 && body.contains("\"reason\":\"stale\""), "{body}");
    let (text, _) = Client::connect(port).rest();
    assert_eq!(text, b"Device open failure: OS error, see logs\r\n");
    assert_eq!(
        broker.metric("serbroker_port_device_open_failures_total", &["reason=\"stale\""]),
        1,
        "found out by opening too"
    );
}

/// Makes a node for a device that there is not; false when that is not permitted.
fn make_node(path: &Path) -> bool {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    // 240 to 254 are for local use
    if Path::new("/sys/dev/char/240:77").exists() {
        return false;
    }
    mknodat(CWD, path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(240, 77)).is_ok()
}
