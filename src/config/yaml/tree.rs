//! A small tree above the events: one node for each value, with its place.

use super::event::{Event, Located, Reader, SyntaxError};
use crate::config::error::{Source, Span};
use std::sync::Arc;

/// Deepest nesting that is read; a configuration needs five levels.
pub(super) const MAX_DEPTH: usize = 32;

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// What it is.
    pub(super) kind: Kind,
    /// The name after `&` and where it stands.
    pub(super) anchor: Option<(String, Span)>,
    /// The value without its anchor.
    pub(super) span: Span,
}

/// Kinds of values.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// Text; `plain` without quotes.
    Scalar {
        /// Quotes and folding undone; substitutions not yet made.
        text: String,
        /// It stands without quotes.
        plain: bool,
    },
    /// `*name`.
    Alias(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping; repeated keys stay.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// In messages: what stands here.
    pub(super) fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar { text, plain: true } if text.is_empty() => "nothing",
            Kind::Scalar { .. } => "a text",
            Kind::Alias(_) => "an alias",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }

    /// No value was written.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true } if text.is_empty())
    }
}

/// Builds nodes of a text.
pub(super) struct Builder {
    reader: Reader,
    source: Arc<Source>,
}

impl Builder {
    /// A builder over a text.
    pub(super) fn new(source: &Arc<Source>) -> Self {
        Self { reader: Reader::new(&source.text), source: Arc::clone(source) }
    }

    /// The next event, for the levels that are read one entry at a time.
    pub(super) fn next(&mut self) -> Result<Located, SyntaxError> {
        self.reader.next()
    }

    /// A place in the text.
    pub(super) fn span(&self, start: usize, end: usize) -> Span {
        Span { source: Arc::clone(&self.source), start, end }
    }

    /// The node that begins with an event; `None` when the event begins none.
    pub(super) fn node(&mut self, first: Located) -> Result<Option<Node>, SyntaxError> {
        self.node_at(first, 1)
    }

    fn node_at(&mut self, first: Located, depth: usize) -> Result<Option<Node>, SyntaxError> {
        if depth > MAX_DEPTH {
            return Err(SyntaxError {
                message: format!("more than {MAX_DEPTH} levels of nesting"),
                at: first.start,
                context: None,
            });
        }
        let Located { event, start, end } = first;
        let node = match event {
            Event::Alias(name) => Node { kind: Kind::Alias(name), anchor: None, span: self.span(start, end) },
            Event::Scalar { anchor, text, plain } => {
                let (anchor, start) = self.after_anchor(anchor, start, end);
                Node { kind: Kind::Scalar { text, plain }, anchor, span: self.span(start, end) }
            }
            Event::SequenceStart(anchor) => {
                let (anchor, start) = self.after_anchor(anchor, start, end);
                let mut items = Vec::new();
                let end = loop {
                    let next = self.reader.next()?;
                    let end = next.end;
                    match self.node_at(next, depth + 1)? {
                        Some(item) => items.push(item),
                        None => break end,
                    }
                };
                Node { kind: Kind::List(items), anchor, span: self.span(start, end.max(start)) }
            }
            Event::MappingStart(anchor) => {
                let (anchor, start) = self.after_anchor(anchor, start, end);
                let mut entries: Vec<(Node, Node)> = Vec::new();
                let end = loop {
                    let next = self.reader.next()?;
                    let end = next.end;
                    let Some(key) = self.node_at(next, depth + 1)? else { break end };
                    let next = self.reader.next()?;
                    let Some(value) = self.node_at(next, depth + 1)? else { break end };
                    entries.push((key, value));
                };
                // an end by indentation is only seen at the next token: end after the last value
                let end = entries.last().map_or(end, |(_, value)| value.span.end).max(start);
                Node { kind: Kind::Map(entries), anchor, span: self.span(start, end) }
            }
            Event::SequenceEnd
            | Event::MappingEnd
            | Event::DocumentStart
            | Event::DocumentEnd
            | Event::End => return Ok(None),
        };
        Ok(Some(node))
    }

    /// The anchor with its place, and where the value itself begins.
    fn after_anchor(
        &self,
        anchor: Option<String>,
        start: usize,
        end: usize,
    ) -> (Option<(String, Span)>, usize) {
        let Some(name) = anchor else { return (None, start) };
        let text = self.source.text.get(start..end).unwrap_or("");
        // a tag may stand before the anchor
        let at = text.find('&').map_or(start, |i| start + i);
        let name_end = (at + 1 + name.len()).min(self.source.text.len());
        let rest = self.source.text.get(name_end..end.max(name_end)).unwrap_or("");
        let mut inside = rest.trim_start();
        // a comment may stand between the anchor and its value
        while inside.starts_with('#') && inside.len() < rest.len() {
            inside = inside.split_once('\n').map_or("", |(_, below)| below).trim_start();
        }
        let value = if inside.is_empty() { name_end } else { name_end + rest.len() - inside.len() };
        (Some((name, self.span(at, name_end))), value)
    }
}
