//! hosts.allow and hosts.deny: what ser2net with TCP wrappers was seen to do.

use super::in_namespace;
use super::support::net::{Client, End};
use super::support::pty::Pty;
use super::support::{Broker, connection, free_port};
use std::path::Path;
use std::process::Command;

/// An `/etc` with these two files and little else.
fn etc(dir: &Path, allow: &str, deny: &str) {
    for name in ["passwd", "group", "hosts", "nsswitch.conf"] {
        // a machine may do without one of them
        let _ = std::fs::copy(Path::new("/etc").join(name), dir.join(name));
    }
    std::fs::write(dir.join("hosts"), "127.0.0.1 localhost bench.lab.example\n").unwrap();
    std::fs::write(dir.join("hosts.allow"), allow).unwrap();
    std::fs::write(dir.join("hosts.deny"), deny).unwrap();
}

fn start(pty: &Pty, accepter: &str, dir: &Path) -> Option<(Broker, u16)> {
    let port = free_port();
    let config = connection("con1", &accepter.replace("PORT", &port.to_string()), pty.path(), &[]);
    let script = format!("mount --bind '{}' /etc && exec \"$@\"", dir.display());
    if !in_namespace(&mut Command::new("true"), &["-rm"], &script) {
        return None;
    }
    let broker = Broker::start_with(&config, |command| {
        in_namespace(command, &["-rm"], &script);
    });
    Some((broker, port))
}

#[test]
fn clients_that_the_files_keep_out_are_told_and_closed() {
    let (told, closed) = (Some("Access denied\r\n"), Some(""));
    let tcp = "tcp,127.0.0.1,PORT";
    for (allow, deny, accepter, refusal) in [
        ("", "", tcp, None),
        ("", "ALL: ALL\n", tcp, told),
        ("", "ALL: ALL\n", "telnet,tcp,127.0.0.1,PORT", told),
        ("", "ALL: ALL\n", "tcp(tcpd=on),127.0.0.1,PORT", closed),
        ("", "ALL: ALL\n", "tcp(tcpd=off),127.0.0.1,PORT", None),
        ("", "con1: ALL\n", tcp, None),
        ("", "ser2net-control: ALL\n", tcp, None),
        ("", "radio: ALL\n", "tcp(tcpdname=radio),127.0.0.1,PORT", told),
        ("ser2net: 127.0.0.1\n", "ALL: ALL\n", tcp, None),
        ("ser2net: 127.\n", "ALL: ALL\n", tcp, None),
        ("ser2net: LOCAL\n", "ALL: ALL\n", tcp, None),
        ("ser2net: 10.0.0.0/8\n", "ALL: ALL\n", tcp, told),
        ("", "ALL: ALL EXCEPT localhost\n", tcp, None),
    ] {
        let (pty, dir) = (Pty::new(), tempfile::tempdir().unwrap());
        etc(dir.path(), allow, deny);
        let what = format!("{accepter}, allow {allow:?}, deny {deny:?}");
        let Some((broker, port)) = start(&pty, accepter, dir.path()) else { return };
        let mut client = Client::connect(port);
        if let Some(text) = refusal {
            assert_eq!(client.rest(), (text.as_bytes().to_vec(), End::Fin), "{what}");
            broker.log.wait(&["refused by /etc/hosts.deny line 1"]);
            broker.wait_metric("serbroker_port_refusals_total", &["reason=\"hosts_access\""], 1);
        } else {
            client.send(b"x");
            assert_eq!(pty.read(1), b"x", "{what}");
        }
    }
}

#[test]
fn a_change_of_the_files_counts_at_once() {
    let (pty, dir) = (Pty::new(), tempfile::tempdir().unwrap());
    etc(dir.path(), "", "ALL: ALL\n");
    let Some((_broker, port)) = start(&pty, "tcp,127.0.0.1,PORT", dir.path()) else { return };
    assert_eq!(Client::connect(port).rest().0, b"Access denied\r\n");
    std::fs::write(dir.path().join("hosts.allow"), "ALL: 127.0.0.1\n").unwrap();
    let mut client = Client::connect(port);
    client.send(b"x");
    assert_eq!(pty.read(1), b"x");
}
