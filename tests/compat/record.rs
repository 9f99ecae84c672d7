//! Writing a recording of serbroker's own for a case in which it differs from ser2net.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value as Json;
use serde_yaml::{Mapping, Value as Yaml};

use crate::bench::{Bench, Flow};
use crate::case::{Action, Case, Entry, Seen, Step};
use crate::witness::{Note, Sight};

/// Runs the steps of a case and returns it with what was seen instead of what was recorded.
pub(crate) fn record(bench: &mut Bench<'_>) -> Flow<Mapping> {
    let case = bench.case;
    let mut transcript = Vec::new();
    bench.run()?;
    let starts = std::mem::take(&mut bench.begun);
    let log = std::mem::take(&mut bench.witness.log);
    for (number, (step, seen)) in groups(case).into_iter().enumerate() {
        let from = starts.get(number).copied();
        let until = starts.get(number + 1).copied();
        let notes: Vec<_> = log
            .iter()
            .filter(|(at, _)| from.is_none_or(|f| *at >= f) && until.is_none_or(|u| *at < u))
            .collect();
        transcript.push(Yaml::Mapping(step_seen(bench, step, &notes)));
        let events = merged(&notes, from);
        transcript.extend(events.iter().map(|e| Yaml::Mapping(e.to_yaml(bench, &seen))));
    }
    let mut out = case.source.clone();
    out.insert("transcript".into(), transcript.into());
    Ok(out)
}

/// The steps of a case with what was recorded after each.
fn groups(case: &Case) -> Vec<(&Step, Vec<&Seen>)> {
    let mut out: Vec<(&Step, Vec<&Seen>)> = Vec::new();
    for entry in &case.transcript {
        match (entry, out.last_mut()) {
            (Entry::Do(step), _) => out.push((step, Vec::new())),
            (Entry::See(seen), Some((_, all))) => all.push(seen),
            (Entry::See(_), None) => {} // nothing is seen before the first step
        }
    }
    out
}

/// The step with the result that it had now.
fn step_seen(bench: &Bench<'_>, step: &Step, notes: &[&(Instant, Note)]) -> Mapping {
    let mut out = step.source.clone();
    let new = notes.iter().find_map(|(_, note)| match note {
        Note::Result(new) => new.as_ref(),
        Note::Seen(..) => None,
    });
    let Some(new) = new else { return out };
    if let (Action::ReadFile { .. }, Some(text)) = (&step.action, new.as_str()) {
        let failed = text.len() > 2 && text.starts_with('E') && text.bytes().all(|b| b.is_ascii_uppercase());
        out.remove("text");
        out.remove("error");
        out.insert(if failed { "error" } else { "text" }.into(), text.into());
    } else {
        let value = serde_yaml::to_value(put_back(bench, new)).unwrap_or_default();
        out.insert("result".into(), value);
    }
    out
}

/// A result with the placeholders put back.
fn put_back(bench: &Bench<'_>, value: &Json) -> Json {
    match value {
        Json::String(text) => bench.names.unfill(text).into(),
        Json::Array(all) => all.iter().map(|v| put_back(bench, v)).collect(),
        other => other.clone(),
    }
}

/// An event of the new transcript.
struct Event {
    who: String,
    sight: Sight,
    ms: f64,
}

/// What was seen after a step, with the pieces of a stream put together.
fn merged(notes: &[&(Instant, Note)], from: Option<Instant>) -> Vec<Event> {
    let mut out: Vec<Event> = Vec::new();
    for (at, note) in notes {
        let Note::Seen(who, sight) = note else { continue };
        let last = out.iter_mut().rev().find(|e| e.who == *who);
        if let (Sight::Data(more), Some(Event { sight: Sight::Data(so_far), .. })) = (sight, last) {
            so_far.extend(more);
            continue;
        }
        let ms = from.map_or(0.0, |f| at.duration_since(f).as_secs_f64() * 1000.0);
        out.push(Event { who: who.clone(), sight: sight.clone(), ms: (ms * 10.0).round() / 10.0 });
    }
    out
}

impl Event {
    fn to_yaml(&self, bench: &Bench<'_>, recorded: &[&Seen]) -> Mapping {
        let mut out = Mapping::new();
        let mut put = |key: &str, value: Yaml| out.insert(key.into(), value);
        put("see", self.who.as_str().into());
        put("what", self.sight.what().into());
        put("ms", self.ms.into());
        let sight = &self.sight;
        for (key, value) in [("how", sight.how()), ("error", sight.error()), ("flags", sight.flags())] {
            if let Some(value) = value {
                put(key, value.into());
            }
        }
        if let Some(status) = sight.status() {
            put("status", status.into());
        }
        match sight {
            Sight::Data(bytes) | Sight::Datagram(bytes) => {
                put("text", self.text(bench, bytes, recorded).into());
            }
            Sight::Line(line) => {
                put("text", bench.names.unfill(line).into());
            }
            _ => {}
        }
        out
    }

    /// The recorded text, where that is what came: it knows better which bytes change from run to run.
    fn text(&self, bench: &Bench<'_>, bytes: &[u8], recorded: &[&Seen]) -> String {
        let texts = recorded.iter().filter(|s| s.who == self.who && s.what == self.sight.what());
        let texts: Vec<_> = texts.map(|s| s.text.as_str()).collect();
        let whole = texts.concat();
        if let Some(text) =
            texts.iter().copied().chain([whole.as_str()]).find(|t| bench.names.matches(t, bytes))
        {
            return text.to_owned();
        }
        bench.names.show_with(bytes, &bench.names.times_in(&whole))
    }
}

/// Puts a case into the file of its area, in place of the one with the same id; returns the file.
pub(crate) fn store(dir: &Path, area: &str, case: Mapping) -> Result<PathBuf, String> {
    let path = dir.join(format!("{area}.yaml"));
    let mut file: Mapping = match std::fs::read_to_string(&path) {
        Ok(text) => serde_yaml::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?,
        Err(_) => Mapping::from_iter([
            ("area".into(), area.into()),
            ("title".into(), format!("{area}: where serbroker differs on purpose").into()),
            ("cases".into(), Yaml::Sequence(Vec::new())),
        ]),
    };
    let cases = file.get_mut("cases").and_then(Yaml::as_sequence_mut);
    let cases = cases.ok_or_else(|| format!("{}: it has no cases", path.display()))?;
    match cases.iter_mut().find(|c| c.get("id") == case.get("id")) {
        Some(old) => *old = case.into(),
        None => cases.push(case.into()),
    }
    std::fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let text = serde_yaml::to_string(&file).map_err(|e| e.to_string())?;
    std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}
