//! Whole connections: what is accepted, what is refused and why. The accepted and refused strings
//! are those that ser2net 4.3.11 and 4.6.7 were seen to accept and refuse.

use super::*;
use crate::config::Connection;
use crate::config::error::{Source, Span};
use crate::config::raw::{Origin, RawConnection, RawOption};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

const SERVICES: &str = "telnet 23/tcp\nhttp 80/tcp\necho 7/tcp\n";

/// A file in the making: text and the pieces that stand in it.
#[derive(Default)]
pub(super) struct File {
    text: String,
    connections: Vec<Entry>,
    defaults: Vec<Pair>,
    settings: Vec<(Piece, RawValue)>,
}

pub(super) type Piece = (usize, usize, String);

/// Name and value of an option.
type Pair = (Piece, Option<Piece>);

/// Name, accepter, connector, timeout and options.
type Entry = (Piece, Piece, Piece, Option<Piece>, Vec<Pair>);

impl File {
    pub(super) fn put(&mut self, before: &str, piece: &str) -> Piece {
        self.text.push_str(before);
        let start = self.text.len();
        self.text.push_str(piece);
        (start, self.text.len(), piece.to_owned())
    }

    pub(super) fn in_force(mut self, name: &str, value: &str) -> Self {
        let pair = (self.put("default: ", name), Some(self.put(" ", value)));
        self.text.push('\n');
        self.defaults.push(pair);
        self
    }

    pub(super) fn setting(mut self, name: &str, value: &str) -> Self {
        let name = self.put("", name);
        self.put(": ", value);
        self.text.push('\n');
        self.settings.push((name, RawValue::Scalar(value.into())));
        self
    }

    pub(super) fn connection(
        mut self,
        name: &str,
        accepter: &str,
        connector: &str,
        options: &[(&str, &str)],
    ) -> Self {
        let name = self.put("connection: &", name);
        let accepter = self.put("\n  accepter: ", accepter);
        let connector = self.put("\n  connector: ", connector);
        let mut timeout = None;
        let mut list = Vec::new();
        for (key, value) in options {
            let key = self.put("\n    ", key);
            let value = self.put(": ", value);
            if key.2 == "timeout" { timeout = Some(value) } else { list.push((key, Some(value))) }
        }
        self.text.push('\n');
        self.connections.push((name, accepter, connector, timeout, list));
        self
    }

    pub(super) fn resolve_as(self, origin: Origin) -> (Config, Vec<Diagnostic>) {
        let source = Arc::new(Source::new("t.yaml", self.text));
        let spanned = |(start, end, value): &Piece| Spanned {
            value: value.clone(),
            span: Span { source: source.clone(), start: *start, end: *end },
        };
        let option = |(name, value): &Pair| RawOption {
            name: spanned(name),
            value: value.as_ref().map(|v| {
                let v = spanned(v);
                Spanned { value: RawValue::Scalar(v.value), span: v.span }
            }),
        };
        let raw = RawFile {
            rotators: Vec::new(),
            admins: Vec::new(),
            connections: self
                .connections
                .iter()
                .map(|(name, accepter, connector, timeout, options)| RawConnection {
                    name: spanned(name),
                    enabled: true,
                    accepter: spanned(accepter),
                    connector: spanned(connector),
                    timeout: timeout.as_ref().map(spanned),
                    defaults: self.defaults.iter().map(option).collect(),
                    options: options.iter().map(option).collect(),
                    origin,
                })
                .collect(),
            settings: self.settings.iter().map(|(name, value)| (spanned(name), value.clone())).collect(),
            leds: Vec::new(),
        };
        let (config, diagnostics, _) = resolve_with(&raw, SERVICES.into(), false);
        (config, diagnostics)
    }

    pub(super) fn resolve(self) -> (Config, Vec<Diagnostic>) {
        self.resolve_as(Origin::Yaml)
    }
}

pub(super) const DEVICE: &str = "serialdev,/dev/ttyS0";

pub(super) fn with(
    accepter: &str,
    connector: &str,
    options: &[(&str, &str)],
) -> (Option<Connection>, Vec<Diagnostic>) {
    let (config, said) = File::default().connection("con1", accepter, connector, options).resolve();
    (config.connections.into_iter().next().map(Arc::unwrap_or_clone), said)
}

