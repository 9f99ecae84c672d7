//! The serial ports that the machine has, for whoever asked for one that it has not.

use std::fmt::Write;
use tokio_serial::{SerialPortType, available_ports};

/// Ports that are named in one message.
const NAMED: usize = 8;

/// The ports of this machine with a driver behind them, as a part of a sentence; empty when there is
/// none or when that cannot be found out. It reads `/sys` and may block for as long as that takes.
pub(super) fn present() -> String {
    describe(available_ports().unwrap_or_default().into_iter().map(|port| (port.port_name, port.port_type)))
}

fn describe(ports: impl Iterator<Item = (String, SerialPortType)>) -> String {
    let mut names: Vec<String> = ports
        .map(|(name, kind)| match kind {
            SerialPortType::UsbPort(usb) => {
                let product = usb.product.unwrap_or_else(|| "USB".to_owned());
                format!("{name} ({product}, {:04x}:{:04x})", usb.vid, usb.pid)
            }
            _ => name,
        })
        .collect();
    names.sort();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let mut text = names.join(", ");
    if more > 0 {
        // a String takes everything
        let _ = write!(text, " and {more} more");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_serial::UsbPortInfo;

    #[test]
    fn ports_are_named_with_what_is_known_of_them() {
        let usb = UsbPortInfo {
            vid: 0x0403,
            pid: 0x6001,
            serial_number: None,
            manufacturer: None,
            product: Some("FT232R USB UART".to_owned()),
        };
        let ports = [("/dev/ttyUSB1", SerialPortType::UsbPort(usb)), ("/dev/ttyS0", SerialPortType::Unknown)];
        let text = describe(ports.into_iter().map(|(name, kind)| (name.to_owned(), kind)));
        assert_eq!(text, "/dev/ttyS0, /dev/ttyUSB1 (FT232R USB UART, 0403:6001)");
        assert_eq!(describe(std::iter::empty()), "");
        let many = (10..30).map(|n| (format!("/dev/ttyS{n}"), SerialPortType::Unknown));
        assert!(describe(many).ends_with("/dev/ttyS17 and 12 more"));
    }
}
