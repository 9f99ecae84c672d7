//! Standard input and output as the client, as under inetd.

use super::support::pty::Pty;
use super::support::{Process, connection, free_port, net, serbroker, wait_for};
use std::io::Write;
use std::process::Stdio;

fn start(dir: &tempfile::TempDir, config: &str) -> Process {
    let file = dir.path().join("c.yaml");
    std::fs::write(&file, format!("%YAML 1.1\n---\n{config}")).unwrap();
    Process::start(serbroker().args(["-n", "-u", "-c"]).arg(&file).stdin(Stdio::piped()))
}

#[test]
fn the_program_is_the_client_and_ends_with_its_input() {
    for (accepter, opening) in
        [("stdio", "".as_bytes()), ("telnet,stdio", b"\xff\xfb\x03\xff\xfd\x03\xff\xfb\x01\xff\xfe\x01")]
    {
        let (pty, dir) = (Pty::new(), tempfile::tempdir().unwrap());
        let port = free_port();
        let spare = Pty::new();
        let config = connection("s", accepter, pty.path(), &["banner: \"<\\\\I>\\\\n\""])
            + &connection("t", &format!("tcp,127.0.0.1,{port}"), spare.path(), &[]);
        let mut process = start(&dir, &config);
        let mut input = process.child.stdin.take().unwrap();
        input.write_all(b"abc").unwrap();
        assert_eq!(pty.read(3), b"abc", "{accepter}");
        pty.write(b"xyz\n");
        wait_for("the device's answer", || process.stdout.text().ends_with("xyz"));
        let text = process.stdout.text();
        assert!(text.contains("<stdio(self)>"), "{accepter}: {text}");
        assert!(text.starts_with(&*String::from_utf8_lossy(opening)), "{accepter}: {text:?}");
        let _other = net::Client::connect(port);
        input.write_all(b"last words").unwrap();
        drop(input);
        assert_eq!(pty.read(10), b"last words", "what was sent before the end arrives");
        assert_eq!(process.ended().code(), Some(0), "{accepter}");
    }
}

#[test]
fn all_bytes_of_a_file_arrive() {
    let (pty, dir) = (Pty::new(), tempfile::tempdir().unwrap());
    let config = dir.path().join("c.yaml");
    std::fs::write(&config, connection("s", "stdio", pty.path(), &[])).unwrap();
    let data = super::support::pattern(50_000, 3);
    let file = dir.path().join("data");
    std::fs::write(&file, &data).unwrap();
    let input = std::fs::File::open(&file).unwrap();
    let mut process = Process::start(serbroker().args(["-n", "-u", "-c"]).arg(&config).stdin(input));
    assert_eq!(pty.read(data.len()), data);
    assert_eq!(process.ended().code(), Some(0));
}

#[test]
fn raw_mode_wants_a_terminal_and_two_cannot_have_it() {
    let (pty, dir) = (Pty::new(), tempfile::tempdir().unwrap());
    let process = start(&dir, &connection("s", "stdio(raw)", pty.path(), &[]));
    process.stderr.wait(&["cannot use standard input"]);
    drop(process);
    let other = Pty::new();
    let config = connection("a", "stdio", pty.path(), &[]) + &connection("b", "stdio", other.path(), &[]);
    let process = start(&dir, &config);
    process.stderr.wait(&["port=b", "standard input was in use before"]);
}
