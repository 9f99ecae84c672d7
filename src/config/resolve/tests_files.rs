//! Options, defaults, names and settings of whole files.

use super::tests::*;
use super::*;
use crate::config::raw::Origin;
use crate::config::{CharDelay, Family, Template, Traces};
use proptest::prelude::*;
use std::time::Duration;

#[test]
fn options_of_a_connection() {
    let (connection, diagnostics) = with("tcp,2000", DEVICE, &[]);
    let plain = connection.unwrap();
    assert!(diagnostics.is_empty());
    assert_eq!(plain.timeout, None);
    let o = &plain.options;
    assert_eq!((o.kickolduser, o.max_connections, o.chardelay), (false, 1, CharDelay::On));
    assert_eq!((o.chardelay_scale, o.chardelay_min, o.chardelay_max), (20, 1000, 20_000));
    assert_eq!((o.dev_to_net_bufsize, o.net_to_dev_bufsize), (64, 64));
    assert_eq!(o.accepter_retry, Duration::from_secs(20));
    assert!(o.refusal_text && o.remaddr.is_empty() && o.allow.is_none() && o.banner.is_none());

    let (connection, diagnostics) = with(
        "tcp,2000",
        DEVICE,
        &[
            ("timeout", "30"),
            ("Kickolduser", ""),
            ("banner", "one"),
            ("banner", "two\\r\\n"),
            ("openstr", ""),
            ("signature", ""),
            ("closeon", "BYE"),
            ("sendon", "\\n"),
            ("max-connections", "3"),
            ("remaddr", "127.0.0.1,0"),
            ("remaddr", "::1,5"),
            ("allow", "10.0.0.0/8 192.168.1.1"),
            ("refusal-text", "off"),
            ("telnet-brk-on-sync", "false"),
            ("mdns", "false"),
        ],
    );
    assert!(diagnostics.is_empty(), "{}", said(&diagnostics));
    let full = connection.unwrap();
    let o = &full.options;
    assert_eq!(full.timeout, Some(Duration::from_secs(30)));
    assert!(o.kickolduser && !o.refusal_text);
    assert_eq!(o.banner, Some(Template(b"two\\r\\n".to_vec())));
    assert_eq!((&o.openstr, &o.signature), (&None, &Some(Template(Vec::new()))));
    assert_eq!((o.remaddr.len(), o.allow.as_ref().map(Vec::len), o.max_connections), (2, Some(2), 3));

    let chardelay = |text| with("tcp,2000", DEVICE, &[("chardelay", text)]).0.unwrap().options.chardelay;
    for (text, meant) in [("adaptive", CharDelay::Adaptive), ("", CharDelay::On), ("no", CharDelay::Off)] {
        assert_eq!(chardelay(text), meant, "{text}");
    }
}

#[test]
fn options_that_are_refused_or_remarked_on() {
    for (name, value, why) in [
        ("foo", "bar", "unknown option 'foo'"),
        ("kickoldusers", "true", "did you mean kickolduser?"),
        ("kickolduser", "TRUE", "true or false"),
        ("telnet_brk_on_sync", "true", "did you mean telnet-brk-on-sync?"),
        ("chardelay", "sometimes", "chardelay must be true, false or adaptive, not 'sometimes'"),
        ("chardelay-min", "abc", "must be a number"),
        ("max-connections", "-1", "must be a number"),
        ("closeon", "", "needs a value"),
        ("remaddr", "", "needs a value"),
        ("remaddr", "127.0.0.1", "write host,port"),
        ("remaddr", "!127.0.0.1,0", "needs a port"),
        ("connback", "pty,h,1", "cannot be made to pty"),
        ("connback", "ssl,tcp,h,1", "ssl without CA"),
        ("connback", "tcp,h,1;tcp,h,2", "write max-connections: 2"),
        ("keepalive", "5/5", "idle/interval/count"),
        ("slow-client", "wait", "one of backpressure"),
        ("allow", "everybody", "not an address or a network"),
        ("speed", "9600", "in the connector"),
        ("enable", "on", "beside accepter"),
        ("hexdump", "true", "unknown option"),
        ("led-tx", "x", "there is no LED 'x'"),
        ("trace-both", "", "needs a value"),
        ("timeout", "abc", "timeout must be a number"),
        ("timeout", "10s", "timeout must be a number"),
        ("timeout", "1.5", "timeout must be a number"),
        ("timeout", "", "timeout must be a number"),
        ("rs485", "conf1", "write rs485 in the connector, behind the device"),
    ] {
        let (connection, diagnostics) = with("tcp,2000", DEVICE, &[(name, value)]);
        assert!(connection.is_none(), "{name}: {value}");
        assert!(said(&diagnostics).contains(why), "{name}: {value}: {}", said(&diagnostics));
    }
    for (name, value, later) in [
        ("authdir", "/x", true),
        ("max-connections", "0", false),
        ("chardelay-min", "5000000", false),
        ("timeout", "-1", false),
    ] {
        let (connection, diagnostics) = with("tcp,2000", DEVICE, &[(name, value)]);
        assert!(connection.is_some(), "{name}: {}", said(&diagnostics));
        assert_eq!((diagnostics.len(), diagnostics[0].later), (1, later), "{name}: {}", said(&diagnostics));
    }
    let timeout = |text| with("tcp,2000", DEVICE, &[("timeout", text)]).0.unwrap().timeout;
    assert_eq!(timeout("0"), None);
    assert!(timeout("99999999999") > Some(Duration::from_secs(1_000_000_000)));
}

