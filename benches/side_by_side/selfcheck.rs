//! What the program does under `cargo test`: it checks that it measures, and that it would notice if a
//! peer altered, lost or repeated a single byte.

use std::time::Duration;

use crate::case::{Case, Kind};
use crate::fault::Fault;
use crate::floor::Manner;
use crate::measured::{Effort, Measured};
use crate::peer::Peer;
use crate::telnet::Decoder;

const EFFORT: Effort = Effort {
    time: Duration::from_millis(50),
    round_trips: 100,
    limit: Duration::from_secs(5),
    patience: Duration::from_secs(1),
};

/// What the error for altered, lost or repeated data says.
const NOTICED: [&str; 5] = ["wrong data", "too many", "more bytes", "in time", "stalled"];

/// Checks the telnet decoder, then the measurements and their verification.
pub(crate) fn run() -> Result<(), String> {
    telnet()?;
    forwarding()
}

/// Decodes one stream cut in two at every place: payload with doubled 0xFF, option requests of all
/// kinds, one of them repeated, a subnegotiation that holds a doubled 0xFF, and a lone command.
fn telnet() -> Result<(), String> {
    let stream = b"a\xff\xff\xfb\xff\xfb\x00\xff\xfd\x03b\xff\xfd\x01\xff\xfb\x2c\xff\xfd\x01\
                   \xff\xfa\x2cx\xff\xffy\xff\xf0c\xff\xf1\xff\xfc\x05\xff\xff\xff\xff";
    let payload = b"a\xff\xfbbc\xff\xff";
    let answers = b"\xff\xfd\x00\xff\xfb\x03\xff\xfc\x01\xff\xfe\x2c";
    for cut in 0..=stream.len() {
        let (mut decoder, mut output) = (Decoder::new(), Vec::new());
        decoder.decode(&stream[..cut], &mut output);
        decoder.decode(&stream[cut..], &mut output);
        if output != payload || decoder.answers != answers {
            let answers = &decoder.answers;
            return Err(format!("telnet, cut at {cut}: payload {output:02x?}, answers {answers:02x?}"));
        }
    }
    println!("telnet: decoded");
    Ok(())
}

/// Runs every case as it is and with faults. Where a bare forwarder can take part it makes them; where it
/// speaks too little the device makes them and serbroker passes them on.
fn forwarding() -> Result<(), String> {
    let floor = Peer::Floor(Manner::Plain);
    for case in Case::ALL {
        let forwards = floor.suits(case.setup());
        measured(case, if forwards { floor } else { Peer::SerbrokerTuned })?;
        for fault in Fault::ALL {
            if forwards {
                noticed(case, Peer::Faulty(fault), None)?;
            } else {
                noticed(case, Peer::SerbrokerTuned, Some(fault))?;
            }
        }
    }
    for manner in [Manner::Large, Manner::Threads, Manner::Tokio] {
        let floor = Peer::Floor(manner);
        let suited = Case::ALL.into_iter().filter(|case| floor.suits(case.setup()));
        suited.into_iter().try_for_each(|case| measured(case, floor))?;
    }
    Ok(())
}

/// Measures once, and once more where that is possible.
fn measured(case: Case, peer: Peer) -> Result<(), String> {
    let failed = |error| format!("{}: a faultless {} failed: {error}", case.name(), peer.name());
    let mut scene = case.begin(peer, None).map_err(failed)?;
    for _ in 0..if case.leaves_all_open() { 2 } else { 1 } {
        figures_are_there(case, &scene.measure(EFFORT).map_err(failed)?)?;
    }
    println!("{}: {} measured", case.name(), peer.name());
    Ok(())
}

fn figures_are_there(case: Case, sample: &Measured) -> Result<(), String> {
    let positive = |name: &str| sample.round.get(name).is_some_and(|&value| value > 0.0);
    let zero = |name: &str| sample.round.get(name).is_some_and(|&value| value == 0.0);
    let moved = match case.kind {
        Kind::ToNet => positive("bytes to net") && zero("bytes to device"),
        Kind::ToDevice => positive("bytes to device") && zero("bytes to net"),
        Kind::Both => positive("bytes to device") && positive("bytes to net"),
        Kind::RoundTrip(_) => positive("p50 ms") && sample.round.get("p99 ms") >= sample.round.get("p50 ms"),
        Kind::Churn => positive("connections/s") && positive("p50 ms"),
        Kind::FanOut => positive("MB/s") && positive("MB/s a client"),
        Kind::FanOutStalled => sample.round.contains_key("MB/s") && zero("bytes lost"),
    };
    if !moved || !positive("CPU s") || !positive("RSS MiB") {
        return Err(format!("{}: nothing measured: {sample:?}", case.name()));
    }
    Ok(())
}

fn noticed(case: Case, peer: Peer, fault: Option<Fault>) -> Result<(), String> {
    match case.measure(peer, EFFORT, fault) {
        Ok(_) => Err(format!("{}: {peer:?} {fault:?} went unnoticed", case.name())),
        Err(error) if NOTICED.iter().any(|words| error.contains(words)) => {
            println!("{}: {peer:?} {fault:?} noticed: {error}", case.name());
            Ok(())
        }
        Err(error) => Err(format!("{}: {peer:?} {fault:?}: {error}", case.name())),
    }
}
