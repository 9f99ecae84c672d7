//! Connections announced by mDNS, by a responder of our own: no other daemon is needed.
//!
//! The responder is a thread with sockets on UDP port 5353 (RFC 6762), shared with other responders
//! of the machine. It exists only while something is announced.

use crate::config::Connection;
use crate::config::Listen;
use crate::config::announce::{Announce, NetType};
use crate::config::values::transport_name;
use crate::serial;
use mdns_sd::{Error, IfKind, ServiceDaemon, ServiceInfo};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tracing::{info, warn};

/// Type of services that say none, as ser2net announces them.
const SERVICE: &str = "_iostream._tcp";
/// The same over UDP.
const DATAGRAMS: &str = "_iostream._udp";
/// The goodbye of a service must be out by then; the program does not wait longer.
const GOODBYE: Duration = Duration::from_millis(300);
/// Where the kernel tells about terminals.
const TERMINALS: &str = "/sys/class/tty";
/// Attributes of a USB interface and of its device that are told, when they exist.
const ATTRIBUTES: [&str; 7] =
    ["bInterfaceNumber", "interface", "idProduct", "idVendor", "serial", "manufacturer", "product"];
/// Directories between a terminal and its USB device, with some to spare.
const USB_DEPTH: usize = 4;

/// What is announced of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    instance: String,
    /// Service type with domain and final dot.
    kind: String,
    host: Option<String>,
    port: u16,
    texts: Vec<(String, String)>,
    interface: Option<u32>,
    net_type: NetType,
}

/// Services by the names of their connections.
pub type Services = BTreeMap<Arc<str>, Service>;

/// The services of a configuration. Reads what the kernel tells of devices where that is asked for.
pub fn services(connections: &[Arc<Connection>]) -> Services {
    let enabled = connections.iter().filter(|c| c.enabled);
    enabled
        .filter_map(|c| {
            // a port that the kernel chooses is not known here, and other transports have none
            let port = c.accepter.listen.addresses().first().map(|at| at.port).filter(|port| *port != 0)?;
            Some((c.name.clone(), service(c, port, c.options.announce.as_deref()?)))
        })
        .collect()
}

fn service(connection: &Connection, port: u16, announce: &Announce) -> Service {
    let Announce { enabled: _, interface, net_type, name, service, domain, host, texts, attributes } =
        announce;
    let device = connection.connector.label();
    let mut all =
        vec![("provider".to_owned(), "ser2net".to_owned()), ("gensiostack".to_owned(), stack(connection))];
    all.extend(texts.iter().filter_map(|text| text.split_once('=')).map(|(n, v)| (n.into(), v.into())));
    if *attributes {
        // one that is found by a rule is what it is now
        let node = connection.connector.device().and_then(serial::node_now);
        let node = node.as_deref().unwrap_or(device);
        all.extend(of_device(Path::new(node), Path::new(TERMINALS)));
    }
    let by_default = if matches!(*connection.accepter.listen, Listen::Udp(_)) { DATAGRAMS } else { SERVICE };
    let domain = domain.as_deref().unwrap_or("local").trim_matches('.');
    Service {
        instance: name.clone().unwrap_or_else(|| connection.name.to_string()),
        kind: format!("{}.{domain}.", service.as_deref().unwrap_or(by_default)),
        host: host.clone(),
        port,
        texts: all,
        interface: *interface,
        net_type: *net_type,
    }
}

/// The types of an accepter, to be put before `,host,port` by a client.
fn stack(connection: &Connection) -> String {
    let accepter = &connection.accepter;
    let telnet = accepter.telnet.map(|t| if t.rfc2217 { "telnet(rfc2217)," } else { "telnet," });
    let tls = accepter.tls.as_ref().map(|_| "ssl,");
    let transport = transport_name(&accepter.listen);
    format!("{}{}{transport}", telnet.unwrap_or_default(), tls.unwrap_or_default())
}

