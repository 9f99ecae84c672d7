//! The commands of the admin port. Texts are those of ser2net 4.3.11, letter for letter.

use super::reply::Reply;
use super::request::{Known, Reloaded, Requests};
use super::show::{HEADINGS, Shown};
use crate::port::ask::Control;
use crate::port::tap::{Monitor, Side, tap};
use std::time::Duration;

/// Words of a line that are looked at; ser2net takes no notice of those behind.
const WORDS: usize = 5;

/// The answer to `help`.
const HELP: &str = "\
exit - leave the program.\r
help - display this help.\r
version - display the version of this program.\r
yaml - Go into yaml output mode.  In this mode there is no echo or\r
       line processing is done.  Some commands are disabled.  Output\r
       is yaml, beginning with --- and ending with ... for each\r
       response to a command.\r
monitor <type> <tcp port> - display all the input for a given port on\r
       the calling control port.  Only one direction may be monitored\r
       at a time.  The type field may be 'tcp' or 'term' and specifies\r
       whether to monitor data from the net port or from the serial port\r
       Note that data monitoring is best effort, if the controller port\r
       cannot keep up the data will be silently dropped.  A controller\r
       may only monitor one thing and a port may only be monitored by\r
       one controller.\r
monitor stop - stop the current monitor.\r
disconnect <tcp port> - disconnect the tcp connection on the port.\r
showport [<tcp port>] - Show information about a port. If no port is\r
       given, all ports are displayed.\r
showshortport [<tcp port>] - Show information about a port in a one-line\r
       format. If no port is given, all ports are displayed.\r
setporttimeout <tcp port> <timeout> - Set the amount of time in seconds\r
       before the port connection will be shut down if no activity\r
       has been seen on the port.\r
setportcontrol <tcp port> <controls>\r
       Dynamically modify the characteristics of the port.  These are\r
       immediate and won't live between connections.  Valid controls are\r
       DTRHI, DTRLO, RTSHI, and RTSLO.\r
setportenable <tcp port> <enable state> - Sets the port operation state.\r
       Valid states are:\r
         off - The port is shut down\r
         on - The port is up and all I/O is transferred\r
reload - Reload the configuration file.\r
";

/// A line as words: blanks and tabs stand between them.
pub fn words(line: &[u8]) -> Vec<Vec<u8>> {
    let words = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    words.map(<[u8]>::to_vec).collect()
}

/// What is to happen after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The next one.
    GoOn,
    /// Answers are YAML from now on; there is nothing to be answered to this.
    TurnToYaml,
    /// The session is over.
    Leave,
}

/// What commands work on.
#[derive(Debug)]
pub struct Commands {
    requests: Requests,
    /// The bytes that this session watches.
    pub monitor: Option<Monitor>,
}

/// A mistake; its text is shown behind `error: `.
type Mistake = Vec<u8>;

impl Commands {
    /// The commands of one session.
    pub fn new(requests: Requests) -> Self {
        Self { requests, monitor: None }
    }

    /// Does what the words say; in YAML only what makes sense there. There is at least one word.
    pub async fn run(&mut self, words: &[Vec<u8>], yaml: bool, reply: &mut Reply<'_>) -> After {
        let words = &words[..words.len().min(WORDS)];
        let Some((name, rest)) = words.split_first() else { return After::GoOn };
        let first = rest.first().map(Vec::as_slice);
        let second = rest.get(1).map(Vec::as_slice);
        let done = match (name.as_slice(), yaml) {
            (b"exit" | b"quit", _) => return After::Leave,
            (b"yaml", false) => return After::TurnToYaml,
            (b"help", false) => {
                reply.plain(HELP.as_bytes());
                Ok(())
            }
            (b"version", _) => {
                reply.value("version", env!("CARGO_PKG_VERSION"));
                Ok(())
            }
            (b"showport", _) => self.show_port(first, reply).await,
            (b"showshortport", false) => self.show_short_port(first, reply).await,
            (b"monitor", false) => self.start_monitor(first, second, reply).await,
            (b"disconnect", _) => self.disconnect(first).await,
            (b"setporttimeout", _) => self.set_timeout(first, second).await,
            (b"setportcontrol", _) => self.set_control(first, rest.get(1..).unwrap_or_default(), reply).await,
            (b"setportenable", _) => self.set_enable(first, second).await,
            (b"reload", _) => self.reload(reply).await,
            _ => Err(mistake("Unknown command - ", name)),
        };
        if let Err(text) = done {
            reply.error(&text);
        }
        After::GoOn
    }

