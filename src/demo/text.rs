//! The texts of the demo.

use super::{Place, Places};
use std::fmt::Write;

/// How a connection of the demo is reached.
#[derive(Clone, Copy)]
enum Protocol {
    Raw,
    Rfc2217,
}

/// A double-quoted YAML scalar.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn connection(name: &str, place: &Place, protocol: Protocol, line: &str) -> String {
    let accepter = match protocol {
        Protocol::Raw => format!("tcp,127.0.0.1,{}", place.port),
        Protocol::Rfc2217 => format!("telnet(rfc2217),tcp,127.0.0.1,{}", place.port),
    };
    let connector = quoted(&format!("serialdev,{},{line},local", place.device.display()));
    // ser2net's default of one client would hide that data goes to all of them
    format!(
        "connection: &{name}\n  accepter: {accepter}\n  connector: {connector}\n  options:\n    max-connections: 4\n\n"
    )
}

/// The four connections and the health endpoints, in the first version of the YAML format.
pub(super) fn config_yaml(places: &Places) -> String {
    let mut text =
        format!("%YAML 1.1\n---\n# the configuration of serbroker demo\nmetrics: {}\n\n", places.metrics);
    for (name, place, protocol, line) in [
        ("meter", &places.meter_raw, Protocol::Raw, "1200e71"),
        ("meter-rfc2217", &places.meter_rfc2217, Protocol::Rfc2217, "1200e71"),
        ("echo", &places.echo_raw, Protocol::Raw, "115200n81"),
        ("echo-rfc2217", &places.echo_rfc2217, Protocol::Rfc2217, "115200n81"),
    ] {
        text.push_str(&connection(name, place, protocol, line));
    }
    text
}

/// What is there and what to try.
pub(super) fn instructions(places: &Places) -> String {
    let mut text = String::from("Simulated serial devices, served on loopback:\n\n");
    for (what, place, how) in [
        ("meter, one frame a second at 1200 7E1", &places.meter_raw, "raw"),
        ("the same", &places.meter_rfc2217, "telnet with RFC 2217"),
        ("echo device", &places.echo_raw, "raw"),
        ("the same", &places.echo_rfc2217, "telnet with RFC 2217"),
    ] {
        // writing to a String cannot fail
        let _ = writeln!(text, "  127.0.0.1:{:<6} {how:<21} {what}", place.port);
    }
    let (meter, echo) = (places.meter_raw.port, places.echo_raw.port);
    let (telnet, remote, metrics) = (places.echo_rfc2217.port, places.meter_rfc2217.port, places.metrics);
    let _ = write!(
        text,
        "
Try, in another terminal:

  nc 127.0.0.1 {meter}              # the meter's frames; a second nc sees them too
  nc 127.0.0.1 {echo}              # type a line, it comes back
  telnet 127.0.0.1 {telnet}          # the same through telnet; Ctrl-] and quit to leave
  curl http://{metrics}/metrics
  curl http://{metrics}/readyz

  python3 -c '
import serial
meter = serial.serial_for_url(\"rfc2217://127.0.0.1:{remote}\", 1200, bytesize=7, parity=\"E\")
print(meter.read_until(b\"\\x03\"))
'

The last one needs pyserial. Ctrl-C ends the demo.
"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn places() -> Places {
        let place = |port, name: &str| Place { port, device: PathBuf::from(format!("/tmp/a \"b\\/{name}")) };
        Places {
            meter_raw: place(20001, "m"),
            meter_rfc2217: place(20002, "n"),
            echo_raw: place(20003, "e"),
            echo_rfc2217: place(20004, "f"),
            metrics: "127.0.0.1:9717".parse().unwrap(),
        }
    }

    #[test]
    fn config_is_yaml_with_four_connections() {
        let text = config_yaml(&places());
        // the key `connection` repeats, which plain YAML readers refuse: read one part at a time
        let mut parts = text.split("connection: ");
        let head = parts.next().unwrap();
        assert!(head.starts_with("%YAML 1.1\n---\n") && head.contains("metrics: 127.0.0.1:9717\n"));
        let connections: Vec<serde_yaml::Value> =
            parts.map(|part| serde_yaml::from_str(&format!("connection: {part}")).unwrap()).collect();
        assert_eq!(connections.len(), 4);
        let of = |index: usize, key: &str| connections[index]["connection"][key].as_str().unwrap().to_owned();
        assert_eq!(of(0, "accepter"), "tcp,127.0.0.1,20001");
        assert_eq!(of(0, "connector"), "serialdev,/tmp/a \"b\\/m,1200e71,local");
        assert_eq!(of(3, "accepter"), "telnet(rfc2217),tcp,127.0.0.1,20004");
        assert_eq!(connections[2]["connection"]["options"]["max-connections"], 4);
    }

    #[test]
    fn instructions_name_every_place() {
        let text = instructions(&places());
        for part in [
            "nc 127.0.0.1 20001",
            "nc 127.0.0.1 20003",
            "telnet 127.0.0.1 20004",
            "rfc2217://127.0.0.1:20002",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(text.contains("curl http://127.0.0.1:9717/metrics\n"));
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
}
