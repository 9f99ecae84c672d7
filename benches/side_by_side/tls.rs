//! TLS for the benchmark: a certificate of the run's own, and the client's session.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

/// The files a peer is given, in the directory of its run.
pub(crate) const KEY: &str = "key.pem";
pub(crate) const CERTIFICATE: &str = "cert.pem";

/// Time a peer has for its half of the handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// openssl.cnf of a server certificate that signs itself.
const REQUEST: &str = "[req]\nprompt = no\ndistinguished_name = name\nx509_extensions = server\n\
                       [name]\nCN = localhost\n\
                       [server]\nsubjectAltName = DNS:localhost\nbasicConstraints = critical,CA:FALSE\n";

/// Makes key and certificate (P-256) in `dir`.
pub(crate) fn certify(dir: &Path) -> Result<(), String> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "openssl is not installed".to_string(),
        _ => format!("certificate: {error}"),
    };
    let request = dir.join("request.cnf");
    fs::write(&request, REQUEST).map_err(failed)?;
    let output = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "30", "-newkey", "ec", "-pkeyopt"])
        .arg("ec_paramgen_curve:P-256")
        .arg("-config")
        .arg(request)
        .arg("-keyout")
        .arg(dir.join(KEY))
        .arg("-out")
        .arg(dir.join(CERTIFICATE))
        .output()
        .map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("openssl: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Makes a session that trusts only the certificate in `dir`. The client offers one suite, so that every
/// peer does the same work: TLS 1.3, AES-128-GCM.
pub(crate) fn handshake(stream: &mut TcpStream, dir: &Path) -> io::Result<ClientConnection> {
    let provider = ring::default_provider();
    let suite = ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let provider = CryptoProvider { cipher_suites: vec![suite], ..provider };
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(dir.join(CERTIFICATE)).map_err(io::Error::other)?;
    roots.add(certificate).map_err(io::Error::other)?;
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let mut session = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    stream.set_read_timeout(Some(HANDSHAKE))?;
    while session.is_handshaking() {
        session.complete_io(stream)?;
    }
    Ok(session)
}
