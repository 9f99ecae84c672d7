//! The checks of the many-port cases: that a faultless forwarder gives figures, and that one which alters,
//! loses or repeats a byte gives none.

use std::time::Duration;

use super::frame::{Kind, Piece, Reader};
use super::paced::Load;
use super::{growth, ports, sockets};
use crate::fault::Fault;
use crate::floor::Manner;
use crate::peer::Peer;

const PORTS: usize = 3;
const LOAD: Load = Load { rate: 11_520.0, requests: 50.0, time: Duration::from_millis(200) };
/// What the error for altered, lost or repeated data says.
const NOTICED: [&str; 3] = ["wrong data", "more bytes", "stalled"];

/// Checks the pieces, the fit and the measurements.
pub(crate) fn run() -> Result<(), String> {
    pieces()?;
    lines()?;
    forwarding()
}

/// Two pieces cut in two at every place are read as they were; with any one bit changed they are not.
fn pieces() -> Result<(), String> {
    let sent = [
        Piece { kind: Kind::Data, port: 7, number: 0, at: 1 },
        Piece { kind: Kind::Request, port: 7, number: u32::MAX, at: u64::MAX },
    ];
    let bytes = sent.map(Piece::encode).concat();
    let read = |bytes: &[u8], cut: usize| {
        let (mut reader, mut got) = (Reader::new(7), Vec::new());
        let mut take = |piece| {
            got.push(piece);
            Ok(())
        };
        reader.feed(&bytes[..cut], &mut take)?;
        reader.feed(&bytes[cut..], &mut take)?;
        Ok::<_, String>(got)
    };
    for cut in 0..=bytes.len() {
        if read(&bytes, cut)? != sent {
            return Err(format!("pieces, cut at {cut}: not read as sent"));
        }
    }
    for bit in 0..bytes.len() * 8 {
        let mut altered = bytes.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        if read(&altered, 0).is_ok() {
            return Err(format!("pieces: a change of bit {bit} went unnoticed"));
        }
    }
    println!("pieces: read");
    Ok(())
}

/// A line through points of a line, and the deviation of a point beside it.
fn lines() -> Result<(), String> {
    let exact = growth::fit(&[(1.0, 5.0), (2.0, 7.0), (4.0, 11.0)]);
    let bent = growth::fit(&[(0.0, 0.0), (1.0, 3.0), (2.0, 0.0)]);
    let near = |got: Option<[f64; 4]>, due: [f64; 3]| {
        got.is_some_and(|got| got.iter().zip(due).all(|(got, due)| (got - due).abs() < 1e-9))
    };
    if near(exact, [2.0, 3.0, 0.0]) && near(bent, [0.0, 1.0, 2.0]) {
        println!("lines: fitted");
        Ok(())
    } else {
        Err("lines: wrongly fitted".into())
    }
}

/// Runs the paced traffic with the forwarder as it is and with faulty ones.
fn forwarding() -> Result<(), String> {
    let (bed, waiting) = ports::wait(Peer::Floor(Manner::Plain), PORTS, None)?;
    let listening = sockets::listening().map_err(|error| error.to_string())?;
    let loaded = ports::load(&bed, LOAD).map_err(|error| format!("paced: a faultless forwarder: {error}"))?;
    let figures = loaded.figures(LOAD.time);
    let outcome = &loaded.outcome;
    let memory = [waiting.idle.rss, waiting.idle.pss, waiting.connected.rss, waiting.connected.pss];
    let measured = bed.ports.iter().all(|port| listening.contains(port))
        && memory.iter().all(|&kib| kib > 0.0)
        && waiting.connected.rss >= waiting.connected.pss
        && outcome.one_way.len() as u64 * 16 == outcome.wanted
        && outcome.lateness.len() == outcome.one_way.len()
        && outcome.round_trip.len() == PORTS * 10
        && outcome.delivered > 0
        && outcome.delivered <= outcome.wanted
        && !loaded.cpu.is_zero()
        && figures["p50 ms"] > 0.0
        && figures["p50 ms"] <= figures["p99 ms"]
        && figures["p99 ms"] <= figures["p99.9 ms"];
    if !measured {
        return Err(format!("paced: nothing measured: memory {memory:?}, {figures:?}"));
    }
    println!("paced: measured");
    for fault in Fault::ALL {
        let (bed, _) = ports::wait(Peer::Faulty(fault), PORTS, None)?;
        match ports::load(&bed, LOAD) {
            Ok(_) => return Err(format!("paced: a {fault:?} fault went unnoticed")),
            Err(error) if NOTICED.iter().any(|words| error.contains(words)) => {
                println!("paced: {fault:?} noticed: {error}");
            }
            Err(error) => return Err(format!("paced: {fault:?}: {error}")),
        }
    }
    Ok(())
}
