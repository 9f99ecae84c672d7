//! Trace files of the built program: log rotation, and disks that are full, gone or stuck.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use support::net::Client;
use support::pty::Pty;
use support::{Broker, assert_same, connection, free_port, pattern, wait_for};

struct Traced {
    broker: Broker,
    pty: Pty,
    client: Client,
}

impl Traced {
    fn new(path: &Path, more: &[&str]) -> Self {
        let (pty, port) = (Pty::new(), free_port());
        let file = format!("trace-both: '{}'", path.display());
        let options: Vec<&str> = std::iter::once(file.as_str()).chain(more.iter().copied()).collect();
        let broker = Broker::start(&connection("p", &format!("tcp,127.0.0.1,{port}"), pty.path(), &options));
        let client = Client::connect(port);
        broker.wait_device("p", true);
        Self { broker, pty, client }
    }

    fn says(&mut self, text: &str) {
        self.pty.write(text.as_bytes());
        assert_eq!(self.client.receive(text.len()), text.as_bytes());
    }

    fn missing(&self, reason: &str) -> u64 {
        self.broker.metric("serbroker_port_trace_dropped_bytes_total", &[&format!("reason=\"{reason}\"")])
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn wait_text(path: &Path, text: &str) {
    wait_for(&format!("{text:?} in {}", path.display()), || read(path) == text);
}

#[test]
fn sighup_opens_a_file_that_logrotate_moved_away_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("t"), dir.path().join("t.1"));
    let mut traced = Traced::new(&path, &[]);
    wait_text(&path, "");
    traced.says("before");
    wait_text(&path, "before");
    fs::rename(&path, &moved).unwrap();
    traced.broker.hang_up();
    // before anything is said: the old file may be compressed now
    wait_for("the new file", || path.exists());
    traced.says("behind");
    wait_text(&path, "behind");
    assert_eq!(read(&moved), "before");
    assert_eq!((traced.missing("queue_full"), traced.missing("write_failed")), (0, 0));
}

#[test]
fn a_file_that_was_moved_or_deleted_without_a_word_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("t"), dir.path().join("t.1"));
    let mut traced = Traced::new(&path, &[]);
    traced.says("1");
    wait_text(&path, "1");
    for deleted in [false, true] {
        if deleted {
            fs::remove_file(&path).unwrap();
        } else {
            fs::rename(&path, &moved).unwrap();
        }
        wait_for("a new file", || {
            traced.says("x");
            path.exists()
        });
        wait_for("its text", || read(&path).starts_with('x'));
    }
    assert!(read(&moved).starts_with('1'), "{}", read(&moved));
    assert_eq!(traced.missing("write_failed"), 0);
}

#[test]
fn a_full_disk_or_a_lost_directory_costs_the_trace_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let sub = dir.path().join("sub");
    fs::create_dir(&sub).unwrap();
    let path = sub.join("t");
    symlink("/dev/full", &path).unwrap();
    let mut traced = Traced::new(&path, &["trace-hexdump: true"]);
    for _ in 0..50 {
        traced.says("lost");
    }
    traced.broker.log.wait(&["WARN", "cannot write trace file", "No space left"]);
    wait_for("the count", || traced.missing("write_failed") == 200);
    traced.broker.log.wait_count(&["cannot write trace file"], 1);

    fs::remove_dir_all(&sub).unwrap();
    traced.broker.log.wait(&["INFO", "listening"]);
    // noticed with the next data, sooner or later
    wait_for("the loss of the directory", || {
        traced.says("lost");
        traced.broker.log.find(&["cannot open trace file", "No such file"]).is_some()
    });
    fs::create_dir(&sub).unwrap();
    wait_for("tracing goes on", || {
        traced.says("kept");
        read(&path).contains("term 6b 65 70 74              |kept|\n")
    });
    traced.broker.log.wait(&["INFO", "is written again"]);
    assert!(read(&path).lines().all(|line| line.starts_with("term ")), "{}", read(&path));
    traced.broker.log.wait_count(&["WARN", "trace file"], 2);
    assert_eq!(traced.missing("queue_full"), 0);
}

#[test]
fn a_trace_holds_every_byte_of_a_fast_stream() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t");
    let Traced { mut broker, pty, mut client } = Traced::new(&path, &[]);
    let data = pattern(1 << 20, 3);
    std::thread::scope(|scope| {
        scope.spawn(|| pty.write(&data));
        assert_same("to the client", &client.receive(data.len()), &data);
    });
    let dropped = broker.metric("serbroker_port_trace_dropped_bytes_total", &[]);
    // SIGTERM waits for what is to be written
    assert_eq!(broker.terminate().0.code(), Some(0));
    if dropped == 0 {
        assert_same("in the file", &fs::read(&path).unwrap(), &data);
    } else {
        assert_eq!(fs::read(&path).unwrap().len() as u64 + dropped, data.len() as u64);
    }
}
