//! A pyserial session, driven step by step: `tests/interop/session.py` obeys one command a line.

use super::{PATIENCE, tools};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

pub(crate) struct PySerial {
    child: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
}

/// What pyserial answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The value, or `kind: text` of the exception.
    pub(crate) result: Result<Value, String>,
    /// How long it took.
    pub(crate) ms: f64,
}

impl PySerial {
    /// `None` when there is no pyserial.
    #[track_caller]
    pub(crate) fn start() -> Option<Self> {
        tools::python().map(Self::with)
    }

    /// With this Python, whose pyserial may be another.
    pub(crate) fn with(python: PathBuf) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/session.py");
        let mut child =
            Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = child.stdout.take().unwrap();
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { commands: child.stdin.take().unwrap(), child, answers }
    }

    /// Sends a command without waiting for its answer.
    pub(crate) fn begin(&mut self, command: &Value) {
        writeln!(self.commands, "{command}").unwrap();
    }

    /// The answer to the command before.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        let line = self.answers.recv_timeout(PATIENCE).expect("an answer of session.py");
        let answer: Value = serde_json::from_str(&line).unwrap();
        let result = match answer["error"].as_str() {
            Some(text) => Err(text.to_owned()),
            None => Ok(answer["value"].clone()),
        };
        Answer { result, ms: answer["ms"].as_f64().unwrap() }
    }

    /// A command that must not fail: `name` of session.py with `arguments`; its value and time.
    #[track_caller]
    pub(crate) fn run(&mut self, name: &str, arguments: impl Into<Value>) -> Answer {
        let command = json!([name, arguments.into()]);
        self.begin(&command);
        let answer = self.answer();
        assert!(answer.result.is_ok(), "{command}: {answer:?}");
        answer
    }

    /// [`PySerial::run`], the value alone.
    #[track_caller]
    pub(crate) fn value(&mut self, name: &str, arguments: impl Into<Value>) -> Value {
        self.run(name, arguments).result.unwrap()
    }

    /// Writes and reads bytes.
    #[track_caller]
    pub(crate) fn write(&mut self, data: &[u8]) {
        assert_eq!(self.value("write", json!(hex(data))), json!(data.len()));
    }

    #[track_caller]
    pub(crate) fn read(&mut self, length: usize) -> Vec<u8> {
        let text = self.value("read", json!(length));
        unhex(text.as_str().unwrap())
    }
}

impl Drop for PySerial {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn hex(data: &[u8]) -> String {
    data.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |i: usize| u8::from_str_radix(&text[i..i + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}
