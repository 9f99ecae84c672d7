//! The programs compared and how each is started for the clients of one device.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::client::Wire;
use crate::fault::Fault;
use crate::floor::Manner;
use crate::tls::{CERTIFICATE, KEY};

/// One row of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// serbroker with a file as ser2net's users have it.
    Serbroker,
    /// serbroker with `chardelay: adaptive`.
    SerbrokerAdaptive,
    /// serbroker with `chardelay: false` and 64 KiB buffers.
    SerbrokerTuned,
    /// ser2net with its defaults.
    Ser2net,
    /// ser2net with `chardelay: false`.
    Ser2netNodelay,
    /// ser2net with `chardelay: false` and 64 KiB buffers.
    Ser2netTuned,
    /// socat between a listening socket and the device.
    Socat,
    /// esptool's RFC 2217 server.
    Esptool,
    /// The benchmark's own forwarder.
    Floor(Manner),
    /// The forwarder with a deliberate error; never part of a measurement.
    Faulty(Fault),
}

/// What a case asks of a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) wire: Wire,
    /// Clients at once.
    pub(crate) clients: usize,
    /// Whether clients come one after the other.
    pub(crate) again: bool,
}

impl Peer {
    /// The peers of a measurement, in the order of the tables.
    pub(crate) const ALL: [Self; 12] = [
        Self::Serbroker,
        Self::SerbrokerAdaptive,
        Self::SerbrokerTuned,
        Self::Ser2net,
        Self::Ser2netNodelay,
        Self::Ser2netTuned,
        Self::Socat,
        Self::Esptool,
        Self::Floor(Manner::Plain),
        Self::Floor(Manner::Large),
        Self::Floor(Manner::Threads),
        Self::Floor(Manner::Tokio),
    ];

    /// Name in options, tables and JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Serbroker => "serbroker",
            Self::SerbrokerAdaptive => "serbroker-adaptive",
            Self::SerbrokerTuned => "serbroker-tuned",
            Self::Ser2net => "ser2net",
            Self::Ser2netNodelay => "ser2net-nodelay",
            Self::Ser2netTuned => "ser2net-tuned",
            Self::Socat => "socat",
            Self::Esptool => "esptool",
            Self::Floor(Manner::Plain) => "floor",
            Self::Floor(Manner::Large) => "floor-large",
            Self::Floor(Manner::Threads) => "floor-threads",
            // not called a floor, and so none to be compared with
            Self::Floor(Manner::Tokio) => "tokio",
            Self::Faulty(_) => "faulty",
        }
    }

    /// Whether the peer can do what the case asks.
    pub(crate) fn suits(self, Setup { wire, clients, again }: Setup) -> bool {
        match self {
            Self::Serbroker | Self::SerbrokerTuned | Self::Ser2net | Self::Ser2netTuned => true,
            Self::Ser2netNodelay => wire != Wire::Tls,
            Self::Socat => wire != Wire::Telnet && clients == 1,
            Self::Esptool => wire == Wire::Telnet,
            Self::Floor(Manner::Plain) | Self::Faulty(_) => wire == Wire::Raw,
            Self::SerbrokerAdaptive | Self::Floor(_) => wire == Wire::Raw && clients == 1 && !again,
        }
    }

    /// The command that makes the peer listen on `127.0.0.1:port` for `device`. Its files go to `dir`,
    /// where key and certificate are if the case is one of TLS. An error of the kind `NotFound` says
    /// that the peer is not installed.
    pub(crate) fn command(self, port: u16, device: &Path, setup: Setup, dir: &Path) -> io::Result<Command> {
        let program = match self {
            Self::Serbroker | Self::SerbrokerAdaptive | Self::SerbrokerTuned => {
                env!("CARGO_BIN_EXE_serbroker")
            }
            Self::Ser2net | Self::Ser2netNodelay | Self::Ser2netTuned => "ser2net",
            Self::Socat => return Ok(socat(port, device, setup, dir)),
            Self::Esptool => return esptool(port, device, dir),
            Self::Floor(manner) => return forwarder(port, device, setup, manner, None),
            Self::Faulty(fault) => return forwarder(port, device, setup, Manner::Plain, Some(fault)),
        };
        let stack = match setup.wire {
            Wire::Raw => "tcp".to_string(),
            Wire::Telnet => "telnet,tcp".to_string(),
            Wire::Tls => {
                format!("ssl(key={},cert={}),tcp", dir.join(KEY).display(), dir.join(CERTIFICATE).display())
            }
        };
        configured(program, &format!("{stack},127.0.0.1,{port}"), &self.options(setup.clients), device, dir)
    }

    /// The `options` part of the connection.
    fn options(self, clients: usize) -> String {
        let mut options = match self {
            Self::SerbrokerAdaptive => "    chardelay: adaptive\n".to_string(),
            Self::Ser2netNodelay => "    chardelay: false\n".to_string(),
            Self::Ser2netTuned | Self::SerbrokerTuned => {
                "    chardelay: false\n    dev-to-net-bufsize: 65536\n    net-to-dev-bufsize: 65536\n".into()
            }
            _ => String::new(),
        };
        if clients > 1 {
            // writing to a String cannot fail
            let _ = writeln!(options, "    max-connections: {clients}");
        }
        if options.is_empty() { options } else { format!("  options:\n{options}") }
    }

    /// How to get a peer that is not installed.
    pub(crate) fn installation(self) -> &'static str {
        match self {
            Self::Esptool => "; `pip install esptool` brings it",
            _ => "",
        }
    }

    /// The version a third-party program reports, or `None` when it is not to be had.
    pub(crate) fn version(self) -> Option<String> {
        let (program, option, word) = match self {
            Self::Ser2net => ("ser2net", "-v", "ser2net version"),
            Self::Socat => ("socat", "-V", "socat version"),
            Self::Esptool => ("esptool", "version", ""),
            _ => return None,
        };
        let output = Command::new(program).arg(option).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().rfind(|line| line.starts_with(word) && !line.is_empty())?;
        let number = line.strip_prefix(word)?.split_whitespace().next()?;
        Some(format!("{program} {number}"))
    }
}

