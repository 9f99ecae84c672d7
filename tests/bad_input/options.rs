//! Every option of the table with a value that it cannot have: an error, and at the option.

use serbroker::config::error::{Diagnostic, Severity};
use serbroker::config::load::{Inputs, load};
use serbroker::config::options::{Kind, OPTIONS, Place, Row, Status};
use serbroker::config::resolve;

/// What no option of this kind takes; `None` where everything is good.
fn wrong(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Text { empty: false } | Kind::Template { empty: false } => Some(""),
        Kind::Text { .. } | Kind::Template { .. } | Kind::Flag => None,
        Kind::Mode => Some("96x"),
        Kind::Networks => Some("10.0.0.0/77"),
        Kind::Addresses => Some("10.0.0.1/77,0"),
        _ => Some("perhaps"),
    }
}

/// Texts in which the option may stand; each is tried, because the table does not say on which side and
/// above what a type may stand.
fn texts(row: &Row, value: &str) -> Vec<String> {
    let entry = |accepter: &str, connector: &str, options: &str| {
        format!("connection: &c\n  accepter: {accepter}\n  connector: {connector}\n{options}")
    };
    let (acc, con) = ("tcp,2000", "serialdev,/dev/ttyS0");
    let name = row.name;
    match row.place {
        Place::Connection => {
            vec![entry(acc, con, &format!("  options:\n    {name}: \"{value}\"\n"))]
        }
        Place::Admin => {
            vec![format!("admin:\n  accepter: tcp,2001\n  options:\n    {name}: \"{value}\"\n")]
        }
        Place::Serial if row.kind == Kind::Mode => vec![entry(acc, &format!("{con},{value}"), "")],
        Place::Serial => vec![entry(acc, &format!("{con},{name}={value}"), "")],
        Place::Layer(layer) => {
            let below = ["tcp,2000", "2000", "127.0.0.1,2000", "/x", "serialdev,/dev/ttyS0", "cat", ""];
            let stacks = below.iter().map(|below| {
                let comma = if below.is_empty() { "" } else { "," };
                format!("'{layer}({name}={value}){comma}{below}'")
            });
            stacks.flat_map(|stack| [entry(&stack, con, ""), entry(acc, &stack, "")]).collect()
        }
    }
}

fn errors(text: &str) -> Vec<Diagnostic> {
    let (raw, mut all) = load(&Inputs { yaml: vec![text.to_owned()], ..Inputs::default() });
    all.extend(resolve::resolve(&raw).1);
    all.retain(|d| d.severity >= Severity::Error);
    all
}

/// Whether an error points into the option with its value.
fn points_at_it(text: &str, row: &Row, value: &str) -> bool {
    let at = if row.kind == Kind::Mode { text.find(value) } else { text.find(row.name) };
    let Some(begin) = at else { return false };
    let end = text[begin..].find('\n').map_or(text.len(), |line| begin + line);
    errors(text).iter().any(|error| {
        error.span.as_ref().is_some_and(|span| {
            let (line, column) = span.line_column();
            let start = text.split_inclusive('\n').take(line - 1).map(str::len).sum::<usize>() + column - 1;
            (begin..=end).contains(&start)
        })
    })
}

#[test]
fn every_option_refuses_a_wrong_value_at_its_place() {
    let mut looked_at = 0;
    let mut silent = Vec::new();
    for row in OPTIONS.iter().filter(|row| row.status == Status::Active) {
        let Some(value) = wrong(row.kind) else { continue };
        looked_at += 1;
        if !texts(row, value).iter().any(|text| points_at_it(text, row, value)) {
            silent.push(format!("{:?} {} = {value:?}", row.place, row.name));
        }
    }
    assert!(silent.is_empty(), "no error at its place:\n{}", silent.join("\n"));
    assert!(looked_at > 30, "only {looked_at} options were looked at");
}
