//! Rotators: real clients on one accepter for several devices.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use std::net::TcpListener;
use support::net::{Client, End, get};
use support::pty::Pty;
use support::{Broker, connection, free_port, wait_for};

const BUSY: &[u8] = b"No free port found\r\n";

/// A rotator in YAML.
fn rotator(name: &str, accepter: &str, members: &[&str], options: &[&str]) -> String {
    let mut text =
        format!("rotator: &{name}\n  accepter: {accepter}\n  connections: [{}]\n", members.join(", "));
    if !options.is_empty() {
        text.push_str("  options:\n");
        for option in options {
            text.extend(["    ", option, "\n"]);
        }
    }
    text
}

/// Connections `a`, `b`, … on these devices, each with its name as banner; and their ports.
fn members(ptys: &[Pty]) -> (String, Vec<u16>) {
    let mut text = String::new();
    let mut ports = Vec::new();
    for (pty, name) in ptys.iter().zip(["a", "b", "c"]) {
        let port = free_port();
        let accepter = format!("tcp,127.0.0.1,{port}");
        text.push_str(&connection(name, &accepter, pty.path(), &[&format!("banner: '{name}'")]));
        ports.push(port);
    }
    (text, ports)
}

fn refusals(broker: &Broker, reason: &str) -> u64 {
    broker.metric("serbroker_rotator_refusals_total", &[&format!("reason=\"{reason}\"")])
}

#[test]
fn clients_get_free_ports_in_turn_and_are_told_when_there_is_none() {
    let ptys = [Pty::new(), Pty::new()];
    let (text, ports) = members(&ptys);
    let port = free_port();
    let config = text + &rotator("rot", &format!("tcp,127.0.0.1,{port}"), &["*a", "*b"], &[]);
    let broker = Broker::start(&config);
    let mut first = Client::connect(port);
    assert_eq!(first.receive(1), b"a");
    let mut second = Client::connect(port);
    assert_eq!(second.receive(1), b"b");
    assert_eq!(Client::connect(port).rest(), (BUSY.to_vec(), End::Fin));
    assert_eq!(Client::connect(ports[0]).rest(), (b"Port already in use\r\n".to_vec(), End::Fin));
    // data goes to the right device and comes from it
    second.send(b"to b");
    assert_eq!(ptys[1].read(4), b"to b");
    ptys[0].write(b"from a");
    assert_eq!(first.receive(6), b"from a");
    drop(first);
    broker.wait_device("a", false);
    let mut third = Client::connect(port);
    assert_eq!(third.receive(1), b"a");
    drop((second, third));
    broker.wait_device("a", false);
    broker.wait_device("b", false);
    // it goes on behind the one that was used last
    let mut fourth = Client::connect(port);
    assert_eq!(fourth.receive(1), b"b");
    assert_eq!(refusals(&broker, "no_free_port"), 1);
    assert_eq!(broker.metric("serbroker_rotator_connections_total", &["rotator=\"rot\""]), 4);
    assert_eq!(broker.metric("serbroker_rotator_listener_up", &[]), 1);
    assert_eq!(broker.metric("serbroker_port_refusals_total", &["port=\"b\""]), 0);
}

#[test]
fn a_storm_of_clients_fills_every_port_once() {
    let ptys = [Pty::new(), Pty::new(), Pty::new()];
    let (text, _) = members(&ptys);
    let port = free_port();
    let config = text + &rotator("rot", &format!("tcp,127.0.0.1,{port}"), &["*a", "*b", "*c"], &[]);
    let broker = Broker::start(&config);
    let mut clients: Vec<_> = (0..30).map(|_| Client::connect(port)).collect();
    let heard: Vec<u8> = clients.iter_mut().map(|client| client.receive(1)[0]).collect();
    // the clients that are told why are closed, but their words come
    let mut names: Vec<u8> = heard.iter().copied().filter(|byte| *byte != b'N').collect();
    names.sort_unstable();
    assert_eq!(names, b"abc");
    assert_eq!(refusals(&broker, "no_free_port"), 27);
}

#[test]
fn telnet_is_spoken_as_the_rotator_says() {
    let ptys = [Pty::new()];
    let (text, ports) = members(&ptys);
    let port = free_port();
    let config = text + &rotator("rot", &format!("telnet(rfc2217),tcp,127.0.0.1,{port}"), &["*a"], &[]);
    let _broker = Broker::start(&config);
    let opening = b"\xff\xfb\x03\xff\xfd\x03\xff\xfb\x01\xff\xfe\x01\xff\xfd\x00\xff\xfb\x00\xff\xfd\x2c";
    let mut client = Client::connect(port);
    assert_eq!(client.receive(opening.len() + 1), [&opening[..], b"a"].concat());
    ptys[0].write(b"\xff\x00");
    assert_eq!(client.receive(3), b"\xff\xff\x00");
    let (refused, _) = Client::connect(port).rest();
    assert_eq!(refused, [&opening[..], BUSY].concat());
    drop(client);
    // the connection's own accepter is raw
    wait_for("a free port", || Client::connect(ports[0]).receive(1) == b"a");
}

