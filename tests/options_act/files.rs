//! Trace files, and options that are refused with certain values.

use crate::support::net::Client;
use crate::support::pty::Pty;
use crate::support::{Broker, connection, free_port, serbroker};
use std::fs;

/// What stands in the three trace files after the device said `dev` and the client `net`.
fn traced(options: &[&str]) -> [String; 3] {
    let pty = Pty::new();
    let port = free_port();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let options: Vec<String> =
        options.iter().map(|option| option.replace("DIR", &dir.path().display().to_string())).collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let broker = Broker::start(&connection("p", &format!("tcp,127.0.0.1,{port}"), pty.path(), &options));
    let mut client = Client::connect(port);
    broker.wait_device("p", true);
    pty.write(b"dev");
    assert_eq!(client.receive(3), b"dev");
    client.send(b"net");
    assert_eq!(pty.read(3), b"net");
    drop(client);
    broker.wait_device("p", false);
    let mut broker = broker;
    // what is traced is on the disk when it has ended
    broker.terminate();
    ["r", "w", "b"].map(|name| fs::read_to_string(path(name)).unwrap_or_default())
}

/// Without the times.
fn plain(text: &str) -> String {
    text.lines().map(|line| line.get(20..).unwrap_or("?")).collect::<Vec<_>>().join("\n")
}

const ALL: [&str; 3] = ["trace-read: 'DIR/r'", "trace-write: 'DIR/w'", "trace-both: 'DIR/b'"];
const DEV: &str = "term 64 65 76                 |dev|\n";
const NET: &str = "tcp  6e 65 74                 |net|\n";

fn with(option: &str) -> [String; 3] {
    traced(&[ALL[0], ALL[1], ALL[2], option])
}

pub(crate) fn trace_read() {
    assert_eq!(traced(&ALL[..1]), ["dev", "", ""]);
}

pub(crate) fn trace_write() {
    assert_eq!(traced(&ALL[1..2]), ["", "net", ""]);
}

pub(crate) fn trace_both() {
    assert_eq!(traced(&ALL[2..]), ["", "", "devnet"]);
}

pub(crate) fn trace_hexdump() {
    assert_eq!(with("trace-hexdump: true"), [DEV.to_owned(), NET.to_owned(), format!("{DEV}{NET}")]);
}

pub(crate) fn trace_read_hexdump() {
    assert_eq!(with("trace-read-hexdump: true"), [DEV, "net", "devnet"]);
}

pub(crate) fn trace_write_hexdump() {
    assert_eq!(with("trace-write-hexdump: true"), ["dev", NET, "devnet"]);
}

pub(crate) fn trace_both_hexdump() {
    assert_eq!(with("trace-both-hexdump: true"), ["dev".to_owned(), "net".to_owned(), format!("{DEV}{NET}")]);
}

/// Which of the three files have times.
fn timed(files: &[String; 3]) -> [bool; 3] {
    let [r, w, b] = files;
    [r, w, b].map(|text| {
        let has = plain(text).starts_with("OPEN (ipv4,127.0.0.1,");
        assert_eq!(has, text.contains("CLOSE port (All users disconnected)\n"), "{text}");
        has
    })
}

pub(crate) fn trace_timestamp() {
    assert_eq!(timed(&with("trace-timestamp: true")), [true, true, true]);
}

pub(crate) fn trace_read_timestamp() {
    assert_eq!(timed(&with("trace-read-timestamp: true")), [true, false, false]);
}

pub(crate) fn trace_write_timestamp() {
    assert_eq!(timed(&with("trace-write-timestamp: true")), [false, true, false]);
}

pub(crate) fn trace_both_timestamp() {
    assert_eq!(timed(&with("trace-both-timestamp: true")), [false, false, true]);
}

/// What `check` says about an accepter, and whether it is content.
fn checked(accepter: &str) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f.yaml");
    fs::write(&file, connection("p", accepter, "/dev/null", &[])).unwrap();
    let output = serbroker().arg("check").arg(&file).output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

pub(crate) fn mode_client_is_refused() {
    assert!(checked("ssl(mode=server),tcp,1").0);
    let (good, text) = checked("ssl(mode=client),tcp,1");
    assert!(!good && text.contains("client mode"), "{text}");
}

pub(crate) fn allow_authfail_is_refused() {
    assert!(checked("ssl(clientauth,CA=/ca.pem),tcp,1").0);
    let (good, text) = checked("ssl(clientauth,CA=/ca.pem,allow-authfail),tcp,1");
    assert!(!good && text.contains("invalid certificates"), "{text}");
}
