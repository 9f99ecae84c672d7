//! What `showport` and `showshortport` print of a port: texts as ser2net 4.3.11 writes them, because
//! scripts take them apart.

use super::reply::Reply;
use crate::port::ask::{ClientSnapshot, LineState, Snapshot};
use std::fmt::Display;

/// The headings of `showshortport`.
pub const HEADINGS: &str = concat!(
    "Port name              Type   Timeout Remote address                                      ",
    "Accepter               Device                 TCP to device  Device to TCP     TCP in   TCP out    ",
    "Dev in   Dev out State"
);

/// A port as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What the port says of itself.
    pub port: Snapshot,
    /// It is not configured any more and waits for its last client to leave.
    pub deleted: bool,
}

impl Shown {
    /// Both directions are always in the same state. The words are those of ser2net 4.3.11: an idle
    /// port is `waiting input`, one with clients `waiting output`.
    fn state(&self) -> &'static str {
        if !self.port.clients.is_empty() {
            "waiting output"
        } else if self.port.closing {
            "closing"
        } else if !self.port.enabled || self.deleted {
            "unconnected"
        } else {
            "waiting input"
        }
    }

    fn timeout(&self) -> u64 {
        self.port.timeout.map_or(0, |timeout| timeout.as_secs())
    }

    fn enable_state(&self) -> &'static str {
        if self.port.enabled { "on" } else { "off" }
    }

    /// One line of `showshortport`, without its end.
    pub fn short(&self) -> String {
        let Snapshot { name, accepter, connector, clients, line, device, device_bytes, .. } = &self.port;
        let kind = if self.deleted { "DEL" } else { self.enable_state() };
        let first = clients.first();
        let remote = first.map_or("unconnected", |client| &client.peer);
        let (from_net, to_net) = first.map_or((0, 0), |client| client.bytes);
        let (from_device, to_device) = device_bytes;
        let state = match line {
            LineState::Configured(settings) => format!("{device},{settings} offline"),
            LineState::Unknown => String::new(),
            LineState::Open(settings, rts, dtr) => format!("{device},{settings} {}", lines(*rts, *dtr, " ")),
        };
        format!(
            "{name:22} {kind:6} {timeout:7} {remote:51} {accepter:22} {connector:22} {way:14} {way:14} \
             {from_net:9} {to_net:9} {from_device:9} {to_device:9} {state}",
            timeout = self.timeout(),
            way = self.state(),
        )
    }

    /// The paragraph of `showport`.
    pub fn long(&self, reply: &mut Reply<'_>) {
        let Snapshot { name, accepter, connector, clients, line, device_bytes, .. } = &self.port;
        let (config, controls) = match line {
            LineState::Configured(settings) => (settings.as_str(), None),
            LineState::Unknown => ("?", Some("?".to_owned())),
            LineState::Open(settings, rts, dtr) => (settings.as_str(), Some(lines(*rts, *dtr, ","))),
        };
        reply.group("port", "name", name);
        reply.text(1, "accepter", accepter);
        reply.text(1, "enable state", self.enable_state());
        reply.number(1, "timeout", self.timeout());
        for ClientSnapshot { peer, bytes } in clients {
            reply.subgroup("connected to", "connected", "name", peer);
            reply.number(2, "bytes read from TCP", bytes.0);
            reply.number(2, "bytes written to TCP", bytes.1);
        }
        reply.text(1, "device", connector);
        reply.text(1, "device config", config);
        if let Some(controls) = controls {
            reply.text(1, "device controls", &controls);
        }
        reply.text(1, "tcp to device state", self.state());
        reply.text(1, "device to tcp state", self.state());
        reply.number(1, "bytes read from device", device_bytes.0);
        reply.number(1, "bytes written to device", device_bytes.1);
        reply.only_yaml(1, "close state", if self.deleted { "deleted" } else { "retained" });
    }
}

