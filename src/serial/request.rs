//! What a client may ask of a serial port, and what the port answers and reports.
//!
//! RFC 2217 is only one spelling of these types; other front ends use the same ones.

use super::settings::{Flow, Parity};
use std::time::Duration;

/// A request to the owner of the device. In every `Option`, `None` asks for the value in force.
/// Each request is answered by exactly one [`Reply`], unless its text says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Ask for the signature text of the server ([`Reply::Signature`]).
    Signature,
    /// The client tells its own signature. Not answered.
    ClientSignature(Vec<u8>),
    /// Set the speed in bits per second.
    Baud(Option<u32>),
    /// Set the data bits (5 to 8).
    Size(Option<u8>),
    /// Set the parity.
    Parity(Option<Parity>),
    /// Set the stop bits (1 or 2).
    Stop(Option<u8>),
    /// Set flow control in both directions (RFC 2217 control values 1 to 3; 0 asks).
    Flow(Option<Flow>),
    /// Inbound flow control (values 14 to 16; 13 asks). One setting with `Flow` on Linux.
    InboundFlow(Option<Flow>),
    /// Start (`true`) or end a break, or ask for its state.
    Break(Option<bool>),
    /// Send one break of this length (telnet BRK). Not answered.
    SendBreak(Duration),
    /// Set DTR.
    Dtr(Option<bool>),
    /// Set RTS.
    Rts(Option<bool>),
    /// DTR and RTS to be changed together in one system call; answered by two replies, DTR's first.
    DtrRts(bool, bool),
    /// The same with RTS first: the values of RTS and DTR, answered in this order.
    RtsDtr(bool, bool),
    /// Discard buffered data.
    Purge(Purge),
    /// The client wants (`false`) or does not want (`true`) data from the port for now. Not answered.
    Suspend(bool),
    /// Bits of the modem state that the client wants to be told of.
    ModemMask(u8),
    /// Bits of the line state that the client wants to be told of.
    LineMask(u8),
    /// Ask for the modem state now ([`Notice::Modem`]).
    PollModem,
    /// Ask for the line state now ([`Notice::Line`]).
    PollLine,
}

/// Which buffered data is discarded, seen from the server (RFC 2217 PURGE-DATA).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    /// Data received from the device and not yet sent to the client.
    Receive,
    /// Data received from the client and not yet sent to the device.
    Transmit,
    /// Both.
    Both,
}

/// The answer to a [`Request`]: always the value that is in force now, not the one asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Signature text.
    Signature(Vec<u8>),
    /// Speed in bits per second.
    Baud(u32),
    /// Data bits.
    Size(u8),
    /// Parity.
    Parity(Parity),
    /// Stop bits.
    Stop(u8),
    /// Flow control.
    Flow(Flow),
    /// Inbound flow control.
    InboundFlow(Flow),
    /// Break state.
    Break(bool),
    /// DTR state.
    Dtr(bool),
    /// RTS state.
    Rts(bool),
    /// Buffers were discarded.
    Purge(Purge),
    /// Mask in force.
    ModemMask(u8),
    /// Mask in force.
    LineMask(u8),
}

/// Something that the port tells a client unasked (or after a poll).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Modem state byte of RFC 2217: bit 7 CD, 6 RI, 5 DSR, 4 CTS, 3 to 0 their changes.
    Modem(u8),
    /// Line state byte of RFC 2217: bit 4 break, 3 framing, 2 parity, 1 overrun error.
    Line(u8),
}
