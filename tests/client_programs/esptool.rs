//! esptool flashes ESP32s (simulated by `tests/interop/esp32.py`) behind RFC 2217 ports.
//!
//! It is a matter of minutes: pyserial sets the whole line, and waits, before and after each command of
//! esptool. So boards are flashed at the same time.

use crate::delay;
use crate::support::shim::Shim;
use crate::support::{Broker, Process, connection, free_port, pattern, tools, until};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Time that one run of esptool may take.
const LIMIT: Duration = Duration::from_secs(300);
/// Where the image goes, and its length: no multiple of any block.
const OFFSET: usize = 0x1_0000;
const LENGTH: usize = 20_007;

/// Without it esptool waits 0.1 s for its first answer and 0.2 s for the one before the stub runs, which
/// is not enough for a network of 50 ms.
const CONFIG: &str = "[esptool]\nsync_timeout = 1\nmem_end_rom_timeout = 1\n";

/// How a chip is connected.
#[derive(Clone, Copy)]
enum Circuit {
    /// No modem lines: it is in the boot loader for ever.
    None,
    /// DTR and RTS reset it and choose what it starts; EN rises so long after it was let go.
    Usual(Duration),
}

/// The circuit of the boards that one can buy: a capacitor of some milliseconds, while pyserial takes 50
/// and more from one line to the other.
const USUAL: Circuit = Circuit::Usual(Duration::from_millis(5));
/// What makes up for it.
const TOGETHER: &[&str] = &["dtr-with-rts: true"];

/// A chip with its port.
struct Board {
    chip: Process,
    port: u16,
    dir: tempfile::TempDir,
}

/// Boards behind one broker.
struct Lab {
    python: PathBuf,
    boards: Vec<Board>,
    _broker: Broker,
    shim: Option<Shim>,
}

impl Lab {
    fn new(number: usize, circuit: Circuit, options: &[&str]) -> Option<Self> {
        let python = tools::esptool_python()?;
        let shim = match circuit {
            Circuit::None => None,
            Circuit::Usual(_) => Some(Shim::build()?),
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/esp32.py");
        let mut config = String::new();
        let mut boards = Vec::new();
        for n in 0..number {
            let dir = tempfile::tempdir().unwrap();
            let mut command = Command::new(&python);
            command.arg(&script).arg(dir.path().join("flash")).stdin(Stdio::piped());
            if let (Circuit::Usual(rise), Some(shim)) = (circuit, &shim) {
                command.arg("--lines").arg(shim.dir()).arg("--rise").arg(rise.as_secs_f64().to_string());
            }
            let chip = Process::start(&mut command);
            let device = until("the chip", || chip.stdout.find(&["/dev/"]));
            let port = free_port();
            let accepter = format!("telnet(rfc2217),tcp,127.0.0.1,{port}");
            config.push_str(&connection(&format!("board{n}"), &accepter, &device, options));
            boards.push(Board { chip, port, dir });
        }
        let broker = Broker::start_with(&config, |command| {
            if let Some(shim) = &shim {
                shim.preload(command);
            }
        });
        Some(Self { python, boards, _broker: broker, shim })
    }

    fn only(&self) -> &Board {
        assert_eq!(self.boards.len(), 1);
        &self.boards[0]
    }
}

impl Board {
    /// Runs esptool on `port`, which leads here.
    fn try_esptool(&self, python: &Path, port: u16, arguments: &[&str]) -> (Output, Duration) {
        let begun = Instant::now();
        let url = format!("rfc2217://127.0.0.1:{port}");
        let mut command = Command::new(python);
        command.args(["-m", "esptool", "--chip", "esp32", "--port", &url]).args(arguments);
        let config = self.dir.path().join("esptool.cfg");
        std::fs::write(&config, CONFIG).unwrap();
        command.stdin(Stdio::null()).current_dir(self.dir.path()).env("ESPTOOL_CFGFILE", config);
        let output = command.output().unwrap();
        assert!(begun.elapsed() < LIMIT, "esptool {arguments:?} took {:?}", begun.elapsed());
        (output, begun.elapsed())
    }

    /// The same; returns what it said and how long it took.
    #[track_caller]
    fn esptool(&self, python: &Path, port: u16, arguments: &[&str]) -> (String, Duration) {
        let (output, time) = self.try_esptool(python, port, arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "esptool {arguments:?}: {}\n{text}\n{}\n--- chip\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr),
            self.chip.stdout.text()
        );
        (text, time)
    }

    /// Writes an image, which is then in the chip byte by byte.
    #[track_caller]
    fn write(&self, python: &Path, port: u16, image: &[u8], options: &[&str]) -> Duration {
        let file = self.dir.path().join("image");
        std::fs::write(&file, image).unwrap();
        let last = ["write-flash", &format!("{OFFSET:#x}"), file.to_str().unwrap()];
        let (text, time) = self.esptool(python, port, &[options, &last].concat());
        assert!(text.contains("Hash of data verified"), "{text}");
        let flash = std::fs::read(self.dir.path().join("flash")).unwrap();
        assert!(flash[OFFSET..OFFSET + image.len()] == *image, "the flash has other bytes");
        time
    }

