//! Cost as it grows: a peer with more and more ports, and a port with more and more clients.

use std::io::Write;
use std::time::Duration;

use super::bed::{Bed, expect};
use super::paced::Load;
use super::{limits, ports, rows};
use crate::floor::Manner;
use crate::peer::Peer;
use crate::table::{Column, Round, Row, Show, Table, median};

/// Ports, as far as the machine allows, with the names of their tables.
const PORTS: [(usize, &str); 4] =
    [(10, "growth-10"), (100, "growth-100"), (1_000, "growth-1000"), (5_000, "growth-5000")];
/// Clients of one port, and the figure of each number.
const CLIENTS: [(usize, &str); 3] =
    [(1, "RSS KiB, 1 client"), (10, "RSS KiB, 10 clients"), (100, "RSS KiB, 100 clients")];
const MAX_CONNECTIONS: &str = "max-connections: 100";
/// Bytes a second of each device.
const RATE: f64 = 1_200.0;
/// Peers that are measured, and those of them that give one port several clients.
pub(crate) const PEERS: [Peer; 3] = [Peer::Serbroker, Peer::Ser2net, Peer::Floor(Manner::Plain)];
const SHARING: [Peer; 2] = [Peer::Serbroker, Peer::Ser2net];
/// Quantities fitted: name of the table, figure, and what one more port is counted in.
const FITTED: [(&str, &str, &str); 4] = [
    ("growth-start", "start ms", "start, ms"),
    ("growth-idle", "idle RSS KiB", "idle RSS, KiB"),
    ("growth-connected", "connected RSS KiB", "RSS with a client on every port, KiB"),
    ("growth-cpu", "CPU %", "CPU at 1,200 bytes/s a port, %"),
];

/// The tables in the making.
pub(crate) struct Growth {
    /// Of so many ports each.
    ports: Vec<(usize, Table)>,
    clients: Table,
}

impl Growth {
    /// Empty tables, whose titles say when the machine limits the number of ports.
    pub(crate) fn new(peers: &[Peer]) -> Self {
        let columns = || {
            vec![
                Column::new("start ms (lowest–highest)", "start ms", Show::Range),
                Column::new("idle RSS KiB", "idle RSS KiB", Show::Median),
                Column::new("connected RSS KiB", "connected RSS KiB", Show::Median),
                Column::new("CPU % (lowest–highest)", "CPU %", Show::Range),
                Column::new("CPU µs/s a port", "CPU µs/s/port", Show::Median),
                Column::new("p99 ms", "p99 ms", Show::Median),
                Column::new("delivered in time %", "delivered %", Show::Median),
            ]
        };
        let mut ports: Vec<(usize, Table)> = Vec::new();
        for (wanted, name) in PORTS {
            let (count, limit) = limits::ports(wanted);
            let limit = limit.map_or_else(String::new, |text| format!(" ({wanted} are too many: {text})"));
            let title = format!("Growth: {count} ports{limit}, 1,200 bytes/s from every device");
            ports.push((count, rows::table(name, title, columns(), peers)));
        }
        let sharing: Vec<Peer> = peers.iter().copied().filter(|peer| SHARING.contains(peer)).collect();
        let shown = CLIENTS.map(|(_, figure)| Column::new(figure, figure, Show::Range)).into();
        let title = "Growth: clients of one port".into();
        Self { ports, clients: rows::table("growth-clients", title, shown, &sharing) }
    }

    /// One round of one peer.
    pub(crate) fn add(&mut self, peer: Peer, round: usize, time: Duration) {
        for (count, table) in &mut self.ports {
            if !rows::failed(table, peer) {
                rows::add(table, peer, round, with_ports(peer, *count, time));
            }
        }
        if !rows::failed(&self.clients, peer) {
            rows::add(&mut self.clients, peer, round, with_clients(peer));
        }
    }

    /// The tables, with the straight lines through their figures.
    pub(crate) fn finish(mut self, peers: &[Peer]) -> Vec<Table> {
        for (_, table) in &mut self.ports {
            table.rows.iter_mut().for_each(|row| row.note = ports::limit(row));
        }
        let mut lines: Vec<Table> = FITTED
            .into_iter()
            .map(|(name, figure, what)| {
                let points = |peer: &str| -> Vec<(f64, f64)> {
                    let point = |(count, table): &(usize, Table)| {
                        Some((f64::from(*count as u32), median(table.row(peer)?.values(figure))?))
                    };
                    self.ports.iter().filter_map(point).collect()
                };
                line(name, format!("Growth, straight line: {what}, by ports"), peers, points)
            })
            .collect();
        let points = |peer: &str| -> Vec<(f64, f64)> {
            let point = |(count, figure): (usize, &str)| {
                Some((f64::from(count as u32), median(self.clients.row(peer)?.values(figure))?))
            };
            CLIENTS.into_iter().filter_map(point).collect()
        };
        let title = "Growth, straight line: RSS, KiB, by clients of one port".into();
        let sharing: Vec<Peer> = peers.iter().copied().filter(|peer| SHARING.contains(peer)).collect();
        lines.push(line("growth-client", title, &sharing, points));
        let mut tables: Vec<Table> = self.ports.into_iter().map(|(_, table)| table).collect();
        tables.push(self.clients);
        tables.extend(lines);
        tables
    }
}

fn with_ports(peer: Peer, count: usize, time: Duration) -> Result<Round, String> {
    let (bed, waiting) = ports::wait(peer, count, None)?;
    let mut round = ports::load(&bed, Load { rate: RATE, requests: 1.0, time })?.figures(time);
    round.insert("start ms", waiting.start_up.as_secs_f64() * 1e3);
    round.insert("idle RSS KiB", waiting.idle.rss);
    round.insert("connected RSS KiB", waiting.connected.rss);
    let cpu = round["CPU %"] * 1e4 / f64::from(count as u32);
    round.insert("CPU µs/s/port", cpu);
    Ok(round)
}

/// Resident memory, in KiB, with each number of clients, every one of which got a byte of the device.
fn with_clients(peer: Peer) -> Result<Round, String> {
    let mut bed = Bed::start(peer, 1, &[MAX_CONNECTIONS])?;
    bed.connect([0])?;
    let mut more = Vec::new();
    let mut round = Round::new();
    for (count, figure) in CLIENTS {
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
        round.insert(figure, bed.memory()?.rss);
    }
    Ok(round)
}

/// The table of the lines through each peer's points, as far as it has two at least.
fn line(
    name: &'static str,
    title: String,
    peers: &[Peer],
    points: impl Fn(&str) -> Vec<(f64, f64)>,
) -> Table {
    const FIGURES: [&str; 4] = ["for one more", "at none", "largest deviation", "largest deviation %"];
    let columns = FIGURES.map(|figure| Column::new(figure, figure, Show::Median)).into();
    let row = |peer: &Peer| {
        let line = fit(&points(peer.name())).ok_or("fewer than two points".to_string());
        let rounds = line.map(|values| vec![FIGURES.into_iter().zip(values).collect()]);
        Row { peer: peer.name().to_string(), rounds, note: String::new() }
    };
    Table { name: name.to_string(), title, columns, rows: peers.iter().map(row).collect() }
}

/// Slope, value at 0, and the largest deviation of a point, absolute and in per cent of the point's value.
#[expect(clippy::cast_precision_loss, reason = "a handful of points")]
pub(crate) fn fit(points: &[(f64, f64)]) -> Option<[f64; 4]> {
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
    Some([slope, zero, deviation, deviation / there * 100.0])
}
