//! Memory that only the start needed is given back: the code of command line, configuration and
//! announcements stays mapped otherwise, and is then the larger part of a small machine's share.

use crate::serial::sys;
use std::ops::Range;
use tracing::debug;

/// Unmaps the pages of the program and its libraries; what is used again is mapped again when it
/// is, from the page cache. Where there is no `/proc` nothing happens.
///
/// Called when the ports listen, and after a reload.
pub fn release_start_code() {
    let Ok(smaps) = std::fs::read_to_string("/proc/self/smaps") else { return };
    for range in unchanged_code(&smaps) {
        if let Err(error) = sys::unmap_code(range) {
            return debug!("cannot give the code of the start back: {error}");
        }
    }
}

/// The mappings of program and libraries that nobody can write to and that have no page of their
/// own (smaps in proc(5)): what is in them can be read again from the file. A mapping with pages of
/// its own has been written to, by the loader or a debugger.
fn unchanged_code(smaps: &str) -> Vec<Range<usize>> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in smaps.lines() {
        if let Some(mapping) = Mapping::begins(line) {
            mappings.push(mapping);
        } else if line.strip_prefix("Anonymous:").is_some_and(|count| count.trim() == "0 kB")
            && let Some(mapping) = mappings.last_mut()
        {
            mapping.unchanged = true;
        }
    }
    let is_code = |path: &str| mappings.iter().any(|other| other.mode == "r-xp" && other.path == path);
    let fits = |m: &&Mapping| {
        m.unchanged && matches!(m.mode, "r--p" | "r-xp") && m.path.starts_with('/') && is_code(m.path)
    };
    mappings.iter().filter(fits).map(|mapping| mapping.range.clone()).collect()
}

/// A mapping as smaps shows it.
struct Mapping<'a> {
    range: Range<usize>,
    mode: &'a str,
    /// Empty for memory that is no file's.
    path: &'a str,
    /// It has no page that is not the file's.
    unchanged: bool,
}

impl<'a> Mapping<'a> {
    /// The first line of a mapping; `None` for any other line.
    fn begins(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        let range = number(start)?..number(end)?;
        let (mode, path) = (words.next()?, words.nth(3).unwrap_or_default());
        Some(Self { range, mode, path, unchanged: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mapping as the kernel writes it.
    fn mapping(range: &str, mode: &str, path: &str, anonymous: u32) -> String {
        format!(
            "{range} {mode} 00000000 fe:00 1234   {path}\nSize:    8 kB\nRss:   8 kB\nAnonymous:   {anonymous} kB\n\
             VmFlags: rd ex mr mw me\n"
        )
    }

    #[test]
    fn only_code_that_can_be_read_again_is_given_back() {
        let smaps = [
            mapping("1000-3000", "r-xp", "/usr/bin/serbroker", 0),
            mapping("3000-4000", "r--p", "/usr/bin/serbroker", 4),
            mapping("4000-5000", "rw-p", "/usr/bin/serbroker", 0),
            mapping("5000-6000", "r--p", "", 0),
            mapping("6000-7000", "r-xp", "[vdso]", 0),
            mapping("7000-8000", "r--p", "/usr/share/data", 0),
            mapping("7fff00000000-7fff00002000", "r--p", "/lib/libc.so.6", 0),
            mapping("7fff00002000-7fff00003000", "r-xp", "/lib/libc.so.6", 4),
        ]
        .concat();
        assert_eq!(unchanged_code(&smaps), [0x1000..0x3000, 0x7fff_0000_0000..0x7fff_0000_2000]);
        assert!(unchanged_code("nonsense\nAnonymous: 0 kB\n").is_empty());
    }

    #[test]
    fn the_program_goes_on_without_its_pages() {
        // other tests load libraries meanwhile, so only the mapping of this very code is looked at
        let own = || {
            let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
            let here = release_start_code as fn() as usize;
            unchanged_code(&smaps).into_iter().find(|range| range.contains(&here))
        };
        let before = own();
        assert!(before.is_some());
        release_start_code();
        assert_eq!(own(), before);
    }
}
