//! Where log lines go and how many there are.
//!
//! In the foreground lines go to stderr, with time stamps; when stderr is the journal's
//! (`JOURNAL_STREAM`, systemd.exec(5)) they go to the journal with their fields. In the background,
//! and under the name ser2net also in the foreground unless `-d` is given, they go to the local
//! syslog daemon, facility daemon. `RUST_LOG` chooses levels per module and wins over `-l`.

mod limiter;
mod stderr;
mod syslog;

pub use limiter::{LeftOut, RepeatLimiter, RepeatLog};
pub use syslog::Syslog;

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Socket of the local syslog daemon.
const SYSLOG: &str = "/dev/log";

/// Time that the program's end waits for lines that wait themselves.
const LAST_LINES: Duration = Duration::from_millis(250);

/// Made once, when logging starts.
static STDERR: OnceLock<stderr::Lines> = OnceLock::new();

/// Where the lines are to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// stderr, or the journal when stderr is connected to it.
    Stderr,
    /// The local syslog daemon; where there is none, as for stderr. stderr is `/dev/null` in the
    /// background. A stderr that is the journal's comes first too: nothing is gained by a detour.
    Syslog,
}

/// Starts logging, once per process. `verbosity` counts the `-l` options: 0 is info, 1 debug, more
/// is trace. `name` is the program's name in journal and syslog.
///
/// # Errors
///
/// Text for the user: logging was started before, or `RUST_LOG` is not understood (then the level of
/// `verbosity` is in force and the program can go on).
pub fn init(verbosity: u8, target: Target, name: &str) -> Result<(), String> {
    let (filter, complaint) = filter(verbosity, std::env::var("RUST_LOG").ok().as_deref());
    let registry = tracing_subscriber::registry().with(filter);
    let started = match output(target, name) {
        Output::Journal(layer) => registry.with(layer).try_init(),
        Output::Syslog(syslog) => registry.with(plain_layer(syslog)).try_init(),
        Output::Stderr => {
            let stderr =
                io::stderr().as_fd().try_clone_to_owned().map_err(|e| format!("standard error: {e}"))?;
            let lines = STDERR.get_or_init(|| stderr::Lines::new(stderr)).clone();
            let ansi = io::stderr().is_terminal();
            let layer =
                tracing_subscriber::fmt::layer().with_writer(lines).with_ansi(ansi).with_target(false);
            registry.with(layer).try_init()
        }
    };
    started.map_err(|error| error.to_string())?;
    complaint.map_or(Ok(()), Err)
}

/// Waits a moment for lines that standard error has no room for. To be called at the end.
pub fn finish() {
    if let Some(lines) = STDERR.get() {
        lines.finish(LAST_LINES);
    }
}

/// Whether lines for this target would go to syslog, so that nobody sees them on stderr.
pub fn goes_to_syslog(target: Target) -> bool {
    target == Target::Syslog && !stderr_is_journal() && Path::new(SYSLOG).exists()
}

enum Output {
    Journal(tracing_journald::Layer),
    Syslog(Syslog),
    Stderr,
}

fn output(target: Target, name: &str) -> Output {
    match target {
        _ if stderr_is_journal() => tracing_journald::layer()
            .map_or(Output::Stderr, |layer| Output::Journal(layer.with_syslog_identifier(name.to_owned()))),
        Target::Stderr => Output::Stderr,
        Target::Syslog => Syslog::connect(Path::new(SYSLOG), name).map_or(Output::Stderr, Output::Syslog),
    }
}

/// The text of an event and its fields, without time, level and colour.
fn plain_layer<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(false)
        .with_target(false)
        .with_level(false)
        .without_time()
}

/// The filter, and what is wrong with `RUST_LOG` when something is.
fn filter(verbosity: u8, rust_log: Option<&str>) -> (EnvFilter, Option<String>) {
    let default = match verbosity {
        0 => "info",
        // hyper tells every header that it reads at debug
        1 => "info,serbroker=debug",
        _ => "debug,serbroker=trace",
    };
    match rust_log.map(str::trim).filter(|text| !text.is_empty()).map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(default), Some(format!("RUST_LOG: {error}"))),
        None => (EnvFilter::new(default), None),
    }
}

/// `JOURNAL_STREAM` names device and inode of the socket that systemd gave us as stderr. Somebody may
/// have redirected stderr since, so that the variable alone proves nothing.
fn stderr_is_journal() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned() else { return false };
    File::from(stderr).metadata().is_ok_and(|meta| is_stream(&stream, meta.dev(), meta.ino()))
}

fn is_stream(stream: &str, device: u64, inode: u64) -> bool {
    stream.split_once(':').is_some_and(|(d, i)| d.parse() == Ok(device) && i.parse() == Ok(inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journal_stream_must_be_ours() {
        assert!(is_stream("8:12345", 8, 12345));
        assert!(!is_stream("8:12346", 8, 12345));
        assert!(!is_stream("", 0, 0));
        assert!(!is_stream("8", 8, 8));
    }

    #[test]
    fn verbosity_and_rust_log() {
        assert_eq!(filter(0, None).0.to_string(), "info");
        assert_eq!(filter(0, Some(" ")).0.to_string(), "info");
        assert!(filter(1, None).0.to_string().contains("serbroker=debug"));
        assert!(filter(2, None).0.to_string().contains("serbroker=trace"));
        assert_eq!(filter(2, Some("warn")).0.to_string(), "warn");
        let (fallback, complaint) = filter(0, Some("serbroker=loudest"));
        assert_eq!(fallback.to_string(), "info");
        assert!(complaint.is_some_and(|text| text.starts_with("RUST_LOG: ")));
    }

    #[test]
    fn repeated_messages_collapse() {
        use std::sync::{Arc, Mutex};
        #[derive(Clone, Default)]
        struct Sink(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::registry().with(plain_layer(move || writer.clone()));
        let repeats = RepeatLog::default();
        tracing::subscriber::with_default(subscriber, || {
            for attempt in 1..=5 {
                crate::log_repeated!(repeats, "open", warn, "attempt {attempt} failed");
            }
        });
        assert_eq!(String::from_utf8(sink.0.lock().unwrap().clone()).unwrap(), "attempt 1 failed\n");
        assert_eq!(repeats.over("open"), LeftOut(4));
    }
}
