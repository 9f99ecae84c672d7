//! Which directories change when a path that is not there comes to be.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// Links that are followed; beyond it the system would not follow them either (`ELOOP`).
const LINKS: usize = 8;

/// Adds the directories on the way to `path` in which something may come that is missing, and the names
/// of what may come: the nearest directory that there is, and the same for where links lead.
pub(super) fn on_the_way(path: &Path, directories: &mut HashSet<PathBuf>, names: &mut HashSet<OsString>) {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        names.extend(path.iter().map(OsString::from));
        let Some(parent) = path.parent() else { return };
        let there = parent.ancestors().find(|directory| directory.is_dir());
        directories.extend(there.map(Path::to_owned));
        let Ok(target) = fs::read_link(&path) else { return };
        // joining an absolute path replaces what it is joined to
        path = parent.join(target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_nearest_directory_and_those_behind_links_are_watched() {
        let dir = tempfile::tempdir().unwrap();
        let dev = dir.path().join("dev");
        fs::create_dir_all(dev.join("serial")).unwrap();
        let of = |path: &str| {
            let (mut directories, mut names) = (HashSet::new(), HashSet::new());
            on_the_way(&dev.join(path), &mut directories, &mut names);
            let mut directories: Vec<_> = directories
                .into_iter()
                .map(|d| d.strip_prefix(dir.path()).unwrap().to_string_lossy().into_owned())
                .collect();
            directories.sort();
            (directories, names)
        };
        assert_eq!(of("ttyUSB0").0, ["dev"]);
        let (directories, names) = of("serial/by-id/usb-x");
        assert_eq!(directories, ["dev/serial"]);
        assert!(names.contains(&OsString::from("by-id")) && names.contains(&OsString::from("usb-x")));
        fs::create_dir(dev.join("serial/by-id")).unwrap();
        symlink("../../ttyUSB0", dev.join("serial/by-id/usb-x")).unwrap();
        let (directories, names) = of("serial/by-id/usb-x");
        assert_eq!(directories, ["dev/serial/by-id", "dev/serial/by-id/../.."]);
        assert!(names.contains(&OsString::from("ttyUSB0")));
        // a circle ends
        symlink("loop", dev.join("loop")).unwrap();
        assert_eq!(of("loop").0, ["dev"]);
    }
}
