//! What is peculiar to ser2net's command line: `-C` with its two meanings, and how mistakes are told.

use super::Exit;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::ffi::OsString;

/// Whether a `-C` text is the directory that ser2net 4.4 and later take it for. In all versions
/// before it is a line of the one-line format, which has colons and begins with a port or a keyword,
/// never with a path.
pub(super) fn is_directory(text: &str) -> bool {
    !text.contains(':') || text.starts_with(['/', '.', '~'])
}

/// A mistake as ser2net 4.3.11 tells it: its first line, and for most of them the options. `None`
/// when ser2net knows no such mistake.
pub(super) fn wrong_usage(error: &clap::Error, arguments: &[OsString]) -> Option<Exit> {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let (first, help) = match error.kind() {
        // it has neither of the two
        ErrorKind::DisplayHelp if arguments.iter().any(|a| a == "--help") => (invalid("--help"), true),
        ErrorKind::DisplayHelp => (invalid("-h"), true),
        ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand => {
            let word = context(ContextKind::InvalidArg).or(context(ContextKind::InvalidSubcommand))?;
            (invalid(word), true)
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let option = context(ContextKind::InvalidArg)?;
            let value = context(ContextKind::InvalidValue).filter(|value| !value.is_empty());
            match (option.split(' ').next()?, value) {
                ("--config", None) => ("No config file specified with -c".to_owned(), true),
                ("--admin", None) => ("No control port specified with -p".to_owned(), true),
                ("--pid-file", None) => ("No pid file specified with -P".to_owned(), true),
                ("--signature", None) => ("No signature specified".to_owned(), false),
                ("--threads", None) => ("No thread count specified".to_owned(), false),
                ("--threads", Some(value)) => (format!("Invalid thread count specified: {value}"), false),
                _ => return None,
            }
        }
        _ => return None,
    };
    let options = if help { super::command().render_help().to_string() } else { String::new() };
    Some(Exit { text: format!("{first}\n{options}"), to_stderr: true, status: 1 })
}

fn invalid(word: &str) -> String {
    let is_option = word.len() == 2 && word.starts_with('-') && word != "--";
    format!("Invalid {}: '{word}'", if is_option { "option" } else { "argument" })
}
