//! `serbroker demo`: simulated devices, the configuration that serves them, and commands to try.

mod device;
mod pty;
mod text;
pub mod tic;

use pty::FarEnd;
use std::fs::{self, DirBuilder};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use tokio::task::JoinSet;

/// TCP ports of the four connections when they are free.
const PORTS: [u16; 4] = [20001, 20002, 20003, 20004];
/// TCP port of the health endpoints when it is free.
const METRICS_PORT: u16 = 9717;
/// Attempts to find an unused directory name.
const DIRECTORY_ATTEMPTS: u32 = 100;

/// Running simulated devices. Dropping it ends them and removes their directory.
///
/// Every connection has a device of its own, so that all commands can be tried at the same time: one
/// device belongs to one open port.
#[derive(Debug)]
pub struct Demo {
    places: Places,
    config: PathBuf,
    _directory: Directory,
    _tasks: JoinSet<()>,
}

/// Where everything is, for the texts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Places {
    meter_raw: Place,
    meter_rfc2217: Place,
    echo_raw: Place,
    echo_rfc2217: Place,
    metrics: SocketAddr,
}

/// One connection: where to connect and the device behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    port: u16,
    device: PathBuf,
}

impl Demo {
    /// Makes the devices and starts their tasks. Needs a tokio runtime with I/O and time.
    ///
    /// # Errors
    ///
    /// No pseudo terminals, no place for the directory, or no free port on loopback.
    pub fn start() -> io::Result<Self> {
        let base = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir());
        Self::start_in(&base.unwrap_or_else(std::env::temp_dir))
    }

    /// [`Demo::start`] with the directory below `base`.
    fn start_in(base: &Path) -> io::Result<Self> {
        let directory = Directory::create(base)?;
        let mut tasks = JoinSet::new();
        let device = |name: &str| -> io::Result<(PathBuf, FarEnd)> {
            let end = FarEnd::new()?;
            let link = directory.path.join(name);
            symlink(end.path(), &link)?;
            Ok((link, end))
        };
        let (meter_raw, first) = device("meter")?;
        let (meter_rfc2217, second) = device("meter-rfc2217")?;
        let (echo_raw, third) = device("echo")?;
        let (echo_rfc2217, fourth) = device("echo-rfc2217")?;
        tasks.spawn(device::meter(first));
        tasks.spawn(device::meter(second));
        tasks.spawn(device::echo(third));
        tasks.spawn(device::echo(fourth));

        let [a, b, c, d, metrics] = free_ports([PORTS[0], PORTS[1], PORTS[2], PORTS[3], METRICS_PORT])?;
        let places = Places {
            meter_raw: Place { port: a, device: meter_raw },
            meter_rfc2217: Place { port: b, device: meter_rfc2217 },
            echo_raw: Place { port: c, device: echo_raw },
            echo_rfc2217: Place { port: d, device: echo_rfc2217 },
            metrics: (Ipv4Addr::LOCALHOST, metrics).into(),
        };
        let config = directory.path.join("serbroker.yaml");
        fs::write(&config, text::config_yaml(&places))?;
        Ok(Self { places, config, _directory: directory, _tasks: tasks })
    }

    /// The configuration file that serves the devices.
    pub fn config_file(&self) -> &Path {
        &self.config
    }

    /// What is there and which commands to try.
    pub fn instructions(&self) -> String {
        text::instructions(&self.places)
    }

    /// Address of the health endpoints.
    pub fn metrics(&self) -> SocketAddr {
        self.places.metrics
    }
}

