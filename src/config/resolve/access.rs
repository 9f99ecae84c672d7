//! Who may connect (`remaddr`, `allow`) and where health is served (`metrics`).

use crate::config::address::{self, Address};
use crate::config::error::Span;
use crate::config::gensio::Problem;
use crate::config::raw::RawValue;
use crate::config::yaml::de::{self, ValueError};
use crate::config::{Family, RemoteRule};
use ipnet::IpNet;
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// Why a rule cannot be used.
pub(super) enum Refused {
    /// A mistake.
    Wrong(Problem),
    /// A connect-back address: later work.
    ConnectBack(std::ops::Range<usize>),
}

/// Reads the value of `remaddr`: `[tcp,|udp,][ipv4,|ipv6,]host[/bits],port`, separated by `;`.
/// Names are looked up now; each of their addresses becomes a rule.
pub(super) fn remote_rules(text: &str, services: &str) -> Result<Vec<RemoteRule>, Refused> {
    let mut rules = Vec::new();
    let mut at = 0;
    for entry in text.split(';') {
        let trimmed = entry.trim();
        let start = at + entry.len() - entry.trim_start().len();
        at += entry.len() + 1;
        if trimmed.is_empty() {
            continue;
        }
        if trimmed.starts_with('!') {
            return Err(Refused::ConnectBack(start..start + trimmed.len()));
        }
        remote_entry(trimmed, start, services, &mut rules).map_err(Refused::Wrong)?;
    }
    if rules.is_empty() {
        return Err(Refused::Wrong(Problem::new(0..text.len(), "remaddr names no address")));
    }
    Ok(rules)
}

fn remote_entry(
    entry: &str,
    start: usize,
    services: &str,
    rules: &mut Vec<RemoteRule>,
) -> Result<(), Problem> {
    // The mask is taken out first, so that the rest is an address list like any other.
    let (unmasked, mask) = match entry.split_once('/') {
        None => (entry.to_owned(), None),
        Some((before, after)) => {
            let (mask, rest) = after.split_once(',').unwrap_or((after, ""));
            (format!("{before},{rest}"), Some(mask))
        }
    };
    let place = start..start + entry.len();
    let wrong = |message: String| {
        Problem::new(place.clone(), message).help("write host,port or network/bits,port; port 0 is any port")
    };
    let list = address::parse_list(&unmasked, start, services).map_err(|p| wrong(p.message))?;
    for address in list {
        let port = Some(address.number).filter(|&p| p != 0);
        for net in networks(&address, mask).map_err(&wrong)? {
            rules.push(RemoteRule { negate: false, net, port });
        }
    }
    Ok(())
}

fn networks(address: &Address, mask: Option<&str>) -> Result<Vec<IpNet>, String> {
    // Without a host there is no telling who is meant, and letting everybody in would be unsafe.
    let Some(host) = &address.host else { return Err("a remote address needs a host".into()) };
    let found: Vec<IpAddr> = match host.text.parse::<IpAddr>() {
        Ok(ip) => vec![ip],
        Err(_) => (host.text.as_str(), 0)
            .to_socket_addrs()
            .map(|list| list.map(|a| a.ip()).collect())
            .map_err(|e| format!("cannot look up '{}': {e}", host.text))?,
    };
    let wanted = |ip: &IpAddr| match address.family {
        Family::V4 => ip.is_ipv4(),
        Family::V6 => ip.is_ipv6(),
        Family::Any | Family::V6Mapped => true,
    };
    let mut list = Vec::new();
    for ip in found.into_iter().filter(wanted) {
        let net = network(ip, mask)?;
        if !list.contains(&net) {
            list.push(net);
        }
    }
    if list.is_empty() { Err(format!("'{}' has no address of that family", host.text)) } else { Ok(list) }
}

/// An address with a mask: a number of bits, or for IPv4 also dotted.
fn network(ip: IpAddr, mask: Option<&str>) -> Result<IpNet, String> {
    let ip = ip.to_canonical();
    let Some(mask) = mask else { return Ok(IpNet::from(ip)) };
    let net = match mask.parse::<IpAddr>() {
        Ok(dotted) if dotted.is_ipv4() == ip.is_ipv4() => IpNet::with_netmask(ip, dotted).ok(),
        Ok(_) => None,
        Err(_) => mask.parse::<u8>().ok().and_then(|bits| IpNet::new(ip, bits).ok()),
    };
    net.map(|n| n.trunc()).ok_or_else(|| format!("'{mask}' is not a mask for {ip}"))
}

/// Reads the value of `allow`: networks or addresses, in a list or separated by commas or blanks.
pub(super) fn allowed(value: &RawValue) -> Result<Vec<IpNet>, String> {
    let mut list = Vec::new();
    collect(value, &mut list)?;
    if list.is_empty() { Err("allow names no network".into()) } else { Ok(list) }
}

fn collect(value: &RawValue, list: &mut Vec<IpNet>) -> Result<(), String> {
    match value {
        RawValue::Scalar(text) => {
            for word in text.split([',', ' ', '\t', '\n', ';']).filter(|w| !w.is_empty()) {
                let (ip, mask) = word.split_once('/').map_or((word, None), |(ip, mask)| (ip, Some(mask)));
                let ip =
                    ip.parse::<IpAddr>().map_err(|_| format!("'{word}' is not an address or a network"))?;
                list.push(network(ip, mask)?);
            }
            Ok(())
        }
        RawValue::List(items) => items.iter().try_for_each(|item| collect(&item.value, list)),
        RawValue::Map(_) => Err("allow is a list of networks".into()),
    }
}

