//! Serial ports by what is plugged in, wherever the kernel has put it: `match` rules.
//!
//! What is looked at is `/sys` (sysfs(5)): `class/tty` has a link to each terminal's device, and the
//! directories above that are the USB interface (`bInterfaceNumber`) and the USB device (`idVendor`,
//! `idProduct`, `serial`). Nothing of it needs udev.

use std::fmt;
use std::fs;
use std::path::Path;

/// Where sysfs is.
pub const SYSFS: &str = "/sys";

/// What a serial port must be to be the one that is meant. What is not said is not looked at; at
/// least one thing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// USB vendor.
    pub vid: Option<u16>,
    /// USB product.
    pub pid: Option<u16>,
    /// USB serial number, with `*` and `?`.
    pub serial: Option<String>,
    /// Number of the USB interface, for adapters with several ports.
    pub interface: Option<u8>,
    /// Where it is plugged in, with `*` and `?`: the kernel's name of the USB device or interface
    /// (`1-1.4`, `1-1.4:1.0`), or any directory of the device's path for ports that are not USB.
    pub path: Option<String>,
}

/// The fields of a rule, as they are written.
pub const FIELDS: [&str; 5] = ["vid", "pid", "serial", "interface", "path"];

impl Match {
    /// Sets a field from text.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the name or the value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let id = || {
            let digits = value.strip_prefix("0x").or_else(|| value.strip_prefix("0X")).unwrap_or(value);
            let hex = (1..=4).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
            let number = u16::from_str_radix(digits, 16).ok().filter(|_| hex);
            number.ok_or_else(|| {
                format!("{name} must be up to four hexadecimal digits like 0403, not '{value}'")
            })
        };
        let text = || {
            if value.is_empty() { Err(format!("{name} needs a value")) } else { Ok(value.to_owned()) }
        };
        match name {
            "vid" => self.vid = Some(id()?),
            "pid" => self.pid = Some(id()?),
            "serial" => self.serial = Some(text()?),
            "path" => self.path = Some(text()?),
            "interface" => {
                let number = value.parse().ok().filter(|_| value.bytes().all(|b| b.is_ascii_digit()));
                self.interface = Some(
                    number
                        .ok_or_else(|| format!("interface must be a number from 0 to 255, not '{value}'"))?,
                );
            }
            _ => return Err(format!("'{name}' is nothing that a device could be found by")),
        }
        Ok(())
    }

    /// Nothing is said: every port would do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn fits(&self, port: &Port) -> bool {
        let Self { vid, pid, serial, interface, path } = self;
        same(vid.as_ref(), port.vid.as_ref())
            && same(pid.as_ref(), port.pid.as_ref())
            && same(interface.as_ref(), port.interface.as_ref())
            && serial.as_ref().is_none_or(|p| port.serial.as_ref().is_some_and(|s| like(p, s)))
            && path.as_ref().is_none_or(|p| port.places.iter().any(|place| like(p, place)))
    }
}

impl fmt::Display for Match {
    /// As one would write it behind `match=`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vid, pid, serial, interface, path } = self;
        let fields = [
            vid.map(|id| format!("vid:{id:04x}")),
            pid.map(|id| format!("pid:{id:04x}")),
            serial.as_ref().map(|text| format!("serial:{text}")),
            interface.map(|number| format!("interface:{number}")),
            path.as_ref().map(|text| format!("path:{text}")),
        ];
        let fields: Vec<String> = fields.into_iter().flatten().collect();
        f.write_str(&fields.join("+"))
    }
}

/// Nothing special is wanted, or just what was found.
fn same<T: PartialEq>(wanted: Option<&T>, found: Option<&T>) -> bool {
    wanted.is_none_or(|wanted| found == Some(wanted))
}

/// A serial port as sysfs describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Port {
    /// Its device node.
    node: String,
    vid: Option<u16>,
    pid: Option<u16>,
    serial: Option<String>,
    interface: Option<u8>,
    /// Names of directories that say where it is.
    places: Vec<String>,
}

