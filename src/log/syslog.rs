//! Lines for the local syslog daemon, for a broker in the background without a journal.
//!
//! The form is the one that syslog(3) sends to `/dev/log` and RFC 3164 section 4.1 describes, without
//! time stamp and host (the daemon adds them): `<PRI>name[pid]: text`.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Facility `daemon` (RFC 3164 table 1), shifted to its place.
const DAEMON: u8 = 3 << 3;
/// Longest text of a line, in bytes (RFC 3164 section 4.1 limits a packet to 1024).
const LONGEST: usize = 960;

/// Sends every event as one datagram.
#[derive(Debug)]
pub struct Syslog {
    socket: UnixDatagram,
    ident: String,
}

impl Syslog {
    /// Connects to the daemon's socket, normally `/dev/log`. `name` is the program's.
    pub fn connect(path: &Path, name: &str) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        // a daemon that hangs must not stop the broker: lines are lost instead
        socket.set_nonblocking(true)?;
        Ok(Self { socket, ident: format!("{name}[{}]", std::process::id()) })
    }
}

/// Severity of RFC 3164 table 2.
fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// One event on its way.
#[derive(Debug)]
pub struct Line<'a> {
    syslog: &'a Syslog,
    priority: u8,
}

impl Write for Line<'_> {
    /// Takes a whole event, as tracing-subscriber writes it.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.trim_end();
        let end = (0..=LONGEST.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let packet = format!("<{}>{}: {}", self.priority, self.syslog.ident, &text[..end]);
        // the daemon may be restarting or full; there is nowhere to say so
        let _ = self.syslog.socket.send(packet.as_bytes());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Syslog {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { syslog: self, priority: DAEMON | severity(Level::INFO) }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line<'a> {
        Line { syslog: self, priority: DAEMON | severity(*meta.level()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn events_are_datagrams_with_their_priority() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        daemon.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let syslog = Syslog::connect(&path, "ser2net").unwrap();
        let subscriber = tracing_subscriber::registry().with(super::super::plain_layer(syslog));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(port = "a", "device gone");
            tracing::error!("{}", "é".repeat(2000));
        });
        let mut packet = [0; 2048];
        let mut receive = || {
            let length = daemon.recv(&mut packet).unwrap();
            String::from_utf8(packet[..length].to_vec()).unwrap()
        };
        let pid = std::process::id();
        assert_eq!(receive(), format!("<28>ser2net[{pid}]: device gone port=\"a\""));
        let long = receive();
        assert!(long.starts_with("<27>ser2net[") && long.len() < 1024, "{}", long.len());
    }

    #[test]
    fn no_daemon_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Syslog::connect(&dir.path().join("none"), "x").is_err());
    }
}
