//! A port: the task that owns one serial device, its listener and its clients.
//!
//! Everything about a port happens in one task ([`actor`]): accepting, reading the device, escaping
//! and writing to the clients. A chunk of data crosses no queue and no other task on its way.
//! Others talk to the port through a [`Handle`].

mod actor;
pub mod batch;
mod control;
mod data;
mod device;
pub mod matcher;
mod outbuf;
mod scratch;
mod session;
mod slow;
pub mod template;
mod visitors;

use crate::config::Connection;
use crate::metrics::Refusal;
use crate::net::stream::Stream;
use std::net::SocketAddr;
use tokio::sync::{mpsc, oneshot};

pub use actor::{Claims, Environment, start};

/// Commands that wait for a port, at the most; who sends more waits.
const COMMAND_QUEUE: usize = 16;

/// What others ask of a port.
#[derive(Debug)]
pub(crate) enum Command {
    /// A client whose handshake is done.
    Attach(Stream, SocketAddr),
    /// Run with this configuration as soon as nobody is connected.
    Replace(Box<Connection>),
    /// Listen no more (told when that is so); end when the last client has left.
    Retire(oneshot::Sender<()>),
    /// Read certificate and key again.
    Refresh,
    /// Close all clients and end.
    Shutdown,
}

/// A running port, as others see it.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
}

impl Handle {
    /// Runs with another configuration: at once when nobody is connected, else when the last
    /// client has left. An unchanged accepter keeps its sockets.
    pub async fn replace(&self, connection: Connection) {
        // a port that has ended has nothing to replace: its task's end is seen by the supervisor
        let _ = self.commands.send(Command::Replace(Box::new(connection))).await;
    }

    /// Listens no more and ends when the last client has left. Its addresses are free when this
    /// returns.
    pub async fn retire(&self) {
        let (done, told) = oneshot::channel();
        if self.commands.send(Command::Retire(done)).await.is_ok() {
            // an error means that the port has ended, and its sockets with it
            let _ = told.await;
        }
    }

    /// Reads certificate and key again; when they are bad the old ones stay.
    pub async fn refresh(&self) {
        let _ = self.commands.send(Command::Refresh).await;
    }

    /// Closes all clients and the device, and ends.
    pub async fn shutdown(&self) {
        let _ = self.commands.send(Command::Shutdown).await;
    }
}

/// What ser2net tells a client that it does not let in; scripts look for these texts.
fn client_text(why: Refusal) -> &'static str {
    match why {
        Refusal::PortBusy => "Port already in use\r\n",
        Refusal::DeviceBusy => "Port's device already in use\r\n",
        Refusal::NotAllowed => "Accessed denied due to your net address\r\n",
        Refusal::Tls | Refusal::Closing => "",
    }
}
