//! A program under watch with its device and its clients.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use crate::client::Client;
use crate::ends::Device;
use crate::exchange::open;
use crate::keys::Keys;
use crate::process::{Running, free_port};
use crate::scene::{Amount, Scene};
use crate::subject::Subject;

/// Everything that a scene needs, with the opening exchange done.
pub(crate) struct Stage {
    scene: Scene,
    // closed first, so that a program that ends with its client does so by itself
    clients: Vec<Client>,
    _running: Running,
    device: Device,
}

impl Stage {
    /// Starts `subject` inside the command that `wrap` makes of it.
    pub(crate) fn set(
        scene: Scene,
        subject: Subject,
        keys: &Keys,
        wrap: impl FnOnce(&Command) -> Command,
    ) -> Result<Self, String> {
        if let Some(reason) = subject.unsupported() {
            return Err(reason);
        }
        let stack = scene.stack(keys)?;
        let mut device = Device::create(None).map_err(|error| format!("no pty: {error}"))?;
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let port = free_port().map_err(|error| format!("no port: {error}"))?;
        let command = subject.command(&stack, scene.clients(), port, device.path(), dir.path());
        let command = command.map(|command| {
            let mut command = wrap(&command);
            command.current_dir(dir.path());
            command
        });
        let mut running = Running::launch("", port, dir, command)?;
        let clients = connect(scene, keys, &mut device, || running.connect())
            .map_err(|error| format!("{error}{}", running.last_words()))?;
        Ok(Self { scene, clients, _running: running, device })
    }

    /// Plays the scene; gives the number of units.
    pub(crate) fn run(&mut self, amount: Amount) -> Result<f64, String> {
        self.scene.run(&mut self.clients, &mut self.device, amount)
    }
}

/// Connects the clients of a scene and does the opening exchange: then all are known to be attached.
pub(crate) fn connect(
    scene: Scene,
    keys: &Keys,
    device: &mut Device,
    mut stream: impl FnMut() -> Result<TcpStream, String>,
) -> Result<Vec<Client>, String> {
    // only a client inside TLS looks for the certificate
    let dir = if scene.tls() { keys.dir()? } else { Path::new("") };
    let mut clients = Vec::new();
    for _ in 0..scene.clients() {
        let client = Client::new(stream()?, scene.wire(), dir);
        clients.push(client.map_err(|error| format!("client: {error}"))?);
    }
    open(&mut clients, device)?;
    Ok(clients)
}

/// `command` as the argument of another program.
pub(crate) fn inside(mut outer: Command, command: &Command) -> Command {
    outer.arg(command.get_program()).args(command.get_args());
    outer
}

/// Whether a program is in `PATH`; the error says that it is missing.
pub(crate) fn installed(program: &str) -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|dir: std::path::PathBuf| Path::is_file(&dir.join(program))) {
        Ok(())
    } else {
        Err(format!("{program} is not installed"))
    }
}
