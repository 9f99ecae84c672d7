//! How clients are watched over: TCP keepalive as a connection wants it.

use super::stream::Stream;
use crate::config::{Keepalive, Options};
use socket2::{SockRef, TcpKeepalive};
use std::time::Duration;
use tokio::net::TcpStream;
use tracing::debug;

/// What accepted sockets have from their listener: a peer that died silently is noticed within
/// 30 seconds.
pub const INHERITED: Keepalive = Keepalive { idle: 12, interval: 5, count: 3 };

/// Sets what the options want different from what the listener gave.
pub fn apply(stream: &Stream, options: &Options) {
    if let Stream::Tcp(stream) = stream
        && options.keepalive != Some(INHERITED)
    {
        set(stream, options.keepalive);
    }
}

/// Sets the keepalive of a socket. A system that refuses leaves it as it was.
pub fn set(stream: &TcpStream, keepalive: Option<Keepalive>) {
    let socket = SockRef::from(stream);
    let result = match keepalive {
        None => socket.set_keepalive(false),
        Some(Keepalive { idle, interval, count }) => socket.set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(Duration::from_secs(idle.into()))
                .with_interval(Duration::from_secs(interval.into()))
                .with_retries(count),
        ),
    };
    if let Err(error) = result {
        debug!("keepalive cannot be set: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_has_what_was_asked_for() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let keepalive = Some(Keepalive { idle: 7, interval: 2, count: 4 });
        let stream = Stream::Tcp(stream);
        apply(&stream, &Options { keepalive, ..Options::default() });
        let Stream::Tcp(socket) = &stream else { unreachable!("made above") };
        let socket = SockRef::from(socket);
        assert!(socket.keepalive().unwrap());
        let set = (
            socket.tcp_keepalive_time().unwrap(),
            socket.tcp_keepalive_interval().unwrap(),
            socket.tcp_keepalive_retries().unwrap(),
        );
        assert_eq!(set, (Duration::from_secs(7), Duration::from_secs(2), 4));
        apply(&stream, &Options { keepalive: None, ..Options::default() });
        assert!(!socket.keepalive().unwrap());
        assert_eq!(Options::default().keepalive, Some(INHERITED), "the table and the listener agree");
    }
}
