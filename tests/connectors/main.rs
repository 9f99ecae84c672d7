//! Connectors on this machine and on loopback, against real peers: sockets of this test, programs,
//! socat, openssl, gensiot.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

#[path = "../support/mod.rs"]
mod support;

mod local;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::net::{Client, End};
use support::{Broker, Lines, PATIENCE, Process, assert_same, free_port, pattern, tools, until, wait_for};

/// A port with this connector; the broker, and a client that it lets in.
fn setup(connector: &str) -> (Broker, Client, u16) {
    let (broker, port) = broker("tcp", connector, &[]);
    let client = Client::connect(port);
    (broker, client, port)
}

fn broker(accepter: &str, connector: &str, options: &[&str]) -> (Broker, u16) {
    let port = free_port();
    let mut config =
        format!("connection: &far\n  accepter: {accepter},127.0.0.1,{port}\n  connector: '{connector}'\n");
    for (number, option) in options.iter().enumerate() {
        config.push_str(if number == 0 { "  options:\n" } else { "" });
        config.extend(["    ", option, "\n"]);
    }
    (Broker::start(&config), port)
}

/// The refusal of a connector that cannot be opened.
#[track_caller]
fn refusal(connector: &str) -> String {
    let (broker, mut client, _) = setup(connector);
    let (text, end) = client.rest();
    assert_eq!(end, End::Fin);
    broker.wait_metric("serbroker_port_clients", &[], 0);
    String::from_utf8(text).unwrap()
}

/// Sends bytes both ways through `client` and the far end, at once.
fn both_ways(client: &mut Client, mut far: impl Read + Write + Send, mut far_too: impl Write + Send) {
    let (up, down) = (pattern(300_000, 1), pattern(300_000, 2));
    let mut sender = Client(client.0.try_clone().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send(&up));
        scope.spawn(|| far_too.write_all(&down).unwrap());
        let got = scope.spawn(|| {
            let mut got = vec![0; up.len()];
            far.read_exact(&mut got).unwrap();
            got
        });
        assert_same("down", &client.receive(down.len()), &down);
        assert_same("up", &got.join().unwrap(), &up);
    });
}

#[test]
fn tcp_moves_every_byte_and_each_end_closes_the_other() {
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = far.local_addr().unwrap().port();
    // nobody listens at the first address
    let nobody = free_port();
    let (broker, mut client, own) = setup(&format!("tcp,127.0.0.1,{nobody},127.0.0.1,{port}"));
    let (stream, _) = far.accept().unwrap();
    both_ways(&mut client, &stream, &stream);
    drop(stream);
    assert_eq!(client.rest(), (vec![], End::Fin));
    broker.log.wait(&["the far end closed the connection"]);
    // and it is connected again for the next client
    let mut client = Client::connect(own);
    let (mut stream, _) = far.accept().unwrap();
    client.send(b"bye");
    client.half_close();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"bye");
    broker.wait_device("far", false);
}

#[test]
fn what_cannot_be_opened_is_refused_in_the_words_of_ser2net() {
    let dir = tempfile::tempdir().unwrap();
    let there = dir.path().join("there");
    fs::write(&there, "").unwrap();
    let nobody = free_port();
    for (connector, reason) in [
        (format!("tcp,127.0.0.1,{nobody}"), "Connection refused"),
        ("tcp,no.such.host.invalid,1".to_owned(), "Unable to find a valid name on the name server"),
        ("unix,/no/such/socket".to_owned(), "Value or file not found"),
        ("file(infile=/no/such)".to_owned(), "Value or file not found"),
        (format!("file(infile={})", dir.path().display()), "Invalid data to parameter"),
        ("dev,/no/such".to_owned(), "Value or file not found"),
        (format!("pty(link={})", there.display()), "Value already exists"),
        ("pty(owner=no-such-user)".to_owned(), "Value or file not found"),
        ("ssl(CA=/no/such),echo".to_owned(), "Unable to find given certificate"),
    ] {
        assert_eq!(refusal(&connector), format!("Device open failure: {reason}\r\n"), "{connector}");
    }
    // as ser2net, which finds out when it has let the client in
    assert_eq!(refusal("stdio,/no/such/program"), "");
    assert!(there.exists());
}

