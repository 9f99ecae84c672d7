//! The names below `/dev`, by the device that they lead to.

use nix::libc::dev_t;
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Directories in directories that are looked into: `/dev/serial/by-id` is the second.
const DEPTH: usize = 3;
/// Most names that are looked at.
const MAX_NAMES: usize = 20_000;
/// Directories of `/dev` without serial ports of their own: other file systems, and names by number.
const PASSED_OVER: [&str; 5] = ["pts", "shm", "mqueue", "hugepages", "char"];

/// Names of one device.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// The node itself.
    pub(super) path: Option<String>,
    pub(super) by_id: Vec<String>,
    pub(super) by_path: Vec<String>,
    pub(super) other: Vec<String>,
}

/// Paths of character devices, by device number.
#[derive(Debug)]
pub(super) struct Nodes(HashMap<dev_t, Vec<Found>>);

#[derive(Debug)]
struct Found {
    /// Path below the directory of the nodes.
    below: String,
    path: String,
    link: bool,
}

impl Nodes {
    pub(super) fn find(dev: &Path) -> Self {
        let mut nodes = Self(HashMap::new());
        let mut left = MAX_NAMES;
        nodes.walk(dev, dev, DEPTH, &mut left);
        nodes
    }

    fn walk(&mut self, dev: &Path, dir: &Path, depth: usize, left: &mut usize) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let (Some(rest), Ok(kind)) = (left.checked_sub(1), entry.file_type()) else { return };
            *left = rest;
            let path = entry.path();
            let Some(below) = path.strip_prefix(dev).ok().and_then(Path::to_str) else { continue };
            if kind.is_dir() {
                if depth > 1 && !PASSED_OVER.contains(&below) {
                    self.walk(dev, &path, depth - 1, left);
                }
                continue;
            }
            if !kind.is_char_device() && !kind.is_symlink() {
                continue;
            }
            let Ok(meta) = fs::metadata(&path) else { continue };
            if meta.file_type().is_char_device() {
                let found = Found {
                    below: below.to_owned(),
                    path: path.display().to_string(),
                    link: kind.is_symlink(),
                };
                self.0.entry(meta.rdev()).or_default().push(found);
            }
        }
    }

    /// The names of the device `number`, which the kernel calls `name`. A node of that name counts
    /// more than others, and a node more than a link.
    pub(super) fn take(&mut self, number: dev_t, name: &str) -> Names {
        let mut found = self.0.remove(&number).unwrap_or_default();
        found.sort_by(|a, b| a.path.cmp(&b.path));
        let mut names = Names::default();
        let node = found.iter().position(|f| f.below == name);
        let node = node.or_else(|| found.iter().position(|f| !f.link));
        names.path = node.or((!found.is_empty()).then_some(0)).map(|at| found.remove(at).path);
        for Found { below, path, .. } in found {
            let place = match below.rsplit_once('/') {
                Some(("serial/by-id", _)) => &mut names.by_id,
                Some(("serial/by-path", _)) => &mut names.by_path,
                _ => &mut names.other,
            };
            place.push(path);
        }
        names
    }
}
