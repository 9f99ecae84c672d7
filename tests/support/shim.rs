//! Pseudo-terminals with modem lines: tests/compat/modemshim.c, preloaded into the program under
//! test, keeps the state of `/dev/pts/N` in `modem.N` of its directory.

use super::tools;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Modem lines as `TIOCMGET` has them.
pub(crate) const DTR: u32 = libc::TIOCM_DTR as u32;
pub(crate) const RTS: u32 = libc::TIOCM_RTS as u32;
pub(crate) const CTS: u32 = libc::TIOCM_CTS as u32;
pub(crate) const CD: u32 = libc::TIOCM_CD as u32;
pub(crate) const RI: u32 = libc::TIOCM_RI as u32;
pub(crate) const DSR: u32 = libc::TIOCM_DSR as u32;

/// The compiled library and its state.
pub(crate) struct Shim {
    dir: tempfile::TempDir,
}

/// What the shim knows of one terminal.
pub(crate) struct Lines(PathBuf);

impl Shim {
    /// `None`: no compiler, and that has been said.
    #[track_caller]
    pub(crate) fn build() -> Option<Self> {
        let gcc = tools::tool("gcc", "gcc")?;
        let dir = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat/modemshim.c");
        let built = Command::new(gcc)
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(dir.path().join("modemshim.so"))
            .arg(source)
            .arg("-ldl")
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Some(Self { dir })
    }

    /// Where the state is.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Has `command` run with it.
    pub(crate) fn preload(&self, command: &mut Command) {
        command.env("LD_PRELOAD", self.dir.path().join("modemshim.so"));
        command.env("MODEMSHIM_DIR", self.dir.path());
    }

    /// The state of `/dev/pts/number`, all lines low.
    pub(crate) fn lines(&self, number: u32) -> Lines {
        let file = self.dir.path().join(format!("modem.{number}"));
        fs::write(&file, [0; 256]).unwrap();
        Lines(file)
    }

    /// The device calls so far.
    pub(crate) fn calls(&self) -> String {
        fs::read_to_string(self.dir.path().join("shim.log")).unwrap_or_default()
    }
}

impl Lines {
    fn word(&self, offset: u64) -> u32 {
        let mut bytes = [0; 4];
        File::open(&self.0).unwrap().read_exact_at(&mut bytes, offset).unwrap();
        u32::from_ne_bytes(bytes)
    }

    /// All modem lines.
    pub(crate) fn all(&self) -> u32 {
        self.word(0)
    }

    /// What the broker drives: DTR and RTS.
    pub(crate) fn outputs(&self) -> u32 {
        self.all() & (DTR | RTS)
    }

    /// Drives the inputs, as the other device would.
    pub(crate) fn set_inputs(&self, inputs: u32) {
        let value = self.outputs() | inputs;
        let file = File::options().write(true).open(&self.0).unwrap();
        file.write_all_at(&value.to_ne_bytes(), 0).unwrap();
    }

    /// From now on a loop-back plug: RTS leads to CTS and DTR to DSR, until the value is dropped.
    pub(crate) fn looped_back(self) -> LoopBack {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                let on = |from, to| if self.outputs() & from == 0 { 0 } else { to };
                let inputs = on(RTS, CTS) | on(DTR, DSR);
                if self.all() & !(DTR | RTS) != inputs {
                    self.set_inputs(inputs);
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        LoopBack { stop, thread: Some(thread) }
    }

    /// A break is on the line now.
    pub(crate) fn in_break(&self) -> bool {
        self.word(4) != 0
    }

    /// Number of breaks that were begun.
    pub(crate) fn breaks(&self) -> u32 {
        self.word(8)
    }

    /// Size and parity bits of the control modes, which a pseudo-terminal alone does not keep.
    pub(crate) fn size_and_parity(&self) -> u32 {
        assert_ne!(self.word(40), 0, "nothing was ever set");
        self.word(44)
    }
}

/// Modem lines that are joined.
pub(crate) struct LoopBack {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for LoopBack {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // its panic is the test's
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the loop-back plug failed");
        }
    }
}
