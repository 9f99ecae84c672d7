//! SIGTERM ends the broker within a second whatever its ports are waiting for.

use crate::flood::device_floods;
use crate::kit::{Daemon, PROGRAM, Pty, connection, is_root, push_until_stuck, read_to_close, skip, until};
use rustix::process::Signal;
use std::process::Command;
use std::time::Duration;

#[test]
fn with_data_that_the_device_does_not_take() {
    let pty = Pty::new();
    let daemon = Daemon::start(&connection("port", "tcp,127.0.0.1,0", &pty.path, &[]));
    let mut client = daemon.connect("port");
    push_until_stuck(&mut client, &vec![0x55; 64 << 20], Duration::from_millis(500));
    let log = daemon.terminate();
    assert!(log.contains("SIGTERM"), "{log}");
    read_to_close(&mut client);
}

#[test]
fn while_the_device_is_being_closed_with_data_left() {
    let pty = Pty::new();
    let daemon = Daemon::start(&connection("port", "tcp,127.0.0.1,0", &pty.path, &[]));
    let mut client = daemon.connect("port");
    push_until_stuck(&mut client, &vec![0x55; 64 << 20], Duration::from_millis(500));
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    // a client that is not read is only missed at the end of the stall, if at all: either way
    daemon.terminate();
}

#[test]
fn with_a_client_that_does_not_read() {
    for accepter in ["tcp,127.0.0.1,0", "telnet(rfc2217),tcp,127.0.0.1,0"] {
        let pty = Pty::new();
        let daemon = Daemon::start(&connection("port", accepter, &pty.path, &[]));
        let mut client = daemon.connect("port");
        daemon.logged(&["device open", "port=port"]);
        device_floods(&pty);
        daemon.terminate();
        read_to_close(&mut client);
    }
}

#[test]
fn with_many_ports_and_clients() {
    let ptys: Vec<Pty> = (0..20).map(|_| Pty::new()).collect();
    let ports: String = ptys
        .iter()
        .enumerate()
        .map(|(i, pty)| {
            connection(&format!("port{i}"), "tcp,127.0.0.1,0", &pty.path, &["max-connections: 5"])
        })
        .collect();
    let daemon = Daemon::start(&ports);
    let mut clients = Vec::new();
    for i in 0..ptys.len() {
        for _ in 0..5 {
            clients.push(daemon.connect(&format!("port{i}")));
        }
    }
    daemon.terminate();
    for mut client in clients {
        assert_eq!(read_to_close(&mut client), b"");
    }
}

/// The look-up of a host name blocks a thread for many seconds when no name server answers.
#[test]
fn while_a_name_is_looked_up() {
    if !is_root() {
        return skip("a name server that does not answer: needs root");
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("resolv.conf"), "nameserver 127.0.0.1\noptions timeout:20\n").unwrap();
    std::fs::write(dir.path().join("nsswitch.conf"), "hosts: dns\n").unwrap();
    // port 53 is bound by a process that reads nothing; only then the broker starts
    let script = format!(
        "ip link set lo up && mount --bind {0}/resolv.conf /etc/resolv.conf && mount --bind \
         {0}/nsswitch.conf /etc/nsswitch.conf || exit 77; exec 3<>/dev/tcp/127.0.0.1/1 2>/dev/null; exec \"$@\"",
        dir.path().display()
    );
    let permitted = Command::new("unshare").args(["--net", "--mount", "true"]).status();
    if !permitted.is_ok_and(|status| status.success()) {
        return skip("a name server that does not answer: no namespaces here");
    }
    let server = "import socket,os,sys\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
                  s.bind(('127.0.0.1',53))\ns.set_inheritable(True)\nos.execvp(sys.argv[1],sys.argv[1:])\n";
    if Command::new("python3").arg("--version").output().is_err() {
        return skip("a name server that does not answer: python3 is missing");
    }
    let config = dir.path().join("config.yaml");
    let port = connection("port", "tcp,broker.example.com,2000", "/dev/null", &[]);
    std::fs::write(&config, format!("%YAML 1.1\n---\n{port}")).unwrap();
    let log = dir.path().join("log");
    let mut child = Command::new("unshare")
        .args([
            "--net", "--mount", "bash", "-c", &script, "bash", "python3", "-c", server, PROGRAM, "-n", "-c",
        ])
        .arg(&config)
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let said = || std::fs::read_to_string(&log).unwrap();
    let started = until("the start", || said().contains("ports listening").then_some(true));
    assert!(started);
    // the look-up runs: a socket to the name server is open
    let fds = format!("/proc/{}/task", child.id());
    until("the thread of the look-up", || (std::fs::read_dir(&fds).unwrap().count() > 1).then_some(()));
    let begun = std::time::Instant::now();
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    let status = until("the end after SIGTERM", || child.try_wait().unwrap());
    assert!(status.success(), "{status}: {}", said());
    assert!(begun.elapsed() < Duration::from_millis(1300), "{:?}: {}", begun.elapsed(), said());
    assert!(!said().contains("cannot listen"), "the look-up had not ended: {}", said());
}
