//! Clients that send nonsense, break off, or come in crowds.

use crate::kit::{Daemon, PATIENCE, PROGRAM, Pty, connection, noise, read_to_close, until};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const TELNET: &str = "telnet(rfc2217),tcp,127.0.0.1,0";
const IAC: u8 = 255;

fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Closes with a reset instead of an end.
fn reset(client: TcpStream) {
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
}

/// Ends the thread that reads the device also when a test fails.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A telnet port whose device throws away what it gets, while `trouble` runs.
fn with_telnet(trouble: impl FnOnce(SocketAddr) + Send) {
    let pty = Pty::new();
    let mut daemon = Daemon::start(&connection("port", TELNET, &pty.path, &["max-connections: 4"]));
    let address = daemon.address("port");
    let before = daemon.rss();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sink = scope.spawn(|| {
            let mut buf = [0; 4096];
            while !done.load(Ordering::Relaxed) {
                if rustix::io::read(&pty.master, &mut buf).is_err() {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        let ended = Ended(&done);
        daemon.meanwhile(|| trouble(address));
        drop(ended);
        sink.join().unwrap();
    });
    // it serves as before
    let mut client = daemon.connect("port");
    client.write_all(b"\xff\xfd\x63").unwrap();
    answered(&mut client, &[IAC, 252, 99]);
    let grown = daemon.peak_rss().saturating_sub(before);
    println!("memory: {before} kB before, {grown} kB more at the peak");
    assert!(grown < 8 * 1024, "memory grew by {grown} kB");
    daemon.finish();
}

/// Reads until `wanted` came.
fn answered(client: &mut TcpStream, wanted: &[u8]) {
    let mut got = Vec::new();
    let mut buf = [0; 4096];
    until("the answer", || {
        let n = client.read(&mut buf).unwrap();
        assert!(n > 0, "closed before the answer, after {got:?}");
        got.extend_from_slice(&buf[..n]);
        got.windows(wanted.len()).any(|w| w == wanted).then_some(())
    });
}

/// Sends all of it while somebody reads the answers, and ends in good order.
fn send_and_read(mut client: TcpStream, data: &[u8]) {
    let mut reader = client.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || read_to_close(&mut reader));
        client.write_all(data).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
    });
}

#[test]
fn random_bytes() {
    with_telnet(|address| {
        for seed in 1..9 {
            // many IACs, so that commands and options are hit
            let mut state = seed * 7919;
            let data: Vec<u8> =
                noise(&mut state, 100_000).iter().map(|&b| if b < 40 { IAC } else { b }).collect();
            send_and_read(connect(address), &data);
        }
    });
}

#[test]
fn a_subnegotiation_without_end() {
    with_telnet(|address| {
        let mut data = vec![IAC, 250, 44];
        data.resize(10 << 20, b'x');
        send_and_read(connect(address), &data);
    });
}

#[test]
fn subnegotiations_cut_off() {
    with_telnet(|address| {
        for part in
            [&b"\xff"[..], b"\xff\xfa", b"\xff\xfa\x2c", b"\xff\xfa\x2c\x01\x00\x00", b"\xff\xfa\x2c\x01\xff"]
        {
            send_and_read(connect(address), part);
            let mut client = connect(address);
            client.write_all(part).unwrap();
            reset(client);
        }
    });
}

#[test]
fn floods_of_options() {
    with_telnet(|address| {
        for verb in [253, 251, 254, 252] {
            let data: Vec<u8> = (0..100_000u32).flat_map(|i| [IAC, verb, (i % 256) as u8]).collect();
            send_and_read(connect(address), &data);
        }
    });
}

#[test]
fn a_flood_of_requests_whose_answers_are_never_read() {
    with_telnet(|address| {
        let mut client = connect(address);
        client.write_all(&[IAC, 251, 44]).unwrap();
        let request = [IAC, 250, 44, 0, IAC, 240].repeat(2 << 20);
        let taken = crate::kit::push_until_stuck(&mut client, &request, Duration::from_millis(1500));
        assert!(
            taken < request.len(),
            "the broker took {taken} bytes of requests whose answers nobody reads"
        );
        // and another client is not kept from anything
        let mut other = connect(address);
        other.write_all(b"\xff\xfd\x63").unwrap();
        answered(&mut other, &[IAC, 252, 99]);
    });
}

