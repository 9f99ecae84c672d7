//! Why a connector could not be opened.

use crate::metrics::DeviceFailure;
use nix::errno::Errno;
use std::fmt;
use std::io;

/// A connector could not be opened. [`Display`](fmt::Display) is the message for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectError {
    /// What was tried, why it failed and what helps.
    pub message: String,
    /// What follows `Device open failure: ` for the client, as ser2net words it; `None`: the client
    /// is closed without a word, as ser2net does when a program cannot be started.
    pub client_text: Option<&'static str>,
    /// For metrics.
    pub failure: DeviceFailure,
}

impl ConnectError {
    /// An error of the system while doing `what`: `cannot connect to 192.0.2.1,23`.
    pub fn io(what: &str, error: &io::Error) -> Self {
        Self {
            message: format!("{what}: {error}"),
            client_text: Some(client_text(error)),
            failure: DeviceFailure::of_open(error),
        }
    }

    /// An error that is none of the system's.
    pub fn new(message: impl Into<String>, client_text: &'static str, failure: DeviceFailure) -> Self {
        Self { message: message.into(), client_text: Some(client_text), failure }
    }

    /// Nothing is said to the client.
    #[must_use]
    pub fn silent(self) -> Self {
        Self { client_text: None, ..self }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConnectError {}

/// The words of ser2net for an error of the system.
fn client_text(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ECONNREFUSED) => "Connection refused",
        Some(Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::EHOSTDOWN | Errno::ENETDOWN) => {
            "Host could not be reached"
        }
        Some(Errno::ETIMEDOUT) => "Operation timed out",
        Some(Errno::ENOENT | Errno::ENOTDIR) => "Value or file not found",
        Some(Errno::EEXIST) => "Value already exists",
        Some(Errno::EACCES | Errno::EPERM) => "Permission denied",
        Some(Errno::EBUSY) => "Object was already in use",
        Some(Errno::EADDRINUSE) => "Address already in use",
        Some(Errno::ENOMEM) => "Out of memory",
        None if error.kind() == io::ErrorKind::TimedOut => "Operation timed out",
        _ => "OS error, see logs",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_in_the_words_of_ser2net() {
        let of = |errno: Errno| ConnectError::io("x", &io::Error::from(errno)).client_text;
        assert_eq!(of(Errno::ECONNREFUSED), Some("Connection refused"));
        assert_eq!(of(Errno::EEXIST), Some("Value already exists"));
        assert_eq!(of(Errno::EIO), Some("OS error, see logs"));
        let late = io::Error::new(io::ErrorKind::TimedOut, "late");
        assert_eq!(ConnectError::io("x", &late).client_text, Some("Operation timed out"));
        assert_eq!(ConnectError::io("x", &late).silent().client_text, None);
    }
}
