//! The network client: raw, telnet or TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use tokio_rustls::rustls::ClientConnection;

use crate::ends::{End, filled};
use crate::pattern::CHUNK;
use crate::telnet::{Decoder, escape};
use crate::tls;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Raw,
    Telnet,
    Tls,
}

/// One client, non-blocking.
pub(crate) struct Client {
    stream: TcpStream,
    codec: Codec,
    buffer: Vec<u8>,
    payload: Vec<u8>,
}

enum Codec {
    Raw,
    /// With what was encoded and not yet taken by the socket.
    Telnet(Decoder, Vec<u8>),
    Tls(Box<ClientConnection>),
}

impl Client {
    /// The client of a fresh connection. For TLS it makes the session and takes only the certificate
    /// in `dir`.
    pub(crate) fn new(mut stream: TcpStream, wire: Wire, dir: &Path) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let codec = match wire {
            Wire::Raw => Codec::Raw,
            Wire::Telnet => Codec::Telnet(Decoder::new(), Vec::new()),
            Wire::Tls => Codec::Tls(Box::new(tls::handshake(&mut stream, dir)?)),
        };
        stream.set_nonblocking(true)?;
        Ok(Self { stream, codec, buffer: vec![0; CHUNK], payload: Vec::with_capacity(CHUNK) })
    }

    /// Says that nothing more will be sent; the peer closes in answer.
    pub(crate) fn finish(&self) -> io::Result<()> {
        self.stream.shutdown(std::net::Shutdown::Write)
    }
}

impl End for Client {
    fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    fn receive(&mut self) -> io::Result<&[u8]> {
        let count = self.stream.read(&mut self.buffer)?;
        if let Codec::Raw = self.codec {
            return filled(&self.buffer, count);
        }
        let mut bytes = filled(&self.buffer, count)?;
        self.payload.clear();
        match &mut self.codec {
            Codec::Raw => {}
            Codec::Telnet(decoder, pending) => {
                decoder.decode(bytes, &mut self.payload);
                pending.append(&mut decoder.answers);
            }
            Codec::Tls(session) => {
                while !bytes.is_empty() {
                    session.read_tls(&mut bytes)?;
                    let state = session.process_new_packets().map_err(io::Error::other)?;
                    let begun = self.payload.len();
                    self.payload.resize(begun + state.plaintext_bytes_to_read(), 0);
                    session.reader().read_exact(&mut self.payload[begun..])?;
                }
            }
        }
        self.flush()?;
        Ok(&self.payload)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.flush()? {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = match &mut self.codec {
            Codec::Raw => return self.stream.write(bytes),
            Codec::Telnet(_, pending) => {
                escape(bytes, pending);
                bytes.len()
            }
            Codec::Tls(session) => session.writer().write(bytes)?,
        };
        self.flush()?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<bool> {
        loop {
            let written = match &mut self.codec {
                Codec::Raw => return Ok(true),
                Codec::Telnet(_, pending) if pending.is_empty() => return Ok(true),
                Codec::Telnet(_, pending) => self.stream.write(pending).map(|count| {
                    pending.drain(..count);
                }),
                Codec::Tls(session) if !session.wants_write() => return Ok(true),
                Codec::Tls(session) => session.write_tls(&mut self.stream).map(drop),
            };
            match written {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }
}
