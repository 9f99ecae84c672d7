use super::*;
use crate::config::CharDelay;
use crate::config::announce::{Announce, NetType};
use crate::config::connector::{self, Directions, Filter, MsgDelim, RateLimit, TraceTap};
use crate::config::{
    Accepter, Admin, Cable, ClientFilters, ConnectBack, Connection, Connector, Destination, Family,
    Keepalive, Led, Listen, ListenAddress, Options, RemoteRule, Rotator, SlowClient, StdioListen, TcpListen,
    TelnetOptions, Template, TlsOptions, TraceFile, Traces, UdpListen, UnixListen, Wrap,
};
use crate::serial::settings::{DeviceConfig, Flow, LineSettings, Parity, Rs485};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

fn converted(text: &str) -> Conversion {
    let conversion = convert(text, "ser2net.conf", Path::new("/nonexistent/ser2net.conf"));
    let again = convert(&conversion.text, "new.yaml", Path::new("/nonexistent/new.yaml"));
    assert_eq!(conversion.text, again.text, "a second conversion changes something");
    conversion
}

/// Nothing is lost, and the text below the header is as expected.
#[track_caller]
fn becomes(text: &str, expected: &str) {
    let conversion = converted(text);
    assert!(conversion.is_complete(), "{:?}", conversion.remarks);
    let header = "%YAML 1.1\n---\n";
    assert_eq!(conversion.text.strip_prefix(header), Some(expected), "{:?}", conversion.remarks);
}

fn read(text: &str) -> Config {
    let source = Arc::new(Source::new("t.yaml", text));
    let Text { file: raw, diagnostics, .. } = load::load_source(&source, Path::new("t.yaml"));
    let (config, more) = resolve::resolve(&raw);
    let said: Vec<_> = diagnostics.iter().chain(&more).filter(|d| d.severity > Severity::Warning).collect();
    assert!(said.is_empty(), "{said:?}\n{text}");
    config
}

/// What people brought to ser2net's tracker when they moved from 3.x to 4.x.
#[test]
fn lines_that_people_had_to_translate_by_hand() {
    // 104: XONXOFF and -RTSCTS
    becomes(
        "2001:raw:600:/dev/ttyUSB0:115200 NONE 1STOPBIT 8DATABITS XONXOFF LOCAL -RTSCTS\n",
        "connections:\n  2001:\n    accepter: tcp,2001\n    \
         connector: serialdev,/dev/ttyUSB0,115200n81,xonxoff,local,rtscts=false\n    timeout: 600\n",
    );
    // 104: the word banner without its line
    becomes(
        "2021:raw:0:/dev/ttyUSB0:115200 8DATABITS NONE 1STOPBIT banner\n",
        "connections:\n  2021:\n    accepter: tcp,2021\n    connector: serialdev,/dev/ttyUSB0,115200n81\n",
    );
    // 45: an address, NOBREAK, and a banner that nothing defines
    becomes(
        "192.168.1.6,4001:raw:600:/dev/usbcom1:115200 8DATABITS NONE 1STOPBIT NOBREAK banner1\n",
        "connections:\n  192.168.1.6,4001:\n    accepter: tcp,192.168.1.6,4001\n    \
         connector: serialdev,/dev/usbcom1,115200n81,nobreak\n    timeout: 600\n    \
         # left out: banner1: no BANNER: line above defines 'banner1'; no banner is sent\n",
    );
    // 108: trace files with a time
    becomes(
        "BANNER:b:CONSOLE \\p\nTRACEFILE:tr1:/var/log/\\p-\\Y\n\
         6271:telnet:0:/dev/ttyUSB0:19200 8DATABITS NONE 1STOPBIT b tr=tr1 timestamp\n",
        "defines:\n  b: CONSOLE \\p\n  tr1: /var/log/\\p-\\Y\nconnections:\n  6271:\n    \
         accepter: telnet,tcp,6271\n    connector: serialdev,/dev/ttyUSB0,19200n81\n    options:\n      \
         banner: =(b)\n      trace-read: =(tr1)\n      trace-timestamp: true\n",
    );
    // 126: several speeds of one device, a banner with [\s]
    becomes(
        "BANNER:hello:\\r\\nSer2net \\p device \\d [\\s] \\r\\n\n\n\
         1041:raw:600:/dev/ttyUSB0:9600 8DATABITS NONE 1STOPBIT XONXOFF hello\n\
         32011:raw:600:/dev/ttyUSB0:57600 8DATABITS NONE 1STOPBIT hello\n",
        "defines:\n  hello: \\r\\nSer2net \\p device \\d [\\s] \\r\\n\n\nconnections:\n  1041:\n    \
         accepter: tcp,1041\n    connector: serialdev,/dev/ttyUSB0,9600n81,xonxoff\n    timeout: 600\n    \
         options:\n      banner: =(hello)\n  32011:\n    accepter: tcp,32011\n    \
         connector: serialdev,/dev/ttyUSB0,57600n81\n    timeout: 600\n    options:\n      banner: =(hello)\n",
    );
    // 64, 119: telnet with remctl is RFC 2217
    becomes(
        "2000:telnet:0:/dev/ttyUSB0:9600 8DATABITS NONE 1STOPBIT remctl\n",
        "connections:\n  2000:\n    accepter: telnet(rfc2217),tcp,2000\n    \
         connector: serialdev,/dev/ttyUSB0,9600n81\n",
    );
    // labgrid: 4.6 wants the type tcp
    becomes(
        "connection: &con1\n  accepter: telnet(rfc2217),3001\n  connector: serialdev,/dev/ttyUSB0,115200n81,local\n",
        "connections:\n  con1:\n    accepter: telnet(rfc2217),tcp,3001\n    \
         connector: serialdev,/dev/ttyUSB0,115200n81,local\n",
    );
}

