//! `serial::Device` on pseudo-terminals.
//!
//! The settings of the slave are read from the master side: both show the same `termios2`.
//!
//! With `MODEM_SHIM` naming a library for `LD_PRELOAD` that gives pseudo-terminals modem lines
//! (state in `$MODEMSHIM_DIR/modem.N`, log in `shim.log`), the calls at open and close are looked
//! at as well; without it that test says that it is skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod locks;
mod pty;

use pty::{Pty, bits, config, refusal};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::termios::{ControlModes, InputModes, LocalModes, OutputModes, SpecialCodeIndex};
use serbroker::serial::request::Purge;
use serbroker::serial::settings::{DeviceConfig, Flow, LineSettings, Parity, Rs485};
use serbroker::serial::{Device, IoFailure, OpenErrorKind};

#[test]
fn settings_as_recorded_and_put_back() {
    let pty = Pty::new();
    let before = pty.termios();
    let opened = pty.open_local();
    let now = pty.termios();
    assert_eq!(now.input_modes, InputModes::IGNBRK);
    assert_eq!(now.output_modes, OutputModes::empty());
    assert_eq!(now.local_modes, LocalModes::empty());
    let speed = ControlModes::from_bits_retain(libc::B9600);
    assert_eq!(now.control_modes, ControlModes::CS8 | ControlModes::CREAD | ControlModes::CLOCAL | speed);
    assert_eq!((now.input_speed(), now.output_speed()), (9600, 9600));
    assert_eq!(now.special_codes[SpecialCodeIndex::VMIN], 1);
    assert_eq!(now.special_codes[SpecialCodeIndex::VTIME], 0);
    drop(opened);
    assert_eq!(bits(&pty.termios()), bits(&before));
}

#[test]
fn every_option_reaches_the_line() {
    let pty = Pty::new();
    let mut config = pty.config();
    config.line = LineSettings {
        baud: 74_880,
        size: 7,
        parity: Parity::Mark,
        stop: 2,
        flow: Flow { xonxoff: true, rtscts: true },
        local: false,
        hangup_when_done: Some(true),
    };
    let opened = pty.opened(&config);
    let now = pty.termios();
    assert_eq!(now.output_speed(), 74_880);
    assert_eq!(now.input_modes, InputModes::IGNBRK | InputModes::IXON | InputModes::IXOFF);
    // a pseudo-terminal drops CS7 and PARENB and keeps the rest
    assert_eq!(
        now.control_modes,
        ControlModes::CS8
            | ControlModes::CSTOPB
            | ControlModes::CREAD
            | ControlModes::PARODD
            | ControlModes::CMSPAR
            | ControlModes::HUPCL
            | ControlModes::CRTSCTS
            | ControlModes::from_bits_retain(libc::BOTHER)
    );
    drop(opened);
    // the one thing that outlives the close, since it acts at the close
    assert!(pty.termios().control_modes.contains(ControlModes::HUPCL));
}

