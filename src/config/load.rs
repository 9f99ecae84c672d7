//! From files and command line texts to a [`RawFile`].

use super::error::{Diagnostic, Severity, Source, Span};
use super::files::{self, MAX_FILE};
use super::raw::{Origin, RawAdmin, RawFile, RawOption, RawValue, Spanned};
use super::{legacy, yaml};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the configuration comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// `-c`: the main file, YAML or legacy.
    pub file: Option<PathBuf>,
    /// `-Y`: pieces of YAML. They are strung together as one text, read after the file.
    pub yaml: Vec<String>,
    /// `-C`: legacy lines, read after the file.
    pub legacy: Vec<String>,
    /// `-p`: the accepter of the admin port, before any other.
    pub admin: Option<String>,
    /// `-C`: the directory with the key and the certificate of accepters that name none.
    pub keys: Option<PathBuf>,
}

/// Most diagnostics that are kept.
pub const MAX_DIAGNOSTICS: usize = 1000;

/// The two formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// ser2net.yaml(5).
    Yaml,
    /// ser2net.conf: one line a port.
    Legacy,
}

/// Reads everything. All mistakes are reported at once; what is not hit by one is in the result.
///
/// With a diagnostic of [`Severity::Fatal`] the configuration cannot be used as a whole.
pub fn load(inputs: &Inputs) -> (RawFile, Vec<Diagnostic>) {
    let mut yaml = yaml::Session::default();
    let mut lines = legacy::Session::default();
    let mut problems = Vec::new();
    // the format of the file decides which of the two comes first
    let mut yaml_first = true;
    if let Some(path) = &inputs.file {
        match files::read(path, MAX_FILE) {
            Err(problem) => problems.push(fatal(problem.message, problem.help)),
            Ok(text) if text.trim_start_matches('\u{feff}').trim().is_empty() => {
                let help = "write connections into it; a comment line alone would do for none";
                let message = format!("{} is empty", path.display());
                problems.push(fatal(message, Some(help.to_owned())));
            }
            Ok(text) => {
                let source = Arc::new(Source::new(path.display().to_string(), text));
                match recognise(&source.text, path) {
                    Format::Yaml => yaml.read(&source, Some(path)),
                    Format::Legacy => {
                        yaml_first = false;
                        lines.read(&source);
                    }
                }
            }
        }
    }
    if !inputs.yaml.is_empty() {
        let text: String = inputs.yaml.iter().map(|text| snippet(text) + "\n").collect();
        yaml.read(&Arc::new(Source::new("-Y", text)), None);
    }
    for line in &inputs.legacy {
        lines.read(&Arc::new(Source::new("-C", line.as_str())));
    }
    let parts = [(yaml.file, yaml.diagnostics), (lines.file, lines.diagnostics)];
    let mut file = RawFile::default();
    file.admins.extend(inputs.admin.as_deref().map(flag_admin));
    let mut diagnostics = problems;
    let [first, second] = parts;
    for (part, found) in if yaml_first { [first, second] } else { [second, first] } {
        file.connections.extend(part.connections);
        file.rotators.extend(part.rotators);
        file.admins.extend(part.admins);
        file.settings.extend(part.settings);
        file.leds.extend(part.leds);
        diagnostics.extend(found);
    }
    if let Some(dir) = &inputs.keys {
        default_keys(&mut file, dir);
    }
    drop_duplicates(&mut file, &mut diagnostics);
    limit(&mut diagnostics);
    let silent = diagnostics.iter().all(|d| d.severity == Severity::Warning);
    if silent && file.connections.is_empty() {
        diagnostics.push(Diagnostic {
            later: false,
            severity: Severity::Warning,
            span: None,
            message: match &inputs.file {
                Some(path) => format!("{} holds no connection", path.display()),
                None => "the configuration holds no connection".to_owned(),
            },
            help: None,
            connection: None,
        });
    }
    (file, diagnostics)
}

/// The admin port of the command line.
fn flag_admin(accepter: &str) -> RawAdmin {
    let place = Span { source: Arc::new(Source::new("-p", accepter)), start: 0, end: accepter.len() };
    RawAdmin {
        accepter: Spanned { value: accepter.to_owned(), span: place.clone() },
        place,
        defaults: Vec::new(),
        options: Vec::new(),
    }
}

/// Gives every connection and the admin port the key and the certificate of `dir` as defaults, which weigh less than
/// defaults of the file.
fn default_keys(file: &mut RawFile, dir: &Path) {
    let source = Arc::new(Source::new("-C", dir.display().to_string()));
    let span = Span { start: 0, end: source.text.len(), source };
    let default = |(option, name): (&str, &str)| RawOption {
        name: Spanned { value: format!("ssl:{option}"), span: span.clone() },
        value: Some(Spanned {
            value: RawValue::Scalar(dir.join(name).display().to_string()),
            span: span.clone(),
        }),
    };
    let connections = file.connections.iter_mut().map(|connection| &mut connection.defaults);
    for defaults in connections.chain(file.admins.iter_mut().map(|admin| &mut admin.defaults)) {
        let keys = [("key", "ser2net.key"), ("cert", "ser2net.crt")].map(default);
        defaults.splice(0..0, keys);
    }
}

