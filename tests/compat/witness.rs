//! What was recorded and what is seen, endpoint by endpoint.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value as Json;

use crate::case::{Case, Seen};
use crate::text::Names;

/// One thing that is seen from the outside.
#[derive(Clone)]
pub(crate) enum Sight {
    Data(Vec<u8>),
    Datagram(Vec<u8>),
    Line(String),
    Closed { how: String },
    ConnectFailed { error: String },
    SendFailed { error: String },
    UdpError { error: String },
    DeviceOpened,
    DeviceClosed,
    PacketEvent { flags: String },
    Exit { status: i64 },
}

/// An item of the stream of an endpoint.  `B` is the text of recorded bytes, or the bytes themselves.
pub(crate) enum Item<B> {
    /// Bytes of a stream; neighbours are one.
    Data(B),
    Datagram(B),
    Line(String),
    Event(String),
}

pub(crate) trait Joined {
    fn join(&mut self, more: Self);
}

impl Joined for String {
    fn join(&mut self, more: Self) {
        self.push_str(&more);
    }
}

impl Joined for Vec<u8> {
    fn join(&mut self, more: Self) {
        self.extend(more);
    }
}

pub(crate) fn push<B: Joined>(stream: &mut Vec<Item<B>>, item: Item<B>) {
    match (stream.last_mut(), item) {
        (Some(Item::Data(so_far)), Item::Data(more)) => so_far.join(more),
        (_, item) => stream.push(item),
    }
}

/// Both streams of one endpoint, and how far they are.
#[derive(Default)]
pub(crate) struct Endpoint {
    pub(crate) recorded: Vec<Item<String>>,
    pub(crate) actual: Vec<Item<Vec<u8>>>,
    due_texts: Vec<String>,
    due_events: usize,
    had_bytes: usize,
    had_events: usize,
}

/// What is compared.
#[derive(Clone, Copy, Default)]
pub(crate) struct Rules {
    /// Log lines, texts on stderr and exit status too.
    pub(crate) strict_log: bool,
    /// The order of device calls and the flush events of the pty too.
    pub(crate) strict_device: bool,
    pub(crate) compare_stdout: bool,
    pub(crate) any_close: bool,
    pub(crate) any_reopen: bool,
}

impl Rules {
    pub(crate) fn of(self, case: &Case) -> Rules {
        Rules {
            compare_stdout: case.compare_stdout,
            any_close: case.any_close,
            any_reopen: case.any_reopen,
            ..self
        }
    }

    pub(crate) fn compares(self, who: &str, what: &str) -> bool {
        match who {
            "daemon-stderr" => self.strict_log,
            "daemon-stdout" => self.strict_log || self.compare_stdout,
            _ => what != "pty-packet-event" || self.strict_device,
        }
    }

    fn event(self, what: &str, how: Option<&str>, detail: [Option<&str>; 2], status: Option<i64>) -> String {
        match what {
            "closed-by-server" if self.any_close => what.to_owned(),
            "closed-by-server" => format!("{what} {}", how.unwrap_or("?")),
            "exit" if self.strict_log => format!("{what} {}", status.unwrap_or(-1)),
            "exit" => what.to_owned(),
            _ => detail.iter().flatten().fold(what.to_owned(), |text, word| text + " " + word),
        }
    }
}

/// What came, in order, for writing a new recording.
pub(crate) enum Note {
    Seen(String, Sight),
    /// The result of a look, when it is not the recorded one.
    Result(Option<Json>),
}

/// The streams of all endpoints of a running case.
pub(crate) struct Witness {
    pub(crate) rules: Rules,
    pub(crate) endpoints: BTreeMap<String, Endpoint>,
    /// Everything compared, with the time it came.
    pub(crate) log: Vec<(Instant, Note)>,
}

/// The endpoint under which results of looks are filed.
const RESULTS: &str = "results";

impl Witness {
    pub(crate) fn new(rules: Rules) -> Self {
        Witness { rules, endpoints: BTreeMap::new(), log: Vec::new() }
    }

    fn endpoint(&mut self, who: &str) -> &mut Endpoint {
        self.endpoints.entry(who.to_owned()).or_default()
    }

