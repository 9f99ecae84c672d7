//! Telling what came of it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use crate::plan::Left;
use crate::pool::{Outcome, Status};

const COLUMNS: [(Status, &str); 5] = [
    (Status::Passed, "passed"),
    (Status::Failed, "failed"),
    (Status::Skipped, "skipped"),
    (Status::Diverges, "diverges"),
    (Status::Later, "later"),
];

pub(crate) fn skipped(left: Left) -> Outcome {
    Outcome {
        area: left.area,
        id: left.id,
        status: Status::Skipped,
        reason: left.reason,
        differences: Vec::new(),
        secs: 0.0,
    }
}

/// One failed case.
pub(crate) fn failure(outcome: &Outcome, with_differences: bool) {
    println!("FAILED {}/{}: {}", outcome.area, outcome.id, outcome.reason);
    for difference in outcome.differences.iter().filter(|_| with_differences) {
        println!("    {} (- recorded, + seen)", difference.endpoint);
        for line in &difference.lines {
            println!("    {line}");
        }
    }
}

pub(crate) fn count(outcomes: &[Outcome], status: Status) -> usize {
    outcomes.iter().filter(|o| o.status == status).count()
}

/// The table of areas and the last line.
pub(crate) fn summary(outcomes: &[Outcome]) {
    let mut areas: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        areas.entry(&outcome.area).or_default().push(outcome);
    }
    let header: Vec<_> = COLUMNS.iter().map(|(_, name)| format!("{name:>9}")).collect();
    println!("{:<20}{}{:>9}", "area", header.concat(), "seconds");
    for (area, all) in areas {
        let cells = COLUMNS.map(|(status, _)| all.iter().filter(|o| o.status == status).count());
        let cells: Vec<_> = cells.iter().map(|n| format!("{n:>9}")).collect();
        println!("{area:<20}{}{:>9.1}", cells.concat(), all.iter().map(|o| o.secs).sum::<f64>());
    }
    let totals = COLUMNS.map(|(status, name)| format!("{} {name}", count(outcomes, status)));
    println!("compat: {}", totals.join(", "));
}

pub(crate) fn write_json(
    path: &Path,
    program: &[String],
    secs: f64,
    outcomes: &[Outcome],
) -> std::io::Result<()> {
    let name = |status| COLUMNS.iter().find(|(s, _)| *s == status).map_or("", |(_, name)| name);
    let results: Vec<_> = outcomes
        .iter()
        .map(|o| {
            let differences: Vec<_> =
                o.differences.iter().map(|d| json!({ "endpoint": d.endpoint, "lines": d.lines })).collect();
            json!({
                "area": o.area, "id": o.id, "status": name(o.status), "reason": o.reason,
                "secs": o.secs, "diff": differences,
            })
        })
        .collect();
    let totals: BTreeMap<_, _> = COLUMNS.iter().map(|(s, name)| (*name, count(outcomes, *s))).collect();
    let all = json!({ "exec": program, "seconds": secs, "totals": totals, "results": results });
    std::fs::write(path, format!("{all:#}\n"))
}
