//! Options about slow and silent clients, and about connections that a port makes itself.

use crate::net::{Setup, at, sockets};
use crate::support::net::Client;
use crate::support::pty::Pty;
use crate::support::{Broker, connection, free_port, pattern};
use std::net::TcpListener;
use std::time::{Duration, Instant};

pub(crate) fn keepalive() {
    for (option, expected) in [("keepalive: 7/2/4", Some((7, 2, 4))), ("keepalive: off", None)] {
        let setup = Setup::new(&[option]);
        let _client = setup.client();
        let sockets = sockets(&setup.broker);
        let found = at(&sockets, setup.port, false);
        assert_eq!(found.len(), 1);
        let socket = &found[0];
        let set = socket.keepalive().unwrap().then(|| {
            let seconds = |time: Duration| time.as_secs();
            let (idle, interval) = (socket.tcp_keepalive_time(), socket.tcp_keepalive_interval());
            (seconds(idle.unwrap()), seconds(interval.unwrap()), socket.tcp_keepalive_retries().unwrap())
        });
        assert_eq!(set, expected, "{option}");
    }
}

/// Bytes that a client that reads nothing loses of 16 MB.
fn lost(limit: &str) -> u64 {
    let data = pattern(16 << 20, 5);
    let setup = Setup::new(&["slow-client: drop-oldest", "chardelay: false", limit]);
    let _client = setup.client();
    setup.pty.write(&data);
    let taken = &["direction=\"from_device\""];
    setup.broker.wait_metric("serbroker_port_bytes_total", taken, data.len() as u64);
    setup.broker.metric("serbroker_port_dropped_bytes_total", &["reason=\"drop_oldest\""])
}

pub(crate) fn slow_client_limit() {
    assert_eq!(lost("slow-client-limit: 67108864"), 0);
    assert!(lost("slow-client-limit: 4096") > 0);
}

pub(crate) fn timeout_on_os_queue() {
    let ptys = [Pty::new(), Pty::new()];
    let ports = [free_port(), free_port()];
    let entry = |name: &str, i: usize, option: &str| {
        let accepter = format!("tcp,127.0.0.1,{}", ports[i]);
        connection(name, &accepter, ptys[i].path(), &["slow-client: backpressure", option]) + "  timeout: 1\n"
    };
    let config =
        entry("stays", 0, "timeout-on-os-queue: true") + &entry("goes", 1, "timeout-on-os-queue: false");
    let broker = Broker::start(&config);
    let clients = ports.map(Client::connect);
    broker.wait_device("stays", true);
    broker.wait_device("goes", true);
    // as much as they take while nobody reads
    let data = pattern(64 << 10, 5);
    for pty in &ptys {
        while pty.write_some(&data, Instant::now() + Duration::from_millis(200)) > 0 {}
    }
    let connected = |name: &str| broker.metric("serbroker_port_clients", &[&format!("port=\"{name}\"")]);
    broker.wait_metric("serbroker_port_clients", &["port=\"goes\""], 0);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2500) {
        assert_eq!(connected("stays"), 1);
    }
    // when all has gone out it is idle like any other
    let [mut stays, _goes] = clients;
    stays.rest();
    broker.wait_metric("serbroker_port_clients", &["port=\"stays\""], 0);
    assert_eq!(broker.metric("serbroker_port_disconnects_total", &["reason=\"idle\""]), 2);
}

pub(crate) fn connector_retry_time() {
    let (pty, home) = (Pty::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("device");
    let back = format!("connback: 'tcp,127.0.0.1,{}'", home.local_addr().unwrap().port());
    let accepter = format!("tcp,127.0.0.1,{}", free_port());
    let options = [back.as_str(), "connector-retry-time: 1"];
    let broker = Broker::start(&connection("p", &accepter, link.to_str().unwrap(), &options));
    broker.wait_metric("serbroker_port_device_fault", &["reason=\"missing\""], 1);
    let begun = Instant::now();
    pty.link(&link);
    broker.wait_device("p", true);
    // twenty seconds when nothing is said
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
