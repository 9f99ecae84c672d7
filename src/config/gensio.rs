//! The strings that describe accepters and connectors (gensio(5)): `telnet(rfc2217),tcp,2000`.
//!
//! ```text
//! stack   = { filter [ "(" options ")" ] "," } base
//! base    = type [ "(" options ")" ] [ "," tail ]  |  tail
//! options = words separated by blanks and commas, with "..", '..' and \ quoting
//! ```
//!
//! Blanks may stand in front of a type, never behind it. A base without a known type is an address
//! for an accepter (`2000`, `localhost,2000`) and a device or an address for a connector. What a
//! tail means is up to its type: nothing in it is quoted here.

use nom::branch::alt;
use nom::bytes::complete::{take_while, take_while1};
use nom::character::complete::{anychar, char, none_of};
use nom::combinator::{eof, opt, value};
use nom::multi::fold_many0;
use nom::sequence::{delimited, preceded};
use nom::{IResult, Parser};
use std::fmt::{self, Write as _};
use std::ops::Range;

/// A piece of a stack string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The text, with quoting removed.
    pub text: String,
    /// Bytes of the stack string that it stands in.
    pub place: Range<usize>,
}

/// A type with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Type, for instance `telnet`.
    pub name: Word,
    /// What stands between the parentheses.
    pub options: Vec<Word>,
}

/// An accepter or connector string taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// The filters, outermost first.
    pub filters: Vec<Layer>,
    /// The type at the bottom; `None` when none is written.
    pub base: Option<Layer>,
    /// What follows the base, as written; `None` without a comma.
    pub tail: Option<Word>,
}

/// What is wrong with a string, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// The offending bytes.
    pub place: Range<usize>,
    /// Says what is wrong.
    pub message: String,
    /// Says what to write instead.
    pub help: Option<String>,
}

impl Problem {
    pub(crate) fn new(place: Range<usize>, message: impl Into<String>) -> Self {
        Self { place, message: message.into(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Which end of a connection a string describes; the known types differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What listens.
    Accepter,
    /// What is opened.
    Connector,
}

/// Types that need another one below them.
pub const FILTERS: [&str; 14] = [
    "telnet",
    "ssl",
    "certauth",
    "mux",
    "msgdelim",
    "relpkt",
    "ratelimit",
    "trace",
    "perf",
    "xlt",
    "kiss",
    "ax25",
    "keepopen",
    "script",
];

/// Types at the bottom of an accepter.
pub const ACCEPTERS: [&str; 10] =
    ["tcp", "udp", "sctp", "unix", "unixdgm", "unixseq", "stdio", "conacc", "dummy", "pty"];

/// Types at the bottom of a connector.
pub const CONNECTORS: [&str; 17] = [
    "serialdev",
    "sdev",
    "dev",
    "tcp",
    "udp",
    "sctp",
    "unix",
    "unixdgm",
    "unixseq",
    "stdio",
    "pty",
    "echo",
    "file",
    "dummy",
    "ipmisol",
    "mdns",
    "sound",
];

impl Side {
    /// The types that may stand at the bottom.
    pub fn bases(self) -> &'static [&'static str] {
        match self {
            Self::Accepter => &ACCEPTERS,
            Self::Connector => &CONNECTORS,
        }
    }
}

/// Characters that separate words.
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

fn blank(c: char) -> bool {
    BLANKS.contains(&c)
}

/// One character of a word with its quoting removed, or a quoted run of them.
fn piece(input: &str) -> IResult<&str, String> {
    let quoted = |quote: char, other: &'static str| {
        delimited(
            char(quote),
            fold_many0(alt((preceded(char('\\'), anychar), none_of(other))), String::new, |mut s, c| {
                s.push(c);
                s
            }),
            char(quote),
        )
    };
    alt((
        quoted('"', "\"\\"),
        quoted('\'', "'\\"),
        preceded(char('\\'), anychar).map(String::from),
        none_of("\"'\\ \t\r\n,()").map(String::from),
    ))
    .parse(input)
}

/// The words of a list that ends with the text or, when `closed`, at `)`. Places count from `offset`.
fn words(text: &str, offset: usize, closed: bool) -> Result<(Vec<Word>, usize), Problem> {
    let mut list = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c| blank(c) || c == ',');
        let start = text.len() - rest.len();
        if rest.is_empty() || (closed && rest.starts_with(')')) {
            break;
        }
        let mut word = String::new();
        loop {
            if let Ok((after, more)) = piece(rest) {
                word.push_str(&more);
                rest = after;
            } else if let Some(after) = rest.strip_prefix('(') {
                word.push('(');
                rest = after;
            } else if let (false, Some(after)) = (closed, rest.strip_prefix(')')) {
                word.push(')');
                rest = after;
            } else {
                break;
            }
        }
        let end = text.len() - rest.len();
        if rest.starts_with(['"', '\'']) {
            return Err(Problem::new(offset + end..offset + text.len(), "this quote is not closed"));
        }
        if rest.starts_with('\\') {
            return Err(Problem::new(offset + end..offset + text.len(), "nothing follows the backslash"));
        }
        list.push(Word { text: word, place: offset + start..offset + end });
    }
    Ok((list, text.len() - rest.len()))
}

