//! The line settings that a local program wants, and how the far end is told of changes.

use crate::connect::Event;
use crate::serial::request::{Reply, Request};
use crate::serial::settings::{Flow, LineSettings, Parity};

/// What is wanted of the far line. `None`: nobody has said anything, and the far end keeps what it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) baud: Option<u32>,
    pub(super) size: Option<u8>,
    pub(super) parity: Option<Parity>,
    pub(super) stop: Option<u8>,
    pub(super) flow: Option<Flow>,
}

impl Wanted {
    /// Everything but flow control, which a short form such as `9600e71` does not say.
    pub(super) fn of_mode(line: &LineSettings) -> Self {
        Self {
            baud: Some(line.baud),
            size: Some(line.size),
            parity: Some(line.parity),
            stop: Some(line.stop),
            flow: None,
        }
    }

    /// Everything.
    pub(super) fn all_of(line: &LineSettings) -> Self {
        Self { flow: Some(line.flow), ..Self::of_mode(line) }
    }

    /// The requests that make this out of `before`.
    pub(super) fn changes(&self, before: &Self) -> Vec<Request> {
        let mut requests = Vec::new();
        if self.baud != before.baud && self.baud.is_some() {
            requests.push(Request::Baud(self.baud));
        }
        if self.size != before.size && self.size.is_some() {
            requests.push(Request::Size(self.size));
        }
        if self.parity != before.parity && self.parity.is_some() {
            requests.push(Request::Parity(self.parity));
        }
        if self.stop != before.stop && self.stop.is_some() {
            requests.push(Request::Stop(self.stop));
        }
        if self.flow != before.flow && self.flow.is_some() {
            requests.push(Request::Flow(self.flow));
        }
        requests
    }
}

/// Compares what the far end answers with what it was asked for last.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    asked: Wanted,
    /// Answers that are owed: speed, size, parity, stop bits, flow control.
    owed: [u8; 5],
}

impl Ledger {
    /// A request goes out.
    pub(super) fn asked(&mut self, request: &Request) {
        let kind = match *request {
            Request::Baud(value) => {
                self.asked.baud = value;
                0
            }
            Request::Size(value) => {
                self.asked.size = value;
                1
            }
            Request::Parity(value) => {
                self.asked.parity = value;
                2
            }
            Request::Stop(value) => {
                self.asked.stop = value;
                3
            }
            Request::Flow(value) => {
                self.asked.flow = value;
                4
            }
            _ => return,
        };
        self.owed[kind] = self.owed[kind].saturating_add(1);
    }

    /// The connection is new: nothing is owed.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// An answer: what is not as it was asked for, in words, when it is the answer to the last question.
    pub(super) fn heard(&mut self, event: &Event) -> Option<String> {
        let Event::Reply(reply) = event else { return None };
        let (kind, differs) = match reply {
            Reply::Baud(now) => (
                0,
                self.asked
                    .baud
                    .filter(|asked| asked != now)
                    .map(|asked| format!("speed {asked}, and has {now}")),
            ),
            Reply::Size(now) => (
                1,
                self.asked
                    .size
                    .filter(|asked| asked != now)
                    .map(|asked| format!("{asked} data bits, and has {now}")),
            ),
            Reply::Parity(now) => (
                2,
                self.asked
                    .parity
                    .filter(|asked| asked != now)
                    .map(|asked| format!("parity {asked:?}, and has {now:?}")),
            ),
            Reply::Stop(now) => (
                3,
                self.asked
                    .stop
                    .filter(|asked| asked != now)
                    .map(|asked| format!("{asked} stop bits, and has {now}")),
            ),
            Reply::Flow(now) => (
                4,
                self.asked
                    .flow
                    .filter(|asked| asked != now)
                    .map(|asked| format!("flow control {}, and has {}", flow_name(asked), flow_name(*now))),
            ),
            _ => return None,
        };
        self.owed[kind] = self.owed[kind].saturating_sub(1);
        differs.filter(|_| self.owed[kind] == 0)
    }
}

fn flow_name(flow: Flow) -> &'static str {
    match (flow.rtscts, flow.xonxoff) {
        (true, _) => "RTS/CTS",
        (false, true) => "XON/XOFF",
        (false, false) => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_asked_for() {
        let line = LineSettings { baud: 1200, size: 7, parity: Parity::Even, ..LineSettings::default() };
        let before = Wanted::of_mode(&line);
        assert_eq!(before.changes(&before), []);
        let faster = Wanted { baud: Some(19_200), ..before };
        assert_eq!(faster.changes(&before), [Request::Baud(Some(19_200))]);
        // what nobody wants any more stays as it is
        assert_eq!(Wanted::default().changes(&before), []);
        let all = Wanted::all_of(&line).changes(&Wanted::default());
        assert_eq!(
            all,
            [
                Request::Baud(Some(1200)),
                Request::Size(Some(7)),
                Request::Parity(Some(Parity::Even)),
                Request::Stop(Some(1)),
                Request::Flow(Some(Flow::default())),
            ]
        );
    }

    #[test]
    fn only_the_last_answer_counts() {
        let mut ledger = Ledger::default();
        ledger.asked(&Request::Baud(Some(9600)));
        ledger.asked(&Request::Baud(Some(19_200)));
        assert_eq!(ledger.heard(&Event::Reply(Reply::Baud(9600))), None);
        let complaint = ledger.heard(&Event::Reply(Reply::Baud(9600)));
        assert_eq!(complaint.as_deref(), Some("speed 19200, and has 9600"));
    }
}
