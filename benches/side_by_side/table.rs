//! Tables of figures: a row a peer, the figures of every round, and what is shown of them.
//!
//! Nothing here knows what was measured. A case hands over a [`Table`]; the page, the JSON file, the
//! plots and the targets take their figures from it by the names of table, peer and figure.

use std::fmt::Write;

pub(crate) use crate::measured::Round;

/// What was measured of all peers in one case.
pub(crate) struct Table {
    /// Name of the case, as in options and JSON.
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
}

/// One peer.
pub(crate) struct Row {
    pub(crate) peer: String,
    /// The rounds, as many and in the same order in all rows that have any; or why there are none.
    pub(crate) rounds: Result<Vec<Round>, String>,
    /// What figures cannot say, for the last column; empty in most tables.
    pub(crate) note: String,
}

/// What is shown of one figure.
pub(crate) struct Column {
    pub(crate) heading: &'static str,
    pub(crate) figure: &'static str,
    pub(crate) show: Show,
}

/// How the figure of all rounds becomes one cell.
#[derive(Clone, Copy)]
pub(crate) enum Show {
    /// The median.
    Median,
    /// The median with the lowest and the highest.
    Range,
    /// As `Range`, of a figure that only rounds with so many samples have; what there is otherwise is
    /// said from the figure `samples`.
    Percentile(usize),
    /// The median of the ratios to another row, round by round.
    Ratio(Against),
}

/// The row a ratio is against.
#[derive(Clone, Copy)]
pub(crate) struct Against {
    /// The table it is in, when that is another one.
    pub(crate) table: Option<&'static str>,
    pub(crate) peer: Reference,
}

#[derive(Clone, Copy)]
pub(crate) enum Reference {
    Named(&'static str),
    /// The same peer, in another table.
    Same,
    /// Whichever of the peers named `floor…` has the best median of the figure.
    BestFloor(Better),
}

/// Which way a figure is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Higher,
    Lower,
}

impl Column {
    pub(crate) fn new(heading: &'static str, figure: &'static str, show: Show) -> Self {
        Self { heading, figure, show }
    }

    /// A ratio to a row of the same table.
    pub(crate) fn against(heading: &'static str, figure: &'static str, peer: Reference) -> Self {
        Self::new(heading, figure, Show::Ratio(Against { table: None, peer }))
    }

    /// A ratio to a row of the table of that name.
    pub(crate) fn across(
        heading: &'static str,
        figure: &'static str,
        table: &'static str,
        peer: Reference,
    ) -> Self {
        Self::new(heading, figure, Show::Ratio(Against { table: Some(table), peer }))
    }
}

impl Row {
    /// The figure of each round, in order; `None` for a round that does not have it.
    fn each<'a>(&'a self, figure: &'a str) -> impl Iterator<Item = Option<f64>> + 'a {
        self.rounds.as_deref().unwrap_or_default().iter().map(move |round| round.get(figure).copied())
    }

    /// The figure in the rounds that have it.
    pub(crate) fn values(&self, figure: &str) -> Vec<f64> {
        self.each(figure).flatten().collect()
    }
}

impl Table {
    pub(crate) fn row(&self, peer: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.peer == peer)
    }

    /// The floor with the best median of `figure`.
    pub(crate) fn best_floor(&self, figure: &str, better: Better) -> Option<&Row> {
        let floors = self.rows.iter().filter(|row| row.peer.starts_with("floor"));
        let measured = floors.filter_map(|row| Some((row, median(row.values(figure))?)));
        let order = |(_, a): &(&Row, f64), (_, b): &(&Row, f64)| a.total_cmp(b);
        let best = match better {
            Better::Higher => measured.max_by(order),
            Better::Lower => measured.min_by(order),
        };
        best.map(|(row, _)| row)
    }
}

/// The table of that name.
pub(crate) fn find<'a>(tables: &'a [Table], name: &str) -> Option<&'a Table> {
    tables.iter().find(|table| table.name == name)
}

