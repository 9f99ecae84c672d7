//! What a connection says of itself by mDNS (RFC 6762, RFC 6763).

use std::fmt;

/// An announcement of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announce {
    /// `mdns`. It is true in a configuration that is complete.
    pub enabled: bool,
    /// Index of the only network interface to announce on; `None`: all.
    pub interface: Option<u32>,
    /// Address family.
    pub net_type: NetType,
    /// Name of the service; `None`: that of the connection.
    pub name: Option<String>,
    /// Type of the service, for instance `_zwave._tcp`; `None`: `_iostream._tcp`.
    pub service: Option<String>,
    /// Domain; `None`: `local`.
    pub domain: Option<String>,
    /// Host; `None`: this one.
    pub host: Option<String>,
    /// Texts of the form `name=value`.
    pub texts: Vec<String>,
    /// Tell what the kernel knows of the USB device.
    pub attributes: bool,
}

/// Address families that are announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NetType {
    /// Both.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

impl fmt::Display for NetType {
    /// As `mdns-nettype` has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "unspec",
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        })
    }
}

/// Longest name or label (RFC 1035 section 2.3.4) and longest text (RFC 6763 section 6.1), in bytes.
const LONGEST: (usize, usize) = (63, 255);

/// What is wrong with the value of an option, as a sentence; `None`: nothing.
pub(super) fn complaint(option: &str, value: &str) -> Option<String> {
    let (label, text) = LONGEST;
    match option {
        "mdns-name" if value.len() > label => Some(format!("mdns-name is longer than {label} bytes")),
        "mdns-type" if !is_service_type(value) => {
            Some(format!("mdns-type must be like _iostream._tcp, not '{value}'"))
        }
        "mdns-domain" | "mdns-host"
            if value.trim_end_matches('.').split('.').any(|l| l.is_empty() || l.len() > label) =>
        {
            Some(format!("'{value}' is no name of a host or domain"))
        }
        "mdns-txt" => {
            let name = value.split_once('=').map(|(name, _)| name);
            let good = name.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| (0x20..0x7f).contains(&b)));
            (!good || value.len() > text)
                .then(|| format!("mdns-txt must be name=value of at most {text} bytes, not '{value}'"))
        }
        _ => None,
    }
}

/// `_name._tcp` or `_name._udp`, the name as RFC 6335 section 5.1 wants it.
fn is_service_type(text: &str) -> bool {
    let Some((name, "_tcp" | "_udp")) = text.split_once('.') else { return false };
    let Some(name) = name.strip_prefix('_') else { return false };
    (1..=15).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && name.bytes().any(|b| b.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_be_announced() {
        for (option, value, good) in [
            ("mdns-type", "_iostream._tcp", true),
            ("mdns-type", "_zigbee-coordin._tcp", true),
            ("mdns-type", "_a._udp", true),
            ("mdns-type", "_abcdefghijklmnop._tcp", false),
            ("mdns-type", "iostream._tcp", false),
            ("mdns-type", "_iostream", false),
            ("mdns-type", "_iostream._sctp", false),
            ("mdns-type", "_._tcp", false),
            ("mdns-name", "a name, with \u{e9}", true),
            ("mdns-host", "box.local.", true),
            ("mdns-domain", "local", true),
            ("mdns-domain", "a..b", false),
            ("mdns-txt", "radio_type=ezsp", true),
            ("mdns-txt", "empty=", true),
            ("mdns-txt", "=x", false),
            ("mdns-txt", "alone", false),
        ] {
            assert_eq!(complaint(option, value).is_none(), good, "{option} {value}");
        }
        assert!(complaint("mdns-name", &"x".repeat(64)).is_some());
        assert!(complaint("mdns-txt", &format!("a={}", "x".repeat(254))).is_some());
    }
}
