//! The cases with many ports: start and memory, paced traffic, reload, and how the cost grows.
//!
//! - `ports-N`: from before exec until `/proc/net/tcp` shows all ports listening (looked at every ms, so that
//!   nothing connects); memory from `smaps_rollup`; processor time of 2 s of nothing; then a client a port
//!   and a byte each way, and memory again.
//! - `paced-N`, the second table of the same case: every device sends 16-byte pieces at 11,520 bytes a second
//!   and answers the 5 requests a second of its client. A piece says when it was written, or, while the tty's
//!   queue is full, when it was due; every one is checked. One thread plays the devices and one the clients;
//!   they share the machine with the peer, and a note says when they were late themselves.
//! - `reload-1000`: from kill(2) until the changed port takes a connection (tried every 0.2 ms) and the old
//!   one can be bound, with 20 clients of other ports making round trips of one byte. Those from the signal until
//!   then, and for 50 ms at the least, are the ones "meanwhile".
//! - `growth`: 10 to 5,000 ports, as far as the machine allows, at 1,200 bytes a second each, and 1 to 100
//!   clients of one port, with the straight lines through the figures.
//!
//! The soft limit of open files is raised to the hard one for the benchmark and its peers.

mod bed;
pub(crate) mod forwarder;
mod frame;
mod growth;
mod limits;
mod paced;
mod ports;
mod reload;
mod rows;
pub(crate) mod selfcheck;
mod sockets;

use std::time::Duration;

use self::growth::Growth;
use self::paced::Load;
use crate::floor::Manner;
use crate::peer::Peer;
use crate::table::Table;

/// Peers of these cases, in the order of the tables. The tuned serbroker has `chardelay: false` here and
/// buffers as they come, for what is asked is what a port costs.
pub(crate) const PEERS: [Peer; 5] =
    [Peer::Serbroker, Peer::SerbrokerTuned, Peer::Ser2net, Peer::Ser2netNodelay, Peer::Floor(Manner::Plain)];

/// Time a peer is watched idle.
const IDLE: Duration = Duration::from_secs(2);
/// 115,200 baud with 8 data bits, a start and a stop bit.
const RATE: f64 = 11_520.0;
/// Requests a second of each client beside it.
const REQUESTS: f64 = 5.0;
/// Ports of the reload case, and those of them with a client.
const RELOADED: usize = 1_000;
const LIVE: usize = 20;

/// A case of many ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    Ports(usize),
    Reload,
    Growth,
}

impl Case {
    /// All, in the order they are run.
    pub(crate) const ALL: [Self; 7] = [
        Self::Ports(10),
        Self::Ports(100),
        Self::Ports(200),
        Self::Ports(1_000),
        Self::Ports(5_000),
        Self::Reload,
        Self::Growth,
    ];

    /// Name in options and JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ports(10) => "ports-10",
            Self::Ports(100) => "ports-100",
            Self::Ports(200) => "ports-200",
            Self::Ports(1_000) => "ports-1000",
            Self::Ports(_) => "ports-5000",
            Self::Reload => "reload-1000",
            Self::Growth => "growth",
        }
    }

    /// Name of the table of the paced traffic.
    fn paced(self) -> &'static str {
        match self {
            Self::Ports(10) => "paced-10",
            Self::Ports(100) => "paced-100",
            Self::Ports(200) => "paced-200",
            Self::Ports(1_000) => "paced-1000",
            _ => "paced-5000",
        }
    }

    /// Whether it is run when no case is named.
    pub(crate) fn usual(self) -> bool {
        matches!(self, Self::Ports(10 | 200 | 1_000) | Self::Reload)
    }

    fn suits(self, peer: Peer) -> bool {
        match self {
            Self::Ports(_) => true,
            Self::Reload => !matches!(peer, Peer::Floor(_)),
            Self::Growth => growth::PEERS.contains(&peer),
        }
    }
}

