//! URLs of far ports: `rfc2217://host:port`, `tls://[::1]:4000?cafile=/etc/ca.pem`, …

use crate::config::connector::{Connector, Filter, Remote, Target, TcpConnect, TlsClient};
use crate::config::suggest::nearest;
use crate::config::{Family, TelnetOptions};
use std::path::PathBuf;
use std::str::FromStr;

/// What a scheme stands for: its name, telnet with or without RFC 2217, TLS.
const SCHEMES: [(&str, Option<bool>, bool); 10] = [
    ("rfc2217", Some(true), false),
    ("rfc2217s", Some(true), true),
    ("rfc2217+tls", Some(true), true),
    ("telnet", Some(false), false),
    ("telnets", Some(false), true),
    ("tcp", None, false),
    ("raw", None, false),
    ("socket", None, false),
    ("tls", None, true),
    ("ssl", None, true),
];

/// Parameters of TLS.
const TLS_PARAMETERS: [&str; 4] = ["cafile", "cert", "key", "insecure"];
/// Parameters of every URL.
const PARAMETERS: [&str; 1] = ["family"];
/// Parameters that pyserial has for its own side of such URLs, which nothing is to be done for.
const OF_PYSERIAL: [&str; 4] = ["ign_set_control", "poll_modem", "timeout", "logging"];

/// The address of a far port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    text: String,
    /// RFC 2217 is spoken.
    line: bool,
    target: Target,
    filters: Vec<Filter>,
}

impl Url {
    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line settings travel to the far end.
    pub fn has_line(&self) -> bool {
        self.line
    }
}

impl From<Url> for Connector {
    fn from(url: Url) -> Self {
        Self { text: url.text.into(), filters: url.filters, target: url.target }
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || SCHEMES.iter().map(|(name, ..)| *name).chain(["unix"]);
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!("'{text}' is no URL; write for instance rfc2217://host:2217"));
        };
        let scheme = scheme.to_ascii_lowercase();
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let parameters = parameters(query)?;
        if let Some(at) = place.find('@') {
            let (_, end) = place.split_at(at + 1);
            return Err(format!("nobody logs in to a serial port: leave out what is before '{end}'"));
        }
        if scheme == "unix" {
            if let Some((name, _)) = parameters.first() {
                return Err(format!("unix:// has no parameter '{name}'"));
            }
            let path = PathBuf::from(decoded(place)?);
            if !path.is_absolute() {
                return Err(format!("'{text}' has no whole path; write unix:///run/name.sock"));
            }
            return Ok(Self {
                text: text.to_owned(),
                line: false,
                target: Target::Unix(path),
                filters: Vec::new(),
            });
        }
        let Some((_, telnet, tls)) = SCHEMES.iter().find(|(name, ..)| *name == scheme) else {
            let all: Vec<&str> = known().collect();
            let help = match nearest(&scheme, known()) {
                Some(near) => format!("did you mean {near}://?"),
                None => format!("there are {}", all.join(", ")),
            };
            return Err(format!("unknown scheme '{scheme}'; {help}"));
        };
        let mut family = Family::Any;
        let mut client = TlsClient { ca: None, identity: None, unverified: false };
        let (mut cert, mut key) = (None, None);
        for (name, value) in parameters {
            match (name.as_str(), *tls) {
                ("family", _) => {
                    family = match value.as_str() {
                        "4" | "ipv4" => Family::V4,
                        "6" | "ipv6" => Family::V6,
                        _ => return Err(format!("family={value}: write family=4 or family=6")),
                    }
                }
                ("cafile", true) => client.ca = Some(path_of(&name, value)?),
                ("cert", true) => cert = Some(path_of(&name, value)?),
                ("key", true) => key = Some(path_of(&name, value)?),
                ("insecure", true) => {
                    client.unverified = match value.as_str() {
                        "" | "1" | "true" | "yes" => true,
                        "0" | "false" | "no" => false,
                        _ => return Err(format!("insecure={value}: write insecure=true or leave it out")),
                    }
                }
                (other, _) if OF_PYSERIAL.contains(&other) => {}
                (other, false) if TLS_PARAMETERS.contains(&other) => {
                    return Err(format!("{scheme}:// has no '{other}', because it does not use TLS"));
                }
                (other, _) => {
                    let names = PARAMETERS.into_iter().chain(TLS_PARAMETERS.into_iter().filter(|_| *tls));
                    let help = nearest(other, names).map(|near| format!("; did you mean {near}?"));
                    return Err(format!("unknown parameter '{other}'{}", help.unwrap_or_default()));
                }
            }
        }
        let mut filters = Vec::new();
        if let Some(rfc2217) = *telnet {
            filters.push(Filter::Telnet(TelnetOptions { rfc2217, ..TelnetOptions::default() }));
        }
        if *tls {
            client.identity = match (cert, key) {
                (None, None) => None,
                (Some(cert), Some(key)) => Some((cert, key)),
                // one file may hold both
                (Some(both), None) => Some((both.clone(), both)),
                (None, Some(_)) => return Err("key= without cert=: name the certificate too".to_owned()),
            };
            if client.ca.is_none() && !client.unverified {
                return Err(format!(
                    "{scheme}:// needs cafile=FILE with the certificate of the server, or of who signed it; \
                     insecure=true takes any"
                ));
            }
            filters.push(Filter::Tls(client));
        }
        let (host, port) = host_and_port(place.trim_end_matches('/'))?;
        let remotes = vec![Remote { family, host: host.into(), port }];
        let target = Target::Tcp(TcpConnect { remotes, local: None, nodelay: true });
        Ok(Self { text: text.to_owned(), line: *telnet == Some(true), target, filters })
    }
}