/// 35: an option of the connection stands behind the device.
#[test]
fn what_does_not_run_becomes_a_comment_and_is_told() {
    let text = "define: &conbee \"/dev/serial/by-id/usb-dresden\"\nconnection: &con01\n  accepter: tcp,2001\n  \
                connector: serialdev,*(conbee),115200n81,kickolduser=true,local\n  enable: on\n\
                connection: &con02\n  accepter: tcp,2002\n  connector: serialdev,*(conbee),115200n81\n";
    let conversion = converted(text);
    assert!(!conversion.is_complete());
    let place = conversion.remarks[0].span.as_ref().map(Span::line_column);
    assert_eq!(place, Some((4, 44)), "{:?}", conversion.remarks);
    assert_eq!(
        conversion.text,
        "%YAML 1.1\n---\ndefines:\n  conbee: /dev/serial/by-id/usb-dresden\n\
         connections:\n  # left out: unknown option 'kickolduser=true' behind the device\n  \
         # connection: &con01\n  #   accepter: tcp,2001\n  \
         #   connector: serialdev,*(conbee),115200n81,kickolduser=true,local\n  #   enable: on\n  con02:\n    accepter: tcp,2002\n    connector: serialdev,=(conbee),115200n81\n"
    );
}

#[test]
fn comments_stay_where_they_were() {
    becomes(
        "# a file\n#  of mine\n\nBANNER:b:hi\n# the first\n2000:raw:0:/dev/ttyS0:9600 b # cable 1\n\n\
         # the second\n\n2001:off:0:/dev/ttyS1:9600\n#2002:raw:0:/dev/ttyS2\n",
        "# a file\n#  of mine\n\ndefines:\n  b: hi\nconnections:\n  # the first\n  2000: # cable 1\n    \
         accepter: tcp,2000\n    connector: serialdev,/dev/ttyS0,9600n81\n    options:\n      banner: =(b)\n\n  \
         # the second\n\n  2001:\n    accepter: tcp,2001\n    connector: serialdev,/dev/ttyS1,9600n81\n    \
         enable: off\n#2002:raw:0:/dev/ttyS2\n",
    );
    becomes(
        "# top\n\nconnection: &a # first\n    # listens\n    accepter: tcp,1   # here\n    \
         connector: serialdev,/dev/x\n    options:\n        banner: 'a # b'\n        # below\n    # last\n\
         # of b\nconnection: &b\n    accepter: tcp,2\n    connector: serialdev,/dev/y # there\n# end\n",
        "# top\n\nconnections:\n  a: # first\n    # listens\n    accepter: tcp,1 # here\n    \
         connector: serialdev,/dev/x\n    options:\n      banner: 'a # b'\n      # below\n    # last\n  \
         # of b\n  b:\n    accepter: tcp,2\n    connector: serialdev,/dev/y # there\n# end\n",
    );
}

