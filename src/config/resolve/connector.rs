//! Connector strings.

mod device;
mod filters;
mod local;
mod sockets;

use super::layers::{Default, Setting, settings};
use super::matching::Rule;
use super::report::{Report, sub_span};
use crate::config::Connector;
use crate::config::address;
use crate::config::connector::{Filter, Target};
use crate::config::gensio::{self, FILTERS, Layer, Side, Stack};
use crate::config::options::{self, Place};
use crate::config::raw::Spanned;

/// Resolves a connector string. `None`, with a report, when it cannot be run.
pub(super) fn resolve(
    text: &Spanned<String>,
    rule: Option<Rule>,
    defaults: &[Default],
    services: &str,
    report: &mut Report,
) -> Option<Connector> {
    if text.value.trim().is_empty() {
        let help = Some("write for instance serialdev,/dev/ttyUSB0,9600n81,local".into());
        report.error(text.span.clone(), "the connector is empty", help);
        return None;
    }
    let stack = match gensio::parse(&text.value, Side::Connector) {
        Ok(stack) => stack,
        Err(problem) => {
            report.problem(text, problem);
            return None;
        }
    };
    let base = base(&stack, text, services, report)?;
    let mut ends = Ends { stack: &stack, text, defaults, services, report };
    if base != "serialdev"
        && let Some(rule) = &rule
    {
        let help = Some("write connector: serialdev,match,115200n81".to_owned());
        ends.report.error(rule.span.clone(), "match finds serial devices, and the connector is none", help);
        return None;
    }
    let filters = filters::resolve(&mut ends);
    let target = match base {
        "serialdev" => {
            Target::Serial(device::device(ends.stack, ends.text, rule, ends.defaults, ends.report)?)
        }
        "tcp" => Target::Tcp(sockets::tcp(&mut ends)?),
        "udp" => Target::Udp(sockets::udp(&mut ends)?),
        "unix" => Target::Unix(sockets::unix(&mut ends)?),
        "dev" => Target::Dev(local::dev(&mut ends)?),
        "pty" => Target::Pty(local::pty(&mut ends)?),
        "stdio" => Target::Program(local::program(&mut ends)?),
        "echo" => Target::Echo(local::echo(&mut ends)),
        "file" => Target::File(local::file(&mut ends)),
        other => {
            ends.refuse_base(other);
            return None;
        }
    };
    Some(Connector { text: text.value.as_str().into(), filters: filters?, target })
}

/// A filter that accepters have, too. `None`, with a report, when it cannot be run.
pub(super) fn client_filter(
    layer: &Layer,
    stack: &Stack,
    text: &Spanned<String>,
    defaults: &[Default],
    report: &mut Report,
) -> Option<Filter> {
    let mut ends = Ends { stack, text, defaults, services: "", report };
    filters::of_client(&mut ends, layer)
}

/// A connector string taken apart, and what is needed to understand its pieces.
struct Ends<'a> {
    stack: &'a Stack,
    text: &'a Spanned<String>,
    defaults: &'a [Default],
    services: &'a str,
    report: &'a mut Report,
}

impl Ends<'_> {
    /// Settings of the type at the bottom.
    fn settings(&mut self, layer: &'static str) -> Vec<Setting> {
        let words = self.stack.base.as_ref().map_or(&[][..], |base| &base.options);
        settings(Place::Layer(layer), words, self.text, self.defaults, self.report)
    }

    /// What stands behind the type and its comma.
    fn tail(&self) -> &str {
        self.stack.tail.as_ref().map_or("", |tail| &tail.text)
    }

    /// Says that the part behind the comma is missing.
    fn missing(&mut self, what: &str, example: &str) {
        let place = self.stack.base.as_ref().map_or(0..self.text.value.len(), |base| base.name.place.clone());
        let span = sub_span(self.text, &place);
        self.report.error(span, format!("{what} is missing"), Some(format!("write for instance {example}")));
    }

    /// Warns about a part behind the comma that means nothing.
    fn nothing_behind(&mut self, layer: &str) {
        if let Some(tail) = self.stack.tail.as_ref().filter(|tail| !tail.text.trim().is_empty()) {
            let span = sub_span(self.text, &tail.place);
            self.report.warning(span, format!("what follows {layer} means nothing"), None);
        }
    }

    fn refuse_base(&mut self, name: &str) {
        let place = self.stack.base.as_ref().map_or(0..self.text.value.len(), |base| base.name.place.clone());
        let help = match name {
            "sctp" => "connect by tcp, or run socat by the stdio connector: stdio,socat - SCTP:host:port",
            "unixdgm" | "unixseq" => {
                "connect to a stream socket by unix, or run socat by the stdio connector"
            }
            "ipmisol" => {
                "run ipmitool by the stdio connector: stdio,ipmitool -I lanplus -H host -U user -f file sol activate"
            }
            "mdns" => "name the service: tcp,host,port, with telnet(rfc2217) in front if it speaks that",
            "sound" => "run a sound program by the stdio connector: stdio,arecord -t raw",
            "dummy" => "dummy can only listen; something that takes all and says nothing is echo(noecho)",
            _ => "use one of serialdev, dev, tcp, udp, unix, pty, stdio, echo and file",
        };
        let span = sub_span(self.text, &place);
        self.report.blocked(span, &format!("connector type {name}"), Some(help.to_owned()));
    }
}

/// The type at the bottom, also where it is not written; `None`, reported, when it is nothing known.
fn base(stack: &Stack, text: &Spanned<String>, services: &str, report: &mut Report) -> Option<&'static str> {
    match (&stack.base, &stack.tail) {
        (Some(layer), _) if layer.name.text == "sdev" => Some("serialdev"),
        (Some(layer), _) => Side::Connector.bases().iter().find(|name| **name == layer.name.text).copied(),
        (None, Some(tail)) if tail.text.starts_with('/') => Some("serialdev"),
        (None, Some(tail)) => {
            let is_word = tail.text.bytes().all(|b| b.is_ascii_alphanumeric());
            // a lone word could be the name of a service, but hardly means one in a connector
            if !is_word && let Ok(list) = address::parse_list(&tail.text, 0, services) {
                let protocol = list.first().and_then(|first| first.protocol.as_ref());
                return Some(match protocol.map(|word| word.text.as_str()) {
                    Some("udp") => "udp",
                    Some("sctp") => "sctp",
                    _ => "tcp",
                });
            }
            let first = tail.text.split([',', '(', ' ']).next().unwrap_or("");
            let known = FILTERS.iter().chain(Side::Connector.bases()).copied();
            let help = match options::suggest(first, known) {
                Some(name) => format!("did you mean {name}?"),
                None => "write serialdev,/dev/...".to_owned(),
            };
            let span = sub_span(text, &(tail.place.start..tail.place.start + first.len()));
            report.error(span, format!("unknown connector type '{first}'"), Some(help));
            None
        }
        (None, None) => None,
    }
}
