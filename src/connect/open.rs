//! Opening a connector with its filters.

use super::delim::Delimited;
use super::echo::Echoing;
use super::file::Files;
use super::keep::Kept;
use super::node::Node;
use super::pump::{self, Pump};
use super::rate::Limited;
use super::serial::Line;
use super::telnet::Telnet;
use super::trace::Traced;
use super::udp::Datagrams;
use super::{Channel, ConnectError, program, pty, tls};
use crate::config::connector::{Filter, Remote, Target};
use crate::config::{Connection, Connector, Dial, Family};
use crate::metrics::DeviceFailure;
use crate::net::names::Names;
use crate::opening;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

/// A connector on its way to being open. Dropping it gives the attempt up.
pub type Opening = Pin<Box<dyn Future<Output = Result<Box<dyn Channel>, ConnectError>> + Send>>;

/// What is needed to open a connector, again and again if need be.
#[derive(Clone)]
pub struct Stack {
    whose: Whose,
    names: Arc<Names>,
}

/// Where the connector stands.
#[derive(Clone)]
enum Whose {
    /// It is that of a connection.
    Connection(Arc<Connection>),
    /// It is what an accepter connects to.
    Accepter(Arc<Dial>),
    /// It stands alone; the name is for logs.
    Nobody(Arc<(Arc<str>, Connector)>),
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stack").field(self.text()).finish()
    }
}

impl Stack {
    /// The connector of `connection`; host names are looked up by `names`.
    pub fn new(connection: Arc<Connection>, names: Arc<Names>) -> Self {
        Self { whose: Whose::Connection(connection), names }
    }

    /// What an accepter connects to.
    pub fn dial(dial: Arc<Dial>, names: Arc<Names>) -> Self {
        Self { whose: Whose::Accepter(dial), names }
    }

    /// A connector that no port has, with a name for logs.
    pub fn alone(name: Arc<str>, connector: Connector) -> Self {
        Self { whose: Whose::Nobody(Arc::new((name, connector))), names: Arc::default() }
    }

    /// Nobody watches the far end but this stack, so that it has to notice a dead one by itself.
    pub(super) fn is_alone(&self) -> bool {
        matches!(self.whose, Whose::Nobody(_))
    }

    fn connector(&self) -> &Connector {
        match &self.whose {
            Whose::Connection(connection) => &connection.connector,
            Whose::Accepter(dial) => &dial.connector,
            Whose::Nobody(both) => &both.1,
        }
    }

    /// Its name, for logs.
    pub fn name(&self) -> &str {
        self.port()
    }

    /// Name of the port, for logs.
    pub(super) fn port(&self) -> &Arc<str> {
        match &self.whose {
            Whose::Connection(connection) => &connection.name,
            Whose::Accepter(dial) => &dial.owner,
            Whose::Nobody(both) => &both.0,
        }
    }

    /// The connector as written.
    pub(super) fn text(&self) -> &Arc<str> {
        &self.connector().text
    }

    pub(super) fn target(&self) -> &Target {
        &self.connector().target
    }

    /// The addresses of a remote end, in the order in which they are to be tried.
    pub(super) async fn addresses(&self, remote: &Remote) -> Result<Vec<SocketAddr>, ConnectError> {
        let found = match remote.host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, 0)],
            Err(_) => match self.names.find(&remote.host).await {
                Ok(list) => list.to_vec(),
                Err(error) => {
                    let text = "Unable to find a valid name on the name server";
                    let message = format!("cannot find the address of {}: {error}", remote.host);
                    return Err(ConnectError::new(message, text, DeviceFailure::Missing));
                }
            },
        };
        let fits = |mut address: SocketAddr| {
            address.set_port(remote.port);
            match (remote.family, address.ip()) {
                (Family::V4, IpAddr::V6(_)) | (Family::V6, IpAddr::V4(_)) => None,
                (Family::V6Mapped, IpAddr::V4(v4)) => {
                    Some(SocketAddr::new(IpAddr::V6(v4.to_ipv6_mapped()), remote.port))
                }
                _ => Some(address),
            }
        };
        let list: Vec<SocketAddr> = found.into_iter().filter_map(fits).collect();
        if list.is_empty() {
            let message = format!("{} has no address of the family that is asked for", remote.host);
            let text = "Network address for the given name is not available";
            return Err(ConnectError::new(message, text, DeviceFailure::Missing));
        }
        Ok(list)
    }

    /// An address of our own to bind a socket to that will talk to `remote`.
    pub(super) async fn local(
        &self,
        local: &crate::config::connector::Local,
        remote: SocketAddr,
    ) -> Result<SocketAddr, ConnectError> {
        let Some(host) = &local.host else {
            let any: IpAddr =
                if remote.is_ipv4() { [0; 4].into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
            return Ok(SocketAddr::new(any, local.port));
        };
        let end = Remote { family: local.family, host: Arc::clone(host), port: local.port };
        let list = self.addresses(&end).await?;
        list.into_iter().find(|address| address.is_ipv4() == remote.is_ipv4()).ok_or_else(|| {
            let message = format!("laddr {host} is not of the family of {remote}");
            ConnectError::new(message, "Invalid data to parameter", DeviceFailure::Settings)
        })
    }
}

