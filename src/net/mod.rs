//! The network side: listening sockets, accepted streams, TLS and address limits.

pub mod allow;
pub mod care;
pub mod listener;
pub mod names;
pub mod stream;
pub mod tls;