/// Reads the value of `metrics`: `address:port`, a port alone (on 127.0.0.1), or a mapping with
/// `listen`.
pub(super) fn metrics(value: &RawValue, span: &Span) -> Result<SocketAddr, ValueError> {
    let Listen(address) = match value {
        RawValue::Map(_) => de::from_value::<MetricsSection>(value, span)?.listen,
        _ => de::from_value(value, span)?,
    };
    Ok(address)
}

/// `metrics:` as a mapping.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MetricsSection {
    listen: Listen,
}

/// Where to listen.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Listen(SocketAddr);

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Ok(port) = text.parse::<u16>() {
            return Ok(Self(SocketAddr::from(([127, 0, 0, 1], port))));
        }
        let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let address = numeric.as_ref().unwrap_or(&text).parse();
        address.map(Self).map_err(|_| format!("'{text}' is not an address and a port"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::error::Source;
    use crate::config::raw::Spanned;
    use std::sync::Arc;

    fn rules(text: &str) -> Option<Vec<String>> {
        let show = |r: RemoteRule| format!("{} {:?}", r.net, r.port);
        remote_rules(text, "http 80/tcp\n").ok().map(|l| l.into_iter().map(show).collect())
    }

    #[test]
    fn remote_addresses() {
        for (text, expected) in [
            ("127.0.0.1,0", vec!["127.0.0.1/32 None"]),
            ("127.0.0.1,0;", vec!["127.0.0.1/32 None"]),
            (";127.0.0.1, 5", vec!["127.0.0.1/32 Some(5)"]),
            ("tcp,127.0.0.1,0", vec!["127.0.0.1/32 None"]),
            ("udp,ipv4,127.0.0.1,http", vec!["127.0.0.1/32 Some(80)"]),
            ("127.0.0.9,0 ; ::1,1", vec!["127.0.0.9/32 None", "::1/128 Some(1)"]),
            ("127.0.0.1,0,127.0.0.2,0", vec!["127.0.0.1/32 None", "127.0.0.2/32 None"]),
            ("127.0.0.0/8,0", vec!["127.0.0.0/8 None"]),
            ("10.1.2.3/255.0.0.0,7", vec!["10.0.0.0/8 Some(7)"]),
            ("fd00::/8,0", vec!["fd00::/8 None"]),
            ("::ffff:10.0.0.1,0", vec!["10.0.0.1/32 None"]),
        ] {
            assert_eq!(rules(text), Some(expected.into_iter().map(String::from).collect()), "{text}");
        }
        assert!(rules("localhost,0").is_some_and(|l| l.contains(&"127.0.0.1/32 None".to_owned())));
        for text in [
            "",
            ";",
            "127.0.0.1",
            "0",
            "*,0",
            "127.0.0.1,abc",
            "not a host!!,0",
            "10.0.0.0/33,0",
            "10.0.0.0/x,0",
            "ipv6,localhost.invalid,0",
            "10.0.0.0/8",
            "!127.0.0.1,0",
        ] {
            assert_eq!(rules(text), None, "{text}");
        }
    }

    #[test]
    fn allow_lists() {
        let scalar = |t: &str| allowed(&RawValue::Scalar(t.into())).map(|l| format!("{l:?}"));
        assert_eq!(scalar("10.0.0.0/8, ::1 192.168.1.7"), Ok("[10.0.0.0/8, ::1/128, 192.168.1.7/32]".into()));
        assert_eq!(scalar("10.9.9.9/255.255.0.0"), Ok("[10.9.0.0/16]".into()));
        for text in ["", " , ", "localhost", "10.0.0.0/40", "10.0.0.0/", "::/255.0.0.0"] {
            assert!(scalar(text).is_err(), "{text}");
        }
    }

    #[test]
    fn metrics_addresses() {
        let span = Span { source: Arc::new(Source::new("t.yaml", "x")), start: 0, end: 1 };
        let read = |value: &RawValue| metrics(value, &span).map(|a| a.to_string());
        let scalar = |t: &str| read(&RawValue::Scalar(t.into()));
        let map = |key: &str, t: &str| {
            let spanned = |v: String| Spanned { value: v, span: span.clone() };
            let value = Spanned { value: RawValue::Scalar(t.into()), span: span.clone() };
            read(&RawValue::Map(vec![(spanned(key.into()), value)]))
        };
        assert_eq!(map("listen", "9100"), Ok("127.0.0.1:9100".into()));
        assert!(map("listen", "host:1").is_err() && map("address", "9100").is_err());
        assert!(read(&RawValue::List(Vec::new())).is_err());
        assert_eq!(scalar("127.0.0.1:9100"), Ok("127.0.0.1:9100".into()));
        assert_eq!(scalar("9100"), Ok("127.0.0.1:9100".into()));
        assert_eq!(scalar("localhost:9100"), Ok("127.0.0.1:9100".into()));
        assert_eq!(scalar("[::1]:9100"), Ok("[::1]:9100".into()));
        for text in ["", "70000", "127.0.0.1", "::1:9100x", "host:1"] {
            assert!(scalar(text).is_err(), "{text}");
        }
    }
}
