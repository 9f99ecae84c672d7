//! The two terminal requests for which no safe wrapper exists.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Packet mode of a pty master: each read starts with a byte of flags (ioctl_tty(2), TIOCPKT).
pub(crate) fn packet_mode(master: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open for the length of the call, and TIOCPKT only reads the int behind the
    // pointer, which outlives the call.
    let failed = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCPKT, &raw const on) } < 0;
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether a terminal is in exclusive mode: 0 or 1 (ioctl_tty(2), TIOCGEXCL).
pub(crate) fn exclusive_mode(terminal: impl AsFd) -> io::Result<i32> {
    let mut mode: libc::c_int = 0;
    // SAFETY: the descriptor is open for the length of the call, and TIOCGEXCL writes one int behind the
    // pointer, which outlives the call.
    let failed = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCGEXCL, &raw mut mode) } < 0;
    if failed { Err(io::Error::last_os_error()) } else { Ok(mode) }
}
