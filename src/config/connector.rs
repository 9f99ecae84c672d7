//! What a port opens for its clients: a target, and filters on the way to it.

use super::{Family, TelnetOptions};
use crate::serial::settings::{DeviceConfig, LineSettings};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connector {
    /// As written (after substitution); `\d` in strings, and equal texts share a device.
    pub text: Arc<str>,
    /// Filters, outermost (nearest to the clients) first.
    pub filters: Vec<Filter>,
    /// What is at the bottom.
    pub target: Target,
}

impl Connector {
    /// A serial device.
    pub fn serial(text: impl Into<Arc<str>>, device: DeviceConfig) -> Self {
        Self { text: text.into(), filters: Vec::new(), target: Target::Serial(device) }
    }

    /// The serial device, if it is one.
    pub fn device(&self) -> Option<&DeviceConfig> {
        match &self.target {
            Target::Serial(device) => Some(device),
            _ => None,
        }
    }

    /// The serial device, if it is one, to be changed.
    pub fn device_mut(&mut self) -> Option<&mut DeviceConfig> {
        match &mut self.target {
            Target::Serial(device) => Some(device),
            _ => None,
        }
    }

    /// Line settings before it is open. Without a line they are 9600N81, which ser2net takes for
    /// the speed of such a connector when it gathers bytes (`chardelay`).
    pub fn line(&self) -> LineSettings {
        self.device().map_or_else(LineSettings::default, |device| device.line)
    }

    /// What ser2net calls the far end (`\I`): `ipv4,192.0.2.1,23` where an address is written, nothing
    /// for a serial device, the text itself for anything else.
    pub fn remote_text(&self) -> String {
        let remote = match &self.target {
            Target::Serial(_) => return String::new(),
            Target::Tcp(tcp) => tcp.remotes.first(),
            Target::Udp(udp) => Some(&udp.remote),
            _ => None,
        };
        let address = remote.and_then(|remote| Some((remote.host.parse::<IpAddr>().ok()?, remote.port)));
        match address {
            Some((IpAddr::V4(ip), port)) => format!("ipv4,{ip},{port}"),
            Some((IpAddr::V6(ip), port)) => format!("ipv6,{ip},{port}"),
            None => self.text.to_string(),
        }
    }

    /// The longest pause that the filters make on purpose.
    pub fn pause(&self) -> Duration {
        let pause = |filter: &Filter| match filter {
            Filter::RateLimit(RateLimit { length: _, delay }) => *delay,
            _ => Duration::ZERO,
        };
        self.filters.iter().map(pause).max().unwrap_or_default()
    }

    /// What status and logs call it: the path of a serial device, the whole text of anything else.
    pub fn label(&self) -> &Arc<str> {
        self.device().map_or(&self.text, |device| &device.path)
    }
}

/// What is at the bottom of a connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A serial port.
    Serial(DeviceConfig),
    /// A device node that is no terminal.
    Dev(DevNode),
    /// A TCP service.
    Tcp(TcpConnect),
    /// Datagrams, each of which is a piece of the stream.
    Udp(UdpConnect),
    /// A Unix stream socket.
    Unix(PathBuf),
    /// A pseudo-terminal, for another program to open or with a program on it.
    Pty(Pty),
    /// A program, by its standard input and output.
    Program(Program),
    /// What is sent comes back.
    Echo(Echo),
    /// Files that are read and written.
    File(FilePair),
}

/// A filter of a connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The client's end of telnet.
    Telnet(TelnetOptions),
    /// The client's end of TLS.
    Tls(TlsClient),
    /// What is below is opened again when it ends, and clients stay.
    KeepOpen(KeepOpen),
    /// A pause after each piece that is written.
    RateLimit(RateLimit),
    /// Messages with marks around them.
    MsgDelim(MsgDelim),
    /// Copies to a file.
    Trace(TraceTap),
}

/// One end of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Address family.
    pub family: Family,
    /// Host name or address.
    pub host: Arc<str>,
    /// Port number.
    pub port: u16,
}

/// A TCP service to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpConnect {
    /// Tried one after the other; never empty.
    pub remotes: Vec<Remote>,
    /// Address to connect from.
    pub local: Option<Local>,
    /// `TCP_NODELAY`.
    pub nodelay: bool,
}

