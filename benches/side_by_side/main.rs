//! Side-by-side benchmark: serbroker, ser2net, socat and a bare forwarder on the same pty set-up.
//!
//! `cargo bench --bench side_by_side -- --help` lists the options; `docs/performance.md` says what is
//! measured. Started by `cargo test` the program checks itself instead: see [`selfcheck`].

mod args;
mod case;
mod churn;
mod client;
mod columns;
mod ends;
mod exchange;
mod fanout;
mod fault;
mod floor;
mod floor_many;
mod floor_tokio;
mod measured;
mod page;
mod pattern;
mod peer;
mod pin;
mod process;
mod pump;
mod report;
mod rounds;
mod roundtrip;
mod scale;
mod select;
mod selfcheck;
mod svg;
mod table;
mod targets;
mod telnet;
mod tls;
mod transfer;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let outcome = if let Some(forwarder) = args.floor.forwarder() {
        floor::run(&forwarder).map_err(|error| format!("floor: {error}"))
    } else if let Some((list, fault)) = args.floor.forwarders() {
        scale::forwarder::run(&list, fault).map_err(|error| format!("floor: {error}"))
    } else if args.bench {
        measure(&args)
    } else {
        selfcheck::run().and_then(|()| scale::selfcheck::run())
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
    if let Some(how) = args.pin {
        pin::pin(how)?;
    }
    let results = rounds::run(&plan);
    let mut tables = columns::tables(&plan, &results);
    tables.extend(args.scale().run());
    let figures = page::figures(&plan, args.pin, &tables);
    print!("{figures}");
    if let Some(path) = &args.json {
        let text = report::json(&tables);
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if let Some(dir) = &args.write {
        page::write(dir, &figures, &tables)?;
    }
    Ok(())
}