fn socat(port: u16, device: &Path, setup: Setup, dir: &Path) -> Command {
    let address = format!("{port},bind=127.0.0.1,reuseaddr,nodelay");
    let listen = if setup.wire == Wire::Tls {
        let (key, certificate) = (dir.join(KEY), dir.join(CERTIFICATE));
        format!("OPENSSL-LISTEN:{address},verify=0,key={},cert={}", key.display(), certificate.display())
    } else {
        format!("TCP-LISTEN:{address}")
    };
    let mut command = Command::new("socat");
    if setup.again {
        // each client has a process of its own, which ends with it at once
        command.arg("-t0").arg(format!("{listen},fork"));
    } else {
        command.arg(listen);
    }
    command.arg(format!("OPEN:{},noctty,raw,echo=0", device.display()));
    command
}

/// esptool's server wants modem lines, which a pty does not have: the library that gives the tests' ptys
/// some is built into `dir` and loaded before it.
fn esptool(port: u16, device: &Path, dir: &Path) -> io::Result<Command> {
    let quiet = |program: &str, argument: &[&str]| {
        let mut command = Command::new(program);
        command.args(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let mut command = if quiet("esp_rfc2217_server", &["--help"]) {
        Command::new("esp_rfc2217_server")
    } else if quiet("python3", &["-c", "import esp_rfc2217_server"]) {
        let mut command = Command::new("python3");
        command.arg("-m").arg("esp_rfc2217_server");
        command
    } else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let library = dir.join("modem.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat/modemshim.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(source).arg("-ldl");
    let built = compiler.output().map_err(|error| io::Error::other(format!("cc: {error}")))?;
    if !built.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&built.stderr).into_owned()));
    }
    command.env("LD_PRELOAD", library).env("MODEMSHIM_DIR", dir);
    command.arg("-p").arg(port.to_string()).arg(device);
    Ok(command)
}

/// The benchmark program itself, to be told apart by its hidden options.
fn forwarder(
    port: u16,
    device: &Path,
    setup: Setup,
    manner: Manner,
    fault: Option<Fault>,
) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--floor-port").arg(port.to_string()).arg("--floor-device").arg(device);
    command.arg("--floor-clients").arg(setup.clients.to_string());
    command.arg("--floor-manner").arg(format!("{manner:?}").to_lowercase());
    if let Some(fault) = fault {
        command.arg("--floor-fault").arg(format!("{fault:?}").to_lowercase());
    }
    Ok(command)
}

/// The command that runs serbroker or ser2net with one connection, from a file in `dir`.
pub(crate) fn configured(
    program: &str,
    accepter: &str,
    options: &str,
    device: &Path,
    dir: &Path,
) -> io::Result<Command> {
    let file = dir.join("peer.yaml");
    fs::write(&file, connection(accepter, options, device))?;
    let mut command = Command::new(program);
    command.arg("-n").arg("-c").arg(file);
    Ok(command)
}

/// A configuration of one connection; `options` is its YAML, indented, or nothing.
pub(crate) fn connection(accepter: &str, options: &str, device: &Path) -> String {
    format!(
        "%YAML 1.1\n---\nconnection: &p1\n  accepter: {accepter}\n  \
         connector: serialdev,{},115200n81,local\n{options}",
        device.display()
    )
}
