//! The figures part of docs/performance.md and its plots.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::pin::Pin;
use crate::rounds::Plan;
use crate::svg::{Bar, Group, Line, Scale, bars, lines};
use crate::table::{Table, find, median, spread};
use crate::{report, table, targets};

const BEGIN: &str = "<!-- figures -->";
const END: &str = "<!-- end of figures -->";

/// A plot of bars: file, title, figure, scale, and the cases it shows.
struct Bars {
    file: &'static str,
    title: &'static str,
    figure: &'static str,
    scale: Scale,
    cases: &'static [&'static str],
}

const TRIPS: &[&str] = &[
    "round-trip-1",
    "round-trip-256",
    "telnet-round-trip-1",
    "telnet-round-trip-256",
    "tls-round-trip-1",
    "tls-round-trip-256",
];
const STREAMS: &[&str] = &[
    "device-to-net",
    "net-to-device",
    "both",
    "telnet-device-to-net",
    "tls-device-to-net",
    "tls-net-to-device",
    "fan-out-16",
];

const PLOTS: [Bars; 4] = [
    Bars {
        file: "throughput.svg",
        title: "Throughput in MB/s: more is better",
        figure: "MB/s",
        scale: Scale::Linear,
        cases: STREAMS,
    },
    Bars {
        file: "round-trip.svg",
        title: "Round trip, p50 in ms, logarithmic: less is better",
        figure: "p50 ms",
        scale: Scale::Log,
        cases: TRIPS,
    },
    Bars {
        file: "cpu-throughput.svg",
        title: "Processor seconds a GiB, logarithmic: less is better",
        figure: "CPU s/GiB",
        scale: Scale::Log,
        cases: STREAMS,
    },
    Bars {
        file: "cpu-round-trip.svg",
        title: "Processor microseconds a round trip, logarithmic: less is better",
        figure: "CPU µs/round trip",
        scale: Scale::Log,
        cases: TRIPS,
    },
];

/// A figure over the number of ports: file, title and figure.
const OVER_PORTS: [(&str, &str, &str); 2] = [
    ("memory-idle.svg", "Resident memory in MiB, idle, by number of ports", "idle RSS MiB"),
    ("memory-connected.svg", "Resident memory in MiB, a client on every port", "connected RSS MiB"),
];
const PORTS: [(&str, f64); 5] = [
    ("ports-10", 10.0),
    ("ports-100", 100.0),
    ("ports-200", 200.0),
    ("ports-1000", 1000.0),
    ("ports-5000", 5000.0),
];

/// The Markdown of a run: its setting, the targets and the tables.
pub(crate) fn figures(plan: &Plan, pin: Option<Pin>, tables: &[Table]) -> String {
    let places = match pin {
        None => "",
        Some(Pin::Apart) => "the peer on a processor of its own; ",
        Some(Pin::Together) => "all on one processor; ",
    };
    let life = if plan.keep { "peers that run on from round to round; " } else { "" };
    let rounds = plan.rounds;
    format!(
        "{}; {places}{life}medians of {rounds} interleaved rounds\n{}{}",
        report::setting(),
        targets::markdown(tables),
        table::markdown(tables)
    )
}

/// Puts `figures` between the markers of `performance.md` in `dir`, after the plots, and writes those to
/// `plots/`.
pub(crate) fn write(dir: &Path, figures: &str, tables: &[Table]) -> Result<(), String> {
    let page = dir.join("performance.md");
    let failed = |error: std::io::Error| format!("{}: {error}", page.display());
    let text = fs::read_to_string(&page).map_err(failed)?;
    let (before, rest) = text.split_once(BEGIN).ok_or_else(|| format!("{}: no {BEGIN}", page.display()))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| format!("{}: no {END}", page.display()))?;
    let mut images = String::new();
    let plots = dir.join("plots");
    fs::create_dir_all(&plots).map_err(|error| format!("{}: {error}", plots.display()))?;
    for (file, title, image) in plot(tables) {
        let path = plots.join(file);
        fs::write(&path, image).map_err(|error| format!("{}: {error}", path.display()))?;
        // writing to a String cannot fail
        let _ = write!(images, "\n![{title}](plots/{file})\n");
    }
    let whole = format!("{before}{BEGIN}\n\n{figures}\n### Plots\n{images}\n{END}{after}");
    fs::write(&page, whole).map_err(failed)
}

/// File, title and text of every plot there are figures for.
fn plot(tables: &[Table]) -> Vec<(&'static str, &'static str, String)> {
    let mut plots = Vec::new();
    for Bars { file, title, figure, scale, cases } in PLOTS {
        let groups: Vec<_> = cases.iter().filter_map(|case| group(find(tables, case)?, figure)).collect();
        if !groups.is_empty() {
            plots.push((file, title, bars(title, scale, &groups)));
        }
    }
    for (file, title, figure) in OVER_PORTS {
        let drawn = over_ports(tables, figure);
        if !drawn.is_empty() {
            plots.push((file, title, lines(title, [Scale::Log, Scale::Log], "ports", &drawn)));
        }
    }
    plots
}

fn group(table: &Table, figure: &str) -> Option<Group> {
    let bar = |row: &table::Row| {
        let [middle, low, high] = spread(row.values(figure))?;
        Some(Bar { label: row.peer.clone(), range: [low, middle, high] })
    };
    let bars: Vec<_> = table.rows.iter().filter_map(bar).collect();
    (!bars.is_empty()).then(|| Group { heading: table.title.clone(), bars })
}

/// A line a peer of the first table that has it, over the tables that do.
fn over_ports(tables: &[Table], figure: &str) -> Vec<Line> {
    let mut drawn: Vec<Line> = Vec::new();
    for (name, ports) in PORTS {
        for row in find(tables, name).map(|table| &table.rows).into_iter().flatten() {
            let Some(value) = median(row.values(figure)) else { continue };
            match drawn.iter_mut().find(|line| line.label == row.peer) {
                Some(line) => line.points.push([ports, value]),
                None => drawn.push(Line { label: row.peer.clone(), points: vec![[ports, value]] }),
            }
        }
    }
    drawn
}