/// What one text holds.
pub(super) struct Text {
    pub(super) file: RawFile,
    /// What is wrong with it.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Files that it includes, themselves or in turn, each with the place that names it.
    pub(super) inclusions: Vec<(Span, Arc<Source>)>,
}

/// Reads one text that is there already; `path` decides where included files are looked for.
pub(super) fn load_source(source: &Arc<Source>, path: &Path) -> Text {
    let (mut file, mut diagnostics, inclusions) = match recognise(&source.text, path) {
        Format::Yaml => {
            let mut session = yaml::Session::default();
            session.read(source, Some(path));
            (session.file, session.diagnostics, session.inclusions)
        }
        Format::Legacy => {
            let mut session = legacy::Session::default();
            session.read(source);
            (session.file, session.diagnostics, Vec::new())
        }
    };
    drop_duplicates(&mut file, &mut diagnostics);
    Text { file, diagnostics, inclusions }
}

/// Keeps the first diagnostics and every fatal one: nobody reads thousands.
fn limit(diagnostics: &mut Vec<Diagnostic>) {
    let Some(more) = diagnostics.len().checked_sub(MAX_DIAGNOSTICS).filter(|more| *more > 0) else { return };
    let rest = diagnostics.split_off(MAX_DIAGNOSTICS);
    let worst = rest.iter().map(|d| d.severity).max().unwrap_or(Severity::Warning);
    let unseen_fatal = rest.into_iter().find(|d| d.severity == Severity::Fatal);
    diagnostics.extend(unseen_fatal);
    diagnostics.push(Diagnostic {
        later: false,
        severity: worst.min(Severity::Error),
        span: None,
        message: format!("{more} more mistakes are not shown"),
        help: None,
        connection: None,
    });
}

fn fatal(message: String, help: Option<String>) -> Diagnostic {
    Diagnostic { severity: Severity::Fatal, span: None, message, help, connection: None, later: false }
}

/// The format of a text. The content decides; the name of the file is asked only when no line says
/// anything.
pub fn recognise(text: &str, path: &Path) -> Format {
    let significant = text
        .trim_start_matches('\u{feff}')
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    for line in significant {
        let marker = ["%YAML", "%TAG", "---", "- ", "{", "["].iter().any(|m| line.starts_with(m));
        if marker || is_yaml_key(line) {
            return Format::Yaml;
        }
        if legacy::looks_legacy(line.trim()) {
            return Format::Legacy;
        }
    }
    match path.extension().and_then(|e| e.to_str()) {
        Some(e) if e.eq_ignore_ascii_case("yaml") || e.eq_ignore_ascii_case("yml") => Format::Yaml,
        _ => Format::Legacy,
    }
}

/// `word:` with a blank or nothing behind it, or a key of the main level without its blank.
fn is_yaml_key(line: &str) -> bool {
    let line = line.trim();
    let Some((word, after)) = line.split_once(':') else { return false };
    let word = word.trim_matches(['"', '\'']).trim_end();
    let plain = word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let ends = after.is_empty() || after.starts_with([' ', '\t']);
    plain && (ends && !legacy::looks_legacy(line) || yaml::is_main_key(word))
}

/// A `-Y` text: `#` outside of quotes is a line end.
fn snippet(text: &str) -> String {
    let mut quote = None;
    let mut escaped = false;
    text.chars()
        .map(|c| {
            match (quote, c) {
                (Some('"'), '\\') if !escaped => {
                    escaped = true;
                    return c;
                }
                (Some(open), c) if open == c && !escaped => quote = None,
                (None, '\'' | '"') => quote = Some(c),
                (None, '#') => return '\n',
                _ => {}
            }
            escaped = false;
            c
        })
        .collect()
}

/// Names are unique: of two connections with one name the first stays.
fn drop_duplicates(file: &mut RawFile, diagnostics: &mut Vec<Diagnostic>) {
    let mut seen = HashMap::new();
    file.connections.retain(|connection| {
        let name = &connection.name;
        let Some(first) = seen.get(&name.value) else {
            seen.insert(name.value.clone(), name.span.clone());
            return true;
        };
        let place = if Arc::ptr_eq(&first.source, &name.span.source) {
            format!("in line {}", first.line_column().0)
        } else {
            format!("at {first:?}")
        };
        let help = match connection.origin {
            Origin::Legacy => "give it another port, or remove one of the two lines",
            Origin::Yaml => "give it another name",
        };
        diagnostics.push(Diagnostic {
            later: false,
            severity: Severity::Error,
            span: Some(name.span.clone()),
            message: format!(
                "a second connection with the name '{}'; the first, {place}, is used",
                name.value
            ),
            help: Some(help.to_owned()),
            connection: Some(name.value.clone()),
        });
        false
    });
}

#[cfg(test)]
mod tests;
