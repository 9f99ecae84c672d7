//! One side sends and sends, the other takes nothing: memory stays bounded.

use crate::kit::{Daemon, Pty, connection, push_until_stuck};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Memory that one stuck port may cost, kilobytes. The kernel's socket buffers are not part of it.
const COST: u64 = 4 * 1024;
/// After so long without a byte taken the other side is stuck.
const STILL: Duration = Duration::from_millis(1500);

fn grown(daemon: &Daemon, before: u64) {
    let grown = daemon.peak_rss().saturating_sub(before);
    println!("memory: {before} kB before, {grown} kB more at the peak");
    assert!(grown < COST, "memory grew by {grown} kB");
}

fn flood_of_data(accepter: &str) {
    let pty = Pty::new();
    let mut daemon = Daemon::start(&connection("port", accepter, &pty.path, &[]));
    let before = daemon.rss();
    let mut client = daemon.connect("port");
    let data = vec![0x55; 64 << 20];
    let taken = daemon.meanwhile(|| push_until_stuck(&mut client, &data, STILL));
    println!("the stuck port took {taken} bytes");
    assert!(taken < data.len(), "the broker took more than a device that reads nothing could");
    grown(&daemon, before);
    daemon.finish();
}

#[test]
fn data_for_a_device_that_does_not_read() {
    flood_of_data("tcp,127.0.0.1,0");
}

#[test]
fn telnet_data_for_a_device_that_does_not_read() {
    flood_of_data("telnet(rfc2217),tcp,127.0.0.1,0");
}

/// The device sends until nothing was taken for a while, 64 MB at the most. Returns what was taken.
pub(crate) fn device_floods(pty: &Pty) -> usize {
    let data = [0xff; 4096];
    let (mut taken, mut moved) = (0, Instant::now());
    while taken < 64 << 20 && moved.elapsed() < STILL {
        match pty.write_some(&data) {
            0 => std::thread::sleep(Duration::from_millis(1)),
            n => {
                taken += n;
                moved = Instant::now();
            }
        }
    }
    taken
}

#[test]
fn a_client_that_never_reads() {
    for accepter in ["tcp,127.0.0.1,0", "telnet(rfc2217),tcp,127.0.0.1,0"] {
        let pty = Pty::new();
        let mut daemon = Daemon::start(&connection("port", accepter, &pty.path, &[]));
        let before = daemon.rss();
        let client = daemon.connect("port");
        daemon.logged(&["device open", "port=port"]);
        let taken = daemon.meanwhile(|| device_floods(&pty));
        println!("the stuck port took {taken} bytes");
        assert!(taken < 64 << 20, "the broker took more than anybody could");
        grown(&daemon, before);
        drop(client);
        daemon.finish();
    }
}

#[test]
fn a_client_that_never_reads_beside_one_that_does() {
    let pty = Pty::new();
    let ports = connection("port", "tcp,127.0.0.1,0", &pty.path, &["max-connections: 2"]);
    let mut daemon = Daemon::start(&ports);
    let before = daemon.rss();
    let _lazy = daemon.connect("port");
    let mut eager = daemon.connect("port");
    daemon.logged(&["device open", "port=port"]);
    let wanted: usize = 24 << 20;
    let got = daemon.meanwhile(|| {
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| read_exactly(&mut eager, wanted));
            let data = [0xaa; 4096];
            let mut sent = 0;
            while sent < wanted && !reader.is_finished() {
                match pty.write_some(&data[..data.len().min(wanted - sent)]) {
                    0 => std::thread::sleep(Duration::from_millis(1)),
                    n => sent += n,
                }
            }
            reader.join().unwrap()
        })
    });
    assert_eq!(got, wanted, "the client that reads gets everything");
    daemon.logged(&["client left", "port=port"]);
    grown(&daemon, before);
    daemon.finish();
}

fn read_exactly(client: &mut TcpStream, wanted: usize) -> usize {
    let mut buf = vec![0; 64 * 1024];
    let mut got = 0;
    while got < wanted {
        match std::io::Read::read(client, &mut buf) {
            Ok(0) | Err(_) => break,
            Ok(n) => {
                assert!(buf[..n].iter().all(|&b| b == 0xaa), "bytes of the device were damaged");
                got += n;
            }
        }
    }
    got
}
