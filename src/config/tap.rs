//! Options for those that only watch a port: trace files and LEDs.

use super::Template;
use std::sync::Arc;

/// The trace files of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// `trace-read`: what the device sends.
    pub read: TraceFile,
    /// `trace-write`: what the clients send.
    pub write: TraceFile,
    /// `trace-both`.
    pub both: TraceFile,
}

/// A trace file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceFile {
    /// Its name, with escapes; `None`: there is none.
    pub name: Option<Template>,
    /// Hexadecimal lines.
    pub hexdump: bool,
    /// Times, and lines for clients that come and go.
    pub timestamp: bool,
}

impl Traces {
    /// All three of them.
    pub fn each(&mut self) -> [&mut TraceFile; 3] {
        [&mut self.read, &mut self.write, &mut self.both]
    }
}

/// An LED that flashes when data goes one way (the `sysfs` driver of ser2net).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Led {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Its directory in `/sys/class/leds`.
    pub device: Arc<str>,
    /// Length of a flash, milliseconds, at least 1.
    pub duration_ms: u32,
    /// It is lit by the value 1 rather than 0.
    pub lit_by_one: bool,
}

/// Where Linux has its LEDs.
pub const LED_CLASS: &str = "/sys/class/leds";
/// Length of a flash when nothing is said, as with ser2net.
pub const LED_DURATION_MS: u32 = 10;
