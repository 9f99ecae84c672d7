//! Questions about nodes: where they end, what is in them.

use crate::config::error::Span;
use crate::config::yaml::tree::{Kind, Node};
use std::ops::Range;

/// The begin of the next line.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |i| at + i + 1)
}

/// Where the scalars of a value stand, anchors and aliases among them.
pub(super) fn places(node: &Node, list: &mut Vec<Range<usize>>) {
    list.extend(node.anchor.iter().map(|(_, span)| span.start..span.end));
    match &node.kind {
        Kind::Scalar { .. } | Kind::Alias(_) => list.push(node.span.start..node.span.end),
        Kind::List(items) => items.iter().for_each(|item| places(item, list)),
        Kind::Map(entries) => {
            for (key, value) in entries {
                places(key, list);
                places(value, list);
            }
        }
    }
}

/// Where a value ends. The end of a block sequence is only seen at what follows it.
pub(super) fn end_of(node: &Node) -> usize {
    let last = match &node.kind {
        Kind::List(items) => items.last(),
        Kind::Map(entries) => entries.last().map(|(_, value)| value),
        Kind::Scalar { .. } | Kind::Alias(_) => None,
    };
    let text = node.span.source.text.get(..node.span.end).unwrap_or("");
    match last {
        Some(last) if !text.ends_with([']', '}']) => end_of(last),
        _ => node.span.end,
    }
}

pub(super) fn is_key(node: &Node, word: &str) -> bool {
    matches!(&node.kind, Kind::Scalar { text, .. } if text == word)
}

pub(super) fn field<'n>(node: &'n Node, word: &str) -> Option<&'n Node> {
    let Kind::Map(entries) = &node.kind else { return None };
    entries.iter().find(|(key, _)| is_key(key, word)).map(|(_, value)| value)
}

pub(super) fn map_key(node: &Node) -> Option<&Node> {
    match &node.kind {
        Kind::Map(entries) => entries.first().map(|(key, _)| key),
        _ => None,
    }
}

/// The column of a key, from 0.
pub(super) fn column(key: Option<&Node>) -> usize {
    key.map_or(0, |key| key.span.line_column().1 - 1)
}

pub(super) fn name_key(value: &Node) -> Option<(String, Span)> {
    match field(value, "name") {
        Some(Node { kind: Kind::Scalar { text, .. }, span, .. }) => Some((text.clone(), span.clone())),
        _ => None,
    }
}
