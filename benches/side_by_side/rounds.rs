//! The interleaved rounds and what came of them.

use crate::case::{Case, Sample};
use crate::exchange::Effort;
use crate::peer::Peer;

/// What to run.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) effort: Effort,
    pub(crate) cases: Vec<Case>,
    pub(crate) peers: Vec<Peer>,
}

/// What one peer did in one case: a sample a round, or why there is none.
pub(crate) struct Series {
    pub(crate) case: Case,
    pub(crate) peer: Peer,
    pub(crate) outcome: Result<Vec<Sample>, String>,
}

/// Every round runs every case, and within it every peer, so that a change of the machine's speed
/// touches all alike; the order of the peers moves on by one each round. A peer that fails a case is
/// left out of it from then on, and its earlier samples with it.
pub(crate) fn run(plan: &Plan) -> Vec<Series> {
    let mut results: Vec<Series> = Vec::new();
    for &case in &plan.cases {
        let peers = plan.peers.iter().filter(|&&peer| case.suits(peer));
        results.extend(peers.map(|&peer| Series { case, peer, outcome: Ok(Vec::new()) }));
    }
    for round in 0..plan.rounds {
        for &case in &plan.cases {
            eprintln!("round {} of {}: {}", round + 1, plan.rounds, case.name());
            let mut series: Vec<_> = results.iter_mut().filter(|series| series.case == case).collect();
            if !series.is_empty() {
                let first = round % series.len();
                series.rotate_left(first);
            }
            for one in series {
                one.add(plan, round);
            }
        }
    }
    results
}

impl Series {
    fn add(&mut self, plan: &Plan, round: usize) {
        let Ok(samples) = &mut self.outcome else { return };
        match self.case.measure(self.peer, plan.effort) {
            Ok(sample) => samples.push(sample),
            Err(error) => {
                eprintln!("  {}: {error}", self.peer.name());
                let when = if round == 0 { String::new() } else { format!(" (in round {})", round + 1) };
                self.outcome = Err(format!("{error}{when}"));
            }
        }
    }

    /// The samples; none when the peer failed.
    pub(crate) fn samples(&self) -> &[Sample] {
        self.outcome.as_deref().unwrap_or_default()
    }
}

/// The series of `peer` in `case`.
pub(crate) fn find(results: &[Series], case: Case, peer: Peer) -> Option<&Series> {
    results.iter().find(|series| series.case == case && series.peer == peer)
}
