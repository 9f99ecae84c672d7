//! Trace files: a copy of what goes through a port (ser2net.yaml(5), `trace-read` and its like).
//!
//! The port only copies bytes into a queue of bounded size ([`Tracer`]). One thread for all ports
//! writes the files ([`Traces`]), so a disk that is slow, full or gone costs parts of the trace,
//! which are counted and told of in the log, and never the data itself.
//!
//! As with ser2net the files of a port are opened when its device was opened for the first client,
//! and closed with it; the names are filled in at that time.

mod file;
pub mod format;

use crate::metrics::{PortMetrics, TraceDrop};
use crate::worker::Worker;
use file::TraceFile;
use format::{Event, Side, Stamp, Style};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};
use tracing::warn;

/// Payload that waits for the thread, for one port; what comes beyond it is left out.
pub const QUEUE_BYTES: usize = 1024 * 1024;
/// Pieces of payload and events that wait, for one port. A piece can be one byte.
pub const QUEUE_RECORDS: usize = 16 * 1024;
/// Time in which pieces come together before they are written.
const GATHER: Duration = Duration::from_millis(5);
/// Time in which it is told once that the thread is too slow.
const COMPLAINT_WINDOW: Duration = Duration::from_secs(60);
/// Memory that a queue keeps when it is empty.
const KEEP: usize = 64 * 1024;

/// What one file takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its name, escapes filled in.
    pub path: PathBuf,
    /// What the device sends goes in.
    pub device: bool,
    /// What the clients send goes in.
    pub clients: bool,
    /// How it looks.
    pub style: Style,
}

/// The thread that writes all trace files, and the files that are open.
#[derive(Debug)]
pub struct Traces {
    worker: Worker<Arc<Shared>>,
    open: Mutex<Vec<Weak<Shared>>>,
}

