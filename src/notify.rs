//! Messages to the service manager (sd_notify(3)).
//!
//! A manager that is busy leaves its socket full, after about ten messages (`net.unix.max_dgram_qlen`),
//! and a plain send then waits until it reads. So a task of its own sends, in order, and nobody waits
//! for it.

use sd_notify::NotifyState;
use std::ffi::OsString;
use std::fmt::Write;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::time::Duration;
use tokio::net::UnixDatagram;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::debug;

/// Messages that wait for the manager; what comes then is left out.
const QUEUE: usize = 16;
/// Places among them for what is said once: the start, reloads, the end. The rest is said again with the
/// next sign of life.
const KEPT: usize = 8;
/// Time that the program's end waits for the manager to take what was said.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The service manager. Without one, all messages do nothing; errors are logged at debug and
/// otherwise ignored, as sd_notify(3) advises.
#[derive(Clone, Debug, Default)]
pub struct Manager(Option<mpsc::Sender<Message>>);

#[derive(Debug)]
enum Message {
    Say(String),
    /// All before it is said.
    Done(oneshot::Sender<()>),
}

impl Manager {
    /// The manager that the environment names (`NOTIFY_SOCKET`). The task that sends ends with the last
    /// copy.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn from_environment() -> Self {
        Self(std::env::var_os("NOTIFY_SOCKET").map(|path| {
            let (sender, messages) = mpsc::channel(QUEUE);
            tokio::spawn(send_all(path, messages));
            sender
        }))
    }

    /// The program serves: at the start, and when a reload is done.
    pub fn ready(&self, status: &str) {
        self.send(&[NotifyState::Ready, NotifyState::Status(&line(status))]);
    }

    /// A reload begins. `Type=notify-reload` wants the time with it.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            Err(_) => self.send(&[NotifyState::Reloading]),
        }
    }

    /// The program ends.
    pub fn stopping(&self) {
        self.send(&[NotifyState::Stopping]);
    }

    /// What `systemctl status` shows.
    pub fn status(&self, text: &str) {
        self.mention(NotifyState::Status(&line(text)));
    }

    /// The program is alive; to be sent every [`watchdog_interval`].
    pub fn alive(&self) {
        self.mention(NotifyState::Watchdog);
    }

    /// Waits until all is said, or the manager does not listen.
    pub async fn finish(&self) {
        let Some(sender) = &self.0 else { return };
        let (done, said) = oneshot::channel();
        let finished = async {
            if sender.send(Message::Done(done)).await.is_ok() {
                // without an answer the task is gone, and nothing is left to wait for
                let _ = said.await;
            }
        };
        if timeout(LAST_WORDS, finished).await.is_err() {
            debug!("the service manager does not take messages");
        }
    }

    /// Says what may be left out.
    fn mention(&self, state: NotifyState<'_>) {
        if self.0.as_ref().is_some_and(|sender| sender.capacity() > KEPT) {
            self.send(&[state]);
        }
    }

    fn send(&self, states: &[NotifyState<'_>]) {
        let Some(sender) = &self.0 else { return };
        let mut message = String::new();
        for state in states {
            // writing to a string cannot fail
            let _ = writeln!(message, "{state}");
        }
        if sender.try_send(Message::Say(message)).is_err() {
            debug!("the service manager does not take messages");
        }
    }
}

/// A status text must be one line; line ends become spaces.
fn line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

async fn send_all(path: OsString, mut messages: mpsc::Receiver<Message>) {
    while let Some(message) = messages.recv().await {
        match message {
            Message::Say(text) => {
                if let Err(error) = send(&path, &text).await {
                    debug!("cannot tell the service manager: {error}");
                }
            }
            // who asked may have given up
            Message::Done(done) => drop(done.send(())),
        }
    }
}

/// Sends one message, on a socket of its own: the manager's may be another one by then.
async fn send(path: &OsString, message: &str) -> io::Result<()> {
    let path = path.as_bytes();
    let address = match path.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    let socket = std::os::unix::net::UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    UnixDatagram::from_std(socket)?.send(message.as_bytes()).await.map(drop)
}

/// How often to say [`Manager::alive`]: half of `WatchdogSec=`; `None` when the manager does not
/// watch.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2).filter(|half| !half.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram as Socket;

    fn manager(path: OsString) -> Manager {
        let (sender, messages) = mpsc::channel(QUEUE);
        tokio::spawn(send_all(path, messages));
        Manager(Some(sender))
    }

    fn next(socket: &Socket) -> String {
        let mut buf = [0; 200];
        let count = socket.recv(&mut buf).unwrap();
        String::from_utf8_lossy(&buf[..count]).into_owned()
    }

    #[tokio::test]
    async fn a_manager_that_does_not_read_holds_nobody_up_and_gets_all_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = Socket::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let manager = manager(path.into());
        // more than the kernel keeps for it; the task sends while this one waits
        for number in 0..100 {
            manager.status(&number.to_string());
            tokio::task::yield_now().await;
        }
        manager.stopping();
        let reader = std::thread::spawn(move || {
            let mut said = Vec::new();
            while said.last().is_none_or(|last| last != "STOPPING=1\n") {
                said.push(next(&socket));
            }
            said
        });
        manager.finish().await;
        let said = reader.join().unwrap();
        assert!(said.len() > 10 && said.len() < 100, "{}", said.len());
        for (number, text) in said[..10].iter().enumerate() {
            assert_eq!(*text, format!("STATUS={number}\n"));
        }
    }

    #[tokio::test]
    async fn an_abstract_address_and_a_text_of_two_lines() {
        let name = format!("serbroker-test-{}", std::process::id());
        let socket = Socket::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        manager(format!("@{name}").into()).ready("two\nlines");
        let got = tokio::task::spawn_blocking(move || next(&socket)).await.unwrap();
        assert_eq!(got, "READY=1\nSTATUS=two lines\n");
    }
}
