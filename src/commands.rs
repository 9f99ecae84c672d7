//! The subcommands that look at something and then end: `check`, `convert` and `ports`.

use crate::broker::{self, Reading};
use crate::cli::Personality;
use crate::config::Config;
use crate::config::convert::convert;
use crate::config::explain::{self, Explanation, explain};
use crate::config::files::{self, MAX_FILE};
use crate::config::load::Inputs;
use crate::config::render::render;
use crate::ports::{self, Roots, Width};
use crate::serial::sys;
use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// How much `check` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// What is wrong.
    #[default]
    Mistakes,
    /// Also every port as it will run, and what else there is, as text.
    Ports,
    /// The same as JSON.
    Json,
}

/// A file as `check --explain --json` tells it.
#[derive(Serialize)]
struct Explained<'a> {
    file: String,
    errors: usize,
    warnings: usize,
    #[serde(flatten)]
    explanation: &'a Explanation,
}

/// Says what is wrong with files: the mistakes on `errors`, what else there is to tell on `out`.
/// False when a connection of them would not run.
///
/// # Errors
/// When nothing can be written to one of the two.
pub fn check(
    files: &[PathBuf],
    detail: Detail,
    out: &mut impl Write,
    errors: &mut impl Write,
) -> io::Result<bool> {
    let mut good = true;
    let mut read = Vec::new();
    for file in files {
        let inputs = Inputs { file: Some(file.clone()), ..Inputs::default() };
        let (config, diagnostics, explanation) = explain(&inputs);
        let reading = Reading { config, diagnostics };
        let (wrong, warnings) = reading.counts();
        good &= wrong == 0;
        errors.write_all(render(&reading.diagnostics).as_bytes())?;
        let name = file.display();
        match detail {
            Detail::Json => read.push((name.to_string(), wrong, warnings, explanation)),
            Detail::Mistakes | Detail::Ports => {
                if detail == Detail::Ports {
                    out.write_all(explain::text(&explanation).as_bytes())?;
                }
                let connections = reading.config.connections.len();
                writeln!(
                    out,
                    "{name}: {connections} connection(s), {wrong} error(s), {warnings} warning(s)"
                )?;
            }
        }
    }
    if detail == Detail::Json {
        let files: Vec<Explained<'_>> = read
            .iter()
            .map(|(file, errors, warnings, explanation)| Explained {
                file: file.clone(),
                errors: *errors,
                warnings: *warnings,
                explanation,
            })
            .collect();
        serde_json::to_writer_pretty(&mut *out, &files)?;
        writeln!(out)?;
    }
    Ok(good)
}

/// Where a converted file goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The file; `None` is standard output.
    pub file: Option<PathBuf>,
    /// A file that exists is replaced.
    pub force: bool,
}

/// Converts a file (`-`: standard input) to version 2 YAML. What could not be carried over is said
/// on `errors`; the text is written all the same. False when a connection does not run from it as
/// it did.
///
/// # Errors
/// A sentence, when the file cannot be read or the result not be written.
pub fn convert_file(
    file: &Path,
    output: &Output,
    out: &mut impl Write,
    errors: &mut impl Write,
) -> Result<bool, String> {
    let target = output.file.as_deref().filter(|path| *path != Path::new("-"));
    if let Some(target) = target.filter(|target| !output.force && target.symlink_metadata().is_ok()) {
        return Err(exists(target));
    }
    let text = files::read(file, MAX_FILE).map_err(|problem| problem.message)?;
    let conversion = convert(&text, &file.display().to_string(), file);
    let told = errors.write_all(render(&conversion.remarks).as_bytes());
    told.map_err(|e| format!("cannot write what is to be said: {e}"))?;
    match target {
        None => {
            out.write_all(conversion.text.as_bytes()).map_err(|e| format!("cannot write the result: {e}"))?;
        }
        Some(target) => replace(target, conversion.text.as_bytes(), output.force)?,
    }
    Ok(conversion.is_complete())
}

fn exists(target: &Path) -> String {
    format!("{} exists; --force replaces it", target.display())
}

/// Writes a file as a whole: whoever looks finds the old one or the new one, never a part.
fn replace(target: &Path, text: &[u8], force: bool) -> Result<(), String> {
    let failed = |e: &io::Error| format!("cannot write {}: {e}", target.display());
    let name = target.file_name().ok_or_else(|| format!("{} is no file name", target.display()))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.new", std::process::id()));
    let beside = target.with_file_name(hidden);
    let written = write_new(&beside, target, text).and_then(|()| {
        if force {
            return fs::rename(&beside, target);
        }
        // unlike a rename this fails when somebody made the file meanwhile
        fs::hard_link(&beside, target).and_then(|()| fs::remove_file(&beside))
    });
    written.map_err(|e| {
        // it is the failure before that counts
        let _ = fs::remove_file(&beside);
        if e.kind() == ErrorKind::AlreadyExists { exists(target) } else { failed(&e) }
    })
}