#[test]
fn udp_sends_and_receives_datagrams_and_survives_that_nobody_listens() {
    let far = UdpSocket::bind("127.0.0.1:0").unwrap();
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = far.local_addr().unwrap().port();
    let own = free_port();
    let (broker, mut client, _) = setup(&format!("udp(laddr=\"127.0.0.1,{own}\"),127.0.0.1,{port}"));
    client.send(b"question");
    let mut buf = [0; 100];
    let (count, from) = far.recv_from(&mut buf).unwrap();
    assert_eq!((&buf[..count], from.port()), (&b"question"[..], own));
    far.send_to(b"", from).unwrap();
    far.send_to(b"answer", from).unwrap();
    assert_eq!(client.receive(6), b"answer");
    // others are not heard
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    other.send_to(b"noise", from).unwrap();
    far.send_to(b"more", from).unwrap();
    assert_eq!(client.receive(4), b"more");
    drop(far);
    client.send(b"nobody");
    let dropped_in = until("the same port", || UdpSocket::bind(("127.0.0.1", port)).ok());
    dropped_in.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    // the error that came back for the lost datagram ends nothing
    until("a datagram again", || {
        client.send(b"again");
        dropped_in.recv(&mut buf).ok()
    });
    broker.wait_device("far", true);
}

#[test]
fn udp_of_everybody_and_multicast() {
    let far = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = far.local_addr().unwrap().port();
    let own = free_port();
    let (_broker, mut client, _) =
        setup(&format!("udp(nocon,mcast=239.1.2.3,laddr=\"127.0.0.1,{own}\"),127.0.0.1,{port}"));
    client.send(b"x");
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    far.recv(&mut [0; 4]).unwrap();
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    other.send_to(b"from another", ("127.0.0.1", own)).unwrap();
    assert_eq!(client.receive(12), b"from another");
}

#[test]
fn unix_sockets() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let far = UnixListener::bind(&path).unwrap();
    let (_broker, mut client, _) = setup(&format!("unix,{}", path.display()));
    let (stream, _) = far.accept().unwrap();
    both_ways(&mut client, &stream, &stream);
    drop(stream);
    assert_eq!(client.rest(), (vec![], End::Fin));
}

#[test]
fn keepopen_keeps_clients_while_the_far_end_comes_and_goes() {
    let port = free_port();
    let (broker, mut client, _) = setup(&format!("keepopen(retry-time=50m),tcp,127.0.0.1,{port}"));
    client.send(b"early");
    broker.log.wait(&["Connection refused", "tried again every 50ms"]);
    let far = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let receive = |want: &[u8]| {
        let (mut stream, _) = far.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut got = vec![0; want.len()];
        stream.read_exact(&mut got).unwrap();
        assert_eq!(got, want);
        stream
    };
    let mut stream = receive(b"early");
    stream.write_all(b"down").unwrap();
    assert_eq!(client.receive(4), b"down");
    broker.log.wait(&["is open again"]);
    drop(stream);
    broker.log.wait(&["the far end closed the connection; tried again"]);
    client.send(b"later");
    drop(receive(b"later"));
    assert_eq!(broker.metric("serbroker_port_clients", &[]), 1);
}

#[test]
fn ratelimit_paces_what_is_written() {
    let (_broker, mut client, _) = setup("ratelimit(xmit_len=2,xmit_delay=50m),echo");
    let begun = Instant::now();
    client.send(b"abcdefgh");
    assert_eq!(client.receive(8), b"abcdefgh");
    assert!(begun.elapsed() >= Duration::from_millis(150), "{:?}", begun.elapsed());
}

