//! The calls of tty_ioctl(4) and ioctl_tty(2) that no crate covers, and the only unsafe code.
//!
//! All of them go through libc's functions, never through raw system calls, so that a preloaded
//! library can stand beneath them (the tests give pseudo-terminals modem lines that way).
//!
//! Every function takes the owner of the descriptor by reference: the descriptor is open for as
//! long as the call lasts, because its owner is.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;

use libc::{c_char, c_int, c_uint, c_ulong, c_ushort};
use mio_serial::SerialStream;
use nix::sys::signal::Signal;
use nix::sys::timerfd::TimerFd;
use serialport::TTYPort;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The kernel's `struct termios2`.
pub(crate) use libc::termios2 as Termios2;

/// `struct serial_icounter_struct` of `linux/serial.h`: counts since the driver was loaded.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct RawCounters {
    pub(crate) cts: c_int,
    pub(crate) dsr: c_int,
    pub(crate) rng: c_int,
    pub(crate) dcd: c_int,
    pub(crate) rx: c_int,
    pub(crate) tx: c_int,
    pub(crate) frame: c_int,
    pub(crate) overrun: c_int,
    pub(crate) parity: c_int,
    pub(crate) brk: c_int,
    pub(crate) buf_overrun: c_int,
    reserved: [c_int; 9],
}

/// `struct serial_rs485` of `linux/serial.h`.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct RawRs485 {
    pub(crate) flags: u32,
    pub(crate) delay_rts_before_send: u32,
    pub(crate) delay_rts_after_send: u32,
    padding: [u32; 5],
}

/// `SER_RS485_…` of `linux/serial.h`.
pub(crate) mod rs485_flag {
    pub(crate) const ENABLED: u32 = 1;
    pub(crate) const RTS_ON_SEND: u32 = 1 << 1;
    pub(crate) const RTS_AFTER_SEND: u32 = 1 << 2;
    pub(crate) const RX_DURING_TX: u32 = 1 << 4;
    pub(crate) const TERMINATE_BUS: u32 = 1 << 5;
}

/// `struct serial_struct` of `linux/serial.h`. The pointer in it is only handed back.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct RawSerial {
    kind: c_int,
    line: c_int,
    port: c_uint,
    irq: c_int,
    flags: c_int,
    xmit_fifo_size: c_int,
    custom_divisor: c_int,
    baud_base: c_int,
    close_delay: c_ushort,
    io_type: c_char,
    reserved: c_char,
    hub6: c_int,
    closing_wait: c_ushort,
    closing_wait2: c_ushort,
    iomem_base: usize,
    iomem_reg_shift: c_ushort,
    port_high: c_uint,
    iomap_base: c_ulong,
}

/// What came of switching [`set_low_latency`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Latency {
    /// It is as asked for now.
    Changed,
    /// It was so before.
    AlreadySo,
    /// The driver reported success and left it as it was.
    Ignored,
}

fn done(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// An ioctl whose argument is a number or is ignored.
fn ioctl_number(fd: &impl AsRawFd, request: libc::Ioctl, value: c_ulong) -> io::Result<()> {
    // SAFETY: the callers below pass requests whose argument the kernel takes as a number.
    done(unsafe { libc::ioctl(fd.as_raw_fd(), request, value) })
}

/// An ioctl that reads or writes one `T` through its argument.
///
/// The callers below pair every request with the type that the kernel defines for it.
fn ioctl_struct<T: Copy>(fd: &impl AsRawFd, request: libc::Ioctl, value: &mut T) -> io::Result<()> {
    // SAFETY: `value` is valid for reads and writes of a `T`, which has the size and layout of the
    // request's argument; all such types here are plain integers, so any bytes are a valid value.
    done(unsafe { libc::ioctl(fd.as_raw_fd(), request, std::ptr::from_mut(value)) })
}

/// `TIOCGWINSZ`: columns of a terminal; `None` when it is none or does not know.
pub(crate) fn columns(terminal: &impl AsRawFd) -> Option<u16> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    ioctl_struct(terminal, libc::TIOCGWINSZ, &mut size).ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}

/// `TCGETS2`. Fails with `ENOTTY` when the file is not a terminal.
pub(crate) fn termios(fd: &impl AsRawFd) -> io::Result<Termios2> {
    // SAFETY: `termios2` consists of integers only (their number differs between architectures).
    let mut value: Termios2 = unsafe { std::mem::zeroed() };
    ioctl_struct(fd, libc::TCGETS2, &mut value)?;
    Ok(value)
}

/// `TCSETS2`: takes effect at once, neither waits nor discards anything.
pub(crate) fn set_termios(fd: &impl AsRawFd, value: &Termios2) -> io::Result<()> {
    ioctl_struct(fd, libc::TCSETS2, &mut value.clone())
}

