//! Values with their substitutions in the words of version 2.

use super::nodes::{column, map_key};
use super::{Meaning, Rewriter};
use crate::config::convert::literal;
use crate::config::convert::outline::{Body, Entry, Item, Value};
use crate::config::raw::RawValue;
use crate::config::yaml::names::Version;
use crate::config::yaml::tree::{Kind, Node};

impl Rewriter<'_, '_> {
    /// The value of an option; `None` when nothing is left of it without names that are not defined.
    pub(super) fn option_value(
        &mut self,
        node: &Node,
        read: Option<&RawValue>,
        version: Version,
    ) -> Option<Value> {
        let undefined = match (&node.kind, read) {
            (Kind::Alias(name), Some(RawValue::Scalar(_))) => !self.names.contains_key(name),
            (Kind::Scalar { text, .. }, Some(RawValue::Scalar(_))) => {
                used_names(text, version).any(|name| !self.names.contains_key(name))
            }
            _ => false,
        };
        match read {
            // what could be made of it, without what is undefined or stands in an included file
            Some(RawValue::Scalar(text)) if undefined => {
                (!text.is_empty()).then(|| Value::Text(literal(text)))
            }
            _ => Some(self.value(node, version)),
        }
    }

    /// A value with its substitutions in the words of version 2.
    pub(super) fn value(&mut self, node: &Node, version: Version) -> Value {
        match &node.kind {
            Kind::Scalar { .. } | Kind::Alias(_) => Value::Text(self.text(node, version)),
            _ => self.nested(node, Some(version)),
        }
    }

    /// A value whose texts are read as in version 1 wherever it stands, and stay as they are.
    pub(super) fn own_value(&mut self, node: &Node) -> Value {
        match &node.kind {
            Kind::Scalar { text, .. } => Value::Text(text.clone()),
            Kind::Alias(name) => Value::Alias(name.clone()),
            _ => self.nested(node, None),
        }
    }

    fn nested(&mut self, node: &Node, version: Option<Version>) -> Value {
        let one = |this: &mut Self, node: &Node| match version {
            Some(version) => this.value(node, version),
            None => this.own_value(node),
        };
        // what is written on one line has its comments behind it
        let outer = self.one_line;
        let flow = self.source.text[node.span.start..].starts_with(['[', '{']);
        self.one_line |= flow;
        match &node.kind {
            Kind::List(items) => {
                let mut list = Vec::new();
                for item in items {
                    let lead = if self.one_line { Vec::new() } else { self.notes.before(item.span.start) };
                    let inner = std::mem::replace(&mut self.one_line, true);
                    let value = one(self, item);
                    self.one_line = inner;
                    let trailing = if self.one_line { None } else { self.behind(item) };
                    list.push(Item { lead, value, trailing });
                }
                self.one_line = outer;
                Value::List(list)
            }
            Kind::Map(entries) => {
                let mut body = Body::default();
                for (key, value) in entries {
                    if self.one_line {
                        let Value::Text(name) = one(self, key) else { continue };
                        let converted = one(self, value);
                        body.push(Entry::new(name, converted));
                        continue;
                    }
                    let lead = self.notes.before(key.span.start);
                    body.note(lead);
                    let Value::Text(name) = one(self, key) else { continue };
                    let before = self.behind_key(key, value);
                    let converted = one(self, value);
                    let trailing = before.or_else(|| self.behind(value));
                    body.push(Entry { trailing, ..Entry::new(name, converted) });
                }
                if !self.one_line {
                    let below = self.below(column(map_key(node)), node);
                    body.note(below);
                }
                self.one_line = outer;
                Value::Map(body)
            }
            // the callers have dealt with these
            Kind::Scalar { .. } | Kind::Alias(_) => Value::Text(String::new()),
        }
    }

    /// A text with its substitutions in the words of version 2. A name that it is given is defined
    /// in front of the entry.
    pub(super) fn text(&mut self, node: &Node, version: Version) -> String {
        let text = self.bare_text(node, version);
        let Some((name, _)) = &node.anchor else { return text };
        self.names.insert(name.clone(), Meaning::Text);
        self.lifted.push(Entry::text(literal(name), text));
        format!("=({name})")
    }

    pub(super) fn bare_text(&self, node: &Node, version: Version) -> String {
        match &node.kind {
            Kind::Alias(name) if self.names.get(name) == Some(&Meaning::Itself) => literal(name),
            Kind::Alias(name) => format!("=({name})"),
            Kind::Scalar { text, .. } => match version {
                Version::One => from_version_one(text),
                Version::Two => text.clone(),
            },
            Kind::List(_) | Kind::Map(_) => String::new(),
        }
    }
}

/// The text of an accepter or connector with the type that was put into what it stands for.
pub(super) fn with_type(text: String, read: &str, typed: &str) -> String {
    if text == literal(read) {
        return literal(typed);
    }
    // inside of substitutions there is no telling what stands where, but in front of all one can write
    match typed.strip_suffix(read) {
        Some(front) => format!("{front}{text}"),
        None => text,
    }
}

/// The names that a text uses.
fn used_names(text: &str, version: Version) -> impl Iterator<Item = &str> {
    let mark = if version == Version::One { "*(" } else { "=(" };
    text.split(mark)
        .skip(1)
        .filter(|rest| !rest.starts_with(&mark[..1]))
        .filter_map(|rest| rest.split_once(')').map(|(name, _)| name))
}

/// The text of version 1 as version 2 writes it: the same parts substituted, the same letters.
fn from_version_one(text: &str) -> String {
    let mut out = String::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let open = rest.get(1..).and_then(|after| after.chars().next());
        let close = match (c, open) {
            ('*', Some('(')) => ')',
            ('*', Some('{')) => '}',
            _ => {
                plain.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
        };
        if rest[2..].starts_with('*') {
            plain.push_str(&rest[..2]);
            rest = &rest[3..];
            continue;
        }
        let Some(end) = rest.find(close) else {
            // such a text counts as an empty one
            return String::new();
        };
        out.push_str(&literal(&std::mem::take(&mut plain)));
        out.push('=');
        out.push_str(&rest[1..=end]);
        rest = &rest[end + 1..];
    }
    out + &literal(&plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn substitutions_of_version_one() {
        for (one, two) in [
            ("<*(a)>*{f}", "<=(a)>={f}"),
            ("*(*x) *{*y} * *z", "*(x) *{y} * *z"),
            ("=(a)={b}", "=(=a)={=b}"),
            ("a*(b", ""),
            ("=*(x)(y", "==(x)(y"),
        ] {
            assert_eq!(from_version_one(one), two);
        }
    }
}