fn path_of(name: &str, value: String) -> Result<PathBuf, String> {
    if value.is_empty() { Err(format!("{name}= names no file")) } else { Ok(PathBuf::from(value)) }
}

fn host_and_port(place: &str) -> Result<(&str, u16), String> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let Some((host, rest)) = rest.split_once(']') else {
                return Err(format!("'{place}' has no ] behind the address"));
            };
            (host, rest.strip_prefix(':'))
        }
        None => match place.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err(format!("an IPv6 address stands in brackets: [{place}]:2217 or [ADDRESS]:PORT"));
            }
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    if host.is_empty() {
        return Err(format!("'{place}' names no host"));
    }
    match port.map(str::parse) {
        Some(Ok(port @ 1..)) => Ok((host, port)),
        Some(_) => Err(format!("'{}' is no port from 1 to 65535", port.unwrap_or_default())),
        None => Err(format!("'{place}' names no port; write {place}:PORT")),
    }
}

/// `a=b&c`, decoded.
fn parameters(query: &str) -> Result<Vec<(String, String)>, String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(value)?))
        })
        .collect()
}

/// Undoes `%41`.
fn decoded(text: &str) -> Result<String, String> {
    let wrong = || format!("'{text}' has a % without two hexadecimal digits behind it");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2).ok_or_else(wrong)?;
        let value = std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(value.ok_or_else(wrong)?);
        rest = behind;
    }
    String::from_utf8(bytes).map_err(|_| format!("'{text}' is no text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    fn remote(url: &Url) -> (String, u16) {
        match &url.target {
            Target::Tcp(tcp) => (tcp.remotes[0].host.to_string(), tcp.remotes[0].port),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn schemes_make_filters() {
        let telnet = |rfc2217| Filter::Telnet(TelnetOptions { rfc2217, ..TelnetOptions::default() });
        for (text, filters) in [
            ("rfc2217://h:1", vec![telnet(true)]),
            ("RFC2217://h:1/?ign_set_control&timeout=3", vec![telnet(true)]),
            ("telnet://h:1/", vec![telnet(false)]),
            ("tcp://h:1", vec![]),
            ("raw://h:1", vec![]),
            ("socket://h:1", vec![]),
        ] {
            let url = url(text);
            assert_eq!(url.filters, filters, "{text}");
            assert_eq!(remote(&url), ("h".to_owned(), 1), "{text}");
            assert_eq!(url.has_line(), filters == [telnet(true)]);
        }
        let unix = url("unix:///run/a%20b.sock");
        assert_eq!(unix.target, Target::Unix("/run/a b.sock".into()));
    }

    #[test]
    fn tls_has_parameters() {
        let filters = url("rfc2217s://h:1?cafile=/ca.pem&cert=/me.pem").filters;
        let tls = TlsClient {
            ca: Some("/ca.pem".into()),
            identity: Some(("/me.pem".into(), "/me.pem".into())),
            unverified: false,
        };
        assert_eq!(filters[1], Filter::Tls(tls));
        for text in ["tls://h:1?insecure", "ssl://h:1?insecure=true"] {
            let tls = TlsClient { ca: None, identity: None, unverified: true };
            assert_eq!(url(text).filters, [Filter::Tls(tls)], "{text}");
        }
    }

    #[test]
    fn ipv6_addresses_stand_in_brackets() {
        assert_eq!(remote(&url("tcp://[fe80::1%25eth0]:7")), ("fe80::1%25eth0".to_owned(), 7));
        assert_eq!(remote(&url("tcp://[::1]:7")), ("::1".to_owned(), 7));
    }

    #[test]
    fn mistakes_are_told_with_a_cure() {
        for (text, part) in [
            ("host:1", "rfc2217://host:2217"),
            ("rfc2271://h:1", "did you mean rfc2217://?"),
            ("http+x://h:1", "there are rfc2217"),
            ("tcp://h", "h:PORT"),
            ("tcp://h:0", "1 to 65535"),
            ("tcp://h:x", "'x' is no port"),
            ("tcp://:1", "names no host"),
            ("tcp://::1:1", "in brackets"),
            ("tcp://[::1:1", "no ]"),
            ("tcp://me@h:1", "nobody logs in"),
            ("tls://h:1", "cafile=FILE"),
            ("tls://h:1?cafile=", "names no file"),
            ("tls://h:1?key=/k&insecure", "name the certificate"),
            ("tls://h:1?insecure=perhaps", "insecure=true"),
            ("tcp://h:1?cafile=/x", "does not use TLS"),
            ("tcp://h:1?famly=4", "did you mean family?"),
            ("tcp://h:1?family=5", "family=4"),
            ("unix://run/x", "unix:///run/name.sock"),
            ("unix:///run/x?family=4", "no parameter"),
            ("unix:///run/%2", "hexadecimal"),
        ] {
            let error = text.parse::<Url>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
