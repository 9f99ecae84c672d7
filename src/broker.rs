//! The running program: configuration in, ports and health endpoints out, signals obeyed.

use crate::admin;
use crate::admin::request::{Reloaded, Request, Requests};
use crate::alarm::{Alarms, Pulse};
use crate::cli::{ConfigChoice, Inline, RunOptions};
use crate::config::error::{Diagnostic, Severity};
use crate::config::load::{self, Inputs};
use crate::config::render::headline;
use crate::config::{self, Admin, Config, Connection, Rotator};
use crate::descriptors;
use crate::http::{self, HttpState};
use crate::low_priority;
use crate::mdns::{self, Responder, Services};
use crate::memory;
use crate::metrics::{Metrics, ReloadOutcome};
use crate::net::wrap;
use crate::notify::{self, Manager};
use crate::port::{Claims, Environment};
use crate::process::{Signal, Signals};
use crate::reconcile::{Step, Told, reconcile};
use crate::rotator::Rotators;
use crate::status::StatusTable;
use crate::supervisor::Supervisor;
use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

/// Time that the disks of trace files, and after them the LEDs, have when everything else is over.
const LAST_WRITES: Duration = Duration::from_millis(300);
/// How often it is looked whether all ports listen, after a configuration was applied.
const READY_LOOK: Duration = Duration::from_millis(5);
/// After this time the program counts as ready although some do not: their addresses may come much
/// later. The service manager is told how many.
const READY_LIMIT: Duration = Duration::from_millis(1500);
/// Signature of ports that say nothing about it: what ser2net answers.
const DEFAULT_SIGNATURE: &str = "ser2net";

/// Where the configuration comes from; kept, because a reload reads it again.
#[derive(Clone, Debug)]
pub struct Sources {
    inputs: Inputs,
    uucp_locks: bool,
}

/// What reading the configuration gave.
#[derive(Debug)]
pub struct Reading {
    /// The model; empty when `diagnostics` has something fatal.
    pub config: Config,
    /// Everything that is to be said about it, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

impl Reading {
    /// The text cannot be used at all.
    pub fn is_fatal(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Fatal)
    }

    /// Numbers of errors (fatal ones among them) and warnings.
    pub fn counts(&self) -> (usize, usize) {
        let warnings = self.diagnostics.iter().filter(|d| d.severity == Severity::Warning).count();
        (self.diagnostics.len() - warnings, warnings)
    }
}

/// What a reading of the configuration asks for. It is made away from the thread that moves bytes,
/// which for a thousand ports would stand still for milliseconds.
#[derive(Debug)]
struct Plan {
    /// `None`: the text cannot be used at all.
    steps: Option<Vec<Step>>,
    rotators: Vec<Arc<Rotator>>,
    connections: Vec<Arc<Connection>>,
    admin: Option<Arc<Admin>>,
    metrics: Option<SocketAddr>,
    services: Services,
    errors: usize,
    warnings: usize,
    /// What is wrong, one line each.
    mistakes: Vec<String>,
}

impl Plan {
    /// Compares a reading with what runs, and logs what is to be said about it.
    fn new(reading: &Reading, told: &Told) -> Self {
        log_diagnostics(&reading.diagnostics);
        let (errors, warnings) = reading.counts();
        descriptors::check(&reading.config.connections);
        let steps = (!reading.is_fatal()).then(|| reconcile(told, &reading.config.connections));
        let serious = |d: &&Diagnostic| d.severity > Severity::Warning;
        let mistakes = reading.diagnostics.iter().filter(serious).map(headline).collect();
        let services = mdns::services(&reading.config.connections);
        // LEDs come with the connections that flash them
        let Config { connections, rotators, admin, metrics, leds: _ } = reading.config.clone();
        Self { steps, rotators, connections, admin, metrics, services, errors, warnings, mistakes }
    }
}

/// Reads and resolves a configuration.
pub fn read(inputs: &Inputs) -> Reading {
    let (raw, mut diagnostics) = load::load(inputs);
    let (config, more) = config::resolve::resolve(&raw);
    diagnostics.extend(more);
    Reading { config, diagnostics }
}

impl Sources {
    /// The sources that the command line names. `Err` tells that there is no configuration file.
    ///
    /// # Errors
    /// A text for the user that names the places where a file was looked for.
    pub fn new(options: &RunOptions) -> Result<Self, String> {
        let file = match &options.config {
            // in the background the working directory is another one
            ConfigChoice::File(path) if options.background => {
                Some(std::path::absolute(path).unwrap_or_else(|_| path.clone()))
            }
            ConfigChoice::File(path) => Some(path.clone()),
            ConfigChoice::None => None,
            ConfigChoice::Default => Some(default_file(options)?),
        };
        let (yaml, legacy) = match &options.inline {
            Inline::None => (Vec::new(), Vec::new()),
            Inline::Yaml(texts) => (texts.clone(), Vec::new()),
            Inline::Lines(lines) => (Vec::new(), lines.clone()),
        };
        let (keys, admin) = (options.config_dir.clone(), options.admin.clone());
        Ok(Self { inputs: Inputs { file, yaml, legacy, admin, keys }, uucp_locks: options.uucp_locks })
    }

