//! A table in the making: what each round of each peer gave.

use crate::peer::Peer;
use crate::table::{Column, Round, Row, Table};

/// An empty table with a row for each of `peers`, in their order.
pub(crate) fn table(name: &'static str, title: String, columns: Vec<Column>, peers: &[Peer]) -> Table {
    let row =
        |peer: &Peer| Row { peer: peer.name().to_string(), rounds: Ok(Vec::new()), note: String::new() };
    Table { name: name.to_string(), title, columns, rows: peers.iter().map(row).collect() }
}

/// Whether `peer` has failed, or is not in the table.
pub(crate) fn failed(table: &Table, peer: Peer) -> bool {
    table.row(peer.name()).is_none_or(|row| row.rounds.is_err())
}

/// Adds what one round gave. A row that fails in one round loses its figures of all.
pub(crate) fn add(table: &mut Table, peer: Peer, round: usize, outcome: Result<Round, String>) {
    let Some(row) = table.rows.iter_mut().find(|row| row.peer == peer.name()) else { return };
    let Ok(rounds) = &mut row.rounds else { return };
    match outcome {
        Ok(figures) => rounds.push(figures),
        Err(reason) => {
            eprintln!("  {}, {}: {reason}", table.name, peer.name());
            let when = if round == 0 { String::new() } else { format!(" (in round {})", round + 1) };
            row.rounds = Err(format!("{reason}{when}"));
        }
    }
}
