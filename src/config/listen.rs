//! The model of accepters: what listens, and the filters on top of it.

use super::connector::{Connector, Filter};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What listens: filters on top of a transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepter {
    /// As written (after substitution); `\p` in strings.
    pub text: Arc<str>,
    /// Telnet on the stream, outermost.
    pub telnet: Option<TelnetOptions>,
    /// TLS below telnet; only on top of [`Listen::Tcp`] and [`Listen::Unix`].
    pub tls: Option<Box<TlsOptions>>,
    /// Filters that only few have.
    pub filters: Option<Box<ClientFilters>>,
    /// The transport.
    pub listen: Arc<Listen>,
}

/// Filters on the streams of clients (`trace`, `ratelimit`, `msgdelim`), outermost first. TLS is below
/// all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFilters {
    /// What sees data without telnet; `trace` only, and empty where there is no telnet.
    pub above: Vec<Filter>,
    /// What sees all that goes over the wire, or through TLS.
    pub below: Vec<Filter>,
}

/// Options of the telnet filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TelnetOptions {
    /// Offer and obey RFC 2217; for the client's end: ask for it.
    pub rfc2217: bool,
    /// Be the client's end in an accepter: offer nothing, answer what the far end asks for.
    pub client: bool,
    /// Ask for the size of the client's window (RFC 1073).
    pub winsize: bool,
}

/// Options of the `ssl` filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// PEM file with the private key.
    pub key: PathBuf,
    /// PEM file with the certificate chain.
    pub cert: PathBuf,
    /// PEM file (or directory) of authorities that client certificates are checked against.
    pub ca: Option<PathBuf>,
    /// A client certificate is asked for and must verify.
    pub client_auth: bool,
}

/// The transport of an accepter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// TCP sockets.
    Tcp(TcpListen),
    /// UDP sockets; every address that sends is a client.
    Udp(UdpListen),
    /// A Unix domain socket.
    Unix(UnixListen),
    /// The program's standard input and output are the only client.
    Stdio(StdioListen),
    /// What is connected to is the only client.
    Dial(Arc<Dial>),
    /// Nothing: no client ever comes.
    Dummy,
}

impl Listen {
    /// The addresses of IP transports; empty for others.
    pub fn addresses(&self) -> &[ListenAddress] {
        match self {
            Self::Tcp(tcp) => &tcp.addresses,
            Self::Udp(udp) => &udp.addresses,
            Self::Unix(_) | Self::Stdio(_) | Self::Dial(_) | Self::Dummy => &[],
        }
    }
}

/// Which address family a listener uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// Both; without a host one dual-stack socket.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// IPv6 socket that also takes IPv4 (`ipv6n4`).
    V6Mapped,
}

/// A place to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// Address family.
    pub family: Family,
    /// Host name or address; `None`: all.
    pub host: Option<Arc<str>>,
    /// Port number; 0 lets the kernel choose, one port for all addresses of the accepter.
    pub port: u16,
}

/// TCP listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpListen {
    /// Where; never empty.
    pub addresses: Box<[ListenAddress]>,
    /// `TCP_NODELAY` on accepted sockets; ser2net always sets it.
    pub nodelay: bool,
    /// `SO_REUSEADDR` on the listener.
    pub reuseaddr: bool,
    /// Whether the files of hosts_access(5) are asked.
    pub wrap: Wrap,
    /// Name of the program in the files of hosts_access(5).
    pub wrap_name: Arc<str>,
}

/// What the files of hosts_access(5) have to say about a client (`tcpd`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wrap {
    /// Clients that they do not let in are closed.
    On,
    /// The same, after a line that says why.
    #[default]
    Print,
    /// They are not asked.
    Off,
}

impl std::fmt::Display for Wrap {
    /// As one would write it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Print => "print",
            Self::Off => "off",
        })
    }
}

/// UDP listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpListen {
    /// Where; never empty.
    pub addresses: Box<[ListenAddress]>,
    /// `SO_REUSEADDR` on the sockets.
    pub reuseaddr: bool,
}

/// A Unix domain socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixListen {
    /// Path of the socket file.
    pub path: Arc<str>,
    /// A socket file that is already there is removed first.
    pub delsock: bool,
    /// Permissions of the socket file, nine bits; `None`: those that the umask leaves.
    pub mode: Option<u32>,
    /// Owner of the socket file: a name or a number.
    pub owner: Option<Arc<str>>,
    /// Group of the socket file: a name or a number.
    pub group: Option<Arc<str>>,
}

/// A connector whose connection is the client, made again whenever it has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// Name of the connection, for logs.
    pub owner: Arc<str>,
    /// What is connected to.
    pub connector: Connector,
    /// Wait before it is connected again; `None`: none after a connection that lasted, else a
    /// growing one.
    pub retry: Option<Duration>,
}

/// Standard input and output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StdioListen {
    /// A terminal is put into raw mode: every character goes through as it is typed.
    pub raw: bool,
}
