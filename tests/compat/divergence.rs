//! `DIVERGENCES.md`: the cases in which serbroker is not, or not yet, like the recording.

use std::collections::BTreeMap;
use std::path::Path;

use crate::case::{self, Case};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// On purpose; the reason is written beside it.
    Diverges,
    /// The case is about something that is to come.
    Later,
}

pub(crate) struct Divergence {
    pub(crate) kind: Kind,
    pub(crate) reason: String,
}

/// The listed cases by `area/id`, and serbroker's own recordings of them.
pub(crate) struct Divergences {
    pub(crate) listed: BTreeMap<String, Divergence>,
    pub(crate) own: Vec<Case>,
}

impl Divergences {
    /// Reads `DIVERGENCES.md` and `serbroker/*.yaml` of a directory.
    pub(crate) fn load(dir: &Path) -> Result<Divergences, String> {
        let path = dir.join("DIVERGENCES.md");
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let listed = parse(&text).map_err(|e| format!("{}:{e}", path.display()))?;
        let own_dir = dir.join("serbroker");
        let own = if own_dir.is_dir() { case::load(&own_dir, |_| true)? } else { Vec::new() };
        Ok(Divergences { listed, own })
    }

    pub(crate) fn own(&self, key: &str) -> Option<&Case> {
        self.own.iter().find(|c| c.key() == key)
    }
}

/// The rows of all tables: `| area/id | kind | reason |`.  Errors start with the line number.
fn parse(text: &str) -> Result<BTreeMap<String, Divergence>, String> {
    let mut out = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        // four spaces make an example; less is still a row to Markdown, and so it is here
        let indent = line.len() - line.trim_start_matches(' ').len();
        let Some(row) = line.trim().strip_prefix('|').filter(|_| indent < 4) else { continue };
        let row = row.strip_suffix('|').ok_or_else(|| format!("{number}: a row ends with |"))?;
        // a reason may hold a bar, written \| as Markdown wants it
        let row = row.replace("\\|", "\u{0}");
        let cells: Vec<_> = row.split('|').map(|c| c.trim().replace('\u{0}', "|")).collect();
        let [key, kind, reason] = cells.as_slice() else {
            return Err(format!("{number}: a row has three cells: area/id, kind, reason"));
        };
        let key = key.trim_matches('`');
        if key == "area/id" || key.chars().all(|c| "-: ".contains(c)) {
            continue;
        }
        let kind = match kind.as_str() {
            "diverges" => Kind::Diverges,
            "later" => Kind::Later,
            other => return Err(format!("{number}: kind is diverges or later, not '{other}'")),
        };
        if reason.is_empty() || !key.contains('/') {
            return Err(format!("{number}: a row names area/id and a reason"));
        }
        let divergence = Divergence { kind, reason: reason.clone() };
        if out.insert(key.to_owned(), divergence).is_some() {
            return Err(format!("{number}: {key} is listed twice"));
        }
    }
    Ok(out)
}
