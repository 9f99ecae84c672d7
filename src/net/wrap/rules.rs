//! The language of hosts_access(5) and what of hosts_options(5) decides about a client. No file is
//! read and no name is looked up here: a [`World`] does that when a rule asks for it.

use std::io;
use std::net::IpAddr;

/// Deepest nesting of files named in rules.
const DEEPEST: usize = 8;

/// What is known of a client's host name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostName {
    /// The address has this name, and the name this address.
    Known(String),
    /// The address has no name, or nobody could be asked.
    Unknown,
    /// The address has a name, but the name has other addresses.
    Paranoid,
}

/// What rules may ask for.
pub trait World {
    /// The host name of the client. It may take as long as a name server does.
    fn host_name(&mut self) -> HostName;
    /// The text of a file of host patterns.
    ///
    /// # Errors
    /// When it cannot be read.
    fn file(&mut self, path: &str) -> io::Result<String>;
}

/// Who wants to use what.
#[derive(Clone, Debug)]
pub struct Visit<'a> {
    /// Name of the program that is asked for.
    pub daemon: &'a str,
    /// Address of the client.
    pub client: IpAddr,
    /// Address that the client connected to, for `daemon@host`.
    pub server: IpAddr,
}

/// Which of the two files a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// hosts.allow: a rule that matches lets in.
    Allow,
    /// hosts.deny: a rule that matches keeps out.
    Deny,
}

/// A rule that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The client is let in.
    pub allowed: bool,
    /// Number of the line, from 1, where the rule begins.
    pub line: usize,
    /// A part of the rule that is not acted on.
    pub not_acted_on: Option<String>,
}

/// The first rule of a file that matches; `None` when none does, and the next file is asked.
///
/// Patterns that need more than this program does (`@netgroup`, `user@host`, files that cannot be
/// read) let nobody in and keep everybody out.
pub fn decide(text: &str, access: Access, visit: &Visit<'_>, world: &mut dyn World) -> Option<Decision> {
    for (line, rule) in logical_lines(text) {
        let fields = split(&rule);
        let [daemons, clients, options @ ..] = fields.as_slice() else { continue };
        let mut matching = Matching { visit, world, unclear: None };
        if matching.list(&words(daemons), &mut |m, word| Some(m.daemon(word))) != Some(true) {
            continue;
        }
        let hit = matching.list(&words(clients), &mut |m, word| m.client(word, 0));
        if hit.unwrap_or(access == Access::Deny) {
            let (allowed, ignored) = with_options(access == Access::Allow, options);
            let unclear = matching.unclear.filter(|_| hit.is_none());
            return Some(Decision { allowed, line, not_acted_on: unclear.or(ignored) });
        }
    }
    None
}

/// What hosts_options(5) makes of a decision.
fn with_options(mut allowed: bool, options: &[String]) -> (bool, Option<String>) {
    let mut ignored = None;
    for option in options {
        let option = option.trim();
        let name = option.split([' ', '\t', '=']).next().unwrap_or_default().to_ascii_lowercase();
        match name.as_str() {
            "" => {}
            "allow" => allowed = true,
            "deny" => allowed = false,
            "spawn" | "severity" | "keepalive" | "linger" | "rfc931" | "banners" | "nice" | "setenv"
            | "umask" | "user" | "aclexec" => {
                // a program that decides cannot be asked: nobody gets in by it
                allowed &= name != "aclexec";
                ignored = Some(option.to_owned());
            }
            // twist: the client would get a program of the rule; others nobody knows
            _ => {
                allowed = false;
                ignored = Some(option.to_owned());
            }
        }
    }
    (allowed, ignored)
}

/// The lines with those that a backslash continues put together, without comments and empty ones.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut list = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let (start, mut joined) = open.take().unwrap_or((index + 1, String::new()));
        if let Some(part) = line.strip_suffix('\\') {
            joined.push_str(part);
            open = Some((start, joined));
            continue;
        }
        joined.push_str(line);
        list.push((start, joined));
    }
    list.extend(open);
    list.retain(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    list
}

/// The fields of a rule: separated by `:`, but not inside `[..]` and not behind a backslash.
fn split(rule: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut in_brackets = false;
    let mut chars = rule.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.next_if_eq(&':').is_some() => field.push(':'),
            ':' if !in_brackets => fields.push(std::mem::take(&mut field)),
            _ => {
                in_brackets = c == '[' || in_brackets && c != ']';
                field.push(c);
            }
        }
    }
    fields.push(field);
    fields
}

fn words(field: &str) -> Vec<&str> {
    field.split([' ', '\t', ',', '\r']).filter(|word| !word.is_empty()).collect()
}

struct Matching<'a, 'b> {
    visit: &'a Visit<'b>,
    world: &'a mut dyn World,
    /// The first pattern whose answer is not known.
    unclear: Option<String>,
}

/// Whether a pattern matches; `None`: not known.
type Test<'t, 'a, 'b> = dyn FnMut(&mut Matching<'a, 'b>, &str) -> Option<bool> + 't;

/// Whether one of several matches: one that does decides, then one that is not known.
fn any(answers: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut known = true;
    for answer in answers {
        match answer {
            Some(true) => return Some(true),
            Some(false) => {}
            None => known = false,
        }
    }
    known.then_some(false)
}

