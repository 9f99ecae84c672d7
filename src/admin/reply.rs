//! The two forms of answers: texts with a prompt behind them, and YAML documents.

/// What the client is shown when it may type.
pub const PROMPT: &[u8] = b"-> ";

/// An answer that is being written.
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    yaml: bool,
}

impl<'a> Reply<'a> {
    /// An answer at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>, yaml: bool) -> Self {
        Self { out, yaml }
    }

    /// Begins a YAML document of the kind `head`; nothing else begins with anything.
    pub fn begin(&mut self, head: &str) {
        if self.yaml {
            self.put(b"\r\n%YAML 1.1\r\n---\r\n");
            self.put(head.as_bytes());
            self.put(b": \r\n");
        }
    }

    /// Ends the answer.
    pub fn end(&mut self) {
        self.put(if self.yaml { b"...\r\n" } else { PROMPT });
    }

    /// A mistake.
    pub fn error(&mut self, text: &[u8]) {
        if self.yaml {
            self.field(1, "error", text);
        } else {
            self.put(b"error: ");
            self.put(text);
            self.put(b"\r\n");
        }
    }

    /// Text as it is; there is none in YAML.
    pub fn plain(&mut self, text: &[u8]) {
        if !self.yaml {
            self.put(text);
        }
    }

    /// A value only of YAML.
    pub fn only_yaml(&mut self, level: usize, name: &str, value: &str) {
        if self.yaml {
            self.text(level, name, value);
        }
    }

    /// `name: value` at the level of the answer itself.
    pub fn value(&mut self, name: &str, value: &str) {
        self.text(0, name, value);
    }

    /// `name: value`, `level` levels deep.
    pub fn text(&mut self, level: usize, name: &str, value: &str) {
        if self.yaml {
            self.field(level + 1, name, value.as_bytes());
        } else {
            self.label(level, name);
            self.put(value.as_bytes());
            self.put(b"\r\n");
        }
    }

    /// `name: value` with a number.
    pub fn number(&mut self, level: usize, name: &str, value: u64) {
        self.label(level + usize::from(self.yaml), name);
        let kind = if self.yaml { "!!int " } else { "" };
        self.put(format!("{kind}{value}\r\n").as_bytes());
    }

    /// A group with a name: `port: con1`, as YAML a mapping with its name inside.
    pub fn group(&mut self, label: &str, name: &str, value: &str) {
        self.nested(0, label, label, name, value);
    }

    /// A group inside a group; YAML calls it otherwise.
    pub fn subgroup(&mut self, label: &str, yaml_label: &str, name: &str, value: &str) {
        self.nested(1, label, yaml_label, name, value);
    }

    fn nested(&mut self, level: usize, label: &str, yaml_label: &str, name: &str, value: &str) {
        if self.yaml {
            self.label(level + 1, yaml_label);
            self.put(b"\r\n");
            self.field(level + 2, name, value.as_bytes());
        } else {
            self.text(level, label, value);
        }
    }

    fn label(&mut self, level: usize, name: &str) {
        self.out.extend(std::iter::repeat_n(b' ', level * 2));
        self.put(name.as_bytes());
        self.put(b": ");
    }

    /// A YAML text. ser2net puts a backslash before a quote, which no YAML parser takes; YAML
    /// doubles it. Control characters have no place in a YAML text.
    pub fn field(&mut self, level: usize, name: &str, value: &[u8]) {
        self.label(level, name);
        self.put(b"!!str '");
        for &byte in value {
            match byte {
                b'\'' => self.put(b"''"),
                0..0x20 | 0x7f => self.put(b"?"),
                _ => self.out.push(byte),
            }
        }
        self.put(b"'\r\n");
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }
}
