//! Who may connect by the files of hosts_access(5), as programs with TCP wrappers ask them.
//!
//! They are asked for every client, so that a change counts at once. On a machine without them, or
//! with files without a rule (as Debian has them), that costs two stat(2); elsewhere the reading, and
//! the name server where a rule wants a name, are waited for on a thread of their own.

pub mod rules;

use rules::{Access, Decision, HostName, Visit, World};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A file that was changed less than this before it was read may be changed again without its
/// times telling so: they are as coarse as the kernel's tick.
const SETTLED: Duration = Duration::from_secs(2);

/// The two files.
#[derive(Clone, Debug)]
pub struct Files {
    allow: Rules,
    deny: Rules,
}

impl Default for Files {
    /// Those of hosts_access(5).
    fn default() -> Self {
        Self::at("/etc/hosts.allow".into(), "/etc/hosts.deny".into())
    }
}

/// One of the two.
#[derive(Clone, Debug)]
struct Rules {
    path: PathBuf,
    /// The file when it was read and had no rule.
    barren: Arc<Mutex<Option<Stamp>>>,
}

/// What changes when a file does: device, inode, size, and the times of its data and of itself in
/// seconds and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp(u64, u64, u64, [i64; 4]);

impl Stamp {
    fn of(file: &Metadata) -> Self {
        let times = [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()];
        Self(file.dev(), file.ino(), file.size(), times)
    }

    /// A change from `now` on gives another stamp.
    fn is_settled(&self, now: SystemTime) -> bool {
        let [_, _, changed, _] = self.3;
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
        u64::try_from(changed).is_ok_and(|changed| changed + SETTLED.as_secs() < now)
    }
}

impl Rules {
    fn at(path: PathBuf) -> Self {
        Self { path, barren: Arc::default() }
    }

    /// There is a rule, as far as is known.
    fn may_decide(&self) -> bool {
        match std::fs::metadata(&self.path) {
            Ok(file) => *self.barren.lock().unwrap_or_else(PoisonError::into_inner) != Some(Stamp::of(&file)),
            // a file that cannot be looked at is there, as far as anybody knows
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    fn read(&self) -> io::Result<String> {
        let now = SystemTime::now();
        let mut file = File::open(&self.path)?;
        let stamp = Stamp::of(&file.metadata()?);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let barren = has_no_rule(&text) && stamp.is_settled(now);
        *self.barren.lock().unwrap_or_else(PoisonError::into_inner) = barren.then_some(stamp);
        Ok(text)
    }
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The client is let in.
    pub allowed: bool,
    /// File and line that decided, and a part of it that is not acted on; `None`: no rule matched.
    pub because: Option<String>,
    /// The rule has a part that is not acted on, which the user should know.
    pub odd: bool,
}

impl Files {
    fn at(allow: PathBuf, deny: PathBuf) -> Self {
        Self { allow: Rules::at(allow), deny: Rules::at(deny) }
    }

    /// There is something to ask: not where both are missing, or have been read and had no rule.
    pub fn may_decide(&self) -> bool {
        self.allow.may_decide() || self.deny.may_decide()
    }

    /// Asks them on a thread that may wait.
    pub async fn ask(&self, daemon: Arc<str>, client: SocketAddr, server: IpAddr) -> Verdict {
        let files = self.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let client = client.ip().to_canonical();
            let visit = Visit { daemon: &daemon, client, server };
            files.judge(&visit, &mut System { client, name: None })
        });
        asked.await.unwrap_or_else(|join| Verdict {
            allowed: false,
            because: Some(format!("asking hosts.allow and hosts.deny failed: {join}")),
            odd: true,
        })
    }

    fn judge(&self, visit: &Visit<'_>, world: &mut dyn World) -> Verdict {
        for (file, access) in [(&self.allow, Access::Allow), (&self.deny, Access::Deny)] {
            let path = &file.path;
            let text = match file.read() {
                Ok(text) => text,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                // rules that nobody can read must not be taken for none
                Err(e) => {
                    let because = Some(format!("{} cannot be read: {e}", path.display()));
                    return Verdict { allowed: false, because, odd: true };
                }
            };
            if let Some(decision) = rules::decide(&text, access, visit, world) {
                return verdict(path, decision);
            }
        }
        Verdict { allowed: true, because: None, odd: false }
    }
}

fn verdict(path: &Path, decision: Decision) -> Verdict {
    let Decision { allowed, line, not_acted_on } = decision;
    let odd = not_acted_on.is_some();
    let mut because = format!("{} line {line}", path.display());
    if let Some(part) = not_acted_on {
        because = format!("{because}, where '{part}' is not understood");
    }
    Verdict { allowed, because: Some(because), odd }
}