/// What to run.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// Time of the paced traffic.
    pub(crate) time: Duration,
    pub(crate) cases: Vec<Case>,
    pub(crate) peers: Vec<Peer>,
}

/// The tables of one case in the making.
enum Tables {
    Ports { count: usize, waiting: Table, loaded: Table },
    Reload(Table),
    Growth(Growth),
}

impl Plan {
    /// Every round runs every case, and within it every peer, beginning with another one each time.
    pub(crate) fn run(&self) -> Vec<Table> {
        if !self.cases.is_empty() {
            limits::raise_open_files();
        }
        let mut tables: Vec<Tables> =
            self.cases.iter().map(|&case| Tables::new(case, &self.peers(case))).collect();
        for round in 0..self.rounds {
            for (&case, tables) in self.cases.iter().zip(&mut tables) {
                eprintln!("round {} of {}: {}", round + 1, self.rounds, case.name());
                let mut peers = self.peers(case);
                if !peers.is_empty() {
                    let first = round % peers.len();
                    peers.rotate_left(first);
                }
                for peer in peers {
                    tables.add(peer, round, self.time);
                }
            }
        }
        tables.into_iter().flat_map(|tables| tables.finish(&self.peers(Case::Growth))).collect()
    }

    fn peers(&self, case: Case) -> Vec<Peer> {
        self.peers.iter().copied().filter(|&peer| case.suits(peer)).collect()
    }
}

impl Tables {
    fn new(case: Case, peers: &[Peer]) -> Self {
        match case {
            Case::Ports(wanted) => {
                let (count, limit) = limits::ports(wanted);
                let limit =
                    limit.map_or_else(String::new, |text| format!(" ({wanted} are too many: {text})"));
                let start = format!("{count} ports{limit}: start, waiting, connected");
                let paced = format!("{count} ports: 115,200 baud from every device, 16 bytes at a time");
                Self::Ports {
                    count,
                    waiting: rows::table(case.name(), start, ports::waiting_columns(), peers),
                    loaded: rows::table(case.paced(), paced, ports::loaded_columns(), peers),
                }
            }
            Case::Reload => {
                let title =
                    format!("SIGHUP with {RELOADED} ports, {LIVE} of them in use, another one changed");
                Self::Reload(rows::table(case.name(), title, reload::columns(), peers))
            }
            Case::Growth => Self::Growth(Growth::new(peers)),
        }
    }

    fn add(&mut self, peer: Peer, round: usize, time: Duration) {
        match self {
            Self::Ports { count, waiting, loaded } => {
                if rows::failed(waiting, peer) {
                    return;
                }
                match ports::wait(peer, *count, Some(IDLE)) {
                    Err(error) => {
                        rows::add(waiting, peer, round, Err(error.clone()));
                        rows::add(loaded, peer, round, Err(error));
                    }
                    Ok((bed, figures)) => {
                        rows::add(waiting, peer, round, Ok(figures.figures(*count)));
                        if !rows::failed(loaded, peer) {
                            let load = Load { rate: RATE, requests: REQUESTS, time };
                            let outcome = ports::load(&bed, load).map(|loaded| loaded.figures(time));
                            rows::add(loaded, peer, round, outcome);
                        }
                    }
                }
            }
            Self::Reload(table) => {
                if !rows::failed(table, peer) {
                    rows::add(table, peer, round, reload::measure(peer, RELOADED, LIVE));
                }
            }
            Self::Growth(growth) => growth.add(peer, round, time),
        }
    }

    fn finish(self, growing: &[Peer]) -> Vec<Table> {
        match self {
            Self::Ports { waiting, mut loaded, .. } => {
                loaded.rows.iter_mut().for_each(|row| row.note = ports::limit(row));
                vec![waiting, loaded]
            }
            Self::Reload(table) => vec![table],
            Self::Growth(growth) => growth.finish(growing),
        }
    }
}