    /// From now on this is expected to be seen.
    pub(crate) fn expect(&mut self, seen: &Seen) {
        if !self.rules.compares(&seen.who, &seen.what) {
            return;
        }
        let detail = [seen.error.as_deref(), seen.flags.as_deref()];
        let event = self.rules.event(&seen.what, seen.how.as_deref(), detail, seen.status);
        let end = self.endpoint(&seen.who);
        let text = seen.text.clone();
        if seen.what == "data" {
            end.due_texts.push(text.clone());
            push(&mut end.recorded, Item::Data(text));
            return;
        }
        end.due_events += 1;
        end.recorded.push(match seen.what.as_str() {
            "line" => Item::Line(text),
            "datagram" => Item::Datagram(text),
            _ => Item::Event(event),
        });
    }

    /// This was seen now.
    pub(crate) fn see(&mut self, who: &str, sight: Sight) {
        if !self.rules.compares(who, sight.what()) {
            return;
        }
        self.log.push((Instant::now(), Note::Seen(who.to_owned(), sight.clone())));
        let event =
            self.rules.event(sight.what(), sight.how(), [sight.error(), sight.flags()], sight.status());
        let end = self.endpoint(who);
        if let Sight::Data(bytes) = sight {
            end.had_bytes += bytes.len();
            push(&mut end.actual, Item::Data(bytes));
            return;
        }
        end.had_events += 1;
        end.actual.push(match sight {
            Sight::Line(line) => Item::Line(line),
            Sight::Datagram(bytes) => Item::Datagram(bytes),
            _ => Item::Event(event),
        });
    }

    /// A look had this result in the recording, and has that one now.
    pub(crate) fn result(&mut self, look: &str, recorded: &Json, actual: Json) {
        let end = self.endpoint(RESULTS);
        end.recorded.push(Item::Event(format!("{look}: {}", plain(recorded))));
        end.actual.push(Item::Event(format!("{look}: {}", plain(&actual))));
        self.log.push((Instant::now(), Note::Result((actual != *recorded).then_some(actual))));
    }

    /// A mark in both streams of an endpoint: what stands before it must have happened by now.
    pub(crate) fn mark(&mut self, who: &str, mark: &str) {
        let end = self.endpoint(who);
        end.recorded.push(Item::Event(mark.to_owned()));
        end.actual.push(Item::Event(mark.to_owned()));
    }

    /// Whether as much was seen as the recording saw up to here.
    pub(crate) fn met(&self, names: &Names) -> bool {
        self.endpoints.values().all(|end| {
            end.had_events >= end.due_events
                && end.had_bytes >= end.due_texts.iter().map(|t| names.least_len(t)).sum()
        })
    }
}

impl Sight {
    pub(crate) fn what(&self) -> &'static str {
        match self {
            Sight::Data(_) => "data",
            Sight::Datagram(_) => "datagram",
            Sight::Line(_) => "line",
            Sight::Closed { .. } => "closed-by-server",
            Sight::ConnectFailed { .. } => "connect-failed",
            Sight::SendFailed { .. } => "send-failed",
            Sight::UdpError { .. } => "udp-error",
            Sight::DeviceOpened => "device-opened",
            Sight::DeviceClosed => "device-closed",
            Sight::PacketEvent { .. } => "pty-packet-event",
            Sight::Exit { .. } => "exit",
        }
    }

    pub(crate) fn how(&self) -> Option<&str> {
        if let Sight::Closed { how } = self { Some(how) } else { None }
    }

    pub(crate) fn error(&self) -> Option<&str> {
        match self {
            Sight::ConnectFailed { error } | Sight::SendFailed { error } | Sight::UdpError { error } => {
                Some(error)
            }
            _ => None,
        }
    }

    pub(crate) fn flags(&self) -> Option<&str> {
        if let Sight::PacketEvent { flags } = self { Some(flags) } else { None }
    }

    pub(crate) fn status(&self) -> Option<i64> {
        if let Sight::Exit { status } = self { Some(*status) } else { None }
    }
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