/// `devicetype` of a terminal, and for one on USB what its descriptors say.
fn of_device(device: &Path, terminals: &Path) -> Vec<(String, String)> {
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    // a link such as those of /dev/serial/by-id
    let node = device.canonicalize().unwrap_or_else(|_| device.to_owned());
    let directories = node
        .file_name()
        .and_then(|name| terminals.join(name).join("device").canonicalize().ok())
        .map(|dir| dir.ancestors().take(USB_DEPTH).map(Path::to_owned).collect::<Vec<PathBuf>>())
        .unwrap_or_default();
    if !directories.iter().any(|dir| dir.join("idVendor").is_file()) {
        return vec![text("devicetype", "serial")];
    }
    let mut found = vec![text("devicetype", "serialusb")];
    for name in ATTRIBUTES {
        let value = directories.iter().find_map(|dir| std::fs::read_to_string(dir.join(name)).ok());
        found.extend(value.map(|value| text(name, value.trim())));
    }
    found
}

impl Service {
    fn info(&self, host: &str) -> Result<ServiceInfo, Error> {
        let host = match &self.host {
            Some(host) if host.contains('.') => format!("{}.", host.trim_end_matches('.')),
            Some(host) => format!("{host}.local."),
            None => host.to_owned(),
        };
        let mut info = ServiceInfo::new(&self.kind, &self.instance, &host, "", self.port, &self.texts[..])?
            .enable_addr_auto();
        let interfaces = match (self.interface, self.net_type) {
            (None, NetType::Any) => return Ok(info),
            (None, NetType::V4) => vec![IfKind::IPv4],
            (None, NetType::V6) => vec![IfKind::IPv6],
            (Some(index), NetType::Any) => vec![IfKind::IndexV4(index), IfKind::IndexV6(index)],
            (Some(index), NetType::V4) => vec![IfKind::IndexV4(index)],
            (Some(index), NetType::V6) => vec![IfKind::IndexV6(index)],
        };
        info.set_interfaces(interfaces);
        Ok(info)
    }
}

/// Keeps what is announced equal to the configuration.
#[derive(Default)]
pub struct Responder {
    daemon: Option<ServiceDaemon>,
    /// With the full names of the records.
    announced: BTreeMap<Arc<str>, (Service, String)>,
}

impl std::fmt::Debug for Responder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Responder").field("announced", &self.announced).finish_non_exhaustive()
    }
}

impl Responder {
    /// Announces `wanted` and nothing else. What cannot be announced is named in the log.
    pub async fn apply(&mut self, wanted: Services) {
        let gone: Vec<_> = self
            .announced
            .iter()
            .filter(|(name, (service, _))| wanted.get(*name) != Some(service))
            .map(|(name, (_, full))| (name.clone(), full.clone()))
            .collect();
        for (name, _) in &gone {
            self.announced.remove(name);
        }
        let goodbyes: Vec<_> = gone
            .iter()
            .filter_map(|(_, full)| self.daemon.as_ref().and_then(|daemon| daemon.unregister(full).ok()))
            .collect();
        let said = async {
            for goodbye in &goodbyes {
                // an error is the end of the thread
                let _ = goodbye.recv_async().await;
            }
        };
        // late or never: then the records end by their time
        let _ = timeout(GOODBYE, said).await;
        for (name, service) in wanted {
            if !self.announced.contains_key(&name) {
                match self.announce(&service) {
                    Ok(full) => {
                        info!(port = %name, "announced by mDNS as {full}");
                        self.announced.insert(name, (service, full));
                    }
                    Err(e) => warn!(port = %name, "cannot be announced by mDNS: {e}"),
                }
            }
        }
        if self.announced.is_empty() {
            self.end().await;
        }
    }

    /// Takes everything back.
    pub async fn shutdown(mut self) {
        self.end().await;
    }

    fn announce(&mut self, service: &Service) -> Result<String, Error> {
        let host =
            nix::unistd::gethostname().map_err(|e| Error::Msg(format!("no name of this host: {e}")))?;
        let host = host.to_string_lossy();
        let info = service.info(&format!("{}.local.", host.split('.').next().unwrap_or(&host)))?;
        let full = info.get_fullname().to_owned();
        let daemon = match &self.daemon {
            Some(daemon) => daemon,
            None => self.daemon.insert(ServiceDaemon::new()?),
        };
        daemon.register(info)?;
        Ok(full)
    }

