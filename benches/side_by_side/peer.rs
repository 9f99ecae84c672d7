//! The programs compared and how each is started for one client on one device.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::floor::Fault;

/// One column of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// serbroker with a file as ser2net's users have it.
    Serbroker,
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
    /// The benchmark's own forwarder.
    Floor,
    /// The forwarder with a deliberate error; never part of a measurement.
    Faulty(Fault),
}

impl Peer {
    /// The peers of a measurement, in the order of the tables.
    pub(crate) const ALL: [Self; 7] = [
        Self::Serbroker,
        Self::SerbrokerTuned,
        Self::Ser2net,
        Self::Ser2netNodelay,
        Self::Ser2netTuned,
        Self::Socat,
        Self::Floor,
    ];

    /// Name in options, tables and JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Serbroker => "serbroker",
            Self::SerbrokerTuned => "serbroker-tuned",
            Self::Ser2net => "ser2net",
            Self::Ser2netNodelay => "ser2net-nodelay",
            Self::Ser2netTuned => "ser2net-tuned",
            Self::Socat => "socat",
            Self::Floor => "floor",
            Self::Faulty(_) => "faulty",
        }
    }

    /// Whether the peer can be a telnet server.
    pub(crate) fn speaks_telnet(self) -> bool {
        !matches!(self, Self::Socat | Self::Floor | Self::Faulty(_))
    }

    /// The command that makes the peer listen on `127.0.0.1:port` for `device`. Its files go to `dir`.
    pub(crate) fn command(self, port: u16, device: &Path, telnet: bool, dir: &Path) -> io::Result<Command> {
        let program = match self {
            Self::Serbroker | Self::SerbrokerTuned => env!("CARGO_BIN_EXE_serbroker"),
            Self::Ser2net | Self::Ser2netNodelay | Self::Ser2netTuned => "ser2net",
            Self::Socat => "socat",
            Self::Floor | Self::Faulty(_) => return self.forwarder(port, device),
        };
        let device = device.display();
        let mut command = Command::new(program);
        if self == Self::Socat {
            let listen = format!("TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,nodelay");
            command.arg(listen).arg(format!("OPEN:{device},noctty,raw,echo=0"));
        } else {
            let stack = if telnet { "telnet,tcp" } else { "tcp" };
            let accepter = format!("{stack},127.0.0.1,{port}");
            return configured(program, &accepter, self.options(), &device.to_string(), dir);
        }
        Ok(command)
    }

    fn forwarder(self, port: u16, device: &Path) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--floor-port").arg(port.to_string()).arg("--floor-device").arg(device);
        if let Self::Faulty(fault) = self {
            command.arg("--floor-fault").arg(format!("{fault:?}").to_lowercase());
        }
        Ok(command)
    }

    /// The `options` part of the connection.
    fn options(self) -> &'static str {
        match self {
            Self::Ser2netNodelay => "  options:\n    chardelay: false\n",
            Self::Ser2netTuned | Self::SerbrokerTuned => {
                "  options:\n    chardelay: false\n    dev-to-net-bufsize: 65536\n    \
                 net-to-dev-bufsize: 65536\n"
            }
            _ => "",
        }
    }

    /// The version a third-party program reports, or `None` when it is not to be had.
    pub(crate) fn version(self) -> Option<String> {
        let (program, option, word) = match self {
            Self::Ser2net => ("ser2net", "-v", "ser2net version"),
            Self::Socat => ("socat", "-V", "socat version"),
            _ => return None,
        };
        let output = Command::new(program).arg(option).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.starts_with(word))?;
        let number = line.strip_prefix(word)?.split_whitespace().next()?;
        Some(format!("{program} {number}"))
    }
}

/// The command that runs serbroker or ser2net with one connection, from a file in `dir`.
pub(crate) fn configured(
    program: &str,
    accepter: &str,
    options: &str,
    device: &str,
    dir: &Path,
) -> io::Result<Command> {
    let file = dir.join("peer.yaml");
    fs::write(&file, connection(accepter, options, device))?;
    let mut command = Command::new(program);
    command.arg("-n").arg("-c").arg(file);
    Ok(command)
}

/// A configuration of one connection; `options` is its YAML, indented, or nothing.
pub(crate) fn connection(accepter: &str, options: &str, device: &str) -> String {
    format!(
        "%YAML 1.1\n---\nconnection: &p1\n  accepter: {accepter}\n  \
         connector: serialdev,{device},115200n81,local\n{options}"
    )
}
