//! How others talk to a port.
//!
//! Commands are few and seldom, and ports may be many: a channel of the runtime would take three
//! kilobytes of each port for its blocks of messages. This one takes nothing but its few fields while
//! it is empty.

use super::Command;
use super::ask::Ask;
use crate::config::Connection;
use std::collections::VecDeque;
use std::mem::discriminant;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::sync::oneshot;

#[derive(Debug, Default)]
struct Inner {
    /// An `Ask` for each admin session that waits for its answer (those that nobody waits for any
    /// more are thrown away), at most one of each of `Replace`, `Refresh` and `Shutdown`
    /// ([`Inner::add`]), one `Retire` or `Disable` (whoever sends it waits for the answer), an
    /// `Attach` for each handshake, which has a descriptor, and an `Offer` of each rotator, which
    /// waits for the answer too.
    queue: VecDeque<Command>,
    /// Wakes the port's task.
    waker: Option<Waker>,
    /// Nobody can send any more (but see [`Sender`]).
    abandoned: bool,
    /// Nobody reads any more.
    ended: bool,
}

impl Inner {
    /// Queues a command, unless that would say the same twice. Of two configurations the later one
    /// counts.
    fn add(&mut self, command: Command) {
        let same = |queued: &Command| discriminant(queued) == discriminant(&command);
        match command {
            Command::Replace(_) => self.queue.retain(|queued| !same(queued)),
            Command::Ask(_) => {
                self.queue.retain(|queued| !matches!(queued, Command::Ask(ask) if ask.is_forgotten()));
            }
            Command::Refresh | Command::Shutdown if self.queue.iter().any(same) => return,
            _ => {}
        }
        self.queue.push_back(command);
    }
}

#[derive(Debug, Default)]
struct Mailbox(Mutex<Inner>);

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // what is behind this lock is valid after every single assignment
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the contents and wakes the port.
    fn change(&self, change: impl FnOnce(&mut Inner)) {
        let mut inner = self.lock();
        change(&mut inner);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn send(&self, command: Command) {
        self.change(|inner| {
            // the end of a port is seen by its task: who sends to it has nothing to do about it
            if !inner.ended {
                inner.add(command);
            }
        });
    }
}

/// A running port, as others see it. Dropping it ends the port as [`Handle::shutdown`] does.
#[derive(Debug)]
pub struct Handle(Arc<Mailbox>);

impl Handle {
    /// Runs with another configuration: at once when nobody is connected, else when the last
    /// client has left. An unchanged accepter keeps its sockets.
    pub fn replace(&self, connection: Arc<Connection>) {
        self.0.send(Command::Replace(connection));
    }

    /// Listens no more and ends when the last client has left. Its addresses are free when this
    /// returns.
    pub async fn retire(&self) {
        let (done, told) = oneshot::channel();
        self.0.send(Command::Retire(done));
        // an error means that the port has ended, and its sockets with it
        let _ = told.await;
    }

    /// Listens no more, closes all clients, and ends. Its addresses are free when this returns.
    pub async fn disable(&self) {
        let (done, told) = oneshot::channel();
        self.0.send(Command::Disable(done));
        // as in `retire`
        let _ = told.await;
    }

    /// Reads certificate and key again; when they are bad the old ones stay.
    pub fn refresh(&self) {
        self.0.send(Command::Refresh);
    }

    /// Closes all clients and the device, and ends.
    pub fn shutdown(&self) {
        self.0.send(Command::Shutdown);
    }

    /// A way to ask the port. It does not keep the port running.
    pub fn contact(&self) -> Contact {
        Contact(Sender(Arc::clone(&self.0)))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.change(|inner| inner.abandoned = true);
    }
}

/// For tasks that work for the port; it does not keep the port running.
#[derive(Clone, Debug)]
pub(super) struct Sender(Arc<Mailbox>);

impl Sender {
    /// Sends; when the port has ended the command is dropped.
    pub(super) fn send(&self, command: Command) {
        self.0.send(command);
    }

    /// Both lead to the same port.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A running port, as administrators see it ([`super::ask`]).
#[derive(Clone, Debug)]
pub struct Contact(Sender);

impl Contact {
    /// Asks; `None` when the port has ended.
    pub(super) async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (answer, told) = oneshot::channel();
        self.0.send(Command::Ask(ask(answer)));
        told.await.ok()
    }
}

/// The port's end.
#[derive(Debug)]
pub(super) struct Inbox(Arc<Mailbox>);

impl Inbox {
    /// The next command; `None` when the handle is gone.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Command>> {
        let mut inner = self.0.lock();
        if let Some(command) = inner.queue.pop_front() {
            if inner.queue.is_empty() {
                inner.queue = VecDeque::new();
            }
            return Poll::Ready(Some(command));
        }
        if inner.abandoned {
            return Poll::Ready(None);
        }
        if !inner.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            inner.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// A way to send to this port.
    pub(super) fn sender(&self) -> Sender {
        Sender(Arc::clone(&self.0))
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.ended = true;
        inner.waker = None;
        let unread = std::mem::take(&mut inner.queue);
        drop(inner);
        // streams are closed and answers that were waited for fail, without the lock
        drop(unread);
    }
}

/// A mailbox with its two ends.
pub(super) fn mailbox() -> (Handle, Inbox) {
    let mailbox = Arc::<Mailbox>::default();
    (Handle(Arc::clone(&mailbox)), Inbox(mailbox))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    #[tokio::test]
    async fn commands_arrive_in_order_and_wake_the_port() {
        let (handle, inbox) = mailbox();
        let port = tokio::spawn(async move {
            let mut seen = Vec::new();
            while let Some(command) = poll_fn(|cx| inbox.poll(cx)).await {
                seen.push(format!("{command:?}"));
            }
            seen
        });
        tokio::task::yield_now().await;
        handle.refresh();
        handle.shutdown();
        tokio::task::yield_now().await;
        handle.refresh();
        drop(handle);
        let seen = tokio::time::timeout(Duration::from_secs(10), port).await.unwrap().unwrap();
        assert_eq!(seen, ["Refresh", "Shutdown", "Refresh"]);
    }

    #[tokio::test]
    async fn what_is_said_again_takes_no_more_room() {
        let (handle, inbox) = mailbox();
        for _ in 0..1000 {
            handle.refresh();
            handle.shutdown();
        }
        drop(handle);
        let mut seen = Vec::new();
        while let Some(command) = poll_fn(|cx| inbox.poll(cx)).await {
            seen.push(format!("{command:?}"));
        }
        assert_eq!(seen, ["Refresh", "Shutdown"]);
    }

    #[tokio::test]
    async fn a_port_that_has_ended_is_retired_already() {
        let (handle, inbox) = mailbox();
        let mut retired = Box::pin(handle.retire());
        let first = poll_fn(|cx| Poll::Ready(retired.as_mut().poll(cx).is_ready())).await;
        assert!(!first, "nobody has read the command");
        drop(inbox);
        retired.await;
        handle.retire().await;
    }
}