    /// One file.
    pub fn file(path: &Path) -> Self {
        Self { inputs: Inputs { file: Some(path.to_owned()), ..Inputs::default() }, uucp_locks: true }
    }

    /// Reads them now.
    pub fn read(&self) -> Reading {
        let mut reading = read(&self.inputs);
        if !self.uucp_locks {
            for connection in &mut reading.config.connections {
                if let Some(device) = Arc::make_mut(connection).connector.device_mut() {
                    device.uucp_lock = false;
                }
            }
        }
        reading
    }
}

fn default_file(options: &RunOptions) -> Result<PathBuf, String> {
    options.personality.find_config(Path::exists).ok_or_else(|| {
        let places = options.personality.default_config_files().join(", ");
        format!("no configuration file: none of {places} exists; name one with -c FILE")
    })
}

/// A broker with its ports, from start to end.
#[derive(Debug)]
pub struct Broker {
    sources: Sources,
    env: Arc<Environment>,
    supervisor: Supervisor,
    rotators: Rotators,
    admin: admin::Server,
    requests: mpsc::Receiver<Request>,
    http: Option<(SocketAddr, JoinHandle<()>)>,
    say_ready: bool,
    responder: Responder,
    manager: Manager,
}

impl Broker {
    /// A broker without ports.
    ///
    /// # Errors
    /// When metrics cannot be registered, which is a fault of this program.
    pub fn new(sources: Sources, signature: Option<&str>) -> Result<Self, String> {
        let metrics = Metrics::new().map_err(|e| format!("cannot set up metrics: {e}"))?;
        let env = Arc::new(Environment {
            alarms: Alarms::default(),
            claims: Arc::new(Claims::default()),
            metrics: Arc::new(metrics),
            status: StatusTable::new(),
            doors: Arc::default(),
            names: Arc::default(),
            events: Arc::default(),
            wrap: wrap::Files::default(),
            stdio_left: Arc::default(),
            signature: signature.unwrap_or(DEFAULT_SIGNATURE).into(),
            traces: Arc::default(),
            leds: Arc::default(),
            hotplug: Arc::default(),
        });
        let (asking, requests) = Requests::channel();
        let admin = admin::Server::new(asking, Arc::clone(&env.events), Arc::clone(&env.names));
        Ok(Self {
            supervisor: Supervisor::new(env.clone()),
            rotators: Rotators::new(env.clone()),
            sources,
            env,
            admin,
            requests,
            http: None,
            say_ready: false,
            responder: Responder::default(),
            manager: Manager::default(),
        })
    }

    /// Has `Ready` printed on standard output when all ports listen, or after [`READY_LIMIT`]
    /// although some do not.
    #[must_use]
    pub fn saying_ready(mut self, on: bool) -> Self {
        self.say_ready = on;
        self
    }

    /// Runs with a first reading of the configuration until a signal ends it.
    ///
    /// # Errors
    /// When signals cannot be caught.
    pub async fn run(mut self, first: Reading) -> Result<(), String> {
        let mut signals = Signals::new().map_err(|e| format!("cannot catch signals: {e}"))?;
        self.env.alarms.start();
        self.manager = Manager::from_environment();
        let plan = Plan::new(&first, &self.supervisor.told());
        drop(first);
        self.apply(plan).await;
        self.env.status.set_started();
        let mut alive = self.env.alarms.pulse(notify::watchdog_interval());
        let mut settling = Settling::begin(&self.env.alarms);
        loop {
            let signal = tokio::select! {
                signal = signals.recv() => signal,
                Some(request) = self.requests.recv() => {
                    if self.answer(request).await {
                        settling = Settling::begin(&self.env.alarms);
                    }
                    continue;
                }
                () = alive.beat() => {
                    self.manager.alive();
                    self.manager.status(&self.summary());
                    continue;
                }
                () = settling.look.beat() => {
                    if settling.is_over(self.supervisor.counts()) {
                        self.settled();
                    }
                    continue;
                }
                () = self.env.stdio_left.notified() => {
                    info!("the client on standard input has left: the program ends");
                    break;
                }
            };
            match signal {
                Signal::Reload => {
                    info!("{signal}: reading the configuration again");
                    self.reload().await;
                    settling = Settling::begin(&self.env.alarms);
                }
                Signal::User => info!("{signal}: nothing to do"),
                Signal::Terminate | Signal::Interrupt => {
                    info!("{signal}: closing all clients and devices");
                    break;
                }
            }
        }
        self.manager.stopping();
        if let Some((_, task)) = self.http.take() {
            task.abort();
        }
        // nobody is answered any more, and nobody let in
        drop(self.requests);
        self.rotators.shutdown().await;
        tokio::join!(
            self.admin.shutdown(),
            self.supervisor.shutdown(),
            self.responder.shutdown(),
            self.manager.finish()
        );
        // nothing moves any more that could be held up
        if !self.env.traces.finish(LAST_WRITES) {
            warn!("trace files are not written to their end");
        }
        if !self.env.leds.finish(LAST_WRITES) {
            warn!("LEDs are not given back");
        }
        Ok(())
    }