    /// Reads it back.
    #[track_caller]
    fn read(&self, python: &Path, port: u16, image: &[u8], options: &[&str]) -> Duration {
        let file = self.dir.path().join("back");
        let (at, length) = (format!("{OFFSET:#x}"), image.len().to_string());
        let last = ["read-flash", &at, &length, file.to_str().unwrap()];
        let (_, time) = self.esptool(python, port, &[options, &last].concat());
        assert!(std::fs::read(&file).unwrap() == image, "other bytes were read");
        time
    }

    /// No byte was lost or came at the wrong speed.
    #[track_caller]
    fn assert_clean(&self) {
        let told = self.chip.stdout.text();
        for bad in ["bad", "garbage"] {
            assert!(!told.contains(bad), "{told}");
        }
    }
}

#[test]
fn a_chip_in_its_boot_loader_is_identified_written_and_read() {
    let Some(lab) = Lab::new(1, Circuit::None, &[]) else { return };
    let board = lab.only();
    // no modem lines: it stays as it is
    let stay = ["--before", "no-reset", "--after", "no-reset", "--no-stub"];
    let (text, identified) = board.esptool(&lab.python, board.port, &[&stay[..], &["flash-id"]].concat());
    for part in ["24:0a:c4:12:34:56", "Manufacturer: ef", "Device: 4016", "4MB"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let image = &pattern(LENGTH, 1)[..4000];
    let written = board.write(&lab.python, board.port, image, &stay);
    eprintln!("esptool without a stub: identified in {identified:.1?}, 4000 bytes written in {written:.1?}");
    board.assert_clean();
}

#[test]
fn a_board_is_reset_loaded_with_the_stub_written_at_460800_and_read_at_921600() {
    let Some(lab) = Lab::new(1, USUAL, TOGETHER) else { return };
    let board = lab.only();
    let image = pattern(LENGTH, 2);
    let written = board.write(&lab.python, board.port, &image, &["--baud", "460800"]);
    let read = board.read(&lab.python, board.port, &image, &["--baud", "921600"]);
    eprintln!("esptool: {LENGTH} bytes written in {written:.1?}, read in {read:.1?}");
    board.assert_clean();
    let told = &board.chip.stdout;
    told.wait_count(&["loaded program runs"], 2);
    assert!(told.find(&["speed 460800"]).is_some() && told.find(&["speed 921600"]).is_some());
    // into the boot loader and out of it, each time
    wait_for_program(board, 2);
    // the order in which the lines went: reset held; let go with IO0 pulled down; IO0 let go
    let calls = lab.shim.as_ref().map(Shim::calls).unwrap_or_default();
    let mut edges: Vec<&str> = calls.lines().filter(|call| call.starts_with("TIOCM")).collect();
    edges.dedup();
    let entry = ["TIOCMSET RTS", "TIOCMSET DTR", "TIOCMSET 0"];
    assert!(edges.windows(entry.len()).any(|window| window == entry), "{edges:?}");
}

#[track_caller]
fn wait_for_program(board: &Board, times: usize) {
    let told = &board.chip.stdout;
    until("the program starts", || (told.count(&["reset program"]) >= times).then_some(()));
}

/// Twenty boards at the same time, half of them behind a network that delays by 50 ms each way.
#[test]
#[ignore = "three minutes long: run by tests/run"]
fn twenty_of_twenty_boards_are_flashed_half_of_them_over_a_slow_network() {
    let Some(lab) = Lab::new(20, USUAL, TOGETHER) else { return };
    let python = &lab.python;
    let flash = |(n, board): (usize, &Board)| {
        let image = pattern(LENGTH, u32::try_from(n).unwrap());
        let far = n % 2 == 1;
        let port = if far { delay::proxy(board.port, Duration::from_millis(50)) } else { board.port };
        let speed = if far { "921600" } else { "460800" };
        let written = board.write(python, port, &image, &["--baud", speed]);
        board.assert_clean();
        wait_for_program(board, 1);
        (far, written)
    };
    let times: Vec<(bool, Duration)> = std::thread::scope(|scope| {
        let all: Vec<_> = lab.boards.iter().enumerate().map(|one| scope.spawn(move || flash(one))).collect();
        all.into_iter().map(|board| board.join().unwrap()).collect()
    });
    assert_eq!(times.len(), 20);
    for (what, wanted) in [("near", false), ("50 ms away", true)] {
        let mut some: Vec<Duration> = times.iter().filter(|(far, _)| *far == wanted).map(|t| t.1).collect();
        some.sort();
        let (first, last) = (some[0], some[some.len() - 1]);
        eprintln!("esptool, boards {what}: {} of 10 written, in {first:.1?} to {last:.1?}", some.len());
    }
}
