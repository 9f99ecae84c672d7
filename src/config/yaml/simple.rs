//! YAML that is no configuration: a value without places, anchors and substitutions.

use super::event::Event;
use super::tree::{Builder, Kind, Node};
use crate::config::error::Source;
use std::sync::Arc;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text, quotes undone.
    Scalar(String),
    /// A sequence.
    List(Vec<Value>),
    /// A mapping; repeated keys stay.
    Map(Vec<(String, Value)>),
}

/// The first document of a text; `None` when it is not YAML, is empty, or has aliases or keys that
/// are no texts.
pub fn read(text: &str) -> Option<Value> {
    let mut builder = Builder::new(&Arc::new(Source::new("", text)));
    let mut first = builder.next().ok()?;
    while first.event == Event::DocumentStart {
        first = builder.next().ok()?;
    }
    let node = builder.node(first).ok()??;
    // what is wrong behind the value is found on the way to the end of the document
    (builder.next().ok()?.event == Event::DocumentEnd).then(|| value(node)).flatten()
}

fn value(node: Node) -> Option<Value> {
    Some(match node.kind {
        Kind::Scalar { text, .. } => Value::Scalar(text),
        Kind::Alias(_) => return None,
        Kind::List(items) => Value::List(items.into_iter().map(value).collect::<Option<_>>()?),
        Kind::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, node)| match key.kind {
                    Kind::Scalar { text, .. } => Some((text, value(node)?)),
                    _ => None,
                })
                .collect::<Option<_>>()?,
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_or_nothing() {
        let text = |t: &str| Value::Scalar(t.to_owned());
        assert_eq!(read("a: 'x y'\n"), Some(Value::Map(vec![("a".to_owned(), text("x y"))])));
        assert_eq!(read("%YAML 1.1\n---\n- [b, ]\n"), Some(Value::List(vec![Value::List(vec![text("b")])])));
        for bad in ["", "# x\n", "*a\n", "[a: *b]\n", "[a]: b\n", "{", "a: b\n}\n"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
