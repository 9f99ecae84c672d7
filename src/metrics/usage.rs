//! File descriptors and memory of this process, from `/proc` (proc(5)).

use std::fs;

/// What could be read; `None` where `/proc` does not say.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// Open file descriptors.
    pub(super) open_fds: Option<i64>,
    /// The soft limit of open file descriptors.
    pub(super) max_fds: Option<i64>,
    /// Resident memory in bytes.
    pub(super) resident_bytes: Option<i64>,
}

impl Usage {
    /// Reads three small files of `/proc/self`; they never block.
    pub(super) fn now() -> Self {
        let open = fs::read_dir("/proc/self/fd").ok().map(|entries| {
            // one of them is the descriptor that reads the directory
            i64::try_from(entries.count()).unwrap_or(i64::MAX).saturating_sub(1)
        });
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self { open_fds: open, max_fds: max_open_files(&limits), resident_bytes: resident(&status) }
    }
}

fn max_open_files(limits: &str) -> Option<i64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    // "unlimited" has no number: leave the metric alone
    line.split_whitespace().next()?.parse().ok()
}

fn resident(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: i64 = line.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_texts() {
        let limits =
            "Limit     Soft Limit  Hard Limit  Units\nMax open files            1024   524288   files\n";
        assert_eq!(max_open_files(limits), Some(1024));
        assert_eq!(max_open_files("Max open files  unlimited unlimited files"), None);
        assert_eq!(resident("Name:\tx\nVmRSS:\t    5120 kB\n"), Some(5_242_880));
        assert_eq!(resident(""), None);
    }
}
