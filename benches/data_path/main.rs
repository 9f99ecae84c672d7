//! What one chunk costs: system calls, allocations and instructions on the way between device and net.
//!
//! `cargo bench --bench data_path -- --help` lists the options; `docs/data-path.md` says what is counted
//! and what follows from it. Started by `cargo test` the program checks its readers instead.

mod allocations;
mod callgrind;
mod keys;
mod scene;
mod stage;
mod strace;
mod subject;
mod table;
mod tally;

// The ends, the streams and the floor are those of the other benchmark, which uses more of them.
#[allow(dead_code, reason = "used by the side_by_side benchmark")]
#[path = "../side_by_side/client.rs"]
mod client;
#[allow(dead_code, reason = "used by the side_by_side benchmark")]
#[path = "../side_by_side/ends.rs"]
mod ends;
#[allow(dead_code, reason = "used by the side_by_side benchmark")]
#[path = "../side_by_side/exchange.rs"]
mod exchange;
#[allow(dead_code, reason = "used by the side_by_side benchmark")]
#[path = "../side_by_side/fault.rs"]
mod fault;
#[allow(dead_code, reason = "used by the side_by_side benchmark")]
#[path = "../side_by_side/floor.rs"]
mod floor;
#[allow(dead_code, reason = "used by the side_by_side benchmark")]
#[path = "../side_by_side/floor_many.rs"]
mod floor_many;
#[path = "../side_by_side/floor_tokio.rs"]
mod floor_tokio;
#[allow(dead_code, reason = "used by the side_by_side benchmark")]
#[path = "../side_by_side/measured.rs"]
mod measured;
#[allow(dead_code, reason = "used by the side_by_side benchmark")]
#[path = "../side_by_side/pattern.rs"]
mod pattern;
#[allow(dead_code, reason = "used by the side_by_side benchmark")]
#[path = "../side_by_side/peer.rs"]
mod peer;
#[allow(dead_code, reason = "used by the side_by_side benchmark")]
#[path = "../side_by_side/pin.rs"]
mod pin;
#[allow(dead_code, reason = "used by the side_by_side benchmark")]
#[path = "../side_by_side/process.rs"]
mod process;
#[allow(dead_code, reason = "used by the side_by_side benchmark")]
#[path = "../side_by_side/pump.rs"]
mod pump;
#[allow(dead_code, reason = "used by the side_by_side benchmark")]
#[path = "../side_by_side/roundtrip.rs"]
mod roundtrip;
#[allow(dead_code, reason = "used by the side_by_side benchmark")]
#[path = "../side_by_side/select.rs"]
mod select;
#[allow(dead_code, reason = "used by the side_by_side benchmark")]
#[path = "../side_by_side/telnet.rs"]
mod telnet;
#[allow(dead_code, reason = "used by the side_by_side benchmark")]
#[path = "../side_by_side/tls.rs"]
mod tls;
#[allow(dead_code, reason = "used by the side_by_side benchmark")]
#[path = "../side_by_side/transfer.rs"]
mod transfer;

use std::process::ExitCode;

use clap::Parser;

use crate::keys::Keys;
use crate::scene::Scene;
use crate::select::select;
use crate::subject::Subject;

/// Counts what serbroker, ser2net, socat and a bare forwarder do for one chunk of data.
#[derive(Parser)]
#[command(name = "data_path")]
struct Args {
    /// Only these scenes, comma-separated
    #[arg(long, value_delimiter = ',')]
    scenes: Vec<String>,
    /// Only these programs, comma-separated
    #[arg(long, value_delimiter = ',')]
    subjects: Vec<String>,
    /// Count instructions with valgrind as well, which takes some minutes
    #[arg(long)]
    callgrind: bool,
    /// Passed by `cargo bench`; without it the program checks itself
    #[arg(long, hide = true)]
    bench: bool,
    #[command(flatten)]
    floor: floor::FloorArgs,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = if let Some(forwarder) = args.floor.forwarder() {
        floor::run(&forwarder).map_err(|error| format!("floor: {error}"))
    } else if args.bench {
        count(&args)
    } else {
        tally::selfcheck().and_then(|()| callgrind::selfcheck())
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Counts everything and prints the tables as they come.
fn count(args: &Args) -> Result<(), String> {
    let scenes = select("scene", &Scene::ALL, Scene::name, &args.scenes)?;
    let subjects = select("subject", &Subject::ALL, Subject::name, &args.subjects)?;
    let keys = Keys::make();
    println!("## System calls\n");
    for &scene in &scenes {
        let rows = subjects.iter().filter(|subject| scene.suits(**subject)).map(|&subject| {
            eprintln!("system calls: {}, {}", scene.name(), subject.name());
            (subject, strace::count(scene, subject, &keys))
        });
        print!("{}", table::calls(scene, rows));
    }
    println!("## Allocations\n");
    print!(
        "{}",
        table::allocations(&scenes, |scene| {
            eprintln!("allocations: {}", scene.name());
            allocations::count(scene, &keys)
        })
    );
    if args.callgrind {
        println!("## Instructions\n");
        for &scene in scenes.iter().filter(|scene| scene.profiled()) {
            let rows = subjects.iter().filter(|subject| scene.suits(**subject)).map(|&subject| {
                eprintln!("instructions: {}, {}", scene.name(), subject.name());
                (subject, callgrind::count(scene, subject, &keys))
            });
            print!("{}", table::instructions(scene, rows));
        }
    }
    Ok(())
}
