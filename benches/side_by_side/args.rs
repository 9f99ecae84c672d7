//! Command line of the benchmark and the plan made from it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::case::Case;
use crate::floor::FloorArgs;
use crate::measured::{Effort, FOR_P99, FOR_P999};
use crate::peer::Peer;
use crate::pin::Pin;
use crate::rounds::Plan;
use crate::scale;
use crate::select::select;

/// Rounds of a full run and of a quick one.
const ROUNDS: usize = 7;
const QUICK_ROUNDS: usize = 3;

/// One measurement of a full run and of a quick one.
const FULL: Effort = Effort {
    time: Duration::from_millis(700),
    round_trips: FOR_P999,
    limit: Duration::from_secs(5),
    patience: PATIENCE,
};
const QUICK: Effort = Effort {
    time: Duration::from_millis(250),
    round_trips: FOR_P99,
    limit: Duration::from_secs(1),
    patience: PATIENCE,
};

/// Longest time a peer may take over one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Measures serbroker, ser2net, socat and a bare forwarder side by side.
#[derive(Parser)]
#[command(name = "side_by_side")]
pub(crate) struct Args {
    /// Interleaved rounds to run (default 7, with --quick 3)
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// Shorter measurements and fewer rounds
    #[arg(long)]
    quick: bool,
    /// Only these cases, comma-separated
    #[arg(long, value_delimiter = ',')]
    cases: Vec<String>,
    /// Only these peers, comma-separated
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Peers run on from round to round where nothing is closed, instead of a new process for each
    #[arg(long)]
    keep: bool,
    /// Also write every round's figures to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Also renew the figures in performance.md and the plots in plots/ of this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) write: Option<PathBuf>,
    /// Keep peer and benchmark on processors apart, or all on one
    #[arg(long, value_name = "HOW")]
    pub(crate) pin: Option<Pin>,
    /// Passed by `cargo bench`; without it the program checks itself
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
    #[command(flatten)]
    pub(crate) floor: FloorArgs,
}

impl Args {
    /// What to run with many ports; the other cases are [`Args::plan`]'s.
    pub(crate) fn scale(&self) -> scale::Plan {
        let wanted = |case: &scale::Case| match self.cases.as_slice() {
            [] => case.usual(),
            names => names.iter().any(|name| *name == case.name()),
        };
        let chosen = |peer: &Peer| self.peers.is_empty() || self.peers.iter().any(|name| name == peer.name());
        scale::Plan {
            rounds: self.rounds.map_or(if self.quick { QUICK_ROUNDS } else { ROUNDS }, usize::from),
            time: Duration::from_secs(if self.quick { 2 } else { 5 }),
            cases: scale::Case::ALL.into_iter().filter(wanted).collect(),
            peers: scale::PEERS.into_iter().filter(chosen).collect(),
        }
    }

    /// What to run with one port. An unknown case or peer is an error that names the known ones.
    pub(crate) fn plan(&self) -> Result<Plan, String> {
        let scale = |name: &&String| scale::Case::ALL.iter().any(|case| case.name() == name.as_str());
        let single: Vec<String> = self.cases.iter().filter(|name| !scale(name)).cloned().collect();
        let mut cases = select("case", &Case::ALL, Case::name, &single).map_err(|error| {
            let many: Vec<_> = scale::Case::ALL.into_iter().map(scale::Case::name).collect();
            format!("{error}, {}", many.join(", "))
        })?;
        if single.is_empty() && !self.cases.is_empty() {
            cases.clear();
        }
        let peers = select("peer", &Peer::ALL, Peer::name, &self.peers)?;
        let effort = if self.quick { QUICK } else { FULL };
        let default = if self.quick { QUICK_ROUNDS } else { ROUNDS };
        Ok(Plan { rounds: self.rounds.map_or(default, usize::from), effort, cases, peers, keep: self.keep })
    }
}
