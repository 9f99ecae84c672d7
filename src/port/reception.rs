//! What happens to a client between `accept` and the port: all that takes time, in a task of its own.

use super::mailbox::Sender;
use super::{Command, client_text};
use crate::config::{Accepter, ClientFilters, Listen, Wrap};
use crate::connect::Filtered;
use crate::metrics::{PortMetrics, Refusal};
use crate::net::peer::Peer;
use crate::net::stream::Stream;
use crate::net::tls::Acceptor;
use crate::net::wrap;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use tracing::{info, warn};

/// The stations of a client's way.
#[derive(Debug)]
pub(super) struct Reception {
    /// TLS.
    pub(super) tls: Option<Acceptor>,
    /// The files of hosts_access(5).
    pub(super) wrapped: Option<Wrapped>,
    /// Filters of the accepter.
    pub(super) filters: Option<Box<ClientFilters>>,
}

/// What to ask the files of hosts_access(5).
#[derive(Debug)]
pub(crate) struct Wrapped {
    files: wrap::Files,
    daemon: Arc<str>,
    client: SocketAddr,
    /// The client is told that it may not connect.
    told: bool,
}

/// What the files are to be asked, if they are, and there are any.
///
/// `tell`: a client that may not connect may be told so.
pub(crate) fn wrapped(files: &wrap::Files, accepter: &Accepter, tell: bool, peer: &Peer) -> Option<Wrapped> {
    let Listen::Tcp(tcp) = &*accepter.listen else { return None };
    let client = peer.ip()?;
    if tcp.wrap == Wrap::Off || !files.may_decide() {
        return None;
    }
    // a client that expects TLS takes a plain text for a fault
    let told = tcp.wrap == Wrap::Print && accepter.tls.is_none() && tell;
    Some(Wrapped { files: files.clone(), daemon: Arc::clone(&tcp.wrap_name), client, told })
}

impl Reception {
    /// There is something to do that takes time.
    pub(super) fn is_needed(&self) -> bool {
        self.tls.is_some() || self.wrapped.is_some() || self.filters.is_some()
    }

    /// Sends the client on to the port. When that has ended the client is dropped.
    pub(super) async fn receive(
        self,
        mut stream: Stream,
        peer: Peer,
        name: Arc<str>,
        port: Sender,
        metrics: Arc<PortMetrics>,
    ) {
        if let Some(wrapped) = self.wrapped
            && let Some(why) = wrapped.objection(&mut stream).await
        {
            let text = format!("client {} refused by {why}", peer.host());
            return port.send(Command::TurnedAway(Refusal::Wrapped, text));
        }
        if let Some(acceptor) = self.tls {
            stream = match acceptor.shake_hands(stream).await {
                Ok(stream) => stream,
                Err(why) => {
                    metrics.refused(Refusal::Tls);
                    return warn!(port = %name, %peer, "{why}");
                }
            };
        }
        match Filtered::over(stream, self.filters.as_deref()).await {
            Ok(stream) => port.send(Command::Attach(stream, peer)),
            Err(error) => {
                let text = format!("client {} refused: {error}", peer.host());
                port.send(Command::TurnedAway(Refusal::Filter, text));
            }
        }
    }
}

impl Wrapped {
    /// What stands against the client, who has been told; `None`: nothing.
    pub(crate) async fn objection(&self, stream: &mut Stream) -> Option<String> {
        let server = local(stream).unwrap_or(self.client.ip());
        let verdict = self.files.ask(Arc::clone(&self.daemon), self.client, server).await;
        let because = verdict.because.unwrap_or_default();
        if verdict.allowed {
            if verdict.odd {
                info!("{} let in by {because}", self.client);
            }
            return None;
        }
        if self.told {
            say(stream, client_text(Refusal::Wrapped)).await;
        }
        Some(because)
    }
}

/// The address that a client connected to.
fn local(stream: &Stream) -> Option<IpAddr> {
    match stream {
        Stream::Tcp(tcp) => tcp.local_addr().ok().map(|address| address.ip()),
        _ => None,
    }
}

/// Sends a short text as far as the socket takes it at once.
async fn say(stream: &mut Stream, text: &str) {
    let sent = poll_fn(|cx| match stream.poll_write(cx, text.as_bytes()) {
        Poll::Pending => Poll::Ready(Ok(0)),
        ready @ Poll::Ready(_) => ready,
    });
    // a client that has gone need not be told
    let _ = sent.await;
}
