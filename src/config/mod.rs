//! The configuration: two front ends (legacy lines, YAML) that meet in [`raw`], and one model.
//!
//! text → [`raw::RawFile`] (every piece with its [`error::Span`]) → `resolve` → [`Config`].
//! A [`Config`] is valid: what is in it can be run as it is.

pub mod address;
pub mod announce;
pub mod connector;
pub mod convert;
pub mod error;
pub mod explain;
pub mod files;
pub mod gensio;
mod legacy;
mod listen;
pub mod load;
pub mod options;
pub mod raw;
pub mod render;
pub mod resolve;
pub mod suggest;
mod tap;
pub mod values;
pub mod yaml;

use announce::Announce;
pub use connector::Connector;
use ipnet::IpNet;
pub use listen::{
    Accepter, ClientFilters, Dial, Family, Listen, ListenAddress, StdioListen, TcpListen, TelnetOptions,
    TlsOptions, UdpListen, UnixListen, Wrap,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
pub use tap::{LED_CLASS, LED_DURATION_MS, Led, TraceFile, Traces};

/// All that the program runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The connections, in the order of the file; names are unique.
    pub connections: Vec<Arc<Connection>>,
    /// The rotators, in the order of the file; names are unique among them.
    pub rotators: Vec<Arc<Rotator>>,
    /// The admin port; `None`: there is none.
    pub admin: Option<Arc<Admin>>,
    /// Where health is served; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
    /// The LEDs that connections can use; names are unique.
    pub leds: Vec<Arc<Led>>,
}

/// One accepter joined to one connector. It is shared by all that need it, and so are its texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Name: YAML anchor or key, or the port text of a legacy line. Logs and metrics use it.
    pub name: Arc<str>,
    /// `enable:` / legacy state other than `off`.
    pub enabled: bool,
    /// What listens.
    pub accepter: Accepter,
    /// What is opened for the first client.
    pub connector: Connector,
    /// An idle client is closed after this time; `None`: never.
    pub timeout: Option<Duration>,
    /// Everything else. Connections with equal options share them.
    pub options: Arc<Options>,
}

/// One accepter that leads to whichever of several connections is free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotator {
    /// Name: YAML anchor or key, or `rotator-` and the port text of a legacy line.
    pub name: Arc<str>,
    /// What listens. Clients keep its filters when they are given to a connection.
    pub accepter: Accepter,
    /// Names of the connections, in the order in which they are tried. One that is not there (or
    /// switched off) is passed over.
    pub members: Vec<Arc<str>>,
    /// Those of [`Options`] that limit and care for clients on their way in; the options of the
    /// member hold for the rest.
    pub options: Options,
}

/// Where administrators come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// What listens.
    pub accepter: Accepter,
    /// Who may connect, as networks; `None`: everybody.
    pub allow: Option<Vec<IpNet>>,
}

/// Options of a connection, all with their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// A new client throws out an old one when the port is full.
    pub kickolduser: bool,
    /// Most clients at a time, at least 1.
    pub max_connections: usize,
    /// Text for a new client, with escapes.
    pub banner: Option<Template>,
    /// Text for the device when it is opened.
    pub openstr: Option<Template>,
    /// Text for the device before it is closed.
    pub closestr: Option<Template>,
    /// The device sending these bytes closes all clients.
    pub closeon: Option<Template>,
    /// The device sending these bytes ends a batch (`sendon`).
    pub sendon: Option<Template>,
    /// RFC 2217 signature; `None`: the default one.
    pub signature: Option<Template>,
    /// Gather bytes of the device for a short time.
    pub chardelay: CharDelay,
    /// Characters to wait for, in tenths.
    pub chardelay_scale: u32,
    /// Shortest wait, microseconds.
    pub chardelay_min: u32,
    /// Longest wait, microseconds.
    pub chardelay_max: u32,
    /// Bytes gathered or read from the device at a time.
    pub dev_to_net_bufsize: usize,
    /// Bytes taken from a client at a time.
    pub net_to_dev_bufsize: usize,
    /// Nothing goes from the device to clients.
    pub no_con_to_acc: bool,
    /// Nothing goes from clients to the device.
    pub no_acc_to_con: bool,
    /// Who may connect (`remaddr`); empty: everybody.
    pub remaddr: Vec<RemoteRule>,
    /// Who may connect (serbroker's `allow`), as networks; `None`: everybody.
    pub allow: Option<Vec<IpNet>>,
    /// Wait between attempts to listen.
    pub accepter_retry: Duration,
    /// Send the reason as text to a client that is refused.
    pub refusal_text: bool,
    /// Announced by mDNS; `None`: not.
    pub announce: Option<Box<Announce>>,
    /// Wait between attempts to open a device that no client waits for.
    pub connector_retry: Duration,
    /// Addresses that are connected to when the device sends something.
    pub connback: Vec<ConnectBack>,
    /// Idle time after which a connection made by `connback` is closed; `None`: as all others.
    pub connback_timeout: Option<Duration>,
    /// A telnet synch sends a break.
    pub brk_on_sync: bool,
    /// DTR waits for RTS, so that both change at once.
    pub dtr_with_rts: bool,
    /// A client does not count as idle while bytes for it wait in the system.
    pub timeout_on_os_queue: bool,
    /// What is done about a client that reads too slowly.
    pub slow_client: SlowClient,
    /// Bytes that are kept for such a client.
    pub slow_client_limit: usize,
    /// How silent clients are asked whether they are still there; `None`: they are not.
    pub keepalive: Option<Keepalive>,
    /// A client that does not acknowledge what was sent for so long is taken for dead.
    pub user_timeout: Option<Duration>,
    /// Trace files.
    pub traces: Traces,
    /// Flashes when the device is written to.
    pub led_tx: Option<Arc<Led>>,
    /// Flashes when the device sends.
    pub led_rx: Option<Arc<Led>>,
    /// What is done about a device that comes and goes; `None`: as [`Cable::default`] says.
    pub cable: Option<Box<Cable>>,
}

