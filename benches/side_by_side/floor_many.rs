//! The `floor` peer for many clients: what the device sends goes to each of them, at the slowest's pace.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};

use crate::ends::open_raw;
use crate::floor::{Forwarder, Lane};

/// One client, and what it still has to get of the chunk that all are given.
struct Client {
    stream: TcpStream,
    sent: usize,
}

/// Waits for all clients, then serves them until the last one has gone. A fault strikes the last client
/// only.
pub(crate) fn run(forwarder: &Forwarder, listener: &TcpListener) -> io::Result<()> {
    let mut clients = Vec::with_capacity(forwarder.clients);
    for _ in 0..forwarder.clients {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        clients.push(Client { stream, sent: 0 });
    }
    let mut tty = open_raw(&forwarder.device)?;
    let faultless = Forwarder { fault: None, device: forwarder.device.clone(), ..*forwarder };
    let (mut shared, mut spoiled) = (Lane::new(&faultless), Lane::new(forwarder));
    let mut request = vec![0; 4096];
    while !clients.is_empty() {
        let last = clients.len() - 1;
        let chunk = |number| if number == last { spoiled.pending() } else { shared.pending() };
        let behind = |number: usize, client: &Client| client.sent < chunk(number).len();
        let waiting = clients.iter().enumerate().any(|(number, client)| behind(number, client));
        let mut fds = Vec::with_capacity(clients.len() + 1);
        let from_tty = if waiting { PollFlags::empty() } else { PollFlags::IN };
        fds.push(PollFd::from_borrowed_fd(tty.as_fd(), from_tty));
        for (number, client) in clients.iter().enumerate() {
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, behind(number, client));
            fds.push(PollFd::from_borrowed_fd(client.stream.as_fd(), flags));
        }
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<_> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        let fresh = ready[0].contains(PollFlags::IN) && !waiting;
        if fresh {
            shared.read(&mut tty)?;
            spoiled.read(&mut shared.pending())?;
            for client in &mut clients {
                client.sent = 0;
            }
        }
        let mut gone = Vec::new();
        for (number, client) in clients.iter_mut().enumerate() {
            let chunk = if number == last { spoiled.pending() } else { shared.pending() };
            let served = serve(client, chunk, fresh, ready[number + 1], &mut request);
            match served.and_then(|count| tty.write_all(&request[..count])) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(error),
                Err(_) => gone.push(number),
            }
        }
        for number in gone.into_iter().rev() {
            clients.remove(number);
        }
    }
    Ok(())
}

/// Sends what the client takes of the chunk and reads what it has for the device, so many bytes.
fn serve(
    client: &mut Client,
    chunk: &[u8],
    fresh: bool,
    ready: PollFlags,
    request: &mut [u8],
) -> io::Result<usize> {
    if client.sent < chunk.len() && (fresh || ready.contains(PollFlags::OUT)) {
        match client.stream.write(&chunk[client.sent..]) {
            Ok(count) => client.sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    if !ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
        return Ok(0);
    }
    match client.stream.read(request) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
