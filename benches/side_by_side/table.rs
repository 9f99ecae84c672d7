//! The Markdown tables of a run.

use std::fmt::Write;

use crate::case::{Case, Sample};
use crate::peer::Peer;
use crate::report::{median, setting};
use crate::rounds::{Plan, Series, find};

/// A figure of a sample.
type Figure = fn(&Sample) -> Option<f64>;

/// A column: its heading, and the text of a row.
struct Column {
    heading: &'static str,
    figure: Figure,
    kind: Kind,
}

enum Kind {
    /// The median.
    Median,
    /// The median with the lowest and the highest.
    Range,
    /// The median of the ratios to another series, round by round.
    Ratio(Case, Option<Peer>),
}

/// One table a case, headed by the machine, the programs and the number of rounds.
pub(crate) fn markdown(plan: &Plan, results: &[Series]) -> String {
    let mut text = format!("{}; medians of {} interleaved rounds\n", setting().join(", "), plan.rounds);
    for &case in &plan.cases {
        let columns = columns(case);
        let headings: Vec<_> = columns.iter().map(|column| column.heading).collect();
        let rule = "---:|".repeat(columns.len());
        // writing to a String cannot fail
        let _ = write!(text, "\n### {}\n\n| peer | {} |\n|---|{rule}\n", case.title(), headings.join(" | "));
        for series in results.iter().filter(|series| series.case == case) {
            let cells = match &series.outcome {
                Ok(_) => columns.iter().map(|column| cell(column, series, results)).collect(),
                Err(reason) => {
                    let mut cells = vec![String::new(); columns.len()];
                    cells[0] = format!("missing: {}", reason.replace('|', "\\|"));
                    cells
                }
            };
            let _ = writeln!(text, "| {} | {} |", series.peer.name(), cells.join(" | "));
        }
    }
    text
}

fn columns(case: Case) -> Vec<Column> {
    let column = |heading, figure, kind| Column { heading, figure, kind };
    let against = |peer| Kind::Ratio(case, Some(peer));
    if let Case::RoundTrip(_) = case {
        let p50: Figure = |sample| sample.milliseconds().map(|[p50, _]| p50);
        let p99: Figure = |sample| sample.milliseconds().map(|[_, p99]| p99);
        return vec![
            column("p50 ms (lowest–highest)", p50, Kind::Range),
            column("p99 ms (lowest–highest)", p99, Kind::Range),
            column("p50 ÷ floor", p50, against(Peer::Floor)),
            column("p99 ÷ floor", p99, against(Peer::Floor)),
            column("p50 ÷ ser2net", p50, against(Peer::Ser2net)),
            column("CPU µs a round trip", Sample::cpu_per_round_trip, Kind::Median),
            column("CPU ÷ floor", Sample::cpu_per_round_trip, against(Peer::Floor)),
            column("RSS MiB", |sample| Some(sample.resident_mib()), Kind::Median),
        ];
    }
    let rate: Figure = Sample::megabytes_per_second;
    let reference = if case.telnet() {
        column("÷ own raw", rate, Kind::Ratio(Case::ToNet, None))
    } else {
        column("÷ floor", rate, against(Peer::Floor))
    };
    let mut columns = vec![
        column("MB/s (lowest–highest)", rate, Kind::Range),
        reference,
        column("÷ ser2net", rate, against(Peer::Ser2net)),
        column("CPU s a GiB", Sample::cpu_per_gib, Kind::Median),
        column("RSS MiB", |sample| Some(sample.resident_mib()), Kind::Median),
    ];
    if !case.telnet() {
        columns.insert(4, column("CPU ÷ floor", Sample::cpu_per_gib, against(Peer::Floor)));
    }
    columns
}

fn cell(column: &Column, series: &Series, results: &[Series]) -> String {
    let values = |samples: &[Sample]| samples.iter().filter_map(column.figure).collect::<Vec<f64>>();
    let own = values(series.samples());
    let (low, high) = own.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), &v| (low.min(v), high.max(v)));
    let missing = || "–".to_string();
    match column.kind {
        Kind::Median => median(own).map_or_else(missing, number),
        Kind::Range => median(own)
            .map_or_else(missing, |middle| format!("{} ({}–{})", number(middle), number(low), number(high))),
        Kind::Ratio(case, peer) => {
            let Some(other) = find(results, case, peer.unwrap_or(series.peer)) else { return missing() };
            let pairs = own.into_iter().zip(values(other.samples()));
            median(pairs.map(|(own, other)| own / other).collect()).map_or_else(missing, number)
        }
    }
}

/// Three significant digits.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}
