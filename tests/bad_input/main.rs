//! Bad input against the built program: configurations, devices, addresses and clients. Each time
//! there is a clear message or a clean close, another port of the same process goes on byte by byte,
//! and SIGTERM ends it in time.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod address;
mod client;
mod config;
mod device;
mod flood;
mod kit;
mod options;
mod shutdown;
