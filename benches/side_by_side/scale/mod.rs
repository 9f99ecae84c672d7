//! The cases with many ports: start and memory, paced traffic, reload, and how the cost grows.

mod bed;
pub(crate) mod forwarder;
mod frame;
pub(crate) mod grid;
mod growth;
mod limits;
mod paced;
mod ports;
mod reload;
pub(crate) mod selfcheck;
mod sockets;

use std::time::Duration;

use self::grid::Grid;
use self::growth::Growth;
use self::paced::Load;
use crate::peer::Peer;
use crate::report::median;

/// Peers of these cases, in the order of the tables. The tuned serbroker has `chardelay: false` here and
/// buffers as they come, for what is asked is what a port costs.
pub(crate) const PEERS: [Peer; 5] =
    [Peer::Serbroker, Peer::SerbrokerTuned, Peer::Ser2net, Peer::Ser2netNodelay, Peer::Floor];

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

    /// Whether it is run when no case is named.
    pub(crate) fn usual(self) -> bool {
        matches!(self, Self::Ports(10 | 200 | 1_000) | Self::Reload)
    }

    fn suits(self, peer: Peer) -> bool {
        match self {
            Self::Ports(_) => true,
            Self::Reload => peer.program().is_some(),
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
    Ports { count: usize, waiting: Grid, loaded: Grid },
    Reload(Grid),
    Growth(Growth),
}

impl Plan {
    /// Every round runs every case, and within it every peer, beginning with another one each time.
    pub(crate) fn run(&self) -> Vec<Grid> {
        if !self.cases.is_empty() {
            limits::raise_open_files();
        }
        let mut tables: Vec<Tables> = self.cases.iter().map(|&case| Tables::new(case)).collect();
        for round in 0..self.rounds {
            for (&case, tables) in self.cases.iter().zip(&mut tables) {
                eprintln!("round {} of {}: {}", round + 1, self.rounds, case.name());
                let mut peers: Vec<Peer> =
                    self.peers.iter().copied().filter(|&peer| case.suits(peer)).collect();
                if round == 0 {
                    // rows in the order of PEERS, whoever begins
                    tables.fill(&peers);
                }
                if !peers.is_empty() {
                    let first = round % peers.len();
                    peers.rotate_left(first);
                }
                for peer in peers {
                    tables.add(peer, round, self.time);
                }
            }
        }
        let suiting = |peer: &Peer| Case::Growth.suits(*peer);
        let growing: Vec<Peer> = self.peers.iter().copied().filter(suiting).collect();
        tables.into_iter().flat_map(|tables| tables.finish(&growing)).collect()
    }
}

impl Tables {
    fn new(case: Case) -> Self {
        let grid = |name: &str, title: String, values, columns| Grid {
            name: name.into(),
            title,
            values,
            columns,
            rows: Vec::new(),
        };
        match case {
            Case::Ports(wanted) => {
                let (count, limit) = limits::ports(wanted);
                let limit =
                    limit.map_or_else(String::new, |text| format!(" ({wanted} are too many: {text})"));
                Self::Ports {
                    count,
                    waiting: grid(
                        case.name(),
                        format!("{count} ports{limit}: start, waiting, connected"),
                        &ports::WAITING,
                        &ports::WAITING_COLUMNS,
                    ),
                    loaded: grid(
                        &format!("{}-paced", case.name()),
                        format!("{count} ports: 115,200 baud from every device, 16 bytes at a time"),
                        &ports::LOADED,
                        &ports::LOADED_COLUMNS,
                    ),
                }
            }
            Case::Reload => Self::Reload(grid(
                case.name(),
                format!("SIGHUP with {RELOADED} ports, {LIVE} of them in use, one changed"),
                &reload::VALUES,
                &reload::COLUMNS,
            )),
            Case::Growth => Self::Growth(Growth::new()),
        }
    }

    fn fill(&mut self, peers: &[Peer]) {
        let grids = match self {
            Self::Ports { waiting, loaded, .. } => vec![waiting, loaded],
            Self::Reload(grid) => vec![grid],
            Self::Growth(_) => Vec::new(),
        };
        for grid in grids {
            for peer in peers {
                let (name, remark) = (peer.name().to_string(), String::new());
                grid.rows.push(grid::Row { name, outcome: Ok(Vec::new()), remark });
            }
        }
    }

    fn add(&mut self, peer: Peer, round: usize, time: Duration) {
        let name = peer.name();
        match self {
            Self::Ports { count, waiting, loaded } => {
                let load = Load { rate: RATE, requests: REQUESTS, time };
                if waiting.failed(name) {
                    return;
                }
                match ports::wait(peer, *count, Some(IDLE)) {
                    Err(error) => {
                        eprintln!("  {name}: {error}");
                        waiting.add(name, round, Err(error.clone()));
                        loaded.add(name, round, Err(error));
                    }
                    Ok((bed, values)) => {
                        waiting.add(name, round, Ok(values.values(*count)));
                        if !loaded.failed(name) {
                            let outcome = ports::load(&bed, load).map(|figures| figures.values(time));
                            if let Err(error) = &outcome {
                                eprintln!("  {name}: {error}");
                            }
                            loaded.add(name, round, outcome);
                        }
                    }
                }
            }
            Self::Reload(grid) => {
                if !grid.failed(name) {
                    let outcome = reload::measure(peer, RELOADED, LIVE);
                    if let Err(error) = &outcome {
                        eprintln!("  {name}: {error}");
                    }
                    grid.add(name, round, outcome);
                }
            }
            Self::Growth(growth) => growth.add(peer, round, time),
        }
    }

    fn finish(self, growing: &[Peer]) -> Vec<Grid> {
        match self {
            Self::Ports { waiting, mut loaded, .. } => {
                let remarks: Vec<(String, String)> = loaded
                    .rows
                    .iter()
                    .map(|row| {
                        let middle = |index| median(row.values(index)).unwrap_or(f64::NAN);
                        let [wanted, offered, delivered, late, refused] = [7, 8, 9, 10, 11].map(middle);
                        (row.name.clone(), ports::limit(wanted, offered, delivered, late, refused))
                    })
                    .collect();
                for (name, remark) in remarks {
                    loaded.remark(&name, remark);
                }
                vec![waiting, loaded]
            }
            Self::Reload(grid) => vec![grid],
            Self::Growth(growth) => growth.finish(growing),
        }
    }
}