/// `TIOCMGET`: `TIOCM_*` bits. Fails with `ENOTTY` where there are no modem lines.
pub(crate) fn modem_bits(fd: &impl AsRawFd) -> io::Result<c_int> {
    let mut bits: c_int = 0;
    ioctl_struct(fd, libc::TIOCMGET, &mut bits)?;
    Ok(bits)
}

/// `TIOCMSET`: all output lines at once.
pub(crate) fn set_modem_bits(fd: &impl AsRawFd, bits: c_int) -> io::Result<()> {
    ioctl_struct(fd, libc::TIOCMSET, &mut { bits })
}

/// `TIOCSBRK` or `TIOCCBRK`.
pub(crate) fn set_break(fd: &impl AsRawFd, on: bool) -> io::Result<()> {
    ioctl_number(fd, if on { libc::TIOCSBRK } else { libc::TIOCCBRK }, 0)
}

/// `TIOCNXCL`: others may open the terminal (again).
pub(crate) fn share(fd: &impl AsRawFd) -> io::Result<()> {
    ioctl_number(fd, libc::TIOCNXCL, 0)
}

/// `TCFLSH` with `TCIFLUSH`, `TCOFLUSH` or `TCIOFLUSH`.
pub(crate) fn flush(fd: &impl AsRawFd, queue: c_int) -> io::Result<()> {
    ioctl_number(fd, libc::TCFLSH, c_ulong::from(queue.unsigned_abs()))
}

/// `TIOCSWINSZ`: the size of a terminal's window.
pub(crate) fn set_window(fd: &impl AsRawFd, columns: u16, rows: u16) -> io::Result<()> {
    let mut size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    ioctl_struct(fd, libc::TIOCSWINSZ, &mut size)
}

/// `TIOCOUTQ`: bytes that the driver has not yet sent.
pub(crate) fn out_queue(fd: &impl AsRawFd) -> io::Result<usize> {
    let mut count: c_int = 0;
    ioctl_struct(fd, libc::TIOCOUTQ, &mut count)?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// `SIOCOUTQ` of tcp(7): bytes that the peer of a TCP socket has not yet acknowledged.
pub(crate) fn unacknowledged(socket: &impl AsRawFd) -> io::Result<usize> {
    // the same number, which for a socket means this
    out_queue(socket)
}

/// `SIOCATMARK` of tcp(7): the next byte of a TCP socket that keeps urgent data in the stream is the
/// urgent one.
pub(crate) fn at_urgent_mark(socket: &impl AsRawFd) -> bool {
    /// From `asm-generic/sockios.h`; libc does not have it.
    const SIOCATMARK: libc::Ioctl = 0x8905;
    let mut at: c_int = 0;
    ioctl_struct(socket, SIOCATMARK, &mut at).is_ok() && at != 0
}

/// What the system knows of the peer of a TCP socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerInfo {
    /// Segments on their way that are not acknowledged.
    pub(crate) unacknowledged: u32,
    /// Probes of a closed window that had no answer.
    pub(crate) probes: u8,
    /// Time since anything was acknowledged, milliseconds.
    pub(crate) last_ack: u32,
}

/// `TCP_INFO` of tcp(7).
pub(crate) fn peer_info(socket: &impl AsRawFd) -> io::Result<PeerInfo> {
    // SAFETY: tcp_info is a plain structure of integers: all zeroes is one
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).map_err(io::Error::other)?;
    // SAFETY: the kernel writes at most `length` bytes to `info`, which is that long; the descriptor
    // is open as long as its owner, which is borrowed, lives
    done(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    })?;
    Ok(PeerInfo {
        unacknowledged: info.tcpi_unacked,
        probes: info.tcpi_probes,
        last_ack: info.tcpi_last_ack_recv,
    })
}

/// `TIOCSERGETLSR`: whether the transmitter's shift register and FIFO are empty as well; `None`
/// where the driver cannot tell.
pub(crate) fn transmitter_empty(fd: &impl AsRawFd) -> Option<bool> {
    const TIOCSER_TEMT: u32 = 1;
    let mut bits: u32 = 0;
    ioctl_struct(fd, libc::TIOCSERGETLSR, &mut bits).ok()?;
    Some(bits & TIOCSER_TEMT != 0)
}

/// `TIOCGICOUNT`. Fails with `ENOTTY` where the driver does not count.
pub(crate) fn counters(fd: &impl AsRawFd) -> io::Result<RawCounters> {
    let mut value = RawCounters::default();
    ioctl_struct(fd, libc::TIOCGICOUNT, &mut value)?;
    Ok(value)
}