impl Port {
    /// Reads what there is of the terminal `name`; `None` when no device is behind it.
    fn read(sysfs: &Path, name: &str) -> Option<Self> {
        let class = sysfs.join("class/tty").join(name);
        // consoles and pseudo-terminals have none; and `device` alone would end at the tty's parent
        class.join("device").symlink_metadata().ok()?;
        // a relative link through `devices`, without other links in it
        let path = sysfs.join("class/tty").join(fs::read_link(&class).ok()?);
        let node = fs::read_to_string(class.join("uevent"))
            .ok()
            .and_then(|text| text.lines().find_map(|line| line.strip_prefix("DEVNAME=").map(str::to_owned)));
        let mut port = Self { node: format!("/dev/{}", node.as_deref().unwrap_or(name)), ..Self::default() };
        let text = |directory: &Path, file: &str| {
            fs::read_to_string(directory.join(file)).ok().map(|text| text.trim_end_matches('\n').to_owned())
        };
        let hex = |directory: &Path, file: &str| {
            text(directory, file).and_then(|text| u16::from_str_radix(text.trim(), 16).ok())
        };
        let mut places = Vec::new();
        for directory in path.ancestors().skip(1) {
            let own_name = directory.file_name().map(|name| name.to_string_lossy().into_owned());
            if own_name.as_deref() == Some("devices") {
                break;
            }
            if directory.join("bInterfaceNumber").exists() {
                let number = text(directory, "bInterfaceNumber");
                port.interface = number.and_then(|text| u8::from_str_radix(text.trim(), 16).ok());
                port.places.extend(own_name);
                continue;
            }
            if let Some(vid) = hex(directory, "idVendor") {
                port.vid = Some(vid);
                port.pid = hex(directory, "idProduct");
                port.serial = text(directory, "serial");
                port.places.extend(own_name);
                // the hubs above it are other devices
                return Some(port);
            }
            places.extend(own_name);
        }
        port.places = places;
        Some(port)
    }
}

/// The device nodes of all ports that a rule fits, in the order of their names. Reads a few files for
/// each terminal that there is.
pub fn find(rule: &Match, sysfs: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(sysfs.join("class/tty")) else { return Vec::new() };
    let mut nodes: Vec<String> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| Port::read(sysfs, &entry.file_name().to_string_lossy()))
        .filter(|port| rule.fits(port))
        .map(|port| port.node)
        .collect();
    // ttyUSB2 before ttyUSB10
    nodes.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    nodes
}

