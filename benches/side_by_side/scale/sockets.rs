//! What listens on this machine, seen without connecting to it.

use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener};

/// State of a listening socket in these files (TCP_LISTEN of the kernel's include/net/tcp_states.h).
const LISTEN: &str = "0A";
/// Where ports are taken from: below the range the kernel takes the clients' own ports from.
const RANGE: std::ops::Range<u16> = 10_240..32_000;

/// The TCP ports somebody listens on, over IPv4 or IPv6, from `/proc/net/tcp` and `/proc/net/tcp6`.
pub(crate) fn listening() -> io::Result<HashSet<u16>> {
    local_ports(|state| state == LISTEN)
}

/// Whether somebody listens on `port` of the loopback. Costs microseconds; [`listening`] takes milliseconds
/// of a processor, which the peer may want at the same time.
pub(crate) fn is_taken(port: u16) -> io::Result<bool> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Ok(true),
        Err(error) => Err(error),
    }
}

/// `count` TCP ports that are nobody's local port in any state. Begins at another place in the range
/// for each process and each call, so that runs at the same time seldom want the same ones.
pub(crate) fn free(count: usize) -> io::Result<Vec<u16>> {
    let used = local_ports(|_| true)?;
    let (first, length) = (usize::from(RANGE.start), RANGE.len());
    let begin = (std::process::id() as usize * 7919 + used.len() * 61) % length;
    let candidates = (0..length).map(|step| (first + (begin + step) % length) as u16);
    let ports: Vec<u16> = candidates.filter(|port| !used.contains(port)).take(count).collect();
    if ports.len() == count {
        Ok(ports)
    } else {
        Err(io::Error::other(format!("{count} free TCP ports are not to be had")))
    }
}

fn local_ports(wanted: impl Fn(&str) -> bool) -> io::Result<HashSet<u16>> {
    let mut ports = HashSet::new();
    for (file, needed) in [("/proc/net/tcp", true), ("/proc/net/tcp6", false)] {
        let text = match fs::read_to_string(file) {
            // without IPv6 there is no such file
            Err(error) if !needed && error.kind() == ErrorKind::NotFound => continue,
            text => text?,
        };
        // `  sl  local_address rem_address   st …`, addresses as HEX:PORT
        for line in text.lines().skip(1) {
            let mut fields = line.split_ascii_whitespace().skip(1);
            let local = fields.next().and_then(|address| address.rsplit_once(':'));
            let state = fields.nth(1);
            if let (Some((_, port)), Some(state)) = (local, state)
                && wanted(state)
                && let Ok(port) = u16::from_str_radix(port, 16)
            {
                ports.insert(port);
            }
        }
    }
    Ok(ports)
}
