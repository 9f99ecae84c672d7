//! Running the transcript of a case: each step, then what the recording saw after it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value as Json, json};

use crate::bench::{Bench, Flow, Stop};
use crate::case::{Action, Entry, Seen, Step, result_lines};
use crate::daemon::{Daemon, Start, signal_named};
use crate::ports;
use crate::text::names_in;

/// Silence after the last step.
const QUIET_END: Duration = Duration::from_millis(80);
/// How long a program may take to listen on the ports that the recording shows open.
const START_LIMIT: Duration = Duration::from_secs(4);
/// How long a start takes of which the recording shows no port.
const START_BLIND: Duration = Duration::from_millis(300);
/// How long a start takes that finds a port in use: nothing tells when it has given up.
const START_OCCUPIED: Duration = Duration::from_secs(2);
/// Shorter waits are too short to say what did not happen in them.
const WAIT_TELLS: f64 = 0.4;
/// What was recorded so many milliseconds before the end of a wait may come after it in another run.
const WAIT_EDGE_MS: f64 = 200.0;

impl<'a> Bench<'a> {
    /// Runs all steps.
    pub(crate) fn run(&mut self) -> Flow {
        let mut rest = self.case.transcript.as_slice();
        while let Some((first, tail)) = rest.split_first() {
            let step = if let Entry::Do(step) = first { Some(&**step) } else { None };
            let all = if step.is_some() { tail } else { rest };
            let seen: Vec<_> = all.iter().map_while(as_seen).collect();
            rest = &all[seen.len()..];
            for s in &seen {
                self.witness.expect(s);
            }
            if let Some(step) = step {
                self.begun.push(Instant::now());
                self.perform(step, &seen)?;
                self.after_start = matches!(step.action, Action::Start { .. });
            }
        }
        let quiet = if self.setup.recording { None } else { Some(QUIET_END) };
        self.settle(&[], quiet)
    }

    fn perform(&mut self, step: &'a Step, seen: &[&Seen]) -> Flow {
        let segment = matches!(step.action, Action::Send { segment: true, .. });
        self.act(step, seen)?;
        // between two pieces that the program is to get one after the other nothing may be waited for
        let together = segment && seen.is_empty();
        if self.daemon.is_some() && step.action.settles() && step.settle && !together {
            self.settle(seen, None)?;
        }
        Ok(())
    }

    /// Dispatches a step; the verbs are at home in the modules of what they act on.
    fn act(&mut self, step: &'a Step, seen: &[&Seen]) -> Flow {
        match &step.action {
            Action::Start { args } => self.start(args, seen),
            Action::Wait { secs } => self.wait(*secs, seen),
            Action::Signal { signal, pidfile } => self.signal(signal, *pidfile),
            Action::RewriteConfig { config } => {
                Ok(std::fs::write(self.config_path(), self.names.fill(config))?)
            }
            Action::RemoveConfig => Ok(std::fs::remove_file(self.config_path())?),
            Action::WriteToDaemonStdin { text } => {
                Ok(self.daemon.as_mut().map_or(Ok(()), |d| d.write_stdin(text))?)
            }
            Action::CloseDaemonStdin => {
                if let Some(daemon) = &mut self.daemon {
                    daemon.close_stdin();
                }
                Ok(())
            }
            Action::Connect(connect) => self.connect(connect),
            Action::Send { client, text, oob, segment, gap } => {
                let gap = segment.then(|| Duration::from_secs_f64(gap.unwrap_or(0.05)));
                self.send(client, text, *oob, gap)
            }
            Action::Close { client } => {
                self.close(client);
                Ok(())
            }
            Action::Reset { client } => self.reset(client),
            Action::ShutdownWrite { client } => self.shutdown_write(client),
            Action::Pause { client } => {
                self.pause(client, true);
                Ok(())
            }
            Action::Resume { client } => {
                self.pause(client, false);
                Ok(())
            }
            Action::UdpSend { client, text } => self.udp_send(client, text),
            Action::TlsSession { dev, dev_text, text } => {
                let got = self.tls_session(dev, dev_text, text)?;
                self.look(step, |_| Ok(got.clone()))
            }
            Action::Connback => self.look(step, |bench| Ok(bench.far_end_idle(&step.result))),
            Action::Flood(flood) => {
                let got = self.flood(flood)?;
                self.look(step, |_| Ok(got.clone()))
            }
            Action::ListSockets => self.list_sockets(step),
            Action::OccupyPort { port } => self.occupy_port(port),
            Action::FreePort => {
                self.occupied = None;
                Ok(())
            }
            Action::Unreadable(why) => Err(Stop::Broken(std::io::Error::other(why.clone()))),
            Action::Unknown => Err(Stop::Skip(format!("step '{}' cannot be replayed", step.name))),
            _ => self.act_on_device(step),
        }
    }

