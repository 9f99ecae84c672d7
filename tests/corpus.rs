//! The configuration files of `tests/corpus/`: what serbroker makes of each, next to what ser2net
//! made of it (`index.tsv`; its columns are explained in `tests/corpus/README.md`).
//!
//! A file agrees when serbroker listens on the ports that one of the two ser2net versions listened
//! on, and has errors where that version refused something. Everything else stands in
//! `DIFFERENCES.md`, and what stands there has to hold.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use serbroker::config::Listen;
use serbroker::config::error::{Diagnostic, Severity};
use serbroker::config::load::{Inputs, load};
use serbroker::config::{Config, render, resolve};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// TCP port numbers, and `udp/N` for the others.
type Ports = BTreeSet<String>;

/// What ser2net did with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It listens on all that the file asks for, with or without complaints.
    Accepted,
    /// Some ports are missing.
    Partly,
    /// It ends, or listens nowhere.
    Rejected,
    /// The version could not be asked.
    Unknown,
}

impl Verdict {
    fn read(word: &str) -> Self {
        match word {
            "accepted" | "warnings" => Self::Accepted,
            "partly" => Self::Partly,
            "rejected" => Self::Rejected,
            "unknown" => Self::Unknown,
            other => panic!("unknown verdict '{other}'"),
        }
    }
}

struct Oracle {
    verdict: Verdict,
    ports: Ports,
}

/// A row of `index.tsv`.
struct Entry {
    file: String,
    sockets: BTreeSet<String>,
    oracles: [Oracle; 2],
}

/// A row of `DIFFERENCES.md`.
struct Difference {
    kind: String,
    changes: BTreeSet<String>,
}

