use super::*;
use crate::config::raw::RawLed;

fn read(text: &str) -> Session {
    let mut session = Session::default();
    session.read(&Arc::new(Source::new("t", text)));
    session
}

/// Accepter, connector and options as `name=value` of the only connection.
fn one(text: &str) -> (String, String, Vec<String>) {
    let session = read(text);
    assert_eq!(session.file.connections.len(), 1, "{:?}", session.diagnostics);
    let c = &session.file.connections[0];
    (c.accepter.value.clone(), c.connector.value.clone(), options(c))
}

fn options(connection: &RawConnection) -> Vec<String> {
    let all = connection.defaults.iter().chain(&connection.options);
    all.map(|o| match o.value.as_ref().map(|v| &v.value) {
        Some(RawValue::Scalar(value)) => format!("{}={value}", o.name.value),
        other => panic!("{other:?}"),
    })
    .collect()
}

/// The diagnostic that a text gives, as severity, marked text, message and help.
fn complaint(text: &str) -> (Severity, String, String, String) {
    let session = read(text);
    assert_eq!(session.diagnostics.len(), 1, "{:?}", session.diagnostics);
    let d = &session.diagnostics[0];
    let span = d.span.as_ref().unwrap();
    let marked = span.source.text[span.start..span.end].to_owned();
    (d.severity, marked, d.message.clone(), d.help.clone().unwrap_or_default())
}

#[test]
fn connector_strings_are_those_that_ser2net_4_makes() {
    // recorded with the banner \p and \d of ser2net 4.3.11
    let connector = |options: &str| one(&format!("1:raw:0:/dev/L:{options}")).1;
    assert_eq!(connector("9600 LOCAL"), "/dev/L,9600,LOCAL");
    assert_eq!(connector(""), "/dev/L");
    assert_eq!(
        connector("-remctl LOCAL EVEN 9600 8DATABITS 1STOPBIT"),
        "/dev/L,LOCAL,EVEN,9600,8DATABITS,1STOPBIT"
    );
    assert_eq!(
        connector("9600 -RTSCTS -XONXOFF RTSCTS XONXOFF"),
        "/dev/L,9600,rtscts=false,xonxoff=false,RTSCTS,XONXOFF"
    );
    assert_eq!(
        connector("NOBREAK -NOBREAK HANGUP_WHEN_DONE -HANGUP_WHEN_DONE -LOCAL"),
        "/dev/L,NOBREAK,nobreak=false,hangup-when-done,hangup-when-done=false,local=false"
    );
    assert_eq!(one("1:rawlp:0:/dev/L:9600 NONE").1, "/dev/L,9600,NONE,WRONLY");
    assert_eq!(one("1:rawlp:0:/dev/L").1, "/dev/L,WRONLY");
    assert_eq!(one("1:raw:0:serialdev,/dev/L:9600").1, "serialdev,/dev/L,9600");
    assert_eq!(one("1:raw:0:sol.lan -U a host:9600").1, "ipmisol,lan -U a host,9600");
}

#[test]
fn accepter_strings_keep_the_port_as_written() {
    let accepter = |line: &str| one(line).0;
    assert_eq!(accepter("2000:raw:0:/d:9600"), "2000");
    assert_eq!(accepter(" tcp,127.0.0.1,2000:raw:0:/d"), "tcp,127.0.0.1,2000");
    assert_eq!(accepter("ipv6,tcp,::1,2000:telnet:0:/d"), "telnet,ipv6,tcp,::1,2000");
    assert_eq!(accepter("2000:telnet:0:/d:9600 remctl"), "telnet(rfc2217),2000");
    assert_eq!(accepter("2000:telnet:0:/d:remctl -remctl"), "telnet,2000");
    assert_eq!(accepter("2000:raw:0:/d:remctl"), "2000");
    assert_eq!(accepter("DEFAULT:remctl:true\n2000:telnet:0:/d"), "telnet(rfc2217),2000");
    let off = read("2000:off:5:/d:9600");
    assert!(!off.file.connections[0].enabled);
    assert_eq!(off.file.connections[0].timeout.as_ref().unwrap().value, "5");
}

