//! Arguments of `serbroker attach`.

use super::Exit;
use crate::attach::{Attach, Url};
use crate::config::resolve::line_mode;
use crate::serial::settings::LineSettings;
use clap::{ArgAction, Args, ValueEnum};
use std::path::PathBuf;

pub(super) const AFTER_HELP: &str = "\
URLs:
  rfc2217://HOST:PORT   telnet with line settings, as serbroker and ser2net serve it
  telnet://HOST:PORT    telnet without line settings
  tcp://HOST:PORT       bytes alone; raw:// and socket:// are the same
  unix:///PATH          the same through a socket file
  rfc2217s:// telnets:// tls://   the same inside TLS, with ?cafile=FILE or ?insecure
An IPv6 address stands in brackets. More: ?family=4, ?cert=FILE&key=FILE (TLS).

Speed, stop bits, flow control and odd parity that a program sets on LINK travel to the far
port; size and even parity cannot be seen on a pseudo-terminal and are given by --line, and
so are modem lines by --dtr and --rts. Breaks and flushes stay here. With --cuse all of it
travels, and modem lines and counts come back.

Signals: SIGHUP connects again, SIGTERM and SIGINT end the program and remove LINK.
Exit status: 0 ended by a signal, 1 mistake in arguments, or LINK could not be made.";

