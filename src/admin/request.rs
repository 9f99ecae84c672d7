//! What admin sessions ask of the broker, which alone starts, stops and reloads.

use super::show::Shown;
use crate::config::Connection;
use crate::port::Contact;
use crate::port::ask::{Snapshot, configured};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Requests that wait for the broker: each session waits for its answer before it asks again.
pub const REQUESTS: usize = 8;

/// A port that the broker knows.
#[derive(Clone, Debug)]
pub struct Known {
    /// What is configured, or was.
    pub connection: Arc<Connection>,
    /// The way to it while it runs.
    pub contact: Option<Contact>,
    /// It is not configured any more and waits for its last client to leave.
    pub deleted: bool,
}

impl Known {
    /// The port as it is shown.
    pub async fn shown(&self) -> Shown {
        let asked = match &self.contact {
            Some(contact) => contact.snapshot().await,
            None => None,
        };
        let mut port = asked.unwrap_or_else(|| at_rest(&self.connection));
        port.enabled &= !self.deleted;
        Shown { port, deleted: self.deleted }
    }
}

/// A port that does not run.
fn at_rest(connection: &Connection) -> Snapshot {
    Snapshot {
        name: connection.name.clone(),
        accepter: connection.accepter.text.clone(),
        connector: connection.connector.text.clone(),
        device: connection.connector.label().clone(),
        enabled: false,
        timeout: connection.timeout,
        clients: Vec::new(),
        line: configured(&connection.connector.line()),
        closing: false,
        device_bytes: (0, 0),
    }
}

/// How a reload went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// The new configuration is in force.
    pub applied: bool,
    /// What is wrong with it, one line each.
    pub errors: Vec<String>,
}

/// A request, with the place for the answer.
#[derive(Debug)]
pub enum Request {
    /// All ports, in the order of the configuration.
    Ports(oneshot::Sender<Vec<Known>>),
    /// Switches a port on or off; false when it was so already, `None` when there is none.
    Enable(Arc<str>, bool, oneshot::Sender<Option<bool>>),
    /// Sets the timeout of a port; false when there is none.
    Timeout(Arc<str>, Option<Duration>, oneshot::Sender<bool>),
    /// Reads the configuration again.
    Reload(oneshot::Sender<Reloaded>),
}

/// A session's way to the broker. Every answer is `None` when the program is about to end.
#[derive(Clone, Debug)]
pub struct Requests(mpsc::Sender<Request>);

impl Requests {
    /// The two ends.
    pub fn channel() -> (Self, mpsc::Receiver<Request>) {
        let (sender, receiver) = mpsc::channel(REQUESTS);
        (Self(sender), receiver)
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (answer, told) = oneshot::channel();
        self.0.send(request(answer)).await.ok()?;
        told.await.ok()
    }

    /// See [`Request::Ports`].
    pub async fn ports(&self) -> Option<Vec<Known>> {
        self.ask(Request::Ports).await
    }

    /// See [`Request::Enable`].
    pub async fn enable(&self, name: Arc<str>, on: bool) -> Option<Option<bool>> {
        self.ask(|answer| Request::Enable(name, on, answer)).await
    }

    /// See [`Request::Timeout`].
    pub async fn set_timeout(&self, name: Arc<str>, timeout: Option<Duration>) -> Option<bool> {
        self.ask(|answer| Request::Timeout(name, timeout, answer)).await
    }

    /// See [`Request::Reload`].
    pub async fn reload(&self) -> Option<Reloaded> {
        self.ask(Request::Reload).await
    }
}