/// Whether `text` is what `pattern` says: `*` is any run of characters, `?` one.
fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // where to go on when what follows the last `*` does not fit
    let mut star: Option<(usize, usize)> = None;
    let (mut p, mut t) = (0, 0);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    (p, t) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    fn rule(fields: &[(&str, &str)]) -> Match {
        let mut rule = Match::default();
        for (name, value) in fields {
            rule.set(name, value).unwrap();
        }
        rule
    }

    /// A sysfs with adapters behind a hub, one of them with two ports, and a port on the board.
    fn machine() -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        let sys = dir.path();
        let write = |path: String, text: &str| {
            let path = sys.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let usb = "devices/pci0000:00/0000:00:14.0/usb1/1-1";
        let device = |path: &str, vid: &str, pid: &str, serial: Option<&str>| {
            write(format!("{path}/idVendor"), &format!("{vid}\n"));
            write(format!("{path}/idProduct"), &format!("{pid}\n"));
            if let Some(serial) = serial {
                write(format!("{path}/serial"), &format!("{serial}\n"));
            }
        };
        let tty = |directory: &str, name: &str| {
            write(format!("{directory}/tty/{name}/uevent"), &format!("MAJOR=188\nMINOR=0\nDEVNAME={name}\n"));
            symlink(sys.join(directory), sys.join(format!("{directory}/tty/{name}/device"))).unwrap();
            fs::create_dir_all(sys.join("class/tty")).unwrap();
            symlink(format!("../../{directory}/tty/{name}"), sys.join("class/tty").join(name)).unwrap();
        };
        device(usb, "05e3", "0608", None);
        device(&format!("{usb}/1-1.2"), "0403", "6001", Some("A50285BI"));
        write(format!("{usb}/1-1.2/1-1.2:1.0/bInterfaceNumber"), "00\n");
        tty(&format!("{usb}/1-1.2/1-1.2:1.0/ttyUSB0"), "ttyUSB0");
        device(&format!("{usb}/1-1.3"), "0403", "6010", Some("FT2"));
        for (interface, name) in [(0, "ttyUSB2"), (1, "ttyUSB10")] {
            write(format!("{usb}/1-1.3/1-1.3:1.{interface}/bInterfaceNumber"), &format!("0{interface}\n"));
            tty(&format!("{usb}/1-1.3/1-1.3:1.{interface}/{name}"), name);
        }
        tty("devices/platform/soc/3f201000.serial", "ttyAMA0");
        // a console has no device
        fs::create_dir_all(sys.join("devices/virtual/tty/tty1")).unwrap();
        symlink("../../devices/virtual/tty/tty1", sys.join("class/tty/tty1")).unwrap();
        dir
    }

    #[test]
    fn ports_are_found_by_each_field_and_by_all_together() {
        let machine = machine();
        let found = |fields: &[(&str, &str)]| find(&rule(fields), machine.path());
        assert_eq!(found(&[("vid", "0403"), ("pid", "6001")]), ["/dev/ttyUSB0"]);
        assert_eq!(found(&[("vid", "0x403")]), ["/dev/ttyUSB0", "/dev/ttyUSB2", "/dev/ttyUSB10"]);
        assert_eq!(found(&[("serial", "A50285BI")]), ["/dev/ttyUSB0"]);
        assert_eq!(found(&[("serial", "FT*"), ("interface", "1")]), ["/dev/ttyUSB10"]);
        assert_eq!(found(&[("path", "1-1.3")]), ["/dev/ttyUSB2", "/dev/ttyUSB10"]);
        assert_eq!(found(&[("path", "1-1.3:1.0")]), ["/dev/ttyUSB2"]);
        assert_eq!(found(&[("path", "*.serial")]), ["/dev/ttyAMA0"]);
        // the hub is not the device that is plugged into it
        assert_eq!(found(&[("path", "1-1")]), Vec::<String>::new());
        assert_eq!(found(&[("vid", "05e3")]), Vec::<String>::new());
        assert_eq!(
            found(&[
                ("vid", "0403"),
                ("pid", "6001"),
                ("serial", "A50285BI"),
                ("interface", "0"),
                ("path", "1-1.?")
            ]),
            ["/dev/ttyUSB0"]
        );
        assert_eq!(found(&[("vid", "0403"), ("pid", "6001"), ("serial", "a50285bi")]), Vec::<String>::new());
        assert_eq!(find(&rule(&[("vid", "1")]), Path::new("/nonexistent")), Vec::<String>::new());
    }

    #[test]
    fn patterns() {
        for (pattern, text, fits) in [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a*", "a", true),
            ("*b*d", "abcbd", true),
            ("*b*d", "abcbde", false),
            ("?", "", false),
            ("??", "äö", true),
            ("**", "", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(like(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn rules_are_written_as_they_are_read_and_nonsense_is_refused() {
        let all =
            [("vid", "0x403"), ("pid", "6001"), ("serial", "A B"), ("interface", "12"), ("path", "1-*")];
        assert_eq!(rule(&all).to_string(), "vid:0403+pid:6001+serial:A B+interface:12+path:1-*");
        for (name, value) in [
            ("vid", ""),
            ("vid", "0403x"),
            ("vid", "10403"),
            ("pid", "+1"),
            ("serial", ""),
            ("path", ""),
            ("interface", "256"),
            ("interface", "-1"),
            ("interface", "+1"),
            ("vendor", "1"),
        ] {
            let message = Match::default().set(name, value).unwrap_err();
            assert!(message.contains(name), "{message}");
        }
        assert!(Match::default().is_empty() && !rule(&[("interface", "0")]).is_empty());
    }
}
