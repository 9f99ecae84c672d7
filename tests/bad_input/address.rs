//! Addresses that cannot be listened on: said at once, tried again, and used as soon as they can be.

use crate::kit::{Daemon, PROGRAM, Pty, connection, is_root, skip, until};
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

#[test]
fn taken_by_another_program() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let accepter = format!("tcp,127.0.0.1,{}", holder.local_addr().unwrap().port());
    let pty = Pty::new();
    let mut daemon = Daemon::start(&connection("port", &accepter, &pty.path, &["accepter-retry-time: 1"]));
    daemon.logged(&["cannot listen on 127.0.0.1", "in use", "another program listens there", "port=port"]);
    daemon.exchange();
    drop(holder);
    let mut client = daemon.connect("port");
    client.write_all(b"hello").unwrap();
    assert_eq!(pty.read(5), b"hello");
    daemon.finish();
}

#[test]
fn two_ports_of_one_configuration_want_the_same() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let accepter = format!("tcp,127.0.0.1,{free}");
    let (a, b) = (Pty::new(), Pty::new());
    let ports = connection("a", &accepter, &a.path, &[]) + &connection("b", &accepter, &b.path, &[]);
    let mut daemon = Daemon::start(&ports);
    let port = format!("{free}");
    daemon.logged(&["127.0.0.1", &port, "in use"]);
    daemon.exchange();
    daemon.finish();
}

#[test]
fn reserved_for_root() {
    if fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap().trim() == "0" {
        if !is_root() {
            return skip("this machine reserves no ports");
        }
        return reserved_in_a_namespace();
    }
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("serbroker");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(PROGRAM, &copy).unwrap();
    let daemon = Daemon::start_by(&connection("port", "tcp,127.0.0.1,81", "/dev/null", &[]), |config| {
        if !is_root() {
            let mut command = Command::new(PROGRAM);
            command.args(["-n", "-c"]).arg(config);
            return command;
        }
        // root in everything but the right to reserved ports: it must read the files
        let mut command = Command::new("setpriv");
        command.args(["--inh-caps=-net_bind_service", "--bounding-set=-net_bind_service"]);
        command.arg(&copy).args(["-n", "-c"]).arg(config);
        command
    });
    daemon.logged(&["cannot listen on 127.0.0.1,81", "below 1024 are reserved", "CAP_NET_BIND_SERVICE"]);
    daemon.finish();
}

/// A network of its own reserves ports whatever the machine does.
fn reserved_in_a_namespace() {
    let ports = connection("port", "tcp,127.0.0.1,81", "/dev/null", &[]);
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.yaml");
    fs::write(&config, format!("%YAML 1.1\n---\n{ports}")).unwrap();
    let script = format!(
        "ip link set lo up; echo 1024 > /proc/sys/net/ipv4/ip_unprivileged_port_start; exec setpriv \
         --inh-caps=-net_bind_service --bounding-set=-net_bind_service {PROGRAM} -n -c {}",
        config.display()
    );
    let Some(mut broker) = Namespaced::start(&script, dir.path()) else { return };
    broker.logged("below 1024 are reserved");
    broker.end();
}

/// A broker in a network of its own.
struct Namespaced {
    child: std::process::Child,
    log: std::path::PathBuf,
}

impl Namespaced {
    /// Runs `script` there; it ends by becoming the broker. `None`, with a word, where that is not
    /// permitted.
    fn start(script: &str, dir: &std::path::Path) -> Option<Self> {
        if !is_root() {
            skip("a network of its own: needs root");
            return None;
        }
        match Command::new("unshare").args(["--net", "true"]).output() {
            Ok(output) if output.status.success() => {}
            _ => {
                skip("a network of its own: not permitted here");
                return None;
            }
        }
        let log = dir.join("log");
        let child = Command::new("unshare")
            .args(["--net", "sh", "-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Some(Self { child, log })
    }

    fn logged(&self, part: &str) {
        until(part, || fs::read_to_string(&self.log).unwrap().contains(part).then_some(()));
    }

    fn inside(&self, command: &[&str]) -> std::process::Output {
        let pid = self.child.id().to_string();
        Command::new("nsenter").args(["--net", "-t", &pid]).args(command).output().unwrap()
    }

    fn end(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = until("the end after SIGTERM", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}

impl Drop for Namespaced {
    fn drop(&mut self) {
        // after a failed test; an error says that it has ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_address_that_comes_later() {
    let pty = Pty::new();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.yaml");
    let ports = connection("port", "tcp,192.0.2.1,2000", &pty.path, &["accepter-retry-time: 1"])
        + &connection("other", "tcp,127.0.0.1,2001", &pty.path, &[]);
    fs::write(&config, format!("%YAML 1.1\n---\n{ports}")).unwrap();
    let script = format!("ip link set lo up; exec {PROGRAM} -n -c {}", config.display());
    let Some(mut broker) = Namespaced::start(&script, dir.path()) else { return };
    broker.logged("this machine does not have that address");
    broker.logged("listening on 127.0.0.1:2001");
    let added = broker.inside(&["ip", "addr", "add", "192.0.2.1/32", "dev", "lo"]);
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    broker.logged("listening on 192.0.2.1:2000");
    let script = "exec 3<>/dev/tcp/192.0.2.1/2000; printf hello >&3";
    assert!(broker.inside(&["bash", "-c", script]).status.success());
    assert_eq!(pty.read(5), b"hello");
    broker.end();
}