#[test]
fn limits_of_the_rotator_hold_and_not_those_of_the_connection() {
    let pty = Pty::new();
    let (closed, silent, open) = (free_port(), free_port(), free_port());
    let config = connection(
        "a",
        &format!("tcp,127.0.0.1,{}", free_port()),
        pty.path(),
        &["allow: 10.0.0.0/8", "banner: hi"],
    ) + &rotator("closed", &format!("tcp,127.0.0.1,{closed}"), &["*a"], &["allow: 10.0.0.0/8"])
        + &rotator("silent", &format!("tcp,127.0.0.1,{silent}"), &["*a"], &["refusal-text: false"])
        + &rotator("open", &format!("tcp,127.0.0.1,{open}"), &["a"], &[]);
    let broker = Broker::start(&config);
    let (text, _) = Client::connect(closed).rest();
    assert_eq!(text, b"Accessed denied due to your net address\r\n");
    assert_eq!(refusals(&broker, "not_allowed"), 1);
    let mut client = Client::connect(open);
    assert_eq!(client.receive(2), b"hi");
    assert_eq!(Client::connect(silent).rest().0, b"");
    assert_eq!(Client::connect(open).rest().0, BUSY);
}

#[test]
fn a_reload_starts_changes_and_stops_rotators_and_leaves_their_clients_alone() {
    let ptys = [Pty::new(), Pty::new()];
    let (text, _) = members(&ptys);
    let (one, two) = (free_port(), free_port());
    let over = |port: u16, members: &[&str]| rotator("rot", &format!("tcp,127.0.0.1,{port}"), members, &[]);
    let broker = Broker::start(&(text.clone() + &over(one, &["*a"])));
    let mut client = Client::connect(one);
    assert_eq!(client.receive(1), b"a");
    assert_eq!(Client::connect(one).rest().0, BUSY);

    // another member: the socket stays, and it is the same rotator
    broker.reload(&(text.clone() + &over(one, &["*a", "*b"])));
    let mut other = Client::connect(one);
    assert_eq!(other.receive(1), b"b");
    assert_eq!(refusals(&broker, "no_free_port"), 1);
    broker.log.wait_count(&["rotator=rot", "listening on"], 1);

    // another address: the old one is free
    broker.reload(&(text.clone() + &over(two, &["*a", "*b"])));
    assert_eq!(Client::connect(two).rest().0, BUSY);
    drop(TcpListener::bind(("127.0.0.1", one)).unwrap());

    broker.reload(&text);
    drop(TcpListener::bind(("127.0.0.1", two)).unwrap());
    assert!(!broker.metrics().contains("serbroker_rotator"));
    // the clients never noticed
    ptys[0].write(b"still a");
    assert_eq!(client.receive(7), b"still a");
    ptys[1].write(b"still b");
    assert_eq!(other.receive(7), b"still b");
}

#[test]
fn disabled_and_missing_members_are_passed_over() {
    let ptys = [Pty::new(), Pty::new()];
    let (text, _) = members(&ptys);
    let port = free_port();
    let text = text.replace("&a\n", "&a\n  enable: off\n");
    let config = text + &rotator("rot", &format!("tcp,127.0.0.1,{port}"), &["*a", "nobody", "*b"], &[]);
    let broker = Broker::start(&config);
    broker.log.wait(&["no connection 'nobody'"]);
    let mut client = Client::connect(port);
    assert_eq!(client.receive(1), b"b");
    assert_eq!(Client::connect(port).rest(), (BUSY.to_vec(), End::Fin));
}

#[test]
fn a_rotator_that_cannot_listen_makes_the_program_unready_until_it_can() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let ptys = [Pty::new()];
    let (text, _) = members(&ptys);
    let broker = Broker::start(&(text + &rotator("rot", &format!("tcp,127.0.0.1,{port}"), &["*a"], &[])));
    broker.log.wait(&["rotator=rot", "another program listens there"]);
    let (status, body) = get(broker.health, "/readyz").unwrap();
    assert!(status == 503 && body.contains("\"listening\":false"), "{body}");
    drop(holder);
    wait_for("ready", || get(broker.health, "/readyz").unwrap().0 == 200);
    assert_eq!(Client::connect(port).receive(1), b"a");
}
