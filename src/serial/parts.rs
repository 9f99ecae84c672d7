//! What an open device consists of, how it is configured and how it is put back.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Mutex, PoisonError};

use super::lock::{Claim, UucpLock};
use super::settings::{DeviceConfig, LineSettings, Rs485};
use super::sys::{self, Latency, Termios2, rs485_flag};
use super::termios;

/// The file and what must be known to use and close it. The fields are dropped in this order, so
/// the locks go last.
#[derive(Debug)]
pub(super) struct Parts<F: AsRawFd> {
    pub(super) file: F,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) path: String,
    pub(super) is_pty: bool,
    pub(super) write_only: bool,
    /// The settings that were last asked for.
    pub(super) asked: LineSettings,
    /// What the driver made of them.
    pub(super) in_force: LineSettings,
    /// `None`: a device that is only written to is taken for a printer, and its settings are left
    /// alone, as ser2net does (`rawlp`, `wronly`); it need not be a terminal.
    pub(super) saved: Option<Saved>,
    /// A break is being sent.
    pub(super) in_break: bool,
    /// Set by a drain that came to its end: nothing is left that a flush could discard.
    pub(super) drained: bool,
    pub(super) _uucp: Option<UucpLock>,
    pub(super) _claim: Claim,
}

/// What is put back at close.
pub(super) struct Saved {
    pub(super) termios: Termios2,
    pub(super) modem: Option<libc::c_int>,
    pub(super) rs485: Option<sys::RawRs485>,
    /// `ASYNC_LOW_LATENCY` was off and is on now.
    pub(super) low_latency: bool,
}

impl std::fmt::Debug for Saved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // `termios2` has no Debug
        f.debug_struct("Saved").field("modem", &self.modem).finish_non_exhaustive()
    }
}

impl<F: AsRawFd> Parts<F> {
    pub(super) fn configure(&mut self, config: &DeviceConfig) -> Result<(), (&'static str, io::Error)> {
        let (file, state) = (&self.file, &mut self.state);
        let Some(saved) = &mut state.saved else { return Ok(()) };
        // The kernel has raised both lines in open(2); the sooner they are as configured, the
        // less the device notices. One call, so that they move together.
        if config.dtr.is_some() || config.rts.is_some() {
            set_lines(file, config.dtr, config.rts).map_err(|error| ("set DTR and RTS", error))?;
        }
        let raw = termios::raw(&saved.termios);
        sys::set_termios(file, &raw).map_err(|error| ("make it raw", error))?;
        state.in_force =
            program(file, &config.line, state.is_pty).map_err(|error| ("set the line settings", error))?;
        if let Some(rs485) = &config.rs485 {
            // only a device that has the setting can have an old one
            saved.rs485 = sys::rs485(file).ok();
            let mut raw = raw_rs485(rs485);
            let asked = raw.flags;
            sys::set_rs485(file, &mut raw)
                .map_err(|error| ("set RS-485 mode (does the driver have it?)", error))?;
            if raw.flags & rs485_flag::ENABLED == 0 {
                let error = io::Error::other("the driver left it switched off");
                return Err(("set RS-485 mode", error));
            }
            if raw.flags != asked {
                tracing::warn!(
                    "{}: the driver changed the RS-485 flags from {asked:#x} to {:#x}",
                    state.path,
                    raw.flags
                );
            }
        }
        if config.low_latency {
            saved.low_latency = switch_latency(file, &state.path);
        }
        if !config.nobreak
            && let Err(error) = sys::set_break(file, false)
        {
            tracing::debug!("{}: break not cleared: {error}", state.path);
        }
        Ok(())
    }

    /// Discards what is not sent and puts the settings back. Errors are of no interest: either the
    /// device is gone, or the next one to open it makes its own settings.
    pub(super) fn put_back(&self) {
        let (file, state) = (&self.file, &self.state);
        let Some(saved) = &state.saved else { return };
        // A close with output pending waits for it, up to half a minute. After a drain, though,
        // the last characters may still be in a FIFO that this would clear.
        let queue = if state.drained { libc::TCIFLUSH } else { libc::TCIOFLUSH };
        let mut results = vec![("flush", sys::flush(file, queue))];
        if state.in_break {
            results.push(("break", sys::set_break(file, false)));
        }
        if saved.low_latency {
            results.push(("low latency", sys::set_low_latency(file, false).map(drop)));
        }
        if let Some(mut rs485) = saved.rs485 {
            results.push(("RS-485", sys::set_rs485(file, &mut rs485)));
        }
        if let Some(bits) = saved.modem {
            results.push(("modem lines", sys::set_modem_bits(file, bits)));
        }
        let termios = termios::restored(&saved.termios, state.asked.hangup_when_done);
        results.push(("line settings", sys::set_termios(file, &termios)));
        for (what, result) in results {
            if let Err(error) = result {
                tracing::trace!("{}: {what} at close: {error}", state.path);
            }
        }
    }
}

/// Programs the line and reads back what the driver made of it.
pub(super) fn program(file: &impl AsRawFd, line: &LineSettings, is_pty: bool) -> io::Result<LineSettings> {
    if line.baud == 0 {
        // the kernel takes speed 0 as the order to hang up
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the speed must not be 0"));
    }
    let now = sys::termios(file)?;
    sys::set_termios(file, &termios::configured(&now, line))?;
    Ok(termios::settings(&sys::termios(file)?, line, is_pty))
}

/// Sets the given lines by one `TIOCMSET`, the others stay.
pub(super) fn set_lines(file: &impl AsRawFd, dtr: Option<bool>, rts: Option<bool>) -> io::Result<()> {
    let mut bits = sys::modem_bits(file)?;
    for (line, mask) in [(dtr, libc::TIOCM_DTR), (rts, libc::TIOCM_RTS)] {
        match line {
            Some(true) => bits |= mask,
            Some(false) => bits &= !mask,
            None => {}
        }
    }
    sys::set_modem_bits(file, bits)
}

/// Switches `ASYNC_LOW_LATENCY` on; whether it must be switched off at close. A driver that does not
/// do it is complained of once, not at each open.
fn switch_latency(file: &impl AsRawFd, path: &str) -> bool {
    static WARNED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let trouble = match sys::set_low_latency(file, true) {
        Ok(Latency::Changed) => return true,
        Ok(Latency::AlreadySo) => return false,
        Ok(Latency::Ignored) => "the driver takes no notice of it".to_owned(),
        Err(error) => format!("the driver refuses it: {error}"),
    };
    // a path is there or not: the set is whole whatever panicked
    if WARNED.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned()) {
        tracing::warn!("{path}: low-latency has no effect: {trouble}");
    }
    false
}

fn raw_rs485(config: &Rs485) -> sys::RawRs485 {
    let flags = [
        (true, rs485_flag::ENABLED),
        (config.rts_on_send, rs485_flag::RTS_ON_SEND),
        (config.rts_after_send, rs485_flag::RTS_AFTER_SEND),
        (config.rx_during_tx, rs485_flag::RX_DURING_TX),
        (config.terminate_bus, rs485_flag::TERMINATE_BUS),
    ];
    let mut raw = sys::RawRs485::default();
    raw.flags = flags.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum();
    raw.delay_rts_before_send = config.delay_before_ms;
    raw.delay_rts_after_send = config.delay_after_ms;
    raw
}
