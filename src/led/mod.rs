//! LEDs that flash when data goes through a port.
//!
//! The kernel's `transient` trigger makes the flash: `duration` and `state` are set once, and each
//! 1 written to `activate` lights the LED for that time (Documentation/leds/ledtrig-transient.rst
//! of Linux). A flash that is running is not begun anew, so nothing is written while one runs: an
//! LED costs a port a comparison of times for each chunk, however much data comes. The files are
//! written by a thread of their own, because the driver behind them may be slow (I2C, USB).

use crate::config::{LED_CLASS, Led};
use crate::log::{LeftOut, RepeatLimiter};
use crate::worker::Worker;
use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::{debug, warn};

/// Time after a flash in which the LED stays dark: the kernel counts in ticks of up to this length,
/// and would take no notice of what is written a little too early.
const DARK: Duration = Duration::from_millis(10);
/// Wait after a failure before the LED is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// Time in which the same trouble is told once.
const COMPLAINT_WINDOW: Duration = Duration::from_secs(60);

/// The LEDs that are in use, and the thread that writes to them.
#[derive(Debug)]
pub struct Leds {
    base: PathBuf,
    worker: Worker<Arc<Shared>>,
    /// How many use each device.
    users: Arc<Mutex<HashMap<Arc<str>, usize>>>,
}

impl Default for Leds {
    fn default() -> Self {
        Self::at(LED_CLASS)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // what is behind these locks is valid after every single assignment
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Leds {
    /// LEDs whose directories are in `base`.
    pub fn at(base: impl Into<PathBuf>) -> Self {
        let worker = Worker::new("led", Duration::ZERO, |shared: Arc<Shared>| shared.work());
        Self { base: base.into(), worker, users: Arc::default() }
    }

    /// Gets an LED ready. It is given back to its owner when the returned value is dropped.
    pub fn light(&self, led: &Led) -> Light {
        *lock(&self.users).entry(Arc::clone(&led.device)).or_default() += 1;
        let shared = Arc::new(Shared {
            led: led.clone(),
            dir: self.base.join(&*led.device),
            users: Arc::clone(&self.users),
            began: Instant::now(),
            dark_until: AtomicU64::new(0),
            wanted: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            scheduled: AtomicBool::new(false),
            thread: Mutex::new(ThreadPart {
                ready: false,
                retry_at: None,
                complaints: RepeatLimiter::new(COMPLAINT_WINDOW, 2),
            }),
        });
        let light = Light { shared, worker: self.worker.clone() };
        light.call();
        light
    }

    /// Waits until all is written, but not longer than `limit`; false when that was too short.
    pub fn finish(&self, limit: Duration) -> bool {
        self.worker.finish(limit)
    }
}

/// An LED in use.
#[derive(Debug)]
pub struct Light {
    shared: Arc<Shared>,
    worker: Worker<Arc<Shared>>,
}

impl Light {
    /// Data went through at `now`: lights the LED, unless it is lit.
    #[inline]
    pub fn flash(&self, now: Instant) {
        let shared = &self.shared;
        if shared.micros(now) >= shared.dark_until.load(Ordering::Relaxed)
            && !shared.wanted.swap(true, Ordering::Relaxed)
        {
            self.call();
        }
    }

    fn call(&self) {
        if !self.shared.scheduled.swap(true, Ordering::AcqRel) {
            self.worker.push(Arc::clone(&self.shared));
        }
    }
}

impl Drop for Light {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.call();
    }
}

#[derive(Debug)]
struct Shared {
    led: Led,
    dir: PathBuf,
    users: Arc<Mutex<HashMap<Arc<str>, usize>>>,
    began: Instant,
    /// No flash before this, in microseconds since `began`.
    dark_until: AtomicU64,
    wanted: AtomicBool,
    ended: AtomicBool,
    /// The thread will come.
    scheduled: AtomicBool,
    /// Touched by the thread only.
    thread: Mutex<ThreadPart>,
}

#[derive(Debug)]
struct ThreadPart {
    /// The trigger is set up.
    ready: bool,
    retry_at: Option<Instant>,
    complaints: RepeatLimiter<&'static str>,
}

impl Shared {
    fn micros(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_micros()).unwrap_or(u64::MAX)
    }

    /// What the thread does.
    fn work(&self) {
        // first: whoever comes after this calls again
        self.scheduled.swap(false, Ordering::AcqRel);
        let mut part = lock(&self.thread);
        if self.ended.load(Ordering::Acquire) {
            return self.give_back(part.ready);
        }
        if !part.ready && !self.try_set_up(&mut part) {
            self.wanted.store(false, Ordering::Relaxed);
            return;
        }
        if self.wanted.load(Ordering::Relaxed) {
            let flash = Duration::from_millis(self.led.duration_ms.into());
            let written = self.put("activate", "1");
            // counted from now: the kernel began to count a little earlier
            self.dark_until.store(self.micros(Instant::now() + flash + DARK), Ordering::Relaxed);
            self.wanted.store(false, Ordering::Relaxed);
            if let Err(e) = written {
                // gone, or another one took it
                part.ready = false;
                self.failed(&mut part, &e);
            }
        }
    }

    fn try_set_up(&self, part: &mut ThreadPart) -> bool {
        if part.retry_at.is_some_and(|at| at > Instant::now()) {
            return false;
        }
        match self.set_up() {
            Ok(()) => {
                part.ready = true;
                part.retry_at = None;
                debug!("LED {} is ready", self.dir.display());
                true
            }
            Err(e) => {
                self.failed(part, &e);
                false
            }
        }
    }

    /// What ser2net writes, in its order.
    fn set_up(&self) -> io::Result<()> {
        let triggers = fs::read_to_string(self.dir.join("trigger"))?;
        if !triggers.split_whitespace().any(|word| word.trim_matches(['[', ']']) == "transient") {
            let text = "the kernel has no transient trigger: load it with 'modprobe ledtrig-transient'";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        self.put("trigger", "transient")?;
        self.put("duration", &self.led.duration_ms.to_string())?;
        self.put("state", if self.led.lit_by_one { "1" } else { "0" })
    }

    fn failed(&self, part: &mut ThreadPart, error: &io::Error) {
        part.retry_at = Some(Instant::now() + RETRY);
        let retry = self.micros(Instant::now() + RETRY);
        self.dark_until.store(retry, Ordering::Relaxed);
        if let Some(left_out) = part.complaints.occurs(&"led", Instant::now()) {
            let (name, dir) = (&self.led.name, self.dir.display());
            warn!("LED {name} ({dir}) does not work: {error}; it is tried again{}", LeftOut(left_out));
        }
    }

    /// Nobody uses it any more; the last user of a device leaves it dark and without a trigger.
    fn give_back(&self, ready: bool) {
        let last = {
            let mut users = lock(&self.users);
            let left = users.get(&self.led.device).map_or(0, |count| count.saturating_sub(1));
            if left == 0 {
                users.remove(&self.led.device);
            } else {
                users.insert(Arc::clone(&self.led.device), left);
            }
            left == 0
        };
        if last && ready {
            // an LED that is gone needs nothing
            let _ = self.put("trigger", "none").and_then(|()| self.put("brightness", "0"));
        }
    }

    /// Writes an attribute; it is never created.
    fn put(&self, attribute: &str, text: &str) -> io::Result<()> {
        let path: &Path = &self.dir.join(attribute);
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{attribute}: {e}"));
        let mut file = OpenOptions::new().write(true).truncate(true).open(path).map_err(named)?;
        file.write_all(text.as_bytes()).map_err(named)
    }
}

#[cfg(test)]
mod tests;
