//! The transports at the bottom of accepters.

use super::super::connector;
use super::super::layers::{Default, settings};
use super::super::report::{Report, sub_span};
use crate::config::address::{self, Address};
use crate::config::gensio::{Problem, Stack, Word};
use crate::config::options::{self, Place, Value};
use crate::config::raw::Spanned;
use crate::config::{Dial, Listen, ListenAddress, StdioListen, TcpListen, UdpListen, UnixListen, Wrap};
use std::sync::Arc;

/// Longest path of a Unix socket, in bytes (unix(7): 108 with the final NUL).
const LONGEST_PATH: usize = 107;
/// What those who are not named may do when the mode of another is: read and write.
const OTHER_MODE: u32 = 6;

/// What is needed to understand the bottom of an accepter string.
pub(super) struct Bottom<'a> {
    pub(super) stack: &'a Stack,
    pub(super) text: &'a Spanned<String>,
    pub(super) defaults: &'a [Default],
    pub(super) services: &'a str,
}

/// Resolves the transport. `None`, with a report, when it cannot be run.
pub(super) fn resolve(bottom: &Bottom<'_>, report: &mut Report) -> Option<Listen> {
    let Some(layer) = &bottom.stack.base else { return bottom.untyped(report) };
    let at = &layer.name.place;
    match layer.name.text.as_str() {
        "tcp" => {
            let addresses = bottom.addresses("tcp", report)?;
            Some(Listen::Tcp(bottom.tcp(addresses, report)))
        }
        "udp" => {
            let addresses = bottom.addresses("udp", report)?;
            Some(Listen::Udp(bottom.udp(addresses, report)))
        }
        "unix" => bottom.unix(report).map(Listen::Unix),
        "stdio" => {
            bottom.nothing_behind("stdio", report);
            Some(Listen::Stdio(bottom.stdio(report)))
        }
        "dummy" => {
            bottom.nothing_behind("dummy", report);
            Some(Listen::Dummy)
        }
        "conacc" => bottom.dial(report).map(|dial| Listen::Dial(Arc::new(dial))),
        other => {
            let help = match other {
                "sctp" => "use tcp",
                "unixdgm" | "unixseq" => "use unix, a stream socket",
                "pty" => {
                    "a pseudo-terminal can only be opened, not listened to: 'socat PTY,link=/dev/x TCP:host:port' connects one"
                }
                _ => "use tcp, udp, unix or stdio",
            };
            report.refused(sub_span(bottom.text, at), &format!("accepter type {other}"), help);
            None
        }
    }
}