#[test]
fn definitions_become_what_yaml_has_for_them() {
    becomes(
        "DEFAULT:speed:19200e71\nDEFAULT:local:true:serialdev\nDEVICE:tty:/dev/ttyS0\nOPENSTR:o:on\nCLOSESTR:c:off\n\
         SIGNATURE:s:me\nRS485CONF:r:0:0:0:0\nLED:l:sysfs:device=green duration=20\n\
         2000:raw:0:tty:LOCAL o c s\n2001:raw:0:/dev/ttyS1\nROTATOR:4000:2000 2001\nCONTROLPORT:localhost,3000\n",
        "defaults:\n  speed:\n    value: 19200e71\n  local:\n    value: true\n    class: serialdev\n\
         defines:\n  tty: /dev/ttyS0\n  o: on\n  c: off\n  s: me\n\
         leds:\n  # RS485CONF:r:0:0:0:0\n  # is rs485=... in the connectors below\n  l:\n    driver: sysfs\n    options:\n      device: green\n      duration: 20\n\
         connections:\n  2000:\n    accepter: tcp,2000\n    connector: serialdev,=(tty),LOCAL\n    options:\n      \
         openstr: =(o)\n      closestr: =(c)\n      signature: =(s)\n  2001:\n    accepter: tcp,2001\n    \
         connector: serialdev,/dev/ttyS1\n\
         rotators:\n  rotator-4000:\n    accepter: tcp,4000\n    connections: [2000, 2001]\n\
         admins:\n  admin:\n    accepter: tcp,localhost,3000\n",
    );
    // an LED of another driver is none, for its ports too
    becomes(
        "LED:rx:beaglebone:green 10\n2000:raw:0:/dev/ttyS0:led-rx=rx LOCAL\n",
        "connections:\n  # left out: unknown LED driver 'beaglebone' of LED 'rx'\n  # LED:rx:beaglebone:green 10\n  \
         2000:\n    accepter: tcp,2000\n    connector: serialdev,/dev/ttyS0,local\n    \
         # left out: led-rx: rx: the LED has no known driver\n",
    );
    // a name that is taken, or cannot be written, gets another one; a section that comes again
    // begins a document
    becomes(
        "BANNER:2000:x\nBANNER:a)b:y\nOPENSTR:n:1\nCLOSESTR:n:2\n2000:raw:0:/dev/x:2000 a)b\n\
         BANNER:later:z\n2001:raw:0:/dev/y:later\n",
        "defines:\n  banner-2000: x\n  banner-a_b: y\n  openstr-n: 1\n  closestr-n: 2\n\
         connections:\n  2000:\n    accepter: tcp,2000\n    connector: serialdev,/dev/x,2000n81\n    \
         options:\n      banner: =(banner-a_b)\n\n---\ndefines:\n  later: z\n\
         connections:\n  2001:\n    accepter: tcp,2001\n    connector: serialdev,/dev/y\n    \
         options:\n      banner: =(later)\n",
    );
}

#[test]
fn version_one_with_everything() {
    becomes(
        "%YAML 1.1\n---\ndefine: &base \"/dev/serial\"\ndefine: &dev \"*(base)/1 =(x) *(*y)\"\n\
         default:\n  name: speed # usual\n  value: 115200n81\n  class: serialdev\n\
         led: &led1\n  driver: sysfs\n  options:\n    device: \"a::b\"\n\
         connection: &con1\n  accepter: tcp,\n    2000\n  connector: serialdev,*(dev),local\n  options:\n    \
         banner: *base\n    max-connections: 2\n  options:\n    kickolduser: true\n  allow:\n  - 10.0.0.0/8 # office\n  - ::1\n\
         delete_default:\n  name: speed\n  class: serialdev\n\
         rotator: &rot\n  accepter: tcp,3000\n  connections: [*con1]\n\
         admin: &adm\n  accepter: tcp,3001\nmetrics: 9100\n",
        "defines:\n  base: /dev/serial\n  dev: =(base)/1 =(=x) *(y)\n\
         defaults:\n  speed:\n    # usual\n    value: 115200n81\n    class: serialdev\n\
         leds:\n  led1:\n    driver: sysfs\n    options:\n      device: a::b\n\
         connections:\n  con1:\n    accepter: tcp, 2000\n    connector: serialdev,=(dev),local\n    options:\n      \
         banner: =(base)\n      max-connections: 2\n      kickolduser: true\n    allow:\n      \
         - 10.0.0.0/8 # office\n      - '::1'\n\
         delete_defaults:\n  speed: [serialdev]\n\
         rotators:\n  rot:\n    accepter: tcp,3000\n    connections: [con1]\n\
         admins:\n  adm:\n    accepter: tcp,3001\nmetrics: 9100\n",
    );
}

