//! Rotators: one accepter for several connections, of which each client gets one that is free.
//!
//! A rotator is a task of its own with its own sockets. It offers a client to the ports of its
//! connections, beginning behind the one that was used last; a port that is not free gives the client
//! back untouched ([`crate::port::Doors`]).

mod runner;

use crate::config::Rotator;
use crate::port::Environment;
use runner::Runner;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{error, info};

#[derive(Debug)]
struct Running {
    told: watch::Sender<Arc<Rotator>>,
    task: JoinHandle<()>,
}

/// One step from the running rotators to those that are wanted.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// Its sockets are closed; clients that were given to a connection stay there.
    Stop(Arc<str>),
    /// It runs from now on.
    Start(Arc<Rotator>),
    /// It keeps its sockets.
    Change(Arc<Rotator>),
}

/// The steps from `running` to `desired`. Another accepter is another rotator.
fn reconcile(running: &BTreeMap<Arc<str>, Arc<Rotator>>, desired: &[Arc<Rotator>]) -> Vec<Step> {
    let same_sockets = |a: &Rotator, b: &Rotator| {
        a.accepter == b.accepter && a.options.accepter_retry == b.options.accepter_retry
    };
    let wanted = |name: &str| desired.iter().find(|rotator| *rotator.name == *name);
    let mut steps = Vec::new();
    for (name, now) in running {
        if !wanted(name).is_some_and(|next| same_sockets(now, next)) {
            steps.push(Step::Stop(name.clone()));
        }
    }
    for next in desired {
        match running.get(&next.name) {
            Some(now) if now == next => {}
            Some(now) if same_sockets(now, next) => steps.push(Step::Change(next.clone())),
            _ => steps.push(Step::Start(next.clone())),
        }
    }
    steps
}

/// All running rotators.
#[derive(Debug)]
pub struct Rotators {
    env: Arc<Environment>,
    running: BTreeMap<Arc<str>, Running>,
}

impl Rotators {
    /// No rotators.
    pub fn new(env: Arc<Environment>) -> Self {
        Self { env, running: BTreeMap::new() }
    }

    fn steps(&self, desired: &[Arc<Rotator>]) -> Vec<Step> {
        let told = |(name, running): (&Arc<str>, &Running)| (name.clone(), running.told.borrow().clone());
        reconcile(&self.running.iter().map(told).collect(), desired)
    }

    /// Closes the sockets of rotators that are not wanted as they are: connections may want their
    /// addresses. To be called before ports are started.
    pub async fn release(&mut self, desired: &[Arc<Rotator>]) {
        self.running.retain(|name, running| {
            let runs = !running.task.is_finished();
            if !runs {
                error!(rotator = %name, "its task had ended; it is started anew");
            }
            runs
        });
        for step in self.steps(desired) {
            if let Step::Stop(name) = step
                && let Some(running) = self.running.remove(&name)
            {
                info!(rotator = %name, "stops listening");
                stop(running).await;
            }
        }
    }

    /// Starts and changes rotators, so that those that are wanted run. Unchanged ones keep their
    /// sockets; those that speak TLS read their certificates again.
    pub async fn apply(&mut self, desired: &[Arc<Rotator>]) {
        self.release(desired).await;
        for step in self.steps(desired) {
            match step {
                Step::Start(rotator) => {
                    let (told, listens) = watch::channel(rotator.clone());
                    let runner = Runner::new(rotator.clone(), self.env.clone(), listens);
                    let task = tokio::spawn(runner.run());
                    self.running.insert(rotator.name.clone(), Running { told, task });
                }
                Step::Change(rotator) => {
                    if let Some(running) = self.running.get(&rotator.name) {
                        running.told.send_replace(rotator);
                    }
                }
                Step::Stop(_) => {}
            }
        }
        for running in self.running.values() {
            // the same again means: look at the certificates
            running.told.send_if_modified(|rotator| rotator.accepter.tls.is_some());
        }
    }

    /// Closes all sockets.
    pub async fn shutdown(self) {
        for running in self.running.into_values() {
            stop(running).await;
        }
    }
}

async fn stop(running: Running) {
    running.task.abort();
    // the end of an aborted task is no news; its sockets are closed by then
    let _ = running.task.await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Accepter, Family, Listen, ListenAddress, Options, UdpListen};

    /// A rotator written as `name@port:members`.
    fn rotator(text: &str) -> Arc<Rotator> {
        let (name, rest) = text.split_once('@').unwrap();
        let (port, members) = rest.split_once(':').unwrap();
        let port = port.parse().unwrap();
        let addresses = [ListenAddress { family: Family::Any, host: None, port }].into();
        let listen = Listen::Udp(UdpListen { addresses, reuseaddr: false });
        Arc::new(Rotator {
            name: name.into(),
            accepter: Accepter {
                text: "x".into(),
                telnet: None,
                tls: None,
                filters: None,
                listen: Arc::new(listen),
            },
            members: members.split(',').map(Into::into).collect(),
            options: Options::default(),
        })
    }

    #[test]
    fn steps() {
        for (running, desired, want) in [
            (&[][..], &["r@1:a"][..], "+r"),
            (&["r@1:a"], &["r@1:a"], ""),
            (&["r@1:a"], &["r@1:a,b"], "~r"),
            (&["r@1:a"], &["r@2:a"], "-r +r"),
            (&["r@1:a", "s@2:a"], &["t@1:a", "s@2:b"], "-r +t ~s"),
            (&["r@1:a"], &[], "-r"),
        ] {
            let running = running.iter().map(|t| rotator(t)).map(|r| (r.name.clone(), r)).collect();
            let desired: Vec<_> = desired.iter().map(|t| rotator(t)).collect();
            let show = |step: &Step| match step {
                Step::Stop(name) => format!("-{name}"),
                Step::Start(r) => format!("+{}", r.name),
                Step::Change(r) => format!("~{}", r.name),
            };
            let got: Vec<_> = reconcile(&running, &desired).iter().map(show).collect();
            assert_eq!(got.join(" "), want);
        }
    }
}
