//! A program under watch with its device and its clients.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::ends::{Client, Device, End};
use crate::exchange::{GREETING, OPENING, open};
use crate::keys::Keys;
use crate::process::Running;
use crate::pump::receive_exact;
use crate::scene::{Amount, Scene};
use crate::subject::Subject;
use crate::tls_client::TlsClient;

/// Everything that a scene needs, with the opening exchange done.
pub(crate) struct Stage {
    scene: Scene,
    // closed first, so that a program that ends with its client does so by itself
    clients: Vec<Box<dyn End>>,
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
        let mut device = Device::create().map_err(|error| format!("no pty: {error}"))?;
        let mut running = Running::launch(|port, dir| {
            subject.command(&stack, scene.clients(), port, device.path(), dir).map(|command| {
                let mut command = wrap(&command);
                command.current_dir(dir);
                command
            })
        })?;
        let clients = connect(scene, keys, &mut device, || running.connect())
            .map_err(|error| format!("{error}{}", running.last_words()))?;
        Ok(Self { scene, clients, _running: running, device })
    }

    /// Plays the scene; gives the number of units.
    pub(crate) fn run(&mut self, amount: Amount) -> Result<f64, String> {
        self.scene.run(&mut self.clients, &mut self.device, amount)
    }
}

/// Connects the clients of a scene one after the other, each with an exchange of its own: then all of
/// them are known to be attached.
pub(crate) fn connect(
    scene: Scene,
    keys: &Keys,
    device: &mut Device,
    mut stream: impl FnMut() -> Result<TcpStream, String>,
) -> Result<Vec<Box<dyn End>>, String> {
    let mut clients: Vec<Box<dyn End>> = Vec::new();
    for _ in 0..scene.clients() {
        let mut client = client(scene, keys, stream()?)?;
        open(client.as_mut(), device)?;
        for other in &mut clients {
            receive_exact(other.as_mut(), GREETING[1].len(), Instant::now() + OPENING, |_| Ok(()))
                .map_err(|error| format!("opening, at another client: {error}"))?;
        }
        clients.push(client);
    }
    Ok(clients)
}

fn client(scene: Scene, keys: &Keys, stream: TcpStream) -> Result<Box<dyn End>, String> {
    if scene.tls() {
        let [_, certificate] = keys.files()?;
        let client = TlsClient::new(stream, &certificate).map_err(|error| format!("TLS: {error}"))?;
        return Ok(Box::new(client));
    }
    let client = Client::new(stream, scene.telnet()).map_err(|error| format!("client: {error}"))?;
    Ok(Box::new(client))
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
