//! The head of a run and its JSON file.

use serde_json::{Value, json};

use crate::peer::Peer;
use crate::table::Table;

/// The machine and the programs: kernel, processors, versions.
pub(crate) fn setting() -> Vec<String> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let number = release.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
    let mut parts = vec![format!("Linux {number}")];
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    parts.push(format!("{count} processors"));
    parts.extend(Peer::ALL.into_iter().filter_map(Peer::version));
    parts
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
