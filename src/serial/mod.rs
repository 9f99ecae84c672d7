//! Serial devices: their line settings, modem lines, locks and the requests that clients make.

pub mod device;
mod edges;
mod error;
pub mod find;
mod lock;
pub mod modem;
mod open;
mod parts;
mod presence;
mod present;
pub mod request;
pub mod settings;
pub(crate) mod sys;
mod termios;

pub use device::{Device, Opened};
pub use error::{IoFailure, OpenError, OpenErrorKind};
pub use lock::UUCP_LOCK_DIR;
pub(crate) use lock::{DeviceIdentity, holder as lock_holder, is_alive as process_lives, lock_name};
pub use modem::{Changes, Counters, Look, ModemLines};
pub use presence::{look, node_now, seems_there};

/// The same with line settings.
pub(crate) use termios::configured as configured_settings;
/// Terminal settings with everything switched off that changes bytes, or makes signals of them.
pub(crate) use termios::raw as raw_settings;
/// Line settings that terminal settings stand for.
pub(crate) use termios::settings as line_settings;
pub(crate) use termios::speed_of;
