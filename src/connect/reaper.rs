//! Programs that were started: how they end, and that nothing of them stays.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::process::ExitStatus;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

/// Time that a program has for ending by itself when its input has ended.
const GRACE: Duration = Duration::from_millis(500);
/// Time that it has after SIGTERM.
const TERM_LIMIT: Duration = Duration::from_secs(2);
/// How often it is looked whether anything is left of it.
const LOOK: Duration = Duration::from_millis(20);

/// A running program that leads a process group of its own. When it is dropped, the whole group is
/// ended: in peace first, then by SIGTERM, then by SIGKILL.
#[derive(Debug)]
pub(super) struct Running {
    child: Option<Child>,
    group: Group,
    port: Arc<str>,
}

/// A process group that does not outlive this value.
#[derive(Debug)]
struct Group(Option<Pid>);

impl Group {
    /// False when nobody is left in it.
    fn signal(&self, signal: Option<Signal>) -> bool {
        self.0.is_some_and(|group| killpg(group, signal).is_ok())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Some(Signal::SIGKILL));
    }
}

impl Running {
    /// `child` must be the leader of its process group.
    pub(super) fn new(child: Child, port: Arc<str>) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self { child: Some(child), group: Group(id.map(Pid::from_raw)), port }
    }

    /// Waits for its end, if that was not waited for already.
    pub(super) fn poll_exit(&mut self, cx: &mut Context<'_>) -> Poll<Option<ExitStatus>> {
        let Some(child) = &mut self.child else { return Poll::Ready(None) };
        std::pin::pin!(child.wait()).poll(cx).map(Result::ok)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(child) = self.child.take() else { return };
        let group = Group(self.group.0.take());
        // without a runtime `group` kills it here and now, and whoever is init reaps it
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(end(child, group, Arc::clone(&self.port)));
        }
    }
}

/// Ends a program and all that it started. If the runtime ends first, `group` does it at once.
async fn end(mut child: Child, mut group: Group, port: Arc<str>) {
    let mut status = timeout(GRACE, child.wait()).await.ok().and_then(Result::ok);
    if group.signal(Some(Signal::SIGTERM)) {
        let limit = Instant::now() + TERM_LIMIT;
        while status.is_none() || group.signal(None) {
            if Instant::now() >= limit {
                warn!(port = %port, "the program does not end by SIGTERM and is killed");
                group.signal(Some(Signal::SIGKILL));
                break;
            }
            if status.is_none() {
                status = timeout(LOOK, child.wait()).await.ok().and_then(Result::ok);
            } else {
                sleep(LOOK).await;
            }
        }
    }
    if status.is_none() {
        status = child.wait().await.ok();
    }
    // its number may belong to somebody else from now on
    group.0 = None;
    if let Some(status) = status {
        debug!(port = %port, "the program has ended: {status}");
    }
}