/// The ratios of a figure of `row` in `table` to that of the row it is `against`, round by round, with
/// the name of that row's peer. `None` when there is no such row.
pub(crate) fn ratios<'a>(
    tables: &'a [Table],
    table: &Table,
    row: &Row,
    figure: &str,
    against: Against,
) -> Option<(Vec<f64>, &'a str)> {
    let other = against.table.map_or(find(tables, &table.name), |name| find(tables, name))?;
    let reference = match against.peer {
        Reference::Named(peer) => other.row(peer),
        Reference::Same => other.row(&row.peer),
        Reference::BestFloor(better) => other.best_floor(figure, better),
    }?;
    let pairs = row.each(figure).zip(reference.each(figure));
    Some((pairs.filter_map(|(own, other)| Some(own? / other?)).collect(), reference.peer.as_str()))
}

/// The middle of `values`, or the mean of the middle two; `None` of none.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 { Some(upper) } else { Some(f64::midpoint(values[values.len() / 2 - 1], upper)) }
}

/// Median, lowest and highest; `None` of none.
pub(crate) fn spread(values: Vec<f64>) -> Option<[f64; 3]> {
    let low = values.iter().copied().min_by(f64::total_cmp)?;
    let high = values.iter().copied().max_by(f64::total_cmp)?;
    Some([median(values)?, low, high])
}

/// All tables as Markdown, each under a heading of the third level.
pub(crate) fn markdown(tables: &[Table]) -> String {
    let mut text = String::new();
    for table in tables {
        let headings: Vec<_> = table.columns.iter().map(|column| heading(tables, table, column)).collect();
        let rule = "---:|".repeat(table.columns.len());
        let noted = table.rows.iter().any(|row| !row.note.is_empty());
        let [note_heading, note_rule] = if noted { [" |", "---|"] } else { ["", ""] };
        // writing to a String cannot fail
        let _ = write!(
            text,
            "\n### {}\n\n| peer | {} |{note_heading}\n|---|{rule}{note_rule}\n",
            table.title,
            headings.join(" | ")
        );
        for row in &table.rows {
            let cells = match &row.rounds {
                Ok(_) => table.columns.iter().map(|column| cell(tables, table, row, column)).collect(),
                Err(reason) => {
                    let mut cells = vec![String::new(); table.columns.len()];
                    cells[0] = format!("missing: {}", reason.replace('|', "\\|"));
                    cells
                }
            };
            let note = if noted { format!(" {} |", row.note.replace('|', "\\|")) } else { String::new() };
            let _ = writeln!(text, "| {} | {} |{note}", row.peer, cells.join(" | "));
        }
    }
    text
}

/// The heading, with the floor a ratio is against named where there are several.
fn heading(tables: &[Table], table: &Table, column: &Column) -> String {
    if let Show::Ratio(Against { table: other, peer: Reference::BestFloor(better) }) = column.show
        && let Some(other) = other.map_or(Some(table), |name| find(tables, name))
        && let Some(best) = other.best_floor(column.figure, better)
        && best.peer != "floor"
    {
        return format!("{} (`{}`)", column.heading, best.peer);
    }
    column.heading.to_string()
}

fn cell(tables: &[Table], table: &Table, row: &Row, column: &Column) -> String {
    let missing = || "–".to_string();
    let range = |values| {
        spread(values)
            .map(|[middle, low, high]| format!("{} ({}–{})", number(middle), number(low), number(high)))
    };
    match column.show {
        Show::Median => median(row.values(column.figure)).map_or_else(missing, number),
        Show::Range => range(row.values(column.figure)).unwrap_or_else(missing),
        Show::Percentile(needed) => range(row.values(column.figure)).unwrap_or_else(|| {
            let most = row.values("samples").into_iter().fold(0.0, f64::max);
            format!("– ({most} of {needed} samples)")
        }),
        Show::Ratio(against) => ratios(tables, table, row, column.figure, against)
            .and_then(|(ratios, _)| median(ratios))
            .map_or_else(missing, number),
    }
}

/// Three significant digits.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 => 0,
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.01 => 3,
        _ => 4,
    };
    format!("{value:.decimals$}")
}
