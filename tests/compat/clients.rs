//! Steps of clients.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::bench::{Bench, Client, Flow, error_name};
use crate::case::{Connect, Flood};
use crate::tls;
use crate::witness::Sight;

const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// How long a client tries to send while nobody reads.
const SEND_LIMIT: Duration = Duration::from_secs(3);
const FLOOD_LIMIT: Duration = Duration::from_secs(20);

impl Bench<'_> {
    pub(crate) fn connect(&mut self, connect: &Connect) -> Flow {
        let socket = match self.open(connect) {
            Ok(socket) => socket,
            Err(e) => {
                let error = if e.kind() == ErrorKind::TimedOut { "timed out".into() } else { error_name(&e) };
                self.witness.see(&connect.client, Sight::ConnectFailed { error });
                return Ok(());
            }
        };
        if connect.unix.is_none() {
            socket.set_tcp_nodelay(true)?;
            if let Some(local) = socket.local_addr()?.as_socket() {
                self.names.set(format!("CPORT_{}", connect.client), local.port().to_string());
            }
        }
        socket.set_nonblocking(true)?;
        let client = Client { socket: Some(socket), paused: false };
        self.clients.insert(connect.client.clone(), client);
        Ok(())
    }

    fn open(&self, connect: &Connect) -> io::Result<Socket> {
        if let Some(path) = &connect.unix {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.connect(&SockAddr::unix(self.names.fill(path))?)?;
            return Ok(socket);
        }
        let host = connect.host.as_deref().unwrap_or("127.0.0.1");
        let to = self.address(host, connect.port.as_deref().unwrap_or_default())?;
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        if connect.local_port.is_some() {
            socket.set_reuse_address(true)?;
        }
        if connect.local_port.is_some() || connect.src.is_some() {
            let src = connect.src.as_deref().unwrap_or("127.0.0.1");
            socket.bind(&self.address(src, connect.local_port.as_deref().unwrap_or("0"))?.into())?;
        }
        socket.connect_timeout(&to.into(), CONNECT_LIMIT)?;
        Ok(socket)
    }

    fn address(&self, host: &str, port: &str) -> io::Result<SocketAddr> {
        let host = host.parse().map_err(io::Error::other)?;
        let port = self.port(port).ok_or_else(|| io::Error::other(format!("{port} is no port")))?;
        Ok(SocketAddr::new(host, port))
    }

    fn socket(&self, client: &str) -> Option<&Socket> {
        self.clients.get(client)?.socket.as_ref()
    }

    /// Sends, and waits for `gap` when it is to be a segment of its own.
    pub(crate) fn send(&mut self, client: &str, text: &str, urgent: bool, gap: Option<Duration>) -> Flow {
        let data = self.names.bytes(text);
        let mut rest = data.as_slice();
        let since = Instant::now();
        while !rest.is_empty() && since.elapsed() < SEND_LIMIT {
            let Some(socket) = self.socket(client) else { return Ok(()) };
            let sent = if urgent { socket.send_out_of_band(rest) } else { socket.send(rest) };
            match sent {
                Ok(n) => rest = &rest[n..],
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.pump(Duration::from_millis(10))?,
                Err(e) => {
                    self.witness.see(client, Sight::SendFailed { error: error_name(&e) });
                    break;
                }
            }
        }
        match gap {
            Some(gap) if self.clients.contains_key(client) => self.pump(gap),
            _ => Ok(()),
        }
    }

    pub(crate) fn close(&mut self, client: &str) {
        if let Some(client) = self.clients.get_mut(client) {
            client.socket = None;
        }
    }

    pub(crate) fn reset(&mut self, client: &str) -> Flow {
        if let Some(socket) = self.socket(client) {
            socket.set_linger(Some(Duration::ZERO))?;
        }
        self.close(client);
        Ok(())
    }

    pub(crate) fn shutdown_write(&mut self, client: &str) -> Flow {
        if let Some(socket) = self.socket(client) {
            socket.shutdown(std::net::Shutdown::Write)?;
        }
        Ok(())
    }

    pub(crate) fn pause(&mut self, client: &str, paused: bool) {
        if let Some(client) = self.clients.get_mut(client) {
            client.paused = paused;
        }
    }

    pub(crate) fn udp_send(&mut self, client: &str, text: &str) -> Flow {
        if !self.udp.contains_key(client) {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
            socket.connect(&self.address("127.0.0.1", "{PORT}")?.into())?;
            socket.set_nonblocking(true)?;
            self.udp.insert(client.to_owned(), socket);
        }
        let data = self.names.bytes(text);
        if let Some(Err(e)) = self.udp.get(client).map(|s| s.send(&data)) {
            self.witness.see(client, Sight::UdpError { error: error_name(&e) });
        }
        Ok(())
    }

    /// Handshake, bytes of the device to the client, bytes of the client to the device, close.  What the
    /// client got, or `refused`.
    pub(crate) fn tls_session(&mut self, dev: &str, dev_text: &str, text: &str) -> Flow<Json> {
        let to = self.address("127.0.0.1", "{PORT}")?;
        let Ok(mut stream) = TcpStream::connect_timeout(&to, CONNECT_LIMIT).and_then(tls::handshake) else {
            return Ok("refused".into());
        };
        self.pump(Duration::from_millis(350))?;
        rustix::io::write(self.device(dev)?.master()?, dev_text.as_bytes())?;
        let mut buffer = [0; 100];
        let Ok(n) = stream.read(&mut buffer) else { return Ok("refused".into()) };
        let got = self.names.show(&buffer[..n]);
        if stream.write_all(text.as_bytes()).and_then(|()| stream.flush()).is_ok() {
            self.pump(Duration::from_millis(150))?;
        }
        Ok(got.into())
    }

    /// `as_recorded` when nobody has connected to the far end.
    pub(crate) fn far_end_idle(&self, as_recorded: &Json) -> Json {
        match self.far_end.as_ref().map(Socket::accept) {
            Some(Ok(_)) => "a connection came".into(),
            _ => as_recorded.clone(),
        }
    }

    /// Patterned bytes through the program while the receiver reads nothing for a while.
    pub(crate) fn flood(&mut self, flood: &Flood) -> Flow<Json> {
        let Some(socket) = self.socket(&flood.client) else { return Ok("no client".into()) };
        let master = self.device(&flood.dev)?.master()?;
        let down = flood.dir == "down";
        let pattern: Vec<u8> = (0..=u8::MAX).cycle().take(flood.n).collect();
        let pause = Duration::from_secs_f64(flood.pause);
        let (mut sent, mut got, mut buffer) = (0, Vec::new(), vec![0; 65_536]);
        let since = Instant::now();
        while since.elapsed() < FLOOD_LIMIT && got.len() < pattern.len() {
            let piece = &pattern[sent..pattern.len().min(sent + 4096)];
            // errors mean "not now", or that it ends here: then the count shows it
            if !piece.is_empty() {
                let put = if down { rustix::io::write(master, piece).ok() } else { socket.send(piece).ok() };
                sent += put.unwrap_or(0);
            }
            if since.elapsed() > pause {
                let n = if down {
                    (&mut &*socket).read(&mut buffer).ok()
                } else {
                    rustix::io::read(master, &mut buffer[..]).ok()
                };
                got.extend_from_slice(&buffer[..n.unwrap_or(0)]);
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        Ok(json!({ "bytes": got.len(), "equal": got == pattern }))
    }
}