    /// A look: what it finds is compared with what the recording found.
    pub(crate) fn look(&mut self, step: &Step, look: impl FnMut(&mut Self) -> Flow<Json>) -> Flow {
        let want = self.fill_deep(&step.result);
        let got = self.look_for(&want, look)?;
        let subject = ["dev", "file", "path"].iter().filter_map(|k| step.source.get(*k)?.as_str());
        let name = subject.fold(step.name.clone(), |name, word| name + " " + word);
        self.witness.result(&name, &want, got);
        Ok(())
    }

    fn fill_deep(&self, value: &Json) -> Json {
        match value {
            Json::String(s) => self.names.fill(s).into(),
            Json::Array(all) => all.iter().map(|v| self.fill_deep(v)).collect(),
            other => other.clone(),
        }
    }

    fn config_path(&self) -> String {
        self.names.fill("{CFG}")
    }

    fn start(&mut self, args: &[String], seen: &[&Seen]) -> Flow {
        let mut env = Vec::new();
        if let Some(shim) = self.setup.shim.as_ref().filter(|_| self.case.modem_shim) {
            env = vec![("LD_PRELOAD", shim.clone()), ("MODEMSHIM_DIR", self.dir.clone())];
        }
        let stdin = |a: &Action| matches!(a, Action::WriteToDaemonStdin { .. } | Action::CloseDaemonStdin);
        let daemon = Daemon::start(Start {
            program: &self.setup.program,
            args: args.iter().map(|a| self.names.fill(a)).collect(),
            env,
            dir: &self.dir,
            mark: self.base(),
            stdin: self.case.steps().any(|s| stdin(&s.action)),
        })?;
        self.names.set("PID", daemon.pid().to_string());
        self.daemon = Some(daemon);
        let since = Instant::now();
        let ports = self.first_ports();
        let ends = seen.iter().any(|s| s.who == "daemon");
        let limit = match (ports.is_empty(), ends) {
            (false, _) => START_LIMIT,
            (true, true) => Duration::ZERO,
            (true, false) => START_BLIND,
        };
        while since.elapsed() < limit {
            self.pump(Duration::from_millis(10))?;
            if self.exited() && !ends {
                break;
            }
            if !ports.is_empty() {
                let open: BTreeSet<u16> = ports::listening().into_iter().map(|(_, p)| p).collect();
                if ports.is_subset(&open) {
                    break;
                }
            }
        }
        self.lost |= self.exited() && !ends && !self.setup.recording;
        if self.case.steps().any(|s| matches!(s.action, Action::OccupyPort { .. })) {
            self.pump(START_OCCUPIED.saturating_sub(since.elapsed()))?;
        }
        Ok(())
    }

