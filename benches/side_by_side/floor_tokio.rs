//! The `tokio` peer: a forwarder that does nothing but forward, as one task of the runtime that serbroker has.
//! What it takes more than a floor is what the runtime takes.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::{Receiver, Sender};

use crate::floor::BUFFER;

/// Most bytes that one read of a terminal returns. Where as much is asked for, a read that returns less has
/// taken all there was, and so the runtime takes it.
const TTY_READ: usize = 4095;

/// Forwards both ways until one side has closed.
pub(crate) fn forward(tty: &File, net: &TcpStream) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let net = File::from(net.as_fd().try_clone_to_owned()?);
    runtime.block_on(async {
        // the first to end ends both
        tokio::select! {
            ended = copy(tty, &net, TTY_READ) => ended,
            ended = copy(&net, tty, BUFFER) => ended,
        }
    })
}

/// Forwards one way, at most `most` bytes at a time, until the end.
async fn copy(from: &File, mut to: &File, most: usize) -> io::Result<()> {
    // neither is a pipe, but these take any descriptor that can be waited for
    let mut source = Receiver::from_owned_fd_unchecked(from.as_fd().try_clone_to_owned()?)?;
    // room is waited for only once there was none: a terminal wakes whoever waits for it with each read
    // of its other end
    let mut sink: Option<Sender> = None;
    let mut buffer = vec![0; most];
    loop {
        let count = match source.read(&mut buffer).await {
            Ok(0) => return Ok(()),
            // a terminal whose other end has closed
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => return Ok(()),
            count => count?,
        };
        let mut left = &buffer[..count];
        while !left.is_empty() {
            let written = match &sink {
                Some(sink) => sink.try_write(left),
                None => to.write(left),
            };
            match written {
                Ok(count) => left = &left[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let sink = match &sink {
                        Some(sink) => sink,
                        None => {
                            sink.insert(Sender::from_owned_fd_unchecked(to.as_fd().try_clone_to_owned()?)?)
                        }
                    };
                    sink.writable().await?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
