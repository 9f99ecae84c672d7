//! A serial port on the network: the device, the clients that share it, and what they are told.

pub mod template;
