//! Keeps the running ports equal to the configuration.

use crate::admin::request::Known;
use crate::config::Connection;
use crate::port::{self, Environment, Handle};
use crate::reconcile::{Step, Told};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tracing::{error, info};

/// Time that ports have to end after they were told to; their own limit is shorter.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(950);

#[derive(Debug)]
struct Running {
    /// As it was when the port was started.
    connection: Arc<Connection>,
    handle: Handle,
    task: JoinHandle<()>,
}

/// All running ports.
#[derive(Debug)]
pub struct Supervisor {
    env: Arc<Environment>,
    running: HashMap<Arc<str>, Running>,
    /// What each of `running` was last told to run. Behind an `Arc`, so that it can be compared
    /// with a new configuration away from the thread that moves bytes.
    told: Arc<Told>,
    /// Ports that were removed and still have clients, with their names.
    retired: Vec<(Arc<str>, Running)>,
    /// All connections in the order of the configuration, with what administrators changed about
    /// those that do not run.
    configured: Vec<Arc<Connection>>,
    /// Running ports that administrators changed.
    changed: HashSet<Arc<str>>,
}

impl Supervisor {
    /// A supervisor of no ports.
    pub fn new(env: Arc<Environment>) -> Self {
        Self {
            env,
            running: HashMap::new(),
            told: Arc::default(),
            retired: Vec::new(),
            configured: Vec::new(),
            changed: HashSet::new(),
        }
    }

    /// What the running ports were told to run: what a new configuration is compared with. A port
    /// whose task ended by a fault is not in it, so that it is started anew.
    pub fn told(&mut self) -> Arc<Told> {
        self.retired.retain(|(_, port)| !port.task.is_finished());
        for name in self.ended() {
            error!(port = %name, "its task had ended; it is started anew");
            self.running.remove(&name);
            Arc::make_mut(&mut self.told).remove(&name);
        }
        Arc::clone(&self.told)
    }

    /// Does what [`reconcile`](crate::reconcile::reconcile) found. Unchanged ports are not touched,
    /// but for those that speak TLS, which read their certificates again.
    pub async fn apply(&mut self, steps: Vec<Step>) {
        for step in steps {
            self.step(step).await;
            // a thousand steps in one go would hold up every client
            tokio::task::yield_now().await;
        }
        for (name, connection) in self.told.iter() {
            if connection.accepter.tls.is_some()
                && let Some(running) = self.running.get(name)
            {
                running.handle.refresh();
                tokio::task::yield_now().await;
            }
        }
    }

    /// Numbers of running ports and of those that listen.
    pub fn counts(&self) -> (usize, usize) {
        // those that are being removed do not listen
        (self.running.len(), self.env.status.listening())
    }

    /// This is configured from now on; what administrators changed counts no more.
    pub async fn configured(&mut self, connections: Vec<Arc<Connection>>) {
        self.configured = connections;
        for name in std::mem::take(&mut self.changed) {
            if let Some(running) = self.running.get(&name) {
                // a port that has ended is as it should be
                let _ = running.handle.contact().restore().await;
            }
        }
    }

    /// All ports: those configured, then those that wait for their last client to leave.
    pub fn known(&mut self) -> Vec<Known> {
        self.retired.retain(|(_, port)| !port.task.is_finished());
        let configured = self.configured.iter().map(|connection| {
            let contact = self.running.get(&connection.name).map(|running| running.handle.contact());
            Known { connection: Arc::clone(connection), contact, deleted: false }
        });
        let retired = self.retired.iter().map(|(_, running)| Known {
            connection: Arc::clone(&running.connection),
            contact: Some(running.handle.contact()),
            deleted: true,
        });
        configured.chain(retired).collect()
    }

    /// Switches a port on or off, until the next reload. False when it was so already; `None` when
    /// it is not configured.
    pub async fn enable(&mut self, name: &str, on: bool) -> Option<bool> {
        let connection = self.configured.iter().find(|c| *c.name == *name)?;
        if let Some(running) = self.running.get(name) {
            self.changed.insert(connection.name.clone());
            return running.handle.contact().enable(on).await;
        }
        if on {
            let mut started = Arc::clone(connection);
            Arc::make_mut(&mut started).enabled = true;
            self.step(Step::Start(started)).await;
        }
        Some(on)
    }

    /// Sets the timeout of a port, until the next reload. False when it is not configured.
    pub async fn set_timeout(&mut self, name: &str, timeout: Option<Duration>) -> bool {
        let Some(connection) = self.configured.iter_mut().find(|c| *c.name == *name) else { return false };
        if let Some(running) = self.running.get(name) {
            self.changed.insert(connection.name.clone());
            running.handle.contact().set_timeout(timeout).await.is_some()
        } else {
            Arc::make_mut(connection).timeout = timeout;
            true
        }
    }

    fn ended(&self) -> Vec<Arc<str>> {
        self.running.iter().filter(|(_, r)| r.task.is_finished()).map(|(name, _)| name.clone()).collect()
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Start(connection) => {
                let (handle, task) = port::start(connection.clone(), Arc::clone(&self.env));
                let running = Running { connection: Arc::clone(&connection), handle, task };
                self.running.insert(connection.name.clone(), running);
                self.tell(connection);
            }
            Step::Retire(name) => {
                if let Some(running) = self.forget(&name) {
                    info!(port = %name, "no longer configured: stops listening");
                    running.handle.retire().await;
                    self.retired.push((name, running));
                }
            }
            Step::Disable(name) => {
                if let Some(running) = self.forget(&name) {
                    info!(port = %name, "switched off: stops listening and closes its clients");
                    running.handle.disable().await;
                    self.retired.push((name, running));
                }
            }
            Step::Replace(connection) => {
                if let Some(running) = self.running.get(&connection.name) {
                    running.handle.replace(Arc::clone(&connection));
                    self.tell(connection);
                }
            }
        }
    }

    /// Takes a port out of those that are wanted.
    fn forget(&mut self, name: &Arc<str>) -> Option<Running> {
        Arc::make_mut(&mut self.told).remove(name);
        self.running.remove(name)
    }

    fn tell(&mut self, connection: Arc<Connection>) {
        Arc::make_mut(&mut self.told).insert(connection.name.clone(), connection);
    }

    /// Closes every client and device and waits for the ports to end, a second at the most.
    pub async fn shutdown(self) {
        let all: Vec<(Arc<str>, Running)> = self.running.into_iter().chain(self.retired).collect();
        for (_, running) in &all {
            running.handle.shutdown();
        }
        let ended = async {
            for (name, running) in all {
                if let Err(e) = running.task.await {
                    error!(port = %name, "ended by a fault: {e}");
                }
            }
        };
        if tokio::time::timeout(SHUTDOWN_LIMIT, ended).await.is_err() {
            error!("some ports did not end in time");
        }
    }
}
