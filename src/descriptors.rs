//! File descriptors: how many a configuration needs and how many the process may have.

use crate::config::{CharDelay, Connection, Traces};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::sync::Arc;
use tracing::{debug, warn};

/// What the program has open besides its ports: standard streams, log, event queue, signals, timers,
/// the health endpoint with a few readers, and configuration and certificate files while they are read.
const BASE: u64 = 64;

/// Raises the soft limit of open files (`RLIMIT_NOFILE`, getrlimit(2)) to the hard one and returns the
/// limit that then holds. Programs that wait with select(2) must not do this; this one does not.
/// A system that refuses leaves the limit as it was.
pub fn raise_limit() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)
        .inspect_err(|error| debug!("the limit of open files cannot be read: {error}"))
        .ok()?;
    if soft < hard {
        match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
            Ok(()) => return Some(hard),
            Err(error) => debug!("the limit of open files stays at {soft}: {error}"),
        }
    }
    Some(soft)
}

/// About how many descriptors these connections need with one client each: listener, device, client,
/// the timer that gathering uses, and trace files. An accepter or device that is never used needs less.
pub fn needed(connections: &[Arc<Connection>]) -> u64 {
    let of_one = |c: &Arc<Connection>| {
        let Traces { read, write, both } = &c.options.traces;
        let traces = [read, write, both].into_iter().filter(|file| file.name.is_some()).count() as u64;
        3 + u64::from(c.options.chardelay != CharDelay::Off) + traces
    };
    BASE + connections.iter().filter(|c| c.enabled).map(of_one).sum::<u64>()
}

/// Says so when `connections` need more than the limit lets the process have.
pub fn check(connections: &[Arc<Connection>]) {
    let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let needed = needed(connections);
    if needed > limit {
        let ports = connections.iter().filter(|c| c.enabled).count();
        warn!(
            "{ports} ports with a client each need about {needed} file descriptors, the limit is {limit}: raise \
             LimitNOFILE= of the service, or 'ulimit -Hn' of the shell, or some will not open"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::read;
    use crate::config::load::Inputs;

    fn connections(options: &str) -> Vec<Arc<Connection>> {
        let text = format!(
            "connection: &a\n  accepter: tcp,1\n  connector: serialdev,/dev/null\n{options}\
             connection: &b\n  accepter: tcp,2\n  connector: serialdev,/dev/null\n"
        );
        read(&Inputs { yaml: vec![text], ..Inputs::default() }).config.connections
    }

    #[test]
    fn every_enabled_port_counts_and_a_timer_only_where_one_is_used() {
        assert_eq!(needed(&[]), BASE);
        assert_eq!(needed(&connections("")), BASE + 8);
        assert_eq!(needed(&connections("  options:\n    chardelay: false\n")), BASE + 7);
        assert_eq!(needed(&connections("  enable: false\n")), BASE + 4);
    }

    #[test]
    fn the_limit_is_the_hard_one_afterwards() {
        let limit = raise_limit().unwrap();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!((limit, soft), (hard, hard));
    }
}
