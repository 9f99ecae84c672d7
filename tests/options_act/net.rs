//! Options about clients, the network and gathering.

use crate::support::net::{Client, End};
use crate::support::pty::Pty;
use crate::support::{Broker, connection, free_port, tools, until, wait_for};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::SockRef;
use std::fs;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A port with these options.
pub(crate) struct Setup {
    pub(crate) broker: Broker,
    pub(crate) pty: Pty,
    pub(crate) port: u16,
}

impl Setup {
    pub(crate) fn new(options: &[&str]) -> Self {
        Self::with("", options)
    }

    /// `filters`: what stands before `tcp`, with a comma.
    pub(crate) fn with(filters: &str, options: &[&str]) -> Self {
        let (pty, port) = (Pty::new(), free_port());
        let accepter = format!("{filters}tcp,127.0.0.1,{port}");
        let broker = Broker::start(&connection("p", &accepter, pty.path(), options));
        Self { broker, pty, port }
    }

    /// At 300 baud, so that characters are long.
    fn slow(options: &[&str]) -> Self {
        let (pty, port) = (Pty::new(), free_port());
        let text = connection("p", &format!("tcp,127.0.0.1,{port}"), pty.path(), options);
        Self { broker: Broker::start(&text.replace("115200n81", "300n81")), pty, port }
    }

    /// A client that data reaches.
    pub(crate) fn client(&self) -> Client {
        let client = Client::connect(self.port);
        self.broker.wait_device("p", true);
        client
    }

    /// Time from when the device says `data` to when the client has it.
    fn delay(&self, data: &[u8]) -> Duration {
        let mut client = self.client();
        let begun = Instant::now();
        self.pty.write(data);
        assert_eq!(client.receive(data.len()), data);
        begun.elapsed()
    }
}

/// A wait of a second for everything that does not end it.
const GATHER: [&str; 2] = ["chardelay-scale: 1000", "chardelay-max: 1000000"];
const SECOND: Duration = Duration::from_secs(1);
/// Clearly less.
const SHORTER: Duration = Duration::from_millis(900);

fn gathering(option: &str) -> Setup {
    Setup::slow(&[GATHER[0], GATHER[1], option])
}

pub(crate) fn kickolduser() {
    let setup = Setup::new(&["kickolduser: true"]);
    let mut old = setup.client();
    let mut new = Client::connect(setup.port);
    assert_eq!(old.rest().1, End::Fin);
    setup.broker.wait_device("p", true);
    setup.pty.write(b"x");
    assert_eq!(new.receive(1), b"x");
}

pub(crate) fn max_connections() {
    let setup = Setup::new(&["max-connections: 2"]);
    let mut clients = [setup.client(), setup.client()];
    setup.broker.wait_metric("serbroker_port_clients", &[], 2);
    assert_eq!(Client::connect(setup.port).rest().0, b"Port already in use\r\n");
    setup.pty.write(b"x");
    for client in &mut clients {
        assert_eq!(client.receive(1), b"x");
    }
}

pub(crate) fn banner() {
    let setup = Setup::new(&["banner: 'hello \\N'"]);
    assert_eq!(setup.client().receive(7), b"hello p");
}

pub(crate) fn closeon() {
    let setup = Setup::new(&["closeon: bye"]);
    let mut client = setup.client();
    setup.pty.write(b"good bye");
    assert_eq!(client.rest(), (b"good bye".to_vec(), End::Fin));
}

pub(crate) fn sendon() {
    assert!(gathering("sendon: '!'").delay(b"abc!") < SHORTER);
}

pub(crate) fn chardelay() {
    assert!(gathering("chardelay: false").delay(b"abc") < SHORTER);
}

pub(crate) fn chardelay_scale() {
    // 20 ms are the most with two characters
    assert!(gathering("chardelay: true").delay(b"abc") >= SECOND);
    assert!(Setup::slow(&[GATHER[1]]).delay(b"abc") < SHORTER);
}

pub(crate) fn chardelay_min() {
    assert!(Setup::new(&["chardelay-min: 100000", GATHER[1]]).delay(b"abc") >= SECOND / 10);
}

pub(crate) fn chardelay_max() {
    assert!(Setup::slow(&[GATHER[0]]).delay(b"abc") < SHORTER);
    assert!(Setup::slow(&[GATHER[0], "chardelay-max: 500000"]).delay(b"abc") >= SECOND / 2);
}

pub(crate) fn dev_to_net_bufsize() {
    assert!(gathering("dev-to-net-bufsize: 4").delay(b"abcd") < SHORTER);
    assert!(gathering("dev-to-net-bufsize: 5").delay(b"abcd") >= SECOND);
}

pub(crate) fn net_to_dev_bufsize() {
    // what is taken from a client while the device takes nothing is one chunk
    let most = |options: &[&str]| {
        let setup = Setup::new(options);
        let mut client = setup.client();
        client.0.set_nonblocking(true).unwrap();
        let moved = |direction: &str| setup.broker.metric("serbroker_port_bytes_total", &[direction]);
        let waits = || moved("direction=\"from_clients\"").saturating_sub(moved("direction=\"to_device\""));
        let chunk = vec![b'x'; 1 << 20];
        until("a device that takes no more", || {
            // as much as the kernel takes
            while std::io::Write::write(&mut client.0, &chunk).is_ok() {}
            let before = waits();
            (before > 0).then_some(before)
        })
    };
    assert!(most(&[]) <= 8192);
    // how much of a chunk the device still takes is chance
    assert!((0..10).any(|_| most(&["net-to-dev-bufsize: 65536"]) > 8192));
}

