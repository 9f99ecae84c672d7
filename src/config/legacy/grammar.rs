//! The grammar of a line: fields, devices with colons, option words.

use nom::branch::alt;
use nom::bytes::complete::{is_not, tag, take, take_till, take_while};
use nom::character::complete::{char, multispace0, one_of, space0};
use nom::combinator::{eof, opt, peek, recognize, rest, verify};
use nom::multi::{many0, many0_count, many1_count};
use nom::sequence::{delimited, preceded, terminated};
use nom::{IResult, Parser};
use std::ops::Range;

/// States of a port.
pub(super) const STATES: [&str; 4] = ["raw", "rawlp", "telnet", "off"];

/// Fields of a port line as byte ranges; a field that is missing is `None`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) port: Range<usize>,
    pub(super) state: Option<Range<usize>>,
    pub(super) timeout: Option<Range<usize>>,
    /// Device and options, not yet taken apart.
    pub(super) rest: Option<Range<usize>>,
}

/// `NAME:` of a definition, with what follows.
pub(super) fn keyword(line: &str) -> Option<(&str, &str)> {
    let parsed: IResult<&str, &str> = terminated(
        verify(take_while(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit()), |word: &str| {
            word.starts_with(|c: char| c.is_ascii_uppercase())
        }),
        char(':'),
    )
    .parse(line);
    parsed.ok().map(|(rest, word)| (word, rest))
}

/// Takes a port line apart. The port may hold colons (IPv6): it ends before a known state, or,
/// when there is none, at the first colon behind its last comma.
pub(super) fn fields(line: &str) -> Fields {
    let end = port_end(line);
    let mut at = end;
    let mut next = |last: bool| {
        let after = line.get(at..)?.strip_prefix(':')?;
        let start = line.len() - after.len();
        at = if last { line.len() } else { start + after.find(':').unwrap_or(after.len()) };
        Some(start..at)
    };
    Fields { port: 0..end, state: next(false), timeout: next(false), rest: next(true) }
}

fn state(input: &str) -> IResult<&str, &str> {
    let word = alt((tag("rawlp"), tag("raw"), tag("telnet"), tag("off")));
    terminated(word, peek(alt((tag(":"), eof)))).parse(input)
}

fn port_end(line: &str) -> usize {
    let before: IResult<&str, &str> =
        recognize(many0_count(preceded(nom::combinator::not(preceded(char(':'), state)), take(1usize))))
            .parse(line);
    match before {
        Ok((rest, port)) if !rest.is_empty() => port.len(),
        _ => {
            let first = line.find(':').unwrap_or(line.len());
            let comma = line.find(',').filter(|comma| *comma > first);
            // colons before the first comma belong to an IPv6 address if it looks like one
            match comma {
                Some(comma) if is_v6(&line[..comma]) => {
                    line[comma..].find(':').map_or(line.len(), |i| comma + i)
                }
                _ => first,
            }
        }
    }
}

fn is_v6(text: &str) -> bool {
    text.parse::<std::net::Ipv6Addr>().is_ok()
}

/// Device and options in the last part of a port line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) device: Range<usize>,
    pub(super) options: Option<Range<usize>>,
}

/// Splits device and options. `is_word` tells whether a word can be an option: a device path with
/// colons (`/dev/serial/by-path/…`) ends at the last colon that such a word follows.
pub(super) fn device(text: &str, is_word: impl Fn(&str) -> bool) -> Device {
    let blanks = text.len() - text.trim_start().len();
    let body = &text[blanks..];
    for quote in ['\'', '"'] {
        let quoted: IResult<&str, (&str, Option<char>)> = (
            delimited(char(quote), take_till(|c| c == quote), char(quote)),
            preceded(space0, opt(char(':'))),
        )
            .parse(body);
        if let Ok((rest, (inner, colon))) = quoted
            && (colon.is_some() || rest.is_empty())
        {
            let start = blanks + 1;
            let options = colon.map(|_| text.len() - rest.len()..text.len());
            return Device { device: start..start + inner.len(), options };
        }
    }
    let colon = split_at(body, is_word).map(|at| blanks + at);
    let end = colon.unwrap_or(text.len());
    let end = text[..end].trim_end().len().max(blanks);
    Device { device: blanks..end, options: colon.map(|at| at + 1..text.len()) }
}

/// The colon between device and options.
fn split_at(body: &str, is_word: impl Fn(&str) -> bool) -> Option<usize> {
    let first = body.find(':')?;
    let option_follows = |at: usize| {
        let after = body[at + 1..].trim_start();
        let word = after.split(|c: char| c.is_whitespace() || c == ',').next().unwrap_or("");
        after.is_empty() || word.starts_with('#') || is_word(word)
    };
    if !body.starts_with('/') || option_follows(first) {
        return Some(first);
    }
    // only the first word can belong to the path: options may hold colons themselves
    let path = body.find(char::is_whitespace).unwrap_or(body.len());
    let found = body[..path].rmatch_indices(':').map(|(at, _)| at).find(|at| option_follows(*at));
    let by_path = body[..path].contains("/by-path/") || body[..path].contains("/by-id/");
    match found {
        Some(at) => Some(at),
        // no options at all
        None if by_path && path == body.len() => None,
        None => Some(first),
    }
}

/// An option word: its text without quotes, and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) at: Range<usize>,
}

