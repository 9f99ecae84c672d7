//! The terminals that have a serial driver, as `/sys/class/tty` tells them.

use super::printable;
use nix::libc::dev_t;
use nix::sys::stat::makedev;
use serde::Serialize;
use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest text of an attribute that is looked at, bytes; USB strings have at most 126 characters.
const MAX_TEXT: usize = 512;

/// A port as the kernel tells it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    /// `ttyUSB0`.
    pub(super) name: String,
    /// Device number of its node.
    pub(super) number: dev_t,
    pub(super) driver: Option<String>,
    pub(super) usb: Option<Usb>,
}

/// What a USB device tells of itself (`Documentation/ABI/testing/sysfs-bus-usb` of the kernel).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usb {
    /// Four hexadecimal digits.
    pub vendor_id: String,
    /// Four hexadecimal digits.
    pub product_id: String,
    /// Serial number.
    pub serial: Option<String>,
    /// Manufacturer.
    pub manufacturer: Option<String>,
    /// Product.
    pub product: Option<String>,
    /// Number of the interface, two hexadecimal digits: which port of an adapter with several.
    pub interface: Option<String>,
}

/// The serial ports, sorted by name (`ttyUSB2` before `ttyUSB10`).
pub(super) fn ports(sys: &Path) -> Vec<Kernel> {
    // the ends of links are compared with it
    let Ok(sys) = fs::canonicalize(sys) else { return Vec::new() };
    let entries = fs::read_dir(sys.join("class/tty")).into_iter().flatten().flatten();
    let mut ports: Vec<Kernel> = entries.filter_map(|entry| port(&sys, &entry.path())).collect();
    ports.sort_by(|a, b| by_number(&a.name, &b.name));
    ports
}

/// A directory of `/sys/class/tty`; `None` when there is no hardware behind it.
fn port(sys: &Path, dir: &Path) -> Option<Kernel> {
    // the 8250 driver keeps places for ports that this machine does not have: type 0, PORT_UNKNOWN
    if attribute(dir, "type").is_some_and(|kind| kind == "0") {
        return None;
    }
    let name = dir.file_name()?.to_str()?.to_owned();
    let (major, minor) = attribute(dir, "dev")?.split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned()))?;
    let number = makedev(major.parse().ok()?, minor.parse().ok()?);
    // consoles and pseudo-terminals have none
    let device = fs::canonicalize(dir.join("device")).ok()?;
    Some(Kernel { name, number, driver: driver(sys, &device), usb: usb(sys, &device) })
}

/// `device` and the directories above it, as far as they are devices.
fn chain<'a>(sys: &'a Path, device: &'a Path) -> impl Iterator<Item = &'a Path> {
    let devices = sys.join("devices");
    device.ancestors().take_while(move |dir| dir.starts_with(&devices) && **dir != devices)
}

/// The last part of what a link leads to.
fn target(link: PathBuf) -> Option<String> {
    Some(printable(fs::read_link(link).ok()?.file_name()?.to_str()?))
}

fn driver(sys: &Path, device: &Path) -> Option<String> {
    chain(sys, device)
        // the layer between ports and their drivers, since Linux 6.5
        .filter(|dir| target(dir.join("subsystem")).is_none_or(|bus| bus != "serial-base"))
        .find_map(|dir| target(dir.join("driver")))
}

fn usb(sys: &Path, device: &Path) -> Option<Usb> {
    let mut interface = None;
    for dir in chain(sys, device) {
        if interface.is_none() {
            interface = attribute(dir, "bInterfaceNumber");
        }
        if let (Some(vendor_id), Some(product_id)) = (attribute(dir, "idVendor"), attribute(dir, "idProduct"))
        {
            return Some(Usb {
                vendor_id,
                product_id,
                serial: attribute(dir, "serial"),
                manufacturer: attribute(dir, "manufacturer"),
                product: attribute(dir, "product"),
                interface,
            });
        }
    }
    None
}

/// The text of an attribute; `None` when it is not there or empty.
fn attribute(dir: &Path, name: &str) -> Option<String> {
    let bytes = fs::read(dir.join(name)).ok()?;
    let text = printable(&String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_TEXT)]));
    (!text.is_empty()).then_some(text)
}

/// Names with a number at their end by that number.
fn by_number(a: &str, b: &str) -> Ordering {
    let parts = |name: &str| {
        let word = name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        let number: Option<u64> = name[word.len()..].parse().ok();
        (word, number)
    };
    parts(a).cmp(&parts(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_sorted_as_numbers() {
        let mut names = ["ttyUSB10", "ttyS1", "ttyUSB2", "ttyACM0", "tty"];
        names.sort_by(|a, b| by_number(a, b));
        assert_eq!(names, ["tty", "ttyACM0", "ttyS1", "ttyUSB2", "ttyUSB10"]);
    }
}
