//! Line settings of a serial port: speed, character size, parity, stop bits and flow control.

use super::find::Match;
use std::fmt;
use std::sync::Arc;

/// Parity of a character. `Mark` and `Space` need the kernel's `CMSPAR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Parity {
    /// No parity bit.
    #[default]
    None,
    /// Odd parity.
    Odd,
    /// Even parity.
    Even,
    /// Parity bit always 1.
    Mark,
    /// Parity bit always 0.
    Space,
}

/// Flow control of outgoing and incoming data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Flow {
    /// XON/XOFF (`IXON | IXOFF`).
    pub xonxoff: bool,
    /// RTS/CTS (`CRTSCTS`).
    pub rtscts: bool,
}

/// Settings of the line as they are programmed into the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LineSettings {
    /// Bits per second; any value, not only the classic ones.
    pub baud: u32,
    /// Data bits per character, 5 to 8.
    pub size: u8,
    /// Parity.
    pub parity: Parity,
    /// Stop bits, 1 or 2.
    pub stop: u8,
    /// Flow control.
    pub flow: Flow,
    /// Ignore the modem control lines (`CLOCAL`).
    pub local: bool,
    /// Whether DTR and RTS drop when the device is closed (`HUPCL`); `None`: as the device was found.
    pub hangup_when_done: Option<bool>,
}

impl Default for LineSettings {
    /// 9600N81 with modem control, as ser2net's defaults.
    fn default() -> Self {
        Self {
            baud: 9600,
            size: 8,
            parity: Parity::None,
            stop: 1,
            flow: Flow::default(),
            local: false,
            hangup_when_done: None,
        }
    }
}

impl Parity {
    /// The letter of the short form: `N O E M S`.
    pub fn letter(self) -> char {
        match self {
            Self::None => 'N',
            Self::Odd => 'O',
            Self::Even => 'E',
            Self::Mark => 'M',
            Self::Space => 'S',
        }
    }
}

impl fmt::Display for LineSettings {
    /// The short form, for instance `9600N81`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}{}", self.baud, self.parity.letter(), self.size, self.stop)
    }
}

/// What is needed to open a serial device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceConfig {
    /// Path of the device node, for instance `/dev/ttyUSB0`; or `match=` and the rule.
    pub path: Arc<str>,
    /// The device is looked for at each opening.
    pub rule: Option<Arc<Match>>,
    /// Settings programmed at open.
    pub line: LineSettings,
    /// Do not clear a break at open (`TIOCCBRK`): some CDC-ACM devices refuse it.
    pub nobreak: bool,
    /// Make a UUCP lock file in `/var/lock`.
    pub uucp_lock: bool,
    /// State of DTR right after open; `None` leaves what the kernel did.
    pub dtr: Option<bool>,
    /// State of RTS right after open; `None` leaves what the kernel did.
    pub rts: Option<bool>,
    /// The device is only written to, never read, and its line settings are left alone
    /// (`rawlp`, `wronly`: printers).
    pub write_only: bool,
    /// The device is only read (`rdonly`).
    pub read_only: bool,
    /// RS-485 direction control, programmed by `TIOCSRS485`.
    pub rs485: Option<Rs485>,
    /// Have the driver hand over what it receives at once (`ASYNC_LOW_LATENCY`).
    pub low_latency: bool,
    /// Longest time, in milliseconds, that unsent output is waited for at close; `None`: no limit.
    pub drain_ms: Option<u32>,
    /// Longest time, in milliseconds, that is waited at close while no character goes out; `None`:
    /// no limit.
    pub stall_ms: Option<u32>,
}

impl DeviceConfig {
    /// The device that a rule finds, with default settings.
    pub fn matching(rule: Match) -> Self {
        let path = format!("match={rule}");
        Self { rule: Some(Arc::new(rule)), ..Self::new(path) }
    }

    /// The device at `path` with default settings: 9600N81, UUCP lock, lines as the kernel sets them.
    pub fn new(path: impl Into<Arc<str>>) -> Self {
        Self {
            path: path.into(),
            rule: None,
            line: LineSettings::default(),
            nobreak: false,
            uucp_lock: true,
            dtr: None,
            rts: None,
            write_only: false,
            read_only: false,
            rs485: None,
            low_latency: false,
            drain_ms: None,
            stall_ms: Some(500),
        }
    }
}

/// RS-485 settings of ser2net's `rs485=BEFORE:AFTER[:flag…]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Rs485 {
    /// Delay between RTS and the first bit, in milliseconds.
    pub delay_before_ms: u32,
    /// Delay between the last bit and RTS, in milliseconds.
    pub delay_after_ms: u32,
    /// RTS is high while sending.
    pub rts_on_send: bool,
    /// RTS is high after sending.
    pub rts_after_send: bool,
    /// Receive while sending.
    pub rx_during_tx: bool,
    /// Terminate the bus.
    pub terminate_bus: bool,
}