#[test]
fn broken_files_are_converted_as_far_as_they_run() {
    let conversion = converted(
        "connection: &a\n  accepter: tcp,1\n  connector: serialdev,/dev/x\nconnection: &b\n  accepter: 'tcp\n # c\n",
    );
    assert!(!conversion.is_complete());
    let expected = "connections:\n  a:\n    accepter: tcp,1\n    connector: serialdev,/dev/x\n\n# left out: ";
    assert!(conversion.text.contains(expected), "{}", conversion.text);
    assert!(conversion.text.ends_with("# connection: &b\n#   accepter: 'tcp\n# c\n"), "{}", conversion.text);
    for text in ["", "\u{feff}", "foo\n", "- a\n", "connections:\n", "%YAML 1.1\n---\n- [\n", ":\n"] {
        converted(text);
    }
}

/// Any text, with what YAML and the escapes of the format could stumble over.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~äß€\\n\\r\\t\u{85}\u{2028}\u{feff}]{0,12}", "[ =(){}*:#'\"&!|>%@`,?\\[\\]\\\\-]{0,8}",]
}

fn filled() -> impl Strategy<Value = Option<Template>> {
    of(any_text().prop_filter("empty", |t| !t.is_empty()).prop_map(|t| Template(t.into_bytes())))
}

fn network() -> impl Strategy<Value = ipnet::IpNet> {
    (any::<std::net::IpAddr>(), 0u8..=32)
        .prop_filter_map("a network", |(ip, bits)| ipnet::IpNet::new(ip.to_canonical(), bits).ok())
        .prop_map(|net| net.trunc())
}

/// The options that say how clients are cared for; the others have their defaults.
fn policies() -> impl Strategy<Value = Options> {
    let seconds = || 1u32..=2_147_483_647;
    let slow = prop_oneof![
        Just(SlowClient::Backpressure),
        Just(SlowClient::DropOldest),
        Just(SlowClient::Disconnect)
    ];
    let keepalive = (1u32..=32_767, 1u32..=32_767, 1u32..=127)
        .prop_map(|(idle, interval, count)| Keepalive { idle, interval, count });
    let back = (any::<bool>(), "[a-z][a-z0-9]{0,3}\\.[a-z]{2}", 1u16..).prop_map(|(telnet, host, port)| {
        ConnectBack { telnet, to: Destination::Tcp { family: Family::Any, host: host.into(), port } }
    });
    let times = (seconds(), seconds(), of(0..=2_147_483_647u32), of(1u32..=86_400));
    let cable = (any::<bool>(), 0u32..100_000, any::<bool>()).prop_map(|(holds, ms, keeps_open)| Cable {
        holds,
        hold_time: Duration::from_millis(ms.into()),
        keeps_open,
    });
    (times, any::<[bool; 2]>(), slow, 4096usize..=67_108_864, of(keepalive), vec(back, 0..3), cable).prop_map(
        |(
            (accepter, connector, back, user),
            [brk, queue],
            slow_client,
            limit,
            keepalive,
            connback,
            cable,
        )| {
            Options {
                cable: Some(Box::new(cable)).filter(|cable| **cable != Cable::default()),
                accepter_retry: Duration::from_secs(accepter.into()),
                connector_retry: Duration::from_secs(connector.into()),
                connback_timeout: back.map(|s| Duration::from_secs(s.into())),
                user_timeout: user.map(|s| Duration::from_secs(s.into())),
                brk_on_sync: brk,
                timeout_on_os_queue: queue,
                slow_client,
                slow_client_limit: limit,
                keepalive,
                connback,
                ..Options::default()
            }
        },
    )
}

fn announce() -> impl Strategy<Value = Announce> {
    let net_type = prop_oneof![Just(NetType::Any), Just(NetType::V4), Just(NetType::V6)];
    let texts = vec("[a-z]{1,3}=[ -~]{0,5}", 0..3);
    let names = (of("[ -~]{1,9}"), of("_[a-z]{1,9}\\._(tcp|udp)"), of("[a-z]{1,5}"));
    (of(any::<u32>()), net_type, names, texts, any::<bool>()).prop_map(
        |(interface, net_type, (name, service, domain), texts, attributes)| Announce {
            enabled: true,
            interface,
            net_type,
            name,
            service,
            host: domain.clone(),
            domain,
            texts,
            attributes,
        },
    )
}

