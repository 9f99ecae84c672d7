//! Clients that speak something else than the port: said once for each, with the cure.

use super::actor::Port;
use super::session::Session;
use crate::telnet::speaks_telnet;
use std::time::Duration;

/// A client of a telnet port that sends data so long after it came and has negotiated nothing speaks
/// no telnet: those that do answer the port's opening at once.
const ANSWER_TIME: Duration = Duration::from_secs(1);

impl Port {
    /// Looks at what a client sends while it is not known what it speaks.
    #[cold]
    pub(super) fn recognise(&mut self, index: usize, input: &[u8]) {
        let session = &mut self.sessions[index];
        let telnet = speaks_telnet(input);
        let Some(codec) = &session.codec else {
            session.recognised = true;
            if telnet {
                let text = format!(
                    "client {} speaks telnet, but this port is raw: write telnet in front of the accepter \
                     (telnet,tcp,…), or connect with a raw client such as nc",
                    session.peer.host()
                );
                self.complain("telnet client", &text);
            }
            return;
        };
        if telnet || codec.negotiated() {
            session.recognised = true;
        } else if self.now.saturating_duration_since(session.joined) >= ANSWER_TIME {
            session.recognised = true;
            let text = raw_client(session);
            self.complain("raw client", &text);
        }
    }

    /// The same for one that sent all it had at once, and leaves.
    pub(super) fn recognise_at_the_end(&mut self, session: &Session) {
        let silent = session.codec.as_ref().is_some_and(|codec| !codec.negotiated());
        if silent && !session.recognised && session.spoke {
            self.complain("raw client", &raw_client(session));
        }
    }
}

fn raw_client(session: &Session) -> String {
    format!(
        "client {} does not speak telnet, but this port does: take telnet away from the accepter (tcp,…), or \
         connect with a telnet client",
        session.peer.host()
    )
}