fn write_new(path: &Path, like: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    if let Ok(meta) = fs::metadata(like) {
        file.set_permissions(meta.permissions())?;
    }
    file.write_all(text)?;
    file.sync_all()
}

/// Lists the serial ports of this machine on `out`, with the connections of `file`; without one, of the
/// default file if there is one. False when `file` was named and cannot be used; the ports are listed
/// all the same.
///
/// # Errors
/// When nothing can be written to one of the two.
pub fn ports(
    file: Option<PathBuf>,
    json: bool,
    out: &mut (impl Write + AsRawFd),
    errors: &mut impl Write,
) -> io::Result<bool> {
    let named = file.is_some();
    let file = file.or_else(|| Personality::Serbroker.find_config(Path::exists));
    let mut config = Config::default();
    let mut good = true;
    if let Some(file) = file {
        let reading = broker::read(&Inputs { file: Some(file), ..Inputs::default() });
        // mistakes in connections are for `check` to tell
        if reading.is_fatal() {
            good = !named;
            errors.write_all(render(&reading.diagnostics).as_bytes())?;
        }
        config = reading.config;
    }
    let found = ports::list(&Roots::default(), &config);
    if json {
        serde_json::to_writer_pretty(&mut *out, &found)?;
        writeln!(out)?;
    } else {
        let width = sys::columns(out).map_or(Width::Any, |columns| Width::Columns(columns.into()));
        out.write_all(ports::text(&found, width).as_bytes())?;
    }
    Ok(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "2000:raw:0:/dev/ttyS0:9600\n";

    fn run(file: &Path, output: &Output) -> (Result<bool, String>, String) {
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let result = convert_file(file, output, &mut out, &mut errors);
        (result, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_file_is_written_whole_and_never_by_mistake_over_another() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ser2net.conf");
        fs::write(&file, LINE).unwrap();
        let target = dir.path().join("new.yaml");
        let output = |force| Output { file: Some(target.clone()), force };
        assert_eq!(run(&file, &output(false)), (Ok(true), String::new()));
        let text = fs::read_to_string(&target).unwrap();
        assert!(text.starts_with("%YAML 1.1\n---\nconnections:\n  2000:\n"), "{text}");
        fs::write(&target, "other").unwrap();
        let refused = run(&file, &output(false)).0.unwrap_err();
        assert!(refused.contains("--force"), "{refused}");
        assert_eq!(fs::read_to_string(&target).unwrap(), "other");
        assert_eq!(run(&file, &output(true)).0, Ok(true));
        assert_eq!(fs::read_to_string(&target).unwrap(), text);
        // nothing else is left behind
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn ports_as_json_for_other_programs() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.conf");
        fs::write(&file, format!("{LINE}2001:raw:0:/dev/ttyS1:9600 bogus\n")).unwrap();
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        assert!(!check(std::slice::from_ref(&file), Detail::Json, &mut out, &mut errors).unwrap());
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let port = &json[0]["ports"][0];
        assert_eq!((&json[0]["errors"], &port["name"]["value"]), (&1.into(), &"2000".into()));
        assert_eq!(json[0]["ports"].as_array().map(Vec::len), Some(1));
        let speed = port["options"].as_array().unwrap().iter().find(|o| o["name"] == "speed").unwrap();
        assert_eq!(speed["value"], "9600N81");
        assert_eq!((&speed["from"]["kind"], &speed["from"]["column"]), (&"file".into(), &23.into()));
        assert!(String::from_utf8(errors).unwrap().contains("'bogus'"));
    }

    #[test]
    fn what_cannot_be_read_or_written_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let to_stdout = Output { file: None, force: false };
        assert!(run(&dir.path().join("none"), &to_stdout).0.is_err());
        let file = dir.path().join("a.conf");
        fs::write(&file, LINE).unwrap();
        let nowhere = Output { file: Some(dir.path().join("no/such/dir.yaml")), force: true };
        assert!(run(&file, &nowhere).0.unwrap_err().contains("cannot write"));
        assert!(run(&file, &to_stdout).1.contains("connector: serialdev,/dev/ttyS0,9600n81"));
    }
}
