//! `serbroker attach`: a port of a far server as a terminal of this machine.
//!
//! ```text
//! program <-> local device (tty) <-> relay <-> Channel (connect: telnet, TLS, TCP) <-> far server
//! ```
//!
//! The local device ([`tty`]: a pseudo-terminal with a link; [`cuse`]: a character device of our own,
//! which sees all that a program does to a serial port) tells what programs do: opened, data,
//! settings, closed. The [`relay`] passes that on in order, and opens and closes the way to the far
//! end. It is one task and one poll; every buffer has a bound.

mod cuse;
mod line;
mod link;
mod local;
mod relay;
mod terminal;
mod tty;
mod url;

pub use url::Url;

use crate::alarm::Alarms;
use crate::config::connector::Connector;
use crate::connect::Stack;
use crate::notify::{self, Manager};
use crate::process::{Signal, Signals};
use crate::serial::settings::LineSettings;
use relay::Relay;
use std::future::poll_fn;
use std::path::PathBuf;
use tracing::info;

/// What is to be attached, and as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attach {
    /// The far port.
    pub url: Url,
    /// The link that programs open.
    pub link: PathBuf,
    /// User that the terminal is given to.
    pub owner: Option<String>,
    /// Group that the terminal is given to.
    pub group: Option<String>,
    /// Its mode; `None`: 0600, as the system makes it, or 0660 when it has a group.
    pub mode: Option<u32>,
    /// A character device of our own (CUSE) instead of a pseudo-terminal and a link.
    pub device: bool,
    /// The connection stays while no program has the terminal open.
    pub keep: bool,
    /// Settings before a program says others, and size and parity where it cannot say them.
    pub line: Option<LineSettings>,
    /// State of DTR after each connecting; `None`: as the far end has it.
    pub dtr: Option<bool>,
    /// State of RTS after each connecting; `None`: as the far end has it.
    pub rts: Option<bool>,
}

/// Attaches until a signal comes.
///
/// # Errors
/// Text for the user: what could not be done, with the path, and what helps.
pub async fn run(options: Attach) -> Result<(), String> {
    let mut signals = Signals::new().map_err(|e| format!("cannot catch signals: {e}"))?;
    let device: Box<dyn local::Local> = if options.device {
        Box::new(cuse::Device::new(&options)?)
    } else {
        Box::new(tty::Tty::new(&options)?)
    };
    let Attach { url, link, keep, dtr, rts, .. } = options;
    let name = link.display().to_string();
    info!("{name} is {} at the far end", url.text());
    let manager = Manager::from_environment();
    manager.ready(&format!("{name}: waiting for a program that opens it"));
    let line = url.has_line();
    let connector: Connector = url.into();
    let stack = Stack::alone(name.into(), connector);
    let mut relay = Relay::new(device, stack, relay::Habits { keep, dtr, rts, line }, manager.clone());
    let mut alive = Alarms::default().pulse(notify::watchdog_interval());
    let result = loop {
        tokio::select! {
            biased;
            signal = signals.recv() => match signal {
                Signal::Terminate | Signal::Interrupt => {
                    info!("{signal}: the end");
                    break Ok(());
                }
                Signal::Reload => {
                    info!("{signal}: connecting again");
                    relay.begin_again();
                }
                Signal::User => info!("{signal}: nothing to do"),
            },
            error = poll_fn(|cx| relay.poll(cx)) => break Err(error),
            () = alive.beat() => manager.alive(),
        }
    };
    manager.stopping();
    tokio::join!(relay.close(), manager.finish());
    result
}