    /// The ports that the recording shows open soon after the start.
    fn first_ports(&self) -> BTreeSet<u16> {
        let mut open = BTreeSet::new();
        let mut occupied = BTreeSet::new();
        for (at, entry) in self.case.transcript.iter().enumerate() {
            let Entry::Do(step) = entry else { continue };
            match &step.action {
                Action::RewriteConfig { .. }
                | Action::Signal { .. }
                | Action::RemoveConfig
                | Action::Send { .. } => break,
                Action::OccupyPort { port } => {
                    occupied.insert(self.port(port));
                }
                Action::ListSockets => open.extend(
                    result_lines(step).filter_map(|l| names_in(l).next()).map(|n| self.port_named(n)),
                ),
                Action::Connect(connect) => {
                    let soon = self.case.transcript.iter().skip(at + 1).take(2).filter_map(as_seen);
                    if !soon.into_iter().any(|s| s.what == "connect-failed") {
                        open.extend(connect.port.as_ref().map(|p| self.port(p)));
                    }
                }
                _ => {}
            }
        }
        open.difference(&occupied).filter_map(|&port| port).collect()
    }

    /// The number of a port that is given as `{PORT}` or the like.
    pub(crate) fn port(&self, text: &str) -> Option<u16> {
        self.names.fill(text).parse().ok()
    }

    fn port_named(&self, name: &str) -> Option<u16> {
        self.names.get(name).and_then(|p| p.parse().ok())
    }

    fn wait(&mut self, secs: f64, seen: &[&Seen]) -> Flow {
        let time = Duration::from_secs_f64(secs);
        if self.setup.recording {
            self.pump(time)?;
            return self.settle(seen, None);
        }
        if !self.case.timing {
            if self.after_start {
                return self.settle(seen, None); // the start has waited for the ports
            }
            self.pump(self.lost_limit(time))?;
            return if self.lost || self.witness.met(&self.names) { Ok(()) } else { self.settle(seen, None) };
        }
        self.pump(time)?;
        if secs >= WAIT_TELLS {
            let mut all: BTreeSet<String> = self.witness.endpoints.keys().cloned().collect();
            all.extend(self.case.seen().map(|s| s.who.clone()));
            let mark = format!("wait {secs} ended (step {})", self.begun.len());
            for who in all {
                let late = seen.iter().any(|s| s.who == who && s.ms > secs * 1000.0 - WAIT_EDGE_MS);
                if !who.starts_with("daemon") && !late {
                    self.witness.mark(&who, &mark);
                }
            }
        }
        Ok(())
    }

    fn signal(&mut self, name: &str, background: bool) -> Flow {
        let Some(signal): Option<Signal> = signal_named(name) else {
            return Err(Stop::Skip(format!("there is no signal {name} here")));
        };
        if let Some(daemon) = &self.daemon {
            daemon.signal(signal, background);
        }
        Ok(())
    }

    /// Every port that the case names in some list must be open or not, as recorded.  On which address is not
    /// compared.
    fn list_sockets(&mut self, step: &Step) -> Flow {
        let lists = self.case.steps().filter(|s| matches!(s.action, Action::ListSockets));
        let mut ports: BTreeSet<&str> =
            lists.flat_map(result_lines).filter_map(|l| names_in(l).next()).collect();
        if self.names.get("PORT").is_some() {
            ports.insert("PORT");
        }
        let entry = |kind: &str, name: &str| format!("{kind} {{{name}}}");
        let want: BTreeSet<_> =
            result_lines(step).filter_map(|l| Some(entry(l.get(..3)?, names_in(l).next()?))).collect();
        let want = json!(want);
        let got = self.look_for(&want, |bench| {
            let open = ports::listening();
            let mut found = BTreeSet::new();
            for name in &ports {
                for kind in ["tcp", "udp"] {
                    if bench.port_named(name).is_some_and(|p| open.contains(&(kind, p))) {
                        found.insert(entry(kind, name));
                    }
                }
            }
            Ok(json!(found))
        })?;
        self.witness.result("list-sockets", &want, got);
        Ok(())
    }

    fn occupy_port(&mut self, port: &str) -> Flow {
        let Some(number) = self.port(port) else {
            return Err(Stop::Skip(format!("{port} is no port")));
        };
        self.occupied = Some(ports::listener(std::net::Ipv4Addr::UNSPECIFIED, number, 1)?);
        Ok(())
    }
}

fn as_seen(entry: &Entry) -> Option<&Seen> {
    if let Entry::See(seen) = entry { Some(seen) } else { None }
}
