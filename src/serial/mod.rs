//! Serial devices: their line settings, modem lines, locks and the requests that clients make.

pub mod request;
pub mod settings;
