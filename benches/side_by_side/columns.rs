//! The tables of the cases: which figures are shown, and against what.

use crate::case::{Case, Kind};
use crate::client::Wire;
use crate::measured::{FOR_P99, FOR_P999};
use crate::rounds::{Plan, Series};
use crate::table::{Better, Column, Reference, Row, Show, Table};

const LOWER: Reference = Reference::BestFloor(Better::Lower);
const HIGHER: Reference = Reference::BestFloor(Better::Higher);
const SER2NET: Reference = Reference::Named("ser2net");
const SOCAT: Reference = Reference::Named("socat");

/// One table a case.
pub(crate) fn tables(plan: &Plan, results: &[Series]) -> Vec<Table> {
    let table = |&case: &Case| Table {
        name: case.name().into(),
        title: case.title(),
        columns: columns(case),
        rows: results.iter().filter(|series| series.case == case).map(row).collect(),
    };
    plan.cases.iter().map(table).collect()
}

fn row(series: &Series) -> Row {
    let (rounds, note) = match &series.outcome {
        Ok(samples) => {
            let mut notes: Vec<_> = samples.iter().map(|sample| sample.note.as_str()).collect();
            notes.dedup();
            (Ok(samples.iter().map(|sample| sample.round.clone()).collect()), notes.join("; "))
        }
        Err(reason) => (Err(reason.clone()), String::new()),
    };
    Row { peer: series.peer.name().into(), rounds, note }
}

fn columns(case: Case) -> Vec<Column> {
    let mut columns = match case.kind {
        Kind::RoundTrip(size) => round_trip(case.wire, size),
        Kind::Churn => vec![
            Column::new("connections/s (lowest–highest)", "connections/s", Show::Range),
            Column::against("÷ floor", "connections/s", HIGHER),
            Column::against("÷ ser2net", "connections/s", SER2NET),
            Column::new("p50 ms", "p50 ms", Show::Median),
            Column::new("p99 ms (lowest–highest)", "p99 ms", Show::Percentile(FOR_P99)),
            Column::new("refused a connection", "refused/connection", Show::Median),
            Column::new("CPU µs a connection", "CPU µs/connection", Show::Median),
            Column::against("CPU ÷ floor", "CPU µs/connection", LOWER),
        ],
        Kind::FanOutStalled => vec![
            Column::new("MB/s (lowest–highest)", "MB/s", Show::Range),
            Column::across(
                "a client ÷ own with none stalled",
                "MB/s a client",
                "fan-out-16",
                Reference::Same,
            ),
            Column::new("bytes lost", "bytes lost", Show::Median),
        ],
        _ => throughput(case.wire),
    };
    columns.push(Column::new("RSS MiB", "RSS MiB", Show::Median));
    columns
}

fn round_trip(wire: Wire, size: usize) -> Vec<Column> {
    let (p50, p99, cpu) = ("p50 ms", "p99 ms", "CPU µs/round trip");
    let mut columns = vec![
        Column::new("p50 ms (lowest–highest)", p50, Show::Range),
        Column::new("p99 ms (lowest–highest)", p99, Show::Percentile(FOR_P99)),
        Column::new("p99.9 ms (lowest–highest)", "p99.9 ms", Show::Percentile(FOR_P999)),
    ];
    match wire {
        Wire::Raw => columns.extend([
            Column::against("p50 ÷ floor", p50, LOWER),
            Column::against("p99 ÷ floor", p99, LOWER),
            Column::against("p50 ÷ ser2net", p50, SER2NET),
            Column::new("CPU µs a round trip", cpu, Show::Median),
            Column::against("CPU ÷ floor", cpu, LOWER),
        ]),
        Wire::Telnet => {
            let raw = if size == 1 { "round-trip-1" } else { "round-trip-256" };
            columns.extend([
                Column::across("p50 ÷ floor's raw", p50, raw, LOWER),
                Column::against("p50 ÷ ser2net", p50, SER2NET),
                Column::new("CPU µs a round trip", cpu, Show::Median),
            ]);
        }
        Wire::Tls => columns.extend([
            Column::against("p50 ÷ socat", p50, SOCAT),
            Column::against("p50 ÷ ser2net", p50, SER2NET),
            Column::new("CPU µs a round trip", cpu, Show::Median),
            Column::against("CPU ÷ socat", cpu, SOCAT),
        ]),
    }
    columns
}

fn throughput(wire: Wire) -> Vec<Column> {
    let (rate, cpu) = ("MB/s", "CPU s/GiB");
    let mut columns = vec![Column::new("MB/s (lowest–highest)", rate, Show::Range)];
    columns.push(match wire {
        Wire::Raw => Column::against("÷ floor", rate, HIGHER),
        Wire::Telnet => Column::across("÷ own raw", rate, "device-to-net", Reference::Same),
        Wire::Tls => Column::against("÷ socat", rate, SOCAT),
    });
    columns.push(Column::against("÷ ser2net", rate, SER2NET));
    columns.push(Column::new("CPU s a GiB", cpu, Show::Median));
    match wire {
        Wire::Raw => columns.push(Column::against("CPU ÷ floor", cpu, LOWER)),
        Wire::Telnet => {}
        Wire::Tls => columns.push(Column::against("CPU ÷ socat", cpu, SOCAT)),
    }
    columns
}