/// What is done about a device that comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cable {
    /// Clients stay while the device is away (`on-device-loss: hold`).
    pub holds: bool,
    /// For how long they do.
    pub hold_time: Duration,
    /// The device is open without clients too (`device-open: always`).
    pub keeps_open: bool,
}

impl Default for Cable {
    fn default() -> Self {
        Self { holds: false, hold_time: Duration::from_secs(30), keeps_open: false }
    }
}

/// What is done about a client that takes less than the device sends (`slow-client`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlowClient {
    /// The device waits for it, and so do all others, as with ser2net.
    Backpressure,
    /// It loses what it did not read in time, the oldest bytes first.
    DropOldest,
    /// It is closed when others would have to wait for it.
    #[default]
    Disconnect,
}

impl std::fmt::Display for SlowClient {
    /// As one would write it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Backpressure => "backpressure",
            Self::DropOldest => "drop-oldest",
            Self::Disconnect => "disconnect",
        })
    }
}

/// TCP keepalive of a client (tcp(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Seconds of silence before the first probe (`TCP_KEEPIDLE`).
    pub idle: u32,
    /// Seconds between probes (`TCP_KEEPINTVL`).
    pub interval: u32,
    /// Probes without an answer after which the client is given up (`TCP_KEEPCNT`).
    pub count: u32,
}

impl std::fmt::Display for Keepalive {
    /// As one would write it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { idle, interval, count } = self;
        write!(f, "{idle}/{interval}/{count}")
    }
}

/// An address that is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectBack {
    /// Telnet on the stream; this end is the one with the serial line, as on an accepter.
    pub telnet: bool,
    /// What is below that.
    pub to: Destination,
}

/// What is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A TCP service.
    Tcp {
        /// Address family of names.
        family: Family,
        /// Host name or address.
        host: Arc<str>,
        /// Port, not 0.
        port: u16,
    },
    /// UDP, a Unix socket, or something with filters such as TLS.
    Other(Arc<Dial>),
}

impl std::fmt::Display for ConnectBack {
    /// As one would write it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { telnet, to } = self;
        let telnet = if *telnet { "telnet," } else { "" };
        let (family, host, port) = match to {
            Destination::Tcp { family, host, port } => (family, host, port),
            Destination::Other(dial) => return write!(f, "{telnet}{}", dial.connector.text),
        };
        let family = match family {
            Family::Any => "",
            Family::V4 => "ipv4,",
            Family::V6 => "ipv6,",
            Family::V6Mapped => "ipv6n4,",
        };
        write!(f, "{telnet}tcp,{family}{host},{port}")
    }
}

/// Whether bytes of the device are gathered before they are sent (`chardelay`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CharDelay {
    /// Never.
    Off,
    /// Always, as ser2net does.
    #[default]
    On,
    /// All but those that come first after a pause or after a client spoke.
    Adaptive,
}

impl std::fmt::Display for CharDelay {
    /// As one would write it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Off => "false",
            Self::On => "true",
            Self::Adaptive => "adaptive",
        })
    }
}

/// One address of `remaddr`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteRule {
    /// `!`: clients that match are refused.
    pub negate: bool,
    /// Network, or one address as /32 or /128.
    pub net: IpNet,
    /// Source port; `None`: any.
    pub port: Option<u16>,
}

/// A string with `\` escapes that are filled in when it is used (`port::template`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(pub Vec<u8>);
