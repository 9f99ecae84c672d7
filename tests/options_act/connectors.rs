//! Options of the types that connectors and accepters are put together of.

use crate::net::sockets;
use crate::support::net::{Client, End};
use crate::support::pty::Pty;
use crate::support::{Broker, PATIENCE, connection, free_port, tools, until, wait_for};
use socket2::SockRef;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// A port with this connector, on a program without a umask.
fn setup(connector: &str) -> (Broker, Client) {
    let port = free_port();
    let text = format!("connection: &far\n  accepter: tcp,127.0.0.1,{port}\n  connector: '{connector}'\n");
    (Broker::start_with(&text, without_umask), Client::connect(port))
}

fn without_umask(command: &mut Command) {
    let mut outer = Command::new("sh");
    outer.args(["-c", "umask 0 && exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
    outer.stdin(std::process::Stdio::null()).env_remove("RUST_LOG").env_remove("NOTIFY_SOCKET");
    *command = outer;
}

/// What a client is told when the connector cannot be opened.
fn refusal(connector: &str) -> String {
    String::from_utf8(setup(connector).1.rest().0).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

/// Options of a mode and what they make.
const MODES: [(&str, u32); 4] =
    [("perm=604", 0o604), ("umode=7", 0o766), ("gmode=4", 0o646), ("omode=0", 0o660)];

pub(crate) fn tcp_laddr() {
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = far.local_addr().unwrap().port();
    let (_broker, _client) = setup(&format!("tcp(laddr=\"127.0.0.2,0\"),127.0.0.1,{port}"));
    assert_eq!(far.accept().unwrap().1.ip(), Ipv4Addr::new(127, 0, 0, 2));
}

/// The UDP socket of a port with these options.
fn udp_socket(options: &str) -> OwnedFd {
    let own = free_port();
    let far = UdpSocket::bind("127.0.0.1:0").unwrap();
    let far = far.local_addr().unwrap().port();
    let (broker, _client) = setup(&format!("udp({options}laddr=\"127.0.0.1,{own}\"),127.0.0.1,{far}"));
    broker.wait_device("far", true);
    let is_it = |socket: &OwnedFd| {
        let local = SockRef::from(socket).local_addr().ok().and_then(|address| address.as_socket());
        local.is_some_and(|address| address.port() == own)
    };
    sockets(&broker).into_iter().find(is_it).unwrap()
}

pub(crate) fn udp_mttl() {
    let ttl = |options| SockRef::from(&udp_socket(options)).multicast_ttl_v4().unwrap();
    assert_eq!((ttl(""), ttl("mttl=7,")), (1, 7));
}

pub(crate) fn udp_mloop() {
    let loops = |options| SockRef::from(&udp_socket(options)).multicast_loop_v4().unwrap();
    assert!(loops("") && !loops("mloop=false,"));
}

pub(crate) fn udp_reuseaddr() {
    let own = free_port();
    let other = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    other.set_reuse_address(true).unwrap();
    other.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], own)).into()).unwrap();
    let connector = |option: &str| format!("udp({option}laddr=\"127.0.0.1,{own}\"),127.0.0.1,9");
    assert!(refusal(&connector("")).starts_with("Device open failure: "));
    setup(&connector("reuseaddr,")).0.wait_device("far", true);
}

pub(crate) fn udp_mcast() {
    let group = Ipv4Addr::new(239, 77, 16, 3);
    let own = free_port();
    let sender = UdpSocket::bind("0.0.0.0:0").unwrap();
    // not farther than this machine
    sender.set_multicast_ttl_v4(0).unwrap();
    let (broker, mut client) =
        setup(&format!("udp(nocon,mcast={group},laddr=\"0.0.0.0,{own}\"),127.0.0.1,9"));
    broker.wait_device("far", true);
    if let Err(error) = sender.send_to(b"to the group", (group, own)) {
        return tools::missing(&format!("a route for multicast: {error}"));
    }
    assert_eq!(client.receive(12), b"to the group");
}

pub(crate) fn stdio_start_dir() {
    assert_eq!(setup("stdio(start-dir=/usr),pwd").1.rest().0, b"/usr\n");
}

pub(crate) fn stdio_noredir_stderr() {
    for (option, is_ours) in [("", false), ("(noredir-stderr)", true)] {
        let (broker, _client) = setup(&format!("stdio{option},sh -c \"echo trouble$((1 + 1)) >&2; cat\""));
        assert_eq!(broker.log.wait(&["trouble2"]) == "trouble2", is_ours, "{option}");
    }
}

pub(crate) fn pty_forcelink() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("tty");
    fs::write(&link, "in the way").unwrap();
    let connector = |option: &str| format!("pty(link={}{option})", link.display());
    assert_eq!(refusal(&connector("")), "Device open failure: Value already exists\r\n");
    assert_eq!(fs::read(&link).unwrap(), b"in the way");
    let (broker, _client) = setup(&connector(",forcelink"));
    broker.wait_device("far", true);
    assert!(fs::read_link(&link).unwrap().starts_with("/dev/pts"));
}

pub(crate) fn pty_modes() {
    for (option, expected) in MODES {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("tty");
        let (broker, _client) = setup(&format!("pty({option},link={})", link.display()));
        broker.wait_device("far", true);
        assert_eq!(mode(&link), expected, "{option}");
    }
}

/// A user and a group that are not ours, with their numbers; none when we may not give files away.
fn others() -> Option<[(String, u32); 2]> {
    if !rustix::process::geteuid().is_root() {
        tools::missing("giving files to others takes root");
        return None;
    }
    let second = |file: &str| {
        let text = fs::read_to_string(file).unwrap();
        let mut entries = text.lines().filter_map(|line| {
            let mut fields = line.split(':');
            Some((fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?))
        });
        entries.rfind(|(_, number)| *number > 0).unwrap()
    };
    Some([second("/etc/passwd"), second("/etc/group")])
}

