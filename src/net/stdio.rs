//! Standard input and output as a client.

use crate::config::StdioListen;
use nix::sys::termios::{self, SetArg, Termios};
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncWrite, Stdout};
use tokio::sync::mpsc::{self, Receiver};

/// Bytes read from standard input at a time.
const CHUNK: usize = 4096;
/// Chunks that wait for the device.
const CHUNKS: usize = 4;

/// Standard input is there once in a process.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Both of them.
#[derive(Debug)]
pub struct Stdio {
    input: Receiver<io::Result<Vec<u8>>>,
    /// What was taken from `input` and not read yet, and how much of it was.
    chunk: (Vec<u8>, usize),
    output: Stdout,
    /// What the terminal was like before raw mode.
    before: Option<Termios>,
}

impl Stdio {
    /// Takes standard input and output, once in the life of the process.
    ///
    /// # Errors
    /// They are taken, or raw mode is asked for where there is no terminal.
    pub(super) fn take(config: StdioListen) -> io::Result<Self> {
        let before = if config.raw { Some(raw_mode()?) } else { None };
        if TAKEN.swap(true, Ordering::AcqRel) {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "standard input was in use before"));
        }
        let (sender, input) = mpsc::channel(CHUNKS);
        // A thread of its own: standard input may be a file, a terminal that is shared with a shell,
        // or anything else that cannot be made non-blocking. It is not waited for at the end.
        std::thread::Builder::new().name("stdin".into()).spawn(move || {
            let mut buf = [0; CHUNK];
            loop {
                let chunk = match io::stdin().lock().read(&mut buf) {
                    Ok(0) => return,
                    Ok(n) => Ok(buf.get(..n).unwrap_or_default().to_vec()),
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    Err(e) => Err(e),
                };
                let failed = chunk.is_err();
                if sender.blocking_send(chunk).is_err() || failed {
                    return;
                }
            }
        })?;
        Ok(Self { input, chunk: (Vec::new(), 0), output: tokio::io::stdout(), before })
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.chunk.1 == self.chunk.0.len() {
            match ready!(self.input.poll_recv(cx)) {
                None => return Poll::Ready(Ok(0)),
                Some(chunk) => self.chunk = (chunk?, 0),
            }
        }
        let (bytes, taken) = &mut self.chunk;
        let rest = bytes.get(*taken..).unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        *taken += count;
        Poll::Ready(Ok(count))
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.output).poll_write(cx, data)
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_flush(cx)
    }
}

impl Drop for Stdio {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // a terminal that is gone needs no mode
            let _ = termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, before);
        }
    }
}

/// Puts the terminal of standard input into raw mode; returns what it was like.
fn raw_mode() -> io::Result<Termios> {
    let before = termios::tcgetattr(io::stdin())?;
    let mut raw = before.clone();
    termios::cfmakeraw(&mut raw);
    termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &raw)?;
    Ok(before)
}
