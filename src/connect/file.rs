//! Files that are read and written (`file`).

use super::open::blocking;
use super::{Channel, ConnectError};
use crate::config::connector::FilePair;
use crate::metrics::DeviceFailure;
use crate::serial::IoFailure;
use libc::O_NONBLOCK;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// An input and an output file, either of which may be missing. The runtime reads and writes them
/// on threads of their own, because files may block.
#[derive(Debug)]
pub(super) struct Files {
    input: Option<File>,
    output: Option<File>,
    /// The end of the input is the end of it all.
    ends: bool,
}

impl Files {
    pub(super) async fn open(options: &FilePair) -> Result<Self, ConnectError> {
        let FilePair { input, output, ends, create, mode } = options.clone();
        blocking(move || {
            let read = |path: &Path| regular(OpenOptions::new().read(true), path);
            let write = |path: &Path| {
                let mut how = OpenOptions::new();
                how.write(true).create(create);
                if let Some(mode) = mode {
                    // open(2) takes the umask off
                    how.mode(mode);
                }
                regular(&mut how, path)
            };
            let input = input.as_deref().map(read).transpose()?;
            let output = output.as_deref().map(write).transpose()?;
            Ok(Self { input: input.map(File::from_std), output: output.map(File::from_std), ends })
        })
        .await
    }
}

/// Opens a regular file; anything else could keep the thread that reads it for ever.
fn regular(how: &mut OpenOptions, path: &Path) -> Result<std::fs::File, ConnectError> {
    let what = format!("cannot open {}", path.display());
    let failed = |error: std::io::Error| ConnectError::io(&what, &error);
    let file = how.custom_flags(O_NONBLOCK).open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_file() {
        return Ok(file);
    }
    let message =
        format!("{}: not a regular file; use the connector dev for devices and FIFOs", path.display());
    Err(ConnectError::new(message, "Invalid data to parameter", DeviceFailure::Settings))
}

impl Channel for Files {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoFailure>> {
        let Some(input) = &mut self.input else { return Poll::Pending };
        let mut read = ReadBuf::new(buf);
        ready!(Pin::new(input).poll_read(cx, &mut read)).map_err(IoFailure::Failed)?;
        let count = read.filled().len();
        if count > 0 {
            return Poll::Ready(Ok(count));
        }
        self.input = None;
        if self.ends {
            return Poll::Ready(Err(IoFailure::Ended("the end of the input file is reached".into())));
        }
        Poll::Pending
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, IoFailure>> {
        match &mut self.output {
            Some(output) => Pin::new(output).poll_write(cx, data).map_err(IoFailure::Failed),
            None => Poll::Ready(Ok(data.len())),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoFailure>> {
        match &mut self.output {
            Some(output) => Pin::new(output).poll_flush(cx).map_err(IoFailure::Failed),
            None => Poll::Ready(Ok(())),
        }
    }
}
