//! Keeps the running ports equal to the configuration.

use crate::config::Connection;
use crate::port::{self, Environment, Handle};
use crate::reconcile::{Step, reconcile};
use crate::status::StatusSource as _;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tracing::{error, info};

/// Time that ports have to end after they were told to; their own limit is shorter.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(950);

#[derive(Debug)]
struct Running {
    /// What it was last told to run.
    connection: Arc<Connection>,
    handle: Handle,
    task: JoinHandle<()>,
}

/// All running ports.
#[derive(Debug)]
pub struct Supervisor {
    env: Environment,
    running: HashMap<Arc<str>, Running>,
    /// Ports that were removed and still have clients.
    retired: Vec<Running>,
}

impl Supervisor {
    /// A supervisor of no ports.
    pub fn new(env: Environment) -> Self {
        Self { env, running: HashMap::new(), retired: Vec::new() }
    }

    /// Makes the running ports those that are wanted. Unchanged ones are not touched. A port whose
    /// task ended by a fault is started anew.
    pub async fn apply(&mut self, desired: &[Arc<Connection>]) {
        self.retired.retain(|r| !r.task.is_finished());
        for name in self.ended() {
            error!(port = %name, "its task had ended; it is started anew");
            self.running.remove(&name);
        }
        let now: BTreeMap<&str, &Connection> =
            self.running.iter().map(|(name, r)| (&**name, &*r.connection)).collect();
        for step in reconcile(&now, desired) {
            self.step(step).await;
        }
        for running in self.running.values() {
            if running.connection.accepter.tls.is_some() {
                running.handle.refresh();
            }
        }
    }

    /// Numbers of running ports and of those among them that listen.
    pub fn counts(&self) -> (usize, usize) {
        let status = self.env.status.status();
        let listening = status.iter().filter(|p| p.listening && self.running.contains_key(&p.name)).count();
        (self.running.len(), listening)
    }

    fn ended(&self) -> Vec<Arc<str>> {
        self.running.iter().filter(|(_, r)| r.task.is_finished()).map(|(name, _)| name.clone()).collect()
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Start(connection) => {
                let (handle, task) = port::start(connection.clone(), self.env.clone());
                let name = connection.name.clone();
                self.running.insert(name, Running { connection, handle, task });
            }
            Step::Retire(name) => {
                if let Some(running) = self.running.remove(&name) {
                    info!(port = %name, "no longer configured: stops listening");
                    running.handle.retire().await;
                    self.retired.push(running);
                }
            }
            Step::Replace(connection) => {
                if let Some(running) = self.running.get_mut(&connection.name) {
                    running.handle.replace(Arc::clone(&connection));
                    running.connection = connection;
                }
            }
        }
    }

    /// Closes every client and device and waits for the ports to end, a second at the most.
    pub async fn shutdown(self) {
        let all: Vec<Running> = self.running.into_values().chain(self.retired).collect();
        for running in &all {
            running.handle.shutdown();
        }
        let ended = async {
            for running in all {
                if let Err(e) = running.task.await {
                    error!(port = %running.connection.name, "ended by a fault: {e}");
                }
            }
        };
        if tokio::time::timeout(SHUTDOWN_LIMIT, ended).await.is_err() {
            error!("some ports did not end in time");
        }
    }
}
