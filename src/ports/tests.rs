//! A machine made of files: nodes are links to devices that every Linux has.

use super::*;
use crate::config::connector::Connector;
use crate::serial::lock_name;
use std::os::unix::fs::symlink;
use std::process;
use tempfile::TempDir;

struct Machine {
    dir: TempDir,
    roots: Roots,
}

/// Stand-ins for serial ports, with their device numbers (`Documentation/admin-guide/devices.txt`).
const NULL: (&str, &str) = ("/dev/null", "1:3");
const ZERO: (&str, &str) = ("/dev/zero", "1:5");
const FULL: (&str, &str) = ("/dev/full", "1:7");

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let below = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(&path).unwrap();
            path
        };
        let roots = Roots {
            sys: below("sys"),
            dev: below("dev/serial/by-id").ancestors().nth(2).unwrap().to_owned(),
            proc: below("proc"),
            locks: below("lock"),
        };
        below("dev/serial/by-path");
        below("sys/class/tty");
        Self { dir, roots }
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, path: &str, to: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(to, path).unwrap();
    }

    /// A terminal `name` whose device is `place` below `sys/devices`.
    fn tty(&self, name: &str, number: &str, place: &str, up: &str) {
        self.file(&format!("sys/devices/{place}/tty/{name}/dev"), &format!("{number}\n"));
        self.link(&format!("sys/devices/{place}/tty/{name}/device"), up);
        self.link(&format!("sys/class/tty/{name}"), &format!("../../devices/{place}/tty/{name}"));
    }

    /// An FTDI adapter at `ttyUSB0`, with the names that udev gives.
    fn ftdi(&self) {
        let usb = "pci0/usb1/1-1";
        for (name, text) in [
            ("idVendor", "0403\n"),
            ("idProduct", "6001\n"),
            ("serial", "A1\x1b[2J\n"),
            ("manufacturer", "FTDI\n"),
            ("product", "FT232R USB UART\n"),
        ] {
            self.file(&format!("sys/devices/{usb}/{name}"), text);
        }
        self.file(&format!("sys/devices/{usb}/1-1:1.0/bInterfaceNumber"), "00\n");
        let port = format!("{usb}/1-1:1.0/ttyUSB0");
        self.tty("ttyUSB0", NULL.1, &port, "../../../ttyUSB0");
        self.link(&format!("sys/devices/{port}/driver"), "../../../../../bus/usb-serial/drivers/ftdi_sio");
        self.link("dev/ttyUSB0", NULL.0);
        self.link("dev/serial/by-id/usb-FTDI_A1-if00-port0", "../../ttyUSB0");
        self.link("dev/serial/by-path/pci-usb-0:1:1.0-port0", "../../ttyUSB0");
        self.link("dev/meter", "ttyUSB0");
    }

    /// A port of the machine at `ttyS1` without a node, a place for one that is not there, and a console.
    fn others(&self) {
        let port = "pnp0/00:00/00:00:0/00:00:0.0";
        self.tty("ttyS10", ZERO.1, port, "../../../00:00:0.0");
        self.file("sys/class/tty/ttyS10/type", "4\n");
        self.link(&format!("sys/devices/{port}/subsystem"), "../../../../../bus/serial-base");
        self.link(&format!("sys/devices/{port}/driver"), "../../../../../bus/serial-base/drivers/port");
        self.link("sys/devices/pnp0/00:00/driver", "../../../bus/pnp/drivers/serial");
        self.tty("ttyS2", FULL.1, "platform/serial8250/2", "../../../2");
        self.file("sys/class/tty/ttyS2/type", "0\n");
        self.file("sys/devices/virtual/tty/tty1/dev", "4:1\n");
        self.link("sys/class/tty/tty1", "../../devices/virtual/tty/tty1");
    }

    fn process(&self, pid: i32, name: &str, open: &str) {
        self.file(&format!("proc/{pid}/comm"), &format!("{name}\n"));
        self.link(&format!("proc/{pid}/fd/7"), open);
        self.link(&format!("proc/{pid}/fd/8"), open);
    }

    fn path(&self, name: &str) -> String {
        self.roots.dev.join(name).display().to_string()
    }

    fn list(&self, config: &Config) -> Ports {
        list(&self.roots, config)
    }
}

