//! Whether a device is there, without opening it: open(2) alone may reset a board.

use super::error::{OpenError, OpenErrorKind};
use super::find::{self, SYSFS};
use super::lock::DeviceIdentity;
use super::settings::DeviceConfig;
use nix::sys::stat::{major, minor};
use std::borrow::Cow;
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// The device node of a configured device: its path, or what its rule finds.
///
/// # Errors
/// `NotFound` and `Ambiguous` of a rule.
pub(super) fn node(config: &DeviceConfig) -> Result<Cow<'_, str>, OpenError> {
    let Some(rule) = &config.rule else { return Ok(Cow::Borrowed(&*config.path)) };
    let mut found = find::find(rule, Path::new(SYSFS));
    match found.pop() {
        Some(node) if found.is_empty() => Ok(Cow::Owned(node)),
        Some(node) => {
            found.push(node);
            let kind = OpenErrorKind::Ambiguous { found };
            Err(OpenError { path: config.path.to_string(), operation: "choose the device", kind })
        }
        None => {
            let kind = OpenErrorKind::NotFound { present: String::new() };
            Err(OpenError { path: config.path.to_string(), operation: "find the device", kind })
        }
    }
}

/// The device node of a configured device at present, if one can be told.
pub fn node_now(config: &DeviceConfig) -> Option<String> {
    node(config).ok().map(Cow::into_owned)
}

/// Whether the device is there as far as a few calls can tell; false when it takes more to find out.
pub fn seems_there(config: &DeviceConfig) -> bool {
    config.rule.is_none()
        && fs::metadata(&*config.path)
            .is_ok_and(|meta| stale(&config.path, &meta, Path::new(SYSFS)).is_none())
}

/// Looks whether the device is there. Opening it may fail all the same. The error does not name the
/// ports that there are ([`OpenError::with_present`]).
///
/// # Errors
/// `NotFound`, `Ambiguous` and `Stale`; all else is found out by opening.
pub fn look(config: &DeviceConfig) -> Result<(), OpenError> {
    let node = node(config)?;
    match fs::metadata(&*node) {
        Ok(meta) => stale(&node, &meta, Path::new(SYSFS)).map_or(Ok(()), Err),
        Err(error) if OpenError::is_absence(&error) => {
            let kind = OpenErrorKind::NotFound { present: String::new() };
            Err(OpenError { path: node.into_owned(), operation: "open the device", kind })
        }
        Err(_) => Ok(()),
    }
}

/// The error for a node that no device is behind any more, as sysfs has it; `None` when there is one,
/// or when sysfs cannot tell.
pub(super) fn stale(path: &str, meta: &Metadata, sysfs: &Path) -> Option<OpenError> {
    // pseudo-terminals are not in sysfs
    if !meta.file_type().is_char_device() || DeviceIdentity::of(meta).is_pty() {
        return None;
    }
    let all = sysfs.join("dev/char");
    let number = format!("{}:{}", major(meta.rdev()), minor(meta.rdev()));
    // a sandbox may have a sysfs without devices
    let tells = fs::read_dir(&all).is_ok_and(|mut entries| entries.next().is_some());
    if !tells || all.join(&number).symlink_metadata().is_ok() {
        return None;
    }
    let kind = OpenErrorKind::Stale { number };
    Some(OpenError { path: path.to_owned(), operation: "use it", kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_a_device_is_stale() {
        let sys = tempfile::tempdir().unwrap();
        let null = fs::metadata("/dev/null").unwrap();
        assert!(stale("/dev/null", &null, sys.path()).is_none(), "without dev/char nothing is known");
        let all = sys.path().join("dev/char");
        fs::create_dir_all(&all).unwrap();
        assert!(stale("/dev/null", &null, sys.path()).is_none(), "an empty one tells nothing either");
        fs::write(all.join("5:0"), "").unwrap();
        let error = stale("/dev/null", &null, sys.path()).unwrap();
        assert!(error.to_string().contains("stale: it is for device 1:3"), "{error}");
        assert_eq!(error.failure(), crate::metrics::DeviceFailure::Stale);
        fs::write(all.join("1:3"), "").unwrap();
        assert!(stale("/dev/null", &null, sys.path()).is_none());
        let file = fs::metadata(all.join("1:3")).unwrap();
        assert!(stale("x", &file, sys.path()).is_none(), "no device node");
    }

    #[test]
    fn what_is_not_there_is_missing() {
        assert!(look(&DeviceConfig::new("/dev/null")).is_ok());
        let missing = look(&DeviceConfig::new("/nonexistent/tty")).unwrap_err();
        assert!(matches!(missing.kind, OpenErrorKind::NotFound { .. }), "{missing}");
        let mut rule = find::Match::default();
        rule.set("serial", "nobody has this one").unwrap();
        let missing = look(&DeviceConfig::matching(rule)).unwrap_err();
        assert!(missing.to_string().starts_with("match=serial:nobody has this one: "), "{missing}");
    }
}