pub(super) fn said(diagnostics: &[Diagnostic]) -> String {
    let mut text = String::new();
    for d in diagnostics {
        let later = if d.later { " (later)" } else { "" };
        let _ =
            writeln!(text, "{:?}{later}: {} [{}]", d.severity, d.message, d.help.as_deref().unwrap_or(""));
    }
    text
}

#[test]
fn accepters_that_run() {
    for (text, expected) in [
        ("tcp,2000", "- Any None 2000"),
        ("telnet(rfc2217),2000", "2217 Any None 2000"),
        ("telnet,tcp,2000", "telnet Any None 2000"),
        ("telnet,2000", "telnet Any None 2000"),
        ("tcp,ipv6,::1,2000", "- V6 Some(\"::1\") 2000"),
        ("tcp,::1,2000", "- Any Some(\"::1\") 2000"),
        ("tcp,ipv6,2000", "- V6 None 2000"),
        ("tcp,ipv6n4,127.0.0.1,2000", "- V6Mapped Some(\"127.0.0.1\") 2000"),
        ("127.0.0.1,2000", "- Any Some(\"127.0.0.1\") 2000"),
        ("localhost,2000", "- Any Some(\"localhost\") 2000"),
        ("2000", "- Any None 2000"),
        ("ipv4,tcp,2000", "- V4 None 2000"),
        ("tcp(nodelay=true),2000", "- Any None 2000"),
        ("tcp(reuseaddr=false),2000", "- Any None 2000"),
        ("tcp(tcpd=off),2000", "- Any None 2000"),
        ("tcp,0", "- Any None 0"),
        ("tcp,telnet", "- Any None 23"),
        ("tcp,no.such.host.invalid,2000", "- Any Some(\"no.such.host.invalid\") 2000"),
        ("tcp, 127.0.0.1, 2000", "- Any Some(\"127.0.0.1\") 2000"),
        ("telnet(rfc2217=on),tcp,2000", "2217 Any None 2000"),
        ("telnet(RFC2217=1 mode=server),tcp,2000", "2217 Any None 2000"),
        ("telnet(rfc2217=off),tcp,2000", "telnet Any None 2000"),
        ("telnet(),tcp,2000", "telnet Any None 2000"),
        ("echo", "- Any None 7"),
    ] {
        let (connection, diagnostics) = with(text, DEVICE, &[]);
        let accepter = connection.unwrap_or_else(|| panic!("{text}: {}", said(&diagnostics))).accepter;
        assert!(diagnostics.is_empty(), "{text}: {}", said(&diagnostics));
        assert_eq!(&*accepter.text, text);
        let telnet = accepter.telnet.map_or("-", |t| if t.rfc2217 { "2217" } else { "telnet" });
        let [at] = accepter.listen.addresses() else { panic!("{text}: several addresses") };
        assert_eq!(format!("{telnet} {:?} {:?} {}", at.family, at.host, at.port), expected, "{text}");
    }
}

