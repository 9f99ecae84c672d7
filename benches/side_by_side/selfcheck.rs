//! What the program does under `cargo test`: it checks that it measures, and that it would notice if a
//! peer altered, lost or repeated a single byte.

use std::time::Duration;

use crate::case::{Case, Figures};
use crate::exchange::Effort;
use crate::floor::Fault;
use crate::peer::Peer;
use crate::telnet::Decoder;

const EFFORT: Effort = Effort { time: Duration::from_millis(50), round_trips: 100 };

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

/// Runs every raw case against the forwarder as it is and against faulty ones.
fn forwarding() -> Result<(), String> {
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
                Err(error) if NOTICED.iter().any(|words| error.contains(words)) => {
                    println!("{}: {fault:?} noticed: {error}", case.name());
                }
                Err(error) => return Err(format!("{}: {fault:?}: {error}", case.name())),
            }
        }
    }
    Ok(())
}
