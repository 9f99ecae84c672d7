//! Locks: who has a device open keeps others from it.

use crate::pty::{PATIENCE, Pty, config, refusal};
use serbroker::serial::OpenErrorKind;
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Instant;

#[test]
fn one_device_is_opened_once_whatever_its_name() {
    let pty = Pty::new();
    let first = pty.open(&config(&pty.link("one"))).unwrap();
    for name in [pty.path.clone(), pty.link("two")] {
        let error = refusal(pty.open(&config(&name)));
        assert!(matches!(error.kind, OpenErrorKind::InUse { .. }), "{error}");
        assert_eq!(error.client_text(), "Object was already in use");
        assert!(error.to_string().contains("/one open"), "{error}");
    }
    drop(first);
    pty.opened(&config(&pty.path));
}

#[test]
fn lock_file_while_open() {
    let pty = Pty::new();
    let link = pty.link("tty");
    let file = pty.dir.path().join(format!("LCK..{}", link.replace('/', "_")));
    let opened = pty.opened(&config(&link));
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{:10}\n", std::process::id()));
    drop(opened);
    assert!(!file.exists());

    let mut without = config(&link);
    without.uucp_lock = false;
    let _opened = pty.opened(&without);
    assert!(!file.exists());
}

#[test]
fn foreign_lock_files() {
    let pty = Pty::new();
    let link = pty.link("tty");
    let file = pty.dir.path().join(format!("LCK..{}", link.replace('/', "_")));

    let mut living = Command::new("sleep").arg("60").spawn().unwrap();
    // the child has the name of this thread until it has become the other program
    let name = format!("/proc/{}/comm", living.id());
    while fs::read_to_string(&name).unwrap() != "sleep\n" {
        std::thread::yield_now();
    }
    fs::write(&file, format!("{:10}\n", living.id())).unwrap();
    let error = refusal(pty.open(&config(&link)));
    let who = format!("process {} (sleep)", living.id());
    living.kill().unwrap();
    living.wait().unwrap();
    assert_eq!(error.client_text(), "Object was already in use");
    assert!(error.to_string().contains(&who), "{error}");

    // dead by now
    drop(pty.opened(&config(&link)));

    fs::write(&file, "garbage\n").unwrap();
    let error = refusal(pty.open(&config(&link)));
    assert_eq!(error.client_text(), "Value or file not found");
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
}

#[test]
fn a_lock_of_another_process_is_in_use_and_names_it() {
    let pty = Pty::new();
    // flock(1) holds the lock until its input ends
    let mut other = Command::new("flock")
        .args(["--exclusive", &pty.path, "sh", "-c", "echo locked; cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("flock(1) of util-linux");
    let mut word = [0; 7];
    other.stdout.as_mut().unwrap().read_exact(&mut word).unwrap();
    let error = refusal(pty.open(&pty.config()));
    drop(other.stdin.take());
    other.wait().unwrap();
    assert_eq!(error.client_text(), "Object was already in use");
    assert!(error.to_string().contains("in use by process "), "{error}");
    drop(pty.open_local());
}

#[test]
fn we_lock_against_others_while_open() {
    let pty = Pty::new();
    let try_lock = || {
        let status = Command::new("flock").args(["--nonblock", &pty.path, "true"]).status();
        status.expect("flock(1) of util-linux").success()
    };
    let exclusive = || exclusive_flag(&pty.path);
    let opened = pty.open_local();
    assert!(!try_lock());
    assert_ne!(exclusive(), Some(false));
    drop(opened);
    let begun = Instant::now();
    while !try_lock() {
        assert!(begun.elapsed() < PATIENCE);
    }
    assert_ne!(exclusive(), Some(true));
}

/// Whether the exclusive flag is set, asked by another process; `None` without python3.
fn exclusive_flag(path: &str) -> Option<bool> {
    // only root can open the device to look at the flag; for others the refusal tells it
    let script = "import fcntl,os,struct,sys\n\
        try: fd = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)\n\
        except OSError as e: print(int(e.errno == 16)); sys.exit()\n\
        print(struct.unpack('I', fcntl.ioctl(fd, 0x80045440, bytes(4)))[0])";
    let Ok(out) = Command::new("python3").args(["-c", script, path]).output() else {
        println!("skipped: no python3 to look at the exclusive flag with");
        return None;
    };
    match String::from_utf8(out.stdout).unwrap().trim() {
        "1" => Some(true),
        "0" => Some(false),
        other => panic!("{other:?} {}", String::from_utf8_lossy(&out.stderr)),
    }
}
