//! A port: the task that owns one serial device, its listener and its clients.
//!
//! Everything about a port happens in one task ([`actor`]): accepting, reading the device, escaping
//! and writing to the clients. A chunk of data crosses no queue and no other task on its way.
//! Others talk to the port through a [`Handle`].

mod actor;
pub mod ask;
mod attached;
pub mod batch;
mod bell;
mod cable;
mod connback;
mod control;
mod data;
mod deadlines;
mod device;
mod drain;
mod duel;
mod environment;
mod far;
mod hints;
mod mailbox;
pub mod matcher;
mod notices;
mod offer;
pub(crate) mod outbuf;
pub(crate) mod reception;
pub(crate) mod scratch;
mod session;
mod slow;
pub mod tap;
mod taps;
pub mod template;
mod visitors;

use crate::config::Connection;
use crate::metrics::Refusal;
use crate::net::peer::Peer;
use crate::net::stream::Stream;
use std::sync::Arc;
use tokio::sync::oneshot;

pub use actor::start;
use ask::Ask;
pub use environment::{Claims, Environment};
pub use mailbox::{Contact, Handle};
pub use offer::{Doors, Guest};

/// What others ask of a port.
#[derive(Debug)]
pub(crate) enum Command {
    /// A client whose handshake is done.
    Attach(Stream, Peer),
    /// A client was turned away before it could be one; the text says more than the reason.
    TurnedAway(Refusal, String),
    /// A client that a rotator would like to leave here.
    Offer(Box<offer::Offer>),
    /// Run with this configuration as soon as nobody is connected.
    Replace(Arc<Connection>),
    /// Listen no more (told when that is so); end when the last client has left.
    Retire(oneshot::Sender<()>),
    /// The same, and close all clients.
    Disable(oneshot::Sender<()>),
    /// Read certificate and key again.
    Refresh,
    /// A question or an order of an administrator.
    Ask(Ask),
    /// Close all clients and end.
    Shutdown,
}

/// What ser2net tells a client that it does not let in; scripts look for these texts.
fn client_text(why: Refusal) -> &'static str {
    match why {
        Refusal::PortBusy | Refusal::HeldOff => "Port already in use\r\n",
        Refusal::DeviceBusy => "Port's device already in use\r\n",
        Refusal::NotAllowed => "Accessed denied due to your net address\r\n",
        Refusal::Wrapped => "Access denied\r\n",
        Refusal::Tls | Refusal::Filter | Refusal::Closing => "",
    }
}