/// For every wanted port itself, or a free one when it is taken. All are held until all are found, so
/// that none is found twice. Somebody else may take one before the broker does: then the broker says
/// so and the user tries again.
fn free_ports<const N: usize>(wanted: [u16; N]) -> io::Result<[u16; N]> {
    let mut found = [0; N];
    let mut held = Vec::with_capacity(N);
    for (port, wanted) in found.iter_mut().zip(wanted) {
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let listener = bind(wanted).or_else(|_| bind(0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(found)
}

/// A directory of our own, removed with the links in it.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
}

impl Directory {
    fn create(base: &Path) -> io::Result<Self> {
        let pid = std::process::id();
        let mut attempt = 0;
        loop {
            let path = base.join(format!("serbroker-demo-{pid}-{attempt}"));
            // fails when the name exists, whoever made it: nobody can put a link in our way
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && attempt < DIRECTORY_ATTEMPTS =>
                {
                    attempt += 1;
                }
                Err(error) => {
                    let message = format!("cannot make the directory {}: {error}", path.display());
                    return Err(io::Error::new(error.kind(), message));
                }
            }
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // if somebody removed it already, that is what was wanted
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::tic::Reading;
    use super::*;
    use std::io::ErrorKind;
    use std::time::{Duration, Instant};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_serial::SerialPortBuilderExt;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn open(device: &Path) -> tokio_serial::SerialStream {
        tokio_serial::new(device.to_str().unwrap(), 1200).open_native_async().unwrap()
    }

    async fn read_some(device: &mut tokio_serial::SerialStream, into: &mut Vec<u8>) {
        let read =
            tokio::time::timeout(PATIENCE, device.read_buf(into)).await.expect("data in time").unwrap();
        assert!(read > 0, "the line stays up");
    }

    /// Reads until a whole frame has been seen; returns it.
    async fn frame(device: &mut tokio_serial::SerialStream) -> Vec<u8> {
        let mut seen = Vec::new();
        loop {
            read_some(device, &mut seen).await;
            let Some(start) = seen.iter().position(|byte| *byte == tic::STX) else { continue };
            if let Some(length) = seen[start..].iter().position(|byte| *byte == tic::ETX) {
                return seen[start..=start + length].to_vec();
            }
        }
    }

    #[tokio::test]
    async fn the_meter_sends_frames_at_its_pace_also_to_a_second_reader() {
        let base = tempfile::tempdir().unwrap();
        let demo = Demo::start_in(base.path()).unwrap();
        let path = demo.places.meter_raw.device.clone();
        let index = |frame: &[u8]| -> u32 {
            let text = std::str::from_utf8(frame).unwrap();
            let after = text.split("\nBASE ").nth(1).unwrap();
            after[..9].parse().unwrap()
        };
        let mut device = open(&path);
        let first = frame(&mut device).await;
        let begun = Instant::now();
        let second = frame(&mut device).await;
        assert!(begun.elapsed() > Duration::from_millis(700), "paced: {:?}", begun.elapsed());
        assert_eq!(index(&second), index(&first) + 1);
        // bytes to the meter go nowhere and do no harm, however many
        for _ in 0..20 {
            device.write_all(&[b'x'; 1000]).await.unwrap();
        }
        drop(device);
        let mut device = open(&path);
        let third = frame(&mut device).await;
        assert!(index(&third) > index(&second));
        assert!(third.len() == first.len(), "{}", String::from_utf8_lossy(&third));
    }

    #[tokio::test]
    async fn nothing_old_waits_for_a_late_reader() {
        let base = tempfile::tempdir().unwrap();
        let demo = Demo::start_in(base.path()).unwrap();
        // nobody reads for several frames
        tokio::time::sleep(Duration::from_millis(2300)).await;
        let mut device = open(&demo.places.meter_raw.device);
        let mut seen = Vec::new();
        while !seen.contains(&tic::ETX) {
            read_some(&mut device, &mut seen).await;
        }
        assert!(
            seen.len() <= Reading::at(0).frame().len() + 1,
            "at most the frame under way: {}",
            seen.len()
        );
    }

    #[tokio::test]
    async fn echo_comes_back() {
        let base = tempfile::tempdir().unwrap();
        let demo = Demo::start_in(base.path()).unwrap();
        let path = &demo.places.echo_rfc2217.device;
        let mut device = open(path);
        device.write_all(b"\x00\xffhello\r\n\x03").await.unwrap();
        let mut seen = Vec::new();
        while seen.len() < 10 {
            read_some(&mut device, &mut seen).await;
        }
        assert_eq!(seen, b"\x00\xffhello\r\n\x03");
    }

    #[tokio::test]
    async fn everything_goes_with_the_demo() {
        let base = tempfile::tempdir().unwrap();
        let demo = Demo::start_in(base.path()).unwrap();
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 1);
        drop(demo);
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
        let gone = Demo::start_in(&base.path().join("no")).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
        assert!(gone.to_string().contains("serbroker-demo-"), "{gone}");
    }

    #[test]
    fn taken_ports_are_replaced() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = holder.local_addr().unwrap().port();
        let [first, second] = free_ports([taken, taken]).unwrap();
        assert!(first != taken && second != taken && first != second && first != 0);
    }
}