fn options() -> impl Strategy<Value = Options> {
    let strings = (filled(), filled(), filled(), filled(), filled(), of(any_text()));
    let switches = any::<[bool; 4]>();
    let delay = prop_oneof![Just(CharDelay::Off), Just(CharDelay::On), Just(CharDelay::Adaptive)];
    let numbers =
        (1usize..=65_536, 1u32..=1000, 1u32..=100_000, 1u32..=1_000_000, 1usize..=65_536, 1usize..=65_536);
    let rules = vec((network(), of(1u16..)), 0..3);
    let allow = of(vec(network(), 1..3));
    (strings, (switches, delay), numbers, rules, allow, policies(), of(announce())).prop_map(
        |(strings, (switches, chardelay), numbers, rules, allow, policies, announce)| {
            let (banner, openstr, closestr, closeon, sendon, signature) = strings;
            let [kickolduser, no_con_to_acc, no_acc_to_con, refusal_text] = switches;
            let (max_connections, chardelay_scale, chardelay_min, chardelay_max, to_net, to_dev) = numbers;
            let rule = |(net, port)| RemoteRule { negate: false, net, port };
            Options {
                kickolduser,
                banner,
                openstr,
                closestr,
                closeon,
                sendon,
                signature: signature.map(|t| Template(t.into_bytes())),
                chardelay,
                chardelay_scale,
                chardelay_min,
                chardelay_max,
                dev_to_net_bufsize: to_net,
                net_to_dev_bufsize: to_dev,
                no_con_to_acc,
                no_acc_to_con,
                remaddr: rules.into_iter().map(rule).collect(),
                allow,
                refusal_text,
                announce: announce.map(Box::new),
                // so that each address has a place
                max_connections: max_connections.max(policies.connback.len()),
                ..policies
            }
        },
    )
}

fn traces() -> impl Strategy<Value = Traces> {
    let file = || {
        (filled(), any::<bool>(), any::<bool>()).prop_map(|(name, hexdump, timestamp)| TraceFile {
            name,
            hexdump,
            timestamp,
        })
    };
    (file(), file(), file()).prop_map(|(read, write, both)| Traces { read, write, both })
}

fn leds() -> impl Strategy<Value = Vec<Arc<Led>>> {
    let name = any_text().prop_filter("empty", |t| !t.is_empty());
    let led = ("[a-z=(*][a-z0-9:_=()*{}#'\"-]{0,8}", 1u32..2_000_000, any::<bool>());
    proptest::collection::btree_map(name, led, 0..3).prop_map(|leds| {
        let led = |(name, (device, duration_ms, lit_by_one)): (String, (String, u32, bool))| {
            Arc::new(Led { name: name.into(), device: device.into(), duration_ms, lit_by_one })
        };
        leds.into_iter().map(led).collect()
    })
}

/// One that accepters have, too.
fn filter() -> impl Strategy<Value = Filter> {
    let directions = || any::<(bool, bool)>().prop_map(|(read, write)| Directions { read, write });
    let file = prop_oneof![
        Just(connector::TraceFile::Stdout),
        Just(connector::TraceFile::Stderr),
        "/[a-z ,()'\"]{1,8}".prop_map(|path| connector::TraceFile::Path(path.into()))
    ];
    let trace = (directions(), directions(), any::<[bool; 2]>(), of(file)).prop_map(
        |(copies, blocks, [raw, empties], file)| {
            Filter::Trace(TraceTap { copies, blocks, raw, file, empties })
        },
    );
    let rate = (1usize..=65_536, 1u64..10_000_000)
        .prop_map(|(length, delay)| RateLimit { length, delay: Duration::from_micros(delay) });
    prop_oneof![
        trace,
        rate.prop_map(Filter::RateLimit),
        any::<bool>().prop_map(|crc| Filter::MsgDelim(MsgDelim { crc }))
    ]
}

