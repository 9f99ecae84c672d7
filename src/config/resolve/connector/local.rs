//! What is on this machine at the bottom of connector strings: pseudo-terminals, programs, files.

use super::Ends;
use crate::config::connector::{CommandLine, DevNode, Echo, ErrorOutput, FilePair, Program, Pty};
use crate::config::options::Value;
use crate::config::resolve::report::sub_span;
use std::path::PathBuf;

pub(super) fn dev(ends: &mut Ends<'_>) -> Option<DevNode> {
    let mut dev = DevNode { path: PathBuf::from(ends.tail()), reads: true, writes: true };
    for setting in ends.settings("dev") {
        match (setting.row.name, setting.value) {
            ("rdonly", Value::Bool(on)) => dev.writes = !on,
            ("wronly", Value::Bool(on)) => dev.reads = !on,
            _ => {}
        }
    }
    if dev.path.as_os_str().is_empty() {
        ends.missing("the device", "dev,/dev/usb/lp0");
        return None;
    }
    if !dev.reads && !dev.writes {
        ends.report.error(ends.text.span.clone(), "rdonly and wronly exclude each other", None);
        return None;
    }
    Some(dev)
}

pub(super) fn pty(ends: &mut Ends<'_>) -> Option<Pty> {
    let mut pty = Pty {
        link: None,
        force_link: false,
        raw: false,
        mode: None,
        owner: None,
        group: None,
        command: None,
    };
    let mut mode = Mode::default();
    let mut directory = None;
    let mut of_unattached = None;
    for setting in ends.settings("pty") {
        let name = setting.row.name;
        if !matches!(name, "start-dir" | "raw") {
            of_unattached = Some((name, setting.span));
        }
        match (name, setting.value) {
            ("link", Value::Text(text)) => pty.link = Some(PathBuf::from(text)),
            ("forcelink", Value::Bool(on)) => pty.force_link = on,
            ("raw", Value::Bool(on)) => pty.raw = on,
            ("owner", Value::Text(text)) => pty.owner = Some(text.into()),
            ("group", Value::Text(text)) => pty.group = Some(text.into()),
            ("start-dir", Value::Text(text)) => directory = Some(PathBuf::from(text)),
            (name, Value::Mode(value)) => mode.set(name, value),
            _ => {}
        }
    }
    pty.mode = mode.bits();
    let arguments = arguments(ends)?;
    if !arguments.is_empty() {
        if let Some((name, span)) = of_unattached {
            let help = Some("leave the program away, or the option".to_owned());
            ends.report.error(span, format!("{name} is for a pty without a program"), help);
            return None;
        }
        pty.command = Some(CommandLine { arguments, directory });
    }
    Some(pty)
}

pub(super) fn program(ends: &mut Ends<'_>) -> Option<Program> {
    let (mut directory, mut errors) = (None, ErrorOutput::Log);
    for setting in ends.settings("stdio") {
        match (setting.row.name, setting.value) {
            ("start-dir", Value::Text(text)) => directory = Some(PathBuf::from(text)),
            ("noredir-stderr", Value::Bool(true)) => errors = ErrorOutput::Inherit,
            ("stderr-to-stdout", Value::Bool(true)) => errors = ErrorOutput::Output,
            _ => {}
        }
    }
    let arguments = arguments(ends)?;
    if arguments.is_empty() {
        ends.missing("the program", "stdio,/usr/bin/program argument");
        return None;
    }
    Some(Program { command: CommandLine { arguments, directory }, errors })
}

pub(super) fn echo(ends: &mut Ends<'_>) -> Echo {
    let mut echo = Echo { echoes: true, data: None };
    for setting in ends.settings("echo") {
        match (setting.row.name, setting.value) {
            ("noecho", Value::Bool(on)) => echo.echoes = !on,
            ("data", Value::Text(text)) => echo.data = Some(text.into()),
            _ => {}
        }
    }
    ends.nothing_behind("echo");
    echo
}

