//! Counting instructions with valgrind's callgrind.

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::keys::Keys;
use crate::scene::{Amount, Scene};
use crate::stage::{Stage, inside, installed};
use crate::subject::Subject;

/// What is sent in the two runs whose difference is the cost.
const SHORT: Amount = Amount { steps: 100, time: Duration::from_millis(300) };
const LONG: Amount = Amount { steps: 1100, time: Duration::from_millis(1500) };
/// Functions that a row names.
const TOP: usize = 6;

/// User space instructions.
#[derive(Debug)]
pub(crate) struct Profile {
    /// For one unit.
    pub(crate) instructions: f64,
    /// The functions that take the most, with their part of all: 0 to 1.
    pub(crate) top: Vec<(String, f64)>,
}

/// Counts the instructions of `subject` in `scene`: the difference of a long and a short run, so that
/// start, opening and end of the program drop out.
pub(crate) fn count(scene: Scene, subject: Subject, keys: &Keys) -> Result<Profile, String> {
    installed("valgrind")?;
    let (short, few) = run(scene, subject, keys, SHORT)?;
    let (long, many) = run(scene, subject, keys, LONG)?;
    let mut difference: Vec<(String, f64)> = long
        .into_iter()
        .map(|(name, cost)| {
            let before = short.get(&name).copied().unwrap_or_default();
            (name, cost - before)
        })
        .collect();
    let total: f64 = difference.iter().map(|(_, cost)| cost).sum();
    difference.sort_by(|a, b| b.1.total_cmp(&a.1));
    let top = difference.into_iter().take(TOP).map(|(name, cost)| (name, cost / total)).collect();
    Ok(Profile { instructions: total / (many - few), top })
}

/// One run: the cost of each function, and the number of units.
fn run(
    scene: Scene,
    subject: Subject,
    keys: &Keys,
    amount: Amount,
) -> Result<(HashMap<String, f64>, f64), String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = dir.path().join("costs");
    let mut stage = Stage::set(scene, subject, keys, |command| {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--quiet", "--tool=callgrind", "--collect-systime=no"]);
        valgrind.arg(format!("--callgrind-out-file={}", file.display()));
        inside(valgrind, command)
    })?;
    let units = stage.run(amount)?;
    drop(stage);
    let text = fs::read_to_string(&file).map_err(|error| format!("callgrind's file: {error}"))?;
    let costs = costs(&text);
    if costs.is_empty() { Err("callgrind's file is empty".into()) } else { Ok((costs, units)) }
}

/// The own cost of each function, from the text of callgrind's file (valgrind manual, "Callgrind Format
/// Specification"): cost lines belong to the last `fn=`, but the one after a `calls=` is the callee's.
fn costs(text: &str) -> HashMap<String, f64> {
    let mut names: HashMap<&str, String> = HashMap::new();
    let mut costs: HashMap<String, f64> = HashMap::new();
    let (mut current, mut of_callee) = (String::new(), false);
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("fn=").or_else(|| line.strip_prefix("cfn=")) {
            let full = named(name, &mut names);
            if line.starts_with("fn=") {
                current = full;
            }
        } else if line.starts_with("calls=") {
            of_callee = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let cost = line.split_whitespace().nth(1).and_then(|cost| cost.parse::<f64>().ok());
            if !std::mem::take(&mut of_callee) {
                *costs.entry(current.clone()).or_default() += cost.unwrap_or_default();
            }
        }
    }
    costs
}

/// The name behind `(number) name` or, when it was given before, `(number)`.
fn named<'a>(text: &'a str, names: &mut HashMap<&'a str, String>) -> String {
    let (number, name) = text.split_once(' ').unwrap_or((text, ""));
    if !name.is_empty() {
        names.insert(number, short(name));
    }
    names.get(number).cloned().unwrap_or_else(|| text.to_owned())
}

/// A function's name without the compiler's hash, and not too long.
fn short(name: &str) -> String {
    let name = match name.rsplit_once("::h") {
        Some((head, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => head,
        _ => name,
    };
    name.chars().take(70).collect()
}

/// Reads a text whose costs are known.
pub(crate) fn selfcheck() -> Result<(), String> {
    let text = "\
events: Ir
fl=(1) a.rs
fn=(1) one::two::h0123456789abcdef
16 400
+1 20
cfn=(2) other
calls=50 3
16 1000
fn=(2)
3 1000
fn=(1)
* 7
totals: 1427
";
    let costs = costs(text);
    let expected = HashMap::from([("one::two".to_owned(), 427.0), ("other".to_owned(), 1000.0)]);
    if costs == expected { Ok(()) } else { Err(format!("the costs are read wrongly: {costs:?}")) }
}