#[test]
fn spans_point_into_the_string() {
    let file = File::default().connection("c", "telnet(rfc2218),tcp,2000", DEVICE, &[]);
    let (_, diagnostics) = file.resolve();
    let span = diagnostics[0].span.as_ref().unwrap();
    assert_eq!(&span.source.text[span.start..span.end], "rfc2218");
    assert_eq!(span.line_column(), (2, 20));
}

#[test]
fn defaults_in_force() {
    let file = File::default()
        .in_force("speed", "115200e71")
        .in_force("serialdev:local", "true")
        .in_force("local", "false")
        .in_force("rfc2217", "true")
        .in_force("kickolduser", "true")
        .in_force("max-connections", "4")
        .in_force("remaddr", "10.0.0.1,0")
        .in_force("authdir", "/x")
        .in_force("nosuch", "1")
        .connection("a", "telnet,2000", DEVICE, &[("max-connections", "2")])
        .connection(
            "b",
            "telnet(rfc2217=false),2001",
            &format!("{DEVICE},9600n81"),
            &[("remaddr", "10.0.0.2,0")],
        );
    let (config, diagnostics) = file.resolve();
    let [a, b] = config.connections.as_slice() else { panic!("{}", said(&diagnostics)) };
    assert_eq!(a.connector.line().to_string(), "115200E71");
    assert!(a.connector.line().local && a.accepter.telnet.unwrap().rfc2217 && a.options.kickolduser);
    assert_eq!((a.options.max_connections, b.options.max_connections), (2, 4));
    assert_eq!(b.connector.line().to_string(), "9600N81");
    assert!(!b.accepter.telnet.unwrap().rfc2217);
    assert_eq!(a.options.remaddr[0].net.to_string(), "10.0.0.1/32");
    assert_eq!(b.options.remaddr.iter().map(|r| r.net.to_string()).collect::<Vec<_>>(), ["10.0.0.2/32"]);
    // authdir and nosuch, each once although two connections have them.
    assert_eq!(diagnostics.len(), 2, "{}", said(&diagnostics));

    let bad = File::default().in_force("speed", "abc").connection("a", "tcp,2000", DEVICE, &[]);
    let (config, diagnostics) = bad.resolve();
    assert_eq!(config.connections[0].connector.line().to_string(), "9600N81");
    assert!(said(&diagnostics).contains("9600N81 is used"));
}

#[test]
fn names_are_unique() {
    let file = File::default()
        .connection("a", "tcp,2000", DEVICE, &[])
        .connection("a", "tcp,2001", DEVICE, &[])
        .connection("b", "tcp,2002", DEVICE, &[]);
    let (config, diagnostics) = file.resolve_as(Origin::Legacy);
    let ports: Vec<u16> = config.connections.iter().map(|c| c.accepter.listen.addresses()[0].port).collect();
    assert_eq!(ports, [2000, 2002]);
    assert_eq!(diagnostics.len(), 1);
    assert!(diagnostics[0].message.contains("duplicate connection name 'a'"));
}