/// Opens a connector. It takes what the network takes, with limits; it ends by itself.
pub fn open(stack: Stack) -> Opening {
    below(stack, 0)
}

/// Opens the connector from its filter number `depth` on.
pub(super) fn below(stack: Stack, depth: usize) -> Opening {
    Box::pin(async move {
        let whole = stack.clone();
        let Some(filter) = whole.connector().filters.get(depth) else {
            return target(&stack).await;
        };
        if let Filter::KeepOpen(options) = filter {
            // it opens by itself what is below it
            let is_device = matches!(stack.target(), Target::Serial(_));
            let mut kept = Kept::new(options.clone(), stack, depth + 1);
            if is_device {
                kept.first_attempt().await;
            }
            return Ok(Box::new(kept) as Box<dyn Channel>);
        }
        let name = match &stack.target() {
            Target::Tcp(tcp) => tcp.remotes.first().map(|remote| Arc::clone(&remote.host)),
            _ => None,
        };
        let inner = below(stack, depth + 1).await?;
        Ok(match filter {
            Filter::Telnet(options) => Box::new(Telnet::new(inner, *options)),
            Filter::Tls(options) => tls::start(options, name.as_deref(), inner).await?,
            Filter::RateLimit(options) => Box::new(Limited::new(inner, options)),
            Filter::MsgDelim(options) => Box::new(Delimited::new(inner, options.crc)),
            Filter::Trace(options) => Box::new(Traced::new(inner, options).await?),
            Filter::KeepOpen(_) => inner,
        })
    })
}

async fn target(stack: &Stack) -> Result<Box<dyn Channel>, ConnectError> {
    match stack.target() {
        Target::Tcp(tcp) => pump::tcp(stack, tcp).await,
        Target::Udp(udp) => Ok(Box::new(Datagrams::open(stack, udp).await?)),
        Target::Unix(path) => unix(path).await,
        Target::Dev(dev) => Ok(Box::new(Node::open(dev).await?)),
        Target::Pty(options) => pty::open(stack, options).await,
        Target::Program(options) => program::start(stack, options),
        Target::Echo(options) => Ok(Box::new(Echoing::new(options))),
        Target::File(options) => Ok(Box::new(Files::open(options).await?)),
        Target::Serial(device) => Ok(Box::new(Line::open(device).await?)),
    }
}

async fn unix(path: &Path) -> Result<Box<dyn Channel>, ConnectError> {
    match tokio::net::UnixStream::connect(path).await {
        Ok(stream) => Ok(Box::new(Pump::new(stream))),
        Err(error) => Err(ConnectError::io(&format!("cannot connect to {}", path.display()), &error)),
    }
}

/// Opens what may hang in a driver; `path` is told if it does.
pub(super) async fn device<T: Send + 'static>(
    path: String,
    work: impl FnOnce() -> Result<T, ConnectError> + Send + 'static,
) -> Result<T, ConnectError> {
    match opening::begin(path, work).await.and_then(|done| done) {
        Ok(result) => result,
        Err(join) => Err(ConnectError::io("cannot open", &io::Error::other(join))),
    }
}

/// Runs what may block for a moment (looking up users, opening files) on a thread for that.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ConnectError> + Send + 'static,
) -> Result<T, ConnectError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(join) => Err(ConnectError::io("cannot open", &io::Error::other(join))),
    }
}
