//! Which processors the peers and the benchmark's own threads run on.

use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Where peers and benchmark run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Pin {
    /// The peer alone on one processor, the benchmark on the others.
    Apart,
    /// All on one processor.
    Together,
}

struct Places {
    peer: CpuSet,
    own: CpuSet,
}

static PLACES: OnceLock<Places> = OnceLock::new();

/// Moves this program where it belongs, and the peers it starts from now on.
pub(crate) fn pin(how: Pin) -> Result<(), String> {
    let failed = |error| format!("processor affinity: {error}");
    let allowed = sched_getaffinity(None).map_err(failed)?;
    let mut usable = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
    let first = usable.next().ok_or("no processor to run on")?;
    let (mut peer, mut own) = (CpuSet::new(), allowed);
    peer.set(first);
    match how {
        Pin::Together => own = peer,
        Pin::Apart if usable.next().is_none() => {
            return Err("one processor only: nothing to set apart".into());
        }
        Pin::Apart => own.unset(first),
    }
    // threads started later inherit it
    sched_setaffinity(None, &own).map_err(failed)?;
    PLACES.set(Places { peer, own }).map_err(|_| "already pinned".into())
}

/// Starts a peer where the peers belong.
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    let Some(places) = PLACES.get() else { return command.spawn() };
    // a child starts where the thread is that starts it
    sched_setaffinity(None, &places.peer)?;
    let child = command.spawn();
    sched_setaffinity(None, &places.own)?;
    child
}