pub(crate) fn no_con_to_acc() {
    let setup = Setup::new(&["no-con-to-acc: true"]);
    let mut client = setup.client();
    setup.pty.write(b"secret");
    setup.broker.wait_metric("serbroker_port_dropped_bytes_total", &["one_way", "to_clients"], 6);
    client.send(b"up");
    assert_eq!(setup.pty.read(2), b"up");
    client.half_close();
    assert_eq!(client.rest().0, b"");
}

fn refused(option: &str) {
    let setup = Setup::new(&[option]);
    assert_eq!(
        Client::connect(setup.port).rest().0,
        b"Accessed denied due to your net address\r\n",
        "{option}"
    );
}

pub(crate) fn remaddr() {
    refused("remaddr: 10.9.9.9,0");
    Setup::new(&["remaddr: 127.0.0.1,0"]).client();
}

pub(crate) fn allow() {
    refused("allow: 10.0.0.0/8");
    Setup::new(&["allow: 127.0.0.0/8"]).client();
}

pub(crate) fn refusal_text() {
    let setup = Setup::new(&["refusal-text: false"]);
    let _first = setup.client();
    assert_eq!(Client::connect(setup.port).rest().0, b"");
}

pub(crate) fn accepter_retry_time() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let pty = Pty::new();
    let text = connection("p", &format!("tcp,127.0.0.1,{port}"), pty.path(), &["accepter-retry-time: 1"]);
    let broker = Broker::start(&text);
    drop(taken);
    let begun = Instant::now();
    broker.wait_metric("serbroker_port_listener_up", &[], 1);
    // 20 s when nothing is said
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

pub(crate) fn rfc2217() {
    let offers = |filters: &str| {
        let mut client = Setup::with(filters, &[]).client();
        client.half_close();
        client.rest().0.windows(3).any(|w| w == [255, 253, 44])
    };
    assert!(offers("telnet(rfc2217),") && !offers("telnet,"));
}

pub(crate) fn signature() {
    let setup = Setup::with("telnet(rfc2217),", &["signature: me"]);
    let mut client = setup.client();
    client.send(&[255, 251, 44, 255, 250, 44, 0, 255, 240]);
    let answer = [255, 250, 44, 100, b'm', b'e', 255, 240];
    assert!(client.receive_until(&answer).ends_with(&answer));
}

/// The sockets of the program.
pub(crate) fn sockets(broker: &Broker) -> Vec<OwnedFd> {
    let pid = Pid::from_child(&broker.process.child);
    let handle = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let dir = format!("/proc/{}/fd", pid.as_raw_nonzero());
    let numbers = fs::read_dir(dir).unwrap().filter_map(|entry| {
        let entry = entry.ok()?;
        let target = fs::read_link(entry.path()).ok()?;
        let socket = target.to_string_lossy().starts_with("socket:");
        socket.then(|| entry.file_name().to_str()?.parse::<RawFd>().ok())?
    });
    numbers.filter_map(|fd| pidfd_getfd(&handle, fd, PidfdGetfdFlags::empty()).ok()).collect()
}

/// The sockets at this local port that listen, or that do not.
pub(crate) fn at(sockets: &[OwnedFd], port: u16, listening: bool) -> Vec<SockRef<'_>> {
    let all = sockets.iter().map(SockRef::from);
    all.filter(|socket| {
        let local = socket.local_addr().ok().and_then(|a| a.as_socket()).map(|a| a.port());
        local == Some(port) && socket.is_listener().unwrap_or(false) == listening
    })
    .collect()
}

pub(crate) fn nodelay() {
    for (text, expected) in [("true", true), ("false", false)] {
        let (pty, port) = (Pty::new(), free_port());
        let accepter = format!("tcp(nodelay={text}),127.0.0.1,{port}");
        let broker = Broker::start(&connection("p", &accepter, pty.path(), &[]));
        let _client = Client::connect(port);
        broker.wait_device("p", true);
        let sockets = sockets(&broker);
        let found = at(&sockets, port, false);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].tcp_nodelay().unwrap(), expected, "{}", found[0].as_raw_fd());
    }
}

pub(crate) fn reuseaddr() {
    for (text, expected) in [("true", true), ("false", false)] {
        let (pty, port) = (Pty::new(), free_port());
        let accepter = format!("tcp(reuseaddr={text}),127.0.0.1,{port}");
        let broker = Broker::start(&connection("p", &accepter, pty.path(), &[]));
        let sockets = sockets(&broker);
        let found = at(&sockets, port, true);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].reuse_address().unwrap(), expected);
    }
}

/// `clientauth` with `CA`: who has no certificate of the authority does not get in.
pub(crate) fn clientauth() {
    let Some(openssl) = tools::tool("openssl", "openssl") else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (key, cert) = (path("key"), path("cert"));
    let made = Command::new(&openssl)
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", &key, "-out", &cert])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let setup = Setup::with(&format!("ssl(key={key},cert={cert},CA={cert},clientauth),"), &[]);
    let connect = |more: &[&str]| {
        let mut command = Command::new(&openssl);
        command.args(["s_client", "-quiet", "-connect", &format!("127.0.0.1:{}", setup.port)]).args(more);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut stranger = connect(&[]);
    setup.broker.wait_metric("serbroker_port_refusals_total", &["reason=\"tls\""], 1);
    wait_for("the end of the stranger", || stranger.try_wait().unwrap().is_some());
    assert_eq!(setup.broker.metric("serbroker_port_connections_total", &[]), 0);
    let mut known = connect(&["-key", &key, "-cert", &cert]);
    setup.broker.wait_metric("serbroker_port_connections_total", &[], 1);
    known.kill().unwrap();
    known.wait().unwrap();
}
