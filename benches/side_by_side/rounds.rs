//! The interleaved rounds and what came of them.

use crate::case::{Case, Scene};
use crate::measured::{Effort, Measured};
use crate::peer::Peer;

/// What to run.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) effort: Effort,
    pub(crate) cases: Vec<Case>,
    pub(crate) peers: Vec<Peer>,
    /// Peers run on from round to round, where the case leaves them as they were.
    pub(crate) keep: bool,
}

/// What one peer did in one case: a sample a round, or why there is none.
pub(crate) struct Series {
    pub(crate) case: Case,
    pub(crate) peer: Peer,
    pub(crate) outcome: Result<Vec<Measured>, String>,
    /// The peer that runs on.
    kept: Option<Scene>,
}

/// Every round runs every case, and within it every peer, so that a change of the machine's speed
/// touches all alike; the order of the peers moves on by one each round. A peer that fails a case is
/// left out of it from then on, and its earlier samples with it.
pub(crate) fn run(plan: &Plan) -> Vec<Series> {
    let mut results: Vec<Series> = Vec::new();
    for &case in &plan.cases {
        let peers = plan.peers.iter().filter(|&&peer| peer.suits(case.setup()));
        results.extend(peers.map(|&peer| Series { case, peer, outcome: Ok(Vec::new()), kept: None }));
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
        let scene = self.kept.take().map_or_else(|| self.case.begin(self.peer, None), Ok);
        let measured = scene.and_then(|mut scene| Ok((scene.measure(plan.effort)?, scene)));
        match measured {
            Ok((sample, scene)) => {
                samples.push(sample);
                self.kept = (plan.keep && self.case.leaves_all_open()).then_some(scene);
            }
            Err(error) => {
                eprintln!("  {}: {error}", self.peer.name());
                let when = if round == 0 { String::new() } else { format!(" (in round {})", round + 1) };
                self.outcome = Err(format!("{error}{when}"));
            }
        }
    }
}
