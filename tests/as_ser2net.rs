//! The built program under the name ser2net: in the background, with a pid file, with syslog.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use support::net::{Client, End};
use support::pty::Pty;
use support::{PATIENCE, free_port, until, wait_for};

/// The program in a directory of its own, where its name is ser2net.
struct Ser2net {
    dir: tempfile::TempDir,
    /// Of the process in the background.
    pid: Option<Pid>,
}

impl Ser2net {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        symlink(env!("CARGO_BIN_EXE_serbroker"), dir.path().join("ser2net")).unwrap();
        Self { dir, pid: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.path("ser2net"));
        command.env_remove("RUST_LOG").env_remove("NOTIFY_SOCKET").current_dir(self.dir.path());
        command
    }

    /// Runs a command that goes into the background and returns what it said until then.
    fn start(&mut self, command: &mut Command) -> String {
        let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(stderr).unwrap();
        assert!(status.success() && stdout.is_empty(), "{status}: {said}");
        let file = self.path("pid");
        let text = until("the pid file", || fs::read_to_string(&file).ok().filter(|t| t.ends_with('\n')));
        self.pid = Pid::from_raw(text.trim().parse().unwrap());
        said
    }

    fn pid(&self) -> Pid {
        self.pid.unwrap()
    }

    fn end(&mut self) {
        let pid = self.pid();
        kill_process(pid, Signal::TERM).unwrap();
        // its parent is init, or whoever stands in for it, so that it may stay as a zombie
        wait_for("its end", || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
            stat.map_or(true, |text| text.contains(") Z "))
        });
        assert!(!self.path("pid").exists(), "the pid file is removed");
        self.pid = None;
    }
}

