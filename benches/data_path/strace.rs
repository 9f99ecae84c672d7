//! Counting system calls with strace.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::keys::Keys;
use crate::scene::{Amount, Scene};
use crate::stage::{Stage, inside, installed};
use crate::subject::Subject;
use crate::tally::Tally;

/// What is sent while calls are counted.
const AMOUNT: Amount = Amount { steps: 500, time: Duration::from_millis(300) };
/// What is sent before, so that what is needed once has been done.
const WARM_UP: Amount = Amount { steps: 20, time: Duration::from_millis(30) };
/// Time that strace has to write the end of its file.
const END: Duration = Duration::from_secs(5);

/// Counts the calls of `subject` in `scene`: those that begin between the first byte and the last.
pub(crate) fn count(scene: Scene, subject: Subject, keys: &Keys) -> Result<(Tally, f64), String> {
    installed("strace")?;
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = dir.path().join("trace");
    let mut stage = Stage::set(scene, subject, keys, |command| {
        let mut strace = Command::new("strace");
        // -D: the program itself is our child, and strace watches it from beside
        strace.args(["-D", "-f", "-q", "-ttt", "-y", "-s", "0", "-o"]).arg(&file).arg("--");
        inside(strace, command)
    })?;
    stage.run(WARM_UP)?;
    let begin = now();
    let units = stage.run(AMOUNT)?;
    let end = now();
    drop(stage);
    let text = finished(&file)?;
    Ok((Tally::read(&text, begin..end), units))
}

/// Seconds since 1970, as strace writes them.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The text of the file, once strace has seen the end of the program.
fn finished(file: &Path) -> Result<String, String> {
    let deadline = Instant::now() + END;
    loop {
        let text = fs::read(file).map_err(|error| format!("the trace: {error}"))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let ended = |line: &str| line.contains("+++ exited with") || line.contains("+++ killed by");
        if text.lines().last().is_some_and(ended) {
            return Ok(text);
        }
        if Instant::now() > deadline {
            return Err("strace has not finished its file".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