#[test]
fn accepters_that_are_no_tcp_or_many() {
    for (text, expected) in [
        ("tcp,127.0.0.1,2000,::1,2001", "tcp,127.0.0.1,2000,::1,2001"),
        ("127.0.0.1,2000,ipv6,::1,2001", "tcp,127.0.0.1,2000,ipv6,::1,2001"),
        ("udp,2000", "udp,2000"),
        ("udp,ipv4,2000", "udp,ipv4,2000"),
        ("udp(reuseaddr),127.0.0.1,2000,::1,2000", "udp(reuseaddr),127.0.0.1,2000,::1,2000"),
        ("tcp(tcpd=on),2000", "tcp(tcpd=on),2000"),
        ("tcp(tcpdname=x),2000", "tcp(tcpdname=x),2000"),
        ("telnet,unix,/tmp/s", "telnet,unix,/tmp/s"),
        ("unix(delsock,perm=660),/tmp/a,b", "unix(delsock,perm=660),/tmp/a,b"),
        ("unix(gmode=rw,omode=0),/tmp/s", "unix(perm=660),/tmp/s"),
        ("unix(perm=640,umode=7,owner=root,group=0),/tmp/s", "unix(perm=740,owner=root,group=0),/tmp/s"),
        ("stdio", "stdio"),
        ("telnet,stdio(raw)", "telnet,stdio(raw)"),
        ("dummy", "dummy"),
        ("trace(dir=both,file=/t),telnet,tcp,2000", "trace(dir=both,file=/t),telnet,tcp,2000"),
        ("telnet,trace(dir=read,stderr),ssl,tcp,2000", "telnet,trace(dir=read,stderr),ssl,tcp,2000"),
        ("ratelimit(xmit_delay=100m),telnet,tcp,2000", "telnet,ratelimit(xmit_delay=100m),tcp,2000"),
        (
            "telnet,msgdelim(crc=off),trace(block=read),udp,2000",
            "telnet,msgdelim(crc=false),trace(block=read),udp,2000",
        ),
    ] {
        let (connection, diagnostics) = with(text, DEVICE, &[]);
        let accepter = connection.unwrap_or_else(|| panic!("{text}: {}", said(&diagnostics))).accepter;
        assert!(diagnostics.is_empty(), "{text}: {}", said(&diagnostics));
        assert_eq!(crate::config::convert::accepter_text(&accepter), expected, "{text}");
    }
}

#[test]
fn accepters_that_are_refused() {
    for (text, why) in [
        ("", "empty"),
        ("tcp", "port is missing"),
        ("tcp,", "port is missing"),
        ("tcp()", "port is missing"),
        ("telnet", "needs something below"),
        ("tcp,127.0.0.1:2000", "127.0.0.1,2000"),
        ("tcp(laddr=\"127.0.0.1,0\"),2000", "laddr is an option of connectors"),
        ("tcp(oob),2000", "unknown option 'oob'"),
        ("tcp(nodelai=1),2000", "did you mean nodelay?"),
        ("tcp(nodelay=maybe),2000", "true or false, not 'maybe'"),
        ("tcp(nodelay=TRUE),2000", "true or false"),
        ("tcp(nodelay=true,2000", "not closed"),
        ("tcp(readbuf=abc),2000", "must be a number"),
        ("tcp(writebuf=10),2000", "unknown option"),
        ("bogus,tcp,2000", "unknown accepter type 'bogus'"),
        ("telnt,tcp,2000", "did you mean telnet?"),
        ("tcp,abc", "'abc' is neither"),
        ("tcp ,2000", "blank must not follow 'tcp'"),
        ("tcp,2000  ", "blank must not follow '2000'"),
        ("TCP,2000", "write tcp, in lower case"),
        ("TELNET,tcp,2000", "did you mean telnet?"),
        ("tcp,127.0.0.1,2000,x", "'x' is neither"),
        ("tcp,127.0.0.1,2000;tcp,::1,2000", "neither a port number"),
        ("tcp,host=127.0.0.1,port=2000", "neither a port number"),
        ("tcp,ipv6,127.0.0.1,2000", "not an IPv6 address"),
        ("mdns,foo", "unknown accepter type 'mdns'"),
        ("file(infile=/dev/null)", "unknown accepter type 'file'"),
        ("telnet(rfc2217=),tcp,2000", "true or false"),
        ("telnet(mode=bogus),tcp,2000", "one of server, client"),
        ("ssl(bogus),tcp,2000", "unknown option 'bogus' of ssl"),
        ("keepopen,tcp,2000", "cannot be part of an accepter"),
        ("sctp,2000", "accepter type sctp is not supported [use tcp]"),
        ("mux,tcp,2000", "a connection with a port of its own for each channel"),
        ("msgdelim,telnet,tcp,2000", "write it behind telnet"),
        ("ssl,msgdelim,tcp,2000", "write it in front of ssl"),
        ("ratelimit,tcp,2000", "ratelimit needs xmit_delay"),
        ("relpkt,udp,2000", "use tcp, which keeps order"),
        ("certauth,ssl,tcp,2000", "clientauth"),
        ("ax25,tcp,2000", "kissattach"),
        ("xlt,tcp,2000", "let the client translate"),
        ("telnet,telnet,tcp,2000", "telnet twice"),
        ("ssl,telnet,tcp,2000", "telnet,ssl,tcp"),
        ("ssl,ssl,tcp,2000", "ssl twice"),
        ("ssl,udp,2000", "put tcp or unix below ssl"),
        ("pty", "can only be opened, not listened to"),
        ("unixseq,/tmp/s", "use unix"),
        ("udp", "the port is missing [write for instance udp,2000]"),
        ("udp(nodelay),2000", "unknown option 'nodelay' of udp"),
        ("udp,::1,2000,tcp,::1,2000", "tcp among addresses of udp"),
        ("unix", "path of the socket is missing"),
        ("unix,", "path of the socket is missing"),
        ("unix(perm=8),/tmp/s", "three octal digits"),
        ("unix(umode=q),/tmp/s", "letters of rwx"),
        ("stdio,/bin/cat", "nothing may follow stdio"),
        ("dummy,1", "nothing may follow dummy"),
    ] {
        let (connection, diagnostics) = with(text, DEVICE, &[]);
        assert!(connection.is_none(), "{text}");
        let text_of = said(&diagnostics);
        assert!(text_of.contains(why), "{text}: {text_of}");
        assert!(diagnostics.iter().any(|d| d.severity == Severity::Error && !d.later), "{text}: {text_of}");
    }
}