/// `TIOCMIWAIT`: returns when CTS, DSR, RI or DCD has moved. It blocks whatever the flags of the file
/// say; `EINTR` when a signal came, `EIO` or `ENODEV` when the device is gone.
pub(crate) fn wait_for_edge(fd: &impl AsRawFd) -> io::Result<()> {
    let lines = libc::TIOCM_CTS | libc::TIOCM_DSR | libc::TIOCM_RI | libc::TIOCM_CD;
    ioctl_number(fd, libc::TIOCMIWAIT, c_ulong::from(lines.unsigned_abs()))
}

/// Has `signal` interrupt the system call of the thread that it is sent to, and do nothing else.
/// Without a handler of its own it would be ignored or end the program.
pub(crate) fn let_signal_interrupt(signal: Signal) -> io::Result<()> {
    extern "C" fn nothing(_: c_int) {}
    // SAFETY: sigaction is a plain structure, for which all zeroes are an empty mask and no flags:
    // without SA_RESTART calls are interrupted.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(c_int) as libc::sighandler_t;
    // SAFETY: `action` is valid, and its handler, which does nothing, may run at any moment.
    done(unsafe { libc::sigaction(signal as c_int, &raw const action, std::ptr::null_mut()) })
}

/// Switches `ASYNC_LOW_LATENCY` by `TIOCSSERIAL`: the driver hands over at once what it receives (an
/// FTDI adapter after 1 ms instead of 16).
///
/// # Errors
/// `ENOTTY` where there is no such setting, `EPERM` where it is not for us.
pub(crate) fn set_low_latency(fd: &impl AsRawFd, on: bool) -> io::Result<Latency> {
    /// From `linux/tty_flags.h`; libc does not have it.
    const ASYNC_LOW_LATENCY: c_int = 1 << 13;
    let mut serial = RawSerial::default();
    ioctl_struct(fd, libc::TIOCGSERIAL, &mut serial)?;
    if (serial.flags & ASYNC_LOW_LATENCY != 0) == on {
        return Ok(Latency::AlreadySo);
    }
    serial.flags ^= ASYNC_LOW_LATENCY;
    ioctl_struct(fd, libc::TIOCSSERIAL, &mut serial)?;
    ioctl_struct(fd, libc::TIOCGSERIAL, &mut serial)?;
    Ok(if (serial.flags & ASYNC_LOW_LATENCY != 0) == on { Latency::Changed } else { Latency::Ignored })
}

/// `TIOCGRS485`.
pub(crate) fn rs485(fd: &impl AsRawFd) -> io::Result<RawRs485> {
    let mut value = RawRs485::default();
    ioctl_struct(fd, libc::TIOCGRS485, &mut value)?;
    Ok(value)
}

/// `TIOCSRS485`. The kernel writes back what the driver made of it.
pub(crate) fn set_rs485(fd: &impl AsRawFd, value: &mut RawRs485) -> io::Result<()> {
    ioctl_struct(fd, libc::TIOCSRS485, value)
}

/// `flock(LOCK_EX | LOCK_NB)`; `WouldBlock` when another open file holds a lock.
pub(crate) fn flock_exclusive(fd: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: flock takes no pointers.
    done(unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) })
}

/// Hands an open, locked terminal to the serial port crate, which sets `TIOCEXCL` on the way and
/// clears it again when it closes the descriptor.
pub(crate) fn adopt(fd: OwnedFd) -> TTYPort {
    // SAFETY: `into_raw_fd` gives up the only ownership, which the port takes over.
    unsafe { TTYPort::from_raw_fd(fd.into_raw_fd()) }
}

/// Gives the port to the reactor of the current runtime, for reading.
pub(crate) fn watch_input(port: SerialStream) -> io::Result<AsyncFd<SerialStream>> {
    // SAFETY: a `SerialStream` owns one descriptor, which stays the same and open until it is
    // dropped; `AsyncFd` gives out no access by which it could be replaced while it is registered.
    let registered = unsafe { AsyncFd::register_with_interest(port, Interest::READABLE) };
    registered.map_err(|error| error.into_parts().1)
}

/// Opens another descriptor of the same open file.
pub(crate) fn duplicate(fd: &impl AsRawFd) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is open for as long as its owner is borrowed.
    unsafe { BorrowedFd::borrow_raw(fd.as_raw_fd()) }.try_clone_to_owned()
}

/// Opens another descriptor of the same open file and has the reactor watch it for room to write.
pub(crate) fn watch_room(fd: &impl AsRawFd) -> io::Result<AsyncFd<OwnedFd>> {
    let copy = duplicate(fd)?;
    // SAFETY: an `OwnedFd` owns one descriptor, which stays the same and open until it is dropped.
    let registered = unsafe { AsyncFd::register_with_interest(copy, Interest::WRITABLE) };
    registered.map_err(|error| error.into_parts().1)
}