fn config(devices: &[(&str, &str, bool)]) -> Config {
    let mut config = Config::default();
    for (name, path, enabled) in devices {
        let enabled = if *enabled { "on" } else { "off" };
        let yaml = format!(
            "connection: &{name}\n  accepter: tcp,0\n  connector: serialdev,{path},9600n81\n  enable: {enabled}\n"
        );
        let inputs = crate::config::load::Inputs { yaml: vec![yaml], ..Default::default() };
        let read = crate::broker::read(&inputs);
        assert_eq!(read.counts().0, 0, "{:?}", read.diagnostics);
        config.connections.extend(read.config.connections);
    }
    assert!(config.connections.iter().map(|c| &c.connector).all(|c: &Connector| c.device().is_some()));
    config
}

#[test]
fn a_usb_adapter_with_all_that_is_known_of_it() {
    let machine = Machine::new();
    machine.ftdi();
    machine.process(1234, "mini\tcom", NULL.0);
    machine.process(77, "other", FULL.0);
    let by_id = machine.path("serial/by-id/usb-FTDI_A1-if00-port0");
    let elsewhere = machine.dir.path().join("my-meter");
    symlink(&by_id, &elsewhere).unwrap();
    let config = config(&[
        ("first", &by_id, true),
        ("second", elsewhere.to_str().unwrap(), false),
        ("gone", "/dev/serial/by-id/no-such", true),
        ("file", machine.roots.locks.to_str().unwrap(), true),
    ]);
    let found = machine.list(&config);
    let Port { access, .. } = found.ports[0].clone();
    assert_eq!(access.as_ref().map(|access| access.mode.as_str()), Some("0666"));
    let connection = |name: &str, enabled| User { name: name.to_owned(), enabled };
    let expected = Port {
        name: "ttyUSB0".to_owned(),
        path: Some(machine.path("ttyUSB0")),
        by_id: vec![by_id],
        by_path: vec![machine.path("serial/by-path/pci-usb-0:1:1.0-port0")],
        other_names: vec![machine.path("meter"), elsewhere.display().to_string()],
        usb: Some(Usb {
            vendor_id: "0403".to_owned(),
            product_id: "6001".to_owned(),
            // no control character reaches a terminal
            serial: Some("A1?[2J".to_owned()),
            manufacturer: Some("FTDI".to_owned()),
            product: Some("FT232R USB UART".to_owned()),
            interface: Some("00".to_owned()),
        }),
        driver: Some("ftdi_sio".to_owned()),
        access,
        held_by: vec![Process { pid: 1234, program: Some("mini?com".to_owned()) }],
        lock_files: Vec::new(),
        connections: vec![connection("first", true), connection("second", false)],
    };
    assert_eq!(found.ports, [expected]);
    let problems: Vec<(&str, &str)> =
        found.missing.iter().map(|m| (m.connection.name.as_str(), m.problem.as_str())).collect();
    assert_eq!(problems, [("gone", "there is no such device"), ("file", "it is not a serial port")]);
    let text = text(&found, Width::Any);
    let row = text.lines().nth(1).unwrap();
    for part in ["0403:6001", "FTDI FT232R USB UART", "ftdi_sio", "yes, 0666", "mini?com (1234)"] {
        assert!(row.contains(part), "{part}\n{text}");
    }
    assert!(row.ends_with("first, second (off)"), "{text}");
    assert!(text.contains("\nconnection gone: /dev/serial/by-id/no-such: there is no such device\n"));
}

#[test]
fn ports_of_the_machine_and_ports_without_a_node() {
    let machine = Machine::new();
    machine.ftdi();
    machine.others();
    let found = machine.list(&Config::default());
    let names: Vec<_> =
        found.ports.iter().map(|p| (p.name.as_str(), p.driver.as_deref(), p.path.is_some())).collect();
    assert_eq!(names, [("ttyS10", Some("serial"), false), ("ttyUSB0", Some("ftdi_sio"), true)]);
    let text = text(&found, Width::Any);
    assert!(text.contains("No node below /dev: ttyS10. In a container"), "{text}");
    // the same in a container that was given the device under another name
    machine.link("dev/modem", ZERO.0);
    let found = machine.list(&Config::default());
    assert_eq!(found.ports[0].path, Some(machine.path("modem")));
    assert!(found.ports[0].access.is_some() && found.ports[0].other_names.is_empty());
}

#[test]
fn rules_lead_to_ports() {
    let machine = Machine::new();
    machine.ftdi();
    machine.others();
    let config = config(&[
        ("usb", "match=vid:0403+pid:6001", true),
        ("board", "match=path:00:00", true),
        ("other", "match=vid:1a86", true),
        ("both", "match=path:*0*", true),
    ]);
    let found = machine.list(&config);
    let users: Vec<(&str, Vec<&str>)> = found
        .ports
        .iter()
        .map(|port| (port.name.as_str(), port.connections.iter().map(|user| user.name.as_str()).collect()))
        .collect();
    // the one on the board has no node
    assert_eq!(users, [("ttyS10", vec!["board"]), ("ttyUSB0", vec!["usb"])]);
    let missing: Vec<(&str, &str)> =
        found.missing.iter().map(|m| (m.connection.name.as_str(), m.problem.as_str())).collect();
    assert_eq!(missing[0], ("other", "no port fits"));
    assert_eq!(missing[1].0, "both");
    assert!(missing[1].1.ends_with("fit; the rule must say more"), "{missing:?}");
}