    /// Does what an administrator asks; true when that was a reload. One that does not wait any more
    /// gets no answer.
    async fn answer(&mut self, request: Request) -> bool {
        match request {
            Request::Ports(answer) => {
                let _ = answer.send(self.supervisor.known());
            }
            Request::Enable(name, on, answer) => {
                let _ = answer.send(self.supervisor.enable(&name, on).await);
            }
            Request::Timeout(name, timeout, answer) => {
                let _ = answer.send(self.supervisor.set_timeout(&name, timeout).await);
            }
            Request::Reload(answer) => {
                info!("admin port: reading the configuration again");
                let reloaded = self.reload().await;
                let _ = answer.send(reloaded);
                return true;
            }
        }
        false
    }

    async fn reload(&mut self) -> Reloaded {
        // logrotate moves files away and says so like this
        self.env.traces.reopen();
        self.manager.reloading();
        let (sources, told) = (self.sources.clone(), self.supervisor.told());
        // files may be on a slow disk: the ports go on meanwhile
        match low_priority::run("configuration", move || Plan::new(&sources.read(), &told)).await {
            Ok(mut plan) => {
                let errors = std::mem::take(&mut plan.mistakes);
                let applied = plan.steps.is_some();
                self.apply(plan).await;
                Reloaded { applied, errors }
            }
            Err(e) => {
                let text = format!("reading the configuration failed, the old one stays in force: {e}");
                error!("{text}");
                Reloaded { applied: false, errors: vec![text] }
            }
        }
    }

    /// All ports listen that can: at the start, and after a reload.
    fn settled(&mut self) {
        let summary = self.summary();
        info!("{summary}");
        self.manager.ready(&summary);
        if std::mem::take(&mut self.say_ready) {
            // whoever waits for it may be gone
            let _ = stdout().write_all(b"Ready\n").and_then(|()| stdout().flush());
        }
        // most of a millisecond, in which the kernel walks through all mappings; without a thread they stay
        let _ = thread::Builder::new().name("memory".into()).spawn(memory::release_start_code);
    }

    async fn apply(&mut self, plan: Plan) {
        let outcome = if let Some(steps) = plan.steps {
            self.rotators.release(&plan.rotators).await;
            self.supervisor.apply(steps).await;
            self.rotators.apply(&plan.rotators).await;
            self.supervisor.configured(plan.connections).await;
            self.admin.apply(plan.admin).await;
            self.serve_health(plan.metrics).await;
            self.responder.apply(plan.services).await;
            ReloadOutcome::Applied
        } else {
            error!("the configuration cannot be used: the old one stays in force");
            ReloadOutcome::Rejected
        };
        self.env.metrics.config_read(outcome, plan.errors, plan.warnings);
    }

    /// Serves health at `address`, and nowhere else.
    async fn serve_health(&mut self, address: Option<SocketAddr>) {
        if self.http.as_ref().map(|(now, _)| *now) == address {
            return;
        }
        if let Some((_, task)) = self.http.take() {
            task.abort();
            // the end of an aborted task is no news
            let _ = task.await;
        }
        let Some(address) = address else { return };
        match TcpListener::bind(address).await {
            Ok(listener) => {
                let state = HttpState {
                    metrics: self.env.metrics.clone(),
                    status: self.env.status.clone(),
                    alarms: self.env.alarms.clone(),
                };
                let task = tokio::spawn(http::serve(listener, state, std::future::pending()));
                info!("metrics and health on http://{address}/");
                self.http = Some((address, task));
            }
            Err(e) => error!("cannot serve metrics on {address}: {e}; ports run without"),
        }
    }

    fn summary(&self) -> String {
        let (running, listening) = self.supervisor.counts();
        format!("{listening} of {running} ports listening")
    }
}

/// The time from a configuration that was applied until its ports listen.
#[derive(Debug)]
struct Settling {
    /// When to look; stopped when it is over.
    look: Pulse,
    begun: Instant,
}

impl Settling {
    fn begin(alarms: &Alarms) -> Self {
        Self { look: alarms.pulse(Some(READY_LOOK)), begun: Instant::now() }
    }

    /// Whether it ends now, with so many ports `running` and `listening`.
    fn is_over(&mut self, (running, listening): (usize, usize)) -> bool {
        let over = listening >= running || self.begun.elapsed() >= READY_LIMIT;
        if over {
            self.look.stop();
        }
        over
    }
}

/// One log line for each.
fn log_diagnostics(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        let mut line = headline(diagnostic);
        if let Some(help) = &diagnostic.help {
            line = format!("{line} ({help})");
        }
        match diagnostic.severity {
            Severity::Warning => warn!("{line}"),
            Severity::Error | Severity::Fatal => error!("{line}"),
        }
    }
}