/// Words separated by blanks; quotes keep blanks, a `#` at the begin of a word ends the line.
///
/// Returns the words and where a comment begins.
pub(super) fn words(text: &str, offset: usize) -> (Vec<Word>, Option<usize>) {
    let (mut input, mut found) = (text, Vec::new());
    loop {
        let blanks: IResult<&str, &str> = multispace0.parse(input);
        input = blanks.map_or(input, |(rest, _)| rest);
        let start = text.len() - input.len();
        if input.is_empty() {
            return (found, None);
        }
        if input.starts_with('#') {
            return (found, Some(offset + start));
        }
        let parsed: IResult<&str, &str> =
            recognize(many1_count(alt((quoted('\''), quoted('"'), escaped, plain, stray)))).parse(input);
        let Ok((rest, raw)) = parsed else { return (found, None) };
        input = rest;
        let end = start + raw.len();
        found.push(Word { text: unquote(raw), at: offset + start..offset + end });
    }
}

fn quoted<'a>(quote: char) -> impl Parser<&'a str, Output = &'a str, Error = nom::error::Error<&'a str>> {
    recognize(delimited(char(quote), take_till(move |c| c == quote), char(quote)))
}

fn escaped(input: &str) -> IResult<&str, &str> {
    recognize(preceded(char('\\'), take(1usize))).parse(input)
}

fn plain(input: &str) -> IResult<&str, &str> {
    is_not(" \t\r\n\x0b\x0c'\"\\").parse(input)
}

/// A quote or backslash that opens nothing.
fn stray(input: &str) -> IResult<&str, &str> {
    recognize(one_of("'\"\\")).parse(input)
}

/// Removes quotes; a backslash stays, unless it keeps a quote or blank.
fn unquote(raw: &str) -> String {
    let part = alt((
        delimited(char('\''), take_till(|c| c == '\''), char('\'')),
        delimited(char('"'), take_till(|c| c == '"'), char('"')),
        preceded(char('\\'), verify(take(1usize), |c: &str| matches!(c, "'" | "\"" | " " | "\t"))),
        escaped,
        plain,
        take(1usize),
    ));
    let parsed: IResult<&str, (Vec<&str>, &str)> = (many0(part), rest).parse(raw);
    parsed.map_or_else(|_| raw.to_owned(), |(_, (parts, rest))| parts.concat() + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_apart(line: &str) -> [Option<&str>; 4] {
        let f = fields(line);
        [Some(f.port), f.state, f.timeout, f.rest].map(|range| range.map(|r| &line[r]))
    }

    #[test]
    fn ports_may_hold_colons() {
        assert_eq!(take_apart("::1,20:raw:0:/d:9"), ["::1,20", "raw", "0", "/d:9"].map(Some));
        assert_eq!(take_apart("2000:rawlp:0:/d"), ["2000", "rawlp", "0", "/d"].map(Some));
        assert_eq!(take_apart("1.2.3.4:5:raw:0:/d")[0], Some("1.2.3.4:5"));
        assert_eq!(take_apart("2000:RAW:0:/d:9")[..2], [Some("2000"), Some("RAW")]);
        assert_eq!(take_apart("fe80::1,20:RAW:0:/d")[..2], [Some("fe80::1,20"), Some("RAW")]);
        assert_eq!(take_apart("20:raw"), [Some("20"), Some("raw"), None, None]);
        assert_eq!(take_apart("hello"), [Some("hello"), None, None, None]);
        assert_eq!(take_apart("ä:ö,:raw:")[0], Some("ä:ö,"));
    }

    fn split(text: &str) -> (&str, Option<&str>) {
        let is_word = |w: &str| {
            w.starts_with(|c: char| c.is_ascii_digit()) && !w.contains(':') && !w.contains('.')
                || w == "LOCAL"
        };
        let d = device(text, is_word);
        (&text[d.device], d.options.map(|o| &text[o]))
    }

    #[test]
    fn devices_may_hold_colons() {
        let path = "/dev/serial/by-path/pci-0000:00:14.0-usb-0:9:1.0-port0";
        assert_eq!(split(&format!("{path}:115200 LOCAL")), (path, Some("115200 LOCAL")));
        assert_eq!(split(&format!("'{path}':9600")), (path, Some("9600")));
        assert_eq!(split(path), (path, None));
        assert_eq!(split("/dev/ttyS0:9600,LOCAL b=x:y"), ("/dev/ttyS0", Some("9600,LOCAL b=x:y")));
        assert_eq!(split("/dev/ttyS0: 9600"), ("/dev/ttyS0", Some(" 9600")));
        assert_eq!(split("/dev/ttyS0:bogus"), ("/dev/ttyS0", Some("bogus")));
        assert_eq!(split("/dev/lp0"), ("/dev/lp0", None));
        assert_eq!(split("/dev/lp0:"), ("/dev/lp0", Some("")));
        assert_eq!(split("dev:/tty/USB0:9600"), ("dev", Some("/tty/USB0:9600")));
    }

    #[test]
    fn words_keep_what_is_quoted() {
        let (found, comment) = words("9600\tbanner=\"a b\" x\\ y 'q r' \\r\\n # LOCAL", 5);
        let texts: Vec<_> = found.iter().map(|w| w.text.as_str()).collect();
        assert_eq!(texts, ["9600", "banner=a b", "x y", "q r", "\\r\\n"]);
        assert_eq!(found[1].at, 10..22);
        assert_eq!(comment, Some(5 + 34));
        assert_eq!(words("'open", 0).0[0].text, "'open");
    }

    #[test]
    fn keywords_are_upper_case() {
        assert_eq!(keyword("BANNER:a:b"), Some(("BANNER", "a:b")));
        assert_eq!(keyword("RS485CONF:"), Some(("RS485CONF", "")));
        assert_eq!(keyword("2000:raw"), None);
        assert_eq!(keyword("banner:x"), None);
    }
}
