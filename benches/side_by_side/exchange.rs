//! The opening exchange.

use std::time::{Duration, Instant};

use crate::client::Client;
use crate::ends::Device;
use crate::pump::{receive_exact, send_all};

/// Time for the first bytes of a connection, which wait for the peer to open the device; one that is
/// watched by another program takes longer.
const OPENING: Duration = Duration::from_secs(10);
/// What is sent each way. No byte of it means anything to telnet.
const GREETING: [&[u8]; 2] = [b"to the device", b"to the net"];

/// Sends a few bytes each way, so that what is measured begins with the device open, its input flushed,
/// every client served and, with telnet, the options settled.
pub(crate) fn open(clients: &mut [Client], device: &mut Device) -> Result<(), String> {
    let deadline = Instant::now() + OPENING;
    let [to_device, to_net] = GREETING;
    let exact = |mut due: &'static [u8]| {
        move |bytes: &[u8]| {
            due = due.strip_prefix(bytes).ok_or("wrong data in the opening exchange")?;
            Ok(())
        }
    };
    for client in &mut *clients {
        send_all(client, to_device, deadline)?;
        receive_exact(device, to_device.len(), deadline, exact(to_device))
            .map_err(|error| format!("opening, at the device: {error}"))?;
    }
    send_all(device, to_net, deadline)?;
    for client in clients {
        receive_exact(client, to_net.len(), deadline, exact(to_net))
            .map_err(|error| format!("opening, at the client: {error}"))?;
    }
    Ok(())
}