#[test]
fn trace_copies_and_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("trace");
    fs::write(&file, "old ").unwrap();
    let trace = |options: &str| format!("trace({options},file={}),echo", file.display());
    let (_broker, mut client, _) = setup(&trace("dir=read,raw"));
    client.send(b"hello");
    assert_eq!(client.receive(5), b"hello");
    wait_for("the copy", || fs::read(&file).unwrap() == b"old hello");
    let (_broker, mut client, _) = setup(&trace("dir=both,delold,block=read"));
    client.send(b"hello");
    wait_for("the columns", || {
        let text = fs::read_to_string(&file).unwrap();
        let found =
            text.contains(" Write (5):\n 0000: 68 65 6c 6c 6f                                   hello\n");
        assert!(!text.contains("Read"));
        found
    });
    assert_eq!(client.during(Duration::from_millis(50)), b"");
}

/// A program that listens, started when it says so on its standard error output.
fn listening(program: &Path, arguments: &[String], sign: &str) -> Process {
    let process = Process::start(Command::new(program).args(arguments).stdin(Stdio::piped()));
    process.stderr.wait(&[sign]);
    process
}

#[test]
fn socat_is_a_far_end() {
    let Some(socat) = tools::tool("socat", "socat") else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let arguments = ["-d", "-d", &format!("UNIX-LISTEN:{}", path.display()), "EXEC:cat"].map(str::to_owned);
    let _socat = listening(&socat, &arguments, "listening on");
    let (_broker, mut client, _) = setup(&format!("unix,{}", path.display()));
    let data = pattern(100_000, 8);
    let mut sender = Client(client.0.try_clone().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send(&data));
        assert_same("socat", &client.receive(data.len()), &data);
    });
}

#[test]
fn openssl_is_a_far_end_and_its_certificate_counts() {
    let Some(openssl) = tools::tool("openssl", "openssl") else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let run = |arguments: &[&str]| {
        let made = Command::new(&openssl).args(arguments).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    for name in ["ca", "other"] {
        let own = [
            "-days",
            "2",
            "-subj",
            "/CN=ca",
            "-keyout",
            &path(&format!("{name}.key")),
            "-out",
            &path(&format!("{name}.crt")),
        ];
        run(&[&["req", "-x509"], &new[..], &own].concat());
    }
    // for a name that is not that of the host: names do not count
    run(&[
        &["req"],
        &new[..],
        &[
            "-subj",
            "/CN=elsewhere",
            "-addext",
            "subjectAltName=DNS:elsewhere",
            "-keyout",
            &path("s.key"),
            "-out",
            &path("s.csr"),
        ],
    ]
    .concat());
    run(&[
        "x509",
        "-req",
        "-in",
        &path("s.csr"),
        "-CA",
        &path("ca.crt"),
        "-CAkey",
        &path("ca.key"),
        "-days",
        "2",
        "-copy_extensions",
        "copy",
        "-out",
        &path("s.crt"),
    ]);
    let port = free_port();
    let mut command = Command::new(&openssl);
    command.args([
        "s_server",
        "-rev",
        "-accept",
        &format!("127.0.0.1:{port}"),
        "-key",
        &path("s.key"),
        "-cert",
        &path("s.crt"),
    ]);
    let server = Process::start(command.stdin(Stdio::piped()));
    server.stdout.wait(&["ACCEPT"]);
    for options in [
        format!("CA={}", path("ca.crt")),
        // the server's own certificate, and a directory with it among others
        format!("CA={}", path("s.crt")),
        format!("CA={}/", dir.path().display()),
        format!("CA={},allow-authfail", path("other.crt")),
        "allow-authfail".to_owned(),
    ] {
        let (_broker, mut client, _) = setup(&format!("ssl({options}),tcp,127.0.0.1,{port}"));
        client.send(b"hello\n");
        assert_eq!(client.receive(6), b"olleh\n", "{options}");
    }
    let text = refusal(&format!("ssl(CA={}),tcp,127.0.0.1,{port}", path("other.crt")));
    assert_eq!(text, "Device open failure: Certificate is not valid\r\n");
    let echo = TcpListener::bind("127.0.0.1:0").unwrap();
    let plain = echo.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in echo.incoming().flatten() {
            // no TLS
            let _ = (&stream).write_all(b"220 welcome\r\n");
        }
    });
    let text = refusal(&format!("ssl(CA={}),tcp,127.0.0.1,{plain}", path("ca.crt")));
    assert_eq!(text, "Device open failure: Communication error\r\n");
}

