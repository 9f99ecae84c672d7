//! Programs that people use with serial ports on the network, against the built program: pyserial's
//! own tests, esptool, C-Kermit, labgrid's pyserial, socat.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test program: a failed unwrap is a failed test"
)]

mod delay;
mod esptool;
mod kermit;
mod labgrid;
mod pyserial_suite;
mod socat;
#[path = "../support/mod.rs"]
mod support;
