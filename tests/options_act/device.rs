//! Options about the device.

use crate::net::Setup;
use crate::support::net::Client;
use crate::support::pty::Pty;
use crate::support::shim::{DTR, Lines, RTS, Shim};
use crate::support::{Broker, connection, free_port, wait_for};
use rustix::termios::{ControlModes, InputModes, Termios};
use std::fs;
use std::io::ErrorKind;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// A port whose connector is `start`, the device, and `words`, with a client.
struct Open {
    broker: Broker,
    pty: Pty,
    client: Client,
}

impl Open {
    fn new(start: &str, words: &str) -> Self {
        Self::prepared(start, words, &Pty::new, None)
    }

    fn prepared(start: &str, words: &str, pty: &dyn Fn() -> Pty, shim: Option<&Shim>) -> Self {
        let (pty, port) = (pty(), free_port());
        let text = format!(
            "connection: &p\n  accepter: tcp,127.0.0.1,{port}\n  connector: {start},{},{words}\n",
            pty.path()
        );
        let broker = Broker::start_with(&text, |command| {
            if let Some(shim) = shim {
                shim.preload(command);
            }
        });
        let client = Client::connect(port);
        broker.wait_device("p", true);
        Self { broker, pty, client }
    }

    fn termios(words: &str) -> Termios {
        Self::new("serialdev", words).pty.termios()
    }
}

/// With modem lines, and with the size and parity that a terminal of its own does not keep.
fn shimmed(words: &str, look: impl FnOnce(&Open, &Lines, &Shim)) {
    let Some(shim) = Shim::build() else { return };
    let pty = Pty::new();
    let lines = shim.lines(pty.number());
    let cell = std::cell::Cell::new(Some(pty));
    let open = Open::prepared("serialdev", words, &|| cell.take().expect("it is made once"), Some(&shim));
    look(&open, &lines, &shim);
}

pub(crate) fn openstr() {
    let setup = Setup::new(&["openstr: AT"]);
    let _client = setup.client();
    assert_eq!(setup.pty.read(2), b"AT");
}

pub(crate) fn closestr() {
    let setup = Setup::new(&["closestr: bye"]);
    drop(setup.client());
    assert_eq!(setup.pty.read(3), b"bye");
}

pub(crate) fn no_acc_to_con() {
    let setup = Setup::new(&["no-acc-to-con: true"]);
    let mut client = setup.client();
    client.send(b"secret");
    setup.broker.wait_metric("serbroker_port_dropped_bytes_total", &["one_way", "to_device"], 6);
    setup.pty.write(b"down");
    assert_eq!(client.receive(4), b"down");
    setup.pty.silent_for(Duration::from_millis(20));
}

pub(crate) fn telnet_brk_on_sync() {
    let Some(shim) = Shim::build() else { return };
    for (option, breaks) in [("telnet-brk-on-sync: true", 1), ("telnet-brk-on-sync: false", 0)] {
        let (pty, port) = (Pty::new(), free_port());
        let lines = shim.lines(pty.number());
        let text = connection("p", &format!("telnet,tcp,127.0.0.1,{port}"), pty.path(), &[option]);
        let broker = Broker::start_with(&text, |command| shim.preload(command));
        let client = Client::connect(port);
        broker.wait_device("p", true);
        // as RFC 854 has it: the data mark is urgent; all of it is there before any is read
        let socket = socket2::SockRef::from(&client.0);
        socket.send(b"\xff").unwrap();
        socket.send_out_of_band(b"\xf2").unwrap();
        socket.send(b"behind").unwrap();
        assert!(pty.read_to(|got| got.ends_with(b"behind")).ends_with(b"behind"));
        wait_for(option, || lines.breaks() >= breaks);
        assert_eq!(lines.breaks(), breaks, "{option}");
    }
}

