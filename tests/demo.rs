//! `serbroker demo`, and the commands that it prints.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use rustix::process::Signal;
use std::fs;
use std::process::Command;
use std::time::Instant;
use support::net::{Client, get};
use support::{Process, serbroker, tools, wait_for};

const STX: u8 = 2;
const ETX: u8 = 3;

/// The port number in the printed line that has `what`, behind the last `mark`.
#[track_caller]
fn port(text: &str, what: &str, mark: &str) -> u16 {
    let line =
        text.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("no {what} in\n{text}"));
    let after = line.split(mark).nth(1).unwrap();
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// Takes a historic TIC frame apart: its groups, each with a right checksum.
#[track_caller]
fn groups(frame: &[u8]) -> Vec<(String, String)> {
    assert_eq!((frame.first(), frame.last()), (Some(&STX), Some(&ETX)));
    let inner = std::str::from_utf8(&frame[1..frame.len() - 1]).unwrap();
    let group = |text: &str| {
        let text = text.strip_prefix('\n').expect("a group begins with LF");
        let (content, sum) = text.split_at(text.len() - 2);
        // Enedis-NOI-CPT_54E: the sum of label, space and value, its low six bits, above 0x20
        let expected = (content.bytes().map(u32::from).sum::<u32>() & 0x3f) + 0x20;
        assert_eq!(sum.as_bytes(), [b' ', u8::try_from(expected).unwrap()], "{text}");
        let (label, value) = content.split_once(' ').unwrap();
        (label.to_owned(), value.to_owned())
    };
    inner.split_terminator('\r').map(group).collect()
}

/// The first whole frame that comes.
#[track_caller]
fn frame(client: &mut Client) -> Vec<u8> {
    let before = client.receive_until(&[STX]);
    assert!(!before[..before.len() - 1].contains(&STX));
    let mut frame = vec![STX];
    frame.extend(client.receive_until(&[ETX]));
    frame
}

#[test]
fn demo_does_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let mut demo = Process::start(serbroker().arg("demo").env("TMPDIR", dir.path()));
    demo.stdout.wait(&["Ctrl-C ends the demo"]);
    let text = demo.stdout.text();
    let metrics = port(&text, "/metrics", "http://127.0.0.1:");
    wait_for("readiness", || get(metrics, "/readyz").is_ok_and(|(status, _)| status == 200));
    eprintln!("demo: ready after {:?}", begun.elapsed());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "one directory");

    // nc to the meter; a second one sees the same
    let meter = port(&text, "the meter's frames", "nc 127.0.0.1 ");
    let (mut one, mut two) = (Client::connect(meter), Client::connect(meter));
    let first = groups(&frame(&mut one));
    let labels: Vec<&str> = first.iter().map(|(label, _)| label.as_str()).collect();
    for label in ["ADCO", "BASE", "IINST", "PAPP"] {
        assert!(labels.contains(&label), "{labels:?}");
    }
    assert_eq!(groups(&frame(&mut two)).len(), first.len());

    // nc to the echo device
    let mut echo = Client::connect(port(&text, "comes back", "nc 127.0.0.1 "));
    echo.send(b"hello\r\n");
    assert_eq!(echo.receive(7), b"hello\r\n");

    // telnet: the same, behind the negotiation
    let mut telnet = Client::connect(port(&text, "through telnet", "telnet 127.0.0.1 "));
    assert_eq!(telnet.receive(21)[..3], *b"\xff\xfb\x03");
    telnet.send(b"hi\r\n");
    assert_eq!(telnet.receive(4), b"hi\r\n");

    // curl
    assert_eq!(get(metrics, "/readyz").unwrap().0, 200);
    let (status, body) = get(metrics, "/metrics").unwrap();
    assert_eq!(status, 200);
    assert!(
        body.contains("serbroker_port_bytes_total{direction=\"from_clients\",port=\"echo\"} 7"),
        "{body}"
    );

    // the printed Python script, as it is printed
    if let Some(python) = tools::python() {
        let script = text.split("python3 -c '\n").nth(1).and_then(|t| t.split("\n'").next()).unwrap();
        let begun = Instant::now();
        let output = Command::new(python).args(["-c", script]).output().unwrap();
        eprintln!("demo: the pyserial script took {:?}", begun.elapsed());
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{out}{err}");
        assert!(out.starts_with("b'") && out.contains("PAPP") && out.trim_end().ends_with("\\x03'"), "{out}");
    }

    let begun = Instant::now();
    demo.signal(Signal::INT);
    let status = demo.ended();
    eprintln!("demo: ended after {:?}", begun.elapsed());
    assert_eq!(status.code(), Some(0));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
}