/// Nothing but comments and empty lines. A line that goes on in the next one is left to the grammar.
fn has_no_rule(text: &str) -> bool {
    !text.contains('\\') && text.lines().all(|line| line.trim().is_empty() || line.starts_with('#'))
}

/// A text with whatever bytes.
fn read(path: &Path) -> io::Result<String> {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// This machine's files and name service.
struct System {
    client: IpAddr,
    name: Option<HostName>,
}

impl World for System {
    fn host_name(&mut self) -> HostName {
        let client = self.client;
        self.name.get_or_insert_with(|| look_up(client)).clone()
    }

    fn file(&mut self, path: &str) -> io::Result<String> {
        read(Path::new(path))
    }
}

/// The name of an address, if it leads back to the address.
fn look_up(client: IpAddr) -> HostName {
    let Ok(name) = dns_lookup::lookup_addr(&client) else { return HostName::Unknown };
    // an address without a name comes back as itself
    if name.parse::<IpAddr>().is_ok() {
        return HostName::Unknown;
    }
    let leads_back = (name.as_str(), 0)
        .to_socket_addrs()
        .is_ok_and(|mut found| found.any(|address| address.ip().to_canonical() == client));
    if leads_back { HostName::Known(name) } else { HostName::Paranoid }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(allow: Option<&str>, deny: Option<&str>) -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::at(dir.path().join("hosts.allow"), dir.path().join("hosts.deny"));
        for (file, text) in [(&files.allow, allow), (&files.deny, deny)] {
            if let Some(text) = text {
                std::fs::write(&file.path, text).unwrap();
            }
        }
        (dir, files)
    }

    async fn asked(allow: Option<&str>, deny: Option<&str>) -> Verdict {
        let (_dir, files) = files(allow, deny);
        let client = "127.0.0.1:40000".parse().unwrap();
        files.ask("ser2net".into(), client, "127.0.0.1".parse().unwrap()).await
    }

    #[tokio::test]
    async fn allow_is_asked_before_deny() {
        for (allow, deny, allowed) in [
            (None, None, true),
            (Some(""), Some("# nothing\n"), true),
            (None, Some("ALL: ALL\n"), false),
            (Some("ser2net: 127.0.0.1\n"), Some("ALL: ALL\n"), true),
            (Some("sshd: 127.0.0.1\n"), Some("ALL: ALL\n"), false),
            (None, Some("ser2net-control: ALL\n"), true),
        ] {
            assert_eq!(asked(allow, deny).await.allowed, allowed, "{allow:?} {deny:?}");
        }
    }

    #[tokio::test]
    async fn the_line_that_decided_is_named() {
        let verdict = asked(None, Some("\nALL: ALL\n")).await;
        assert!(verdict.because.unwrap().ends_with("hosts.deny line 2"));
    }

    #[test]
    fn files_that_are_not_there_are_not_asked() {
        assert!(!files(None, None).1.may_decide());
        let (_dir, files) = files(None, Some(""));
        assert!(files.may_decide());
    }

    #[tokio::test]
    async fn files_without_a_rule_are_read_once_and_a_change_counts_at_once() {
        let (_dir, files) = files(Some("# a comment\n\n"), Some("#"));
        let (client, server) = ("127.0.0.1:40000".parse().unwrap(), "127.0.0.1".parse().unwrap());
        let begin = std::time::Instant::now();
        // one that was just written is read again
        assert!(files.ask("ser2net".into(), client, server).await.allowed && files.may_decide());
        while files.may_decide() {
            assert!(begin.elapsed() < Duration::from_secs(20), "it is read for ever");
            assert!(files.ask("ser2net".into(), client, server).await.allowed);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        std::fs::write(&files.deny.path, "ALL: ALL\n").unwrap();
        assert!(files.may_decide());
        assert!(!files.ask("ser2net".into(), client, server).await.allowed);
        for (text, barren) in
            [("", true), ("# x\n \n", true), ("# x\\\ny: z\n", false), (" # x", false), ("a: b", false)]
        {
            assert_eq!(has_no_rule(text), barren, "{text:?}");
        }
    }

    #[tokio::test]
    async fn rules_that_cannot_be_read_let_nobody_in() {
        let (_dir, files) = files(None, None);
        std::fs::create_dir(&files.deny.path).unwrap();
        let client = "127.0.0.1:40000".parse().unwrap();
        assert!(!files.ask("ser2net".into(), client, "127.0.0.1".parse().unwrap()).await.allowed);
    }
}
