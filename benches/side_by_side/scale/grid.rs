//! Tables of any figures: rows of peers, columns with a unit, a value a round in each cell.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::report::median;
use crate::table::number;

/// How a column shows what stands at index `of` of a round's values.
#[derive(Clone, Copy)]
pub(crate) enum Show {
    /// The median.
    Median,
    /// The median with the lowest and the highest.
    Range,
    /// The median of the ratios to another row's value of the same round.
    Ratio(&'static str),
}

/// One column.
#[derive(Clone, Copy)]
pub(crate) struct Column {
    /// With the unit, as in `start-up ms`.
    pub(crate) heading: &'static str,
    /// Index into a round's values.
    pub(crate) of: usize,
    pub(crate) show: Show,
}

/// One row: the values of each round, or why there are none.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) outcome: Result<Vec<Vec<f64>>, String>,
    /// What must be said beside the figures.
    pub(crate) remark: String,
}

/// One table.
pub(crate) struct Grid {
    /// Name in JSON.
    pub(crate) name: String,
    pub(crate) title: String,
    /// Names of a round's values, with the unit, for JSON.
    pub(crate) values: &'static [&'static str],
    pub(crate) columns: &'static [Column],
    pub(crate) rows: Vec<Row>,
}

impl Grid {
    /// Adds what one round gave. A row that fails in one round loses its figures of all.
    pub(crate) fn add(&mut self, name: &str, round: usize, outcome: Result<Vec<f64>, String>) {
        let at = self.rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
            self.rows.push(Row { name: name.into(), outcome: Ok(Vec::new()), remark: String::new() });
            self.rows.len() - 1
        });
        let Ok(rounds) = &mut self.rows[at].outcome else { return };
        match outcome {
            Ok(values) => rounds.push(values),
            Err(reason) => {
                let when = if round == 0 { String::new() } else { format!(" (in round {})", round + 1) };
                self.rows[at].outcome = Err(format!("{reason}{when}"));
            }
        }
    }

    /// Whether the row `name` has failed.
    pub(crate) fn failed(&self, name: &str) -> bool {
        self.rows.iter().any(|row| row.name == name && row.outcome.is_err())
    }

    /// Sets the remark of the row `name`.
    pub(crate) fn remark(&mut self, name: &str, remark: String) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.name == name) {
            row.remark = remark;
        }
    }

    /// Heading and table as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let remarks = self.rows.iter().any(|row| !row.remark.is_empty());
        let mut headings: Vec<&str> = self.columns.iter().map(|column| column.heading).collect();
        let mut rule = "---:|".repeat(headings.len());
        if remarks {
            headings.push("remark");
            rule.push_str("---|");
        }
        // writing to a String cannot fail
        let mut text = String::new();
        let _ = write!(text, "\n### {}\n\n| peer | {} |\n|---|{rule}\n", self.title, headings.join(" | "));
        for row in &self.rows {
            let mut cells = vec![String::new(); headings.len()];
            match &row.outcome {
                Err(reason) => cells[0] = format!("missing: {}", reason.replace('|', "\\|")),
                Ok(_) => {
                    for (cell, column) in cells.iter_mut().zip(self.columns) {
                        *cell = self.cell(row, column);
                    }
                }
            }
            if remarks && let Some(last) = cells.last_mut() {
                *last = row.remark.replace('|', "\\|");
            }
            let _ = writeln!(text, "| {} | {} |", row.name, cells.join(" | "));
        }
        text
    }

    fn cell(&self, row: &Row, column: &Column) -> String {
        let all = row.values(column.of);
        let own: Vec<f64> = all.iter().copied().filter(|value| value.is_finite()).collect();
        let low = own.iter().copied().fold(f64::INFINITY, f64::min);
        let high = own.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let shown = match column.show {
            Show::Median => median(own).map(number),
            Show::Range => {
                median(own).map(|middle| format!("{} ({}–{})", number(middle), number(low), number(high)))
            }
            Show::Ratio(other) => {
                let others = self.rows.iter().find(|row| row.name == other);
                let others = others.map(|row| row.values(column.of)).unwrap_or_default();
                let ratios = all.into_iter().zip(others).map(|(own, other)| own / other);
                median(ratios.filter(|ratio| ratio.is_finite()).collect()).map(number)
            }
        };
        shown.unwrap_or_else(|| "–".into())
    }

    /// Every value of every round.
    pub(crate) fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| match &row.outcome {
                Ok(rounds) => json!({ "peer": row.name, "rounds": rounds, "remark": row.remark }),
                Err(reason) => json!({ "peer": row.name, "missing": reason }),
            })
            .collect();
        json!({ "case": self.name, "values": self.values, "series": rows })
    }
}

impl Row {
    /// The values at `index`, one a round, NaN where there is none; nothing when the row has failed.
    pub(crate) fn values(&self, index: usize) -> Vec<f64> {
        let rounds = self.outcome.as_deref().unwrap_or_default();
        rounds.iter().map(|values| values.get(index).copied().unwrap_or(f64::NAN)).collect()
    }
}
