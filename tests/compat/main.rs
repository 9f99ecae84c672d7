//! Replays recorded behaviour of ser2net against serbroker, or against any other program that claims to be
//! compatible.  README.md beside this file explains the cases and the options.

mod bench;
mod case;
mod clients;
mod clock;
mod compare;
mod daemon;
mod devices;
mod divergence;
mod options;
mod plan;
mod pool;
mod ports;
mod pty;
mod record;
mod report;
mod run;
mod sys;
mod termios_text;
mod text;
mod tls;
mod witness;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use bench::{Bench, Setup, Stop};
use case::Case;
use options::{Options, Request, beside};
use plan::{Duty, Job, Material};
use pool::Status;
use witness::Rules;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == daemon::LAUNCH) {
        let command: Vec<OsString> = args.collect();
        let error = daemon::launch(&command);
        eprintln!(
            "cannot start {}: {error}",
            command.first().map(PathBuf::from).unwrap_or_default().display()
        );
        return ExitCode::from(127);
    }
    let done = match options::parse(std::env::args().skip(1)) {
        Ok(Request::Help) => {
            print!("{}", options::HELP);
            Ok(true)
        }
        Ok(Request::List) => {
            println!("{}: test", options::TEST_NAME);
            Ok(true)
        }
        Ok(Request::Nothing) => Ok(true),
        Ok(Request::Run(options)) => run(&options),
        Err(e) => Err(e),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("compat: {e}");
            ExitCode::from(2)
        }
    }
}

/// Runs what is wanted; whether nothing failed.
fn run(options: &Options) -> Result<bool, String> {
    ports::shuffle();
    let tools = tempfile::Builder::new().prefix("compat-tools-").tempdir().map_err(|e| e.to_string())?;
    if let Some(key) = &options.record {
        return record_divergence(options, key, tools.path());
    }
    let material = Material::load(options)?;
    let plan = material.plan(options);
    let setup = set_up(options, &plan.jobs.iter().map(|j| j.case).collect::<Vec<_>>(), tools.path());
    let since = Instant::now();
    let mut outcomes: Vec<_> = plan.left.into_iter().map(report::skipped).collect();
    let mut failed = Vec::new();
    pool::run(&plan.jobs, options.jobs, &setup, |number, outcome| {
        if outcome.status == Status::Failed {
            report::failure(&outcome, options.verbose && !options.retry);
            failed.push((number, outcome));
        } else {
            outcomes.push(outcome);
        }
    });
    // a busy machine can disturb a case or two: these get a second try, one by one
    let few = failed.len() <= 8 + plan.jobs.len() / 50;
    if options.retry && few && !failed.is_empty() {
        println!("{} failed cases once more, alone:", failed.len());
        let again: Vec<Job<'_>> = failed
            .drain(..)
            .map(|(number, _)| Job { case: plan.jobs[number].case, duty: plan.jobs[number].duty })
            .collect();
        pool::run(&again, 1, &setup, |_, outcome| {
            if outcome.status == Status::Failed {
                report::failure(&outcome, options.verbose);
            }
            outcomes.push(outcome);
        });
    } else {
        for (_, outcome) in failed {
            if options.retry && options.verbose {
                report::failure(&outcome, true);
            }
            outcomes.push(outcome);
        }
    }
    outcomes.sort_by(|a, b| (&a.area, &a.id).cmp(&(&b.area, &b.id)));
    if options.verbose {
        show_unrun(&outcomes, &material, &plan.jobs);
    }
    let secs = since.elapsed().as_secs_f64();
    if let Some(path) = &options.json {
        report::write_json(path, &options.program, secs, &outcomes)
            .map_err(|e| format!("{}: {e}", path.display()))?;
    }
    println!("{secs:.0} seconds with {} jobs", options.jobs);
    report::summary(&outcomes);
    if outcomes.is_empty() {
        return Err("no case has such a name".to_owned());
    }
    Ok(report::count(&outcomes, Status::Failed) == 0)
}

/// Cases that were skipped for a reason of this machine, and listed ones that nothing asserts.
fn show_unrun(outcomes: &[pool::Outcome], material: &Material, jobs: &[Job<'_>]) {
    for o in outcomes.iter().filter(|o| o.status == Status::Skipped) {
        println!("skipped {}/{}: {}", o.area, o.id, o.reason);
    }
    for job in jobs {
        let key = job.case.key();
        if let Duty::Differ(kind) = job.duty {
            let bare = kind == divergence::Kind::Diverges && !material.has_own(&key);
            let note = if bare { " (no recording of its own)" } else { "" };
            println!("listed {key}: {}{note}", material.reason(&key));
        }
    }
}

/// What all cases share: the program, and the tools that the wanted cases need.
fn set_up(options: &Options, cases: &[&Case], tools: &Path) -> Setup {
    let shim = cases.iter().any(|c| c.modem_shim).then(|| compile_shim(tools)).flatten();
    let wants_tls = |c: &&Case| c.config.as_ref().is_some_and(|text| text.contains("{TLS}"));
    let tls = (cases.iter().any(wants_tls) && tls::make_key_pair(tools)).then(|| tools.to_owned());
    Setup {
        program: options.program.clone(),
        shim,
        tls,
        rules: Rules {
            strict_log: options.strict_log,
            strict_device: options.strict_device,
            ..Rules::default()
        },
        recording: options.record.is_some(),
    }
}

/// Compiles the library that gives ptys modem lines.
fn compile_shim(tools: &Path) -> Option<PathBuf> {
    let library = tools.join("modemshim.so");
    let done = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-o"])
        .args([&library, &beside("modemshim.c")])
        .arg("-ldl")
        .stdin(Stdio::null())
        .output();
    match done {
        Ok(output) if output.status.success() => Some(library),
        Ok(output) => {
            println!("modemshim.c does not compile: {}", String::from_utf8_lossy(&output.stderr));
            None
        }
        Err(_) => None, // no compiler: the cases are skipped, and say so
    }
}

/// Runs the steps of one case, writes what was seen as serbroker's own recording, and replays that.
fn record_divergence(options: &Options, key: &str, tools: &Path) -> Result<bool, String> {
    let (area, _) = key.split_once('/').ok_or("--record-divergence wants area/id")?;
    let cases = case::load(&options.cases, |name| name == area)?;
    let case = cases.iter().find(|c| c.key() == key).ok_or(format!("there is no case {key}"))?;
    let mut setup = set_up(options, &[case], tools);
    let recorded = Bench::new(case, &setup).and_then(|mut bench| {
        let recorded = record::record(&mut bench);
        bench.finish()?;
        recorded
    });
    let recorded = recorded.map_err(|stop| match stop {
        Stop::Skip(reason) => reason,
        Stop::TimeLimit => "time limit".to_owned(),
        Stop::Broken(e) => e.to_string(),
    })?;
    let own = Case::from_mapping(area, recorded.clone())?;
    let path = record::store(&beside("serbroker"), area, recorded)?;
    println!("{key} is written to {}; read it before you believe it", path.display());
    setup.recording = false;
    let mut agrees = true;
    pool::run(&[Job { case: &own, duty: Duty::AgreeWithOwn }], 1, &setup, |_, outcome| {
        agrees = outcome.status == Status::Passed;
        if !agrees {
            report::failure(&outcome, true);
        }
    });
    println!("replayed: {}", if agrees { "agrees" } else { "differs" });
    Ok(agrees)
}