#[test]
fn later_work_does_not_run_half() {
    for text in [
        "ssl(mode=client),tcp,2000",
        "ssl(clientauth),tcp,2000",
        "ssl(clientauth,CA=/ca.pem,allow-authfail),tcp,2000",
    ] {
        let (connection, diagnostics) = with(text, DEVICE, &[]);
        assert!(connection.is_none(), "{text}");
        assert!(diagnostics.iter().any(|d| d.severity == Severity::Error), "{text}");
        assert!(diagnostics.iter().filter(|d| d.severity == Severity::Error).all(|d| d.later), "{text}");
        assert!(diagnostics.iter().all(|d| d.connection.as_deref() == Some("con1")), "{text}");
    }
    for text in [
        "sctp,h,2000",
        "unixdgm,/x",
        "unixseq,/x",
        "mdns,x",
        "sound",
        "ipmisol,lan -U x",
        "xlt,serialdev,/dev/x",
        "perf,tcp,h,2000",
        "mux,tcp,h,2000",
        "relpkt,udp,h,2000",
        "certauth,ssl(CA=/c),tcp,h,2000",
        "script(script=x),tcp,h,2000",
        "kiss,tcp,h,2000",
        "ax25,tcp,h,2000",
        "telnet(mode=server),tcp,h,2000",
        "ssl(mode=server,CA=/c),tcp,h,2000",
        "stdio(self),cat",
        "dummy",
    ] {
        let (connection, diagnostics) = with("tcp,2000", text, &[]);
        assert!(connection.is_none(), "{text}");
        assert!(
            diagnostics.iter().any(|d| d.severity == Severity::Error && d.later),
            "{text}: {}",
            said(&diagnostics)
        );
        assert!(diagnostics.iter().all(|d| d.later), "{text}: {}", said(&diagnostics));
    }
}

#[test]
fn what_only_watches_is_left_out() {
    for (accepter, connector) in [
        ("ssl,trace(dir=both,file=/tmp/t),tcp,2000", DEVICE),
        ("ssl,ratelimit(xmit_delay=100m),tcp,2000", DEVICE),
        ("perf,tcp,2000", DEVICE),
    ] {
        let (connection, diagnostics) = with(accepter, connector, &[]);
        assert!(connection.is_some(), "{accepter} {connector}: {}", said(&diagnostics));
        assert_eq!(diagnostics.len(), 1, "{}", said(&diagnostics));
        assert!(diagnostics[0].later && diagnostics[0].severity == Severity::Warning);
    }
}

