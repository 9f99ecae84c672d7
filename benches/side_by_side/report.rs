//! The head of a run and its JSON file.

use serde_json::{Value, json};

use crate::peer::Peer;
use crate::table::Table;

/// The machine and the programs: kernel, processors, versions.
pub(crate) fn setting() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let release = read("/proc/sys/kernel/osrelease");
    let number = release.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
    let mut parts = vec![format!("Linux {number}")];
    let processors = read("/proc/cpuinfo");
    // not what this program may use of them: it may have been kept off one
    let count = processors.lines().filter(|line| line.starts_with("processor")).count();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown model", |model| model.trim_start_matches([' ', '\t', ':']));
    parts.push(format!("{count} processors ({model})"));
    parts.extend(Peer::ALL.into_iter().filter_map(Peer::version));
    parts.join(", ")
}

/// Every figure of every round, as JSON text.
pub(crate) fn json(tables: &[Table]) -> String {
    let table = |table: &Table| {
        let rows: Vec<Value> = table
            .rows
            .iter()
            .map(|row| {
                let mut object = json!({ "peer": row.peer });
                match &row.rounds {
                    Ok(rounds) => object["rounds"] = json!(rounds),
                    Err(reason) => object["missing"] = json!(reason),
                }
                if !row.note.is_empty() {
                    object["note"] = json!(row.note);
                }
                object
            })
            .collect();
        json!({ "case": table.name, "title": table.title, "peers": rows })
    };
    let tables: Vec<Value> = tables.iter().map(table).collect();
    format!("{:#}\n", json!({ "setting": setting(), "tables": tables }))
}
