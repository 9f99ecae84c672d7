//! Who may connect (`remaddr`, `allow`) and where health is served (`metrics`).

use crate::config::address::{self, Address};
use crate::config::error::Span;
use crate::config::gensio::{self, Problem, Side};
use crate::config::options;
use crate::config::raw::RawValue;
use crate::config::yaml::de::{self, ValueError};
use crate::config::{ConnectBack, Destination, Family, Keepalive, RemoteRule};
use ipnet::IpNet;
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::ops::Range;

/// What `remaddr` says: who may connect, and who is connected to.
type Remote = (Vec<RemoteRule>, Vec<Back>);

/// Something to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Back {
    /// A TCP service.
    Ready(ConnectBack),
    /// What these bytes of the value describe as a connector.
    Other {
        /// With telnet on it.
        telnet: bool,
        /// Where it stands.
        place: Range<usize>,
    },
}

/// Reads the value of `remaddr`: `[!][tcp,|udp,][ipv4,|ipv6,]host[/bits],port`, separated by `;`.
/// Names are looked up now; each of their addresses becomes a rule. With a `!` it is an address
/// to connect to, as those of `connback`.
pub(super) fn remote_rules(text: &str, services: &str) -> Result<Remote, Problem> {
    let (mut rules, mut back) = (Vec::new(), Vec::new());
    for (start, entry) in entries(text) {
        match entry.strip_prefix('!') {
            Some(address) => back.push(connect_back_entry(address, start + 1, services)?),
            None => remote_entry(entry, start, services, &mut rules)?,
        }
    }
    if rules.is_empty() && back.is_empty() {
        return Err(Problem::new(0..text.len(), "remaddr names no address"));
    }
    Ok((rules, back))
}

/// The parts between semicolons that are not empty, without blanks around them, and where they begin.
fn entries(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    text.split(';').filter_map(move |entry| {
        let start = at + entry.len() - entry.trim_start().len();
        at += entry.len() + 1;
        Some((start, entry.trim())).filter(|(_, entry)| !entry.is_empty())
    })
}

/// Reads the value of `connback`: `[telnet,][tcp,][ipv4,|ipv6,]host,port`, or connectors of a few other
/// kinds in place of `tcp`; separated by `;`.
pub(super) fn connect_back(text: &str, services: &str) -> Result<Vec<Back>, Problem> {
    let list: Result<Vec<_>, _> =
        entries(text).map(|(start, entry)| connect_back_entry(entry, start, services)).collect();
    match list {
        Ok(list) if list.is_empty() => Err(Problem::new(0..text.len(), "connback names no address")),
        other => other,
    }
}

fn connect_back_entry(entry: &str, start: usize, services: &str) -> Result<Back, Problem> {
    const HELP: &str = "write for instance tcp,host,2000 or telnet,tcp,host,2000";
    let moved = |mut problem: Problem| {
        problem.place = problem.place.start + start..problem.place.end + start;
        problem
    };
    let wrong = |message: String| Problem::new(start..start + entry.len(), message).help(HELP);
    let stack = gensio::parse(entry, Side::Connector).map_err(moved)?;
    let (telnet, filters) = match stack.filters.split_first() {
        // which end speaks RFC 2217 and which is the server is no choice: this one has the line
        Some((layer, _)) if layer.name.text == "telnet" && !layer.options.is_empty() => {
            return Err(wrong("telnet takes no options here".into()));
        }
        Some((layer, rest)) if layer.name.text == "telnet" => (true, rest),
        _ => (false, &stack.filters[..]),
    };
    let possible = ["ssl", "trace", "ratelimit", "msgdelim"];
    if let Some(other) = filters.iter().find(|layer| !possible.contains(&layer.name.text.as_str())) {
        return Err(wrong(format!("connections cannot be made through {} here", other.name.text)));
    }
    match stack.base.as_ref().map(|base| (base.name.text.as_str(), base.options.is_empty())) {
        None | Some(("tcp", true)) if filters.is_empty() => {}
        None | Some(("tcp" | "udp" | "unix", _)) => {
            let first = filters.first().or(stack.base.as_ref()).map(|layer| layer.name.place.start);
            let begin = first.or(stack.tail.as_ref().map(|tail| tail.place.start)).unwrap_or(0);
            return Ok(Back::Other { telnet, place: start + begin..start + entry.len() });
        }
        Some((other, _)) => return Err(wrong(format!("connections cannot be made to {other}"))),
    }
    let Some(tail) = &stack.tail else { return Err(wrong("the address is missing".into())) };
    let list = address::parse_list(&tail.text, tail.place.start, services).map_err(moved)?;
    let [address] = list.as_slice() else { return Err(wrong("one address is wanted".into())) };
    if let Some(protocol) = address.protocol.as_ref().filter(|p| p.text != "tcp") {
        return Err(wrong(format!(
            "connections cannot be made to {0} this way: write {0} first",
            protocol.text
        )));
    }
    let Some(host) = address.host.as_ref().filter(|host| host.text != "*") else {
        return Err(wrong("an address to connect to needs a host".into()));
    };
    if address.number == 0 {
        return Err(wrong("an address to connect to needs a port".into()));
    }
    let to =
        Destination::Tcp { family: address.family, host: host.text.as_str().into(), port: address.number };
    Ok(Back::Ready(ConnectBack { telnet, to }))
}

