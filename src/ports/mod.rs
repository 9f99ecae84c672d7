//! `serbroker ports`: the serial ports of this machine, what they are, who may open and who has them,
//! and which connections of the configuration lead to them.
//!
//! Nothing is opened: opening a serial port raises DTR, which restarts many boards.

mod access;
mod holders;
mod nodes;
mod sysfs;
mod table;

pub use access::Access;
pub use holders::{LockFile, Process};
pub use sysfs::Usb;
pub use table::{Width, text};

use crate::config::Config;
use crate::serial::{DeviceIdentity, UUCP_LOCK_DIR, find};
use serde::Serialize;
use std::fs::{self, Metadata};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Where the kernel and others tell what there is. Other places than the usual are for tests.
#[derive(Clone, Debug)]
pub struct Roots {
    /// sysfs(5).
    pub sys: PathBuf,
    /// Device nodes.
    pub dev: PathBuf,
    /// proc(5).
    pub proc: PathBuf,
    /// UUCP lock files.
    pub locks: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { sys: "/sys".into(), dev: "/dev".into(), proc: "/proc".into(), locks: UUCP_LOCK_DIR.into() }
    }
}

/// All that is found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ports {
    /// The serial ports, in the order of their names; behind them other terminals (pseudo-terminals)
    /// that connections name.
    pub ports: Vec<Port>,
    /// Devices of connections that cannot be looked at.
    pub missing: Vec<Missing>,
    /// Number of processes that we may not look at: a port may be held by one of them.
    pub hidden_processes: usize,
}

/// One serial port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Port {
    /// The kernel's name: `ttyUSB0`.
    pub name: String,
    /// The device node; `None`: there is none for it below `/dev`.
    pub path: Option<String>,
    /// Names below `/dev/serial/by-id`, which stay with the adapter.
    pub by_id: Vec<String>,
    /// Names below `/dev/serial/by-path`, which stay with the socket that it is plugged into.
    pub by_path: Vec<String>,
    /// Further names below `/dev`.
    pub other_names: Vec<String>,
    /// What the USB device tells of itself; `None`: not on USB.
    pub usb: Option<Usb>,
    /// The kernel's driver.
    pub driver: Option<String>,
    /// Who may open the node; `None` without a node.
    pub access: Option<Access>,
    /// Processes that have it open, this one not among them.
    pub held_by: Vec<Process>,
    /// UUCP lock files of any of its names.
    pub lock_files: Vec<LockFile>,
    /// Connections of the configuration that open it.
    pub connections: Vec<User>,
}

/// A connection that uses a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// Its name.
    pub name: String,
    /// False: it is switched off.
    pub enabled: bool,
}

/// A device that a connection names and that cannot be looked at, or that is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The connection.
    pub connection: User,
    /// Path of the device as configured.
    pub device: String,
    /// What is wrong with it, in words.
    pub problem: String,
}

impl Port {
    /// All paths that lead to it, the node first.
    fn paths(&self) -> impl Iterator<Item = &String> {
        self.path.iter().chain(&self.by_id).chain(&self.by_path).chain(&self.other_names)
    }
}

/// Looks at everything. What cannot be read is left out.
pub fn list(roots: &Roots, config: &Config) -> Ports {
    let mut found: Vec<(Port, Option<DeviceIdentity>)> = Vec::new();
    let mut nodes = nodes::Nodes::find(&roots.dev);
    for kernel in sysfs::ports(&roots.sys) {
        let names = nodes.take(kernel.number, &kernel.name);
        let node = names.path.as_deref().and_then(|path| device(Path::new(path)).ok());
        let port = Port {
            name: kernel.name,
            path: names.path,
            by_id: names.by_id,
            by_path: names.by_path,
            other_names: names.other,
            usb: kernel.usb,
            driver: kernel.driver,
            access: node.as_ref().map(Access::of),
            ..Port::default()
        };
        found.push((port, node.as_ref().map(DeviceIdentity::of)));
    }
    let mut missing = Vec::new();
    for connection in &config.connections {
        let Some(wanted) = connection.connector.device() else { continue };
        let user = User { name: connection.name.to_string(), enabled: connection.enabled };
        if let Some(rule) = &wanted.rule {
            match fits(&mut found, &find::find(rule, &roots.sys)) {
                Ok(port) => port.connections.push(user),
                Err(problem) => {
                    missing.push(Missing { connection: user, device: wanted.path.to_string(), problem });
                }
            }
            continue;
        }
        let node = match device(Path::new(&*wanted.path)) {
            Ok(node) => node,
            Err(problem) => {
                missing.push(Missing { connection: user, device: wanted.path.to_string(), problem });
                continue;
            }
        };
        let identity = DeviceIdentity::of(&node);
        match found.iter_mut().find(|(_, known)| *known == Some(identity)) {
            Some((port, _)) => {
                let known = port.paths().any(|path| *path == *wanted.path);
                if !known {
                    port.other_names.push(wanted.path.to_string());
                }
                port.connections.push(user);
            }
            None => found.push((unlisted(&wanted.path, &node, user), Some(identity))),
        }
    }
    let held = holders::of(&roots.proc, found.iter().filter_map(|(_, identity)| *identity));
    let ports = found
        .into_iter()
        .map(|(mut port, identity)| {
            port.held_by = identity.map(|identity| held.holders(identity)).unwrap_or_default();
            port.lock_files = holders::lock_files(&roots.locks, &roots.proc, port.paths());
            port
        })
        .collect();
    Ports { ports, missing, hidden_processes: held.hidden }
}

/// The one port of those that a `match` rule found, by the nodes that the kernel gives them.
fn fits<'a>(
    ports: &'a mut [(Port, Option<DeviceIdentity>)],
    nodes: &[String],
) -> Result<&'a mut Port, String> {
    match nodes {
        [] => Err("no port fits".to_owned()),
        [node] => {
            let name = node.strip_prefix("/dev/").unwrap_or(node);
            let port = ports.iter_mut().map(|(port, _)| port).find(|port| port.name == name);
            port.ok_or_else(|| format!("{node} fits and is gone again"))
        }
        several => Err(format!("{} fit; the rule must say more", several.join(", "))),
    }
}

/// A terminal that the kernel does not list as a serial port.
fn unlisted(path: &str, node: &Metadata, user: User) -> Port {
    let target = fs::canonicalize(path).map_or_else(|_| path.to_owned(), |real| real.display().to_string());
    let driver = DeviceIdentity::of(node).is_pty().then(|| "pseudo-terminal".to_owned());
    Port {
        name: target.strip_prefix("/dev/").unwrap_or(&target).to_owned(),
        other_names: if target == path { Vec::new() } else { vec![path.to_owned()] },
        path: Some(target),
        driver,
        access: Some(Access::of(node)),
        connections: vec![user],
        ..Port::default()
    }
}

/// The node at a path, links followed.
fn device(path: &Path) -> Result<Metadata, String> {
    let node = fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such device".to_owned(),
        _ => error.to_string(),
    })?;
    if node.file_type().is_char_device() { Ok(node) } else { Err("it is not a serial port".to_owned()) }
}

/// Text of a device or of another program for one line: no control characters.
fn printable(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests;