#[tokio::test]
async fn apply_reports_what_is_in_force_and_none_clears_mark() {
    let pty = Pty::new();
    let mut device = pty.open_local().register().unwrap();
    let start = device.settings();
    for parity in [Parity::Mark, Parity::Space, Parity::Odd, Parity::Even, Parity::None] {
        let asked = LineSettings { baud: 250_000, size: 5, parity, ..start };
        assert_eq!(device.apply(&asked).unwrap(), asked);
        assert_eq!(device.settings(), asked);
        let now = pty.termios();
        assert_eq!(now.output_speed(), 250_000);
        let modes = now.control_modes;
        let odd = matches!(parity, Parity::Mark | Parity::Odd);
        let sticky = matches!(parity, Parity::Mark | Parity::Space);
        assert_eq!(modes.contains(ControlModes::PARODD), odd, "{parity:?}");
        assert_eq!(modes.contains(ControlModes::CMSPAR), sticky, "{parity:?}");
    }
    let top = LineSettings { baud: u32::MAX, ..start };
    assert_eq!(device.apply(&top).unwrap().baud, u32::MAX);
    let zero = device.apply(&LineSettings { baud: 0, ..start });
    assert_eq!(zero.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    assert_eq!(device.settings(), top);
}

#[tokio::test]
async fn data_goes_both_ways_and_what_came_before_the_open_is_kept() {
    let mut pty = Pty::new();
    // as the slave echoes before it is opened, the master would read its own words
    pty.master.write_all(b"early").unwrap();
    let mut device = pty.open_local().register().unwrap();
    let mut buf = [0; 64];
    let mut got = Vec::new();
    while got.len() < 5 {
        let count = device.read(&mut buf).await.unwrap();
        got.extend_from_slice(&buf[..count]);
    }
    assert_eq!(got, b"early");

    assert_eq!(device.write(b"\x00\xff\r\n\x11\x13").await.unwrap(), 6);
    let mut echo_and_data = Vec::new();
    while !echo_and_data.ends_with(b"\x00\xff\r\n\x11\x13") {
        let count = pty.master.read(&mut buf).unwrap();
        echo_and_data.extend_from_slice(&buf[..count]);
    }
    assert!(device.is_drained());
    assert_eq!(device.out_queue().unwrap(), 0);
}

#[tokio::test]
async fn purge_discards_what_was_received() {
    let mut pty = Pty::new();
    let mut device = pty.open_local().register().unwrap();
    pty.master.write_all(b"old").unwrap();
    let mut buf = [0; 64];
    // the first byte shows that all three have arrived: they were written at once
    assert_eq!(device.read(&mut buf[..1]).await.unwrap(), 1);
    device.purge(Purge::Receive).unwrap();
    pty.master.write_all(b"new").unwrap();
    let count = device.read(&mut buf).await.unwrap();
    assert_eq!(&buf[..count], b"new");
}

#[tokio::test]
async fn a_full_device_makes_writes_wait() {
    let mut pty = Pty::new();
    let mut device = pty.open_local().register().unwrap();
    let chunk = [b'x'; 4096];
    let mut sent = 0;
    while let Ok(count) = tokio::time::timeout(Duration::from_millis(50), device.write(&chunk)).await {
        sent += count.unwrap();
        assert!(sent < 1 << 24, "a pseudo-terminal never gets full");
    }
    let reader = std::thread::spawn(move || {
        let mut buf = [0; 4096];
        let mut got = 0;
        while got < sent {
            got += pty.master.read(&mut buf).unwrap();
        }
        (pty, got)
    });
    let more = tokio::time::timeout(Duration::from_secs(10), device.write(b"y")).await;
    assert_eq!(more.unwrap().unwrap(), 1);
    let (_pty, got) = tokio::task::spawn_blocking(|| reader.join().unwrap()).await.unwrap();
    assert!(got >= sent);
}

/// Messages of all lengths, each sent as soon as a part of the one before has been read: a read that
/// takes less than there is, or a wake-up lost between two of them, makes this stand still.
#[tokio::test]
async fn no_message_waits_for_the_next_one() {
    const MESSAGES: usize = 4000;
    let length = |number: usize| 1 + number * 7919 % if number.is_multiple_of(5) { 6000 } else { 40 };
    let Pty { mut master, path, dir } = Pty::new();
    let mut device = Device::open_with_lock_dir(&config(&path), dir.path()).unwrap().register().unwrap();
    let (go_on, may_go_on) = std::sync::mpsc::channel();
    let sender = std::thread::spawn(move || {
        for number in 0..MESSAGES {
            let message: Vec<u8> = (0..length(number)).map(|at| (number + at) as u8).collect();
            master.write_all(&message).unwrap();
            may_go_on.recv().unwrap();
        }
        master
    });
    let mut buf = vec![0; 65536];
    let mut begun = 0;
    let mut due = Vec::new();
    for number in 0..MESSAGES {
        due.extend((0..length(number)).map(|at| (number + at) as u8));
        let message_begins = due.len() - length(number);
        while begun <= message_begins {
            let read = tokio::time::timeout(Duration::from_secs(10), device.read(&mut buf)).await;
            let count = read.unwrap_or_else(|_| panic!("message {number} does not arrive")).unwrap();
            assert_eq!(buf[..count], due[begun..][..count], "message {number}");
            begun += count;
        }
        due.drain(..begun);
        begun = 0;
        go_on.send(()).unwrap();
    }
    while begun < due.len() {
        let read = tokio::time::timeout(Duration::from_secs(10), device.read(&mut buf)).await;
        begun += read.unwrap().unwrap();
    }
    tokio::task::spawn_blocking(|| sender.join().unwrap()).await.unwrap();
}

#[tokio::test]
async fn closing_with_output_pending_does_not_wait() {
    let pty = Pty::new();
    let mut device = pty.open_local().register().unwrap();
    while tokio::time::timeout(Duration::from_millis(20), device.write(&[0; 4096])).await.is_ok() {}
    let start = Instant::now();
    drop(device);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_hang_up_is_told_apart() {
    let Pty { master, path, dir } = Pty::new();
    let mut device = Device::open_with_lock_dir(&config(&path), dir.path()).unwrap().register().unwrap();
    let closer = std::thread::spawn(move || drop(master));
    let mut buf = [0; 64];
    let read = tokio::time::timeout(Duration::from_secs(5), device.read(&mut buf)).await;
    assert!(matches!(read.unwrap(), Err(IoFailure::Gone)));
    closer.join().unwrap();
    // again and again, and in both directions
    assert!(matches!(device.read(&mut buf).await, Err(IoFailure::Gone)));
    assert!(matches!(device.write(b"x").await, Err(IoFailure::Gone)));
    assert!(!device.is_drained());
}

#[test]
fn what_is_no_serial_device_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plain");
    fs::write(&file, "content\n").unwrap();
    let missing = dir.path().join("missing");
    let below_file = file.join("x");
    let cases: [(&Path, &str); 6] = [
        (&missing, "Value or file not found"),
        (Path::new(""), "Value or file not found"),
        (&below_file, "Value or file not found"),
        (dir.path(), "OS error, see logs"),
        (&file, "OS error, see logs"),
        (Path::new("/dev/null"), "OS error, see logs"),
    ];
    for (path, text) in cases {
        let path = path.to_str().unwrap();
        let error = refusal(Device::open_with_lock_dir(&config(path), dir.path()));
        assert_eq!(error.client_text(), text, "{error}");
        assert!(error.to_string().starts_with(&format!("{path}: cannot ")), "{error}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "content\n");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a lock file is left");
}

#[test]
fn a_nul_in_the_path_is_an_error_and_no_more() {
    let error = refusal(Device::open(&config("/dev/tty\0S0")));
    assert!(matches!(error.kind, OpenErrorKind::Other(_)), "{error}");
}

#[test]
fn lines_and_rs485_that_are_not_there_are_an_error_and_leave_no_trace() {
    let pty = Pty::new();
    let before = pty.termios();
    let dtr = DeviceConfig { dtr: Some(false), ..pty.config() };
    let rs485 = DeviceConfig { rs485: Some(Rs485::default()), ..pty.config() };
    for (config, name) in [(dtr, "DTR"), (rs485, "RS-485")] {
        let error = refusal(pty.open(&config));
        assert_eq!(error.client_text(), "OS error, see logs");
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(bits(&pty.termios()), bits(&before));
    }
    drop(pty.open_local());
}

#[tokio::test]
async fn write_only_and_read_only() {
    let mut pty = Pty::new();
    let write_only = DeviceConfig { write_only: true, ..pty.config() };
    let mut device = pty.opened(&write_only).register().unwrap();
    assert_eq!(device.write(b"page").await.unwrap(), 4);
    let mut buf = [0; 4];
    pty.master.read_exact(&mut buf).unwrap();
    assert_eq!(&buf, b"page");
    drop(device);

    let read_only = DeviceConfig { read_only: true, ..pty.config() };
    let mut device = pty.opened(&read_only).register().unwrap();
    pty.master.write_all(b"in").unwrap();
    let mut buf = [0; 64];
    let count = device.read(&mut buf).await.unwrap();
    assert!(count > 0 && b"in".starts_with(&buf[..count]));
    assert!(matches!(device.write(b"x").await, Err(IoFailure::Failed(_))));
}

#[test]
fn a_plain_pty_has_no_modem_lines_and_no_counters() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pty = Pty::new();
    let opened = pty.open_local();
    let _guard = runtime.enter();
    let mut device = opened.register().unwrap();
    assert_eq!(device.modem_lines().unwrap_err().raw_os_error(), Some(libc::ENOTTY));
    assert_eq!(device.set_modem(Some(true), None).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
    assert!(device.error_counters().is_none());
    device.set_break(true).unwrap();
    device.set_break(false).unwrap();
}

#[test]
fn permission_denied_says_who_and_how() {
    const CHILD: &str = "SERIAL_PTY_DENIED";
    if let Ok(path) = std::env::var(CHILD) {
        let error = refusal(Device::open(&config(&path)));
        println!("{}\n{error}", error.client_text());
        return;
    }
    if !is_root() {
        println!("skipped: only root can become somebody who may not open the device");
        return;
    }
    let pty = Pty::new();
    fs::set_permissions(&pty.path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    // a copy where the other user can reach it
    let dir = tempfile::Builder::new().prefix("serial-pty").tempdir_in("/tmp").unwrap();
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let program: PathBuf = dir.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let out = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["--exact", "permission_denied_says_who_and_how", "--nocapture"])
        .env(CHILD, &pty.path)
        .output()
        .expect("setpriv(1) of util-linux");
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(text.contains("\nPermission denied\n"), "{text}");
    for part in [&*pty.path, "mode is 0600", "owner root", "we are nobody", "udev rule"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

#[test]
fn calls_and_lines_with_modem_lines_beneath() {
    const CHILD: &str = "calls_and_lines_with_modem_lines_beneath";
    if let Ok(dir) = std::env::var("MODEMSHIM_DIR") {
        return modem_lines_child(Path::new(&dir));
    }
    let Some(shim) = std::env::var_os("MODEM_SHIM") else {
        println!("skipped: MODEM_SHIM names no library that gives pseudo-terminals modem lines");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", CHILD, "--nocapture"])
        .env("LD_PRELOAD", shim)
        .env("MODEMSHIM_DIR", dir.path())
        .output()
        .unwrap();
    assert!(out.status.success(), "{out:?}");
}

fn modem_lines_child(dir: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    let pty = Pty::new();
    let log = dir.join("shim.log");
    let take_log = || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(&log);
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    take_log();
    let config = DeviceConfig {
        dtr: Some(false),
        rts: Some(false),
        rs485: Some(Rs485 {
            delay_before_ms: 1,
            delay_after_ms: 2,
            rts_on_send: true,
            rts_after_send: true,
            rx_during_tx: true,
            terminate_bus: false,
        }),
        ..pty.config()
    };
    let mut device = pty.opened(&config).register().unwrap();
    let tail = "oflag=0x0 lflag=0x0 vmin=1 vtime=0";
    assert_eq!(
        take_log(),
        [
            "open".to_owned(),
            "TIOCEXCL".to_owned(),
            "TIOCMSET 0".to_owned(),
            format!("TCSETS2 38400/38400 CS8 CREAD iflag=0x1 {tail}"),
            format!("TCSETS2 9600/9600 CS8 CREAD CLOCAL iflag=0x1 {tail}"),
            "TIOCSRS485 flags=0x17 before=1 after=2".to_owned(),
            "TIOCCBRK".to_owned(),
        ]
    );
    let lines = device.modem_lines().unwrap();
    assert!(!lines.dtr && !lines.rts);
    device.set_modem(Some(true), Some(true)).unwrap();
    device.set_modem(None, Some(false)).unwrap();
    device.set_break(true).unwrap();
    let same = device.settings();
    device.apply(&same).unwrap();
    let odd = LineSettings { size: 7, parity: Parity::Odd, ..same };
    assert_eq!(device.apply(&odd).unwrap(), odd);
    assert_eq!(
        take_log(),
        [
            "TIOCMSET DTR|RTS".to_owned(),
            "TIOCMSET DTR".to_owned(),
            "TIOCSBRK".to_owned(),
            format!("TCSETS2 9600/9600 CS7 CREAD PARENB PARODD CLOCAL iflag=0x1 {tail}"),
        ]
    );
    assert_eq!(device.error_counters().unwrap().frame, 0);
    drop(device);
    assert_eq!(
        take_log(),
        [
            "TCFLSH TCIOFLUSH",
            "TIOCCBRK",
            "TIOCSRS485 flags=0x0 before=0 after=0",
            "TIOCMSET DTR|RTS",
            "TCSETS2 38400/38400 CS8 CREAD iflag=0x500 oflag=0x5 lflag=0x8a3b vmin=1 vtime=0",
            "TIOCNXCL",
            "close",
        ]
    );
}