/// What follows `attach`.
#[derive(Debug, Args)]
pub(super) struct AttachArgs {
    /// The far port, for instance rfc2217://host:2217
    #[arg(value_name = "URL")]
    url: String,
    /// Link to the terminal, for instance /dev/ttyV0
    #[arg(value_name = "LINK")]
    link: PathBuf,
    /// Give the terminal to this user and group
    #[arg(long = "owner", value_name = "USER[:GROUP]")]
    owner: Option<String>,
    /// Mode of the terminal in octal; 600 unless it is given, 660 with a group
    #[arg(long = "mode", value_name = "MODE")]
    mode: Option<String>,
    /// Settings before a program says others, and size and parity always: for instance 1200e71
    #[arg(long = "line", value_name = "SETTINGS")]
    line: Option<String>,
    /// Set DTR after connecting
    #[arg(long = "dtr", value_name = "on|off")]
    dtr: Option<Switch>,
    /// Set RTS after connecting
    #[arg(long = "rts", value_name = "on|off")]
    rts: Option<Switch>,
    /// Make LINK a serial device of its own (root and the module cuse): nothing is lost on the way
    #[arg(long = "cuse", action = ArgAction::SetTrue)]
    cuse: bool,
    /// Stay connected while no program has the terminal open; DTR and RTS follow its being open
    #[arg(long = "keep", action = ArgAction::SetTrue)]
    keep: bool,
    /// Log more; twice for still more
    #[arg(short = 'l', long = "verbose", action = ArgAction::Count)]
    verbose: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

impl AttachArgs {
    /// The options, and how much is to be logged.
    ///
    /// # Errors
    /// A mistake in an argument, with what to write instead.
    pub(super) fn options(self) -> Result<(Attach, u8), Exit> {
        let mistake = |text: String| Exit { text: format!("error: {text}\n"), to_stderr: true, status: 1 };
        let url: Url = self.url.parse().map_err(mistake)?;
        let (owner, group) =
            match self.owner.as_deref().map(|text| text.split_once(':').unwrap_or((text, ""))) {
                None => (None, None),
                Some(("", "")) => {
                    return Err(mistake("--owner names nobody; write --owner USER:GROUP".to_owned()));
                }
                Some((owner, group)) => (named(owner), named(group)),
            };
        let mode = self.mode.as_deref().map(mode_of).transpose().map_err(mistake)?;
        let line = self.line.as_deref().map(line_of).transpose().map_err(mistake)?;
        if !url.has_line() {
            let given =
                [("--line", line.is_some()), ("--dtr", self.dtr.is_some()), ("--rts", self.rts.is_some())];
            if let Some((name, _)) = given.iter().find(|(_, given)| *given) {
                let text =
                    format!("{name} needs an URL that carries line settings: rfc2217:// or rfc2217s://");
                return Err(mistake(text));
            }
        }
        let on = |switch: Option<Switch>| switch.map(|switch| switch == Switch::On);
        let (dtr, rts) = (on(self.dtr), on(self.rts));
        let attach = Attach {
            url,
            link: self.link,
            owner,
            group,
            mode,
            device: self.cuse,
            keep: self.keep,
            line,
            dtr,
            rts,
        };
        Ok((attach, self.verbose))
    }
}

fn named(text: &str) -> Option<String> {
    Some(text).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn mode_of(text: &str) -> Result<u32, String> {
    let digits = text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    match u32::from_str_radix(text, 8) {
        Ok(mode) if digits && mode <= 0o777 => Ok(mode),
        _ => Err(format!("--mode {text}: write it in octal, for instance --mode 660")),
    }
}

fn line_of(text: &str) -> Result<LineSettings, String> {
    match line_mode(text, LineSettings::default()) {
        Ok((line, false)) => Ok(line),
        Ok((_, true)) => Err(format!("--line {text}: there is no such speed")),
        Err(error) => Err(format!("--line: {error}; write for instance --line 1200e71")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, parse};
    use super::*;
    use crate::serial::settings::Parity;

    fn attach(words: &str) -> Result<Attach, String> {
        let words = ["serbroker", "attach"].into_iter().chain(words.split(' '));
        match parse(words) {
            Ok(Command::Attach { options, .. }) => Ok(*options),
            Ok(other) => panic!("{other:?}"),
            Err(exit) => {
                assert_eq!((exit.status, exit.to_stderr), (1, true));
                Err(exit.text)
            }
        }
    }

    #[test]
    fn options_are_read() {
        let few = attach("tcp://h:1 /dev/ttyV0").unwrap();
        assert_eq!((few.url.text(), few.link.to_str()), ("tcp://h:1", Some("/dev/ttyV0")));
        assert_eq!((few.owner, few.group, few.mode, few.keep, few.line), (None, None, None, false, None));
        let many = "rfc2217://h:1 x --owner me:us --mode 640 --line 1200e71 --dtr off --rts on --keep";
        let many = attach(many).unwrap();
        assert_eq!(
            (many.owner.as_deref(), many.group.as_deref(), many.mode),
            (Some("me"), Some("us"), Some(0o640))
        );
        let line = many.line.unwrap();
        assert_eq!((line.baud, line.size, line.parity, line.stop), (1200, 7, Parity::Even, 1));
        assert_eq!((many.dtr, many.rts, many.keep), (Some(false), Some(true), true));
        assert_eq!(attach("tcp://h:1 x --owner :us").unwrap().group.as_deref(), Some("us"));
        assert_eq!(attach("tcp://h:1 x --owner me").unwrap().owner.as_deref(), Some("me"));
    }

    #[test]
    fn mistakes_are_told_with_a_cure() {
        for (words, part) in [
            ("h:1 x", "rfc2217://host:2217"),
            ("tcp://h:1 x --owner :", "USER:GROUP"),
            ("tcp://h:1 x --mode rw", "--mode 660"),
            ("tcp://h:1 x --mode 1777", "--mode 660"),
            ("tcp://h:1 x --mode +60", "--mode 660"),
            ("tcp://h:1 x --dtr on", "--dtr needs an URL"),
            ("telnet://h:1 x --line 9600", "--line needs an URL"),
            ("rfc2217://h:1 x --line fast", "--line 1200e71"),
            ("rfc2217://h:1 x --line 99999999999", "no such speed"),
            ("rfc2217://h:1 x --dtr perhaps", "on, off"),
            ("rfc2217://h:1", "LINK"),
        ] {
            let error = attach(words).unwrap_err();
            assert!(error.contains(part), "{words}: {error}");
        }
    }
}
