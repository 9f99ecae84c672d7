use crate::broker::read;
use crate::config::error::Severity;
use crate::config::load::Inputs;

const PORT: &str =
    "connection: &a\n  accepter: tcp,1\n  connector: serialdev,/dev/x\n  options:\n    led-tx: *l\n";

/// What is said about LEDs, the LEDs, and whether the port that uses `l` runs, and with it.
fn leds(text: &str) -> (Vec<String>, Vec<String>, Option<bool>) {
    let reading = read(&Inputs { yaml: vec![format!("{text}{PORT}")], ..Inputs::default() });
    let said = reading.diagnostics.iter().map(|d| format!("{:?}: {}", d.severity, d.message)).collect();
    let show = |led: &std::sync::Arc<crate::config::Led>| {
        format!("{} {} {} {}", led.name, led.device, led.duration_ms, led.lit_by_one)
    };
    let runs = reading.config.connections.first().map(|c| c.options.led_tx.is_some());
    (said, reading.config.leds.iter().map(show).collect(), runs)
}

#[test]
fn leds_as_recorded() {
    let whole =
        "led: &l\n  driver: sysfs\n  options:\n    device: \"duck:red\"\n    duration: 20\n    state: 0\n";
    assert_eq!(leds(whole), (vec![], vec!["l duck:red 20 false".into()], Some(true)));
    let least = "led: &l\n  driver: sysfs\n  options:\n    device: green\n";
    assert_eq!(leds(least), (vec![], vec!["l green 10 true".into()], Some(true)));
    // the first of two counts
    let (said, list, runs) = leds(&format!("{least}{whole}"));
    assert!(said.len() == 1 && said[0].contains("defined already"), "{said:?}");
    assert_eq!((list, runs), (vec!["l green 10 true".to_owned()], Some(true)));
    // version 2 has the same
    let second = "leds:\n  l:\n    driver: sysfs\n    options:\n      device: green\n";
    let text = format!(
        "{second}connections:\n  a:\n    accepter: tcp,1\n    connector: serialdev,/dev/x\n    options:\n      led-rx: l\n"
    );
    let reading = read(&Inputs { yaml: vec![text], ..Inputs::default() });
    assert!(reading.diagnostics.is_empty(), "{:?}", reading.diagnostics);
    assert_eq!(reading.config.connections[0].options.led_rx.as_ref().unwrap().device.as_ref(), "green");
}

#[test]
fn wrong_values_are_those_of_the_manual() {
    let led =
        |options: &str| leds(&format!("led: &l\n  driver: sysfs\n  options:\n    device: g\n{options}"));
    for (options, message) in [
        ("    duration: abc\n", "duration must be a number of milliseconds"),
        ("    duration: 0\n", "duration must be a number of milliseconds"),
        ("    state: 255\n", "state must be 0 or 1"),
        ("    foo: bar\n", "unknown option 'foo'"),
    ] {
        let (said, list, runs) = led(options);
        assert_eq!((list, runs), (vec!["l g 10 true".to_owned()], Some(true)), "{options}");
        assert!(said.len() == 1 && said[0].starts_with("Warning") && said[0].contains(message), "{said:?}");
    }
}

#[test]
fn a_port_runs_without_an_led_that_cannot_be_used_but_not_with_a_name_that_is_not_there() {
    for (text, message) in [
        ("led: &l\n  driver: bogus\n", "unknown LED driver 'bogus'"),
        ("led: &l\n  driver: sysfs\n", "has no device"),
        ("led: &l\n", "has no driver"),
        ("led: &l\n  driver: sysfs\n  options:\n    device: ../../etc\n", "no name of an LED"),
        ("led: &l\n  driver: sysfs\n  options: x\n", "no options of an LED"),
    ] {
        let (said, list, runs) = leds(text);
        assert_eq!((list.len(), runs), (0, Some(false)), "{text}");
        assert!(said.iter().all(|s| s.starts_with("Warning")), "{said:?}");
        assert!(said.iter().any(|s| s.contains(message)), "{said:?}");
    }
    let (said, _, runs) = leds("define: &l text\n");
    assert_eq!(runs, None);
    assert!(
        said[0].starts_with(&format!("{:?}", Severity::Error)) && said[0].contains("no LED 'text'"),
        "{said:?}"
    );
}
