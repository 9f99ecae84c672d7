//! What serbroker is meant to reach, and whether the figures of a run say that it does.

use std::fmt::Write;

use crate::table::{Against, Better, Reference, Table, find, median, number, ratios};

/// One thing to reach.
struct Target {
    /// The table, the peer and the figure.
    case: &'static str,
    peer: &'static str,
    figure: &'static str,
    is: Is,
    bound: Bound,
}

/// What is held against the bound.
#[derive(Clone, Copy)]
enum Is {
    /// The median of the figure itself.
    Plain,
    /// The median of its ratios to another row, round by round; the table is another one if named.
    Times(Reference, Option<&'static str>),
}

#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

use Bound::{AtLeast, AtMost};
use Is::{Plain, Times};

/// serbroker with ser2net's file as it is, and with gathering off.
const AS_IS: &str = "serbroker";
const TUNED: &str = "serbroker-tuned";
const ADAPTIVE: &str = "serbroker-adaptive";

const FLOOR_HIGH: Is = Times(Reference::BestFloor(Better::Higher), None);
const FLOOR_LOW: Is = Times(Reference::BestFloor(Better::Lower), None);
const SER2NET: Is = Times(Reference::Named("ser2net"), None);
const SER2NET_TUNED: Is = Times(Reference::Named("ser2net-tuned"), None);
const SOCAT: Is = Times(Reference::Named("socat"), None);

const RATE: &str = "MB/s";
const BYTE_COST: &str = "CPU s/GiB";
const TRIP_COST: &str = "CPU µs/round trip";

/// All targets, in the order of the table.
fn targets() -> Vec<Target> {
    let mut all = Vec::new();
    let mut add = |case, peer, figure, is, bound| all.push(Target { case, peer, figure, is, bound });
    for case in ["device-to-net", "net-to-device", "both"] {
        add(case, TUNED, RATE, FLOOR_HIGH, AtLeast(0.9));
        add(case, TUNED, BYTE_COST, FLOOR_LOW, AtMost(1.3));
        add(case, TUNED, RATE, SER2NET, AtLeast(10.0));
        add(case, TUNED, RATE, SER2NET_TUNED, AtLeast(3.0));
    }
    for case in ["round-trip-1", "round-trip-8", "round-trip-256"] {
        add(case, TUNED, "p50 ms", FLOOR_LOW, AtMost(1.2));
        add(case, TUNED, "p99 ms", FLOOR_LOW, AtMost(1.5));
        add(case, TUNED, TRIP_COST, FLOOR_LOW, AtMost(1.3));
        add(case, TUNED, "p50 ms", SOCAT, AtMost(1.0));
        add(case, ADAPTIVE, "p50 ms", FLOOR_LOW, AtMost(1.5));
    }
    add("round-trip-1", AS_IS, "p50 ms", SER2NET, AtMost(1.0));
    add("round-trip-256", AS_IS, "p50 ms", SER2NET, AtMost(0.125));
    add("telnet-device-to-net", TUNED, RATE, Times(Reference::Same, Some("device-to-net")), AtLeast(0.8));
    for (case, raw) in [("telnet-round-trip-1", "round-trip-1"), ("telnet-round-trip-256", "round-trip-256")]
    {
        let floor = Times(Reference::BestFloor(Better::Lower), Some(raw));
        add(case, TUNED, "p50 ms", floor, AtMost(1.3));
    }
    for case in ["tls-device-to-net", "tls-net-to-device"] {
        add(case, TUNED, RATE, SOCAT, AtLeast(1.0));
        add(case, TUNED, BYTE_COST, SOCAT, AtMost(1.2));
    }
    for case in ["tls-round-trip-1", "tls-round-trip-256"] {
        add(case, TUNED, "p50 ms", SOCAT, AtMost(1.2));
        add(case, TUNED, TRIP_COST, SOCAT, AtMost(1.2));
    }
    add("ports-1000", AS_IS, "start ms", SER2NET, AtMost(0.6));
    add("ports-1000", AS_IS, "idle CPU ms/s", Plain, AtMost(0.0));
    add("ports-1000", AS_IS, "idle RSS MiB", SER2NET, AtMost(0.9));
    add("ports-1000", AS_IS, "connected RSS MiB", SER2NET, AtMost(1.0));
    add("ports-1000", AS_IS, "KiB/connected port", Plain, AtMost(8.0));
    add("ports-10", AS_IS, "idle RSS MiB", SER2NET, AtMost(1.5));
    add("paced-1000", TUNED, "p99 ms", FLOOR_LOW, AtMost(5.0));
    add("paced-1000", TUNED, "CPU s", FLOOR_LOW, AtMost(1.4));
    add("churn", TUNED, "connections/s", FLOOR_HIGH, AtLeast(0.5));
    add("churn", AS_IS, "connections/s", SER2NET, AtLeast(20.0));
    add("fan-out-16", TUNED, RATE, FLOOR_HIGH, AtLeast(0.5));
    let whole = Times(Reference::Same, Some("fan-out-16"));
    add("fan-out-stalled", TUNED, "MB/s a client", whole, AtLeast(0.9));
    add("fan-out-stalled", TUNED, "bytes lost", Plain, AtMost(0.0));
    add("reload-1000", AS_IS, "effective ms", Plain, AtMost(50.0));
    add("reload-1000", AS_IS, "worst ms", Plain, AtMost(5.0));
    add("reload-1000", AS_IS, "connections lost", Plain, AtMost(0.0));
    all
}

impl Target {
    /// What was measured, with the name of the peer it is a ratio to; `None` if it was not measured.
    fn measured<'a>(&self, tables: &'a [Table]) -> Option<(f64, Option<&'a str>)> {
        let table = find(tables, self.case)?;
        let row = table.row(self.peer)?;
        match self.is {
            Plain => Some((median(row.values(self.figure))?, None)),
            Times(peer, other) => {
                let against = Against { table: other, peer };
                let (ratios, reference) = ratios(tables, table, row, self.figure, against)?;
                Some((median(ratios)?, Some(reference)))
            }
        }
    }

