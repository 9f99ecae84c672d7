//! Choosing some of a fixed list by name.

/// Those of `all` that `wanted` names, all when it names none. An unknown name is an error that lists
/// the known ones; `kind` says what they are names of.
pub(crate) fn select<T: Copy>(
    kind: &str,
    all: &[T],
    name: fn(T) -> &'static str,
    wanted: &[String],
) -> Result<Vec<T>, String> {
    for word in wanted {
        if !all.iter().any(|&item| name(item) == word) {
            let known: Vec<_> = all.iter().map(|&item| name(item)).collect();
            return Err(format!("unknown {kind} '{word}'; known: {}", known.join(", ")));
        }
    }
    let chosen = |item: &T| wanted.is_empty() || wanted.iter().any(|word| word == name(*item));
    Ok(all.iter().copied().filter(chosen).collect())
}