pub(crate) fn dtr_with_rts() {
    let Some(shim) = Shim::build() else { return };
    // RFC 2217, SET-CONTROL: 8 and 9 for DTR on and off, 11 and 12 for RTS
    let set = |client: &mut Client, value: u8| {
        client.send(&[0xff, 0xfa, 44, 5, value, 0xff, 0xf0]);
        // it waits for the answer to each
        client.receive_until(&[0xff, 0xfa, 44, 105, value, 0xff, 0xf0]);
    };
    for (option, together) in [("dtr-with-rts: true", true), ("dtr-with-rts: false", false)] {
        let (pty, port) = (Pty::new(), free_port());
        let lines = shim.lines(pty.number());
        let text = connection("p", &format!("telnet(rfc2217),tcp,127.0.0.1,{port}"), pty.path(), &[option]);
        let broker = Broker::start_with(&text, |command| shim.preload(command));
        let before = shim.calls().len();
        let mut client = Client::connect(port);
        broker.wait_device("p", true);
        client.send(&[0xff, 0xfb, 44]);
        for value in [9, 11, 8] {
            set(&mut client, value);
        }
        assert_eq!(lines.outputs(), if together { RTS } else { DTR | RTS }, "{option}");
        set(&mut client, 12);
        assert_eq!(lines.outputs(), DTR, "{option}");
        let mut edges: Vec<String> =
            shim.calls()[before..].lines().filter(|l| l.starts_with("TIOCMSET")).map(str::to_owned).collect();
        edges.dedup();
        let both = edges.iter().filter(|l| *l == "TIOCMSET DTR|RTS").count();
        assert_eq!(both, usize::from(!together), "{option}: {edges:?}");
        // when RTS does not follow it comes all the same
        for value in [9, 11, 8] {
            set(&mut client, value);
        }
        wait_for("DTR", || lines.outputs() == DTR | RTS);
        // and not when it was lowered meanwhile
        for value in [9, 8, 9] {
            set(&mut client, value);
        }
        assert_eq!(lines.outputs(), RTS, "{option}");
        set(&mut client, 12);
        assert_eq!(lines.outputs(), 0, "{option}");
    }
}

/// How long the device stays open behind a client whose data it does not take.
fn closing_time(start: &str) -> Duration {
    let (pty, port) = (Pty::new(), free_port());
    let text = connection("p", &format!("tcp,127.0.0.1,{port}"), pty.path(), &[]);
    // the client goes by its idle time: nobody reads what else it may have to say
    let text = text.replace("serialdev,", &format!("{start},")) + "  timeout: 1\n";
    let broker = Broker::start(&text);
    let client = Client::connect(port);
    broker.wait_device("p", true);
    client.0.set_nonblocking(true).unwrap();
    let full = (&client.0).write_all(&vec![b'x'; 32 << 20]).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    broker.log.wait(&["INFO", "client left"]);
    let begun = Instant::now();
    broker.log.wait(&["WARN", "did not take"]);
    begun.elapsed()
}

pub(crate) fn drain_time() {
    // without it nothing would ever end the wait
    let time = closing_time("serialdev(drain_time=120,char_drain_wait=off)");
    assert!(time >= Duration::from_secs(1), "{time:?}");
}

pub(crate) fn char_drain_wait() {
    let time = closing_time("serialdev(char_drain_wait=150)");
    assert!(time >= Duration::from_millis(1300), "{time:?}");
    // half a second when nothing is said
    let time = closing_time("serialdev");
    assert!(time >= Duration::from_millis(300) && time < Duration::from_millis(1300), "{time:?}");
}

pub(crate) fn uucplock() {
    let dir = tempfile::tempdir().unwrap();
    for (start, locks) in [("uucplock=true", true), ("uucplock=false", false), ("nouucplock", false)] {
        let (pty, port) = (Pty::new(), free_port());
        // terminals under /dev/pts have no lock file
        let link = dir.path().join("tty");
        pty.link(&link);
        let file = dir.path().join("c.yaml");
        let text = format!(
            "connection: &p\n  accepter: tcp,127.0.0.1,{port}\n  connector: serialdev({start}),{},local\n",
            link.display()
        );
        fs::write(&file, text).unwrap();
        let mut command = crate::support::serbroker();
        command.args(["-n", "-c"]).arg(&file);
        let process = crate::support::Process::start(&mut command);
        let _client = Client::connect(port);
        process.stderr.wait(&["device open"]);
        let name = link.display().to_string().replace('/', "_");
        let lock = format!("/var/lock/LCK..{}", name.trim_start_matches('_'));
        let found = [lock, format!("/var/lock/LCK..{name}")].iter().any(|path| Path::new(path).exists());
        // who may not write there cannot lock
        if rustix::process::geteuid().is_root() {
            assert_eq!(found, locks, "{start}");
        }
        process.signal(rustix::process::Signal::TERM);
        let mut process = process;
        process.ended();
    }
}

pub(crate) fn custspeed() {
    // all speeds are allowed whatever it says, and it says so
    let open = Open::new("serialdev(custspeed=false)", "74880n81,local");
    assert_eq!(open.pty.termios().output_speed(), 74_880);
    open.broker.log.wait(&["WARN", "always allowed"]);
}

pub(crate) fn speed() {
    assert_eq!(Open::termios("speed=19200n81,local").output_speed(), 19_200);
    assert_eq!(Open::termios("2400").output_speed(), 2400);
}

