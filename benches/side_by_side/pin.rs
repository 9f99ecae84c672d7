//! Which processors the peers and the benchmark's own threads run on.

use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

struct Places {
    peer: CpuSet,
    own: CpuSet,
}

static PLACES: OnceLock<Places> = OnceLock::new();

/// Keeps this program off the first processor it may use, which is from now on the peers' alone. Says
/// whether that was done: with a single processor there is nothing to share out.
pub(crate) fn pin() -> io::Result<bool> {
    let allowed = sched_getaffinity(None)?;
    let mut usable = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
    let (Some(first), Some(_)) = (usable.next(), usable.next()) else { return Ok(false) };
    let (mut peer, mut own) = (CpuSet::new(), allowed);
    peer.set(first);
    own.unset(first);
    // threads started later inherit it
    sched_setaffinity(None, &own)?;
    Ok(PLACES.set(Places { peer, own }).is_ok())
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
