//! Comparing the two streams of each endpoint, and showing where they differ.

use crate::text::Names;
use crate::witness::{Endpoint, Item, Joined, Witness, push};

/// An endpoint whose streams differ, with the lines that show how.
pub(crate) struct Difference {
    pub(crate) endpoint: String,
    pub(crate) lines: Vec<String>,
}

/// All endpoints that differ; none when the case agrees.
pub(crate) fn differences(witness: Witness, names: &Names) -> Vec<Difference> {
    let any_reopen = witness.rules.any_reopen;
    let mut out = Vec::new();
    for (endpoint, Endpoint { mut recorded, mut actual, .. }) in witness.endpoints {
        if any_reopen {
            recorded = without_reopening(recorded);
            actual = without_reopening(actual);
        }
        let same: Vec<_> = recorded.iter().zip(&actual).map(|(r, a)| agrees(r, a, names)).collect();
        if recorded.len() == actual.len() && same.iter().all(|&s| s) {
            continue;
        }
        let left: Vec<_> = recorded.iter().flat_map(|r| lines_of(r, Clone::clone)).collect();
        let right: Vec<_> = actual
            .iter()
            .enumerate()
            .flat_map(|(i, a)| match recorded.get(i) {
                // what agrees by way of placeholders is shown alike on both sides
                Some(r) if same[i] => lines_of(r, Clone::clone),
                _ => lines_of(a, |bytes| names.show(bytes)),
            })
            .collect();
        out.push(Difference { endpoint, lines: diff(&left, &right) });
    }
    out
}

fn agrees(recorded: &Item<String>, actual: &Item<Vec<u8>>, names: &Names) -> bool {
    match (recorded, actual) {
        (Item::Data(text), Item::Data(bytes)) | (Item::Datagram(text), Item::Datagram(bytes)) => {
            names.matches(text, bytes)
        }
        (Item::Line(text), Item::Line(line)) => names.matches_line(text, line),
        (Item::Event(a), Item::Event(b)) => a == b,
        _ => false,
    }
}

/// The stream without "device closed, device opened": when these follow within a millisecond, a pty shows
/// them or not.
fn without_reopening<B: Joined>(stream: Vec<Item<B>>) -> Vec<Item<B>> {
    let is = |item: &Item<B>, what: &str| matches!(item, Item::Event(e) if e == what);
    let mut out: Vec<Item<B>> = Vec::new();
    let mut closed: Option<Item<B>> = None;
    for item in stream {
        if let Some(held) = closed.take() {
            if is(&item, "device-opened") {
                continue;
            }
            out.push(held);
        }
        if is(&item, "device-closed") {
            closed = Some(item);
        } else {
            push(&mut out, item);
        }
    }
    out.extend(closed);
    out
}

/// An item as lines of at most 100 characters, cut after `\n`.
fn lines_of<B>(item: &Item<B>, show: impl Fn(&B) -> String) -> Vec<String> {
    let (kind, text) = match item {
        Item::Data(bytes) => ("data", show(bytes)),
        Item::Datagram(bytes) => ("datagram", show(bytes)),
        Item::Line(text) | Item::Event(text) => return vec![format!("<{text}>")],
    };
    let mut lines = Vec::new();
    let mut rest = text.as_str();
    loop {
        let most = rest.char_indices().nth(100).map_or(rest.len(), |(at, _)| at);
        let end = rest[..most].find("\\n").map_or(most, |at| at + 2);
        lines.push(format!("{kind} {}", &rest[..end]));
        rest = &rest[end..];
        if rest.is_empty() {
            return lines;
        }
    }
}

/// The lines that differ (`-` recorded, `+` actual) with up to two equal lines around them.
fn diff(recorded: &[String], actual: &[String]) -> Vec<String> {
    const AROUND: usize = 2;
    let before = recorded.iter().zip(actual).take_while(|(a, b)| a == b).count();
    let (left, right) = (&recorded[before..], &actual[before..]);
    let after = left.iter().rev().zip(right.iter().rev()).take_while(|(a, b)| a == b).count();
    if left.is_empty() && right.is_empty() {
        return vec!["  (the same lines, in other pieces)".to_owned()];
    }
    let (left, tail) = left.split_at(left.len() - after);
    let right = &right[..right.len() - after];
    let context = |lines: &[String]| lines.iter().map(|l| format!("  {l}")).collect::<Vec<_>>();
    let mut out = context(&recorded[before.saturating_sub(AROUND)..before]);
    out.extend(left.iter().map(|l| format!("- {l}")));
    out.extend(right.iter().map(|l| format!("+ {l}")));
    out.extend(context(&tail[..after.min(AROUND)]));
    out
}
