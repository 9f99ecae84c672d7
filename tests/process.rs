//! Background, signals and service manager messages, each in a process of its own: the test program
//! starts itself again for one ignored test that plays the broker.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use serbroker::notify::{self, Manager};
use serbroker::process::{PidFile, Signal, Signals, daemonize};
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

/// Starts this program again for the ignored test `role`, with its files in `dir`.
fn start(role: &str, dir: &Path, envs: &[(&str, &Path)]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", role, "--ignored", "--nocapture"])
        .env("ROLE_DIR", dir)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    for (name, value) in envs {
        command.env(name, value);
    }
    command.spawn().unwrap()
}

/// Waits until `found` finds something.
fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn role_dir() -> PathBuf {
    PathBuf::from(std::env::var_os("ROLE_DIR").expect("is started by another test"))
}

/// A file's text once it ends with a line end.
fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().filter(|text| text.ends_with('\n'))
}

#[test]
#[ignore = "played by a process that goes_into_the_background starts"]
fn role_daemon() {
    let dir = role_dir();
    daemonize().unwrap();
    // a failed expectation would go to /dev/null: the other side checks what is written here
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let parent_and_session: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let link = |fd| fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
    let report = format!(
        "{}\n{}\n{}\n{} {} {}\n",
        std::process::id(),
        std::env::current_dir().unwrap().display(),
        parent_and_session[3],
        link(0).display(),
        link(1).display(),
        link(2).display(),
    );
    fs::write(dir.join("report.new"), report).unwrap();
    fs::rename(dir.join("report.new"), dir.join("report")).unwrap();
    std::process::exit(0);
}

#[test]
fn goes_into_the_background() {
    let dir = tempfile::tempdir().unwrap();
    let mut starter = start("role_daemon", dir.path(), &[]);
    assert!(starter.wait().unwrap().success(), "the starter's process ends well at once");
    let report = until("the report", || text(&dir.path().join("report")));
    let lines: Vec<&str> = report.lines().collect();
    assert_ne!(lines[0], starter.id().to_string());
    assert_eq!(lines[1], "/");
    assert_ne!(
        lines[2],
        fs::read_to_string("/proc/self/stat")
            .unwrap()
            .rsplit(") ")
            .next()
            .unwrap()
            .split(' ')
            .nth(3)
            .unwrap(),
        "own session"
    );
    assert_eq!(lines[3], "/dev/null /dev/null /dev/null");
}

#[test]
#[ignore = "played by a process that signals_and_pid_file starts"]
fn role_signals() {
    let dir = role_dir();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended_by = runtime.block_on(async {
        let mut signals = Signals::new().unwrap();
        let _pid_file = PidFile::create(&dir.join("pid")).unwrap();
        let mut reloads = 0;
        loop {
            match signals.recv().await {
                Signal::Reload => {
                    reloads += 1;
                    fs::write(dir.join(format!("reload{reloads}")), "\n").unwrap();
                }
                end => break end,
            }
        }
    });
    fs::write(dir.join("ended"), format!("{ended_by}\n")).unwrap();
    // the test harness has threads that would otherwise be joined
    std::process::exit(0);
}

#[test]
fn signals_and_pid_file() {
    for (signal, name) in [("TERM", "SIGTERM"), ("INT", "SIGINT")] {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        let mut broker = start("role_signals", dir.path(), &[]);
        let pid = until("the pid file", || text(&file("pid")));
        assert_eq!(pid.trim(), broker.id().to_string());
        let kill = |signal: &str| {
            assert!(Command::new("kill").args(["-s", signal, pid.trim()]).status().unwrap().success());
        };
        for reload in ["reload1", "reload2"] {
            kill("HUP");
            until(reload, || text(&file(reload)));
        }
        kill(signal);
        assert!(broker.wait().unwrap().success());
        assert_eq!(text(&file("ended")).as_deref(), Some(&*format!("{name}\n")));
        assert!(!file("pid").exists());
    }
}

#[test]
#[ignore = "played by a process that service_manager_is_told starts"]
fn role_notify() {
    assert_eq!(notify::watchdog_interval(), Some(Duration::from_millis(1500)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let manager = Manager::from_environment();
        manager.ready("3 ports\nlisten");
        manager.reloading();
        manager.status("2 clients");
        manager.stopping();
        manager.alive();
        manager.finish().await;
    });
}

#[test]
fn service_manager_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let watchdog = Path::new("3000000");
    let mut broker =
        start("role_notify", dir.path(), &[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", watchdog)]);
    let mut buffer = [0; 512];
    let mut receive = || {
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    assert_eq!(receive(), "READY=1\nSTATUS=3 ports listen\n");
    let reloading = receive();
    let usec = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("carries the time").trim();
    assert!(usec.parse::<u64>().unwrap() > 0);
    assert_eq!(receive(), "STATUS=2 clients\n");
    assert_eq!(receive(), "STOPPING=1\n");
    assert_eq!(receive(), "WATCHDOG=1\n");
    assert!(broker.wait().unwrap().success());
}
