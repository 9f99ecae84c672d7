//! The metric families of ports and their text form.
//!
//! The text is written straight from the counters of the ports. A thousand ports have 65,000 series;
//! as objects of a metrics library they take tens of megabytes for as long as an answer is made, on
//! the thread that also moves data. Format: the Prometheus text format 0.0.4,
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use super::labels::{CloseReason, DeviceFailure, Direction, DropDirection, DropReason, Label, PortState};
use super::labels::{Refusal, SerialError, TraceDrop};
use super::port::PortMetrics;
use std::fmt::Write;
use std::sync::Arc;

/// A label with a fixed set of values.
#[derive(Debug)]
struct Values {
    name: &'static str,
    texts: &'static [&'static str],
}

const fn label<L: Label>(name: &'static str) -> Values {
    Values { name, texts: L::TEXTS }
}

/// A family with a `port` label.
struct Family {
    /// Without the prefix that all of them have.
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    /// Labels beside `port`, the one whose value changes slowest first.
    labels: &'static [Values],
    /// Value of a series of a port; the series are counted as the labels' values follow each other.
    value: fn(&PortMetrics, usize) -> u64,
}

const fn counter(
    name: &'static str,
    help: &'static str,
    labels: &'static [Values],
    value: fn(&PortMetrics, usize) -> u64,
) -> Family {
    Family { name, kind: "counter", help, labels, value }
}

const fn gauge(
    name: &'static str,
    help: &'static str,
    labels: &'static [Values],
    value: fn(&PortMetrics, usize) -> u64,
) -> Family {
    Family { name, kind: "gauge", help, labels, value }
}

/// Every family of ports, by name.
const FAMILIES: &[Family] = &[
    counter("bytes_total", "Bytes moved, by direction.", &[label::<Direction>("direction")], |port, i| {
        port.bytes.at(i)
    }),
    gauge("clients", "Clients attached now.", &[], |port, _| port.clients()),
    counter("connections_total", "Clients that were let in.", &[], |port, _| port.connections.get()),
    gauge(
        "device_fault",
        "1 for the reason why the device is known to be bad; all 0 when it is not.",
        &[label::<DeviceFailure>("reason")],
        |port, i| port.fault.is(i),
    ),
    counter(
        "device_open_failures_total",
        "Failed opens of the device, by reason.",
        &[label::<DeviceFailure>("reason")],
        |port, i| port.seldom().open_failures.at(i),
    ),
    counter("device_opens_total", "Successful opens of the device.", &[], |port, _| port.opens.get()),
    gauge("device_up", "1 when the device is open.", &[], |port, _| port.state.is(PortState::Open.index())),
    counter(
        "disconnects_total",
        "Clients that are gone after having been let in, by reason.",
        &[label::<CloseReason>("reason")],
        |port, i| port.seldom().disconnects.at(i),
    ),
    counter(
        "dropped_bytes_total",
        "Bytes that did not arrive, by direction and reason.",
        &[label::<DropDirection>("direction"), label::<DropReason>("reason")],
        |port, i| port.seldom().dropped[i / DropReason::VALUES.len()].at(i % DropReason::VALUES.len()),
    ),
    counter("kicks_total", "Clients thrown out for a newer one.", &[], |port, _| {
        port.seldom().disconnects.of(CloseReason::Kicked)
    }),
    gauge("listener_up", "1 when the port listens for clients.", &[], |port, _| port.is_listening()),
    counter(
        "refusals_total",
        "Clients that were turned away, by reason.",
        &[label::<Refusal>("reason")],
        |port, i| port.seldom().refusals.at(i),
    ),
    counter(
        "serial_errors_total",
        "Errors and breaks counted by the UART, by kind.",
        &[label::<SerialError>("kind")],
        |port, i| port.seldom().serial_errors.at(i),
    ),
    gauge(
        "state",
        "1 for the state that the port is in, 0 for the others.",
        &[label::<PortState>("state")],
        |port, i| port.state.is(i),
    ),
    counter(
        "telnet_malformed_total",
        "Malformed or endless telnet sequences from clients.",
        &[],
        |port, _| port.seldom().telnet_malformed.get(),
    ),
    counter(
        "trace_dropped_bytes_total",
        "Bytes of data that are missing in trace files, by reason.",
        &[label::<TraceDrop>("reason")],
        |port, i| port.seldom().trace_dropped.at(i),
    ),
];

impl Family {
    /// What stands before and behind the port's name in the line of each series, up to the number.
    /// Labels are sorted, as the table has them.
    fn series(&self) -> Vec<(String, String)> {
        let mut series = vec![(format!("serbroker_port_{}{{", self.name), String::new())];
        for Values { name, texts } in self.labels {
            let all = series.iter().flat_map(|(before, behind)| {
                texts.iter().map(move |text| {
                    if *name < "port" {
                        (format!("{before}{name}=\"{text}\","), behind.clone())
                    } else {
                        (before.clone(), format!("{behind},{name}=\"{text}\""))
                    }
                })
            });
            series = all.collect();
        }
        series.into_iter().map(|(before, behind)| (before + "port=\"", format!("\"{behind}}} "))).collect()
    }
}

/// A label's value in the text format.
pub(super) fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Appends the series of all `ports`, family by family, zero or not: of a series that begins with
/// its first event, a query cannot see that event.
pub(super) fn write(ports: &[Arc<PortMetrics>], text: &mut String) {
    if ports.is_empty() {
        return;
    }
    let names: Vec<String> = ports.iter().map(|port| escaped(port.name())).collect();
    for family in FAMILIES {
        let Family { name, kind, help, .. } = family;
        let series = family.series();
        // writing to a String does not fail
        let _ = write!(text, "# HELP serbroker_port_{name} {help}\n# TYPE serbroker_port_{name} {kind}\n");
        for (port, port_name) in ports.iter().zip(&names) {
            for (i, (before, behind)) in series.iter().enumerate() {
                let value = (family.value)(port, i);
                let _ = writeln!(text, "{before}{port_name}{behind}{value}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        assert!(FAMILIES.is_sorted_by_key(|family| family.name));
        for family in FAMILIES {
            assert!(family.labels.is_sorted_by_key(|label| label.name), "{}", family.name);
            assert!(!family.help.contains(['\\', '\n']), "{}: would have to be escaped", family.name);
            assert_eq!(family.kind == "counter", family.name.ends_with("_total"), "{}", family.name);
        }
    }
}
