//! Cost as it grows: a peer with more and more ports, and a port with more and more clients.

use std::io::Write;
use std::time::Duration;

use super::bed::{Bed, expect};
use super::grid::{Column, Grid, Row, Show};
use super::paced::Load;
use super::{limits, ports};
use crate::peer::Peer;
use crate::report::median;

/// Ports, as far as the machine allows.
const PORTS: [usize; 4] = [10, 100, 1_000, 5_000];
/// Clients of one port.
const CLIENTS: [usize; 3] = [1, 10, 100];
const MAX_CONNECTIONS: &str = "max-connections: 100";
/// Peers that are measured, and those of them that give one port several clients.
pub(crate) const PEERS: [Peer; 3] = [Peer::Serbroker, Peer::Ser2net, Peer::Floor];
const SHARING: [Peer; 2] = [Peer::Serbroker, Peer::Ser2net];

const PORT_VALUES: [&str; 6] =
    ["ports", "start_up_ms", "idle_rss_kib", "connected_rss_kib", "cpu_percent", "delivered_percent"];
const PORT_COLUMNS: [Column; 5] = [
    Column { heading: "start-up ms (lowest–highest)", of: 1, show: Show::Range },
    Column { heading: "idle RSS KiB", of: 2, show: Show::Median },
    Column { heading: "RSS connected KiB", of: 3, show: Show::Median },
    Column { heading: "CPU % at 1,200 bytes/s a port (lowest–highest)", of: 4, show: Show::Range },
    Column { heading: "delivered in time %", of: 5, show: Show::Median },
];
const CLIENT_VALUES: [&str; 2] = ["clients", "rss_kib"];
const CLIENT_COLUMNS: [Column; 1] =
    [Column { heading: "RSS KiB (lowest–highest)", of: 1, show: Show::Range }];
const FIT_VALUES: [&str; 4] = ["slope", "at_zero", "largest_deviation", "largest_deviation_percent"];
const FIT_COLUMNS: [Column; 4] = [
    Column { heading: "for one more", of: 0, show: Show::Median },
    Column { heading: "at none", of: 1, show: Show::Median },
    Column { heading: "largest deviation from the line", of: 2, show: Show::Median },
    Column { heading: "in % of the figure there", of: 3, show: Show::Median },
];
/// Quantities fitted: index into the port values, and what it is.
const FITTED: [(usize, &str); 4] = [
    (1, "start-up, ms a port"),
    (2, "idle RSS, KiB a port"),
    (3, "RSS connected, KiB a port"),
    (4, "CPU at 1,200 bytes/s, % a port"),
];

/// The tables in the making.
pub(crate) struct Growth {
    ports: Grid,
    clients: Grid,
    sizes: Vec<usize>,
}

impl Growth {
    /// Empty tables, whose title says what limits the number of ports.
    pub(crate) fn new() -> Self {
        let mut sizes: Vec<usize> = PORTS.iter().map(|&wanted| limits::ports(wanted).0).collect();
        sizes.dedup();
        let limit = limits::ports(PORTS[PORTS.len() - 1]).1;
        let limit = limit.map_or_else(String::new, |limit| format!("; no more ports here: {limit}"));
        let grid = |name: &str, title, values, columns| Grid {
            name: name.into(),
            title,
            values,
            columns,
            rows: Vec::new(),
        };
        let title = format!("Growth with the number of ports{limit}");
        Self {
            ports: grid("growth-ports", title, &PORT_VALUES, &PORT_COLUMNS),
            clients: grid(
                "growth-clients",
                "Growth with the number of clients of one port".into(),
                &CLIENT_VALUES,
                &CLIENT_COLUMNS,
            ),
            sizes,
        }
    }

    /// One round of one peer.
    #[expect(clippy::cast_precision_loss, reason = "a hundred clients")]
    pub(crate) fn add(&mut self, peer: Peer, round: usize, time: Duration) {
        for &count in &self.sizes {
            let name = format!("{}, {count} ports", peer.name());
            if !self.ports.failed(&name) {
                eprintln!("  {name}");
                self.ports.add(&name, round, with_ports(peer, count, time));
            }
        }
        if SHARING.contains(&peer) {
            let name = |count: usize| format!("{}, {count} clients", peer.name());
            let outcome = with_clients(peer);
            for (index, &count) in CLIENTS.iter().enumerate() {
                let value = outcome.as_ref().map(|rss| vec![count as f64, rss[index]]);
                self.clients.add(&name(count), round, value.map_err(String::clone));
            }
        }
    }

