//! Serial devices: their line settings, modem lines, locks and the requests that clients make.

pub mod device;
mod edges;
mod error;
mod lock;
pub mod modem;
mod open;
mod parts;
mod present;
pub mod request;
pub mod settings;
pub(crate) mod sys;
mod termios;

pub use device::{Device, Opened};
pub use error::{IoFailure, OpenError, OpenErrorKind};
pub use lock::UUCP_LOCK_DIR;
pub use modem::{Changes, Counters, Look, ModemLines};

/// Terminal settings with everything switched off that changes bytes, or makes signals of them.
pub(crate) use termios::raw as raw_settings;
