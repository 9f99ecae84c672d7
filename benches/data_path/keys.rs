//! A certificate for the TLS scenes.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// Host name in the certificate.
pub(crate) const HOST: &str = "broker.test";

/// A key and a certificate that signs itself, as PEM files.
pub(crate) struct Keys(Result<TempDir, String>);

impl Keys {
    /// Makes them with openssl. That this failed is told by whoever asks for them.
    pub(crate) fn make() -> Self {
        Self(make())
    }

    /// No keys, for scenes that need none.
    #[allow(dead_code, reason = "used by the test of allocations")]
    pub(crate) fn none() -> Self {
        Self(Err("no certificate was made".into()))
    }

    /// Key and certificate.
    pub(crate) fn files(&self) -> Result<[PathBuf; 2], String> {
        self.0.as_ref().map(|dir| ["key", "cert"].map(|name| dir.path().join(name))).map_err(Clone::clone)
    }
}

fn make() -> Result<TempDir, String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "2", "-subj", &format!("/CN={HOST}")])
        .args(["-addext", &format!("subjectAltName=DNS:{HOST}")])
        // the client trusts it directly, which is not allowed for an authority
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(dir.path().join("key"))
        .arg("-out")
        .arg(dir.path().join("cert"))
        .output()
        .map_err(|error| format!("openssl, which makes the certificate: {error}"))?;
    if made.status.success() {
        Ok(dir)
    } else {
        Err(format!("openssl: {}", String::from_utf8_lossy(&made.stderr).trim()))
    }
}
