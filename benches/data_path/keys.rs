//! A certificate for the TLS scenes.

use std::path::Path;

use tempfile::TempDir;

use crate::tls;

/// A key and a certificate that signs itself, as the PEM files that [`tls`] names.
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

    /// The directory of key and certificate.
    pub(crate) fn dir(&self) -> Result<&Path, String> {
        self.0.as_ref().map(TempDir::path).map_err(Clone::clone)
    }
}

fn make() -> Result<TempDir, String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    tls::certify(dir.path())?;
    Ok(dir)
}
