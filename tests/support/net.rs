//! Clients over TCP.

use super::{PATIENCE, until};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// How the other side ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// FIN.
    Fin,
    /// RST.
    Reset,
}

/// A plain client.
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    /// Connects, as soon as somebody listens.
    #[track_caller]
    pub(crate) fn connect(port: u16) -> Self {
        let stream = until("connecting", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    #[track_caller]
    pub(crate) fn send(&mut self, data: &[u8]) {
        self.0.write_all(data).unwrap();
    }

    /// Receives exactly `length` bytes.
    #[track_caller]
    pub(crate) fn receive(&mut self, length: usize) -> Vec<u8> {
        let mut got = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match self.0.read(&mut got[filled..]) {
                Ok(0) => {
                    panic!("closed after {filled} of {length}: {:?}", String::from_utf8_lossy(&got[..filled]))
                }
                Ok(count) => filled += count,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => panic!("{e} after {filled} of {length} bytes"),
            }
        }
        got
    }

    /// Receives until `end` has come.
    #[track_caller]
    pub(crate) fn receive_until(&mut self, end: &[u8]) -> Vec<u8> {
        let mut got = Vec::new();
        while !got.ends_with(end) {
            got.extend(self.receive(1));
        }
        got
    }

    /// Receives all until the other side closes.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> (Vec<u8>, End) {
        let mut got = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.0.read(&mut buffer) {
                Ok(0) => return (got, End::Fin),
                Ok(count) => got.extend_from_slice(&buffer[..count]),
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return (got, End::Reset),
                Err(e) => panic!("{e} after {:?}", String::from_utf8_lossy(&got)),
            }
        }
    }

    /// Receives what comes in this time and asserts that the connection lives.
    #[track_caller]
    pub(crate) fn during(&mut self, time: Duration) -> Vec<u8> {
        let deadline = Instant::now() + time;
        let mut got = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.0.set_read_timeout(Some(left)).unwrap();
            match self.0.read(&mut buffer) {
                Ok(0) => panic!("closed after {:?}", String::from_utf8_lossy(&got)),
                Ok(count) => got.extend_from_slice(&buffer[..count]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(e) => panic!("{e} after {:?}", String::from_utf8_lossy(&got)),
            }
        }
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        got
    }

    /// No more from this side.
    pub(crate) fn half_close(&self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }
}

/// A plain HTTP request; status and body.
pub(crate) fn get(port: u16, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let bad = || io::Error::new(ErrorKind::InvalidData, answer.clone());
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(bad)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(bad)?;
    // the server sends short bodies with their length
    let length =
        head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    if length.is_some_and(|l| l.parse() != Ok(body.len())) {
        return Err(bad());
    }
    Ok((status, body.to_owned()))
}
