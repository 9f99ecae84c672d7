//! Programs that are talked to by their standard input and output (`stdio`).

use super::open::Stack;
use super::reaper::Running;
use super::{Channel, ConnectError};
use crate::config::connector::{CommandLine, ErrorOutput, Program};
use crate::log::RepeatLimiter;
use crate::serial::IoFailure;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;
use tokio::time::{Sleep, sleep};
use tracing::info;

/// After the end of its output a program is waited for so long, to tell how it ended.
const EXIT_LIMIT: Duration = Duration::from_millis(300);
/// Bytes of a line of error output that are logged.
const LINE_MAX: usize = 1000;
/// Lines of error output that are logged in [`LINES_WINDOW`].
const LINES_MAX: usize = 100;
const LINES_WINDOW: Duration = Duration::from_secs(60);

/// A command that is ready to be started, but for its standard streams.
pub(super) fn command(line: &CommandLine) -> Command {
    let CommandLine { arguments, directory } = line;
    let (program, rest) = arguments.split_first().map_or(("", &[][..]), |(p, rest)| (p.as_str(), rest));
    let mut command = Command::new(program);
    command.args(rest);
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    command
}

/// What the log says of a program that cannot be started.
pub(super) fn not_started(command: &Command, error: &io::Error) -> ConnectError {
    let name = command.get_program().to_string_lossy();
    let place = command.get_current_dir().map_or_else(String::new, |dir| format!(" in {}", dir.display()));
    // ser2net finds out in the child, when the client has been let in already
    ConnectError::io(&format!("cannot start the program {name}{place}"), error).silent()
}

/// A program by its pipes.
#[derive(Debug)]
struct Piped {
    /// None once it is closed.
    input: Option<pipe::Sender>,
    output: pipe::Receiver,
    running: Running,
    /// Its output has ended; until then it has time to end itself.
    ended: Option<Pin<Box<Sleep>>>,
}

/// Starts a program.
pub(super) fn start(stack: &Stack, options: &Program) -> Result<Box<dyn Channel>, ConnectError> {
    let Program { command: line, errors } = options;
    let mut command = command(line);
    let mut pipes = || -> io::Result<_> {
        // all of them are closed in other programs that we start
        let (child_input, input) = io::pipe()?;
        let (output, child_output) = io::pipe()?;
        let mut error_output = None;
        command.stderr(match errors {
            ErrorOutput::Inherit => Stdio::inherit(),
            ErrorOutput::Output => child_output.try_clone()?.into(),
            ErrorOutput::Log => {
                let (ours, theirs) = io::pipe()?;
                error_output = Some(pipe::Receiver::from_owned_fd(OwnedFd::from(ours))?);
                theirs.into()
            }
        });
        command.stdin(child_input).stdout(child_output);
        let input = pipe::Sender::from_owned_fd(input.into())?;
        let output = pipe::Receiver::from_owned_fd(output.into())?;
        Ok((input, output, error_output))
    };
    let (input, output, error_output) =
        pipes().map_err(|error| ConnectError::io("cannot make pipes for the program", &error))?;
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut command = tokio::process::Command::from(command);
    let child = command.spawn().map_err(|error| not_started(command.as_std(), &error))?;
    let running = Running::new(child, Arc::clone(stack.port()));
    if let Some(pipe) = error_output {
        tokio::spawn(log_errors(pipe, Arc::clone(stack.port())));
    }
    Ok(Box::new(Piped { input: Some(input), output, running, ended: None }))
}

impl Channel for Piped {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoFailure>> {
        if self.ended.is_none() {
            let mut read = ReadBuf::new(buf);
            ready!(Pin::new(&mut self.output).poll_read(cx, &mut read)).map_err(IoFailure::Failed)?;
            if !read.filled().is_empty() {
                return Poll::Ready(Ok(read.filled().len()));
            }
        }
        let limit = self.ended.get_or_insert_with(|| Box::pin(sleep(EXIT_LIMIT)));
        let how = match self.running.poll_exit(cx) {
            Poll::Ready(Some(status)) => format!("the program has ended ({status})").into(),
            Poll::Ready(None) => "the program has ended".into(),
            Poll::Pending => {
                ready!(limit.as_mut().poll(cx));
                "the program has closed its output".into()
            }
        };
        Poll::Ready(Err(IoFailure::Ended(how)))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, IoFailure>> {
        let Some(input) = &mut self.input else { return Poll::Ready(Ok(data.len())) };
        match ready!(Pin::new(input).poll_write(cx, data)) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                // it may still have something to say; its end is seen by reading
                self.input = None;
                Poll::Ready(Ok(data.len()))
            }
            other => Poll::Ready(other.map_err(IoFailure::Failed)),
        }
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<()> {
        self.input = None;
        Poll::Ready(())
    }
}

/// Brings the error output of a program into the log, line by line, until its end.
async fn log_errors(mut pipe: pipe::Receiver, port: Arc<str>) {
    let mut limiter = RepeatLimiter::<usize>::new(LINES_WINDOW, LINES_MAX);
    let mut line = Vec::new();
    let mut chunk = [0; 1024];
    let mut number = 0;
    while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
        for &byte in &chunk[..count] {
            if byte == b'\n' {
                log_line(&port, &line, number, &mut limiter);
                number = (number + 1) % LINES_MAX;
                line.clear();
            } else if line.len() < LINE_MAX {
                line.push(byte);
            }
        }
    }
    if !line.is_empty() {
        log_line(&port, &line, number, &mut limiter);
    }
}

/// Every one of [`LINES_MAX`] lines in turn is a complaint of its own, so that no more of them than
/// that are logged in a window.
fn log_line(port: &str, line: &[u8], number: usize, limiter: &mut RepeatLimiter<usize>) {
    if let Some(left_out) = limiter.occurs(&number, Instant::now()) {
        let text: String = String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).collect();
        info!(port = %port, "the program says: {text}{}", crate::log::LeftOut(left_out));
    }
}