/// Opens another descriptor of the same open file and has the reactor watch it for input, and so for
/// a hang-up.
pub(crate) fn watch_again(fd: &impl AsRawFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is open for as long as its owner is borrowed.
    let copy = unsafe { BorrowedFd::borrow_raw(fd.as_raw_fd()) }.try_clone_to_owned()?;
    // SAFETY: an `OwnedFd` owns one descriptor, which stays the same and open until it is dropped.
    let registered = unsafe { AsyncFd::register_with_interest(copy, Interest::READABLE) };
    registered.map_err(|error| error.into_parts().1)
}

/// A socket that hears of devices that come and go (`NETLINK_KOBJECT_UEVENT`, netlink(7)), from the
/// kernel itself, in the reactor of the current runtime.
pub(crate) fn uevents() -> io::Result<AsyncFd<Socket>> {
    const KERNEL: u32 = 1;
    let kind = Type::DGRAM.nonblocking().cloexec();
    let protocol = Protocol::from(libc::NETLINK_KOBJECT_UEVENT);
    let socket = Socket::new(Domain::from(libc::AF_NETLINK), kind, Some(protocol))?;
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_nl>()).map_err(io::Error::other)?;
    // SAFETY: the storage is longer than a `sockaddr_nl`, aligned for it, and zeroed, which is one.
    // What is written is that structure, and `size` says so.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, size| {
            let address = storage.cast::<libc::sockaddr_nl>();
            (*address).nl_family = libc::sa_family_t::try_from(libc::AF_NETLINK).map_err(io::Error::other)?;
            (*address).nl_groups = KERNEL;
            *size = length;
            Ok(())
        })
    }?;
    socket.bind(&address)?;
    // SAFETY: a `Socket` owns one descriptor, which stays the same and open until it is dropped.
    let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
    registered.map_err(|error| error.into_parts().1)
}

/// A timerfd(2) that a reactor can watch.
#[derive(Debug)]
pub(crate) struct ReactorTimer(TimerFd);

impl ReactorTimer {
    /// Registers a timer with the reactor of the current runtime.
    pub(crate) fn register(timer: TimerFd) -> io::Result<AsyncFd<Self>> {
        // SAFETY: a `TimerFd` owns one descriptor, which stays the same and open until it is
        // dropped, and nothing here replaces it while the reactor has it.
        let registered = unsafe { AsyncFd::register_with_interest(Self(timer), Interest::READABLE) };
        registered.map_err(|error| error.into_parts().1)
    }

    pub(crate) fn timer(&self) -> &TimerFd {
        &self.0
    }
}

impl AsRawFd for ReactorTimer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Gives an open, non-blocking file to the reactor of the current runtime, for both directions. An
/// error gives the file back: regular files and some devices cannot be watched (`EPERM`).
pub(crate) fn watch(file: OwnedFd) -> Result<AsyncFd<OwnedFd>, (OwnedFd, io::Error)> {
    // SAFETY: an `OwnedFd` owns one descriptor, which stays the same and open until it is dropped.
    let registered =
        unsafe { AsyncFd::register_with_interest(file, Interest::READABLE | Interest::WRITABLE) };
    registered.map_err(tokio::io::unix::AsyncFdRegisterError::into_parts)
}

/// Makes the program lead a new session on the terminal that is its standard input.
pub(crate) fn lead_session(command: &mut std::process::Command) {
    let lead = || {
        // SAFETY: setsid has no arguments.
        if unsafe { libc::setsid() } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the request takes a number.
        done(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0 as c_ulong) })
    };
    // SAFETY: between fork and exec `lead` makes two system calls, both async-signal-safe, and
    // allocates nothing.
    unsafe { command.pre_exec(lead) };
}

/// Lowers the priority of the calling thread by `by`, as nice(2) does; that of the others stays (setpriority(2),
/// "C library/kernel differences").
pub(crate) fn lower_priority(by: c_int) -> io::Result<()> {
    nix::errno::Errno::clear();
    // SAFETY: nice takes a number.
    match unsafe { libc::nice(by) } {
        // -1 is a nice value too
        -1 if nix::errno::Errno::last_raw() != 0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Unmaps the pages of code of the program or a library, until they are used again.
pub(crate) fn unmap_code(range: std::ops::Range<usize>) -> io::Result<()> {
    // SAFETY: the caller names a mapping of program or library, which stays as long as the program
    // runs, that cannot be written to and has no page of its own: what is read there next is read
    // from the file again, unchanged.
    done(unsafe { libc::madvise(range.start as *mut libc::c_void, range.len(), libc::MADV_DONTNEED) })
}