#[test]
fn resets_in_the_middle() {
    with_telnet(|address| {
        for i in 0..50u64 {
            let mut client = connect(address);
            let data = noise(&mut (i + 1), 2000);
            client.write_all(&data).unwrap();
            if i % 2 == 0 {
                // the broker has sent its opening: it is lost with the rest
                let mut buf = [0; 1];
                client.read_exact(&mut buf).unwrap();
            }
            reset(client);
        }
    });
}

#[test]
fn five_hundred_come_and_go() {
    let pty = Pty::new();
    let mut daemon = Daemon::start(&connection("port", "tcp,127.0.0.1,0", &pty.path, &[]));
    let address = daemon.address("port");
    let before = (daemon.files(), daemon.rss());
    daemon.meanwhile(|| {
        for i in 0..500 {
            let client = connect(address);
            if i % 3 == 0 {
                reset(client);
            }
        }
    });
    let mut client = until("the port is free", || {
        let mut client = connect(address);
        client.write_all(b"hello").unwrap();
        client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        match client.read(&mut [0; 100]) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => Some(client),
            _ => None,
        }
    });
    client.write_all(b"last").unwrap();
    until("the last bytes", || pty.read(1).ends_with(b"t").then_some(()));
    drop(client);
    until("all files are closed", || (daemon.files() <= before.0).then_some(()));
    println!("memory: {} kB before, {} kB after 500 clients", before.1, daemon.rss());
    assert!(daemon.rss() < before.1 + 4096, "{} kB, before {}", daemon.rss(), before.1);
    daemon.finish();
}

#[test]
fn half_open_tls() {
    let dir = tempfile::tempdir().unwrap();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-subj", "/CN=localhost", "-days", "2", "-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(dir.path())
        .output();
    match made {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => return crate::kit::skip("TLS: openssl(1) is missing"),
    }
    let pty = Pty::new();
    let files = dir.path().display();
    let accepter = format!("'ssl(key={files}/key.pem,cert={files}/cert.pem),tcp,127.0.0.1,0'");
    let mut daemon = Daemon::start(&connection("port", &accepter, &pty.path, &[]));
    let address = daemon.address("port");
    // the first bytes of a handshake, and then nothing; nothing at all; and nonsense
    let mut silent: Vec<TcpStream> = (0..20).map(|_| connect(address)).collect();
    for client in silent.iter_mut().skip(10) {
        client.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    }
    daemon.meanwhile(|| {
        let mut nonsense = connect(address);
        nonsense.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        read_to_close(&mut nonsense);
    });
    daemon.logged(&["TLS handshake failed", "port=port"]);
    // they are nobody's turn: a client that can do TLS is served meanwhile
    let (address_text, begun) = (address.to_string(), Instant::now());
    let mut tls = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &address_text])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    tls.stdin.as_mut().unwrap().write_all(b"hello").unwrap();
    assert_eq!(pty.read(5), b"hello");
    tls.kill().unwrap();
    tls.wait().unwrap();
    // those that stay silent are cut after a while
    daemon.meanwhile(move || silent.iter_mut().for_each(|client| drop(read_to_close(client))));
    println!("silent TLS clients were cut after {:.1?}", begun.elapsed());
    daemon.finish();
}

#[test]
fn more_clients_than_files() {
    let pty = Pty::new();
    let ports = connection("port", "tcp,127.0.0.1,0", &pty.path, &["max-connections: 200"]);
    let mut daemon = Daemon::start_by(&ports, |config| {
        let mut command = Command::new("prlimit");
        command.arg("--nofile=64").arg(PROGRAM).args(["-n", "-c"]).arg(config);
        command
    });
    let address = daemon.address("port");
    let crowd: Vec<TcpStream> = (0..100).map(|_| connect(address)).collect();
    daemon.logged(&["cannot accept clients for now", "port=port"]);
    let (begun, before) = (Instant::now(), daemon.cpu());
    until("two seconds without files", || (begun.elapsed() > Duration::from_secs(2)).then_some(()));
    let used = daemon.cpu().saturating_sub(before);
    println!("processor time in two seconds without files: {used:?}");
    assert!(used < Duration::from_millis(300), "busy without files: {used:?}");
    daemon.exchange();
    drop(crowd);
    let mut client = connect(address);
    client.write_all(b"hello").unwrap();
    assert_eq!(pty.read(5), b"hello", "service resumes");
    daemon.finish();
}
