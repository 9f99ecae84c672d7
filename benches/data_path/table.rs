//! The Markdown tables.

use std::fmt::Write;

use crate::allocations::Heap;
use crate::callgrind::Profile;
use crate::scene::Scene;
use crate::subject::Subject;
use crate::tally::{Kind, Tally};

/// Columns of calls.
const KINDS: [(Kind, &str); 7] = [
    (Kind::Wait, "waits"),
    (Kind::TtyRead, "tty reads"),
    (Kind::TtyWrite, "tty writes"),
    (Kind::NetRead, "socket reads"),
    (Kind::NetWrite, "socket writes"),
    (Kind::Timer, "timer"),
    (Kind::Wake, "futex, eventfd"),
];

/// Calls that come less often than this for a unit are not named.
const RARE: f64 = 0.005;

/// The calls of one scene.
pub(crate) fn calls(
    scene: Scene,
    rows: impl Iterator<Item = (Subject, Result<(Tally, f64), String>)>,
) -> String {
    let mut text = format!("### {}; calls a {}\n\n| program | all |", scene.title(), scene.unit());
    // writing to a String cannot fail, here and below
    for (_, heading) in KINDS {
        let _ = write!(text, " {heading} |");
    }
    text.push_str(" other | of all: EAGAIN | bytes a read | bytes a write |\n|---|");
    text.push_str(&"---:|".repeat(KINDS.len() + 5));
    text.push('\n');
    for (subject, outcome) in rows {
        let _ = write!(text, "| {} |", subject.name());
        match outcome {
            Ok((tally, units)) => row(&mut text, &tally, units),
            Err(reason) => missing(&mut text, &reason, KINDS.len() + 4),
        }
    }
    text.push('\n');
    text
}

#[expect(clippy::cast_precision_loss, reason = "a run makes far fewer than 2^52 calls")]
fn row(text: &mut String, tally: &Tally, units: f64) {
    let per_unit = |count: u64| count as f64 / units;
    let _ = write!(text, " {} |", number(per_unit(tally.total())));
    for (kind, _) in KINDS {
        let count = tally.calls.get(&kind).copied().unwrap_or_default();
        let _ = write!(text, " {} |", number(per_unit(count)));
    }
    let others: Vec<String> = tally
        .others
        .iter()
        .map(|(name, count)| (name, per_unit(*count)))
        .filter(|(_, count)| *count >= RARE)
        .map(|(name, count)| format!("{name} {}", number(count)))
        .collect();
    let others = if others.is_empty() { "0".to_owned() } else { others.join(", ") };
    let _ = write!(text, " {others} | {} |", number(per_unit(tally.again)));
    for (bytes, calls) in tally.moved {
        let each = if calls == 0 { "–".to_owned() } else { number(bytes as f64 / calls as f64) };
        let _ = write!(text, " {each} |");
    }
    text.push('\n');
}

/// The allocations of all scenes.
pub(crate) fn allocations(scenes: &[Scene], count: impl Fn(Scene) -> Result<Heap, String>) -> String {
    let mut text = "| scene | unit | units counted | allocations | allocations a unit | bytes a unit |\n\
                    |---|---|---:|---:|---:|---:|\n"
        .to_owned();
    for &scene in scenes {
        let _ = write!(text, "| {} | {} |", scene.title(), scene.unit());
        match count(scene) {
            Ok(heap) => {
                let per_unit = |count: u64| number(whole(count) / heap.units);
                let _ = writeln!(
                    text,
                    " {:.0} | {} | {} | {} |",
                    heap.units,
                    heap.allocations,
                    per_unit(heap.allocations),
                    per_unit(heap.bytes)
                );
            }
            Err(reason) => missing(&mut text, &reason, 3),
        }
    }
    text.push('\n');
    text
}

/// The instructions of one scene.
pub(crate) fn instructions(
    scene: Scene,
    rows: impl Iterator<Item = (Subject, Result<Profile, String>)>,
) -> String {
    let mut text = format!(
        "### {}; user space instructions a {}\n\n| program | instructions | where most of them are |\n\
         |---|---:|---|\n",
        scene.title(),
        scene.unit()
    );
    for (subject, outcome) in rows {
        let _ = write!(text, "| {} |", subject.name());
        match outcome {
            Ok(profile) => {
                let top: Vec<String> = profile
                    .top
                    .iter()
                    .map(|(name, part)| format!("`{}` {:.0} %", name.replace('|', "\\|"), part * 100.0))
                    .collect();
                let _ = writeln!(text, " {:.0} | {} |", profile.instructions, top.join(", "));
            }
            Err(reason) => missing(&mut text, &reason, 1),
        }
    }
    text.push('\n');
    text
}

fn missing(text: &mut String, reason: &str, empty: usize) {
    let _ = writeln!(text, " missing: {} |{}", reason.replace('|', "\\|"), " |".repeat(empty));
}

#[expect(clippy::cast_precision_loss, reason = "a run makes far fewer than 2^52 allocations")]
fn whole(count: u64) -> f64 {
    count as f64
}

/// Three significant digits, without digits behind the point that say nothing.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= RARE => 2,
        _ => 0,
    };
    format!("{value:.decimals$}")
}