fn lines(rts: bool, dtr: bool, between: impl Display) -> String {
    let word = |on| if on { "HI" } else { "LO" };
    format!("RTS{}{between}DTR{}", word(rts), word(dtr))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn port(name: &str, line: LineState) -> Snapshot {
        Snapshot {
            name: name.into(),
            accepter: "tcp,28110".into(),
            connector: "serialdev,/dev/ttyGg340_1,9600n81,local".into(),
            device: "/dev/ttyGg340_1".into(),
            enabled: true,
            timeout: None,
            clients: Vec::new(),
            line,
            closing: false,
            device_bytes: (0, 0),
        }
    }

    fn client(peer: &str, bytes: (u64, u64)) -> ClientSnapshot {
        ClientSnapshot { peer: peer.to_owned(), bytes }
    }

    fn long(shown: &Shown, yaml: bool) -> String {
        let mut out = Vec::new();
        shown.long(&mut Reply::new(&mut out, yaml));
        String::from_utf8(out).unwrap()
    }

    fn idle() -> Shown {
        Shown { port: port("con1", LineState::Configured("9600N81,CLOCAL".into())), deleted: false }
    }

    fn busy() -> Shown {
        let mut port = port("con1", LineState::Unknown);
        port.timeout = Some(Duration::from_secs(30));
        port.clients =
            vec![client("ipv6,::ffff:127.0.0.1,54292", (3, 5)), client("ipv4,127.0.0.1,5", (0, 4))];
        port.device_bytes = (5, 3);
        Shown { port, deleted: false }
    }

    #[test]
    fn one_line_in_columns() {
        assert_eq!(
            idle().short(),
            "con1                   on           0 unconnected                                         \
             tcp,28110              serialdev,/dev/ttyGg340_1,9600n81,local waiting input  waiting input  \
             \u{20}       0         0         0         0 /dev/ttyGg340_1,9600N81,CLOCAL offline"
        );
        assert_eq!(
            busy().short(),
            "con1                   on          30 ipv6,::ffff:127.0.0.1,54292                         \
             tcp,28110              serialdev,/dev/ttyGg340_1,9600n81,local waiting output waiting output \
             \u{20}       3         5         5         3 "
        );
        let open = LineState::Open("9600N81,CLOCAL".into(), true, false);
        let mut shown = Shown { port: Snapshot { line: open, ..busy().port }, deleted: true };
        let text = shown.short();
        assert!(text.starts_with("con1                   DEL         30 "), "{text}");
        assert!(text.ends_with(" 3 /dev/ttyGg340_1,9600N81,CLOCAL RTSHI DTRLO"), "{text}");
        shown.port.enabled = false;
        shown.port.clients.clear();
        assert!(shown.short().contains(" unconnected    unconnected     "));
        assert_eq!(HEADINGS.find("Accepter"), text.find("tcp,28110"));
        assert_eq!(HEADINGS.find("Remote"), text.find("ipv6,"));
    }

    #[test]
    fn a_paragraph() {
        assert_eq!(
            long(&idle(), false),
            "port: con1\r\n  accepter: tcp,28110\r\n  enable state: on\r\n  timeout: 0\r\n  device: \
             serialdev,/dev/ttyGg340_1,9600n81,local\r\n  device config: 9600N81,CLOCAL\r\n  tcp to device \
             state: waiting input\r\n  device to tcp state: waiting input\r\n  bytes read from device: 0\r\n  \
             bytes written to device: 0\r\n"
        );
        assert_eq!(
            long(&busy(), false),
            "port: con1\r\n  accepter: tcp,28110\r\n  enable state: on\r\n  timeout: 30\r\n  connected to: \
             ipv6,::ffff:127.0.0.1,54292\r\n    bytes read from TCP: 3\r\n    bytes written to TCP: 5\r\n  \
             connected to: ipv4,127.0.0.1,5\r\n    bytes read from TCP: 0\r\n    bytes written to TCP: 4\r\n  \
             device: serialdev,/dev/ttyGg340_1,9600n81,local\r\n  device config: ?\r\n  device controls: \
             ?\r\n  tcp to device state: waiting output\r\n  device to tcp state: waiting output\r\n  bytes \
             read from device: 5\r\n  bytes written to device: 3\r\n"
        );
    }

    #[test]
    fn the_same_as_yaml() {
        let text = long(&busy(), true);
        let begin = "  port: \r\n    name: !!str 'con1'\r\n    accepter: !!str 'tcp,28110'\r\n    enable state: \
                     !!str 'on'\r\n    timeout: !!int 30\r\n    connected: \r\n      name: !!str \
                     'ipv6,::ffff:127.0.0.1,54292'\r\n      bytes read from TCP: !!int 3\r\n      bytes \
                     written to TCP: !!int 5\r\n    connected: \r\n";
        assert!(text.starts_with(begin), "{text}");
        assert!(text.contains("    device config: !!str '?'\r\n    device controls: !!str '?'\r\n"));
        assert!(
            text.ends_with("    bytes written to device: !!int 3\r\n    close state: !!str 'retained'\r\n")
        );
    }
}
