//! Announcements by mDNS, in a network namespace of their own: this program starts itself there again
//! for an ignored test that starts the broker and looks for its services.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod support;

use mdns_sd::{Receiver, ServiceDaemon, ServiceEvent};
use std::fs;
use std::process::Command;
use std::time::Instant;
use support::{Broker, PATIENCE, free_port};

/// A namespace whose loopback takes multicast.
const NAMESPACE: &str = "ip link set lo up && ip link set lo multicast on && \
    ip route add 224.0.0.0/4 dev lo && exec \"$@\"";

#[test]
fn in_a_namespace_of_its_own() {
    let namespace = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--net", "--map-root-user", "sh", "-c", script, "sh"]);
        command
    };
    if !namespace(NAMESPACE).arg("true").output().is_ok_and(|o| o.status.success()) {
        eprintln!("skipped: no network namespaces, or no ip(8)");
        return;
    }
    let this = std::env::current_exe().unwrap();
    let roles = ["role_services", "role_nothing"];
    let output = namespace(NAMESPACE)
        .arg(this)
        .args(["--ignored", "--nocapture", "--test-threads=1", "--exact"])
        .args(roles)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("2 passed"), "{said}");
}

fn connection(port: u16, options: &str) -> String {
    format!(
        "connection: &stick\n  accepter: telnet(rfc2217),tcp,{port}\n  connector: serialdev,/nonexistent/tty,local\n{options}"
    )
}

/// The next event for which `wanted` gives something.
fn event<T>(events: &Receiver<ServiceEvent>, mut wanted: impl FnMut(ServiceEvent) -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if let Some(found) = wanted(events.recv_timeout(left).unwrap()) {
            return found;
        }
    }
}

fn gone(events: &Receiver<ServiceEvent>) -> String {
    event(events, |event| match event {
        ServiceEvent::ServiceRemoved(_, name) => Some(name),
        _ => None,
    })
}

#[test]
#[ignore = "played by a process that in_a_namespace_of_its_own starts"]
fn role_services() {
    let port = free_port();
    let options = "  options:\n    mdns: true\n    mdns-name: My Stick\n    mdns-type: _zwave._tcp\n    \
                   mdns-txt: baud_rate=115200\n    mdns-sysattrs: true\n";
    let mut broker = Broker::start(&connection(port, options));
    let client = ServiceDaemon::new().unwrap();
    let events = client.browse("_zwave._tcp.local.").unwrap();
    let found = || {
        event(&events, |event| match event {
            ServiceEvent::ServiceResolved(service) => Some(service),
            _ => None,
        })
    };
    let service = found();
    assert_eq!(service.get_fullname(), "My Stick._zwave._tcp.local.");
    assert_eq!(service.get_port(), port);
    assert!(!service.get_addresses().is_empty());
    for (name, value) in [
        ("provider", "ser2net"),
        ("gensiostack", "telnet(rfc2217),tcp"),
        ("baud_rate", "115200"),
        ("devicetype", "serial"),
    ] {
        assert_eq!(service.get_property_val_str(name), Some(value), "{name}");
    }
    // removed from the configuration, changed, and the end of the program
    broker.reload(&connection(port, ""));
    assert_eq!(gone(&events), "My Stick._zwave._tcp.local.");
    broker.reload(&connection(port, &options.replace("My Stick", "Another")));
    assert_eq!(found().get_fullname(), "Another._zwave._tcp.local.");
    let (status, time) = broker.terminate();
    assert!(status.success() && time.as_secs() < 1, "{time:?}");
    assert_eq!(gone(&events), "Another._zwave._tcp.local.");
}

#[test]
#[ignore = "played by a process that in_a_namespace_of_its_own starts"]
fn role_nothing() {
    let port = free_port();
    let broker = Broker::start(&connection(port, "  options:\n    mdns-type: _zwave._tcp\n"));
    let pid = broker.process.child.id();
    let threads = || {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        tasks
            .filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok())
            .collect::<String>()
    };
    let sockets = || {
        let inodes: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .filter_map(|fd| fs::read_link(fd.unwrap().path()).ok())
            .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
            .collect();
        let tables = ["udp", "udp6"].map(|table| fs::read_to_string(format!("/proc/net/{table}")).unwrap());
        tables.concat().lines().filter(|line| inodes.iter().any(|i| line.contains(&format!(" {i} ")))).count()
    };
    assert_eq!((sockets(), threads().contains("mDNS")), (0, false));
    broker.reload(&connection(port, "  options:\n    mdns: true\n"));
    assert!(sockets() > 0 && threads().contains("mDNS"), "{}", threads());
    broker.reload(&connection(port, ""));
    assert_eq!((sockets(), threads().contains("mDNS")), (0, false));
}
