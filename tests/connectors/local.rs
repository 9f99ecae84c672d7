//! What stays on this machine: echo, files, device nodes, pseudo-terminals, programs.

use crate::support::net::{Client, End};
use crate::support::{Broker, assert_same, free_port, pattern, wait_for};
use crate::{refusal, setup};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

#[test]
fn echo_sends_back_and_data_comes_first() {
    let (_broker, mut client, _) = setup("echo(data=\"hello there\")");
    assert_eq!(client.receive(11), b"hello there");
    let data = pattern(500_000, 3);
    let mut sender = Client(client.0.try_clone().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send(&data));
        assert_same("echo", &client.receive(data.len()), &data);
    });
    let (_broker, mut client, _) = setup("echo(noecho,data=once)");
    assert_eq!(client.rest(), (b"once".to_vec(), End::Fin));
}

#[test]
fn files_are_read_and_written() {
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in"), dir.path().join("out"));
    let data = pattern(200_000, 4);
    fs::write(&input, &data).unwrap();
    let (_broker, mut client, port) = setup(&format!("file(infile={})", input.display()));
    assert_eq!(client.rest(), (data.clone(), End::Fin));
    assert_eq!(Client::connect(port).rest().0.len(), data.len(), "from the start again");

    let text = format!(
        "file(infile={},outfile={},read_close=no,create,perm=640)",
        input.display(),
        output.display()
    );
    let (broker, mut client, port) = setup(&text);
    assert_same("input", &client.receive(data.len()), &data);
    client.send(b"0123456789");
    client.half_close();
    broker.wait_device("far", false);
    assert_eq!(fs::read(&output).unwrap(), b"0123456789");
    assert_eq!(fs::metadata(&output).unwrap().permissions().mode() & 0o777, 0o640);
    let mut client = Client::connect(port);
    client.receive(data.len());
    client.send(b"ab");
    wait_for("the file is written from its start", || fs::read(&output).unwrap() == b"ab23456789");
}

#[test]
fn devices_that_are_no_terminals() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let (_broker, mut client, _) = setup(&format!("dev(rdonly),{}", fifo.display()));
    let mut writer = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    writer.write_all(b"from a FIFO").unwrap();
    assert_eq!(client.receive(11), b"from a FIFO");
    drop(writer);
    assert_eq!(client.rest(), (vec![], End::Fin));
    // a sink that cannot be watched by epoll
    let (broker, mut client, _) = setup("dev(wronly),/dev/null");
    client.send(&pattern(100_000, 5));
    broker.wait_metric("serbroker_port_bytes_total", &["direction=\"to_device\""], 100_000);
    assert!(refusal("serialdev,/dev/null").contains("OS error"));
}

#[test]
fn a_pseudo_terminal_for_other_programs() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("tty");
    let text = format!("pty(link={},raw,perm=620)", link.display());
    let (broker, mut client, port) = setup(&text);
    broker.wait_device("far", true);
    let open = || fs::OpenOptions::new().read(true).write(true).open(&link).unwrap();
    let mut tty = open();
    let mode = fs::metadata(&link).unwrap().mode() & 0o777;
    assert_eq!(mode & !0o620, 0);
    assert_eq!(mode & 0o600, 0o600);
    let data = pattern(2000, 6);
    tty.write_all(&data).unwrap();
    assert_same("raw", &client.receive(data.len()), &data);
    client.send(&data);
    let mut got = vec![0; data.len()];
    tty.read_exact(&mut got).unwrap();
    assert_same("raw", &got, &data);
    drop(tty);
    assert_eq!(client.rest(), (vec![], End::Fin));
    wait_for("the link is gone", || fs::symlink_metadata(&link).is_err());
    // it is there again for the next client; and with a link to nowhere in its place
    std::os::unix::fs::symlink("/dev/pts/99999", &link).unwrap();
    let client = Client::connect(port);
    broker.wait_device("far", true);
    drop(open());
    drop(client);
    wait_for("the link is gone again", || fs::symlink_metadata(&link).is_err());
    broker.wait_device("far", false);
}

#[test]
fn a_pseudo_terminal_echoes_before_anybody_opens_it() {
    let (_broker, mut client, _) = setup("pty");
    client.send(b"y");
    assert_eq!(client.receive(1), b"y");
}