/// What serbroker makes of a file.
struct Ours {
    ports: Ports,
    errors: bool,
    diagnostics: Vec<Diagnostic>,
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn set(text: &str) -> BTreeSet<String> {
    text.split([',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn index() -> Vec<Entry> {
    let text = fs::read_to_string(corpus().join("index.tsv")).unwrap();
    text.lines()
        .skip(1)
        .map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            let &[file, _source, _note, _declared, verdict, ports, sockets, second, second_ports] =
                columns.as_slice()
            else {
                panic!("index.tsv: not 9 columns: {line}");
            };
            let oracle = |verdict, ports| Oracle { verdict: Verdict::read(verdict), ports: set(ports) };
            Entry {
                file: file.to_owned(),
                sockets: set(sockets),
                oracles: [oracle(verdict, ports), oracle(second, second_ports)],
            }
        })
        .collect()
}

/// Rows `| file | kind | ports | reason |`.
fn differences() -> HashMap<String, Vec<Difference>> {
    let text = fs::read_to_string(corpus().join("DIFFERENCES.md")).unwrap();
    let mut found: HashMap<String, Vec<Difference>> = HashMap::new();
    for line in text.lines().filter(|line| line.starts_with("| legacy/") || line.starts_with("| yaml/")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let &[file, kind, ports, reason] = cells.as_slice() else { panic!("not 4 cells: {line}") };
        assert!(["better", "later", "stricter"].contains(&kind), "unknown kind: {line}");
        assert!(!reason.is_empty(), "no reason: {line}");
        let row = Difference { kind: kind.to_owned(), changes: set(ports) };
        assert!(!row.changes.is_empty(), "no ports: {line}");
        found.entry(file.to_owned()).or_default().push(row);
    }
    found
}

fn read(path: &Path) -> Ours {
    let (raw, mut diagnostics) = load(&Inputs { file: Some(path.to_owned()), ..Inputs::default() });
    let (config, more) = resolve::resolve(&raw);
    diagnostics.extend(more);
    let fatal = diagnostics.iter().any(|d| d.severity == Severity::Fatal);
    let errors = diagnostics.iter().any(|d| d.severity >= Severity::Error);
    let ports = if fatal { Ports::new() } else { listening(&config) };
    Ours { ports, errors, diagnostics }
}

fn listening(config: &Config) -> Ports {
    let mut ports = Ports::new();
    let connections = config.connections.iter().filter(|c| c.enabled).map(|c| &c.accepter);
    let rotators = config.rotators.iter().map(|rotator| &rotator.accepter);
    for accepter in connections.chain(rotators).chain(config.admin.iter().map(|admin| &admin.accepter)) {
        let kind = if matches!(*accepter.listen, Listen::Udp(_)) { "udp/" } else { "" };
        ports.extend(accepter.listen.addresses().iter().map(|address| format!("{kind}{}", address.port)));
    }
    ports
}

/// What is different, in the notation of `DIFFERENCES.md`; nothing when the two agree.
fn changes(ours: &Ours, oracle: &Oracle) -> BTreeSet<String> {
    let more = ours.ports.difference(&oracle.ports).map(|port| format!("+{port}"));
    let less = oracle.ports.difference(&ours.ports).map(|port| format!("-{port}"));
    let mut found: BTreeSet<String> = more.chain(less).collect();
    if found.is_empty() {
        match (ours.errors, oracle.verdict) {
            (true, Verdict::Accepted) => found.insert("error".to_owned()),
            (false, Verdict::Partly | Verdict::Rejected) => found.insert("no-error".to_owned()),
            _ => false,
        };
    }
    found
}

fn agrees(ours: &Ours, oracle: &Oracle) -> bool {
    oracle.verdict != Verdict::Unknown && changes(ours, oracle).is_empty()
}

#[test]
fn every_file_has_the_verdict_of_ser2net_or_a_reason() {
    let mut listed = differences();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = String::new();
    let entries = index();
    assert!(entries.len() > 200, "the index is cut");
    for entry in &entries {
        let ours = read(&corpus().join(&entry.file));
        let rows = listed.remove(&entry.file);
        let first = agrees(&ours, &entry.oracles[0]);
        let group = entry.file.split('/').next().unwrap();
        let mut count = |what: &str| *counts.entry(format!("{group}: {what}")).or_default() += 1;
        if first || agrees(&ours, &entry.oracles[1]) {
            count(if first { "as the first version" } else { "as the second version" });
            if rows.is_some() {
                let _ = writeln!(wrong, "{}: agrees by now; remove its rows", entry.file);
            }
            continue;
        }
        let found = changes(&ours, &entry.oracles[0]);
        let rows = rows.unwrap_or_default();
        let expected: BTreeSet<String> = rows.iter().flat_map(|row| row.changes.iter().cloned()).collect();
        // a file with rows of several kinds counts as what it lacks
        let kinds: BTreeSet<&str> = rows.iter().map(|row| row.kind.as_str()).collect();
        count(
            ["later", "stricter", "better"].into_iter().find(|k| kinds.contains(k)).unwrap_or("unexplained"),
        );
        if expected != found {
            let text = |set: &BTreeSet<String>| set.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
            let said: Vec<_> = ours.diagnostics.iter().map(render::headline).collect();
            let _ = writeln!(
                wrong,
                "{}: differs by [{}], listed is [{}]\n    {}",
                entry.file,
                text(&found),
                text(&expected),
                said.join("\n    ")
            );
        }
    }
    for file in listed.keys() {
        let _ = writeln!(wrong, "{file}: listed as different, but not in index.tsv");
    }
    for (what, number) in &counts {
        println!("{number:4} {what}");
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn every_file_is_in_the_index() {
    let known: BTreeSet<String> = index().into_iter().map(|entry| entry.file).collect();
    let mut there = BTreeSet::new();
    for group in ["legacy", "yaml"] {
        for entry in fs::read_dir(corpus().join(group)).unwrap() {
            there.insert(format!("{group}/{}", entry.unwrap().file_name().to_str().unwrap()));
        }
    }
    assert_eq!(known, there);
}

/// Every diagnostic points into the file that it is about, and can be shown.
#[test]
fn every_message_has_its_place() {
    for entry in index() {
        let path = corpus().join(&entry.file);
        let text = fs::read_to_string(&path).unwrap();
        for diagnostic in read(&path).diagnostics {
            let Some(span) = &diagnostic.span else {
                assert_eq!(diagnostic.severity, Severity::Warning, "{}: {diagnostic:?}", entry.file);
                continue;
            };
            assert_eq!(span.source.text, text, "{}", entry.file);
            assert!(span.start <= span.end && text.get(span.start..span.end).is_some(), "{diagnostic:?}");
            let shown = render::render(std::slice::from_ref(&diagnostic));
            assert!(shown.contains('^'), "no mark: {shown}");
        }
    }
}

/// Messages read one by one: what is marked is what is wrong.
#[test]
fn marks_are_under_the_offending_word() {
    for (file, line, column, marked, help) in [
        ("legacy/012-zh-notes-ser2net-b.conf", 1, 70, "banner", "remove the word"),
        ("legacy/022-JoeyPei-instant-console.conf", 4, 69, "rotate", "LOCAL"),
        ("legacy/031-kingjamez-Scopify.conf", 80, 40, "NON", "'NONE'"),
        ("legacy/037-salkin-raspi-emit-manager.conf", 73, 16, "{{DEVICE}}", "placeholder"),
        ("legacy/065-upstream-sample-v3.5.1.conf", 337, 1, "3003", "another port"),
        ("legacy/074-selfweigh-readme.conf", 1, 12, "dev:/tty/USB0:9600", "behind the whole device"),
        ("legacy/111-ser2net-issue45.conf", 1, 78, "banner1", "BANNER:banner1:text"),
        ("legacy/145-openwrt-packages-uci-generated.conf", 80, 9, "parity", "DEFAULT:speed"),
        ("yaml/032-drqp-servo-comment.yaml", 4, 3, "trace-both", "below 'options:'"),
        ("yaml/036-home-assistant-dsmr.yaml", 6, 15, "*banner", "define: &banner"),
        ("yaml/044-ramses_rf-transport-docstring.yaml", 4, 1, "connector", "indent it below"),
        ("yaml/059-ser2net-issue100-trunc.yaml", 1, 1, "YAML 1.1", "%YAML 1.1"),
        ("yaml/062-ser2net-issue74.yaml", 5, 15, "*banner-123", "define: &banner-123"),
        ("yaml/081-ser2net-issue35.yaml", 6, 44, "kickolduser=true", "under options:"),
        ("yaml/097-dut-serial-en-readme.yaml", 10, 15, "1", "a comment ends the text"),
        ("yaml/110-gbfc-serial-addon-off.yaml", 4, 13, "&gbfc_serial", "connector: serialdev"),
        ("yaml/113-modbus-security-notes-es.yaml", 1, 25, ":", "one key a line"),
        ("yaml/118-ssl-clientauth-script.yaml", 2, 17, "clientauth", "CA="),
        ("yaml/135-cfouche3005-addon-ser2net.yaml", 5, 5, "enable", "beside accepter"),
        ("yaml/140-cristicc-visionfive-debos.yaml", 6, 33, "{BAUD}n81", "placeholder"),
        ("yaml/147-zwave-js-docs-mdns.yaml", 2, 19, "<port>", "placeholder"),
    ] {
        let diagnostics = read(&corpus().join(file)).diagnostics;
        let found = diagnostics.iter().find(|d| {
            let Some(span) = &d.span else { return false };
            span.line_column() == (line, column)
                && span.source.text.get(span.start..span.end) == Some(marked)
                && d.help.as_ref().is_some_and(|text| text.contains(help))
        });
        assert!(
            found.is_some(),
            "{file}: no '{marked}' at {line}:{column}:\n{}",
            render::render(&diagnostics)
        );
    }
}

/// Files for the real program, chosen so that each brings something the others do not.
const SAMPLE: [&str; 26] = [
    "legacy/003-adicon-CyeLoFi.conf",
    "legacy/010-openhr20-docker-readme.conf",
    "legacy/042-a419797296-gps-orientation-system.conf",
    "legacy/062-paradox-prt3-doc.conf",
    "legacy/065-upstream-sample-v3.5.1.conf",
    "legacy/071-boardfarm-ser2net.conf",
    "legacy/090-Pack3tL0ss-ConsolePi-old5.conf",
    "legacy/092-Cataglyphis-LAVA.conf",
    "legacy/119-remoteqth-generator.conf",
    "legacy/129-albundyongithub-ser2net-addon.conf",
    "legacy/130-eckhardt83-ser2net-install-script.conf",
    "legacy/139-hkontrol-doc.conf",
    "legacy/145-openwrt-packages-uci-generated.conf",
    "yaml/001-Gracetaek-so101_teleop_hybrid.yaml",
    "yaml/005-Kristupelis-ArduinoNano-GUI.yaml",
    "yaml/007-NickCao-lava-playground.yaml",
    "yaml/023-benderl-ser2net.yaml",
    "yaml/033-nixos-uart-usb.yaml",
    "yaml/036-home-assistant-dsmr.yaml",
    "yaml/046-m5stick-serial-doc.yaml",
    "yaml/076-ser2net-issue45.yaml",
    "yaml/086-bluebox-fastapi.yaml",
    "yaml/093-homelab-readme-4con.yaml",
    "yaml/097-dut-serial-en-readme.yaml",
    "yaml/100-jetson-labctl-issue.yaml",
    "yaml/119-aethersdr-spe.yaml",
];

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the sample in network namespaces of their own and compares the sockets with those of
/// ser2net, addresses and all.
#[test]
fn the_program_listens_where_ser2net_did() {
    let namespace = Command::new("unshare").args(["-n", "true"]).stderr(Stdio::null()).status();
    if !namespace.is_ok_and(|status| status.success()) {
        println!("skipped: needs root");
        return;
    }
    let entries = index();
    let mut wrong = String::new();
    for file in SAMPLE {
        let entry = entries.iter().find(|entry| entry.file == file).expect("the sample is in the index");
        if let Err(message) = run(entry) {
            let _ = writeln!(wrong, "{file}: {message}");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

fn run(entry: &Entry) -> Result<(), String> {
    let path = corpus().join(&entry.file);
    let ours = read(&path);
    let dir = tempfile::tempdir().unwrap();
    let ready = dir.path().join("ready");
    let socket = std::os::unix::net::UnixDatagram::bind(&ready).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let (raw, _) = load(&Inputs { file: Some(path.clone()), ..Inputs::default() });
    let mut script = "ip link set lo up".to_owned();
    let mut addresses = BTreeSet::new();
    let config = resolve::resolve(&raw).0;
    let connections = config.connections.iter().map(|c| &c.accepter);
    for accepter in connections.chain(config.rotators.iter().map(|rotator| &rotator.accepter)) {
        let hosts = accepter.listen.addresses().iter().filter_map(|address| address.host.as_ref());
        let hosts = hosts.filter_map(|host| host.parse::<std::net::IpAddr>().ok());
        addresses.extend(hosts.filter(|host| !host.is_loopback() && !host.is_unspecified()));
    }
    for address in addresses {
        let _ = write!(script, " && ip addr add {address} dev lo");
    }
    script += " && exec \"$0\" -n -c \"$1\"";
    // unshare and the shell both exec, so the process id is the broker's
    let child = Command::new("unshare")
        .args(["-n", "sh", "-c", &script, env!("CARGO_BIN_EXE_serbroker")])
        .arg(&path)
        .env("NOTIFY_SOCKET", &ready)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(dir.path().join("log")).unwrap())
        .spawn()
        .unwrap();
    let mut child = Running(child);
    let log = || fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    let begun = Instant::now();
    let mut message = [0; 4096];
    loop {
        let length = socket.recv(&mut message).unwrap_or(0);
        if String::from_utf8_lossy(&message[..length]).contains("READY=1") {
            break;
        }
        if let Some(status) = child.0.try_wait().unwrap() {
            // nothing in the file can be used
            let expected = ours.ports.is_empty() && ours.errors && status.code() == Some(1);
            return if expected { Ok(()) } else { Err(format!("ended with {status}: {}", log())) };
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("did not become ready: {}", log()));
        }
    }
    let port = |socket: &String| {
        let kind = if socket.starts_with("udp/") { "udp/" } else { "" };
        format!("{kind}{}", socket.rsplit(':').next().unwrap_or(""))
    };
    // host names are looked up while the other ports already serve
    let sockets = loop {
        let sockets = sockets(child.0.id());
        if sockets.iter().map(port).collect::<Ports>() == ours.ports {
            break sockets;
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("listens on {sockets:?}, should on {:?}: {}", ours.ports, log()));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    // ser2net 3.5 has two sockets for all addresses, where one of both families does
    let second = |socket: &str| {
        socket
            .strip_prefix("udp/0.0.0.0:")
            .is_some_and(|port| entry.sockets.contains(&format!("udp/*:{port}")))
    };
    let known = entry.sockets.iter().filter(|socket| ours.ports.contains(&port(socket)));
    let expected: BTreeSet<&String> = known.filter(|socket| !second(socket)).collect();
    let both: Ports = expected.iter().map(|socket| port(socket)).collect();
    let found: BTreeSet<&String> = sockets.iter().filter(|socket| both.contains(&port(socket))).collect();
    if expected == found { Ok(()) } else { Err(format!("listens on {found:?}, ser2net on {expected:?}")) }
}

/// The listening sockets in a process' network namespace, as `ss` writes them; `udp/` before UDP's.
fn sockets(process: u32) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // the state of sockets that wait for clients: TCP_LISTEN, and TCP_CLOSE for UDP
    for (table, kind, waiting) in
        [("tcp", "", "0A"), ("tcp6", "", "0A"), ("udp", "udp/", "07"), ("udp6", "udp/", "07")]
    {
        let text = fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields[3] != waiting {
                continue;
            }
            let (address, port) = fields[1].split_once(':').unwrap();
            let port = u16::from_str_radix(port, 16).unwrap();
            // groups of four bytes in the order of the machine
            let bytes: Vec<u8> = (0..address.len())
                .step_by(8)
                .flat_map(|at| u32::from_str_radix(&address[at..at + 8], 16).unwrap().to_ne_bytes())
                .collect();
            let host = match <[u8; 4]>::try_from(bytes.as_slice()) {
                Ok(bytes) => std::net::Ipv4Addr::from(bytes).to_string(),
                Err(_) => match std::net::Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).unwrap()) {
                    any if any.is_unspecified() => "*".to_owned(),
                    host => format!("[{host}]"),
                },
            };
            found.insert(format!("{kind}{host}:{port}"));
        }
    }
    found
}
