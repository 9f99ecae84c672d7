//! The `serbroker` program: arguments, configuration, background, runtime, run.

use serbroker::attach;
use serbroker::broker::{Broker, Sources};
use serbroker::cli::{self, Command, RunOptions};
use serbroker::commands;
use serbroker::config::render::render;
use serbroker::demo::Demo;
use serbroker::descriptors;
use serbroker::log::{self, Target};
use serbroker::process::{self, PidFile};
use std::io::{Write, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tracing::{debug, info, warn};

fn main() -> ExitCode {
    let done = match cli::parse(std::env::args_os()) {
        Ok(Command::Run(options)) => run(&options),
        Ok(Command::Check { files, detail }) => {
            // a closed pipe cannot be told about
            return status(commands::check(&files, detail, &mut stdout(), &mut stderr()).unwrap_or(false));
        }
        Ok(Command::Convert { file, output }) => {
            match commands::convert_file(&file, &output, &mut stdout(), &mut stderr()) {
                Ok(complete) => return status(complete),
                Err(text) => Err(text),
            }
        }
        Ok(Command::Ports { config, json }) => {
            // a closed pipe cannot be told about
            return status(commands::ports(config, json, &mut stdout(), &mut stderr()).unwrap_or(false));
        }
        Ok(Command::Attach { options, verbosity }) => {
            start_log(verbosity, Target::Stderr, "serbroker");
            runtime(None).and_then(|runtime| finish(runtime, attach::run(*options)))
        }
        Ok(Command::Demo { verbosity }) => demo(verbosity),
        Err(exit) => {
            // a closed pipe cannot be told about
            let _ = if exit.to_stderr {
                stderr().write_all(exit.text.as_bytes())
            } else {
                stdout().write_all(exit.text.as_bytes())
            };
            return ExitCode::from(exit.status);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            let _ = writeln!(stderr(), "serbroker: {text}");
            ExitCode::FAILURE
        }
    }
}

fn status(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(options: &RunOptions) -> Result<(), String> {
    let sources = Sources::new(options)?;
    let reading = sources.read();
    if reading.is_fatal() {
        return Err(format!("the configuration cannot be used\n{}", render(&reading.diagnostics)));
    }
    let target = if options.background || options.syslog { Target::Syslog } else { Target::Stderr };
    if options.background || log::goes_to_syslog(target) {
        // whoever started it sees what is wrong before the log goes elsewhere
        let _ = stderr().write_all(render(&reading.diagnostics).as_bytes());
    }
    if options.background {
        // no thread exists yet: the runtime, which starts them, comes below
        process::daemonize().map_err(|e| format!("cannot go into the background: {e}"))?;
    }
    start_log(options.verbosity, target, options.personality.name());
    for notice in &options.notices {
        warn!("{notice}");
    }
    let _pid_file = options.pid_file.as_deref().and_then(pid_file);
    info!("serbroker {} starts", env!("CARGO_PKG_VERSION"));
    if let Some(limit) = descriptors::raise_limit() {
        debug!("up to {limit} files may be open");
    }
    let broker = Broker::new(sources, options.signature.as_deref())?.saying_ready(options.say_ready);
    finish(runtime(options.threads)?, broker.run(reading))
}

/// Runs to the end. What still blocks a thread then, such as the look-up of a name or the open(2)
/// of a device, is not waited for.
fn finish<T>(runtime: Runtime, work: impl Future<Output = T>) -> T {
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    log::finish();
    result
}

/// Writes the pid file. As with ser2net the program runs without it if that fails.
fn pid_file(path: &Path) -> Option<PidFile> {
    PidFile::create(path).inspect_err(|e| warn!("no pid file {}: {e}", path.display())).ok()
}

/// Most threads for calls that may block: opening devices, looking up names, reading configurations,
/// writing metrics. How many open at a time is bounded elsewhere ([`serbroker::opening`]); what is
/// left above that is for opens that hang in a driver, each of which keeps its thread. The bytes of
/// open ports need none of them.
const BLOCKING_THREADS: usize = 2048;
/// Time after which a thread without work ends: long enough for the next of many that open one after the other
/// to take it over. A second thread, though it sleeps, has the kernel place the first apart from those
/// that it talks to, and the requests of a program that has just begun cost a quarter more meanwhile.
const BLOCKING_KEPT: Duration = Duration::from_millis(5);

/// One thread unless more are asked for: a chunk then never waits for another core to wake up.
fn runtime(threads: Option<usize>) -> Result<Runtime, String> {
    let mut builder = match threads {
        None | Some(1) => Builder::new_current_thread(),
        Some(n) => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(n);
            builder
        }
    };
    builder.max_blocking_threads(BLOCKING_THREADS).thread_keep_alive(BLOCKING_KEPT);
    builder.enable_all().build().map_err(|e| format!("cannot start: {e}"))
}

fn start_log(verbosity: u8, target: Target, name: &str) {
    if let Err(text) = log::init(verbosity, target, name) {
        let _ = writeln!(stderr(), "{name}: {text}");
    }
}

/// Simulated devices, served on loopback until Ctrl-C.
fn demo(verbosity: u8) -> Result<(), String> {
    start_log(verbosity, Target::Stderr, "serbroker");
    finish(runtime(None)?, async {
        let demo = Demo::start().map_err(|e| format!("cannot create the simulated devices: {e}"))?;
        let sources = Sources::file(demo.config_file());
        let reading = sources.read();
        println!("{}", demo.instructions());
        Broker::new(sources, None)?.run(reading).await
    })
}
