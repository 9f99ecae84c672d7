//! Where accepters listen: families, names, several addresses, machines without IPv6.

use super::in_namespace;
use super::support::pty::Pty;
use super::support::{Broker, Process, connection, free_port, net, serbroker, tools, until, wait_for};
use std::net::TcpStream;
use std::process::{Command, Stdio};

#[test]
fn families() {
    let port = free_port();
    let connects = |host: &str| TcpStream::connect((host, port)).is_ok();
    for (place, v4, v6) in [
        ("", true, true),
        ("ipv4,", true, false),
        ("ipv6,", false, true),
        ("ipv6n4,", true, true),
        ("localhost,", true, true),
        ("ipv4,localhost,", true, false),
        ("ipv6n4,127.0.0.1,", true, false),
        ("127.0.0.1,", true, false),
        ("::1,", false, true),
        ("*,", true, true),
    ] {
        let pty = Pty::new();
        let _broker = Broker::start(&connection("p", &format!("'tcp,{place}{port}'"), pty.path(), &[]));
        // names are looked up in the background
        wait_for(place, || connects(if v4 { "127.0.0.1" } else { "::1" }));
        if place == "localhost," {
            // where the name has both, both are bound
            let both = std::net::ToSocketAddrs::to_socket_addrs(&("localhost", 0)).unwrap();
            assert_eq!(connects("::1"), both.clone().any(|a| a.is_ipv6()), "localhost");
            continue;
        }
        assert_eq!((connects("127.0.0.1"), connects("::1")), (v4, v6), "{place}");
    }
}

#[test]
fn every_address_of_an_accepter_leads_to_the_device() {
    let (pty, one, two) = (Pty::new(), free_port(), free_port());
    let accepter = format!("tcp,127.0.0.1,{one},::1,{two}");
    let broker = Broker::start(&connection("p", &accepter, pty.path(), &[]));
    broker.log.wait(&["listening on", &format!("127.0.0.1:{one} and [::1]:{two}")]);
    let mut client = net::Client::connect(one);
    client.send(b"1");
    assert_eq!(pty.read(1), b"1");
    drop(client);
    broker.wait_device("p", false);
    let mut client = net::Client(until("::1", || TcpStream::connect(("::1", two)).ok()));
    client.send(b"2");
    assert_eq!(pty.read(1), b"2");
}

/// Lines of a broker that runs in a network of its own.
fn in_network(config: &str, script: &str) -> Option<(Process, tempfile::TempDir)> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.yaml");
    std::fs::write(&file, format!("%YAML 1.1\n---\n{config}")).unwrap();
    let mut command = serbroker();
    command.args(["-n", "-u", "-c"]).arg(&file);
    let script = format!("ip link set lo up && {script} && exec \"$@\"");
    in_namespace(&mut command, &["-rn"], &script).then(|| (Process::start(&mut command), dir))
}

/// Sends a text from inside the broker's network.
fn send(process: &Process, host: &str, port: &str) -> bool {
    let pid = process.child.id().to_string();
    let mut nc = Command::new("nsenter");
    nc.args(["-t", &pid, "-U", "-n", "--preserve-credentials", "nc", "-N", "-w", "2", host, port]);
    let mut child = nc.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    child.wait().unwrap().success()
}

#[test]
fn a_machine_without_ipv6_serves_ipv4() {
    if tools::tool("nsenter", "util-linux").is_none() || tools::tool("nc", "netcat-openbsd").is_none() {
        return;
    }
    let ptys: Vec<Pty> = (0..4).map(|_| Pty::new()).collect();
    let config = connection("any", "tcp,2001", ptys[0].path(), &[])
        + &connection("name", "tcp,localhost,2002", ptys[1].path(), &[])
        + &connection("six", "tcp,::1,2003", ptys[2].path(), &[])
        + &connection("datagrams", "udp,2004", ptys[3].path(), &[]);
    let script = "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6 && echo 1 > /proc/sys/net/ipv6/conf/lo/disable_ipv6";
    let Some((process, _dir)) = in_network(&config, script) else { return };
    process.stderr.wait(&["port=any", "listening on"]);
    process.stderr.wait(&["port=name", "listening on 127.0.0.1:2002"]);
    process.stderr.wait(&["port=datagrams", "listening on"]);
    process.stderr.wait(&["port=six", "cannot listen on ::1"]);
    for port in ["2001", "2002"] {
        assert!(send(&process, "127.0.0.1", port), "{port}");
    }
}

#[test]
fn an_address_with_an_interface_is_bound() {
    if tools::tool("nsenter", "util-linux").is_none() || tools::tool("nc", "netcat-openbsd").is_none() {
        return;
    }
    let pty = Pty::new();
    let config = connection("link", "'tcp,fe80::1%lo,2001'", pty.path(), &[]);
    let script = "ip addr add fe80::1/64 dev lo nodad";
    let Some((process, _dir)) = in_network(&config, script) else { return };
    process.stderr.wait(&["port=link", "listening on [fe80::1%"]);
    assert!(send(&process, "fe80::1%lo", "2001"));
}