#[test]
fn settings_of_the_file() {
    let (config, diagnostics) = File::default()
        .setting("metrics", "9100")
        .setting("allow", "10.0.0.0/8")
        .connection("a", "tcp,2000", DEVICE, &[])
        .connection("b", "tcp,2001", DEVICE, &[("allow", "::1")])
        .resolve();
    assert!(diagnostics.is_empty(), "{}", said(&diagnostics));
    assert_eq!(config.metrics.map(|m| m.to_string()), Some("127.0.0.1:9100".into()));
    let allow = |i: usize| format!("{:?}", config.connections[i].options.allow.as_ref().unwrap());
    assert_eq!((allow(0), allow(1)), ("[10.0.0.0/8]".into(), "[::1/128]".into()));

    let (_, diagnostics) = File::default().setting("allow", "nobody").setting("metrix", "1").resolve();
    assert_eq!(diagnostics[0].severity, Severity::Fatal);
    assert!(said(&diagnostics).contains("did you mean metrics?"));
}

#[test]
fn one_bad_connection_costs_no_other() {
    let (config, diagnostics) = File::default()
        .connection("a", "tcp,abc", "bogus,x", &[("foo", "1")])
        .connection("b", "tcp,2001", DEVICE, &[])
        .resolve();
    assert_eq!(config.connections.len(), 1);
    // Every mistake is told, not only the first.
    assert_eq!(diagnostics.len(), 3, "{}", said(&diagnostics));
}

#[test]
fn families() {
    let family = |text| with(text, DEVICE, &[]).0.unwrap().accepter.listen.addresses()[0].family;
    assert_eq!(family("tcp,ipv4,2000"), Family::V4);
    assert_eq!(family("ipv6,2000"), Family::V6);
}

proptest! {
    #[test]
    fn any_connection_is_resolved_or_refused(
        accepter in "(telnet|ssl|tcp|[a-z0-9(),=. :\"\\\\]{0,8}|,){0,6}",
        connector in "(serialdev|/dev/x|[a-z0-9(),=. :'\\\\é]{0,8}|,){0,6}",
        option in "[a-z-]{0,12}", value in "[ -~é]{0,12}",
        known in 0usize..options::OPTIONS.len(),
    ) {
        let known = options::OPTIONS[known].name;
        // remaddr looks names up, which belongs to no unit test.
        prop_assume!(option != "remaddr" && known != "remaddr");
        let (config, said) = File::default()
            .in_force(known, &value)
            .connection("c", &accepter, &connector, &[(&option, &value), (known, &value)])
            .resolve();
        let failed = said.iter().any(|d| d.severity >= Severity::Error);
        prop_assert_eq!(config.connections.is_empty(), failed);
        super::super::render::render(&said);
    }
}

#[test]
fn trace_options_count_in_the_order_in_which_they_are_written() {
    let styles = |options: &[(&str, &str)]| {
        let traces = with("tcp,2000", DEVICE, options).0.unwrap().options.traces.clone();
        let Traces { read, write, both } = traces;
        [read, write, both].map(|file| (file.hexdump, file.timestamp))
    };
    let (t, f) = ((true, false), (false, false));
    assert_eq!(styles(&[("trace-hexdump", "true"), ("trace-read-hexdump", "false")]), [f, t, t]);
    assert_eq!(styles(&[("trace-read-hexdump", "false"), ("trace-hexdump", "true")]), [t, t, t]);
    assert_eq!(
        styles(&[("trace-both-timestamp", "true"), ("trace-write-hexdump", "yes")]),
        [f, t, (false, true)]
    );
    assert_eq!(styles(&[("trace-timestamp", "true"), ("trace-timestamp", "false")]), [f, f, f]);
    let (connection, diagnostics) =
        with("tcp,2000", DEVICE, &[("tr", "/r"), ("trace-write", "/w\\p"), ("tb", "/b")]);
    assert!(diagnostics.is_empty(), "{}", said(&diagnostics));
    let Traces { read, write, both } = connection.unwrap().options.traces.clone();
    let names = [read, write, both].map(|file| String::from_utf8(file.name.unwrap().0).unwrap());
    assert_eq!(names, ["/r", "/w\\p", "/b"]);
}