impl Drop for Ser2net {
    fn drop(&mut self) {
        if let Some(pid) = self.pid.filter(|pid| test_kill_process(*pid).is_ok()) {
            // a test failed; it may be gone already
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// A file such as a distribution ships: a define in a banner, folded connectors, two speeds for each
/// device, devices that this machine may not have.
fn shipped_file(ports: [u16; 4]) -> String {
    let mut text =
        "%YAML 1.1\n---\n# sample\ndefine: &banner \\r\\nport \\p device \\d [\\B]\\r\\n\n\n".to_owned();
    for (index, port) in ports.into_iter().enumerate() {
        let (device, speed) = (index % 2, if index < 2 { "9600" } else { "19200" });
        let _ = write!(
            text,
            "connection: &con{index}\n    accepter: tcp,localhost,{port}\n    enable: on\n    options:\n      \
             banner: *banner\n      kickolduser: true\n      telnet-brk-on-sync: true\n    \
             connector: serialdev,\n              /dev/no-such-tty{device},\n              {speed}n81,local\n\n"
        );
    }
    text
}

#[test]
fn a_shipped_file_runs_in_the_background() {
    let mut broker = Ser2net::new();
    let ports = [free_port(), free_port(), free_port(), free_port()];
    let config = broker.write("ser2net.yaml", &shipped_file(ports));
    // paths are those of the starter, but for the pid file's: ser2net changes to / before it writes that
    let pid_file = broker.path("pid");
    let mut command = broker.command();
    command.arg("-c").arg(config.file_name().unwrap()).arg("-P").arg(&pid_file);
    let said = broker.start(&mut command);
    assert!(!said.contains("error: "), "{said}");
    let pid = broker.pid();
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), Path::new("/"));
    for fd in 0..3 {
        assert_eq!(fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap(), Path::new("/dev/null"));
    }
    for port in ports {
        let (text, end) = Client::connect(port).rest();
        assert_eq!(String::from_utf8_lossy(&text), "Device open failure: Value or file not found\r\n");
        assert_eq!(end, End::Fin);
    }
    // the file is found again although the working directory is another one
    let (pty, port) = (Pty::new(), free_port());
    let text =
        format!("connection: &new\n  accepter: tcp,{port}\n  connector: serialdev,{},local\n", pty.path());
    fs::write(&config, text).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    let mut client = Client::connect(port);
    client.send(b"reloaded");
    assert_eq!(pty.read(8), b"reloaded");
    broker.end();
    assert_eq!(client.rest(), (Vec::new(), End::Fin));
}

#[test]
fn the_file_of_debian_is_good() {
    let file = Path::new("/etc/ser2net.yaml");
    let Ok(text) = fs::read_to_string(file) else {
        eprintln!("skipped: Debian's ser2net is not installed");
        return;
    };
    let mut broker = Ser2net::new();
    let mut ports = Vec::new();
    let text: String = text
        .lines()
        .map(|line| match line.trim().strip_prefix("accepter:") {
            Some(_) => {
                ports.push(free_port());
                format!("    accepter: tcp,localhost,{}\n", ports[ports.len() - 1])
            }
            None => format!("{line}\n"),
        })
        .collect();
    assert!(!ports.is_empty(), "{text}");
    let config = broker.write("ser2net.yaml", &text);
    let pid_file = broker.path("pid");
    let mut command = broker.command();
    // as its init script starts it
    let said = broker.start(command.arg("-c").arg(config).arg("-P").arg(pid_file));
    assert!(!said.contains("error: "), "{said}");
    for port in ports {
        until("listening", || std::net::TcpStream::connect(("localhost", port)).ok());
    }
    broker.end();
}

#[test]
fn mistakes_are_seen_by_the_starter() {
    let mut broker = Ser2net::new();
    let port = free_port();
    let text = format!(
        "connection: &a\n  accepter: tcp,{port}\n  connector: serialdev,/dev/x,local\nconnection: &b\n  \
         accepter: tcp,{port}\n  connector: serialdev,/dev/y,lokal\n"
    );
    let config = broker.write("ser2net.yaml", &text);
    let pid_file = broker.path("pid");
    let mut command = broker.command();
    let said = broker.start(command.arg("-c").arg(&config).arg("-P").arg(pid_file));
    assert!(said.contains("unknown option 'lokal'") && said.contains("ser2net.yaml"), "{said}");
    Client::connect(port);
    broker.end();
    // what cannot be used at all ends it before it goes into the background
    fs::write(&config, "\tx: [").unwrap();
    let output = broker.command().arg("-c").arg(&config).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let output = broker.command().args(["-c", "/nonexistent/file"]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("/nonexistent/file"), "{said}");
}

#[test]
fn a_pid_file_that_cannot_be_written_is_no_reason_not_to_run() {
    let broker = Ser2net::new();
    let port = free_port();
    let text = format!("connection: &a\n  accepter: tcp,{port}\n  connector: serialdev,/dev/x,local\n");
    let config = broker.write("ser2net.yaml", &text);
    let mut command = broker.command();
    command.args(["-n", "-d", "-P"]).arg(broker.path("no/pid")).arg("-c").arg(config);
    let mut process = support::Process::start(command.stdin(Stdio::null()));
    process.stderr.wait(&["no pid file", "no/pid"]);
    Client::connect(port);
    process.signal(Signal::TERM);
    assert_eq!(process.ended().code(), Some(0));
}

/// Gives the command that follows a `/dev` in which `log` is the socket `$1`.
const WITH_SYSLOG: &str = "set -e
mount -t tmpfs none \"$2\"
ln -s \"$1\" \"$2/log\"
for name in null urandom; do touch \"$2/$name\"; mount --bind \"/dev/$name\" \"$2/$name\"; done
mkdir \"$2/pts\"
mount --bind /dev/pts \"$2/pts\"
mount --rbind \"$2\" /dev
shift 2
exec \"$@\"";

#[test]
fn the_log_goes_to_syslog_and_does_not_flood_it() {
    let permitted = Command::new("unshare").args(["--mount", "--map-root-user", "true"]).output();
    if !permitted.is_ok_and(|o| o.status.success()) {
        eprintln!("skipped: no mount namespaces");
        return;
    }
    let mut broker = Ser2net::new();
    let port = free_port();
    let text =
        format!("connection: &gone\n  accepter: tcp,{port}\n  connector: serialdev,/nonexistent/tty\n");
    let config = broker.write("ser2net.yaml", &text);
    fs::create_dir(broker.path("dev")).unwrap();
    let syslog = UnixDatagram::bind(broker.path("log")).unwrap();
    // the system keeps ten of them for a reader that is not there, and the broker never waits for one
    let (sender, received) = mpsc::channel();
    std::thread::spawn(move || {
        let mut packet = [0; 2048];
        while let Ok(length) = syslog.recv(&mut packet) {
            if sender.send(String::from_utf8(packet[..length].to_vec()).unwrap()).is_err() {
                break;
            }
        }
    });
    let line = || received.recv_timeout(PATIENCE).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", WITH_SYSLOG, "sh"]);
    command.arg(broker.path("log")).arg(broker.path("dev")).arg(broker.path("ser2net"));
    command.arg("-c").arg(config).arg("-P").arg(broker.path("pid"));
    command.env_remove("RUST_LOG").env_remove("NOTIFY_SOCKET").env_remove("JOURNAL_STREAM");
    assert_eq!(broker.start(&mut command), "");
    let pid = broker.pid();
    // facility daemon, severity informational
    assert!(line().starts_with(&format!("<30>ser2net[{pid}]: serbroker ")));
    for _ in 0..20 {
        let (text, _) = Client::connect(port).rest();
        assert!(text.starts_with(b"Device open failure"));
    }
    kill_process(pid, Signal::HUP).unwrap();
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line: &String| !line.contains("SIGHUP")) {
        lines.push(line());
    }
    let about = |word: &str| lines.iter().filter(|line| line.contains(word)).count();
    assert_eq!(about("/nonexistent/tty"), 1, "{lines:#?}");
    assert!(lines.iter().all(|line| line.contains(&format!(">ser2net[{pid}]: "))), "{lines:#?}");
    broker.end();
    while !line().contains("SIGTERM") {}
}
