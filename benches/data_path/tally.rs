//! System calls by kind, read from the text of strace.

use std::collections::BTreeMap;
use std::ops::Range;

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Waiting for events: every return is a wake-up.
    Wait,
    TtyRead,
    TtyWrite,
    NetRead,
    NetWrite,
    /// Timers, set or read.
    Timer,
    /// Waking another thread, or oneself.
    Wake,
    Other,
}

/// Numbers of calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) calls: BTreeMap<Kind, u64>,
    /// Those of [`Kind::Other`] by name.
    pub(crate) others: BTreeMap<String, u64>,
    /// Calls that found nothing to do.
    pub(crate) again: u64,
    /// Bytes, and the calls that moved them: reads, then writes.
    pub(crate) moved: [(u64, u64); 2],
}

impl Tally {
    /// Counts the calls of a text of `strace -f -ttt -y` that begin within `time`.
    pub(crate) fn read(text: &str, time: Range<f64>) -> Self {
        let mut tally = Self::default();
        for call in text.lines().filter_map(Call::parse).filter(|call| time.contains(&call.at)) {
            tally.add(&call);
        }
        tally
    }

    fn add(&mut self, call: &Call<'_>) {
        let kind = call.kind();
        *self.calls.entry(kind).or_default() += 1;
        if kind == Kind::Other {
            *self.others.entry(call.name.to_owned()).or_default() += 1;
        }
        self.again += u64::from(call.result.contains("EAGAIN"));
        let direction = match kind {
            Kind::TtyRead | Kind::NetRead => 0,
            Kind::TtyWrite | Kind::NetWrite => 1,
            _ => return,
        };
        if let Ok(bytes @ 1..) = call.result.split_whitespace().next().unwrap_or_default().parse::<u64>() {
            self.moved[direction].0 += bytes;
            self.moved[direction].1 += 1;
        }
    }

    /// All calls.
    pub(crate) fn total(&self) -> u64 {
        self.calls.values().sum()
    }
}

/// One line.
struct Call<'a> {
    at: f64,
    name: &'a str,
    /// What the first argument is, when it is a descriptor.
    target: &'a str,
    result: &'a str,
}

impl<'a> Call<'a> {
    /// `PID TIME name(FD<target>, …) = result`. A call that another thread's line cut in two counts once,
    /// when it ends; signals and ends of processes are no calls.
    fn parse(line: &'a str) -> Option<Self> {
        let (_, line) = line.split_once(' ')?;
        let (at, line) = line.trim_start().split_once(' ')?;
        let at = at.parse().ok()?;
        if line.ends_with("<unfinished ...>") {
            return None;
        }
        let (call, result) = line.rsplit_once(" = ")?;
        let (name, target) = if let Some(rest) = call.strip_prefix("<... ") {
            (rest.split_once(' ')?.0, "")
        } else {
            let (name, arguments) = call.split_once('(')?;
            let first = arguments.split(", ").next().unwrap_or_default();
            (name, first.split_once('<').map_or("", |(_, target)| target))
        };
        Some(Self { at, name, target, result })
    }

    fn kind(&self) -> Kind {
        let is = |names: &[&str]| names.contains(&self.name);
        let reads = is(&["read", "readv", "recv", "recvfrom", "recvmsg"]);
        let writes = is(&["write", "writev", "send", "sendto", "sendmsg"]);
        if is(&["epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6"]) {
            Kind::Wait
        } else if self.target.contains("[timerfd]") || self.name.starts_with("timerfd") {
            Kind::Timer
        } else if self.target.contains("[eventfd]") || is(&["futex", "tgkill", "rt_sigreturn"]) {
            Kind::Wake
        } else if self.target.starts_with("/dev/") && (reads || writes) {
            if reads { Kind::TtyRead } else { Kind::TtyWrite }
        } else if reads {
            Kind::NetRead
        } else if writes {
            Kind::NetWrite
        } else {
            Kind::Other
        }
    }
}

/// Reads a text whose calls are known.
pub(crate) fn selfcheck() -> Result<(), String> {
    let text = "\
7 9.5 read(3</dev/pts/1>, \"\"..., 10) = 10
7 10.1 epoll_wait(4<anon_inode:[eventpoll]>, [{}], 1024, -1) = 1
7 10.2 read(3</dev/pts/1>, \"\"..., 65536) = 1024
7 10.3 sendto(5<socket:[77]>, \"\"..., 1024, MSG_NOSIGNAL, NULL, 0) = 1000
8 10.4 futex(0x7f, FUTEX_WAIT_PRIVATE, 2, NULL <unfinished ...>
7 10.5 read(3</dev/pts/1>, 0x7f, 65536) = -1 EAGAIN (Resource temporarily unavailable)
8 10.6 <... futex resumed>) = 0
7 10.7 timerfd_settime(6<anon_inode:[timerfd]>, 0, {}, NULL) = 0
7 10.75 read(6<anon_inode:[timerfd]>, \"\"..., 8) = 8
7 10.8 ioctl(3</dev/pts/1>, TCGETS, {}) = 0
7 10.9 --- SIGTERM {si_signo=SIGTERM} ---
7 11.5 write(3</dev/pts/1>, \"\"..., 10) = 10
7 12.0 +++ exited with 0 +++
";
    let tally = Tally::read(text, 10.0..11.0);
    let expected = [
        (Kind::Wait, 1),
        (Kind::TtyRead, 2),
        (Kind::NetWrite, 1),
        (Kind::Timer, 2),
        (Kind::Wake, 1),
        (Kind::Other, 1),
    ];
    let good = tally.calls == BTreeMap::from(expected)
        && tally.others == BTreeMap::from([("ioctl".to_owned(), 1)])
        && tally.again == 1
        && tally.moved == [(1024, 1), (1000, 1)];
    if good { Ok(()) } else { Err(format!("the trace is read wrongly: {tally:?}")) }
}
