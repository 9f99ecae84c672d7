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
    Accepter, Family, Listen, ListenAddress, StdioListen, TcpListen, TelnetOptions, TlsOptions, UdpListen,
    UnixListen, Wrap,
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
    /// Everything else.
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
    /// Trace files.
    pub traces: Traces,
    /// Flashes when the device is written to.
    pub led_tx: Option<Arc<Led>>,
    /// Flashes when the device sends.
    pub led_rx: Option<Arc<Led>>,
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