pub(crate) fn pty_owner_and_group() {
    let Some([user, group]) = others() else { return };
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("tty");
    let (broker, _client) =
        setup(&format!("pty(owner={},group={},link={})", user.0, group.0, link.display()));
    broker.wait_device("far", true);
    let made = fs::metadata(&link).unwrap();
    assert_eq!((made.uid(), made.gid()), (user.1, group.1));
}

/// A port on a socket file with these options, and the file.
fn unix(options: &str) -> (Broker, fs::Metadata) {
    let (pty, dir) = (Pty::new(), tempfile::tempdir().unwrap());
    let path = dir.path().join("s");
    let accepter = format!("'unix({options}),{}'", path.display());
    let broker = Broker::start_with(&connection("p", &accepter, pty.path(), &[]), without_umask);
    let made = until("the socket file", || fs::symlink_metadata(&path).ok());
    (broker, made)
}

pub(crate) fn unix_modes() {
    for (option, expected) in MODES {
        assert_eq!(unix(option).1.mode() & 0o777, expected, "{option}");
    }
}

pub(crate) fn unix_owner_and_group() {
    let Some([user, group]) = others() else { return };
    let made = unix(&format!("owner={},group={}", user.0, group.0)).1;
    assert_eq!((made.uid(), made.gid()), (user.1, group.1));
}

pub(crate) fn file_modes() {
    for (option, expected) in MODES {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("out");
        let (broker, _client) = setup(&format!("file(outfile={},create,{option})", file.display()));
        broker.wait_device("far", true);
        assert_eq!(mode(&file), expected, "{option}");
    }
}

pub(crate) fn file_read_close() {
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in"), dir.path().join("out"));
    fs::write(&input, "all").unwrap();
    let files = format!("infile={},outfile={},create", input.display(), output.display());
    assert_eq!(setup(&format!("file({files})")).1.rest(), (b"all".to_vec(), End::Fin));
    let (_broker, mut client) = setup(&format!("file({files},read_close=false)"));
    assert_eq!(client.during(Duration::from_millis(300)), b"all");
    client.send(b"more");
    wait_for("the output", || fs::read(&output).unwrap() == b"more");
}

pub(crate) fn keepopen_discard_badwrites() {
    for (option, expected) in [("discard-badwrites,", &b"late"[..]), ("", b"earlylate")] {
        let port = free_port();
        let (broker, mut client) = setup(&format!("keepopen({option}retry-time=50m),tcp,127.0.0.1,{port}"));
        broker.log.wait(&["Connection refused", "tried again"]);
        client.send(b"early");
        let direction = if option.is_empty() { "from_clients" } else { "to_device" };
        broker.wait_metric("serbroker_port_bytes_total", &[&format!("direction=\"{direction}\"")], 5);
        let far = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let (mut stream, _) = far.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        broker.log.wait(&["is open again"]);
        client.send(b"late");
        client.half_close();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        assert_eq!(got, expected, "{option}");
    }
}

pub(crate) fn ratelimit_xmit_len() {
    // half a minute when bytes go one by one
    let (_broker, mut client) = setup("ratelimit(xmit_len=100,xmit_delay=300m),echo");
    let begun = Instant::now();
    client.send(&[b'x'; 100]);
    client.receive(100);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

pub(crate) fn msgdelim_crc() {
    // 31c3 is the check value of CRC-16/XMODEM
    let summed = b"\xfe\x01123456789\x31\xc3\xfe\x01";
    let bare = b"\xfe\x01123456789\xfe\x01";
    // without the sum, its bytes are a part of the message
    for (option, wire, back) in
        [("", &summed[..], &b"123456789"[..]), ("(crc=false)", &bare[..], &b"123456789\x31\xc3123456789"[..])]
    {
        let far = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = far.local_addr().unwrap().port();
        let (_broker, mut client) = setup(&format!("msgdelim{option},tcp,127.0.0.1,{port}"));
        let (mut stream, _) = far.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        client.send(b"123456789");
        let mut got = vec![0; wire.len()];
        stream.read_exact(&mut got).unwrap();
        assert_eq!(got, wire, "{option}");
        stream.write_all(summed).unwrap();
        stream.write_all(bare).unwrap();
        drop(stream);
        assert_eq!(client.rest(), (back.to_vec(), End::Fin), "{option}");
    }
}

pub(crate) fn trace_stderr() {
    let (broker, mut client) = setup("trace(dir=write,stderr),echo");
    client.send(b"hello");
    broker.log.wait(&[" 0000: 68 65 6c 6c 6f "]);
    assert!(broker.process.stdout.find(&["68 65"]).is_none());
}

pub(crate) fn trace_stdout() {
    let (broker, mut client) = setup("trace(dir=write,stdout),echo");
    client.send(b"hello");
    broker.process.stdout.wait(&[" 0000: 68 65 6c 6c 6f "]);
    assert!(broker.log.find(&["68 65"]).is_none());
}

pub(crate) fn trace_delold() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("trace");
    for (option, expected) in [("", "old new"), (",delold", "new")] {
        fs::write(&file, "old ").unwrap();
        let (_broker, mut client) =
            setup(&format!("trace(dir=write,raw,file={}{option}),echo", file.display()));
        client.send(b"new");
        wait_for(expected, || fs::read_to_string(&file).unwrap() == expected);
    }
}
