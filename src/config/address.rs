//! Network addresses as gensio(5) writes them: `[tcp,][ipv4|ipv6|ipv6n4,][host,]port`, several in
//! a row, and ports by number or by the name of a service.

use super::Family;
use super::gensio::{Problem, Word};
use std::net::IpAddr;

/// One address of a list. Host names are not looked up here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `tcp`, `udp` or `sctp` in front.
    pub protocol: Option<Word>,
    /// Address family.
    pub family: Family,
    /// Host; `None` when left out, empty or `*`.
    pub host: Option<Word>,
    /// Port as written.
    pub port: Word,
    /// Port number.
    pub number: u16,
}

/// Reads a list of addresses. Places count from `offset`; `services` is the text of
/// `/etc/services`, or empty.
///
/// # Errors
/// The first field that is not what its position asks for.
pub fn parse_list(text: &str, offset: usize, services: &str) -> Result<Vec<Address>, Problem> {
    let mut fields = Vec::new();
    let mut at = offset;
    for field in text.split(',') {
        let trimmed = field.trim_start_matches([' ', '\t', '\r', '\n']);
        let start = at + field.len() - trimmed.len();
        fields.push(Word { text: trimmed.to_owned(), place: start..start + trimmed.len() });
        at += field.len() + 1;
    }
    let mut fields = fields.into_iter().peekable();
    let mut list = Vec::new();
    while fields.peek().is_some() {
        list.push(address(&mut fields, services)?);
    }
    Ok(list)
}

fn address(
    fields: &mut std::iter::Peekable<std::vec::IntoIter<Word>>,
    services: &str,
) -> Result<Address, Problem> {
    let mut protocol = None;
    let mut family = None;
    let mut host = None;
    loop {
        let Some(field) = fields.next() else {
            let place = host.as_ref().map_or(0..0, |h: &Word| h.place.clone());
            return Err(Problem::new(place, "a port must follow").help("write host,port"));
        };
        let last = fields.peek().is_none();
        match field.text.as_str() {
            "tcp" | "udp" | "sctp" if !last && host.is_none() && protocol.is_none() => protocol = Some(field),
            "ipv4" if !last && host.is_none() && family.is_none() => family = Some(Family::V4),
            "ipv6" if !last && host.is_none() && family.is_none() => family = Some(Family::V6),
            "ipv6n4" if !last && host.is_none() && family.is_none() => family = Some(Family::V6Mapped),
            _ if !last && host.is_none() => host = Some(checked_host(field, family)?),
            _ => {
                let number = port(&field, services)?;
                let host = host.filter(|h| !h.text.is_empty() && h.text != "*");
                let family = family.unwrap_or_default();
                return Ok(Address { protocol, family, host, port: field, number });
            }
        }
    }
}

fn checked_host(host: Word, family: Option<Family>) -> Result<Word, Problem> {
    let text = host.text.as_str();
    let refuse = |message: String| Err(Problem::new(host.place.clone(), message));
    if text.ends_with([' ', '\t']) {
        return refuse(format!("a blank must not follow '{}'", text.trim_end()))
            .map_err(|p| p.help("remove the blank before the comma"));
    }
    if text.starts_with('[') && text.ends_with(']') {
        return refuse(format!("'{text}' is not a host"))
            .map_err(|p| p.help("write IPv6 addresses without brackets: ::1,2000"));
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return refuse(format!("'{text}' is a number where a host is expected"));
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || "()\"'\\;!/".contains(c)) {
        return refuse(format!("'{text}' is not a host"));
    }
    match (text.parse::<IpAddr>(), family) {
        (Ok(IpAddr::V4(_)), Some(Family::V6)) => refuse(format!("{text} is not an IPv6 address")),
        (Ok(IpAddr::V6(_)), Some(Family::V4)) => refuse(format!("{text} is not an IPv4 address")),
        _ => Ok(host),
    }
}