    /// Ends the thread, which says goodbye for every service.
    async fn end(&mut self) {
        self.announced.clear();
        let Some(Ok(ended)) = self.daemon.take().map(|daemon| daemon.shutdown()) else { return };
        // nothing is lost but the goodbye
        let _ = timeout(GOODBYE, ended.recv_async()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn attributes_of_usb_devices() {
        let dir = tempfile::tempdir().unwrap();
        let (sys, dev) = (dir.path().join("sys"), dir.path().join("dev"));
        let interface = sys.join("devices/usb1/1-2/1-2:1.0");
        let terminal = interface.join("ttyUSB0");
        let class = sys.join("class/tty/ttyUSB0");
        for made in [&dev, &terminal, &class] {
            fs::create_dir_all(made).unwrap();
        }
        symlink(&terminal, class.join("device")).unwrap();
        fs::write(dev.join("ttyUSB0"), "").unwrap();
        symlink(dev.join("ttyUSB0"), dev.join("by-id")).unwrap();
        for (name, text) in [("idVendor", "0403\n"), ("idProduct", "6001\n"), ("serial", "A1\n")] {
            fs::write(interface.parent().unwrap().join(name), text).unwrap();
        }
        fs::write(interface.join("bInterfaceNumber"), "00\n").unwrap();
        let told = |device: &str| {
            let texts = of_device(&dev.join(device), &sys.join("class/tty"));
            texts.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(" ")
        };
        let all = "devicetype=serialusb bInterfaceNumber=00 idProduct=6001 idVendor=0403 serial=A1";
        assert_eq!(told("ttyUSB0"), all);
        assert_eq!(told("by-id"), all);
        assert_eq!(told("ttyS0"), "devicetype=serial");
    }

    fn of(yaml: &str) -> Services {
        let inputs = crate::config::load::Inputs { yaml: vec![yaml.to_owned()], ..Default::default() };
        services(&crate::broker::read(&inputs).config.connections)
    }

    #[test]
    fn what_is_announced() {
        let text = |options: &str| {
            format!(
                "connection: &con\n  accepter: telnet(rfc2217),ssl,tcp,2000\n  connector: serialdev,/dev/x\n{options}"
            )
        };
        assert!(of(&text("")).is_empty());
        assert!(of(&text("  options:\n    mdns-name: x\n    mdns-type: _a._tcp\n")).is_empty());
        assert!(of(&text("  enable: off\n  options:\n    mdns: true\n")).is_empty());
        let plain = of(&text("  options:\n    mdns: true\n"));
        let service = &plain["con"];
        assert_eq!((service.instance.as_str(), service.kind.as_str()), ("con", "_iostream._tcp.local."));
        assert_eq!(service.port, 2000);
        let texts = [("provider", "ser2net"), ("gensiostack", "telnet(rfc2217),ssl,tcp")];
        assert_eq!(service.texts, texts.map(|(n, v)| (n.to_owned(), v.to_owned())));
        let full = of(&text(
            "  options:\n    mdns: true\n    mdns-name: my stick\n    mdns-type: _zwave._tcp\n    mdns-txt: a=1\n    \
             mdns-txt: b=2\n    mdns-host: box\n    mdns-domain: example.org\n    mdns-interface: 3\n    \
             mdns-nettype: ipv4\n    mdns-sysattrs: true\n",
        ));
        let service = &full["con"];
        assert_eq!(service.texts[2..4], [("a".to_owned(), "1".to_owned()), ("b".into(), "2".into())]);
        assert_eq!(service.texts[4], ("devicetype".to_owned(), "serial".to_owned()));
        assert_eq!((service.interface, service.net_type), (Some(3), NetType::V4));
        let info = service.info("this.local.").unwrap();
        assert_eq!(info.get_fullname(), "my stick._zwave._tcp.example.org.");
        assert_eq!(info.get_hostname(), "box.local.");
        assert_ne!(plain, of(&text("  options:\n    mdns: true\n    mdns-txt: a=1\n")));
    }
}