impl<'a, 'b> Matching<'a, 'b> {
    /// `a b EXCEPT c EXCEPT d`: in `a b`, and not in (`c`, and not in `d`).
    fn list(&mut self, words: &[&str], test: &mut Test<'_, 'a, 'b>) -> Option<bool> {
        let end = words.iter().position(|w| w.eq_ignore_ascii_case("EXCEPT"));
        let (first, rest) = words.split_at(end.unwrap_or(words.len()));
        let hit = any(first.iter().map(|word| test(self, word)));
        if end.is_none() || hit == Some(false) {
            return hit;
        }
        match self.list(rest.get(1..).unwrap_or_default(), test) {
            Some(true) => Some(false),
            Some(false) => hit,
            None => None,
        }
    }

    fn daemon(&mut self, word: &str) -> bool {
        let (name, host) = match word.split_once('@') {
            Some((name, host)) if !name.is_empty() => (name, Some(host)),
            _ => (word, None),
        };
        let named = string(name, self.visit.daemon);
        named && host.is_none_or(|host| matches!(numeric(host, self.visit.server), Some(true)))
    }

    fn client(&mut self, word: &str, depth: usize) -> Option<bool> {
        match word.split_once('@') {
            Some(("", _)) => self.not_clear(word),
            // no user name is asked for where every user will do
            Some((user, host)) if user.eq_ignore_ascii_case("ALL") => self.host(host, depth),
            Some(_) => self.not_clear(word),
            None => self.host(word, depth),
        }
    }

    fn not_clear(&mut self, word: &str) -> Option<bool> {
        self.unclear.get_or_insert_with(|| word.to_owned());
        None
    }

    fn host(&mut self, word: &str, depth: usize) -> Option<bool> {
        if word.starts_with('/') {
            return self.hosts_of_file(word, depth);
        }
        if word.eq_ignore_ascii_case("ALL") {
            return Some(true);
        }
        if let Some(answer) = numeric(word, self.visit.client) {
            return Some(answer);
        }
        let address = self.visit.client.to_canonical().to_string();
        if string(word, &address) {
            return Some(true);
        }
        if word.ends_with('.') {
            return Some(false);
        }
        Some(self.named(word))
    }

    /// Patterns that the host name has to match.
    fn named(&mut self, word: &str) -> bool {
        let name = self.world.host_name();
        match (word.to_ascii_uppercase().as_str(), &name) {
            ("LOCAL", HostName::Known(name)) => !name.contains('.'),
            ("KNOWN", _) => matches!(name, HostName::Known(_)),
            ("UNKNOWN", _) => name == HostName::Unknown,
            ("PARANOID", _) => name == HostName::Paranoid,
            (_, HostName::Known(name)) => string(word, name),
            _ => false,
        }
    }

    fn hosts_of_file(&mut self, path: &str, depth: usize) -> Option<bool> {
        let text = if depth < DEEPEST { self.world.file(path).ok() } else { None };
        match text {
            Some(text) => any(text.split_whitespace().map(|word| self.client(word, depth + 1))),
            None => self.not_clear(path),
        }
    }
}

/// Patterns that only an address can match: `10.1.`, `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `[::1]`,
/// `[fd00::]/8`. `None`: it is none of these.
fn numeric(word: &str, address: IpAddr) -> Option<bool> {
    let address = address.to_canonical();
    let (net, mask) = word.split_once('/').map_or((word, None), |(net, mask)| (net, Some(mask)));
    if let Some(net) = net.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        let Ok(IpAddr::V6(net)) = net.parse() else { return Some(false) };
        let bits = mask.map_or(Some(128), |m| m.parse::<u8>().ok().filter(|bits| *bits <= 128));
        return Some(match (address, bits) {
            (IpAddr::V6(v6), Some(bits)) => prefix(v6.to_bits(), net.to_bits(), 128, bits),
            _ => false,
        });
    }
    let Some(mask) = mask else {
        if net.eq_ignore_ascii_case("ALL") {
            return Some(true);
        }
        return net.parse::<IpAddr>().ok().map(|ip| ip.to_canonical() == address);
    };
    let (Ok(IpAddr::V4(net)), IpAddr::V4(v4)) = (net.parse(), address) else { return Some(false) };
    Some(match (mask.parse::<u8>(), mask.parse::<std::net::Ipv4Addr>()) {
        (Ok(bits), _) if bits <= 32 => prefix(u128::from(v4.to_bits()), u128::from(net.to_bits()), 32, bits),
        (_, Ok(mask)) => v4.to_bits() & mask.to_bits() == net.to_bits(),
        _ => false,
    })
}

/// Whether the first `bits` of `width` are the same.
fn prefix(a: u128, b: u128, width: u8, bits: u8) -> bool {
    (a ^ b).checked_shr(u32::from(width - bits)).unwrap_or(0) == 0
}

/// `.domain`, `10.1.`, `*.domain`, `host?`, or the text itself, without regard to case.
fn string(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    if pattern == "all" {
        true
    } else if pattern.contains(['*', '?']) {
        wild(pattern.as_bytes(), text.as_bytes())
    } else if pattern.starts_with('.') {
        text.ends_with(&pattern) && text.len() > pattern.len()
    } else if pattern.ends_with('.') {
        text.starts_with(&pattern)
    } else {
        pattern == text
    }
}

/// `*` is any text, `?` any character. Time is bounded by the product of the lengths.
fn wild(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((star, from)) = back else { return false };
                back = Some((star, from + 1));
                p = star + 1;
                t = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
