//! Either end comes and goes.

use super::kit::{Attached, Program, clients, far, far_at};
use super::support::pty::Pty;
use super::support::{self, assert_same, free_port, pattern, wait_for};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

#[test]
fn the_far_port_is_taken_only_while_it_is_used() {
    let device = Pty::new();
    let (far, url) = far(device.path(), &[]);
    let attached = Attached::start(&url, &[]);
    let port = url.rsplit(':').next().unwrap().parse().unwrap();
    clients(&far, 0);
    for round in 0..3 {
        let program = attached.open();
        clients(&far, 1);
        program.write(&[round]);
        assert_eq!(device.read(1), [round]);
        drop(program);
        clients(&far, 0);
        // the port, which has one client at a time, is everybody's meanwhile
        let mut other = support::net::Client::connect(port);
        far.wait_device("far", true);
        other.send(b"other");
        assert_eq!(device.read(5), b"other");
        drop(other);
        clients(&far, 0);
    }
}

#[test]
fn what_is_written_and_closed_at_once_arrives() {
    let device = Pty::new();
    let port = free_port();
    let attached = Attached::start(&format!("rfc2217://127.0.0.1:{port}"), &[]);
    let data = pattern(3000, 5);
    fs::write(attached.link(), &data).unwrap();
    // the far end is not even there yet
    attached.process.stderr.wait(&["Connection refused"]);
    let far = far_at(port, device.path(), &[]);
    assert_same("late", &device.read(data.len()), &data);
    clients(&far, 0);
    for round in 0..20 {
        fs::write(attached.link(), &data[round..]).unwrap();
        assert_same("at once", &device.read(data.len() - round), &data[round..]);
    }
}

#[test]
fn old_bytes_are_not_for_the_next_program() {
    let device = Pty::new();
    let (far, url) = far(device.path(), &["chardelay: false"]);
    let attached = Attached::start(&url, &["--keep"]);
    let program = attached.open();
    program.write(b"?");
    assert_eq!(device.read(1), b"?");
    device.write(b"unread");
    far.wait_metric("serbroker_port_bytes_total", &["direction=\"from_device\""], 6);
    program.read(1);
    drop(program);
    attached.process.stderr.wait(&["no program has it open any more"]);
    // nobody has it open: as on a serial port, this is lost
    device.write(b"lost");
    far.wait_metric("serbroker_port_bytes_total", &["direction=\"from_device\""], 10);
    let program = attached.open();
    program.write(b"!");
    assert_eq!(device.read(1), b"!");
    device.write(b"new");
    let got = program.read_to(|got| got.ends_with(b"new"));
    assert!(!got.windows(6).any(|part| part == b"unread"), "{}", String::from_utf8_lossy(&got));
}

#[test]
fn the_far_end_comes_back_with_the_settings() {
    let device = Pty::new();
    let port = free_port();
    let mut far = far_at(port, device.path(), &[]);
    let attached = Attached::start(&format!("rfc2217://127.0.0.1:{port}"), &[]);
    let inode = fs::metadata(attached.link()).unwrap().ino();
    let program = attached.open();
    program.raw(19_200);
    program.write(b"before");
    assert_eq!(device.read(6), b"before");
    for (round, speed) in [4800, 230_400].into_iter().enumerate() {
        far.terminate();
        attached.process.stderr.wait(&["Connection refused"]);
        // the program notices nothing but that it has to wait
        program.raw(speed);
        program.write(b"while it was away");
        far = far_at(port, device.path(), &[]);
        assert_eq!(device.read(17), b"while it was away");
        assert_eq!(device.termios().output_speed(), speed);
        device.write(b"back");
        assert_eq!(program.read(4), b"back");
        wait_for("log", || attached.process.stderr.count(&["connected"]) == round + 2);
    }
    assert_eq!(fs::metadata(attached.link()).unwrap().ino(), inode);
    clients(&far, 1);
}

#[test]
fn it_comes_back_itself() {
    let device = Pty::new();
    let (far, url) = far(device.path(), &[]);
    let mut attached = Attached::start(&url, &[]);
    // the program holds on to the dead terminal, so that the next one gets another number
    let old = attached.open();
    clients(&far, 1);
    attached.replace();
    clients(&far, 0);
    let program = attached.open();
    program.write(b"again");
    assert_eq!(device.read(5), b"again");
    drop((old, program));
    let link = attached.link();
    attached.process.signal(Signal::TERM);
    assert!(attached.process.ended().success());
    assert!(fs::symlink_metadata(&link).is_err(), "the link is left behind");
}

#[test]
fn a_signal_makes_it_connect_again() {
    let device = Pty::new();
    let (far, url) = far(device.path(), &[]);
    let attached = Attached::start(&url, &[]);
    let program = attached.open();
    clients(&far, 1);
    attached.process.signal(Signal::HUP);
    attached.process.stderr.wait(&["SIGHUP: connecting again"]);
    wait_for("another client", || far.metric("serbroker_port_connections_total", &[]) >= 2);
    program.write(b"still");
    assert_eq!(device.read(5), b"still");
}

#[test]
fn places_of_others_are_left_alone() {
    let attached = Attached::start("tcp://127.0.0.1:1", &[]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "mine").unwrap();
    let link = dir.path().join("link");
    symlink("/dev/null", &link).unwrap();
    let nowhere = dir.path().join("no/tty");
    for (place, words) in [
        (&attached.link(), "in use by another serbroker attach"),
        (&file, "no link of ours"),
        (&link, "a link to /dev/null, which another program made"),
        (&nowhere, "make the directory first"),
    ] {
        let output = support::serbroker().args(["attach", "tcp://127.0.0.1:1"]).arg(place).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(words) && said.contains(place.to_str().unwrap()), "{said}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    assert_eq!(fs::read_link(&link).unwrap().to_str(), Some("/dev/null"));
    assert!(attached.link().exists());
}

#[test]
fn it_belongs_to_whom_it_is_given() {
    let attached = Attached::start("tcp://127.0.0.1:1", &["--mode", "624"]);
    let found = fs::metadata(attached.link()).unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, 0o624);
    if rustix::process::geteuid().is_root() {
        let attached = Attached::start("tcp://127.0.0.1:1", &["--owner", "daemon:daemon"]);
        let found = fs::metadata(attached.link()).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (1, 1, 0o660));
    }
    let dir = tempfile::tempdir().unwrap();
    let output = support::serbroker()
        .args(["attach", "--owner", "nobody-has-this-name", "tcp://127.0.0.1:1"])
        .arg(dir.path().join("tty"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no user 'nobody-has-this-name'"));
}

#[test]
fn settings_made_before_a_program_reads_are_kept() {
    let device = Pty::new();
    let (far, url) = far(device.path(), &[]);
    let attached = Attached::start(&url, &[]);
    // as stty(1) does
    let stty = attached.open();
    stty.set(|settings| settings.set_speed(2400).unwrap());
    drop(stty);
    let program = Program::open(&attached.link());
    wait_for("speed", || device.termios().output_speed() == 2400);
    assert_eq!(program.termios().output_speed(), 2400);
    clients(&far, 1);
}
