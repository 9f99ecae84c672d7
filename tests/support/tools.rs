//! Programs that the tests run. Under CI a missing one is a failure, elsewhere the test is skipped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where `name` is; `None`: not installed, and that has been said.
#[track_caller]
pub(crate) fn tool(name: &str, package: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
    if found.is_none() {
        missing(&format!("{name} is not installed; Debian has it in package {package}"));
    }
    found
}

/// Something that a test needs is not there.
#[track_caller]
pub(crate) fn missing(what: &str) {
    assert!(std::env::var_os("CI").is_none(), "{what}");
    eprintln!("skipped: {what}");
}

/// A Python that has pyserial: `$SERBROKER_PYTHON`, the one in `target/venv`, or the system's.
#[track_caller]
pub(crate) fn python() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("SERBROKER_PYTHON") {
        let named = PathBuf::from(named);
        assert!(has_pyserial(&named), "{} (from SERBROKER_PYTHON) has no pyserial", named.display());
        return Some(named);
    }
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python");
    let found = [venv, "python3".into()].into_iter().find(|python| has_pyserial(python));
    if found.is_none() {
        missing(
            "no Python with pyserial: python3 -m venv target/venv && target/venv/bin/pip install pyserial==3.5",
        );
    }
    found
}

/// A Python that has labgrid's variant of pyserial: `$SERBROKER_PYTHON_LABGRID`, or the one in
/// `target/venv-labgrid`. Both have the same module name, so that no environment can have both.
#[track_caller]
pub(crate) fn labgrid_python() -> Option<PathBuf> {
    let named = std::env::var_os("SERBROKER_PYTHON_LABGRID").map(PathBuf::from);
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv-labgrid/bin/python");
    let python = named.unwrap_or(place);
    // the first three parts of its version are those of pyserial
    let four = "import serial; assert serial.__version__.count('.') == 3";
    if !runs(&python, four) {
        missing(&format!(
            "{} has no pyserial-labgrid: python3 -m venv target/venv-labgrid && \
             target/venv-labgrid/bin/pip install pyserial-labgrid",
            python.display()
        ));
        return None;
    }
    Some(python)
}

/// A Python that has esptool: `$SERBROKER_PYTHON_ESPTOOL`, or the one in `target/venv`.
#[track_caller]
pub(crate) fn esptool_python() -> Option<PathBuf> {
    let named = std::env::var_os("SERBROKER_PYTHON_ESPTOOL").map(PathBuf::from);
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python");
    let python = named.unwrap_or(place);
    if !runs(&python, "import esptool; assert esptool.__version__.startswith('5.')") {
        missing(&format!("{} has no esptool 5: pip install 'esptool<6'", python.display()));
        return None;
    }
    Some(python)
}

fn has_pyserial(python: &Path) -> bool {
    runs(python, "import serial.rfc2217")
}

/// Whether a line of Python works.
fn runs(python: &Path, line: &str) -> bool {
    let status = Command::new(python)
        .args(["-c", line])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|s| s.success())
}