#[test]
fn a_program_on_a_pseudo_terminal() {
    let (broker, mut client, _) = setup("pty,sh -c \"tty; stty -echo; read x; echo got $x; exit 3\"");
    assert!(client.receive_until(b"\r\n").starts_with(b"/dev/pts/"));
    client.send(b"a line\n");
    let (text, end) = client.rest();
    assert!(String::from_utf8_lossy(&text).ends_with("got a line\r\n"), "{text:?}");
    assert_eq!(end, End::Fin);
    broker.wait_device("far", false);
    let (_broker, mut client, _) = setup("pty(start-dir=/usr),-/bin/sh -c \"echo $0 $PWD\"");
    assert_eq!(client.rest().0, b"-/bin/sh /usr\r\n");
}

/// Children of the broker that are dead and not waited for.
fn zombies(broker: &Broker) -> usize {
    let own = broker.process.child.id();
    let of = |stat: String| {
        let mut fields = stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned);
        let (state, parent) = (fields.next()?, fields.next()?);
        Some(state == "Z" && parent == own.to_string())
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter(|e| fs::read_to_string(e.path().join("stat")).ok().and_then(of) == Some(true)).count()
}

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[test]
fn a_program_by_its_pipes() {
    let (broker, mut client, port) = setup("stdio(start-dir=/usr),cat");
    let data = pattern(500_000, 7);
    let mut sender = Client(client.0.try_clone().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send(&data));
        assert_same("cat", &client.receive(data.len()), &data);
    });
    drop((sender, client));
    broker.wait_device("far", false);
    wait_for("no zombie", || zombies(&broker) == 0);
    // and again for the next client
    let mut client = Client::connect(port);
    client.send(b"x");
    assert_eq!(client.receive(1), b"x");

    let (broker, mut client, _) = setup("stdio,sh -c \"echo out; echo trouble >&2; exit 3\"");
    assert_eq!(client.rest(), (b"out\n".to_vec(), End::Fin));
    broker.log.wait(&["the program says: trouble"]);
    broker.log.wait(&["exit status: 3"]);
    wait_for("no zombie", || zombies(&broker) == 0);
    let (_broker, mut client, _) = setup("stdio(stderr-to-stdout),sh -c \"echo trouble >&2\"");
    assert_eq!(client.rest().0, b"trouble\n");
}

#[test]
fn nothing_of_a_program_outlives_its_clients_or_the_broker() {
    // it does not heed SIGTERM, and has started others
    let stubborn = "stdio,sh -c \"trap : TERM; sleep 1000 & echo $! $$; while :; do sleep 1; done\"";
    let pids = |client: &mut Client| {
        let line = String::from_utf8(client.receive_until(b"\n")).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let (mut broker, mut client, port) = setup(stubborn);
    let first = pids(&mut client);
    assert!(first.iter().all(|pid| is_alive(pid)));
    drop(client);
    wait_for("the whole group is killed", || !first.iter().any(|pid| is_alive(pid)));
    let mut client = Client::connect(port);
    let second = pids(&mut client);
    broker.terminate();
    wait_for("the end of the broker is theirs too", || !second.iter().any(|pid| is_alive(pid)));
}

/// Whether a descriptor of this process goes on to the programs that it starts.
fn is_inherited(number: u32) -> bool {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    // O_CLOEXEC, in octal
    flags.is_some_and(|flags| u32::from_str_radix(flags.trim(), 8).unwrap() & 0o2_000_000 == 0)
}

#[test]
fn a_program_inherits_its_three_streams_and_nothing_else() {
    // a second port holds sockets, a pseudo-terminal and pipes open meanwhile
    let (one, two) = (free_port(), free_port());
    let broker = Broker::start(&format!(
        "connection: &a\n  accepter: tcp,127.0.0.1,{one}\n  connector: pty\n\
         connection: &b\n  accepter: tcp,127.0.0.1,{two}\n  connector: 'stdio,ls /proc/self/fd'\n"
    ));
    let _held = Client::connect(one);
    broker.wait_device("a", true);
    let listed = String::from_utf8(Client::connect(two).rest().0).unwrap();
    let mut numbers: Vec<u32> = listed.lines().map(|line| line.parse().unwrap()).collect();
    // what we were started with and hand on; ls itself opens the directory
    numbers.retain(|number| *number < 4 || !is_inherited(*number));
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2, 3]);
}