fn accepter() -> impl Strategy<Value = Accepter> {
    let file = || "[a-z/ .,()'\"\\\\=-]{1,8}";
    let tls = (file(), file(), of(file()), any::<bool>()).prop_map(|(key, cert, ca, auth)| TlsOptions {
        key: key.into(),
        cert: cert.into(),
        client_auth: auth && ca.is_some(),
        ca: ca.map(Into::into),
    });
    let place = prop_oneof![
        Just((Family::Any, None)),
        Just((Family::V4, Some("127.0.0.1".to_owned()))),
        Just((Family::V6, Some("::1".to_owned()))),
        Just((Family::V6Mapped, None)),
        "[a-z][a-z0-9]{0,3}\\.[a-z]{2}".prop_map(|host| (Family::Any, Some(host))),
    ];
    let address = (place, any::<u16>()).prop_map(|((family, host), port)| {
        let host = host.map(Into::into);
        ListenAddress { family, host, port }
    });
    let addresses = vec(address, 1..3);
    let wrap = prop_oneof![Just(Wrap::On), Just(Wrap::Print), Just(Wrap::Off)];
    let tcp = (addresses.clone(), any::<bool>(), any::<bool>(), wrap, "[a-z]{1,8}").prop_map(
        |(addresses, nodelay, reuseaddr, wrap, name)| {
            let (addresses, wrap_name) = (addresses.into(), name.into());
            Listen::Tcp(TcpListen { addresses, nodelay, reuseaddr, wrap, wrap_name })
        },
    );
    let udp = (addresses, any::<bool>())
        .prop_map(|(addresses, reuseaddr)| Listen::Udp(UdpListen { addresses: addresses.into(), reuseaddr }));
    let unix = ("/[a-z]{1,9}", any::<bool>(), of(0u32..0o1000), of("[a-z]{1,6}"), of("[0-9]{1,4}")).prop_map(
        |(path, delsock, mode, owner, group)| {
            let (path, owner, group) = (path.into(), owner.map(Into::into), group.map(Into::into));
            Listen::Unix(UnixListen { path, delsock, mode, owner, group })
        },
    );
    let stdio = any::<bool>().prop_map(|raw| Listen::Stdio(StdioListen { raw }));
    let listen = prop_oneof![4 => tcp, 1 => udp, 1 => unix, 1 => stdio, 1 => Just(Listen::Dummy)];
    (of(any::<[bool; 3]>()), of(tls), vec(filter(), 0..3), listen).prop_map(
        |(telnet, tls, filters, listen)| {
            let telnet = telnet.map(|[rfc2217, client, winsize]| TelnetOptions { rfc2217, client, winsize });
            let tls = tls.filter(|_| matches!(listen, Listen::Tcp(_) | Listen::Unix(_)));
            let (above, below) = filters
                .into_iter()
                .partition(|filter| telnet.is_some() && matches!(filter, Filter::Trace(_)));
            let filters =
                Some(Box::new(ClientFilters { above, below })).filter(|f| **f != ClientFilters::default());
            let mut accepter = Accepter {
                text: "".into(),
                telnet,
                tls: tls.map(Box::new),
                filters,
                listen: Arc::new(listen),
            };
            accepter.text = model::accepter_text(&accepter, false).into();
            accepter
        },
    )
}

fn connector() -> impl Strategy<Value = Connector> {
    let parity = prop_oneof![
        Just(Parity::None),
        Just(Parity::Even),
        Just(Parity::Odd),
        Just(Parity::Mark),
        Just(Parity::Space)
    ];
    let line = (10u32..=2_147_483_647, 5u8..=8, parity, 1u8..=2, any::<([bool; 3], Option<bool>)>())
        .prop_map(|(baud, size, parity, stop, ([xonxoff, rtscts, local], hangup_when_done))| {
            let flow = Flow { xonxoff, rtscts };
            LineSettings { baud, size, parity, stop, flow, local, hangup_when_done }
        });
    let rs485 = (any::<u32>(), any::<u32>(), any::<[bool; 4]>()).prop_map(
        |(delay_before_ms, delay_after_ms, [rts_on_send, rts_after_send, rx_during_tx, terminate_bus])| {
            Rs485 {
                delay_before_ms,
                delay_after_ms,
                rts_on_send,
                rts_after_send,
                rx_during_tx,
                terminate_bus,
            }
        },
    );
    let path = "/dev/[a-zA-Z0-9:=(){}*#.-]{1,12}";
    let lines = (of(any::<bool>()), of(any::<bool>()));
    let drains = (of(0u32..1000), of(0u32..1000));
    (path, line, any::<[bool; 4]>(), lines, of(rs485), drains, any::<bool>(), vec(filter(), 0..3)).prop_map(
        |(
            path,
            line,
            [nobreak, uucp_lock, only, low_latency],
            (dtr, rts),
            rs485,
            (drain, char_drain),
            writes,
            filters,
        )| {
            let device = DeviceConfig {
                path: path.into(),
                rule: None,
                line,
                nobreak,
                uucp_lock,
                dtr,
                rts,
                write_only: only && writes,
                read_only: only && !writes,
                rs485,
                low_latency,
                drain_ms: drain.map(|d| d * 10),
                stall_ms: char_drain.map(|d| d * 10),
            };
            let mut connector = Connector { filters, ..Connector::serial("", device) };
            connector.text = model::connector_text(&connector, false).into();
            connector
        },
    )
}

