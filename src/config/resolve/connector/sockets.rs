//! Sockets as the bottom of connector strings.

use super::Ends;
use crate::config::Family;
use crate::config::address::{self, Address};
use crate::config::connector::{Local, Remote, TcpConnect, UdpConnect};
use crate::config::error::Span;
use crate::config::options::Value;
use crate::config::resolve::report::sub_span;
use std::net::IpAddr;
use std::path::PathBuf;

pub(super) fn tcp(ends: &mut Ends<'_>) -> Option<TcpConnect> {
    let mut tcp = TcpConnect { remotes: Vec::new(), local: None, nodelay: true };
    for setting in ends.settings("tcp") {
        match (setting.row.name, setting.value) {
            ("nodelay", Value::Bool(on)) => tcp.nodelay = on,
            ("laddr", Value::Text(text)) => tcp.local = Some(local(ends, &text, &setting.span)?),
            _ => {}
        }
    }
    tcp.remotes = remotes(ends, "tcp")?;
    Some(tcp)
}

pub(super) fn udp(ends: &mut Ends<'_>) -> Option<UdpConnect> {
    let (mut local_end, mut groups, mut ttl) = (None, Vec::new(), 1);
    let (mut loopback, mut from_all, mut reuseaddr) = (true, false, false);
    for setting in ends.settings("udp") {
        match (setting.row.name, setting.value) {
            ("laddr", Value::Text(text)) => local_end = Some(local(ends, &text, &setting.span)?),
            ("nocon", Value::Bool(on)) => from_all = on,
            ("mloop", Value::Bool(on)) => loopback = on,
            ("reuseaddr", Value::Bool(on)) => reuseaddr = on,
            // the row keeps it below 256
            ("mttl", Value::Int(Some(hops))) => ttl = hops as u8,
            ("mcast", Value::Text(text)) => groups.extend(multicast(ends, &text, &setting.span)?),
            _ => {}
        }
    }
    let mut remotes = remotes(ends, "udp")?;
    if remotes.len() > 1 {
        let place = ends.stack.tail.as_ref().map_or(0..ends.text.value.len(), |tail| tail.place.clone());
        let help = Some("write one address; several peers can share a multicast group".to_owned());
        ends.report.error(sub_span(ends.text, &place), "udp has one peer only", help);
        return None;
    }
    let remote = remotes.pop()?;
    Some(UdpConnect { remote, local: local_end, groups, ttl, loopback, from_all, reuseaddr })
}

pub(super) fn unix(ends: &mut Ends<'_>) -> Option<PathBuf> {
    // no option of it does anything yet, but mistakes among them are told
    let _ = ends.settings("unix");
    let path = ends.tail();
    if path.is_empty() {
        ends.missing("the path of the socket", "unix,/run/service.sock");
        return None;
    }
    // sun_path of unix(7) has room for 107 bytes and the final zero
    if path.len() > 107 {
        let message = format!("the path of the socket has {} bytes; 107 is the most", path.len());
        ends.report.error(ends.text.span.clone(), message, None);
        return None;
    }
    Some(PathBuf::from(path))
}

fn remotes(ends: &mut Ends<'_>, protocol: &'static str) -> Option<Vec<Remote>> {
    let Some(tail) = ends.stack.tail.as_ref().filter(|tail| !tail.text.is_empty()) else {
        ends.missing("the address", &format!("{protocol},192.0.2.1,2000"));
        return None;
    };
    let list = match address::parse_list(&tail.text, tail.place.start, ends.services) {
        Ok(list) => list,
        Err(problem) => {
            ends.report.problem(ends.text, problem);
            return None;
        }
    };
    let mut remotes = Vec::new();
    for Address { protocol: named, family, host, port, number } in list {
        let span = sub_span(ends.text, &port.place);
        if let Some(other) = named.filter(|word| word.text != protocol) {
            let message = format!("{} is another protocol than {protocol}", other.text);
            ends.report.error(sub_span(ends.text, &other.place), message, None);
            return None;
        }
        if number == 0 {
            ends.report.error(span, "port 0 cannot be connected to", None);
            return None;
        }
        let host = host.map_or_else(
            || {
                // as with ser2net, which connects to the unspecified address, of IPv6 first
                let text = if family == Family::V4 { "127.0.0.1" } else { "::1" };
                let help = Some(format!("write {protocol},{text},{number} or another host"));
                ends.report.warning(span, format!("the host is missing; {text} is used"), help);
                text.into()
            },
            |word| word.text.as_str().into(),
        );
        remotes.push(Remote { family, host, port: number });
    }
    Some(remotes)
}

/// An address of our own: `[family,][host,]port`.
fn local(ends: &mut Ends<'_>, text: &str, span: &Span) -> Option<Local> {
    let read = address::parse_list(text, 0, ends.services);
    if let Ok((Some(Address { protocol: None, family, host, port: _, number }), true)) =
        read.map(|mut list| (list.pop(), list.is_empty()))
    {
        return Some(Local { family, host: host.map(|word| word.text.as_str().into()), port: number });
    }
    let help = Some("write host and port in quotes: laddr=\"192.0.2.1,0\"; port 0 is any".to_owned());
    ends.report.error(span.clone(), format!("laddr={text} is no address"), help);
    None
}

fn multicast(ends: &mut Ends<'_>, text: &str, span: &Span) -> Option<Vec<IpAddr>> {
    let mut list = Vec::new();
    for field in text.split(',').map(str::trim).filter(|f| !matches!(*f, "ipv4" | "ipv6")) {
        match field.parse::<IpAddr>() {
            Ok(address) if address.is_multicast() => list.push(address),
            _ => {
                let help = Some(
                    "write addresses without ports: mcast=\"239.1.2.3\" or mcast=\"ff02::1\"".to_owned(),
                );
                ends.report.error(span.clone(), format!("'{field}' is no multicast address"), help);
                return None;
            }
        }
    }
    Some(list)
}