#[test]
fn names_of_definitions_are_options() {
    let (_, connector, options) = one(
        "BANNER:b:old\nBANNER:b:a:b\\r\\n\\\nmore\nOPENSTR:o:O\nCLOSESTR:c:C\nCLOSEON:k:K\nSIGNATURE:s:S\n\
         TRACEFILE:t:/tmp/t\nTRACEFILE:u:/tmp/u\nRS485CONF:r:0:1:0:1\nLED:l:sysfs:device=x\n\
         1:raw:0:/d:b o c k s tr=t tw=u rs485=r led-tx=l hexdump tb-timestamp banner=\"x y\"",
    );
    assert_eq!(
        options,
        [
            "banner=a:b\\r\\nmore",
            "openstr=O",
            "closestr=C",
            "closeon=K",
            "signature=S",
            "trace-read=/tmp/t",
            "trace-write=/tmp/u",
            "led-tx=l",
            "trace-hexdump=true",
            "trace-both-timestamp=true",
            "banner=x y"
        ]
    );
    assert_eq!(connector, "/d,rs485=0:1:rts_after_send:rx_during_tx");
    // a name like a word of the format is that word; a small number is a name
    assert_eq!(one("BANNER:EVEN:x\n1:raw:0:/d:EVEN").1, "/d,EVEN");
    assert_eq!(one("BANNER:0:x\n1:raw:0:/d:9600 0").2, ["banner=x"]);
}

#[test]
fn rs485_needs_its_definition() {
    let rs485 = |conf: &str| one(&format!("RS485CONF:r:{conf}\n1:raw:0:/d:9600 rs485=r")).1;
    assert_eq!(rs485("0:0:0:0"), "/d,9600,rs485=0:0:rts_after_send");
    assert_eq!(rs485("10:20:1:1"), "/d,9600,rs485=10:20:rts_on_send:rx_during_tx");
    for (text, why) in [
        ("1:raw:0:/d:9600 rs485=r", "no RS485CONF: line above defines 'r'"),
        ("RS485CONF:r:0:0:0\n1:raw:0:/d:9600 rs485=r", "has no two delays"),
        ("RS485CONF:r:0:0:2:0\n1:raw:0:/d:9600 rs485=r", "has no two delays"),
        ("RS485CONF:r:0:0:0:0:0\n1:raw:0:/d:9600 rs485=r", "has no two delays"),
        ("RS485CONF:r:a:0:0:0\n1:raw:0:/d:9600 rs485=r", "has no two delays"),
    ] {
        let session = read(text);
        assert!(session.file.connections.is_empty(), "{text}");
        assert!(session.diagnostics[0].message.contains(why), "{:?}", session.diagnostics);
    }
}

#[test]
fn a_device_name_stands_for_its_path_but_not_in_o() {
    let (_, connector, options) =
        one("DEVICE:my:/dev/by-path/a:b\nBANNER:b:\\d \\o \\\\o\n1:raw:0:my:9600 b");
    assert_eq!(connector, "/dev/by-path/a:b,9600");
    assert_eq!(options, ["banner=\\d my \\\\o"]);
}

#[test]
fn commas_separate_as_in_2_x_but_not_in_texts() {
    let (_, connector, options) =
        one("BANNER:b:x\n1:raw:0:/d:9600,LOCAL,b,kickolduser\tremaddr=1.2.3.4,0;!5.6.7.8,0");
    assert_eq!(connector, "/d,9600,LOCAL");
    assert_eq!(options, ["banner=x", "kickolduser=true", "remaddr=1.2.3.4,0;!5.6.7.8,0"]);
    assert_eq!(one("1:raw:0:/d:9600,remaddr=1.2.3.4,0").2, ["remaddr=1.2.3.4,0"]);
}

#[test]
fn defaults_come_first_and_the_last_one_of_a_name_counts() {
    let (_, _, options) = one(
        "DEFAULT:speed:300\nDEFAULT:kickolduser:true\nDEFAULT:speed:9600\nDEFAULT:telnet_brk_on_sync:true:ser2net\n\
         1:raw:0:/d:-kickolduser",
    );
    assert_eq!(
        options,
        [":kickolduser=true", ":speed=9600", "ser2net:telnet-brk-on-sync=true", "kickolduser=false"]
    );
}

