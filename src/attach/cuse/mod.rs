//! The local device as a character device of our own (CUSE, `/dev/cuse`).
//!
//! The kernel passes every call of a program on to us, so nothing of a serial port is out of sight: all
//! settings, modem lines in both directions, breaks, flushes and drains, in the order in which the
//! program made them. open(2) returns when the far end is there, or after a while without one. Lines
//! are edited, echoed and turned into signals by nobody: programs for serial ports switch all that off.

mod device;
mod held;
mod near;
mod state;
mod wire;

pub(super) use device::Device;
