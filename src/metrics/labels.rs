//! The values that labels can take. Every one is an enum, so that no client, device or config text
//! can make the number of series grow.

use nix::errno::Errno;
use serde::{Serialize, Serializer};
use std::{fmt, io};

/// Declares an enum together with the text of each value.
macro_rules! labels {
    ($(#[$meta:meta])* $name:ident { $($(#[$value_meta:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$value_meta])* $value,)+ }

        impl $name {
            /// Every value, in the order of the discriminants.
            pub const ALL: &'static [Self] = &[$(Self::$value,)+];

            /// The text in metrics, JSON and logs.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$value => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl Label for $name {
            const VALUES: &'static [Self] = Self::ALL;
            const TEXTS: &'static [&'static str] = &[$($text,)+];
            fn index(self) -> usize { self as usize }
        }
    };
}

/// What counters that stand in an array need to know of a label.
pub(super) trait Label: Copy + 'static {
    /// Every value, so that `VALUES[v.index()] == v`.
    const VALUES: &'static [Self];
    /// The texts of [`Label::VALUES`], in the same order.
    const TEXTS: &'static [&'static str];
    /// Position in [`Label::VALUES`].
    fn index(self) -> usize;
}

labels! {
    /// Where bytes went, at both edges of the broker. The four differ by what is dropped, by
    /// fan-out to several clients and by telnet (client bytes are those on the wire inside TLS).
    Direction {
        /// Read from the device.
        FromDevice = "from_device",
        /// Written to the device.
        ToDevice = "to_device",
        /// Received from clients.
        FromClients = "from_clients",
        /// Sent to clients, each copy counted.
        ToClients = "to_clients",
    }
}

labels! {
    /// What the port is doing with its device.
    PortState {
        /// The connection is switched off in the configuration.
        Disabled = "disabled",
        /// No client, so the device is not open. Says nothing about its health.
        Closed = "closed",
        /// The device is being opened, or its first bytes (`openstr`) are being sent.
        Opening = "opening",
        /// Open and moving data.
        Open = "open",
        /// The device is being drained and closed.
        Closing = "closing",
        /// The last open failed or the device went away, and it has not been opened since.
        Failed = "failed",
    }
}

labels! {
    /// Why a client was turned away.
    Refusal {
        /// The port has all the clients that it may have.
        PortBusy = "port_busy",
        /// It and another client have been throwing each other out (`kickolduser`).
        HeldOff = "held_off",
        /// Another connection has the device.
        DeviceBusy = "device_busy",
        /// The address is not among those allowed.
        NotAllowed = "not_allowed",
        /// The files of hosts_access(5) do not let it in.
        Wrapped = "hosts_access",
        /// The TLS handshake failed or took too long.
        Tls = "tls",
        /// A filter of the accepter cannot be: its trace file cannot be opened.
        Filter = "filter",
        /// The port is being closed or replaced.
        Closing = "closing",
    }
}

labels! {
    /// Why a client that had been let in is gone.
    CloseReason {
        /// The client closed its side.
        Peer = "peer",
        /// The client reset the connection.
        PeerReset = "peer_reset",
        /// The client did not answer any more (keepalive).
        PeerTimeout = "peer_timeout",
        /// Another error of the socket.
        PeerError = "peer_error",
        /// Thrown out for a newer client (`kickolduser`).
        Kicked = "kicked",
        /// Nothing was sent or received for the connection's timeout.
        Idle = "idle",
        /// The device sent the `closeon` text.
        CloseOn = "closeon",
        /// The device could not be opened.
        OpenFailed = "open_failed",
        /// The device went away.
        DeviceLost = "device_lost",
        /// The configuration of the port changed, or has no such port any more.
        Reloaded = "reloaded",
        /// The connection was switched off in the configuration.
        Disabled = "disabled",
        /// The broker stops.
        Shutdown = "shutdown",
        /// The client read so slowly that it stood in the way of others.
        SlowReader = "slow_reader",
        /// The admin port asked for it.
        Admin = "admin",
    }
}

impl CloseReason {
    /// The reason as a phrase for the log.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Peer => "closed by the client",
            Self::PeerReset => "reset by the client",
            Self::PeerTimeout => "the client does not answer",
            Self::PeerError => "error on the socket",
            Self::Kicked => "a newer client took over",
            Self::Idle => "idle for the timeout",
            Self::CloseOn => "the device sent the closeon string",
            Self::OpenFailed => "the device could not be opened",
            Self::DeviceLost => "the device is gone",
            Self::Reloaded => "the configuration changed",
            Self::Disabled => "switched off in the configuration",
            Self::Shutdown => "the program ends",
            Self::Admin => "closed from the admin port",
            Self::SlowReader => "read too slowly while other clients kept up",
        }
    }
}

labels! {
    /// Why a rotator turned a client away.
    RotatorRefusal {
        /// Every connection has a client, or cannot have its device.
        NoFreePort = "no_free_port",
        /// The client's address is not let in.
        NotAllowed = "not_allowed",
        /// The TLS handshake failed.
        Tls = "tls",
        /// A filter of the accepter cannot be: its trace file cannot be opened.
        Filter = "filter",
    }
}