fn config() -> impl Strategy<Value = Config> {
    let connection = (any::<bool>(), accepter(), connector(), of(1u32..), options(), traces()).prop_map(
        |(enabled, accepter, connector, timeout, options, traces)| Connection {
            name: "".into(),
            enabled,
            accepter,
            connector,
            timeout: timeout.map(|t| Duration::from_secs(t.into())),
            options: Arc::new(Options { traces, ..options }),
        },
    );
    let names = proptest::collection::btree_set(any_text().prop_filter("empty", |t| !t.is_empty()), 0..4);
    let rotator = ("[a-z]{1,4}", accepter(), proptest::collection::btree_set("[a-z]{1,4}", 1..3), 1u32..99)
        .prop_map(|(name, accepter, members, retry)| Rotator {
            name: name.into(),
            accepter,
            members: members.into_iter().map(Into::into).collect(),
            options: Options { accepter_retry: Duration::from_secs(retry.into()), ..Options::default() },
        });
    let admin = of(accepter().prop_map(|accepter| Arc::new(Admin { accepter, allow: None })));
    (vec(connection, 4), names, of(any::<std::net::SocketAddrV4>()), leds(), admin, of(rotator)).prop_map(
        |(connections, names, metrics, leds, admin, rotator)| {
            let rotators = rotator.into_iter().map(Arc::new).collect();
            let named = connections.into_iter().zip(names).enumerate().map(|(i, (mut c, name))| {
                c.name = name.into();
                // some of the connections use some of the LEDs
                let options = Arc::make_mut(&mut c.options);
                options.led_tx = leds.get(i).cloned();
                options.led_rx = leds.get(i / 2).cloned();
                c
            });
            Config {
                connections: named.map(Arc::new).collect(),
                rotators,
                admin,
                metrics: metrics.map(Into::into),
                leds,
            }
        },
    )
}

proptest! {
    #[test]
    fn what_is_rendered_is_read_as_the_same(config in config()) {
        let text = to_yaml(&config);
        prop_assert_eq!(read(&text), config, "{}", text);
    }

    #[test]
    fn rendered_texts_are_left_alone_by_the_conversion(config in config()) {
        let text = to_yaml(&config);
        let conversion = convert(&text, "t.yaml", Path::new("t.yaml"));
        prop_assert!(conversion.is_complete(), "{:?}\n{}", conversion.remarks, text);
        prop_assert_eq!(conversion.text, text);
    }

    #[test]
    fn texts_of_any_shape_are_converted_once_and_for_all(
        text in "((connection: &[ab]|connections:| [ab]:|define: &[ab]|default:|  name: speed|  value: 9600n81|  \
                 accepter: \\*?[ab]?tcp,1|  connector: serialdev,/dev/x|  options:|   banner: [*'ab]?[ab=(]*|include: x|\
                 \\[|- a|---|BANNER:[ab]:x|1:raw:0:/d:[ab]|DEFAULT:speed:9|DEVICE:a:/x|led: &a|rotators:)?( # x)?(#y)?\n){0,12}"
    ) {
        let first = convert(&text, "t.conf", Path::new("/nonexistent/t.conf"));
        let second = convert(&first.text, "t.yaml", Path::new("/nonexistent/t.yaml"));
        prop_assert_eq!(&first.text, &second.text, "from\n{}", text);
        let unequal = first.remarks.iter().find(|d| d.message.contains("not the same"));
        let comments = |text: &str| text.matches("# x").count();
        prop_assert!(comments(&first.text) >= comments(&text), "from\n{}\nto\n{}", text, first.text);
        prop_assert!(unequal.is_none(), "{:?} from\n{}\nto\n{}", unequal, text, first.text);
    }
}