pub(super) fn file(ends: &mut Ends<'_>) -> FilePair {
    let mut file = FilePair { input: None, output: None, ends: true, create: false, mode: None };
    let mut mode = Mode::default();
    for setting in ends.settings("file") {
        match (setting.row.name, setting.value) {
            ("infile", Value::Text(text)) => file.input = Some(PathBuf::from(text)),
            ("outfile", Value::Text(text)) => file.output = Some(PathBuf::from(text)),
            ("read_close", Value::Bool(on)) => file.ends = on,
            ("create", Value::Bool(on)) => file.create = on,
            (name, Value::Mode(value)) => mode.set(name, value),
            _ => {}
        }
    }
    file.mode = mode.bits();
    if file.input.is_none() && file.output.is_none() {
        let help = Some("write for instance file(infile=/path,outfile=/path)".to_owned());
        ends.report.warning(ends.text.span.clone(), "file without infile and outfile does nothing", help);
    }
    ends.nothing_behind("file");
    file
}

/// A file mode as it is gathered from options.
#[derive(Default)]
struct Mode {
    whole: Option<u32>,
    user: Option<u32>,
    group: Option<u32>,
    others: Option<u32>,
}

impl Mode {
    fn set(&mut self, name: &str, value: u32) {
        *match name {
            "umode" => &mut self.user,
            "gmode" => &mut self.group,
            "omode" => &mut self.others,
            _ => &mut self.whole,
        } = Some(value);
    }

    /// All of it; a part that nothing is said of is 6 when something is said of another (gensio(5)).
    fn bits(&self) -> Option<u32> {
        let part = |part: Option<u32>| part.unwrap_or(6);
        let parts = [self.user, self.group, self.others];
        match (self.whole, parts.iter().any(Option::is_some)) {
            (Some(whole), _) => Some(whole),
            (None, true) => Some(parts.into_iter().fold(0, |mode, p| mode << 3 | part(p))),
            (None, false) => None,
        }
    }
}

/// The command line behind the type, which may be empty; `None`, reported, when it is broken.
fn arguments(ends: &mut Ends<'_>) -> Option<Vec<String>> {
    let text = ends.tail().to_owned();
    match split(&text) {
        Ok(list) if list.is_empty() => Some(list),
        Ok(list) if list.iter().any(|word| word.contains('\0')) || matches!(list[0].as_str(), "" | "-") => {
            ends.report.error(ends.text.span.clone(), "the program has no name", None);
            None
        }
        Ok(list) => Some(list),
        Err(what) => {
            let place = ends.stack.tail.as_ref().map_or(0..ends.text.value.len(), |tail| tail.place.clone());
            ends.report.error(sub_span(ends.text, &place), what, None);
            None
        }
    }
}

/// Splits a command line at blanks, with quotes and backslashes as gensio(5) reads them.
fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut list = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(char::is_ascii_whitespace).is_some() {}
        if chars.peek().is_none() {
            return Ok(list);
        }
        let mut word = String::new();
        let mut quote = None;
        loop {
            match (chars.next(), quote) {
                (None, Some(_)) => return Err("a quote is not closed"),
                (None, None) => break,
                (Some('\\'), _) => word.push(chars.next().ok_or("nothing follows the backslash")?),
                (Some(c), Some(open)) if c == open => quote = None,
                (Some(c @ ('"' | '\'')), None) => quote = Some(c),
                (Some(c), None) if c.is_ascii_whitespace() => break,
                (Some(c), _) => word.push(c),
            }
        }
        list.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let words = |text| split(text).unwrap();
        assert_eq!(words(" sh -c \"echo a,b\" 'x y'\\ z\t"), ["sh", "-c", "echo a,b", "x y z"]);
        assert_eq!(words("a\"b c\"d \"\" e"), ["ab cd", "", "e"]);
        assert_eq!(words("\"a\\\"b\" c\\\\"), ["a\"b", "c\\"]);
        assert!(words("  ").is_empty());
        for text in ["a \"b", "'", "a\\"] {
            assert!(split(text).is_err(), "{text}");
        }
    }

    #[test]
    fn modes() {
        let of = |parts: &[(&str, u32)]| {
            let mut mode = Mode::default();
            for (name, value) in parts {
                mode.set(name, *value);
            }
            mode.bits()
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("perm", 0o640)]), Some(0o640));
        assert_eq!(of(&[("umode", 7)]), Some(0o766));
        assert_eq!(of(&[("gmode", 0), ("omode", 4)]), Some(0o604));
        assert_eq!(of(&[("gmode", 0), ("perm", 0o600)]), Some(0o600));
    }
}
