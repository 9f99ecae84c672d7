//! Who is at the other end of a stream.

use serde::{Serialize, Serializer};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// What an accepter has connected to.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Reached {
    /// The connector as written.
    pub connector: String,
    /// As ser2net writes it (`\I`); nothing for a serial device.
    pub address: String,
}

/// The other end of a client's stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An address of TCP or UDP.
    Ip(SocketAddr),
    /// A program on this machine, by a Unix socket; the path that it bound its end to, mostly none.
    Unix(Option<Arc<str>>),
    /// Whoever has our standard input and output.
    Stdio,
    /// What an accepter has connected to.
    Dialled(Arc<Reached>),
}

impl Peer {
    /// The address, where there is one.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) | Self::Stdio | Self::Dialled(_) => None,
        }
    }

    /// The peer without the port that changes with every connection, for texts that are said once.
    pub fn host(&self) -> String {
        match self {
            Self::Ip(address) => address.ip().to_string(),
            Self::Unix(_) | Self::Stdio | Self::Dialled(_) => self.to_string(),
        }
    }

    /// As ser2net writes it (`\I`): `ipv4,127.0.0.1,40000`; for a client of a dual-stack socket
    /// `ipv6,::ffff:127.0.0.1,40000`; `unix,` with the path of the client's end, if it has one;
    /// `stdio(self)`.
    pub fn gensio_text(&self) -> String {
        match self {
            Self::Ip(address) => {
                let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
                format!("{family},{},{}", address.ip(), address.port())
            }
            Self::Unix(path) => format!("unix,{}", path.as_deref().unwrap_or_default()),
            Self::Stdio => "stdio(self)".to_owned(),
            Self::Dialled(reached) => reached.address.clone(),
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

/// For logs and JSON: `127.0.0.1:40000`, `unix`, `unix:/run/client`, `stdio`, `tcp,192.0.2.1,23`.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(None) => f.write_str("unix"),
            Self::Unix(Some(path)) => write!(f, "unix:{path}"),
            Self::Stdio => f.write_str("stdio"),
            Self::Dialled(reached) => f.write_str(&reached.connector),
        }
    }
}

impl Serialize for Peer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let ip = |text: &str| Peer::Ip(text.parse().unwrap());
        for (peer, gensio, log, host) in [
            (ip("127.0.0.1:5"), "ipv4,127.0.0.1,5", "127.0.0.1:5", "127.0.0.1"),
            (ip("[::1]:5"), "ipv6,::1,5", "[::1]:5", "::1"),
            (
                ip("[::ffff:127.0.0.1]:5"),
                "ipv6,::ffff:127.0.0.1,5",
                "[::ffff:127.0.0.1]:5",
                "::ffff:127.0.0.1",
            ),
            (Peer::Unix(None), "unix,", "unix", "unix"),
            (Peer::Unix(Some("cl".into())), "unix,cl", "unix:cl", "unix:cl"),
            (Peer::Stdio, "stdio(self)", "stdio", "stdio"),
        ] {
            assert_eq!((&*peer.gensio_text(), &*peer.to_string(), &*peer.host()), (gensio, log, host));
            assert_eq!(serde_json::to_value(&peer).unwrap(), log);
        }
    }
}
