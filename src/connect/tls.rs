//! The client's end of TLS (`ssl`).

use super::filter::Filter;
use super::pump::Pump;
use super::{Channel, ConnectError};
use crate::config::connector::TlsClient;
use crate::metrics::DeviceFailure;
use crate::net::tls::{HANDSHAKE_LIMIT, certificates, private_key};
use crate::serial::IoFailure;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::verify_server_cert_signed_by_trust_anchor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// Shakes hands over `below`. `name`: host for the server to choose its certificate by.
pub(super) async fn start(
    options: &TlsClient,
    name: Option<&str>,
    below: Box<dyn Channel>,
) -> Result<Box<dyn Channel>, ConnectError> {
    let wanted = options.clone();
    let mut config = super::open::blocking(move || config(&wanted)).await?;
    let name = name.and_then(|name| ServerName::try_from(name.to_owned()).ok());
    config.enable_sni = name.is_some();
    let name = match name {
        Some(name) => name,
        None => ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()),
    };
    let connector = TlsConnector::from(Arc::new(config));
    match tokio::time::timeout(HANDSHAKE_LIMIT, connector.connect(name, Carrier(below))).await {
        Ok(Ok(stream)) => Ok(Box::new(Secured(Pump::new(stream)))),
        Ok(Err(error)) => Err(refused(&error)),
        Err(_) => {
            let late = format!("TLS handshake not finished in {} s", HANDSHAKE_LIMIT.as_secs());
            Err(ConnectError::new(late, "Operation timed out", DeviceFailure::Other))
        }
    }
}

fn refused(error: &io::Error) -> ConnectError {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let (text, help) = match cause {
        Some(Error::InvalidCertificate(_)) => (
            "Certificate is not valid",
            "; the CA of the connector must have signed the server's certificate, or be it",
        ),
        Some(Error::AlertReceived(_)) => ("Communication error", "; the server refuses us"),
        _ => ("Communication error", "; does the far end speak TLS?"),
    };
    ConnectError::new(format!("TLS handshake failed: {error}{help}"), text, DeviceFailure::Other)
}

fn config(options: &TlsClient) -> Result<ClientConfig, ConnectError> {
    let TlsClient { ca, identity, unverified } = options;
    let bad = |error: &dyn std::fmt::Display| {
        ConnectError::new(error.to_string(), "Unable to find given certificate", DeviceFailure::Settings)
    };
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    let mut known = Vec::new();
    for cert in ca.iter().map(|ca| authorities(ca)).collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
        // one that cannot sign others can still be the server's own
        let _ = roots.add(cert.clone());
        known.push(cert);
    }
    let checker = Checker { roots, known, unverified: *unverified, provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| bad(&e))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(checker));
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some((cert, key)) => {
            let chain = certificates("certificate", cert).map_err(|e| bad(&e))?;
            let key = private_key(key).map_err(|e| bad(&e))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| bad(&e))
        }
    }
}

/// The certificates of a file, or of all files of a directory that hold any.
fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let bad = |error: &dyn std::fmt::Display| {
        ConnectError::new(error.to_string(), "Unable to find given certificate", DeviceFailure::Settings)
    };
    if !path.is_dir() {
        return certificates("certificate authority", path).map_err(|e| bad(&e));
    }
    let files = std::fs::read_dir(path).map_err(|e| bad(&format!("cannot read {}: {e}", path.display())))?;
    let list: Vec<_> = files
        .flatten()
        .filter(|file| file.path().is_file())
        .filter_map(|file| certificates("certificate authority", &file.path()).ok())
        .flatten()
        .collect();
    if list.is_empty() {
        return Err(bad(&format!("no certificate in any file of {}", path.display())));
    }
    Ok(list)
}

/// Checks that one of the authorities signed the server's certificate, but not whose name is in it:
/// gensio(5) leaves that out, and certificates of serial servers seldom have the right one.
#[derive(Debug)]
struct Checker {
    roots: RootCertStore,
    /// Certificates that need no signature: what was named as authority.
    known: Vec<CertificateDer<'static>>,
    unverified: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Checker {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.unverified || self.known.iter().any(|cert| cert == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        if self.roots.is_empty() {
            return Err(CertificateError::UnknownIssuer.into());
        }
        let cert = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&cert, &self.roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A channel through TLS.
#[derive(Debug)]
struct Secured(Pump<TlsStream<Carrier>>);

impl Filter for Secured {
    fn below(&mut self) -> &mut dyn Channel {
        let (carrier, _) = self.0.inner().get_mut();
        &mut *carrier.0
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoFailure>> {
        self.0.poll_read(cx, buf)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, IoFailure>> {
        self.0.poll_write(cx, data)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoFailure>> {
        self.0.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_close(cx)
    }
}

/// A channel as a stream of the runtime.
#[derive(Debug)]
struct Carrier(Box<dyn Channel>);

fn as_io(failure: IoFailure) -> io::Error {
    match failure {
        IoFailure::Failed(error) => error,
        other => io::Error::new(io::ErrorKind::BrokenPipe, other),
    }
}

impl AsyncRead for Carrier {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(self.0.poll_read(cx, buf.initialize_unfilled())) {
            Ok(count) => {
                buf.advance(count);
                Poll::Ready(Ok(()))
            }
            // the end of the stream, which TLS judges by itself
            Err(IoFailure::Ended(_)) => Poll::Ready(Ok(())),
            Err(other) => Poll::Ready(Err(as_io(other))),
        }
    }
}

impl AsyncWrite for Carrier {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.0.poll_write(cx, data).map_err(as_io)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx).map_err(as_io)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close(cx).map(Ok)
    }
}