    fn met(&self, value: f64) -> bool {
        match self.bound {
            AtLeast(bound) => value >= bound,
            AtMost(bound) => value <= bound,
        }
    }

    /// The goal in words; the reference is the one found, where there are several.
    fn goal(&self, found: Option<&str>) -> String {
        let (sign, bound) = match self.bound {
            AtLeast(bound) => ("≥", bound),
            AtMost(bound) => ("≤", bound),
        };
        let Times(peer, table) = self.is else { return format!("{sign} {bound}") };
        let reference = match (peer, found) {
            (Reference::Named(name), _) => name.to_string(),
            (Reference::Same, _) => "itself".to_string(),
            (Reference::BestFloor(_), Some(name)) => format!("`{name}`"),
            (Reference::BestFloor(_), None) => "the best floor".to_string(),
        };
        let place = table.map_or_else(String::new, |table| format!(" in {table}"));
        format!("{sign} {bound} × {reference}{place}")
    }
}

/// The table of targets, and how many of those measured are met.
pub(crate) fn markdown(tables: &[Table]) -> String {
    let (mut rows, mut met, mut measured) = (String::new(), 0, 0);
    for target in targets() {
        let found = target.measured(tables);
        let (value, verdict) = match found {
            Some((value, _)) if target.met(value) => (number(value), "met"),
            Some((value, _)) => (number(value), "**not met**"),
            None => ("–".to_string(), "not measured"),
        };
        measured += usize::from(found.is_some());
        met += usize::from(verdict == "met");
        let goal = target.goal(found.and_then(|(_, name)| name));
        // writing to a String cannot fail
        let _ = writeln!(
            rows,
            "| {} | {} | {} | {goal} | {value} | {verdict} |",
            target.case, target.peer, target.figure
        );
    }
    format!(
        "\n### Targets\n\n{met} of {measured} measured targets are met.\n\n\
         | case | peer | figure | target | measured | |\n|---|---|---|---|---:|---|\n{rows}"
    )
}
