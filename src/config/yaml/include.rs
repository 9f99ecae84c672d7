//! `include:` with file names and patterns.

use super::tree::{Kind, Node};
use super::{Place, Session, names};
use crate::config::error::{Diagnostic, Severity, Source, Span};
use crate::config::files::{self, MAX_FILE};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Deepest nesting of includes.
pub(super) const MAX_INCLUDE_DEPTH: usize = 16;
/// Most files that one configuration may include.
pub(super) const MAX_INCLUDES: usize = 1000;
/// All bytes that one configuration may include.
const MAX_INCLUDED_BYTES: usize = 4 * MAX_FILE;

/// The path by which a file is recognised.
pub(super) fn identity(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

impl Session {
    /// Reads what an `include:` names, in place.
    pub(super) fn include(&mut self, value: &Node, place: Place<'_>) {
        let list = match &value.kind {
            Kind::List(items) => items.as_slice(),
            _ => std::slice::from_ref(value),
        };
        for item in list {
            let mut problems = Vec::new();
            let text = self.text(item, place, &mut problems);
            if problems.is_empty() {
                for path in self.matching(&text, &item.span, place.dir) {
                    self.include_file(&path, &item.span);
                }
            }
            for (span, problem) in problems {
                self.report(span, problem, None);
            }
        }
    }

    fn include_error(&mut self, span: &Span, severity: Severity, message: String, help: Option<String>) {
        self.diagnostics.push(Diagnostic {
            later: false,
            severity,
            span: Some(span.clone()),
            message,
            help,
            connection: None,
        });
    }

    /// Files that a name or pattern stands for, sorted.
    fn matching(&mut self, text: &str, span: &Span, dir: Option<&Path>) -> Vec<PathBuf> {
        if text.is_empty() {
            self.include_error(span, Severity::Error, "include without a file name".to_owned(), None);
            return Vec::new();
        }
        if !text.contains(['*', '?', '[']) {
            return vec![names::find(Path::new(text), dir)];
        }
        let beside = dir
            .filter(|_| Path::new(text).is_relative())
            .map(|dir| format!("{}/{text}", glob::Pattern::escape(&dir.to_string_lossy())));
        for pattern in beside.iter().map(String::as_str).chain([text]) {
            match glob::glob(pattern) {
                Ok(paths) => {
                    let mut found = Vec::new();
                    for path in paths.take(MAX_INCLUDES + 1) {
                        match path {
                            Ok(path) => found.push(path),
                            Err(error) => {
                                let message =
                                    format!("cannot read {}: {}", error.path().display(), error.error());
                                self.include_error(span, Severity::Error, message, None);
                            }
                        }
                    }
                    if !found.is_empty() {
                        return found;
                    }
                }
                Err(error) => {
                    let message = format!("'{text}' is not a valid pattern: {}", error.msg);
                    self.include_error(span, Severity::Error, message, None);
                    return Vec::new();
                }
            }
        }
        self.include_error(span, Severity::Warning, format!("no file matches '{text}'"), None);
        Vec::new()
    }

    fn include_file(&mut self, path: &Path, span: &Span) {
        let shown = path.display().to_string();
        let whole = identity(path);
        if self.chain.contains(&whole) {
            let chain: Vec<String> = self
                .chain
                .iter()
                .skip_while(|file| **file != whole)
                .chain([&whole])
                .map(|file| file.display().to_string())
                .collect();
            let message = format!("{shown} includes itself: {}", chain.join(" -> "));
            self.structure(span, message, "remove this include");
            return;
        }
        if self.chain.len() > MAX_INCLUDE_DEPTH {
            let message = format!("includes are nested more than {MAX_INCLUDE_DEPTH} deep");
            self.structure(span, message, "include files from the main file instead");
            return;
        }
        if self.included.0 >= MAX_INCLUDES {
            if self.included.0 == MAX_INCLUDES {
                self.included.0 += 1;
                let message = format!("more than {MAX_INCLUDES} included files");
                self.structure(span, message, "put several connections into one file");
            }
            return;
        }
        self.included.0 += 1;
        let text = match files::read(path, MAX_FILE) {
            Ok(text) => text,
            Err(problem) => {
                let message = format!("cannot include: {}", problem.message);
                self.include_error(span, Severity::Error, message, problem.help);
                return;
            }
        };
        self.included.1 += text.len();
        if self.included.1 > MAX_INCLUDED_BYTES {
            let message = format!("included files hold more than {MAX_INCLUDED_BYTES} bytes");
            self.structure(span, message, "split the configuration");
            return;
        }
        let source = Arc::new(Source::new(shown, text));
        self.inclusions.push((span.clone(), Arc::clone(&source)));
        self.read(&source, Some(path));
    }
}