#[test]
fn lock_files_tell_who_waits_for_no_open_descriptor() {
    let machine = Machine::new();
    machine.ftdi();
    let lock = |name: &str| machine.roots.locks.join(lock_name(&machine.path(name)).unwrap());
    let mut living = process::Command::new("sleep").arg("60").spawn().unwrap();
    let pid = living.id().cast_signed();
    machine.process(pid, "cu", FULL.0);
    fs::write(lock("ttyUSB0"), format!("{pid:10}\n")).unwrap();
    fs::write(lock("meter"), "garbage\n").unwrap();
    let before = machine.list(&Config::default());
    living.kill().unwrap();
    living.wait().unwrap();
    let after = machine.list(&Config::default());
    let locks = |found: &Ports| -> Vec<(Option<i32>, bool)> {
        let locks = &found.ports[0].lock_files;
        locks.iter().map(|lock| (lock.process.as_ref().map(|p| p.pid), lock.stale)).collect()
    };
    assert_eq!(locks(&before), [(Some(pid), false), (None, false)]);
    assert_eq!(locks(&after), [(Some(pid), true), (None, false)]);
    let garbage = lock("meter").display().to_string();
    assert!(
        text(&before, Width::Any).contains(&format!("locked by cu ({pid}), lock file {garbage}")),
        "{before:?}"
    );
    assert!(text(&after, Width::Any).contains(&format!("stale lock file of {pid}")), "{after:?}");
}

#[test]
fn nothing_is_a_hint() {
    let machine = Machine::new();
    machine.process(1, "init", NULL.0);
    let found = machine.list(&Config::default());
    assert_eq!(found, Ports::default());
    let text = text(&found, Width::Columns(80));
    assert!(text.starts_with("There is no serial port") && text.contains("--device"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let none = Roots { sys: "/nonexistent".into(), dev: "/nonexistent".into(), ..machine.roots.clone() };
    assert_eq!(list(&none, &Config::default()), Ports::default());
}

#[test]
fn a_narrow_terminal_gets_shorter_fields() {
    let mut found = Ports::default();
    let usb = Usb {
        vendor_id: "0403".to_owned(),
        product_id: "6001".to_owned(),
        serial: Some("A50285BI".to_owned()),
        manufacturer: Some("Silicon Laboratories of somewhere".to_owned()),
        product: Some("CP2102N USB to UART Bridge Controller".to_owned()),
        interface: None,
    };
    let by_id = format!("/dev/serial/by-id/usb-{}", "x".repeat(90));
    found.ports.push(Port {
        name: "ttyUSB0".to_owned(),
        path: Some("/dev/ttyUSB0".to_owned()),
        by_id: vec![by_id.clone()],
        usb: Some(usb),
        access: Some(Access {
            owner: "root".to_owned(),
            group: "dialout".to_owned(),
            mode: "0660".to_owned(),
            may_open: false,
            would_need_group: Some("anna".to_owned()),
        }),
        ..Port::default()
    });
    found.hidden_processes = 3;
    let wide = text(&found, Width::Any);
    assert!(
        wide.contains("Silicon Laboratories of somewhere CP2102N USB to UART Bridge Controller"),
        "{wide}"
    );
    // no port has a driver
    assert!(!wide.contains("DRIVER"), "{wide}");
    let narrow = text(&found, Width::Columns(110));
    let lines: Vec<&str> = narrow.lines().collect();
    assert!(lines[..2].iter().all(|line| line.chars().count() <= 110), "{narrow}");
    assert!(lines[1].contains("Silicon Laborator") && lines[1].contains('…'), "{narrow}");
    assert!(lines[1].contains("no, 0660 root:dialout"), "{narrow}");
    // names that are to be copied are whole
    assert_eq!(lines[2].trim(), by_id);
    assert!(narrow.contains("usermod -a -G dialout anna"), "{narrow}");
    assert!(narrow.contains("3 processes of others"), "{narrow}");
    // too narrow for anything: as short as it gets
    assert!(text(&found, Width::Columns(1)).contains("/dev/ttyUSB0  0403:6001  A50285BI  Silicon L…"));
}
