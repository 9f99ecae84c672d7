//! TLS ports: openssl as the client, certificates that change, and clients that do not speak TLS.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use support::net::{Client, get};
use support::pty::Pty;
use support::{Broker, assert_same, connection, free_port, pattern, tools, wait_for};

/// Certificates, and the program that made them.
struct Keys {
    openssl: PathBuf,
    dir: tempfile::TempDir,
}

impl Keys {
    /// `None`: no openssl, and that has been said.
    fn new() -> Option<Self> {
        let openssl = tools::tool("openssl", "openssl")?;
        Some(Self { openssl, dir: tempfile::tempdir().unwrap() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes `name.key` and `name.crt` for the host name `subject`, over what may be there.
    fn make(&self, name: &str, subject: &str) {
        let made = Command::new(&self.openssl)
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
            .args(["-days", "2", "-subj", &format!("/CN={subject}")])
            .args(["-addext", &format!("subjectAltName=DNS:{subject}")])
            .arg("-keyout")
            .arg(self.path(&format!("{name}.key")))
            .arg("-out")
            .arg(self.path(&format!("{name}.crt")))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// `ssl(…),tcp,…` with the key and certificate of these names.
    fn accepter(&self, key: &str, cert: &str, port: u16) -> String {
        let (key, cert) = (self.path(&format!("{key}.key")), self.path(&format!("{cert}.crt")));
        format!("ssl(key={},cert={}),tcp,127.0.0.1,{port}", key.display(), cert.display())
    }

    /// Connects with `openssl s_client`, which must find the certificate of `subject`, issued by `ca`.
    #[track_caller]
    fn connect(&self, port: u16, ca: &Path, subject: &str) -> TlsClient {
        let mut child = Command::new(&self.openssl)
            .args(["s_client", "-quiet", "-verify_return_error", "-verify_hostname", subject])
            .args(["-connect", &format!("127.0.0.1:{port}")])
            .arg("-CAfile")
            .arg(ca)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        TlsClient { child, input: Some(input), output }
    }
}

struct TlsClient {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl TlsClient {
    #[track_caller]
    fn send(&mut self, data: &[u8]) {
        let input = self.input.as_mut().unwrap();
        input.write_all(data).unwrap();
        input.flush().unwrap();
    }

    #[track_caller]
    fn receive(&mut self, length: usize) -> Vec<u8> {
        let mut got = vec![0; length];
        self.output.read_exact(&mut got).unwrap();
        got
    }
}

impl Drop for TlsClient {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn openssl_moves_bytes_both_ways() {
    let Some(keys) = Keys::new() else { return };
    keys.make("server", "broker.test");
    let (pty, port) = (Pty::new(), free_port());
    let broker = Broker::start(&connection("tls", &keys.accepter("server", "server", port), pty.path(), &[]));
    let mut client = keys.connect(port, &keys.path("server.crt"), "broker.test");
    broker.wait_device("tls", true);
    let (up, down) = (pattern(300_000, 1), pattern(300_000, 2));
    let mut input = client.input.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| input.write_all(&up).unwrap());
        scope.spawn(|| pty.write(&down));
        let at_device = scope.spawn(|| pty.read(up.len()));
        assert_same("from the device", &client.receive(down.len()), &down);
        assert_same("to the device", &at_device.join().unwrap(), &up);
    });
    // the end of its input ends the session: the device gets all of it
    input.write_all(b"last").unwrap();
    drop(input);
    assert_eq!(pty.read(4), b"last");
    client.child.kill().unwrap();
    broker.wait_metric("serbroker_port_clients", &[], 0);
}

#[test]
fn telnet_goes_through_tls() {
    let Some(keys) = Keys::new() else { return };
    keys.make("server", "broker.test");
    let (pty, port) = (Pty::new(), free_port());
    let accepter = format!("telnet(rfc2217),{}", keys.accepter("server", "server", port));
    let broker = Broker::start(&connection("tls", &accepter, pty.path(), &[]));
    let mut client = keys.connect(port, &keys.path("server.crt"), "broker.test");
    assert_eq!(
        client.receive(21),
        b"\xff\xfb\x03\xff\xfd\x03\xff\xfb\x01\xff\xfe\x01\xff\xfd\x00\xff\xfb\x00\xff\xfd\x2c"
    );
    broker.wait_device("tls", true);
    // SET-BAUDRATE 4800, then an escaped 255 as data
    client.send(b"\xff\xfb\x2c\xff\xfa\x2c\x01\x00\x00\x12\xc0\xff\xf0a\xff\xffb");
    assert_eq!(client.receive(7), b"\xff\xfa\x2c\x6b\x00\xff\xf0");
    assert_eq!(client.receive(10), b"\xff\xfa\x2c\x65\x00\x00\x12\xc0\xff\xf0");
    assert_eq!(pty.read(3), b"a\xffb");
    assert_eq!(pty.termios().output_speed(), 4800);
    pty.write(b"c\xffd");
    assert_eq!(client.receive(4), b"c\xff\xffd");
}

#[test]
fn who_does_not_speak_tls_harms_nobody() {
    let Some(keys) = Keys::new() else { return };
    keys.make("server", "broker.test");
    let (pty, port) = (Pty::new(), free_port());
    let broker = Broker::start(&connection(
        "tls",
        &keys.accepter("server", "server", port),
        pty.path(),
        &["max-connections: 2"],
    ));
    // these say nothing at all
    let silent: Vec<Client> = (0..20).map(|_| Client::connect(port)).collect();
    let mut first = keys.connect(port, &keys.path("server.crt"), "broker.test");
    broker.wait_device("tls", true);
    let mut plain = Client::connect(port);
    plain.send(b"GET / HTTP/1.0\r\n\r\n");
    let (text, _) = plain.rest();
    assert!(!text.windows(4).any(|w| w == b"HTTP") && text.len() < 16, "at most an alert: {text:x?}");
    broker.wait_metric("serbroker_port_refusals_total", &["reason=\"tls\""], 1);
    broker.log.wait(&["WARN", "TLS handshake failed"]);
    first.send(b"still");
    assert_eq!(pty.read(5), b"still");
    let mut second = keys.connect(port, &keys.path("server.crt"), "broker.test");
    broker.wait_metric("serbroker_port_clients", &[], 2);
    pty.write(b"both");
    assert_eq!((first.receive(4), second.receive(4)), (b"both".to_vec(), b"both".to_vec()));
    // the silent ones are closed in the end
    broker.wait_metric("serbroker_port_refusals_total", &["reason=\"tls\""], 21);
    drop(silent);
}

#[test]
fn a_key_of_another_certificate_keeps_the_port_closed() {
    let Some(keys) = Keys::new() else { return };
    keys.make("one", "one.test");
    keys.make("two", "two.test");
    let (pty, good, bad) = (Pty::new(), free_port(), free_port());
    let good_port = connection("good", &keys.accepter("one", "one", good), pty.path(), &[]);
    let broker =
        Broker::start(&(connection("bad", &keys.accepter("one", "two", bad), "/dev/null", &[]) + &good_port));
    let line = broker.log.wait(&["ERROR", "port=bad", "not listening"]);
    for part in ["one.key", "two.crt", "do not work together"] {
        assert!(line.contains(part), "{line}");
    }
    assert!(std::net::TcpStream::connect(("127.0.0.1", bad)).is_err());
    let (status, body) = get(broker.health, "/readyz").unwrap();
    assert!(status == 503 && body.contains("do not work together"), "{status} {body}");
    let mut client = keys.connect(good, &keys.path("one.crt"), "one.test");
    client.send(b"good");
    assert_eq!(pty.read(4), b"good");
    // the right files in their place, and the port opens
    for kind in ["key", "crt"] {
        let (from, to) = (keys.path(&format!("one.{kind}")), keys.path(&format!("two.{kind}")));
        fs::copy(from, to).unwrap();
    }
    broker.hang_up();
    wait_for("the port", || std::net::TcpStream::connect(("127.0.0.1", bad)).is_ok());
    wait_for("readiness", || get(broker.health, "/readyz").unwrap().0 == 200);
}

#[test]
fn a_new_certificate_is_used_after_sighup_and_old_connections_live() {
    let Some(keys) = Keys::new() else { return };
    keys.make("server", "old.test");
    fs::copy(keys.path("server.crt"), keys.path("old-ca.crt")).unwrap();
    let (pty, port) = (Pty::new(), free_port());
    let broker = Broker::start(&connection(
        "tls",
        &keys.accepter("server", "server", port),
        pty.path(),
        &["max-connections: 2"],
    ));
    let mut old = keys.connect(port, &keys.path("old-ca.crt"), "old.test");
    old.send(b"old");
    assert_eq!(pty.read(3), b"old");
    keys.make("server", "new.test");
    broker.hang_up();
    let mut new = keys.connect(port, &keys.path("server.crt"), "new.test");
    new.send(b"new");
    assert_eq!(pty.read(3), b"new");
    old.send(b"old again");
    assert_eq!(pty.read(9), b"old again");
    // nobody gets the old one any more
    let mut refused = keys.connect(port, &keys.path("old-ca.crt"), "old.test");
    let mut nothing = Vec::new();
    refused.output.read_to_end(&mut nothing).unwrap();
    assert!(nothing.is_empty() && !refused.child.wait().unwrap().success());
    // a bad pair is refused, and the one in use stays
    fs::write(keys.path("server.crt"), "nonsense").unwrap();
    broker.hang_up();
    broker.log.wait(&["ERROR", "the old certificate stays in use"]);
    drop(new);
    broker.wait_metric("serbroker_port_clients", &[], 1);
    pty.write(b"end");
    assert_eq!(old.receive(3), b"end");
    pty.silent_for(Duration::from_millis(50));
}

#[test]
fn the_admin_port_over_tls() {
    let Some(keys) = Keys::new() else { return };
    keys.make("admin", "localhost");
    let port = free_port();
    let config = |name: &str| {
        format!(
            "admin:\n  accepter: {}\n{}",
            keys.accepter(name, name, port),
            connection("a", "tcp,127.0.0.1,0", "/x", &[])
        )
    };
    let broker = Broker::start(&config("admin"));
    let answers = |ca: &Path| {
        let mut client = keys.connect(port, ca, "localhost");
        client.send(b"foo\r\n");
        client.receive(b"-> foo\r\nerror: Unknown command - foo\r\n-> ".len())
    };
    let answer = answers(&keys.path("admin.crt"));
    assert_eq!(String::from_utf8_lossy(&answer), "-> foo\r\nerror: Unknown command - foo\r\n-> ");
    // plain clients get nothing that is the admin port's, and certificates are read again
    let mut plain = Client::connect(port);
    plain.send(b"version\r\n");
    let (rest, _) = plain.rest();
    assert!(!String::from_utf8_lossy(&rest).contains("->"), "{rest:?}");
    let old = fs::read(keys.path("admin.crt")).unwrap();
    keys.make("admin", "localhost");
    assert_ne!(fs::read(keys.path("admin.crt")).unwrap(), old);
    broker.hang_up();
    assert!(!answers(&keys.path("admin.crt")).is_empty());
}
