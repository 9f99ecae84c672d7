//! The network side: what listens, accepted streams, TLS and who may connect.

pub mod allow;
mod bind;
pub mod care;
pub mod dial;
pub mod listener;
pub mod names;
pub mod peer;
pub mod stdio;
pub mod stream;
pub mod tls;
pub mod udp;
mod unix;
pub mod wrap;
