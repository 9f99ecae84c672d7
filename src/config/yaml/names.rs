//! Names that stand for texts, and their substitution (ser2net.yaml(5), DEFINE SPECIFICATION and
//! USING EXTERNAL FILES): `*(name)`, `*{file}` in version 1, `=(name)`, `={file}` in version 2.

use crate::config::files;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The version of the file format, as far as it decides about substitutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Anchors and `*`.
    One,
    /// Maps and `=`.
    Two,
}

impl Version {
    pub(super) fn mark(self) -> char {
        match self {
            Self::One => '*',
            Self::Two => '=',
        }
    }
}

/// Longest text that substitution may make.
pub(super) const MAX_TEXT: usize = 1 << 20;
/// All bytes that substitutions may make while one configuration is read.
pub(super) const MAX_SUBSTITUTED: usize = 64 << 20;

/// What is wrong with a substitution.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) message: String,
    pub(super) help: Option<String>,
    /// A part of the text that is meant, as bytes of the text; `None`: all of it.
    pub(super) part: Option<(usize, usize)>,
    /// The text can be used as it stands.
    pub(super) warning: bool,
    /// A name is not defined; the text is there without it.
    pub(super) undefined: bool,
}

/// The names known so far. A later definition wins; names outlive documents and files.
#[derive(Default)]
pub(super) struct Names {
    texts: HashMap<String, String>,
    made: usize,
    missed: usize,
}

/// Names that are not defined and for which a suggestion is looked for.
const SUGGESTIONS: usize = 200;

impl Names {
    pub(super) fn define(&mut self, name: &str, text: String) {
        self.texts.insert(name.to_owned(), text);
    }

    /// The text of `*name`.
    pub(super) fn get(&mut self, name: &str) -> Result<String, Problem> {
        match self.texts.get(name) {
            Some(text) => {
                let text = text.clone();
                self.account(text.len(), None)?;
                Ok(text)
            }
            None => Err(self.undefined(name, None)),
        }
    }

    fn account(&mut self, bytes: usize, part: Option<(usize, usize)>) -> Result<(), Problem> {
        self.made = self.made.saturating_add(bytes);
        if bytes > MAX_TEXT || self.made > MAX_SUBSTITUTED {
            return Err(Problem {
                message: format!(
                    "substitution makes too much text (at most {MAX_TEXT} bytes in one value and \
                     {MAX_SUBSTITUTED} in all)"
                ),
                help: None,
                part,
                warning: false,
                undefined: false,
            });
        }
        Ok(())
    }

    fn undefined(&mut self, name: &str, part: Option<(usize, usize)>) -> Problem {
        self.missed += 1;
        let known = self.texts.keys().map(String::as_str);
        let near =
            (self.missed <= SUGGESTIONS).then(|| crate::config::suggest::nearest(name, known)).flatten();
        let help = match near {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("write `define: &{name} …` before this line"),
        };
        Problem {
            message: format!("the name '{name}' is not defined"),
            help: Some(help),
            part,
            warning: false,
            undefined: true,
        }
    }

    /// The text with its substitutions made. `dir` is where relative files are looked for first.
    pub(super) fn substitute(
        &mut self,
        text: &str,
        version: Version,
        dir: Option<&Path>,
    ) -> (String, Vec<Problem>) {
        let mark = version.mark();
        let mut out = String::new();
        let mut problems = Vec::new();
        let mut rest = 0;
        while let Some(found) = text[rest..].find(mark) {
            let at = rest + found;
            out.push_str(&text[rest..at]);
            let after = &text[at + 1..];
            let (open, close) = match after.chars().next() {
                Some('(') => ('(', ')'),
                Some('{') => ('{', '}'),
                _ => {
                    out.push(mark);
                    rest = at + 1;
                    continue;
                }
            };
            let inner = &after[1..];
            if inner.starts_with(mark) {
                // the way to write the two characters themselves
                out.push(mark);
                out.push(open);
                rest = at + 3;
                continue;
            }
            let Some(length) = inner.find(close) else {
                // ser2net takes such a text as an empty one
                problems.push(Problem {
                    message: format!("'{mark}{open}' without '{close}': the value counts as empty"),
                    help: Some(format!(
                        "close it with '{close}', or write '{mark}{open}{mark}' for '{mark}{open}'"
                    )),
                    part: Some((at, text.len())),
                    warning: true,
                    undefined: false,
                });
                return (String::new(), problems);
            };
            let name = &inner[..length];
            rest = at + 2 + length + 1;
            let part = Some((at, rest));
            let value = if open == '(' {
                match self.texts.get(name) {
                    Some(text) => Ok(text.clone()),
                    None => Err(self.undefined(name, part)),
                }
            } else {
                file_text(name, dir, part)
            };
            match value {
                Ok(value) => {
                    out.push_str(&value);
                    if let Err(problem) = self.account(out.len(), part) {
                        problems.push(problem);
                        return (String::new(), problems);
                    }
                }
                Err(problem) => problems.push(problem),
            }
        }
        out.push_str(&text[rest..]);
        (out, problems)
    }
}

fn file_text(name: &str, dir: Option<&Path>, part: Option<(usize, usize)>) -> Result<String, Problem> {
    let path = find(Path::new(name), dir);
    files::read(&path, MAX_TEXT).map_err(|problem| Problem {
        message: problem.message,
        help: problem.help,
        part,
        warning: false,
        undefined: false,
    })
}

/// A relative path is looked for beside the file that names it, then in the working directory.
pub(super) fn find(path: &Path, dir: Option<&Path>) -> PathBuf {
    match dir.map(|dir| dir.join(path)) {
        Some(beside) if path.is_relative() && beside.exists() => beside,
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let mut names = Names::default();
        names.define("a", "one".to_owned());
        names.define("a", "two".to_owned());
        names.define("empty", String::new());
        names
    }

    fn text(input: &str, version: Version) -> String {
        let (text, problems) = names().substitute(input, version, None);
        assert!(problems.is_empty(), "{problems:?}");
        text
    }

    #[test]
    fn substitutions_follow_the_manual() {
        assert_eq!(text("<*(a)>", Version::One), "<two>");
        assert_eq!(text("<*(empty)>*(a)*(a)", Version::One), "<>twotwo");
        assert_eq!(text("<*(*x)> *{*y}", Version::One), "<*(x)> *{y}");
        assert_eq!(text("* *x =(a)", Version::One), "* *x =(a)");
        assert_eq!(text("=(a)*(a)", Version::Two), "two*(a)");
    }

    #[test]
    fn problems_point_at_the_part() {
        let (_, problems) = names().substitute("ab*(nosuch)c*{/no/such}", Version::One, None);
        assert_eq!(problems[0].part, Some((2, 11)));
        assert!(problems[0].message.contains("'nosuch'"));
        assert!(problems[1].message.contains("/no/such"));
        let (text, problems) = names().substitute("<*(a", Version::One, None);
        assert!(text.is_empty() && problems[0].warning);
    }

    #[test]
    fn growth_is_bounded() {
        let mut names = Names::default();
        names.define("x", "y".repeat(1000));
        for _ in 0..4 {
            let (text, problems) = names.substitute(&"*(x)".repeat(100), Version::One, None);
            if let Some(problem) = problems.first() {
                assert!(problem.message.contains("too much text"));
                return;
            }
            names.define("x", text);
        }
        panic!("the limit was never reached");
    }
}
