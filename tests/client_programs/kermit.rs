//! C-Kermit as an RFC 2217 client: it sets the line, and sends a file to a Kermit at the device.
//!
//! Carrier is not watched: a pseudo-terminal has none, which is told, and Kermit would hang up.

use crate::support::pty::Pty;
use crate::support::{Broker, Process, connection, free_port, pattern, tools, wait_for};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

fn broker(device: &str) -> (Broker, u16) {
    let port = free_port();
    let accepter = format!("telnet(rfc2217),tcp,127.0.0.1,{port}");
    (Broker::start(&connection("remote", &accepter, device, &[])), port)
}

/// Runs commands, and ends; its exit status is that of the last command that failed.
fn kermit(kermit: &Path, dir: &Path, commands: &str) -> Child {
    let mut command = Command::new(kermit);
    // no initialisation file, nothing that is known of this machine
    command.args(["-Y", "-H", "-C", commands]).current_dir(dir).env("HOME", dir).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[track_caller]
fn ended(mut child: Child) -> String {
    let begun = Instant::now();
    // what it says fits into a pipe
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > LIMIT {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let output = child.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(status.success(), "kermit: {status} after {:?}\n{said}", begun.elapsed());
    said
}

#[test]
fn kermit_sets_the_line() {
    let Some(program) = tools::tool("kermit", "ckermit") else { return };
    let device = Pty::new();
    let (broker, port) = broker(device.path());
    let dir = tempfile::tempdir().unwrap();
    // the device answers when it was asked, so that Kermit waits until the speed is in force
    let commands = format!(
        "set carrier-watch off, set host 127.0.0.1 {port} /telnet, if fail exit 11, set telnet wait on, set speed 38400, \
         if fail exit 12, lineout at, input 20 ready, if fail exit 13, set speed 9600, \
         set stop-bits 2, lineout again, input 20 done, if fail exit 14, close, exit 0"
    );
    let child = kermit(&program, dir.path(), &commands);
    device.read_to(|got| got.ends_with(b"at\r"));
    assert_eq!(device.termios().output_speed(), 38_400);
    device.write(b"ready\r\n");
    device.read_to(|got| got.ends_with(b"again\r"));
    assert_eq!(device.termios().output_speed(), 9600);
    device.write(b"done\r\n");
    ended(child);
    broker.wait_device("remote", false);
}

#[test]
fn kermit_sends_a_file_to_a_kermit_at_the_device() {
    let Some(program) = tools::tool("kermit", "ckermit") else { return };
    let Some(socat) = tools::tool("socat", "socat") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (here, there) = (dir.path().join("here"), dir.path().join("there"));
    for side in [&here, &there] {
        std::fs::create_dir(side).unwrap();
    }
    // a cable: the broker has one end, the other Kermit the other
    let (near, far) = (dir.path().join("near"), dir.path().join("far"));
    let end = |link: &Path| format!("pty,raw,echo=0,link={}", link.display());
    let _cable = Process::start(Command::new(socat).arg(end(&near)).arg(end(&far)).stdin(Stdio::null()));
    wait_for("the cable", || near.exists() && far.exists());
    let (_broker, port) = broker(near.to_str().unwrap());
    // 0xFF is doubled on the way, and control characters are what telnet and Kermit care about
    let data = pattern(100_000, 5);
    std::fs::write(here.join("file.bin"), &data).unwrap();
    let common = "set file type binary, set file collision overwrite, set streaming off, set window 4, \
                  set receive packet-length 2000";
    let receiver = kermit(
        &program,
        &there,
        &format!(
            "set carrier-watch off, set line {}, if fail exit 21, {common}, receive, if fail exit 22, exit 0",
            far.display()
        ),
    );
    let sender = kermit(
        &program,
        &here,
        &format!(
            "set carrier-watch off, set host 127.0.0.1 {port} /telnet, if fail exit 31, {common}, send file.bin, if fail exit 32, \
             close, exit 0"
        ),
    );
    let begun = Instant::now();
    ended(sender);
    ended(receiver);
    eprintln!("kermit: {} bytes sent in {:.1?}", data.len(), begun.elapsed());
    assert!(std::fs::read(there.join("file.bin")).unwrap() == data, "another file came");
}