#[test]
fn gensiot_understands_our_messages_and_we_its() {
    let Some(gensiot) = tools::tool("gensiot", "gensio-bin") else { return };
    for crc in ["on", "off"] {
        let port = free_port();
        let far = format!("msgdelim(crc={crc}),tcp,127.0.0.1,{port}");
        let mut child = Command::new(&gensiot)
            .args(["-a", "-i", "echo", &far])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (errors, _) = Lines::collect(child.stderr.take().unwrap());
        let (broker, own) = broker("tcp", &format!("keepopen(retry-time=50m),{far}"), &[]);
        let mut client = Client::connect(own);
        broker.wait_device("far", true);
        let data = pattern(600, 9);
        let mut back = Vec::new();
        for piece in data.chunks(60) {
            client.send(piece);
            back.extend(client.receive(piece.len()));
        }
        assert_same("messages", &back, &data);
        let _ = child.kill();
        let _ = child.wait();
        assert_eq!(errors.text(), "");
    }
}

#[test]
fn an_address_that_keeps_silent_is_given_up_and_holds_nothing_up() {
    // a full backlog keeps silent as a lost packet does
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = far.local_addr().unwrap();
    socket2::SockRef::from(&far).listen(0).unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        queued.push(stream);
    }
    let connector = format!("tcp,127.0.0.1,{}", address.port());
    let (mut broker, _client, _) = setup(&connector);
    broker.wait_metric("serbroker_port_state", &["state=\"opening\""], 1);
    let (status, time) = broker.terminate();
    assert!(status.success() && time < Duration::from_secs(5), "{status} after {time:?}");
    assert_eq!(refusal(&connector), "Device open failure: Operation timed out\r\n");
}

#[test]
fn connectors_with_the_same_text_are_one() {
    let (one, two) = (free_port(), free_port());
    let broker = Broker::start(&format!(
        "connection: &a\n  accepter: tcp,127.0.0.1,{one}\n  connector: echo\n\
         connection: &b\n  accepter: tcp,127.0.0.1,{two}\n  connector: echo\n"
    ));
    let first = Client::connect(one);
    broker.wait_device("a", true);
    assert_eq!(Client::connect(two).rest().0, b"Port's device already in use\r\n");
    drop(first);
    broker.wait_device("a", false);
    let mut client = Client::connect(two);
    client.send(b"x");
    assert_eq!(client.receive(1), b"x");
}

#[test]
fn without_a_line_requests_are_answered_as_asked_and_the_banner_names_none() {
    let (_broker, port) = broker("telnet(rfc2217),tcp", "echo", &["banner: '[\\B]\\r\\n'"]);
    let mut client = Client::connect(port);
    client.receive_until(b"[]\r\n");
    client.send(b"\xff\xfb\x2c\xff\xfa\x2c\x01\x00\x00\x04\xb0\xff\xf0");
    client.receive_until(b"\xff\xfa\x2c\x65\x00\x00\x04\xb0\xff\xf0");
    client.send(b"\xff\xfa\x2c\x01\x00\x00\x00\x00\xff\xf0");
    client.receive_until(b"\xff\xfa\x2c\x65\x00\x00\x04\xb0\xff\xf0");
}