fn port(word: &Word, services: &str) -> Result<u16, Problem> {
    let text = word.text.as_str();
    let digits = text.strip_prefix('+').unwrap_or(text);
    let refuse = |message: String| Problem::new(word.place.clone(), message);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        // ser2net takes the low 16 bits; the caller warns about it.
        return digits
            .parse::<u64>()
            .map(|n| (n & 0xffff) as u16)
            .map_err(|_| refuse(format!("{text} is not a port number")));
    }
    if text.is_empty() {
        return Err(refuse("the port is missing".into()).help("write a port number, for instance tcp,2000"));
    }
    if text.trim_end() != text {
        return Err(refuse(format!("a blank must not follow '{}'", text.trim_end())));
    }
    if let Some((host, number)) = text.rsplit_once(':')
        && number.parse::<u16>().is_ok()
    {
        return Err(refuse(format!("'{text}' is not a port"))
            .help(format!("write host and port with a comma between them: {host},{number}")));
    }
    service(services, text, "tcp").ok_or_else(|| {
        let problem = refuse(format!("'{text}' is neither a port number nor the name of a service"));
        match super::suggest::fill_in(text) {
            Some(help) => problem.help(help),
            None => problem,
        }
    })
}

/// Looks a service up in a text of the form of services(5).
pub fn service(services: &str, name: &str, protocol: &str) -> Option<u16> {
    services.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let official = words.next()?;
        let (number, of) = words.next()?.split_once('/')?;
        (of == protocol && (official == name || words.any(|alias| alias == name)))
            .then(|| number.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICES: &str =
        "# x\ntelnet 23/tcp\nhttp\t\t80/tcp www # web\nsyslog 514/udp\nshell 514/tcp cmd syslog\n";

    fn read(text: &str) -> Result<Vec<(Family, Option<String>, u16)>, String> {
        parse_list(text, 0, SERVICES)
            .map(|l| l.into_iter().map(|a| (a.family, a.host.map(|h| h.text), a.number)).collect())
            .map_err(|p| p.message)
    }

    #[test]
    fn accepted_forms() {
        let host = |h: &str| Some(h.to_owned());
        for (text, expected) in [
            ("2000", (Family::Any, None, 2000)),
            (" 2000", (Family::Any, None, 2000)),
            ("+2000", (Family::Any, None, 2000)),
            ("002000", (Family::Any, None, 2000)),
            ("0", (Family::Any, None, 0)),
            (",2000", (Family::Any, None, 2000)),
            ("*,2000", (Family::Any, None, 2000)),
            ("ipv4,2000", (Family::V4, None, 2000)),
            ("ipv6n4,127.0.0.1, 2000", (Family::V6Mapped, host("127.0.0.1"), 2000)),
            ("ipv4,tcp,0.0.0.0,2000", (Family::V4, host("0.0.0.0"), 2000)),
            ("tcp,ipv4,127.0.0.1,2000", (Family::V4, host("127.0.0.1"), 2000)),
            ("ipv6,::1,2000", (Family::V6, host("::1"), 2000)),
            ("::,2000", (Family::Any, host("::"), 2000)),
            ("localhost,\n\thttp", (Family::Any, host("localhost"), 80)),
            ("www", (Family::Any, None, 80)),
            ("syslog", (Family::Any, None, 514)),
            ("70000", (Family::Any, None, 4464)),
            ("99999999999", (Family::Any, None, 59391)),
        ] {
            assert_eq!(read(text), Ok(vec![expected]), "{text}");
        }
        assert_eq!(
            read("ipv4,127.0.0.1,2000,ipv6,::1,2001"),
            Ok(vec![(Family::V4, host("127.0.0.1"), 2000), (Family::V6, host("::1"), 2001)])
        );
    }

    #[test]
    fn refused_forms() {
        for text in [
            "",
            "abc",
            "HTTP",
            "-1",
            "0x10",
            "host,",
            "127.0.0.1:2000",
            "tcp ,2000",
            "127.0.0.1 ,2000",
            "2000 ",
            "ipv6,127.0.0.1,2000",
            "ipv4,::1,2000",
            "[::1],2000",
            "2000,2001",
            "127.0.0.1,2000,x",
            "ipv4,ipv6,2000x",
            "2000)",
            "2000(x)",
            "\"2000\"",
            "127.0.0.1;2000",
            "127.0.0.1,2000;tcp,::1,2000",
            "host=127.0.0.1,port=2000",
            "bogus,tcp,2000",
            "3000,127.0.0.1,3001",
            "not a host!!,0",
            "99999999999999999999999",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
