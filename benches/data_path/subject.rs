//! The programs whose work is counted, and their settings.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::client::Wire;
use crate::floor::Manner;
use crate::peer::{Peer, Setup, configured, connection};

/// A program with one setting of `chardelay`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Serbroker(Timing),
    Ser2net(Timing),
    Socat,
    Floor,
}

/// When bytes of the device are sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timing {
    /// At once, with large buffers.
    Off,
    /// As ser2net does by default: after a pause, or when 64 bytes are there.
    Gather,
    /// As serbroker finds best from what goes over the line.
    Adaptive,
}

impl Subject {
    /// All of them, in the order of the tables.
    pub(crate) const ALL: [Self; 7] = [
        Self::Serbroker(Timing::Off),
        Self::Serbroker(Timing::Gather),
        Self::Serbroker(Timing::Adaptive),
        Self::Ser2net(Timing::Off),
        Self::Ser2net(Timing::Gather),
        Self::Socat,
        Self::Floor,
    ];

    /// Name in options and tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Serbroker(Timing::Off) => "serbroker",
            Self::Serbroker(Timing::Gather) => "serbroker-gather",
            Self::Serbroker(Timing::Adaptive) => "serbroker-adaptive",
            Self::Ser2net(Timing::Gather) => "ser2net-gather",
            Self::Ser2net(_) => "ser2net",
            Self::Socat => "socat",
            Self::Floor => "floor",
        }
    }

    /// Whether it knows filters and more than one client.
    pub(crate) fn is_broker(self) -> bool {
        matches!(self, Self::Serbroker(_) | Self::Ser2net(_))
    }

    /// The command that makes it listen with this accepter stack, without host and port.
    pub(crate) fn command(
        self,
        stack: &str,
        clients: usize,
        port: u16,
        device: &Path,
        dir: &Path,
    ) -> io::Result<Command> {
        let bare = Setup { wire: Wire::Raw, clients: 1, again: false };
        let (program, timing) = match self {
            Self::Serbroker(timing) => (env!("CARGO_BIN_EXE_serbroker"), timing),
            Self::Ser2net(timing) => ("ser2net", timing),
            Self::Socat => return Peer::Socat.command(port, device, bare, dir),
            Self::Floor => return Peer::Floor(Manner::Plain).command(port, device, bare, dir),
        };
        let accepter = format!("{stack},127.0.0.1,{port}");
        configured(program, &accepter, &options(timing, clients), device, dir)
    }

    /// Why it cannot take part, when the program is here but does not know the setting.
    pub(crate) fn unsupported(self) -> Option<String> {
        if self != Self::Serbroker(Timing::Adaptive) {
            return None;
        }
        let text = connection("tcp,127.0.0.1,1", &options(Timing::Adaptive, 1), Path::new("/dev/null"));
        let checked = tempfile::tempdir().and_then(|dir| {
            let file = dir.path().join("check.yaml");
            fs::write(&file, text)?;
            Command::new(env!("CARGO_BIN_EXE_serbroker")).arg("check").arg(file).output()
        });
        match checked {
            Ok(output) if String::from_utf8_lossy(&output.stdout).contains(" 0 error(s), 0 warning(s)") => {
                None
            }
            Ok(_) => Some("chardelay: adaptive is not known to this build".into()),
            Err(error) => Some(error.to_string()),
        }
    }
}

/// The `options` part of a connection.
pub(crate) fn options(timing: Timing, clients: usize) -> String {
    let mut text = format!("  options:\n    max-connections: {clients}\n");
    text.push_str(match timing {
        Timing::Off => "    chardelay: false\n    dev-to-net-bufsize: 65536\n    net-to-dev-bufsize: 65536\n",
        Timing::Gather => "",
        Timing::Adaptive => "    chardelay: adaptive\n",
    });
    text
}
