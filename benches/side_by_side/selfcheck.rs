//! What the program does under `cargo test`: it checks that it measures, and that it would notice if a
//! peer altered, lost or repeated a single byte.

use std::time::Duration;

use crate::case::{Case, Effort, Figures};
use crate::floor::Fault;
use crate::peer::Peer;

const EFFORT: Effort = Effort { time: Duration::from_millis(50), round_trips: 100 };

/// Runs every raw case against the forwarder as it is and against faulty ones.
pub(crate) fn run() -> Result<(), String> {
    for case in Case::ALL.into_iter().filter(|case| !case.telnet()) {
        let sample = case
            .measure(Peer::Floor, EFFORT)
            .map_err(|error| format!("{}: a faultless forwarder failed: {error}", case.name()))?;
        let moved = match sample.figures {
            Figures::Throughput { to_net, to_device, .. } => match case {
                Case::ToNet => to_net > 0 && to_device == 0,
                Case::ToDevice => to_device > 0 && to_net == 0,
                _ => to_device > 0 && to_net > 0,
            },
            Figures::RoundTrip { count, p50, p99 } => {
                count >= EFFORT.round_trips && !p50.is_zero() && p50 <= p99
            }
        };
        if !moved || sample.cpu.is_zero() || sample.resident == 0 {
            return Err(format!("{}: nothing measured: {sample:?}", case.name()));
        }
        println!("{}: measured", case.name());
        for fault in [Fault::Flip, Fault::Drop, Fault::Double] {
            match case.measure(Peer::Faulty(fault), EFFORT) {
                Ok(_) => return Err(format!("{}: a {fault:?} fault went unnoticed", case.name())),
                Err(error) => println!("{}: {fault:?} noticed: {error}", case.name()),
            }
        }
    }
    Ok(())
}