/// Reads the value of `keepalive`: `idle/interval/count`, seconds after which a silent client is
/// given up, or `off`.
pub(super) fn keepalive(text: &str) -> Result<Option<Keepalive>, String> {
    let wrong = || format!("keepalive must be idle/interval/count, seconds, or off, not '{text}'");
    let within = |text: &str, max: u32| {
        text.trim().parse::<u32>().ok().filter(|n| (1..=max).contains(n)).ok_or_else(wrong)
    };
    if text == "off" || options::bool_of(text) == Some(false) {
        return Ok(None);
    }
    let parts: Vec<&str> = text.split('/').collect();
    match parts.as_slice() {
        // the limits of tcp(7)
        [idle, interval, count] => Ok(Some(Keepalive {
            idle: within(idle, 32_767)?,
            interval: within(interval, 32_767)?,
            count: within(count, 127)?,
        })),
        [seconds] => {
            // half of the time in silence, the rest for three probes
            let seconds = within(seconds, 32_767)?.max(4);
            let interval = (seconds / 6).max(1);
            Ok(Some(Keepalive { idle: seconds - 3 * interval, interval, count: 3 }))
        }
        _ => Err(wrong()),
    }
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
        remote_rules(text, "http 80/tcp\n").ok().map(|(l, _)| l.into_iter().map(show).collect())
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
            "!127.0.0.0/8,1",
        ] {
            assert_eq!(rules(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_to_connect_to() {
        let read = |text: &str| {
            let one = |back: &Back| match back {
                Back::Ready(back) => back.to_string(),
                Back::Other { telnet, place } => format!("{telnet}:{}", &text[place.clone()]),
            };
            let show = |l: Vec<Back>| l.iter().map(one).collect::<Vec<_>>().join(";");
            connect_back(text, "http 80/tcp\n").map(show).map_err(|p| (p.place, p.message))
        };
        for (text, want) in [
            ("tcp,127.0.0.1,2000", "tcp,127.0.0.1,2000"),
            ("127.0.0.1,http", "tcp,127.0.0.1,80"),
            (" telnet,tcp,host.example,1 ;; tcp,ipv6,::1,2;", "telnet,tcp,host.example,1;tcp,ipv6,::1,2"),
            ("udp,h.x,1;telnet,udp,h.x,2", "false:udp,h.x,1;true:udp,h.x,2"),
            (
                "telnet,ssl(CA=/c),tcp,h.x,1; ssl(CA=/c),h.x,1",
                "true:ssl(CA=/c),tcp,h.x,1;false:ssl(CA=/c),h.x,1",
            ),
            ("unix,/run/x;tcp(nodelay),h.x,1", "false:unix,/run/x;false:tcp(nodelay),h.x,1"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(want), "{text}");
        }
        for text in [
            "",
            ";",
            "tcp",
            "tcp,2000",
            "tcp,h.x,0",
            "ipv4,udp,h.x,1",
            "telnet,telnet,tcp,h.x,1",
            "keepopen,tcp,h.x,1",
            "echo",
            "tcp,h.x,1,h.y,2",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        let (place, _) = read("tcp,h.x,1; pty,h.x,1").unwrap_err();
        assert_eq!(place, 11..20);
        let (rules, back) = remote_rules("127.0.0.1,0;!host.example,7", "").unwrap();
        let Back::Ready(back) = &back[0] else { panic!("{back:?}") };
        assert_eq!((rules.len(), back.to_string()), (1, "tcp,host.example,7".to_owned()));
    }

    #[test]
    fn keepalive_times() {
        let read = |text| keepalive(text).map(|k| k.map_or("off".to_owned(), |k| k.to_string()));
        for (text, want) in [
            ("15/5/3", "15/5/3"),
            ("1/1/127", "1/1/127"),
            ("30", "15/5/3"),
            ("1", "1/1/3"),
            ("off", "off"),
            ("false", "off"),
            ("0", "off"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(want), "{text}");
        }
        for text in ["", "1/2", "0/1/1", "1/1/128", "40000", "x", "1/2/3/4", "-5"] {
            assert!(read(text).is_err(), "{text}");
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