    /// The tables, with the straight lines through their figures.
    pub(crate) fn finish(self, peers: &[Peer]) -> Vec<Grid> {
        let mut rows = Vec::new();
        for peer in peers {
            for (value, text) in FITTED {
                rows.extend(line(&self.ports, *peer, value, text));
            }
            rows.extend(line(&self.clients, *peer, 1, "RSS, KiB a client"));
        }
        let fit = Grid {
            name: "growth-lines".into(),
            title: "Growth: straight lines through the medians, by least squares".into(),
            values: &FIT_VALUES,
            columns: &FIT_COLUMNS,
            rows,
        };
        vec![self.ports, self.clients, fit]
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand ports")]
fn with_ports(peer: Peer, count: usize, time: Duration) -> Result<Vec<f64>, String> {
    let (bed, waiting) = ports::wait(peer, count, None)?;
    let loaded = ports::load(&bed, Load { rate: 1_200.0, requests: 1.0, time })?;
    let values = loaded.values(time);
    let [cpu, wanted, delivered] = [6, 7, 9].map(|index| values[index]);
    let start_up = waiting.start_up.as_secs_f64() * 1e3;
    let delivered = delivered / wanted * 100.0;
    Ok(vec![count as f64, start_up, waiting.idle.rss, waiting.connected.rss, cpu, delivered])
}

/// Resident memory, in KiB, with each number of clients, every one of which got a byte of the device.
fn with_clients(peer: Peer) -> Result<[f64; CLIENTS.len()], String> {
    let mut bed = Bed::start(peer, 1, &[MAX_CONNECTIONS])?;
    bed.connect([0])?;
    let mut more = Vec::new();
    let mut rss = [0.0; CLIENTS.len()];
    for (count, rss) in CLIENTS.into_iter().zip(&mut rss) {
        while more.len() + 1 < count {
            let stream = bed.dial(0)?;
            // what the client sends arrives: the peer has taken it in
            (&stream).write_all(b"k").map_err(|error| format!("client: {error}"))?;
            expect(&bed.ttys[0].master, b'k').map_err(|error| format!("device: {error}"))?;
            more.push(stream);
        }
        (&bed.ttys[0].master).write_all(b"n").map_err(|error| format!("device: {error}"))?;
        for stream in bed.clients.iter().map(|client| &client.stream).chain(&more) {
            expect(stream, b'n').map_err(|error| format!("client: {error}{}", bed.running.last_words()))?;
        }
        bed.settle()?;
        *rss = bed.memory()?.rss;
    }
    Ok(rss)
}

/// The line of one quantity of one peer, if it has figures of two sizes at least.
fn line(grid: &Grid, peer: Peer, value: usize, text: &str) -> Option<Row> {
    let start = format!("{}, ", peer.name());
    let rows = grid.rows.iter().filter(|row| row.name.starts_with(&start));
    let points: Vec<(f64, f64)> =
        rows.filter_map(|row| Some((median(row.values(0))?, median(row.values(value))?))).collect();
    let name = format!("{start}{text}");
    Some(Row { name, outcome: Ok(vec![fit(&points)?]), remark: String::new() })
}

/// Slope, value at 0, and the largest deviation of a point, absolute and in per cent of the point's value.
#[expect(clippy::cast_precision_loss, reason = "a handful of points")]
pub(crate) fn fit(points: &[(f64, f64)]) -> Option<Vec<f64>> {
    if points.len() < 2 {
        return None;
    }
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let across: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let along: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let slope = across / along;
    let zero = y - slope * x;
    let deviations = points.iter().map(|point| ((point.1 - zero - slope * point.0).abs(), point.1));
    let (deviation, there) = deviations.max_by(|one, other| one.0.total_cmp(&other.0))?;
    Some(vec![slope, zero, deviation, deviation / there * 100.0])
}