impl Bottom<'_> {
    fn words(&self) -> &[Word] {
        self.stack.base.as_ref().map_or(&[], |layer| &layer.options)
    }

    /// An address without a type: TCP, or what the address says.
    fn untyped(&self, report: &mut Report) -> Option<Listen> {
        let list = self.list(report)?;
        let protocol = list.first()?.protocol.as_ref().map_or("tcp", |word| word.text.as_str()).to_owned();
        let addresses = self.checked(list, &protocol, report)?;
        match protocol.as_str() {
            "udp" => Some(Listen::Udp(self.udp(addresses, report))),
            _ => Some(Listen::Tcp(self.tcp(addresses, report))),
        }
    }

    fn addresses(&self, protocol: &str, report: &mut Report) -> Option<Box<[ListenAddress]>> {
        let list = self.list(report)?;
        self.checked(list, protocol, report)
    }

    fn list(&self, report: &mut Report) -> Option<Vec<Address>> {
        let base = self.stack.base.as_ref();
        let Some(tail) = &self.stack.tail else {
            let end = self.text.value.len();
            let at = base.map_or(end..end, |layer| layer.name.place.clone());
            let name = base.map_or("tcp", |layer| &layer.name.text);
            let help = format!("write for instance {name},2000");
            report.problem(self.text, Problem::new(at, "the port is missing").help(help));
            return None;
        };
        match address::parse_list(&tail.text, tail.place.start, self.services) {
            Ok(list) => Some(list),
            Err(problem) => {
                let problem = if base.is_some() { problem } else { super::unknown_type(tail, problem) };
                report.problem(self.text, problem);
                None
            }
        }
    }

    /// The addresses of a list, all of this protocol.
    fn checked(
        &self,
        list: Vec<Address>,
        protocol: &str,
        report: &mut Report,
    ) -> Option<Box<[ListenAddress]>> {
        let mut addresses = Vec::with_capacity(list.len());
        for address in list {
            if let Some(word) = &address.protocol {
                let span = sub_span(self.text, &word.place);
                if word.text == "sctp" {
                    report.refused(span, "accepter type sctp", "use tcp");
                    return None;
                }
                if word.text != protocol {
                    let help = "write one connection for each protocol";
                    report.error(
                        span,
                        format!("{} among addresses of {protocol}", word.text),
                        Some(help.into()),
                    );
                    return None;
                }
            }
            super::remarks(&address, self.stack.base.is_some(), self.text, report);
            let host = address.host.map(|h| h.text.into());
            addresses.push(ListenAddress { family: address.family, host, port: address.number });
        }
        if addresses.is_empty() { None } else { Some(addresses.into()) }
    }

    fn tcp(&self, addresses: Box<[ListenAddress]>, report: &mut Report) -> TcpListen {
        let place = Place::Layer("tcp");
        let name = options::find(place, "tcpdname").and_then(|row| row.default).unwrap_or_default();
        let wrap_name = name.into();
        let mut tcp =
            TcpListen { addresses, nodelay: true, reuseaddr: true, wrap: Wrap::default(), wrap_name };
        for setting in settings(place, self.words(), self.text, self.defaults, report) {
            match (setting.row.name, setting.value) {
                ("nodelay", Value::Bool(on)) => tcp.nodelay = on,
                ("reuseaddr", Value::Bool(on)) => tcp.reuseaddr = on,
                ("tcpd", Value::Text(text)) => {
                    tcp.wrap = match text.as_str() {
                        "on" => Wrap::On,
                        "off" => Wrap::Off,
                        _ => Wrap::Print,
                    }
                }
                ("tcpdname", Value::Text(text)) => tcp.wrap_name = text.into(),
                // ser2net 4.3.11 refuses it here too
                ("laddr", _) => report.error(
                    setting.span,
                    "laddr is an option of connectors",
                    Some("write the address to listen at in front of the port: tcp,127.0.0.1,2000".into()),
                ),
                _ => {}
            }
        }
        tcp
    }

    fn udp(&self, addresses: Box<[ListenAddress]>, report: &mut Report) -> UdpListen {
        let mut udp = UdpListen { addresses, reuseaddr: false };
        for setting in settings(Place::Layer("udp"), self.words(), self.text, self.defaults, report) {
            match (setting.row.name, setting.value) {
                ("reuseaddr", Value::Bool(on)) => udp.reuseaddr = on,
                (name, _) => {
                    report.error(
                        setting.span,
                        format!("{name} of udp is for connecting, not for accepters"),
                        None,
                    );
                }
            }
        }
        udp
    }

    fn unix(&self, report: &mut Report) -> Option<UnixListen> {
        let tail = self.stack.tail.as_ref().filter(|tail| !tail.text.is_empty());
        let Some(tail) = tail else {
            let at = self.stack.base.as_ref().map_or(0..0, |layer| layer.name.place.clone());
            let problem = Problem::new(at, "the path of the socket is missing");
            report.problem(self.text, problem.help("write for instance unix,/run/serbroker/console"));
            return None;
        };
        if tail.text.len() > LONGEST_PATH || tail.text.contains('\0') {
            let message = format!("a socket's path has at most {LONGEST_PATH} bytes, and no NUL");
            report.problem(self.text, Problem::new(tail.place.clone(), message));
            return None;
        }
        let path = tail.text.as_str().into();
        let mut unix = UnixListen { path, delsock: false, mode: None, owner: None, group: None };
        let mut parts: [Option<u32>; 3] = [None; 3];
        for setting in settings(Place::Layer("unix"), self.words(), self.text, self.defaults, report) {
            match (setting.row.name, setting.value) {
                ("delsock", Value::Bool(on)) => unix.delsock = on,
                ("perm", Value::Mode(mode)) => unix.mode = Some(mode),
                ("umode", Value::Mode(mode)) => parts[0] = Some(mode),
                ("gmode", Value::Mode(mode)) => parts[1] = Some(mode),
                ("omode", Value::Mode(mode)) => parts[2] = Some(mode),
                ("owner", Value::Text(name)) => unix.owner = Some(name.into()),
                ("group", Value::Text(name)) => unix.group = Some(name.into()),
                _ => {}
            }
        }
        if parts.iter().any(Option::is_some) {
            let base = unix.mode.unwrap_or(OTHER_MODE * 0o111);
            let digit = |part: Option<u32>, shift: u32| part.unwrap_or(base >> shift & 7) << shift;
            unix.mode = Some(digit(parts[0], 6) | digit(parts[1], 3) | digit(parts[2], 0));
        }
        Some(unix)
    }

    fn stdio(&self, report: &mut Report) -> StdioListen {
        let mut stdio = StdioListen::default();
        for setting in settings(Place::Layer("stdio"), self.words(), self.text, self.defaults, report) {
            match (setting.row.name, setting.value) {
                ("raw", Value::Bool(on)) => stdio.raw = on,
                (name, _) => {
                    let message =
                        format!("{name} of stdio is for programs that are started, not for accepters");
                    report.error(setting.span, message, None);
                }
            }
        }
        stdio
    }

    fn dial(&self, report: &mut Report) -> Option<Dial> {
        let tail = self.stack.tail.as_ref().filter(|tail| !tail.text.trim().is_empty());
        let Some(tail) = tail else {
            let at = self.stack.base.as_ref().map_or(0..0, |layer| layer.name.place.clone());
            let problem = Problem::new(at, "what to connect to is missing");
            report.problem(self.text, problem.help("write for instance conacc,tcp,192.0.2.1,2000"));
            return None;
        };
        let mut retry = None;
        for setting in settings(Place::Layer("conacc"), self.words(), self.text, self.defaults, report) {
            if let ("retry-time", Value::Time(time)) = (setting.row.name, setting.value) {
                retry = Some(time).filter(|time| !time.is_zero());
            }
        }
        let text = Spanned { value: tail.text.clone(), span: sub_span(self.text, &tail.place) };
        let connector = report
            .untraced(|report| connector::resolve(&text, None, self.defaults, self.services, report))?;
        Some(Dial { owner: report.name().into(), connector, retry })
    }

    /// Reports a part behind the comma that means nothing.
    fn nothing_behind(&self, name: &str, report: &mut Report) {
        if let Some(tail) = self.stack.tail.as_ref().filter(|tail| !tail.text.trim().is_empty()) {
            let problem =
                Problem::new(tail.place.clone(), format!("nothing may follow {name} in an accepter"));
            report.problem(self.text, problem);
        }
    }
}
