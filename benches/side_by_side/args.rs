//! Command line of the benchmark and the plan made from it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::case::Case;
use crate::exchange::Effort;
use crate::floor::FloorArgs;
use crate::peer::Peer;
use crate::rounds::Plan;
use crate::select::select;

/// Rounds of a full run and of a quick one.
const ROUNDS: usize = 7;
const QUICK_ROUNDS: usize = 3;

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
    /// Also write every round's figures to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Passed by `cargo bench`; without it the program checks itself
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
    #[command(flatten)]
    pub(crate) floor: FloorArgs,
}

impl Args {
    /// What to run. An unknown case or peer is an error that names the known ones.
    pub(crate) fn plan(&self) -> Result<Plan, String> {
        let cases = select("case", &Case::ALL, Case::name, &self.cases)?;
        let peers = select("peer", &Peer::ALL, Peer::name, &self.peers)?;
        let effort = if self.quick {
            Effort { time: Duration::from_millis(300), round_trips: 50 }
        } else {
            Effort { time: Duration::from_secs(1), round_trips: 200 }
        };
        let default = if self.quick { QUICK_ROUNDS } else { ROUNDS };
        Ok(Plan { rounds: self.rounds.map_or(default, usize::from), effort, cases, peers })
    }
}
