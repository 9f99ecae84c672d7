//! Unix domain sockets.

use super::client;
use super::support::pty::Pty;
use super::support::{Broker, PATIENCE, connection, serbroker, tools, until, wait_for};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

fn connect(path: &Path) -> UnixStream {
    let stream = until("connecting", || UnixStream::connect(path).ok());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn start(pty: &Pty, path: &Path, accepter: &str, options: &[&str]) -> Broker {
    let accepter = format!("'{}{}'", accepter, path.display());
    Broker::start(&connection("s", &accepter, pty.path(), options))
}

#[test]
fn clients_socket_file_and_its_end() {
    let (pty, dir) = (Pty::new(), tempfile::tempdir().unwrap());
    let path = dir.path().join("console");
    let mut broker = start(&pty, &path, "unix(perm=660),", &["banner: \"<\\\\I>\""]);
    let made = std::fs::symlink_metadata(&path).unwrap();
    assert!(made.file_type().is_socket());
    assert_eq!(made.mode() & 0o777, 0o660);
    let mut stream = connect(&path);
    let mut banner = [0; 7];
    stream.read_exact(&mut banner).unwrap();
    assert_eq!(&banner, b"<unix,>");
    stream.write_all(b"hello").unwrap();
    assert_eq!(pty.read(5), b"hello");
    pty.write(b"world");
    let mut got = [0; 5];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"world");
    let mut second = connect(&path);
    let mut text = String::new();
    second.read_to_string(&mut text).unwrap();
    assert_eq!(text, "Port already in use\r\n");
    broker.log.wait(&["client unix refused"]);
    drop(stream);
    broker.wait_device("s", false);
    assert!(broker.terminate().0.success());
    assert!(!path.exists(), "the socket file stayed");
}

#[test]
fn netcat_socat_and_gensiot_talk_to_the_device() {
    let (pty, dir) = (Pty::new(), tempfile::tempdir().unwrap());
    let path = dir.path().join("console");
    let broker = start(&pty, &path, "unix,", &[]);
    let file = path.to_str().unwrap();
    let (address, place) = (format!("UNIX-CONNECT:{file}"), format!("unix,{file}"));
    for (program, package, args) in [
        ("nc", "netcat-openbsd", vec!["-U", file]),
        ("socat", "socat", vec!["-", &*address]),
        ("gensiot", "gensio-bin", vec!["-i", "stdio(self)", &*place]),
    ] {
        let Some((process, mut input)) = client(program, package, &args) else { continue };
        input.write_all(b"ping\n").unwrap();
        assert_eq!(pty.read(5), b"ping\n", "{program}");
        pty.write(b"pong\n");
        wait_for(program, || process.stdout.text() == "pong");
        drop((process, input));
        broker.wait_device("s", false);
    }
}

#[test]
fn tls_works_on_a_socket_file() {
    let (Some(openssl), pty) = (tools::tool("openssl", "openssl"), Pty::new()) else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (key, cert, path) = (file("key.pem"), file("cert.pem"), file("tls"));
    let made = Command::new(&openssl)
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-subj", "/CN=localhost", "-days", "2", "-keyout", &key, "-out", &cert])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let _broker = start(&pty, Path::new(&path), &format!("ssl(key={key},cert={cert}),unix,"), &[]);
    let args = ["s_client", "-quiet", "-unix", &path, "-CAfile", &cert, "-verify_return_error"];
    let Some((process, mut input)) = client("openssl", "openssl", &args) else { return };
    input.write_all(b"ping\n").unwrap();
    assert_eq!(pty.read(5), b"ping\n");
    pty.write(b"pong\n");
    wait_for("the answer", || process.stdout.text() == "pong");
}

#[test]
fn what_a_killed_program_left_is_removed_where_that_is_asked_for() {
    let (pty, dir) = (Pty::new(), tempfile::tempdir().unwrap());
    let path = dir.path().join("console");
    let mut killed = start(&pty, &path, "unix,", &[]);
    killed.process.signal(Signal::KILL);
    killed.process.ended();
    assert!(path.exists());
    let stuck = start(&pty, &path, "unix,", &[]);
    stuck.log.wait(&["cannot listen on", "delsock"]);
    drop(stuck);
    let _broker = start(&pty, &path, "unix(delsock),", &[]);
    connect(&path).write_all(b"x").unwrap();
    assert_eq!(pty.read(1), b"x");
}

#[test]
fn an_unchanged_port_keeps_its_file_over_a_reload_and_a_removed_one_does_not() {
    let (pty, dir) = (Pty::new(), tempfile::tempdir().unwrap());
    let path = dir.path().join("console");
    let broker = start(&pty, &path, "unix,", &[]);
    let before = std::fs::symlink_metadata(&path).unwrap().ino();
    broker.hang_up();
    assert_eq!(std::fs::symlink_metadata(&path).unwrap().ino(), before);
    broker.reload("");
    wait_for("removal of the file", || !path.exists());
}

#[test]
fn check_names_the_way_out() {
    for (accepter, help) in [
        ("unix", "unix,/run/serbroker/console"),
        ("mux,tcp,2000", "a connection with a port of its own"),
        ("sctp,2000", "use tcp"),
        ("unixdgm,/tmp/x", "use unix"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.yaml");
        std::fs::write(&file, connection("c", accepter, "/dev/null", &[])).unwrap();
        let output = serbroker().arg("check").arg(&file).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{accepter}: {text}");
        assert!(text.contains(help), "{accepter}: {text}");
    }
}