    async fn ports(&self) -> Vec<Known> {
        // nobody answers when the program ends, and the session ends with it
        self.requests.ports().await.unwrap_or_default()
    }

    async fn port(&self, name: &[u8]) -> Result<Known, Mistake> {
        let found = self.ports().await.into_iter().find(|port| port.connection.name.as_bytes() == name);
        found.ok_or_else(|| mistake("Invalid port number - ", name))
    }

    async fn show_port(&self, name: Option<&[u8]>, reply: &mut Reply<'_>) -> Result<(), Mistake> {
        let ports = match name {
            Some(name) => vec![self.port(name).await?],
            None => self.ports().await,
        };
        for port in ports {
            let shown = port.shown().await;
            shown.long(reply);
            if shown.deleted {
                reply.plain(b"Port will be deleted when current session closes.\r\n");
            }
        }
        Ok(())
    }

    async fn show_short_port(&self, name: Option<&[u8]>, reply: &mut Reply<'_>) -> Result<(), Mistake> {
        reply.plain(HEADINGS.as_bytes());
        reply.plain(b"\r\n");
        let mut found = false;
        for port in self.ports().await {
            if name.is_none_or(|name| port.connection.name.as_bytes() == name) {
                let shown: Shown = port.shown().await;
                reply.plain(shown.short().as_bytes());
                reply.plain(b"\r\n");
                found = true;
                if name.is_some() {
                    break;
                }
            }
        }
        match name {
            Some(name) if !found => Err(mistake("Invalid port number: ", name)),
            _ => Ok(()),
        }
    }

    async fn start_monitor(
        &mut self,
        kind: Option<&[u8]>,
        port: Option<&[u8]>,
        reply: &mut Reply<'_>,
    ) -> Result<(), Mistake> {
        let kind = kind.ok_or_else(|| b"No monitor type given\r\n".to_vec())?;
        if kind == b"stop" {
            self.monitor = None;
            return Ok(());
        }
        let name = port.ok_or_else(|| b"No monitor port given".to_vec())?;
        if self.monitor.is_some() {
            return Err(b"Already monitoring a port".to_vec());
        }
        let port = self.port(name).await?;
        let side = match kind {
            b"tcp" => Side::Clients,
            b"term" => Side::Device,
            _ => {
                // without `error:` and with the percent sign, as ser2net says it
                reply.plain(b"invalid monitor type - %s: ");
                reply.plain(kind);
                reply.plain(b"\r\n");
                return Ok(());
            }
        };
        let contact = port.contact.ok_or_else(|| mistake("Port not connected - ", name))?;
        let (tap, monitor) = tap(side);
        match contact.monitor(tap).await {
            Some(true) => self.monitor = Some(monitor),
            Some(false) => return Err(b"Port is already being monitored".to_vec()),
            None => return Err(mistake("Invalid port number - ", name)),
        }
        Ok(())
    }

    async fn disconnect(&self, name: Option<&[u8]>) -> Result<(), Mistake> {
        let name = name.ok_or_else(|| b"No port given".to_vec())?;
        let done = match self.port(name).await?.contact {
            Some(contact) => contact.disconnect().await,
            None => None,
        };
        if done == Some(true) { Ok(()) } else { Err(mistake("Port not connected - ", name)) }
    }

