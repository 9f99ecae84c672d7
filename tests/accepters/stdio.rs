//! Standard input and output as the client, as under inetd.

use super::support::pty::Pty;
use super::support::{Process, connection, free_port, net, serbroker, tools, wait_for};
use std::io::Write;
use std::process::{Command, Stdio};

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

/// Starts `program` with `args` that make it run serbroker on `config` for whoever connects to a port.
fn superserver(
    dir: &tempfile::TempDir,
    config: &str,
    (program, package): (&str, &str),
    args: impl Fn(u16, &str) -> Vec<String>,
) -> Option<(Process, u16)> {
    let path = tools::tool(program, package)?;
    let (file, port) = (dir.path().join("c.yaml"), free_port());
    std::fs::write(&file, config).unwrap();
    let command = format!("{} -n -u -c {}", env!("CARGO_BIN_EXE_serbroker"), file.display());
    let mut command_line = Command::new(path);
    command_line.args(args(port, &command)).env_remove("RUST_LOG").env_remove("NOTIFY_SOCKET");
    Some((Process::start(command_line.stdin(Stdio::null())), port))
}

/// Every byte there is goes through both ways, and the end of the client is that of the program.
fn goes_through(pty: &Pty, port: u16, rounds: usize) {
    for round in 0..rounds {
        let mut client = net::Client::connect(port);
        let (up, down) = (super::support::pattern(3000, 1), super::support::pattern(3000, 2));
        client.send(&up);
        super::support::assert_same("up", &pty.read(up.len()), &up);
        pty.write(&down);
        super::support::assert_same(&format!("down, round {round}"), &client.receive(down.len()), &down);
        client.half_close();
        let (rest, end) = client.rest();
        assert_eq!((rest.len(), end), (0, net::End::Fin));
    }
}

#[test]
fn a_superserver_starts_it_for_each_client() {
    let (pty, dir) = (Pty::new(), tempfile::tempdir().unwrap());
    let config = connection("s", "stdio", pty.path(), &[]);
    let started = superserver(&dir, &config, ("systemd-socket-activate", "systemd"), |port, command| {
        let place = format!("--listen=127.0.0.1:{port}");
        let mut args = vec!["--inetd".to_owned(), "--accept".to_owned(), place];
        args.extend(command.split(' ').map(str::to_owned));
        args
    });
    if let Some((_process, port)) = started {
        goes_through(&pty, port, 2);
    }
}

#[test]
fn a_terminal_in_raw_mode_lets_every_byte_through() {
    let (pty, dir) = (Pty::new(), tempfile::tempdir().unwrap());
    let config = connection("s", "stdio(raw)", pty.path(), &[]);
    // its standard input is a new terminal that echoes, edits lines and knows Ctrl-C; the device
    // speaks first, so that raw mode is there when the client does
    let started = superserver(&dir, &config, ("socat", "socat"), |port, command| {
        let (listen, exec) = (
            format!("TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr"),
            format!("EXEC:{command},pty,setsid,ctty"),
        );
        vec![listen, exec]
    });
    let Some((mut process, port)) = started else { return };
    let mut client = net::Client::connect(port);
    pty.write(b"ready");
    assert_eq!(client.receive(5), b"ready");
    let (up, down) = (super::support::pattern(3000, 1), super::support::pattern(3000, 2));
    client.send(&up);
    super::support::assert_same("up", &pty.read(up.len()), &up);
    pty.write(&down);
    super::support::assert_same("down", &client.receive(down.len()), &down);
    drop(client);
    assert!(process.ended().success(), "and it ends with its client: {}", process.stderr.text());
}