/// An address of this machine; without a host any address of the family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Address family.
    pub family: Family,
    /// Address; `None`: any.
    pub host: Option<Arc<str>>,
    /// Port number; 0: any.
    pub port: u16,
}

/// A UDP peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpConnect {
    /// Where datagrams go.
    pub remote: Remote,
    /// Address to send from and to receive on.
    pub local: Option<Local>,
    /// Groups to join.
    pub groups: Vec<IpAddr>,
    /// Hops that multicast datagrams may make.
    pub ttl: u8,
    /// Multicast datagrams come back to this machine.
    pub loopback: bool,
    /// Takes datagrams of everybody, not of the peer alone.
    pub from_all: bool,
    /// `SO_REUSEADDR`.
    pub reuseaddr: bool,
}

/// A device node that is no terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevNode {
    /// Its path.
    pub path: PathBuf,
    /// It is read.
    pub reads: bool,
    /// It is written to.
    pub writes: bool,
}

/// A pseudo-terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pty {
    /// A symbolic link to it.
    pub link: Option<PathBuf>,
    /// What stands in the place of the link goes.
    pub force_link: bool,
    /// Raw from the start: no echo, no line editing.
    pub raw: bool,
    /// Its mode, before the umask; `None`: as the system makes it.
    pub mode: Option<u32>,
    /// User that it is given to.
    pub owner: Option<Arc<str>>,
    /// Group that it is given to.
    pub group: Option<Arc<str>>,
    /// Runs on it.
    pub command: Option<CommandLine>,
}

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// Program first; never empty. On a pseudo-terminal a `-` in front of it makes a login shell.
    pub arguments: Vec<String>,
    /// Directory to start in; `None`: ours.
    pub directory: Option<PathBuf>,
}

/// A program that is talked to by its standard input and output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// What is run.
    pub command: CommandLine,
    /// What becomes of its error output.
    pub errors: ErrorOutput,
}

/// Where the error output of a program goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorOutput {
    /// Line by line into the log.
    #[default]
    Log,
    /// Where ours goes.
    Inherit,
    /// To the clients, with its output.
    Output,
}

/// Something that answers with what it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo {
    /// It does; otherwise it takes everything and says nothing.
    pub echoes: bool,
    /// Said first. With nothing to echo, the end follows.
    pub data: Option<Arc<str>>,
}

/// Files that are read and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePair {
    /// Read from the start at each opening.
    pub input: Option<PathBuf>,
    /// Written from the start at each opening; what is longer in it stays.
    pub output: Option<PathBuf>,
    /// The end of the input is the end of the connection.
    pub ends: bool,
    /// The output is made if there is none.
    pub create: bool,
    /// Mode of an output that is made, before the umask; `None`: as the system makes it.
    pub mode: Option<u32>,
}

/// The client's end of TLS. Names in certificates are not looked at, as gensio(5) says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsClient {
    /// PEM file with authorities, or a directory of such files; there is one unless `unverified`.
    pub ca: Option<PathBuf>,
    /// PEM files with our certificate chain and its key, for servers that want one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The server's certificate need not be valid.
    pub unverified: bool,
}

/// Opens again what has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepOpen {
    /// Time between attempts.
    pub retry: Duration,
    /// Bytes for something that is not open are thrown away instead of kept waiting.
    pub discards: bool,
}

/// A pause after each piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Most bytes in a piece, at least 1.
    pub length: usize,
    /// The pause.
    pub delay: Duration,
}

/// Messages with marks around them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MsgDelim {
    /// A checksum stands at their end.
    pub crc: bool,
}

/// Directions of a trace filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directions {
    /// From the target to the clients.
    pub read: bool,
    /// From the clients to the target.
    pub write: bool,
}

/// Where a trace filter writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceFile {
    /// A file.
    Path(PathBuf),
    /// Standard error output.
    Stderr,
    /// Standard output.
    Stdout,
}

/// Copies of what passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceTap {
    /// What is copied.
    pub copies: Directions,
    /// What is thrown away.
    pub blocks: Directions,
    /// The bytes alone, without times and columns.
    pub raw: bool,
    /// Where to; `None`: nowhere.
    pub file: Option<TraceFile>,
    /// The file is emptied first.
    pub empties: bool,
}
