//! serbroker: serial ports on the network, compatible with ser2net.
//!
//! The crate is a library with a thin program on top, so that every part can be tested without
//! starting a process. Data flows like this:
//!
//! ```text
//! socket -> [TLS] -> telnet::Codec -> port (owner of the device) -> serial::Device
//! serial::Device -> batch (chardelay) -> each session: telnet::Codec -> [TLS] -> socket
//! ```
//!
//! [`config`] turns files into a validated [`config::Config`]; the supervisor keeps the running
//! ports equal to it; [`port`] holds the task that owns one serial device and its sessions.

pub mod admin;
pub mod alarm;
pub mod attach;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod connect;
pub mod demo;
pub mod descriptors;
pub mod hotplug;
pub mod http;
pub mod led;
pub mod log;
pub mod low_priority;
pub mod mdns;
pub mod memory;
pub mod metrics;
pub mod net;
pub mod notify;
pub mod opening;
pub mod port;
pub mod ports;
pub mod process;
pub mod reconcile;
pub mod rotator;
pub mod serial;
pub mod status;
pub mod supervisor;
pub mod telnet;
pub mod timer;
pub mod trace;
pub mod worker;