/// Splits a tail into words: separated by blanks or commas, with quotes and backslashes.
/// Places count from `offset`.
///
/// # Errors
/// An unclosed quote or a lone backslash at the end.
pub fn split_words(text: &str, offset: usize) -> Result<Vec<Word>, Problem> {
    words(text, offset, false).map(|(list, _)| list)
}

/// The name at the start, if it is one of `names` and is followed by `(`, `,` or the end.
fn known<'a>(input: &'a str, names: &[&str]) -> IResult<&'a str, &'a str> {
    let (rest, name) = take_while1(|c: char| c.is_ascii_alphanumeric()).parse(input)?;
    let (_, ()) = alt((value((), char('(')), value((), char(',')), value((), eof))).parse(rest)?;
    if names.contains(&name) {
        Ok((rest, name))
    } else {
        Err(nom::Err::Error(nom::error::Error::new(input, nom::error::ErrorKind::Tag)))
    }
}

/// Takes an accepter or connector string apart.
///
/// # Errors
/// The place and the nature of the first mistake.
pub fn parse(text: &str, side: Side) -> Result<Stack, Problem> {
    let position = |rest: &str| text.len() - rest.len();
    let mut filters: Vec<Layer> = Vec::new();
    let mut rest = text;
    loop {
        let blanks: IResult<&str, &str> = take_while(blank).parse(rest);
        rest = blanks.map_or(rest, |(after, _)| after);
        let start = position(rest);
        let Ok((after, name)) = known(rest, &FILTERS).or_else(|_| known(rest, side.bases())) else {
            if rest.is_empty() {
                return Err(nothing_below(filters.last(), start));
            }
            let tail = Word { text: rest.to_owned(), place: start..text.len() };
            return Ok(Stack { filters, base: None, tail: Some(tail) });
        };
        let name = Word { text: name.to_owned(), place: start..position(after) };
        let is_filter = FILTERS.contains(&name.text.as_str());
        let (after, options) = options(text, after, &name)?;
        let comma: IResult<&str, Option<char>> = opt(char(',')).parse(after);
        let (after, comma) = comma.map_or((after, None), |(a, c)| (a, c));
        if comma.is_none() && !after.is_empty() {
            return Err(Problem::new(
                position(after)..text.len(),
                format!("a comma must follow the ')' of {}", name.text),
            ));
        }
        let layer = Layer { name, options };
        rest = after;
        if !is_filter {
            let tail = comma.map(|_| Word { text: rest.to_owned(), place: position(rest)..text.len() });
            return Ok(Stack { filters, base: Some(layer), tail });
        }
        filters.push(layer);
    }
}

/// The options behind a type, if there are any, and what follows them.
fn options<'a>(text: &'a str, rest: &'a str, name: &Word) -> Result<(&'a str, Vec<Word>), Problem> {
    let Some(inside) = rest.strip_prefix('(') else { return Ok((rest, Vec::new())) };
    let offset = text.len() - inside.len();
    let (list, used) = words(inside, offset, true)?;
    match inside.get(used..).and_then(|after| after.strip_prefix(')')) {
        Some(after) => Ok((after, list)),
        None => Err(Problem::new(
            name.place.start..text.len(),
            format!("the '(' after {} is not closed", name.text),
        )),
    }
}

fn nothing_below(above: Option<&Layer>, at: usize) -> Problem {
    match above {
        None => Problem::new(at..at, "the string is empty"),
        Some(layer) => {
            Problem::new(layer.name.place.clone(), format!("{} needs something below it", layer.name.text))
                .help(format!("write for instance {},tcp,2000", layer.name.text))
        }
    }
}

impl Word {
    /// The part in front of the first `=`.
    pub fn key(&self) -> &str {
        self.text.split_once('=').map_or(self.text.as_str(), |(key, _)| key)
    }

    /// The part behind the first `=`.
    pub fn value(&self) -> Option<&str> {
        self.text.split_once('=').map(|(_, value)| value)
    }
}

impl fmt::Display for Stack {
    /// A string that [`parse`] reads as this stack again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for filter in &self.filters {
            write!(f, "{filter},")?;
        }
        if let Some(base) = &self.base {
            write!(f, "{base}")?;
            if self.tail.is_some() {
                f.write_char(',')?;
            }
        }
        if let Some(tail) = &self.tail {
            f.write_str(&tail.text)?;
        }
        Ok(())
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name.text)?;
        for (i, option) in self.options.iter().enumerate() {
            f.write_char(if i == 0 { '(' } else { ',' })?;
            if option.text.is_empty() {
                f.write_str("\"\"")?;
            }
            for c in option.text.chars() {
                if blank(c) || ",()\"'\\".contains(c) {
                    f.write_char('\\')?;
                }
                f.write_char(c)?;
            }
        }
        if self.options.is_empty() { Ok(()) } else { f.write_char(')') }
    }
}

#[cfg(test)]
#[path = "gensio_tests.rs"]
mod tests;