#[test]
fn mistakes_are_named_with_what_to_write() {
    use Severity::{Error, Warning};
    let line = |options: &str| complaint(&format!("2000:raw:0:/dev/x:{options}"));
    let check = |found: (Severity, String, String, String), severity, marked: &str, help: &str| {
        assert_eq!((found.0, found.1.as_str()), (severity, marked), "{found:?}");
        assert!(found.3.contains(help), "{found:?}");
    };
    check(line("9600 nosuchword"), Error, "nosuchword", "an option is");
    check(line("9600 2STOPBIT LOCAL"), Error, "2STOPBIT", "'2STOPBITS'");
    check(line("9600,local"), Error, "local", "'LOCAL' in capitals");
    check(line("9600 foo=bar"), Error, "foo=bar", "");
    check(line("9600 led-tx=nosuch"), Error, "led-tx=nosuch", "");
    check(line("9600 NON"), Warning, "NON", "'NONE'");
    check(line("9600 banner1"), Warning, "banner1", "BANNER:banner1:text");
    check(line("9600 banner"), Warning, "banner", "remove the word");
    check(complaint("BANNER:banner:x\n1:raw:0:/d:9600 banner"), Warning, "banner", "another name");
    check(line("9600 # LOCAL"), Warning, "# LOCAL", "line of its own");
    check(complaint("2000:RAW:0:/dev/x"), Error, "RAW", "'raw'");
    check(complaint("2000: raw:0:/dev/x"), Error, " raw", "'raw'");
    check(complaint("2000:raw::/dev/x"), Error, "", "0 for no timeout");
    check(complaint("2000:raw:1.5:/dev/x"), Error, "1.5", "0 for no timeout");
    check(complaint("2000:raw:0"), Error, "2000:raw:0", "<device>");
    check(complaint("2000:raw:0:ttyS0:9600"), Error, "ttyS0", "/dev/ttyS0");
    check(complaint("2000:raw:0:{{DEV}}:9600"), Error, "{{DEV}}", "placeholder");
    check(complaint("2000:raw:0:dev:/tty/x:9600 NONE"), Error, "dev:/tty/x:9600", "behind the whole device");
    check(complaint("1.2.3.4:20:raw:0:/dev/x"), Error, "1.2.3.4:20", "'1.2.3.4,20'");
    check(complaint("hello world"), Error, "hello world", "<port>");
    check(complaint("banner:b1:x"), Error, "b1", "'BANNER:' in capitals");
    check(complaint("BANNER::x"), Error, "BANNER::x", "BANNER:name:text");
    check(complaint("SIGNATURE:s1"), Error, "SIGNATURE:s1", "");
    check(complaint("DEFAULT:parity:even"), Warning, "parity", "9600e71");
}

#[test]
fn one_bad_line_does_not_take_the_good_ones_down() {
    let session = read("1:raw:0:/d:9600\r\n2:raw:0:/d:bogus\r\n3:raw:0:/d:9600 \\\r\n  LOCAL\r\n");
    let names: Vec<_> = session.file.connections.iter().map(|c| c.name.value.as_str()).collect();
    assert_eq!(names, ["1", "3"]);
    assert_eq!(session.file.connections[1].connector.value, "/d,9600,LOCAL");
    assert_eq!(session.diagnostics[0].connection.as_deref(), Some("2"));
}

#[test]
fn rotators_and_control_ports() {
    let session = read("ROTATOR:4001:2000 2001\nCONTROLPORT:localhost,3000\n");
    let [rotator] = session.file.rotators.as_slice() else { panic!("{:?}", session.file.rotators) };
    assert_eq!((rotator.name.value.as_str(), rotator.accepter.value.as_str()), ("rotator-4001", "4001"));
    let marked: Vec<_> = rotator.members.iter().map(|m| (m.value.as_str(), m.span.start)).collect();
    assert_eq!(marked, [("2000", 13), ("2001", 18)]);
    assert_eq!(session.file.admins[0].accepter.value, "localhost,3000");
    assert!(session.diagnostics.is_empty());
}

#[test]
fn leds_and_trace_files() {
    let session = read(
        "LED:rx:sysfs:device=a:b:c duration=20 state\nLED:old:beaglebone:green 10\n\
         1:raw:0:/d:tb=nosuch tr=/tmp/x LOCAL\n",
    );
    let said = |led: &RawLed| {
        let options = led.options.iter().map(|(key, value)| format!("{}={:?}", key.value, value.value));
        format!(
            "{} {} {}",
            led.name.value,
            led.driver.as_ref().unwrap().value,
            options.collect::<Vec<_>>().join(" ")
        )
    };
    let leds: Vec<String> = session.file.leds.iter().map(said).collect();
    assert_eq!(
        leds,
        [
            "rx sysfs device=Scalar(\"a:b:c\") duration=Scalar(\"20\") state=Scalar(\"\")",
            "old beaglebone green=Scalar(\"\") 10=Scalar(\"\")"
        ]
    );
    // as recorded from 3.5.1 and 4.3.11: the port runs, and nothing is traced
    assert!(session.file.connections[0].options.is_empty());
    let messages: Vec<_> = session.diagnostics.iter().map(|d| (d.severity, d.message.as_str())).collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages.iter().all(|(s, m)| *s == Severity::Warning && m.contains("nothing is traced")));
}