#[test]
fn sizes_of_buffers_are_accepted_without_a_word() {
    for (accepter, connector) in [
        ("tcp(nodelay,readbuf=1000),2000", DEVICE),
        ("telnet(readbuf=10,writebuf=10),tcp,2000", DEVICE),
        ("ssl(readbuf=10,writebuf=10),tcp,2000", DEVICE),
        ("tcp,2000", "serialdev(readbuf=10),/dev/ttyS0"),
    ] {
        let (connection, diagnostics) = with(accepter, connector, &[]);
        assert!(connection.is_some() && diagnostics.is_empty(), "{accepter} {connector}");
    }
    assert!(with("tcp(readbuf=x),2000", DEVICE, &[]).0.is_none());
}

#[test]
fn what_cannot_be_done_comes_with_the_nearest_way() {
    for (name, value, way) in [
        ("pamauth", "login", "allow: limits"),
        ("allowed-users", "a b", "asks for a certificate"),
        ("authdir", "/x", "CA=/path"),
    ] {
        let (connection, diagnostics) = with("tcp,2000", DEVICE, &[(name, value)]);
        assert!(connection.is_some() && diagnostics.len() == 1 && diagnostics[0].later, "{name}");
        let help = diagnostics[0].help.as_deref().unwrap_or_default();
        assert!(help.contains(way), "{name}: {help}");
    }
}

#[test]
fn tls() {
    let tls = |text: &str| with(text, DEVICE, &[]).0.unwrap().accepter.tls.unwrap();
    let plain = tls("ssl,2000");
    assert_eq!(plain.key, Path::new("/etc/ser2net/ser2net.key"));
    assert_eq!(plain.cert, Path::new("/etc/ser2net/ser2net.crt"));
    let keys = tls("telnet(rfc2217),ssl(key=/k\\ 1.pem,cert=\"/c 1.pem\"),tcp,2000");
    assert_eq!((keys.key.as_path(), keys.cert.as_path()), (Path::new("/k 1.pem"), Path::new("/c 1.pem")));
    assert_eq!((keys.ca, keys.client_auth), (None, false));
    let one = tls("ssl(key=/both.pem),tcp,2000");
    assert_eq!(one.cert, Path::new("/both.pem"));
    let auth = tls("ssl(key=k,cert=c,CA=/ca/,clientauth),tcp,2000");
    assert_eq!((auth.ca.as_deref(), auth.client_auth), (Some(Path::new("/ca/")), true));
    for (name, value) in [("allowed-users", "a b"), ("authdir", "/x"), ("pamauth", "x")] {
        let (connection, diagnostics) =
            with("ssl(key=k,CA=/ca/,clientauth),tcp,2000", DEVICE, &[(name, value)]);
        assert!(connection.is_none() && said(&diagnostics).contains("together with clientauth"), "{name}");
        // Where nobody is authenticated these have no meaning.
        assert!(with("tcp,2000", DEVICE, &[(name, value)]).0.is_some(), "{name}");
    }
}

