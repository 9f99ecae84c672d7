//! The text form of bytes, and the placeholders in it.
//!
//! Printable ASCII stands for itself, `\n`, `\r` and `\xNN` for other bytes, and `{NAME}` for something that
//! is only known when the case runs (a port number), or only roughly (the time of day).

use std::collections::{BTreeMap, BTreeSet};

use crate::clock;

/// A piece of a text: fixed bytes, or a set of byte strings.
enum Token {
    Bytes(Vec<u8>),
    OneOf(Vec<Vec<u8>>),
    /// Any bytes, so many or any number of them.
    Any(Option<usize>),
    /// At least `least` bytes, all of which satisfy `of`.
    Run {
        least: usize,
        of: fn(u8) -> bool,
    },
}

/// The values of the placeholders of one running case.
pub(crate) struct Names {
    values: BTreeMap<String, String>,
    since: i64,
}

impl Names {
    pub(crate) fn new() -> Self {
        Names { values: BTreeMap::new(), since: clock::now_secs() }
    }

    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.values.insert(name.into(), value.into());
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Fills placeholders into a plain string (configuration text, a path, an argument).  Unknown ones stay.
    pub(crate) fn fill(&self, text: &str) -> String {
        let mut out = String::new();
        for part in split(text) {
            match part {
                Part::Plain(s) => out.push_str(s),
                Part::Name(name) => match self.get(name) {
                    Some(value) => out.push_str(value),
                    None => out.extend(["{", name, "}"]),
                },
            }
        }
        out
    }

    /// Puts placeholders back into a plain string.
    pub(crate) fn unfill(&self, text: &str) -> String {
        let mut known: Vec<_> = self.values.iter().filter(|(_, value)| value.len() >= SHOWN_LEN).collect();
        known.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        known
            .iter()
            .fold(text.to_owned(), |text, (name, value)| text.replace(value.as_str(), &format!("{{{name}}}")))
    }

    /// The bytes of a text that is sent; what is not fixed becomes `?`.
    pub(crate) fn bytes(&self, text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for token in self.tokens(text) {
            match token {
                Token::Bytes(b) => out.extend(b),
                _ => out.push(b'?'),
            }
        }
        out
    }

    /// How many bytes a text has at least, counting one for every piece that is not fixed.
    pub(crate) fn least_len(&self, text: &str) -> usize {
        self.tokens(text).iter().map(|t| if let Token::Bytes(b) = t { b.len() } else { 1 }).sum()
    }

    /// Whether `data` is what `text` says.
    pub(crate) fn matches(&self, text: &str, data: &[u8]) -> bool {
        covers(&self.tokens(text), data)
    }

    /// Whether a log line is what `text` says.  Lines know no escapes; an unknown placeholder stands for
    /// anything without white space.
    pub(crate) fn matches_line(&self, text: &str, line: &str) -> bool {
        let tokens: Vec<_> = split(text)
            .map(|part| match part {
                Part::Plain(s) => Token::Bytes(s.as_bytes().to_vec()),
                Part::Name(name) => match self.get(name) {
                    Some(value) => Token::Bytes(value.as_bytes().to_vec()),
                    None => Token::Run { least: 0, of: |b| !b.is_ascii_whitespace() },
                },
            })
            .collect();
        covers(&tokens, line.as_bytes())
    }

    /// Bytes as text, with the placeholders put back.
    pub(crate) fn show(&self, data: &[u8]) -> String {
        self.show_with(data, &[])
    }

    /// Like [`Names::show`], with more `(bytes, placeholder)` pairs to put back.
    pub(crate) fn show_with(&self, data: &[u8], more: &[(Vec<u8>, String)]) -> String {
        let mut known: Vec<(&[u8], String)> = self
            .values
            .iter()
            .filter(|(_, value)| value.len() >= SHOWN_LEN)
            .map(|(name, value)| (value.as_bytes(), format!("{{{name}}}")))
            .chain(more.iter().map(|(bytes, name)| (bytes.as_slice(), name.clone())))
            .collect();
        known.sort_by_key(|(bytes, _)| std::cmp::Reverse(bytes.len()));
        let mut out = String::new();
        let mut rest = data;
        while let Some((&first, tail)) = rest.split_first() {
            if let Some((bytes, name)) = known.iter().find(|(bytes, _)| rest.starts_with(bytes)) {
                out.push_str(name);
                rest = &rest[bytes.len()..];
                continue;
            }
            match first {
                b'\n' => out.push_str("\\n"),
                b'\r' => out.push_str("\\r"),
                b' '..=b'~' if !b"\\{}".contains(&first) => out.push(char::from(first)),
                _ => out.extend(["\\x", &format!("{first:02x}")]),
            }
            rest = tail;
        }
        out
    }

    /// What the time placeholders of `text` may stand for now: `(bytes, placeholder)`.
    pub(crate) fn times_in(&self, text: &str) -> Vec<(Vec<u8>, String)> {
        let mut out = Vec::new();
        for (at, _) in text.match_indices('{') {
            let Some(end) = text[at..].find('}') else { continue };
            let name = &text[at + 1..at + end];
            let format =
                if name == "NOW" { Some(NOW) } else { name.strip_prefix("TIME:").filter(|f| f.len() > 2) };
            for time in format.map_or_else(Vec::new, |f| self.time(f)) {
                out.push((time, format!("{{{name}}}")));
            }
        }
        out
    }

