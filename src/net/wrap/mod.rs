//! Who may connect by the files of hosts_access(5), as programs with TCP wrappers ask them.
//!
//! They are read for every client, so that a change counts at once. On a machine without them that
//! costs two stat(2); elsewhere the reading, and the name server where a rule wants a name, are
//! waited for on a thread of their own.

pub mod rules;

use rules::{Access, Decision, HostName, Visit, World};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The two files.
#[derive(Clone, Debug)]
pub struct Files {
    allow: PathBuf,
    deny: PathBuf,
}

impl Default for Files {
    /// Those of hosts_access(5).
    fn default() -> Self {
        Self { allow: "/etc/hosts.allow".into(), deny: "/etc/hosts.deny".into() }
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
    /// There is something to ask.
    pub fn exist(&self) -> bool {
        // a file that cannot be looked at is there, as far as anybody knows
        [&self.allow, &self.deny].into_iter().any(|path| path.try_exists().unwrap_or(true))
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
        for (path, access) in [(&self.allow, Access::Allow), (&self.deny, Access::Deny)] {
            let text = match read(path) {
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
        let files = Files { allow: dir.path().join("hosts.allow"), deny: dir.path().join("hosts.deny") };
        for (path, text) in [(&files.allow, allow), (&files.deny, deny)] {
            if let Some(text) = text {
                std::fs::write(path, text).unwrap();
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
        assert!(!files(None, None).1.exist());
        let (_dir, files) = files(None, Some(""));
        assert!(files.exist());
    }

    #[tokio::test]
    async fn rules_that_cannot_be_read_let_nobody_in() {
        let (_dir, files) = files(None, None);
        std::fs::create_dir(&files.deny).unwrap();
        let client = "127.0.0.1:40000".parse().unwrap();
        assert!(!files.ask("ser2net".into(), client, "127.0.0.1".parse().unwrap()).await.allowed);
    }
}
