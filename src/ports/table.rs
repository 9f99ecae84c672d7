//! The ports as a table for people.

use super::{Access, LockFile, Missing, Port, Ports, Process, Usb, User};
use std::fmt::Write;

/// Columns between two fields.
const GAP: usize = 2;
/// A field that has to give way keeps so many characters.
const SHORTEST: usize = 10;
/// Fields that may be shortened; the others are needed as they are.
const ELASTIC: [&str; 4] = ["SERIAL", "PRODUCT", "HELD BY", "CONNECTION"];
/// Columns that are left out when no port has anything in them.
const OPTIONAL: [&str; 4] = ["USB ID", "SERIAL", "PRODUCT", "DRIVER"];
/// What stands for nothing.
const NOTHING: &str = "-";

/// How wide the table may be, in characters; names below `/dev/serial` are never shortened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// As wide as it gets, for files and other programs.
    Any,
    /// Of a terminal.
    Columns(usize),
}

struct Row {
    /// One for each column.
    fields: Vec<String>,
    /// Lines below it.
    below: Vec<String>,
}

/// The table, what is missing, and hints.
pub fn text(found: &Ports, width: Width) -> String {
    let mut text = String::new();
    if found.ports.is_empty() {
        text.push_str(
            "There is no serial port on this machine.\n\
             A container has those that it is given: docker run --device /dev/ttyUSB0, or -v /dev:/dev with\n\
             --device-cgroup-rule 'c 188:* rmw' for adapters that come later. A machine with an adapter plugged\n\
             in (lsusb) lacks the driver: look at dmesg.\n",
        );
    } else {
        table(&mut text, &found.ports, width);
    }
    for missing in &found.missing {
        let Missing { connection, device, problem } = missing;
        line(&mut text, &format!("connection {}: {device}: {problem}", user(connection)));
    }
    for hint in hints(found) {
        line(&mut text, &hint);
    }
    text
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn table(text: &mut String, ports: &[Port], width: Width) {
    let mut heads =
        vec!["DEVICE", "USB ID", "SERIAL", "PRODUCT", "DRIVER", "MAY OPEN", "HELD BY", "CONNECTION"];
    let mut rows: Vec<Row> = ports.iter().map(row).collect();
    for name in OPTIONAL {
        let Some(at) = heads.iter().position(|head| *head == name) else { continue };
        if rows.iter().all(|row| row.fields[at].is_empty()) {
            heads.remove(at);
            for row in &mut rows {
                row.fields.remove(at);
            }
        }
    }
    for field in rows.iter_mut().flat_map(|row| &mut row.fields).filter(|field| field.is_empty()) {
        NOTHING.clone_into(field);
    }
    let widths = widths(&heads, &rows, width);
    let heading = Row { fields: heads.iter().map(|head| (*head).to_owned()).collect(), below: Vec::new() };
    for row in std::iter::once(&heading).chain(&rows) {
        let mut made = String::new();
        for (field, width) in row.fields.iter().zip(&widths) {
            let pad = width + GAP;
            // a String takes everything
            let _ = write!(made, "{:<pad$}", shortened(field, *width));
        }
        line(text, made.trim_end());
        for below in &row.below {
            line(text, &format!("  {below}"));
        }
    }
}

/// Widths of the columns: as wide as their fields, less for those that can give way when all
/// together are too wide.
fn widths(heads: &[&str], rows: &[Row], width: Width) -> Vec<usize> {
    let mut widths: Vec<usize> = heads.iter().map(|head| head.chars().count()).collect();
    for row in rows {
        for (width, field) in widths.iter_mut().zip(&row.fields) {
            *width = field.chars().count().max(*width);
        }
    }
    let Width::Columns(most) = width else { return widths };
    let mut total = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
    while total > most {
        let elastic = widths.iter_mut().zip(heads);
        let widest = elastic
            .filter(|(width, head)| ELASTIC.contains(head) && **width > SHORTEST)
            .max_by_key(|(width, _)| **width);
        let Some((width, _)) = widest else { break };
        *width -= 1;
        total -= 1;
    }
    widths
}

fn shortened(field: &str, width: usize) -> String {
    if field.chars().count() <= width {
        return field.to_owned();
    }
    field.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

fn row(port: &Port) -> Row {
    let usb = port.usb.as_ref();
    let fields = vec![
        port.path.clone().unwrap_or_else(|| port.name.clone()),
        usb.map(|usb| format!("{}:{}", usb.vendor_id, usb.product_id)).unwrap_or_default(),
        usb.and_then(|usb| usb.serial.clone()).unwrap_or_default(),
        usb.map(product).unwrap_or_default(),
        port.driver.clone().unwrap_or_default(),
        port.access.as_ref().map_or_else(|| "no node".to_owned(), access),
        held_by(port),
        joined(port.connections.iter().map(user)),
    ];
    let below = port.by_id.iter().chain(&port.by_path).chain(&port.other_names).cloned().collect();
    Row { fields, below }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

fn product(usb: &Usb) -> String {
    match (&usb.manufacturer, &usb.product) {
        (Some(maker), Some(product)) if !product.starts_with(maker.as_str()) => format!("{maker} {product}"),
        (maker, product) => product.as_ref().or(maker.as_ref()).cloned().unwrap_or_default(),
    }
}

fn access(access: &Access) -> String {
    let Access { owner, group, mode, may_open, would_need_group: _ } = access;
    format!("{}, {mode} {owner}:{group}", if *may_open { "yes" } else { "no" })
}

fn process(process: &Process) -> String {
    match &process.program {
        Some(program) => format!("{program} ({})", process.pid),
        None => process.pid.to_string(),
    }
}

fn held_by(port: &Port) -> String {
    let locks = port.lock_files.iter().filter_map(|LockFile { path, process: by, stale }| match by {
        None => Some(format!("lock file {path}")),
        Some(by) if *stale => Some(format!("stale lock file of {}", by.pid)),
        Some(by) if port.held_by.iter().any(|holder| holder.pid == by.pid) => None,
        Some(by) => Some(format!("locked by {}", process(by))),
    });
    joined(port.held_by.iter().map(process).chain(locks))
}

fn user(user: &User) -> String {
    format!("{}{}", user.name, if user.enabled { "" } else { " (off)" })
}

fn hints(found: &Ports) -> Vec<String> {
    let mut hints = Vec::new();
    let without: Vec<&str> =
        found.ports.iter().filter(|port| port.path.is_none()).map(|port| port.name.as_str()).collect();
    if let Some(first) = without.first() {
        hints.push(format!(
            "No node below /dev: {}. In a container it is given with --device /dev/{first}.",
            without.join(", ")
        ));
    }
    let mut asked: Vec<(&str, &str)> = found
        .ports
        .iter()
        .filter_map(|port| port.access.as_ref())
        .filter_map(|access| Some((access.group.as_str(), access.would_need_group.as_deref()?)))
        .collect();
    asked.sort_unstable();
    asked.dedup();
    for (group, user) in asked {
        hints.push(format!("To be allowed: usermod -a -G {group} {user}, then log in again."));
    }
    if found.hidden_processes > 0 {
        hints.push(format!(
            "{} processes of others were not looked at; root sees what they have open.",
            found.hidden_processes
        ));
    }
    hints
}
