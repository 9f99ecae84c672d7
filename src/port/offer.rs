//! Clients that a rotator brings: a port that is not free gives them back untouched.

use super::Command;
use super::actor::{Phase, Port};
use super::device::DeviceState;
use super::mailbox::Sender;
use crate::config::TelnetOptions;
use crate::net::peer::Peer;
use crate::net::stream::Stream;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use tokio::sync::oneshot;

/// A client that no port has yet; nothing was sent to it so far.
#[derive(Debug)]
pub struct Guest {
    /// Its stream, TLS handshake done.
    pub stream: Stream,
    /// Its address.
    pub peer: Peer,
    /// Telnet as the accepter that it came in by says.
    pub telnet: Option<TelnetOptions>,
}

/// A client that a port may take. It goes back to whoever offered it if the port does not, and
/// also if nobody ever looks at the offer.
#[derive(Debug)]
pub(crate) struct Offer {
    guest: Option<Guest>,
    answer: Option<oneshot::Sender<Option<Guest>>>,
}

impl Offer {
    /// The client is the port's now.
    fn accept(mut self) -> Option<Guest> {
        let guest = self.guest.take();
        if let Some(answer) = self.answer.take() {
            // a rotator that has ended meanwhile need not know
            let _ = answer.send(None);
        }
        guest
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if let (Some(guest), Some(answer)) = (self.guest.take(), self.answer.take()) {
            // nobody waiting for it any more: the client is closed
            let _ = answer.send(Some(guest));
        }
    }
}

/// The ports that can be offered clients, by name.
#[derive(Debug, Default)]
pub struct Doors(Mutex<HashMap<Arc<str>, Sender>>);

impl Doors {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Sender>> {
        // what is behind this lock is valid after every single call
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A port runs.
    pub(super) fn open(&self, name: &Arc<str>, port: Sender) {
        self.lock().insert(Arc::clone(name), port);
    }

    /// The port has ended; another of its name may have taken its place.
    pub(super) fn close(&self, name: &str, port: &Sender) {
        let mut doors = self.lock();
        if doors.get(name).is_some_and(|other| other.is(port)) {
            doors.remove(name);
        }
    }

    /// Offers a client to the port `name`. It comes back when there is no such port, or when
    /// that has a client, or cannot have its device.
    pub async fn offer(&self, name: &str, guest: Guest) -> Option<Guest> {
        let (answer, told) = oneshot::channel();
        let offer = Offer { guest: Some(guest), answer: Some(answer) };
        match self.lock().get(name) {
            Some(port) => port.send(Command::Offer(Box::new(offer))),
            None => drop(offer),
        }
        // an offer that is dropped answers too, so there is always an answer
        told.await.ok().flatten()
    }
}

impl Port {
    /// Takes a client that a rotator brings, if nobody is connected.
    pub(super) fn offered(&mut self, cx: &mut Context<'_>, offer: Offer) {
        // a client may have closed before, which nobody has looked at yet
        self.poll_up(cx);
        let running = matches!(self.phase, Phase::Running) && !self.overrides.off;
        let free = running && self.staying() == 0 && !self.is_full();
        if !free {
            return;
        }
        if matches!(self.dev, DeviceState::Closed) && !self.env.claims.take(&self.conn.connector.text) {
            return;
        }
        if let Some(Guest { stream, peer, telnet }) = offer.accept() {
            self.join(cx, stream, peer, telnet);
        }
    }
}