    async fn set_timeout(&self, name: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), Mistake> {
        let name = name.ok_or_else(|| b"No port given".to_vec())?;
        let value = value.ok_or_else(|| b"No timeout given".to_vec())?;
        let port = self.port(name).await?;
        let timeout = seconds(value).ok_or_else(|| mistake("Invalid timeout - ", value))?;
        let timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
        match self.requests.set_timeout(port.connection.name.clone(), timeout).await {
            Some(true) => Ok(()),
            _ => Err(mistake("Invalid port number - ", name)),
        }
    }

    async fn set_control(
        &self,
        name: Option<&[u8]>,
        controls: &[Vec<u8>],
        reply: &mut Reply<'_>,
    ) -> Result<(), Mistake> {
        let name = name.ok_or_else(|| b"No port given".to_vec())?;
        if controls.is_empty() {
            return Err(b"No device controls".to_vec());
        }
        let port = self.port(name).await?;
        let read = |word: &Vec<u8>| match word.as_slice() {
            b"DTRHI" => Some(Control::Dtr(true)),
            b"DTRLO" => Some(Control::Dtr(false)),
            b"RTSHI" => Some(Control::Rts(true)),
            b"RTSLO" => Some(Control::Rts(false)),
            _ => None,
        };
        let known = controls.iter().filter_map(read).collect();
        let connected = match port.contact {
            Some(contact) => contact.control(known).await,
            None => None,
        };
        if connected != Some(true) {
            return Err(mistake("Port is not currently connected - ", name));
        }
        for word in controls.iter().filter(|word| read(word).is_none()) {
            reply.error(&mistake("Invalid device control - ", word));
        }
        Ok(())
    }

    async fn set_enable(&self, name: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), Mistake> {
        let name = name.ok_or_else(|| b"No port given".to_vec())?;
        let value = value.ok_or_else(|| b"No enable given".to_vec())?;
        let invalid = || mistake("Invalid port - ", name);
        let port = self.port(name).await.map_err(|_| invalid())?;
        let on = match value {
            b"on" | b"raw" => true,
            b"off" => false,
            _ => return Err(mistake("Invalid enable - ", value)),
        };
        match self.requests.enable(port.connection.name.clone(), on).await.flatten() {
            Some(true) => Ok(()),
            Some(false) => Err(b"port was already in the given state".to_vec()),
            None => Err(invalid()),
        }
    }

    async fn reload(&self, reply: &mut Reply<'_>) -> Result<(), Mistake> {
        let Some(Reloaded { applied, errors }) = self.requests.reload().await else { return Ok(()) };
        for error in errors {
            reply.error(error.as_bytes());
        }
        // ser2net calls this an error too
        Err(if applied { b"reload done".to_vec() } else { b"reload error - Invalid argument".to_vec() })
    }
}

fn mistake(text: &str, word: &[u8]) -> Mistake {
    [text.as_bytes(), word].concat()
}

/// Seconds in digits. What is too much for 32 bits is the most that they hold.
fn seconds(text: &[u8]) -> Option<Duration> {
    let digits = text.iter().all(u8::is_ascii_digit).then_some(text)?;
    let value = std::str::from_utf8(digits).ok().filter(|digits| !digits.is_empty())?;
    let seconds: u32 = value.parse().unwrap_or(u32::MAX);
    Some(Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fall_into_words() {
        let of = |line: &str| {
            words(line.as_bytes()).iter().map(|w| String::from_utf8_lossy(w).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(of("  a\tb  c\x0bd "), ["a", "b", "c\x0bd"]);
        assert!(of(" \t ").is_empty());
    }

    #[test]
    fn timeouts_are_digits() {
        for (text, expected) in [
            ("0", Some(0)),
            ("010", Some(10)),
            ("4294967295", Some(4_294_967_295)),
            ("99999999999", Some(4_294_967_295)),
        ] {
            assert_eq!(seconds(text.as_bytes()).map(|t| t.as_secs()), expected, "{text}");
        }
        for text in ["", "-1", "+5", "5x", "0x10", "abc", "\u{664}"] {
            assert_eq!(seconds(text.as_bytes()), None, "{text}");
        }
    }
}
