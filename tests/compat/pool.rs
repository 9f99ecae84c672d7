//! Running many cases at the same time, and judging each.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Instant;

use crate::bench::{Bench, Setup, Stop};
use crate::case::Case;
use crate::compare::{Difference, differences};
use crate::divergence::Kind;
use crate::plan::{Duty, Job};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    Passed,
    Failed,
    Skipped,
    /// It differs from the recording, and that is listed.
    Diverges,
    /// It differs from the recording, and what it is about is to come.
    Later,
}

pub(crate) struct Outcome {
    pub(crate) area: String,
    pub(crate) id: String,
    pub(crate) status: Status,
    pub(crate) reason: String,
    pub(crate) differences: Vec<Difference>,
    pub(crate) secs: f64,
}

/// Runs the jobs, so many at a time, those that wait longest first.  Each outcome is given to `report` as it
/// comes; an outcome carries the number of its job.
pub(crate) fn run(jobs: &[Job<'_>], at_once: usize, setup: &Setup, mut report: impl FnMut(usize, Outcome)) {
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by(|&a, &b| jobs[b].case.waits().total_cmp(&jobs[a].case.waits()));
    let queue = Mutex::new(VecDeque::from(order));
    let (sender, outcomes) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..at_once.clamp(1, jobs.len().max(1)) {
            let (sender, queue) = (sender.clone(), &queue);
            scope.spawn(move || {
                while let Some(number) = pop(queue) {
                    if sender.send((number, judge(&jobs[number], setup))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (number, outcome) in outcomes {
            report(number, outcome);
        }
    });
}

fn pop(queue: &Mutex<VecDeque<usize>>) -> Option<usize> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

/// Runs one job and compares what it did with its duty.
fn judge(job: &Job<'_>, setup: &Setup) -> Outcome {
    let since = Instant::now();
    let (status, reason, differences) = catch_unwind(AssertUnwindSafe(|| run_case(job.case, setup)))
        .unwrap_or_else(|_| (Status::Failed, "the runner panicked".to_owned(), Vec::new()));
    let mut id = job.case.id.clone();
    let (status, reason) = match job.duty {
        Duty::Agree => (status, reason),
        Duty::AgreeWithOwn => {
            id.push_str(" (own)");
            (status, reason)
        }
        Duty::Differ(_) if status == Status::Passed => {
            (Status::Failed, "listed in DIVERGENCES.md, but agrees with the recording".to_owned())
        }
        // a case that did not get to its end says nothing about the program
        Duty::Differ(_) if differences.is_empty() || reason == TIME_LIMIT => (status, reason),
        Duty::Differ(Kind::Diverges) => (Status::Diverges, reason),
        Duty::Differ(Kind::Later) => (Status::Later, reason),
    };
    Outcome {
        area: job.case.area.clone(),
        id,
        status,
        reason,
        differences,
        secs: since.elapsed().as_secs_f64(),
    }
}

const TIME_LIMIT: &str = "time limit";

fn run_case(case: &Case, setup: &Setup) -> (Status, String, Vec<Difference>) {
    let mut bench = match Bench::new(case, setup) {
        Ok(bench) => bench,
        Err(stop) => return stopped(stop, Vec::new()),
    };
    let ran = bench.run();
    let cleaned = bench.finish();
    let differences = differences(
        std::mem::replace(&mut bench.witness, crate::witness::Witness::new(setup.rules)),
        &bench.names,
    );
    match (ran, cleaned) {
        (Err(stop), _) => stopped(stop, differences),
        (Ok(()), Err(e)) => (Status::Failed, format!("cannot clean up: {e}"), Vec::new()),
        (Ok(()), Ok(())) if differences.is_empty() => (Status::Passed, String::new(), differences),
        (Ok(()), Ok(())) => {
            let endpoints: Vec<_> = differences.iter().map(|d| d.endpoint.as_str()).collect();
            (Status::Failed, endpoints.join(", "), differences)
        }
    }
}

fn stopped(stop: Stop, differences: Vec<Difference>) -> (Status, String, Vec<Difference>) {
    match stop {
        Stop::Skip(reason) => (Status::Skipped, reason, Vec::new()),
        Stop::TimeLimit => (Status::Failed, TIME_LIMIT.to_owned(), differences),
        Stop::Broken(e) => (Status::Failed, format!("cannot replay: {e}"), Vec::new()),
    }
}
