//! A command as a YAML document: `command:` with `name`, `id` and `parms` (ser2net(8), "YAML MODES").

use crate::config::yaml::simple::{Value, read};

/// A command of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// What to do; `None` when the document does not say.
    pub name: Option<String>,
    /// Given back with the answer.
    pub id: Option<String>,
    /// Name and parameters in one; `None` when the document is no command.
    pub words: Option<Vec<Vec<u8>>>,
}

/// Takes a document apart. What can be told of one that is no command is told with its answer.
pub fn command(document: &[u8]) -> Command {
    let mut command = Command::default();
    let Ok(text) = std::str::from_utf8(document) else { return command };
    let Some(Value::Map(entries)) = read(text) else { return command };
    let body = entries.into_iter().find_map(|(key, value)| (key == "command").then_some(value));
    let Some(Value::Map(entries)) = body else { return command };
    let mut parameters = Some(Vec::new());
    for (key, value) in entries {
        match (key.as_str(), value) {
            ("name", Value::Scalar(text)) => command.name = Some(text),
            ("id", Value::Scalar(text)) => command.id = Some(text),
            ("parms", Value::List(items)) => {
                parameters = items
                    .into_iter()
                    .map(|item| if let Value::Scalar(text) = item { Some(text.into_bytes()) } else { None })
                    .collect();
            }
            ("parms", Value::Scalar(text)) if text.is_empty() => {}
            ("name" | "id" | "parms", _) => parameters = None,
            // unknown keys are ignored
            _ => {}
        }
    }
    let name = command.name.clone().filter(|name| !name.is_empty());
    command.words = name.zip(parameters).map(|(name, mut words)| {
        words.insert(0, name.into_bytes());
        words
    });
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let Command { name, id, words } = command(text.as_bytes());
        let words =
            words.map(|w| w.iter().map(|w| String::from_utf8_lossy(w).into_owned()).collect::<Vec<_>>());
        let part = |p: Option<String>| p.unwrap_or_else(|| "-".to_owned());
        format!("{} {} {}", part(name), part(id), part(words.map(|w| w.join("|"))))
    }

    #[test]
    fn commands_and_what_is_none() {
        for (text, expected) in [
            ("%YAML 1.1\n---\ncommand:\n  name: version\n  id: abc\n", "version abc version"),
            ("---\ncommand:\n  name: a\n  parms: [ con1, 5, 'x y' ]\n", "a - a|con1|5|x y"),
            ("---\ncommand:\n  name: a\n  parms:\n  - x\n", "a - a|x"),
            ("command: {name: version, parms: []}\n", "version - version"),
            ("---\ncommand:\n  name: a\n  foo: bar\n  parms:\nother: [1]\n", "a - a"),
            ("---\ncommand:\n  id: 3\n", "- 3 -"),
            ("---\ncommand:\n  name: a\n  parms: foo\n", "a - -"),
            ("---\ncommand:\n  name: a\n  parms: [[b]]\n", "a - -"),
            ("---\ncommand:\n  name: [a]\n", "- - -"),
            ("---\ncommand: version\n", "- - -"),
            ("---\nfoo: bar\n", "- - -"),
            ("---\n- a\n", "- - -"),
            ("---\n{ [bad\n", "- - -"),
            ("", "- - -"),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
        assert_eq!(command(b"\xff"), Command::default());
    }
}