pub(crate) fn flags() {
    let plain = Open::termios("9600n81");
    let set = Open::termios("9600n81,local,xonxoff,rtscts,hangup-when-done");
    let modes = ControlModes::CLOCAL | ControlModes::CRTSCTS | ControlModes::HUPCL;
    assert!(!plain.control_modes.intersects(modes) && set.control_modes.contains(modes));
    let xon = InputModes::IXON | InputModes::IXOFF;
    assert!(!plain.input_modes.intersects(xon) && set.input_modes.contains(xon));
}

pub(crate) fn nobreak() {
    for (words, clears) in [("9600n81,local", true), ("9600n81,local,nobreak", false)] {
        shimmed(words, |_, _, shim| assert_eq!(shim.calls().contains("TIOCCBRK"), clears, "{words}"));
    }
}

/// How the program opened its device: 0 to read, 1 to write, 2 both.
fn access(open: &Open) -> u32 {
    let dir = format!("/proc/{}", open.broker.process.child.id());
    let entry = fs::read_dir(format!("{dir}/fd")).unwrap().find_map(|entry| {
        let entry = entry.unwrap();
        let target = fs::read_link(entry.path()).ok()?;
        (target == Path::new(open.pty.path())).then(|| entry.file_name().into_string().unwrap())
    });
    let info = fs::read_to_string(format!("{dir}/fdinfo/{}", entry.expect("the device is open"))).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    u32::from_str_radix(flags.trim(), 8).unwrap() & 3
}

pub(crate) fn one_way_devices() {
    for (words, expected) in [("9600n81,local", 2), ("local,wronly", 1), ("9600n81,local,rdonly", 0)] {
        let mut open = Open::new("serialdev", words);
        assert_eq!(access(&open), expected, "{words}");
        if words.ends_with("rdonly") {
            open.pty.write(b"down");
            assert_eq!(open.client.receive(4), b"down");
        } else {
            open.client.send(b"up");
            assert_eq!(open.pty.read(2), b"up");
        }
    }
}

pub(crate) fn dtr_and_rts() {
    for (words, expected) in [("dtr=on,rts=off", DTR), ("dtr=off,rts=on", RTS), ("dtr=off,rts=off", 0)] {
        shimmed(&format!("9600n81,local,{words}"), |_, lines, _| {
            wait_for(words, || lines.outputs() == expected);
        });
    }
}

pub(crate) fn rs485() {
    // a terminal has no RS-485, and a port that needs it does not run without
    let (pty, port) = (Pty::new(), free_port());
    let text = connection("p", &format!("tcp,127.0.0.1,{port}"), pty.path(), &[]);
    let _broker = Broker::start(&text.replace("115200n81", "115200n81,rs485=1:1:rts_on_send"));
    let said = Client::connect(port).rest().0;
    assert!(said.starts_with(b"Device open failure"), "{}", String::from_utf8_lossy(&said));
}

pub(crate) fn low_latency() {
    // a terminal has no such setting, and is used without it; drivers that have it are in tests/vm
    let open = Open::new("serialdev", "9600n81,local,low-latency");
    open.broker.log.wait(&["WARN", open.pty.path(), "low-latency has no effect"]);
    let plain = Open::new("serialdev", "9600n81,local");
    assert!(!plain.broker.log.text().contains("low-latency"));
}

pub(crate) fn parity() {
    let bits = ControlModes::PARENB | ControlModes::PARODD | ControlModes::CMSPAR;
    for (words, expected) in [
        ("9600e81,NONE", ControlModes::empty()),
        ("9600n81,EVEN", ControlModes::PARENB),
        ("9600n81,ODD", ControlModes::PARENB | ControlModes::PARODD),
        ("9600n81,MARK", bits),
        ("9600n81,SPACE", ControlModes::PARENB | ControlModes::CMSPAR),
    ] {
        shimmed(words, |open, lines, _| {
            let kept = open.pty.termios().control_modes & (ControlModes::PARODD | ControlModes::CMSPAR);
            let parity = ControlModes::from_bits_retain(lines.size_and_parity()) & ControlModes::PARENB;
            assert_eq!(kept | parity, expected, "{words}");
        });
    }
}

pub(crate) fn sizes() {
    for (words, expected) in [
        ("9600n81,5databits", libc::CS5),
        ("9600n81,6databits", libc::CS6),
        ("9600n81,7databits", libc::CS7),
        ("9600n71,8databits", libc::CS8),
    ] {
        shimmed(words, |_, lines, _| assert_eq!(lines.size_and_parity() & libc::CSIZE, expected, "{words}"));
    }
}

pub(crate) fn stop_bits() {
    let two = |words: &str| Open::termios(words).control_modes.contains(ControlModes::CSTOPB);
    assert!(!two("9600n82,1stopbit") && two("9600n81,2stopbits"));
}
