//! How many ports this machine lets one process have.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors a port takes in the benchmark process: pty master and slave, client.
const DESCRIPTORS: usize = 3;
/// Descriptors and ptys left for everything else.
const SPARE: usize = 64;

/// Raises the soft limit of open files to the hard one, for this process and the peers it starts.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // a refusal shows in `ports`, which reads what is in force
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// `wanted`, or as many ports as can be had, with what limits them.
pub(crate) fn ports(wanted: usize) -> (usize, Option<String>) {
    let mut most = (wanted, None);
    let mut limit = |count: usize, text: String| {
        if count < most.0 {
            most = (count, Some(text));
        }
    };
    if let Some(files) = getrlimit(Resource::Nofile).current {
        let count = usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(SPARE) / DESCRIPTORS;
        limit(count, format!("RLIMIT_NOFILE {files}"));
    }
    // the reserve is for the first mount of devpts alone (Documentation/filesystems/devpts.rst)
    let kernel = |name: &str| -> Option<usize> {
        fs::read_to_string(format!("/proc/sys/kernel/pty/{name}")).ok()?.trim().parse().ok()
    };
    if let (Some(max), Some(reserve), Some(used)) = (kernel("max"), kernel("reserve"), kernel("nr")) {
        let count = max.saturating_sub(reserve + used + SPARE);
        limit(count, format!("kernel.pty.max {max}, reserve {reserve}"));
    }
    most
}
