//! "Did you mean …?": the known word that is nearest to a misspelled one.

/// The candidate with the smallest edit distance to `word`, when it is near enough to be meant.
///
/// At most a third of the longer word may differ (one letter for words of up to five letters);
/// case does not count.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    if word.chars().count() > LONGEST {
        return None;
    }
    let length = word.chars().count();
    candidates
        .into_iter()
        .take(MOST)
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= LONGEST / 3)
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(d, candidate)| *d <= (candidate.chars().count().max(length) / 3).max(1))
        // of two that are equally near, one that was only cut short
        .min_by_key(|(d, candidate)| (*d, !candidate.to_lowercase().starts_with(&word)))
        .map(|(_, candidate)| candidate)
}

/// The part of a text that a template left for somebody to fill in: `{PORT}`, `{{ device }}`,
/// `<port>`, `$PORT`.
pub fn placeholder(text: &str) -> Option<&str> {
    for (open, close) in [("{{", "}}"), ("${", "}"), ("{", "}"), ("<", ">")] {
        let Some(start) = text.find(open) else { continue };
        let inner = start + open.len();
        let Some(length) = text[inner..].find(close).filter(|length| *length > 0) else { continue };
        return Some(&text[start..inner + length + close.len()]);
    }
    let start = text.find('$')?;
    let name = text[start + 1..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let end = name.map_or(text.len(), |length| start + 1 + length);
    Some(&text[start..end]).filter(|found| found.len() > 1)
}

/// Help for a text with a placeholder.
pub fn fill_in(text: &str) -> Option<String> {
    placeholder(text).map(|found| format!("'{found}' is a placeholder: write the value that is meant"))
}

/// Longer words are not compared: nobody misspells a word of this length, and the cost is square.
const LONGEST: usize = 64;

/// Most candidates that are compared; a file may define any number of names.
const MOST: usize = 300;

/// Edit distance in which two neighbouring letters that changed places count once.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_of_templates() {
        for (text, found) in [
            ("{{DEVICE}}", "{{DEVICE}}"),
            ("/dev/serial/by-alias/<dut>", "<dut>"),
            ("{BAUD}n81", "{BAUD}"),
            ("${PORT}", "${PORT}"),
            ("tcp,$PORT,x", "$PORT"),
        ] {
            assert_eq!(placeholder(text), Some(found));
        }
        for text in ["/dev/ttyS0", "<", "{}", "a$", "x>y<", ""] {
            assert_eq!(placeholder(text), None, "{text}");
        }
    }

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["connection", "connections", "define", "default"];
        assert_eq!(nearest("conection", known), Some("connection"));
        assert_eq!(nearest("Connections", known), Some("connections"));
        assert_eq!(nearest("defien", known), Some("define"));
        assert_eq!(nearest("banana", known), None);
        assert_eq!(distance("abcd", "abdc"), 1);
        assert_eq!(distance("", "abc"), 3);
    }
}
