//! Look-ups of host names, shared by all listeners.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// Time for which an answer is given to others that ask for the same name. It covers the start and a
/// reload; who tries again after a failure does so later than this, or soon enough after it.
const FRESH: Duration = Duration::from_secs(1);

/// What the system said; errors as kind and text, because an error cannot be shared.
type Answer = Result<Arc<[SocketAddr]>, (io::ErrorKind, String)>;

#[derive(Debug, Default)]
struct LookUp(OnceCell<(Instant, Answer)>);

impl LookUp {
    fn is_fresh(&self) -> bool {
        // one that is under way will be
        self.0.get().is_none_or(|(when, _)| when.elapsed() < FRESH)
    }
}

/// The names that are being looked up, or were a moment ago. A thousand ports on `localhost` ask the
/// system once, not a thousand times on hundreds of threads.
#[derive(Debug, Default)]
pub struct Names(Mutex<HashMap<Arc<str>, Arc<LookUp>>>);

impl Names {
    /// The addresses of `host`, with 0 for a port, as getaddrinfo(3) gives them. It may take as long
    /// as a name server does.
    ///
    /// # Errors
    /// Those of getaddrinfo(3).
    pub async fn find(&self, host: &Arc<str>) -> io::Result<Arc<[SocketAddr]>> {
        let (_, answer) = self.look_up(host).0.get_or_init(|| ask(Arc::clone(host))).await.clone();
        answer.map_err(|(kind, text)| io::Error::new(kind, text))
    }

    fn look_up(&self, host: &Arc<str>) -> Arc<LookUp> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, look_up| look_up.is_fresh());
        Arc::clone(known.entry(Arc::clone(host)).or_default())
    }
}

async fn ask(host: Arc<str>) -> (Instant, Answer) {
    let asked =
        tokio::task::spawn_blocking(move || (&*host, 0).to_socket_addrs().map(Iterator::collect)).await;
    let answer = asked.unwrap_or_else(|join| Err(io::Error::other(join)));
    (Instant::now(), answer.map_err(|e| (e.kind(), e.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_who_ask_together_share_the_answer() {
        let names = Names::default();
        let host: Arc<str> = "localhost".into();
        let (one, two) = tokio::join!(names.find(&host), names.find(&host));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert!(Arc::ptr_eq(&one, &two));
        assert!(one.iter().all(|address| address.ip().is_loopback() && address.port() == 0), "{one:?}");
    }

    #[tokio::test]
    async fn a_failure_is_told_to_all() {
        let names = Names::default();
        let host: Arc<str> = "no.such.host.invalid".into();
        let (one, two) = tokio::join!(names.find(&host), names.find(&host));
        assert_eq!(one.unwrap_err().to_string(), two.unwrap_err().to_string());
    }

    #[tokio::test]
    async fn old_answers_are_forgotten() {
        let names = Names::default();
        let host: Arc<str> = "localhost".into();
        let old = LookUp::default();
        let long_ago = Instant::now().checked_sub(FRESH).expect("the machine is up for longer");
        old.0.set((long_ago, Err((io::ErrorKind::NotFound, "of old".to_owned())))).unwrap();
        names.0.lock().unwrap().insert(Arc::clone(&host), Arc::new(old));
        assert!(names.find(&host).await.is_ok());
    }
}