    fn time(&self, format: &str) -> Vec<Vec<u8>> {
        clock::texts_between(format, self.since, clock::now_secs())
    }

    fn tokens(&self, text: &str) -> Vec<Token> {
        let mut out = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let (token, used) = escape(rest)
                .or_else(|| self.braced(rest))
                .unwrap_or_else(|| (Token::Bytes(rest[..c.len_utf8()].into()), c.len_utf8()));
            rest = &rest[used..];
            match (out.last_mut(), token) {
                (Some(Token::Bytes(so_far)), Token::Bytes(more)) => so_far.extend(more),
                (_, token) => out.push(token),
            }
        }
        out
    }

    /// `{NAME}` or `{FUNCTION:argument}` at the start of `text`, and its length.
    fn braced(&self, text: &str) -> Option<(Token, usize)> {
        let inner = &text.strip_prefix('{')?[..text.find('}')? - 1];
        let token = match inner.split_once(':') {
            None if is_name(inner) => self.named(inner),
            None => return None,
            Some(("TIME", format)) => Token::OneOf(self.time(format)),
            Some(("MORE", n)) => Token::Any(Some(n.parse().ok()?)),
            Some(("REP", arg)) => {
                let (what, n) = arg.rsplit_once('*')?;
                Token::Bytes(what.repeat(n.parse().ok()?).into_bytes())
            }
            Some((function, arg)) => {
                let n: usize = function.strip_prefix("REP")?.parse().ok()?;
                Token::Bytes(self.bytes(arg).repeat(n))
            }
        };
        Some((token, inner.len() + 2))
    }

    fn named(&self, name: &str) -> Token {
        if let Some(value) = self.get(name) {
            return Token::Bytes(value.as_bytes().to_vec());
        }
        match name {
            "NOW" => Token::OneOf(self.time(NOW)),
            "DIGITS" => Token::Run { least: 1, of: |b| b.is_ascii_digit() },
            "MORE" => Token::Any(None),
            "VERSION" => Token::Run { least: 1, of: |b| b.is_ascii_alphanumeric() || b".+~_-".contains(&b) },
            // a value that never came to be, such as the source port of a client that got no connection
            _ => Token::Run { least: 0, of: |b| b != b'\r' && b != b'\n' },
        }
    }
}

/// Shorter values would be found everywhere: they are not replaced by their names.
const SHOWN_LEN: usize = 4;

const NOW: &str = "%Y/%m/%d %H:%M:%S";

/// `\n`, `\r` or `\xNN` at the start of `text`, and its length.
fn escape(text: &str) -> Option<(Token, usize)> {
    let tail = text.strip_prefix('\\')?;
    let (byte, used) = match tail.as_bytes().first()? {
        b'n' => (b'\n', 2),
        b'r' => (b'\r', 2),
        b'x' => (u8::from_str_radix(tail.get(1..3)?, 16).ok()?, 4),
        _ => return None,
    };
    Some((Token::Bytes(vec![byte]), used))
}

/// Whether the tokens can stand for exactly `data`: the set of places reached after each token.
fn covers(tokens: &[Token], data: &[u8]) -> bool {
    let mut places = BTreeSet::from([0]);
    for token in tokens {
        let mut next = BTreeSet::new();
        for &at in &places {
            let rest = &data[at..];
            match token {
                Token::Bytes(bytes) => next.extend(rest.starts_with(bytes).then(|| at + bytes.len())),
                Token::OneOf(all) => {
                    next.extend(all.iter().filter(|b| rest.starts_with(b)).map(|b| at + b.len()));
                }
                Token::Any(Some(n)) => next.extend((*n <= rest.len()).then_some(at + n)),
                Token::Any(None) => {
                    next.extend(at..=data.len());
                    break; // every later place is among these
                }
                Token::Run { least, of } => {
                    let most = rest.iter().take_while(|&&b| of(b)).count();
                    next.extend(at + least..=at + most);
                }
            }
        }
        places = next;
    }
    places.contains(&data.len())
}

/// A plain string cut at its placeholders.
enum Part<'a> {
    Plain(&'a str),
    Name(&'a str),
}

fn split(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some(name) = leading_name(rest) {
            rest = &rest[name.len() + 2..];
            return Some(Part::Name(name));
        }
        let end = rest
            .match_indices('{')
            .map(|(at, _)| at)
            .find(|&at| at > 0 && leading_name(&rest[at..]).is_some());
        let (plain, tail) = rest.split_at(end.unwrap_or(rest.len()));
        rest = tail;
        Some(Part::Plain(plain))
    })
}

fn leading_name(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('{')?;
    inner.find('}').map(|end| &inner[..end]).filter(|name| is_name(name))
}

fn is_name(s: &str) -> bool {
    s.starts_with(|c: char| c.is_ascii_uppercase())
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The names of all placeholders in a plain string, in order.
pub(crate) fn names_in(text: &str) -> impl Iterator<Item = &str> {
    split(text).filter_map(|part| match part {
        Part::Name(name) => Some(name),
        Part::Plain(_) => None,
    })
}
