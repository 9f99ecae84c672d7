//! TLS accepters: certificates and keys from PEM files.

use super::stream::Stream;
use crate::config::TlsOptions;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

/// A client that has not finished its handshake by then is cut.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Takes handshakes with the certificate that it was made with.
#[derive(Clone)]
pub struct Acceptor(pub TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // keys have no place in a log
        f.write_str("Acceptor")
    }
}

impl Acceptor {
    /// Makes the handshake of a client, within [`HANDSHAKE_LIMIT`].
    ///
    /// # Errors
    /// A text for the log that says what went wrong.
    pub async fn shake_hands(&self, stream: Stream) -> Result<Stream, String> {
        let socket = stream.into_socket().map_err(|_| "TLS runs on sockets only".to_owned())?;
        match tokio::time::timeout(HANDSHAKE_LIMIT, self.0.accept(socket)).await {
            Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream))),
            Ok(Err(e)) => Err(format!("TLS handshake failed: {e}")),
            Err(_) => Err(format!("TLS handshake not finished in {HANDSHAKE_LIMIT:?}")),
        }
    }
}

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or holds nothing usable.
    #[error("cannot use {what} {path}: {reason}")]
    Pem {
        /// What the file should hold.
        what: &'static str,
        /// Its path.
        path: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// Certificate and key are refused together.
    #[error("key {key} and certificate {cert} do not work together: {reason}")]
    Pair {
        /// Path of the key.
        key: String,
        /// Path of the certificate.
        cert: String,
        /// From the TLS library.
        reason: String,
    },
}

/// Reads the files and makes an acceptor.
///
/// # Errors
/// When a file cannot be read, holds no key or certificate, or the two do not belong together.
pub fn acceptor(options: &TlsOptions) -> Result<Acceptor, TlsError> {
    let chain = certificates("certificate", &options.cert)?;
    let key = private_key(&options.key)?;
    let provider = Arc::new(ring::default_provider());
    let pair = |e: &dyn std::fmt::Display| TlsError::Pair {
        key: options.key.display().to_string(),
        cert: options.cert.display().to_string(),
        reason: e.to_string(),
    };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| pair(&e))?;
    let builder = match (&options.ca, options.client_auth) {
        (Some(ca), true) => {
            let mut roots = RootCertStore::empty();
            for cert in certificates("certificate authority", ca)? {
                roots.add(cert).map_err(|e| pem_error("certificate authority", ca, &e))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|e| pem_error("certificate authority", ca, &e))?;
            builder.with_client_cert_verifier(verifier)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|e: rustls::Error| pair(&e))?;
    // A serial console is one long session: tickets would only cost memory.
    config.send_tls13_tickets = 0;
    Ok(Acceptor(TlsAcceptor::from(Arc::new(config))))
}

/// The private key in a PEM file.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|e| pem_error("private key", path, &e))
}

/// The certificates in a PEM file, at least one.
pub(crate) fn certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certs: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|e| pem_error(what, path, &e));
    match certs {
        Ok(list) if list.is_empty() => Err(pem_error(what, path, &"no certificate in it")),
        other => other,
    }
}

fn pem_error(what: &'static str, path: &Path, error: &dyn std::fmt::Display) -> TlsError {
    let mut reason = error.to_string();
    let encrypted = std::fs::read_to_string(path).is_ok_and(|t| t.contains("ENCRYPTED"));
    if encrypted {
        reason = "the key is protected by a pass phrase; write it out without one, for instance with \
                  'openssl pkey -in KEY -out NEWKEY', readable only by the service's user"
            .into();
    }
    TlsError::Pem { what, path: path.display().to_string(), reason }
}