impl Default for Traces {
    fn default() -> Self {
        let worker = Worker::new("trace", GATHER, |shared: Arc<Shared>| shared.drain());
        Self { worker, open: Mutex::default() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // what is behind these locks is valid after every single assignment
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Traces {
    /// Begins to trace a port. `metrics` and their name are the port's.
    pub fn open(&self, outputs: Vec<Output>, metrics: Arc<PortMetrics>) -> Tracer {
        let timed = outputs.iter().any(|output| output.style.timestamp);
        let files = Mutex::new(Files::new(outputs, metrics.name()));
        let shared = Arc::new(Shared { metrics, queue: Mutex::default(), files });
        let mut open = lock(&self.open);
        open.retain(|shared| shared.strong_count() > 0);
        open.push(Arc::downgrade(&shared));
        drop(open);
        let tracer = Tracer { shared, worker: self.worker.clone(), timed, port_closed: false };
        // the files appear at once, not with the first byte
        tracer.change(|_| {});
        tracer
    }

    /// Opens all files again by their names, because they may have been moved away.
    pub fn reopen(&self) {
        for shared in lock(&self.open).iter().filter_map(Weak::upgrade) {
            if shared.change(|queue| queue.reopen = true) {
                self.worker.push(shared);
            }
        }
    }

    /// Waits until all is written, but not longer than `limit`; false when that was too short.
    pub fn finish(&self, limit: Duration) -> bool {
        self.worker.finish(limit)
    }
}

/// Copies what goes through a port. Nothing here waits for a disk. Dropping it closes the files
/// when everything is written.
#[derive(Debug)]
pub struct Tracer {
    shared: Arc<Shared>,
    worker: Worker<Arc<Shared>>,
    /// A file has times.
    timed: bool,
    port_closed: bool,
}

impl Tracer {
    /// Bytes that `side` sent.
    pub fn data(&self, side: Side, data: &[u8]) {
        if !data.is_empty() {
            self.add(What::Data(side), data);
        }
    }

    /// A client came; `peer` is its address.
    pub fn client_opened(&self, peer: &str) {
        self.add(What::Event(Event::Open), peer.as_bytes());
    }

    /// A client left.
    pub fn client_closed(&self, why: &str) {
        self.add(What::Event(Event::CloseClient), why.as_bytes());
    }

    /// The port is closed; noted once.
    pub fn port_closed(&mut self, why: &str) {
        if !std::mem::replace(&mut self.port_closed, true) {
            self.add(What::Event(Event::ClosePort), why.as_bytes());
        }
    }

    fn add(&self, what: What, bytes: &[u8]) {
        if matches!(what, What::Event(_)) && !self.timed {
            return;
        }
        let time = self.timed.then(SystemTime::now);
        self.change(|queue| {
            queue.add(Record { what, time, length: bytes.len() }, bytes, &self.shared.metrics);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Queue)) {
        if self.shared.change(change) {
            self.worker.push(Arc::clone(&self.shared));
        }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.change(|queue| queue.ended = true);
    }
}

/// One port between its task and the thread.
#[derive(Debug)]
struct Shared {
    metrics: Arc<PortMetrics>,
    /// Held for a copy or a swap only, so that the port's task never waits.
    queue: Mutex<Queue>,
    /// Touched by the thread only.
    files: Mutex<Files>,
}

/// What waits to be written.
#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    records: Vec<Record>,
    /// When it was last told that the thread is too slow.
    told: Option<Instant>,
    reopen: bool,
    ended: bool,
    /// The thread will come.
    scheduled: bool,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    what: What,
    /// `None` where no file has times.
    time: Option<SystemTime>,
    /// Bytes of it in the queue.
    length: usize,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Data(Side),
    Event(Event),
}

impl Queue {
    fn add(&mut self, record: Record, bytes: &[u8], metrics: &PortMetrics) {
        if self.bytes.len() + bytes.len() > QUEUE_BYTES || self.records.len() >= QUEUE_RECORDS {
            if matches!(record.what, What::Data(_)) {
                metrics.trace_dropped(TraceDrop::QueueFull, bytes.len());
                // the thread may hang in a file system and cannot say it
                if self.told.is_none_or(|at| at.elapsed() >= COMPLAINT_WINDOW) {
                    self.told = Some(Instant::now());
                    warn!(port = %metrics.name(), "trace files are written too slowly: parts of the trace are left out");
                }
            }
            return;
        }
        self.bytes.extend_from_slice(bytes);
        self.records.push(record);
    }
}

impl Shared {
    /// Changes the queue; true when the thread is to be told.
    fn change(&self, change: impl FnOnce(&mut Queue)) -> bool {
        let mut queue = lock(&self.queue);
        change(&mut queue);
        !std::mem::replace(&mut queue.scheduled, true)
    }

    /// Writes what waits. Called by the thread.
    fn drain(&self) {
        let mut files = lock(&self.files);
        let files = &mut *files;
        let (reopen, ended) = {
            let mut queue = lock(&self.queue);
            queue.scheduled = false;
            std::mem::swap(&mut queue.bytes, &mut files.bytes);
            std::mem::swap(&mut queue.records, &mut files.records);
            (std::mem::take(&mut queue.reopen), queue.ended)
        };
        let missing = files.write(reopen);
        if missing > 0 {
            self.metrics.trace_dropped(TraceDrop::WriteFailed, missing);
        }
        if ended {
            *files = Files::default();
        }
    }
}

/// The files of a port and what is being written to them.
#[derive(Debug, Default)]
struct Files {
    outputs: Vec<(usize, Output)>,
    /// One for each name; outputs may share them.
    list: Vec<TraceFile>,
    stamp: Stamp,
    bytes: Vec<u8>,
    records: Vec<Record>,
}

impl Files {
    fn new(list: Vec<Output>, port: &str) -> Self {
        let mut files: Vec<TraceFile> = Vec::new();
        let mut outputs = Vec::new();
        for output in list {
            let known = files.iter().position(|file| file.path() == output.path);
            let index = known.unwrap_or_else(|| {
                files.push(TraceFile::new(output.path.clone(), port));
                files.len() - 1
            });
            files[index].lines |= output.style.hexdump;
            outputs.push((index, output));
        }
        Self { outputs, list: files, ..Self::default() }
    }

    /// Writes `records`; returns how much payload is missing in the files.
    fn write(&mut self, reopen: bool) -> usize {
        let now = Instant::now();
        for file in &mut self.list {
            file.prepare(now, reopen);
        }
        let mut rest = self.bytes.as_slice();
        for Record { what, time, length } in &self.records {
            let (bytes, behind) = rest.split_at_checked(*length).unwrap_or((rest, &[]));
            rest = behind;
            if let Some(time) = time {
                self.stamp.set(*time);
            }
            for (index, Output { device, clients, style, .. }) in &self.outputs {
                let Some(file) = self.list.get_mut(*index) else { continue };
                match what {
                    What::Data(Side::Device) if !device => {}
                    What::Data(Side::Clients) if !clients => {}
                    What::Data(side) => {
                        style.data(*side, bytes, &self.stamp, &mut file.out);
                        file.payload += bytes.len();
                    }
                    What::Event(event) => style.event(*event, bytes, &self.stamp, &mut file.out),
                }
            }
        }
        self.records.clear();
        self.bytes.clear();
        if self.bytes.capacity() > KEEP {
            self.bytes = Vec::new();
        }
        if self.records.capacity() * size_of::<Record>() > KEEP {
            self.records = Vec::new();
        }
        self.list.iter_mut().map(|file| file.write(now)).sum()
    }
}

#[cfg(test)]
mod tests;
