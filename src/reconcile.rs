//! What has to change so that the running ports are those that the configuration wants.

use crate::config::Connection;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// What the running ports were told to run, by name.
pub type Told = BTreeMap<Arc<str>, Arc<Connection>>;

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A port that does not run yet.
    Start(Arc<Connection>),
    /// A port that is not wanted any more: no new clients; it ends when the last one has left.
    Retire(Arc<str>),
    /// A port that was switched off: its clients are closed, and it ends.
    Disable(Arc<str>),
    /// A port whose configuration changed.
    Replace(Arc<Connection>),
}

/// The steps from `running` to `desired`. Disabled connections do not run. Ports that end come
/// first, because a new port may need the address of an old one.
pub fn reconcile(running: &Told, desired: &[Arc<Connection>]) -> Vec<Step> {
    let (wanted, off): (Vec<_>, Vec<_>) = desired.iter().partition(|c| c.enabled);
    let names =
        |list: &[&Arc<Connection>]| -> HashSet<Arc<str>> { list.iter().map(|c| c.name.clone()).collect() };
    let (stay, off) = (names(&wanted), names(&off));
    let ends = running.keys().filter(|name| !stay.contains(*name));
    let mut steps: Vec<Step> = ends
        .map(|name| if off.contains(name) { Step::Disable(name.clone()) } else { Step::Retire(name.clone()) })
        .collect();
    for connection in wanted {
        match running.get(&connection.name) {
            None => steps.push(Step::Start(connection.clone())),
            Some(now) if now != connection => steps.push(Step::Replace(connection.clone())),
            Some(_) => {}
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Accepter, Connector, Listen};
    use crate::serial::settings::DeviceConfig;

    fn connection(name: &str, path: &str) -> Connection {
        let device = DeviceConfig::new(path);
        Connection {
            name: name.into(),
            enabled: true,
            accepter: Accepter {
                text: "2000".into(),
                telnet: None,
                tls: None,
                filters: None,
                listen: Arc::new(Listen::Dummy),
            },
            connector: Connector::serial(path, device),
            timeout: None,
            options: Arc::default(),
        }
    }

    /// Runs reconcile on connections written as `name@path`, `-` before it for a disabled one.
    fn run(running: &[&str], desired: &[&str]) -> String {
        let make = |text: &&str| {
            let (enabled, text) = text.strip_prefix('-').map_or((true, *text), |t| (false, t));
            let (name, path) = text.split_once('@').unwrap();
            let mut c = connection(name, path);
            c.enabled = enabled;
            Arc::new(c)
        };
        let running: Vec<Arc<Connection>> = running.iter().map(make).collect();
        let desired: Vec<Arc<Connection>> = desired.iter().map(make).collect();
        let map = running.into_iter().map(|c| (c.name.clone(), c)).collect();
        let show = |step: &Step| match step {
            Step::Start(c) => format!("+{}", c.name),
            Step::Retire(name) => format!("-{name}"),
            Step::Disable(name) => format!("!{name}"),
            Step::Replace(c) => format!("~{}", c.name),
        };
        reconcile(&map, &desired).iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn steps() {
        for (running, desired, steps) in [
            (&[][..], &[][..], ""),
            (&[], &["a@1", "b@2"], "+a +b"),
            (&["a@1", "b@2"], &["a@1", "b@2"], ""),
            (&["a@1", "b@2"], &["b@2", "a@1"], ""),
            (&["a@1", "b@2"], &["a@1"], "-b"),
            (&["a@1", "b@2"], &["a@1", "-b@2"], "!b"),
            (&["a@1", "b@2"], &["c@1", "-b@3", "-d@4"], "-a !b +c"),
            (&[], &["-a@1"], ""),
            (&["a@1"], &["a@2"], "~a"),
            (&["a@1", "b@2", "c@3"], &["d@3", "b@9", "a@1"], "-c +d ~b"),
            (&["b@1", "a@2"], &[], "-a -b"),
        ] {
            assert_eq!(run(running, desired), steps, "{running:?} -> {desired:?}");
        }
    }
}