#[test]
fn serial_settings() {
    for (words, expected) in [
        ("", "9600N81"),
        (",9600n81", "9600N81"),
        (",9600N81", "9600N81"),
        (",19200e81", "19200E81"),
        (",4800O72", "4800O72"),
        (",9600n82", "9600N82"),
        (",9600s81", "9600S81"),
        (",speed=9600m81", "9600M81"),
        (",9600n81 19200n81", "19200N81"),
        (",115200n81,local", "115200N81 local"),
        (",9600n81 LOCAL", "9600N81 local"),
        (",9600n81 local -local", "9600N81"),
        (",9600n81 local=no", "9600N81"),
        (", 9600n81, local nobreak rtscts xonxoff", "9600N81 local nobreak rtscts xonxoff"),
        (",9600n81\tlocal", "9600N81 local"),
        (",9600n81,,local,", "9600N81 local"),
        (",9600 NONE 1STOPBIT 8DATABITS", "9600N81"),
        (",9600,EVEN,7DATABITS,2STOPBITS", "9600E72"),
        (",9600 ODD 5databits", "9600O51"),
        (",9600 XONXOFF -RTSCTS LOCAL", "9600N81 local xonxoff"),
        (",9600n81 hangup-when-done", "9600N81 hangup"),
        (",9600n81 HANGUP_WHEN_DONE=false", "9600N81 no hangup"),
        (",9600n81 low-latency", "9600N81 low-latency"),
        (",9600n81 low_latency=on -local", "9600N81 low-latency"),
        (",9600n81 dtr=off rts=on", "9600N81 dtr=false rts=true"),
        (",9600n81 dtr", "9600N81 dtr=true"),
        (",wronly", "9600N81 wronly"),
        (",12345n81", "12345N81"),
        (",\"local\" lo\\cal", "9600N81 local"),
        (",9600n81 rs485=off", "9600N81"),
    ] {
        let text = format!("{DEVICE}{words}");
        let (connection, diagnostics) = with("tcp,2000", &text, &[]);
        let connector = connection.unwrap_or_else(|| panic!("{text}: {}", said(&diagnostics))).connector;
        assert!(diagnostics.is_empty(), "{text}: {}", said(&diagnostics));
        assert_eq!(*connector.text, text);
        let device = connector.device().unwrap();
        assert_eq!(&*device.path, "/dev/ttyS0");
        let mut shown = device.line.to_string();
        for (set, word) in [
            (device.line.local, " local"),
            (device.nobreak, " nobreak"),
            (device.line.flow.rtscts, " rtscts"),
            (device.line.flow.xonxoff, " xonxoff"),
            (device.line.hangup_when_done == Some(true), " hangup"),
            (device.line.hangup_when_done == Some(false), " no hangup"),
            (device.low_latency, " low-latency"),
            (device.write_only, " wronly"),
        ] {
            shown.push_str(if set { word } else { "" });
        }
        for (line, state) in [("dtr", device.dtr), ("rts", device.rts)] {
            if let Some(on) = state {
                write!(shown, " {line}={on}").unwrap();
            }
        }
        assert_eq!(shown, expected, "{text}");
    }
}

#[test]
fn serial_settings_that_are_refused() {
    for (words, why) in [
        ("9600n85", "not a speed"),
        ("9600n91", "not a speed"),
        ("9600x81", "not a speed"),
        ("9600n811", "not a speed"),
        ("9600n81:local", "not a speed"),
        ("9600n81;local", "not a speed"),
        ("134.5n81", "not a speed"),
        ("0n81", "not a possible speed"),
        ("1n81", "not a possible speed"),
        ("-9600n81", "unknown option '-9600n81'"),
        ("n81", "unknown option"),
        ("dtr=maybe", "true or false"),
        ("local=TRUE", "true or false"),
        ("local=", "true or false"),
        ("-wronly", "unknown option"),
        ("-dtr", "unknown option"),
        ("even", "write EVEN"),
        ("8databit", "did you mean 8databits?"),
        ("EVEN=true", "takes no value"),
        ("hupcl", "unknown option"),
        ("nouucplock", "serialdev(nouucplock),/dev/..."),
        ("drain_time=100", "serialdev(drain_time=100)"),
        ("kickolduser=true", "under options"),
        ("rs485=foo", "two delays"),
        ("rs485=1:2:x", "unknown flag 'x'"),
        ("rs485", "needs a value"),
        ("\"9600n81 local\"", "not a speed"),
        ("'local", "not closed"),
        ("rdonly wronly", "exclude each other"),
    ] {
        let (connection, diagnostics) = with("tcp,2000", &format!("{DEVICE},{words}"), &[]);
        assert!(connection.is_none(), "{words}");
        assert!(said(&diagnostics).contains(why), "{words}: {}", said(&diagnostics));
        assert!(diagnostics.iter().all(|d| !d.later), "{words}");
    }
    for text in [
        "",
        "termios,/dev/x",
        "bogus,/dev/x",
        "bogus",
        "SERIALDEV,/dev/x",
        "serialdev(local),/dev/x",
        "serialdev(bogus=10),/dev/x",
        "serialdev /dev/x",
        "ttyS0",
    ] {
        let (connection, diagnostics) = with("tcp,2000", text, &[]);
        assert!(connection.is_none() && diagnostics.iter().any(|d| !d.later), "{text}");
    }
}

