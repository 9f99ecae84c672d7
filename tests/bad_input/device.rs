//! Devices that cannot be opened: the log says why and what helps, the client gets ser2net's words.

use crate::kit::{Daemon, PROGRAM, Pty, connection, is_root, read_to_close, skip};
use rustix::fs::{FlockOperation, flock};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// A client of a port with this device gets `text`, and the log holds `parts`.
fn refused(device: &str, text: &str, parts: &[&str]) {
    let mut daemon = Daemon::start(&connection("port", "tcp,127.0.0.1,0", device, &[]));
    opening_fails(&mut daemon, text, parts);
    daemon.finish();
}

fn opening_fails(daemon: &mut Daemon, text: &str, parts: &[&str]) {
    // twice: a failure must leave nothing behind that makes the second one another
    for _ in 0..2 {
        let mut client = daemon.connect("port");
        let got = daemon.meanwhile(move || read_to_close(&mut client));
        assert_eq!(String::from_utf8_lossy(&got), format!("Device open failure: {text}\r\n"));
    }
    let line = daemon.logged(parts);
    assert!(line.ends_with("port=port"), "{line}");
}

#[test]
fn missing() {
    let parts = ["/dev/no-such-port: cannot open the device: no such device", "plugged in"];
    refused("/dev/no-such-port", "Value or file not found", &parts);
}

#[test]
fn no_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "data").unwrap();
    for path in [Path::new("/dev/null"), &file, dir.path()] {
        let path = path.to_str().unwrap();
        let parts = [path, "it is not a terminal device; a serial port is needed"];
        refused(path, "OS error, see logs", &parts);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "data");
}

#[test]
fn no_permission() {
    if !is_root() {
        return skip("a device of another user: needs root");
    }
    let pty = Pty::new();
    // the terminal is handed to a group that the broker is not in
    nix::unistd::chown(Path::new(&pty.path), Some(0.into()), Some(20.into())).unwrap();
    fs::set_permissions(&pty.path, fs::Permissions::from_mode(0o660)).unwrap();
    let program = tempfile::tempdir().unwrap();
    fs::set_permissions(program.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = program.path().join("serbroker");
    fs::copy(PROGRAM, &copy).unwrap();
    let ports = connection("port", "tcp,127.0.0.1,0", &pty.path, &[]);
    let mut daemon = Daemon::start_by(&ports, |config| {
        for path in [config.parent().unwrap(), config] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        // its terminal belongs to root: the undisturbed port needs one that everybody may use
        let text = fs::read_to_string(config).unwrap();
        let witness = text.split("serialdev,").nth(1).unwrap().split(',').next().unwrap();
        fs::set_permissions(witness, fs::Permissions::from_mode(0o666)).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(&copy).args(["-n", "-c"]).arg(config);
        command
    });
    let parts = [
        pty.path.as_str(),
        "Permission denied",
        "its mode is 0660, owner root, group dialout",
        "we are nobody in nogroup",
        "usermod -a -G dialout nobody",
    ];
    opening_fails(&mut daemon, "Permission denied", &parts);
    daemon.finish();
}

#[test]
fn in_use_by_another_process() {
    let pty = Pty::new();
    flock(&pty.slave, FlockOperation::NonBlockingLockExclusive).unwrap();
    let mut daemon = Daemon::start(&connection("port", "tcp,127.0.0.1,0", &pty.path, &[]));
    let holder = format!("in use by process {}", std::process::id());
    opening_fails(&mut daemon, "Object was already in use", &[&pty.path, &holder]);
    // as soon as it is free it can be used
    flock(&pty.slave, FlockOperation::Unlock).unwrap();
    let mut client = daemon.connect("port");
    std::io::Write::write_all(&mut client, b"hello").unwrap();
    assert_eq!(pty.read(5), b"hello");
    daemon.finish();
}

#[test]
fn lock_files_of_other_programs() {
    let pty = Pty::new();
    // under /dev/pts there are no lock files; a name elsewhere has one
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().join("port");
    std::os::unix::fs::symlink(&pty.path, &name).unwrap();
    let name = name.to_str().unwrap();
    let lock = Path::new("/var/lock").join(format!("LCK..{}", name.replace('/', "_")));
    if let Err(e) = fs::write(&lock, format!("{:10}\n", std::process::id())) {
        return skip(&format!("lock files: {} cannot be written: {e}", lock.display()));
    }
    let mut daemon = Daemon::start(&connection("port", "tcp,127.0.0.1,0", name, &[]));
    let holder = format!("in use by process {}", std::process::id());
    opening_fails(&mut daemon, "Object was already in use", &[name, &holder]);
    fs::write(&lock, "not a number\n").unwrap();
    opening_fails(&mut daemon, "Value or file not found", &[name, "does not hold a process number"]);
    // a process that has ended holds nothing
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    fs::write(&lock, format!("{:10}\n", gone.id())).unwrap();
    let mut client = daemon.connect("port");
    std::io::Write::write_all(&mut client, b"hello").unwrap();
    assert_eq!(pty.read(5), b"hello");
    daemon.logged(&["removing the lock file", &gone.id().to_string()]);
    daemon.finish();
    assert!(!lock.exists(), "the lock file of the broker is gone with it");
}