labels! {
    /// Why a device could not be opened, or why it was lost.
    DeviceFailure {
        /// There is no such device node, or no hardware behind it.
        Missing = "missing",
        /// The permissions of the node do not let us in.
        Permission = "permission",
        /// The device node is there, but the kernel has no such device (any more).
        Stale = "stale",
        /// More than one device is what was asked for.
        Ambiguous = "ambiguous",
        /// Another connection or program has it.
        Busy = "busy",
        /// It is not a terminal.
        NotATty = "not_a_tty",
        /// It refuses the line settings.
        Settings = "settings",
        /// It was open and went away.
        Lost = "lost",
        /// Anything else.
        Other = "other",
    }
}

impl DeviceFailure {
    /// The reason that stands behind an error of opening a device.
    pub fn of_open(error: &io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOENT | Errno::ENXIO | Errno::ENODEV | Errno::ENOTDIR | Errno::ELOOP) => {
                Self::Missing
            }
            Some(Errno::EACCES | Errno::EPERM | Errno::EROFS) => Self::Permission,
            Some(Errno::EBUSY | Errno::EAGAIN) => Self::Busy,
            Some(Errno::ENOTTY | Errno::EISDIR) => Self::NotATty,
            Some(Errno::EINVAL | Errno::ERANGE | Errno::EOPNOTSUPP) => Self::Settings,
            Some(_) => Self::Other,
            None => match error.kind() {
                io::ErrorKind::NotFound => Self::Missing,
                io::ErrorKind::PermissionDenied => Self::Permission,
                io::ErrorKind::ResourceBusy | io::ErrorKind::WouldBlock => Self::Busy,
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => Self::Settings,
                _ => Self::Other,
            },
        }
    }
}

labels! {
    /// Which way dropped bytes were going.
    DropDirection {
        /// From a client.
        ToDevice = "to_device",
        /// From the device.
        ToClients = "to_clients",
    }
}

labels! {
    /// Why bytes did not arrive.
    DropReason {
        /// A client did not read them in time.
        SlowReader = "slow_reader",
        /// The device did not take them before it was closed or lost.
        DeviceClosed = "device_closed",
        /// A client asked for its buffers to be purged.
        Purged = "purged",
        /// The connection moves data one way only.
        OneWay = "one_way",
        /// A client did not read them in time, and newer ones took their place.
        DropOldest = "drop_oldest",
        /// Nobody was connected that they could be kept for.
        NoClient = "no_client",
        /// A client was closed before it got them.
        ClientClosed = "client_closed",
        /// The admin port's monitor did not keep up; clients and device got them.
        Monitor = "monitor",
        /// Datagrams came faster than they could be taken.
        Overrun = "overrun",
        /// The device was away, and clients stayed all the same (`on-device-loss: hold`).
        DeviceAway = "device_away",
        /// The device sent them while it was open without clients (`device-open: always`).
        Unheard = "unheard",
    }
}

labels! {
    /// Why bytes are missing in trace files.
    TraceDrop {
        /// The files are written more slowly than data comes.
        QueueFull = "queue_full",
        /// A file could not be opened or written.
        WriteFailed = "write_failed",
    }
}

labels! {
    /// What the UART counted (`TIOCGICOUNT`).
    SerialError {
        /// The UART's own buffer ran over.
        Overrun = "overrun",
        /// A stop bit was missing.
        Frame = "frame",
        /// The parity bit was wrong.
        Parity = "parity",
        /// A break was received.
        Break = "break",
        /// The kernel's buffer ran over.
        BufferOverrun = "buffer_overrun",
    }
}

labels! {
    /// How a reading of the configuration ended.
    ReloadOutcome {
        /// The new configuration is in force.
        Applied = "applied",
        /// It could not be read; the old one stays.
        Rejected = "rejected",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consistent<L: Label + fmt::Debug + fmt::Display>() {
        assert_eq!(L::VALUES.len(), L::TEXTS.len());
        for (position, value) in L::VALUES.iter().enumerate() {
            assert_eq!(value.index(), position, "{value:?}");
            let text = L::TEXTS[position];
            assert_eq!(value.to_string(), text);
            // nothing that the Prometheus text format would want escaped
            assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{value:?}");
        }
    }

    #[test]
    fn index_is_position() {
        consistent::<Direction>();
        consistent::<PortState>();
        consistent::<Refusal>();
        consistent::<RotatorRefusal>();
        consistent::<CloseReason>();
        consistent::<DeviceFailure>();
        consistent::<DropDirection>();
        consistent::<DropReason>();
        consistent::<TraceDrop>();
        consistent::<SerialError>();
        consistent::<ReloadOutcome>();
    }

    #[test]
    fn errors_of_open_are_classified() {
        let of = |errno: Errno| DeviceFailure::of_open(&io::Error::from_raw_os_error(errno as i32));
        assert_eq!(of(Errno::ENOENT), DeviceFailure::Missing);
        assert_eq!(of(Errno::EACCES), DeviceFailure::Permission);
        assert_eq!(of(Errno::EBUSY), DeviceFailure::Busy);
        assert_eq!(of(Errno::ENOTTY), DeviceFailure::NotATty);
        assert_eq!(of(Errno::EIO), DeviceFailure::Other);
        let plain = io::Error::new(io::ErrorKind::NotFound, "gone");
        assert_eq!(DeviceFailure::of_open(&plain), DeviceFailure::Missing);
    }
}