#[test]
fn devices() {
    let device = |text: &str| with("tcp,2000", text, &[]).0.unwrap().connector.device().unwrap().clone();
    assert_eq!(device("/dev/ttyS1,19200").line.baud, 19200);
    assert_eq!(&*device("sdev,/dev/ttyS1").path, "/dev/ttyS1");
    assert_eq!(&*device("serialdev,ttyS0,9600n81").path, "ttyS0");
    assert!(device("serialdev,/dev/x").uucp_lock);
    assert!(!device("serialdev(nouucplock=true),/dev/x").uucp_lock);
    assert!(!device("serialdev(uucplock=false),/dev/x").uucp_lock);
    assert_eq!(device("serialdev(drain_time=50),/dev/x").drain_ms, Some(500));
    assert_eq!(device("serialdev(drain_time=off),/dev/x").drain_ms, None);
    assert_eq!(device("serialdev(char_drain_wait=5),/dev/x").stall_ms, Some(50));
    assert_eq!(device("/dev/x").stall_ms, Some(500));
    assert_eq!(device("serialdev(char_drain_wait=off),/dev/x").stall_ms, None);
    for (text, why) in [
        ("serialdev", "no device"),
        ("serialdev,,9600n81", "no device"),
        ("serialdev,\"/dev/x\",9600n81", "quotes are part"),
        ("serialdev,/dev/x 9600n81,local", "blanks are part"),
        ("serialdev,*dev,9600n81", "is not replaced"),
        ("serialdev,/dev/x,99999999999n81", "sets 1215752191"),
        ("serialdev,/dev/x,rts=on dtr=on", "DTR is set before RTS"),
    ] {
        let (connection, diagnostics) = with("tcp,2000", text, &[]);
        assert!(connection.is_some() && said(&diagnostics).contains(why), "{text}: {}", said(&diagnostics));
    }
}

/// The admin port of some YAML, and what is said about it.
fn admin_of(text: &str) -> (Option<String>, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.yaml");
    std::fs::write(&file, text).unwrap();
    let inputs = crate::config::load::Inputs { file: Some(file), ..Default::default() };
    let (raw, mut found) = crate::config::load::load(&inputs);
    let (config, more) = resolve(&raw);
    found.extend(more);
    let said = found.iter().filter(|d| d.severity > Severity::Warning).map(|d| d.message.clone());
    (config.admin.map(|admin| admin.accepter.text.to_string()), said.collect())
}

#[test]
fn the_first_admin_port_counts_and_cannot_ask_for_logins() {
    let (admin, said) = admin_of("admin: &adm\n  accepter: tcp,3000\nadmin:\n  accepter: tcp,3001\n");
    assert_eq!(admin.as_deref(), Some("tcp,3000"));
    assert_eq!(said, ["the admin port is already configured: the one in line 1 is used"]);
    let (admin, said) = admin_of("admins:\n  adm:\n    accepter: telnet,tcp,localhost,3000\n");
    assert_eq!((admin.as_deref(), said.len()), (Some("telnet,tcp,localhost,3000"), 0));
    for option in ["authdir-admin: /x", "pamauth-admin: login"] {
        let (admin, said) = admin_of(&format!("admin:\n  accepter: tcp,3000\n  options:\n    {option}\n"));
        assert_eq!(admin, None, "{option}");
        assert!(said[0].contains("cannot be kept: there is no login"), "{said:?}");
    }
    // as with ser2net, a word that nobody knows does no harm
    let (admin, said) = admin_of("admin:\n  accepter: tcp,3000\n  options:\n    foo: bar\n");
    assert_eq!(admin.as_deref(), Some("tcp,3000"));
    assert_eq!(said, ["unknown option 'foo' of the admin port"]);
    for (text, message) in [
        ("admin:\n  accepter: bogus(,1\n", ""),
        ("admin:\n", "the admin port has no accepter"),
        ("admin:\n  acepter: tcp,1\n", "unknown key 'acepter' in the admin port"),
        ("admin: tcp,1\n", "a text where the keys of the admin port are expected"),
    ] {
        let (admin, said) = admin_of(text);
        assert_eq!(admin, None, "{text}");
        assert!(said[0].contains(message), "{text}: {said:?}");
    }
    assert_eq!(
        admin_of("CONTROLPORT:127.0.0.1,3000\n2000:raw:0:/dev/x\n").0.as_deref(),
        Some("127.0.0.1,3000")
    );
}
