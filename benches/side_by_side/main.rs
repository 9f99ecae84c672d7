//! Side-by-side benchmark: serbroker, ser2net, socat and a bare forwarder on the same pty set-up.
//!
//! `cargo bench --bench side_by_side -- --help` lists the options; `docs/performance.md` says what is
//! measured. Started by `cargo test` the program checks itself instead: see [`selfcheck`].

mod args;
mod case;
mod ends;
mod exchange;
mod floor;
mod pattern;
mod peer;
mod process;
mod pump;
mod report;
mod rounds;
mod roundtrip;
mod select;
mod selfcheck;
mod table;
mod telnet;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let outcome = if let Some(forwarder) = args.floor.forwarder() {
        floor::run(&forwarder).map_err(|error| format!("floor: {error}"))
    } else if args.bench {
        measure(&args)
    } else {
        selfcheck::run()
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the selected rounds and writes the tables and, if asked for, the JSON file.
fn measure(args: &args::Args) -> Result<(), String> {
    let plan = args.plan()?;
    let results = rounds::run(&plan);
    print!("{}", table::markdown(&plan, &results));
    if let Some(path) = &args.json {
        let text = report::json(&plan, &results);
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}
