//! A network client inside TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::event::PollFlags;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::ends::{End, wait};
use crate::keys::HOST;
use crate::pattern::CHUNK;

/// Longest single wait for room in the socket, in milliseconds.
const TICK: i64 = 100;

/// A client that trusts one certificate.
pub(crate) struct TlsClient {
    stream: TcpStream,
    tls: ClientConnection,
    buffer: Vec<u8>,
    payload: Vec<u8>,
}

impl TlsClient {
    /// Does the handshake.
    pub(crate) fn new(mut stream: TcpStream, certificate: &Path) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let certificate = CertificateDer::from_pem_file(certificate).map_err(io::Error::other)?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate).map_err(io::Error::other)?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let host = ServerName::try_from(HOST).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(Arc::new(config), host).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        stream.set_nonblocking(true)?;
        Ok(Self { stream, tls, buffer: vec![0; CHUNK], payload: Vec::with_capacity(CHUNK) })
    }
}

impl End for TlsClient {
    fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    fn receive(&mut self) -> io::Result<&[u8]> {
        if self.tls.read_tls(&mut self.stream)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.tls.process_new_packets().map_err(io::Error::other)?;
        self.payload.clear();
        loop {
            match self.tls.reader().read(&mut self.buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.payload.extend_from_slice(&self.buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(&self.payload),
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until the record is in the socket: what stayed behind would not be seen by poll(2).
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.tls.writer().write(bytes)?;
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.stream) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    wait(self, PollFlags::OUT, TICK)?;
                }
                other => drop(other?),
            }
        }
        Ok(count)
    }
}
