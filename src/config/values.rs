//! The values of a connection, said in the words of the options table: what `check --explain` shows
//! and what a rendered configuration writes. The model is taken apart field by field, so that a
//! field that is missing here does not compile.

use super::announce::Announce;
pub(in crate::config) mod connector;

use super::options::{self, Place, Row};
use super::{
    Accepter, Cable, ClientFilters, Connection, Family, Led, Listen, ListenAddress, Options, StdioListen,
    TcpListen, TelnetOptions, Template, TlsOptions, Traces, UdpListen, UnixListen,
};
use crate::serial::settings::{DeviceConfig, Flow, LineSettings, Rs485};
use std::fmt::Write as _;
use std::sync::Arc;

/// An option with the value in force.
#[derive(Clone, Copy, Debug)]
struct Slot {
    place: Place,
    name: &'static str,
}

/// An option and its value as one would write it; `None`: nothing is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// Where it is written.
    pub place: Place,
    /// Its name in the options table.
    pub name: &'static str,
    /// The value.
    pub value: Option<String>,
}

impl InForce {
    /// Its row.
    pub fn row(&self) -> Option<&'static Row> {
        options::OPTIONS.iter().find(|row| row.place == self.place && row.name == self.name)
    }

    /// The value is the one that holds when nothing is written.
    pub fn is_built_in(&self) -> bool {
        let default = self.row().and_then(|row| row.default);
        match (&self.value, default) {
            (None, None) => true,
            (Some(value), Some(default)) => value.eq_ignore_ascii_case(default),
            // `off` and nothing are the same for RS-485
            (None, Some(default)) => default == "off",
            (Some(_), None) => false,
        }
    }
}

/// All options of a connection that the program acts on, in the order of the model.
pub fn in_force(connection: &Connection) -> Vec<InForce> {
    let Connection { name: _, enabled: _, timeout: _, accepter, connector, options } = connection;
    let mut list = of_options(options);
    let rule = connector.device().and_then(|device| device.rule.as_ref());
    list.push(slot(Place::Connection, "match").maybe(rule.map(ToString::to_string)));
    list.extend(of_accepter(accepter));
    list.extend(connector::of_connector(connector));
    list
}

fn slot(place: Place, name: &'static str) -> Slot {
    Slot { place, name }
}

impl Slot {
    fn is(self, value: &(impl ToString + ?Sized)) -> InForce {
        self.maybe(Some(value.to_string()))
    }

    fn maybe(self, value: Option<String>) -> InForce {
        InForce { place: self.place, name: self.name, value }
    }
}

/// The options under `options:`.
pub fn of_options(options: &Options) -> Vec<InForce> {
    let Options {
        kickolduser,
        max_connections,
        banner,
        openstr,
        closestr,
        closeon,
        sendon,
        signature,
        chardelay,
        chardelay_scale,
        chardelay_min,
        chardelay_max,
        dev_to_net_bufsize,
        net_to_dev_bufsize,
        no_con_to_acc,
        no_acc_to_con,
        remaddr,
        allow,
        accepter_retry,
        refusal_text,
        connector_retry,
        connback,
        connback_timeout,
        brk_on_sync,
        dtr_with_rts,
        timeout_on_os_queue,
        slow_client,
        slow_client_limit,
        keepalive,
        user_timeout,
        announce,
        traces,
        led_tx,
        led_rx,
        cable,
    } = options;
    let built_in = Cable::default();
    let Cable { holds, hold_time, keeps_open } = cable.as_deref().unwrap_or(&built_in);
    let Traces { read, write, both } = traces;
    let files = [read, write, both];
    let led = |led: &Option<Arc<Led>>| led.as_ref().map(|led| led.name.to_string());
    let of = |name| slot(Place::Connection, name);
    let text = |t: &Option<Template>| t.as_ref().map(|t| String::from_utf8_lossy(&t.0).into_owned());
    let remaddr: Vec<String> = remaddr
        .iter()
        .map(|rule| {
            let mark = if rule.negate { "!" } else { "" };
            format!("{mark}{},{}", rule.net, rule.port.unwrap_or(0))
        })
        .collect();
    let connback: Vec<String> = connback.iter().map(ToString::to_string).collect();
    let off = || "off".to_owned();
    let allow = allow.as_ref().map(|list| {
        let list: Vec<String> = list.iter().map(ToString::to_string).collect();
        list.join(", ")
    });
    let mut list = vec![
        of("kickolduser").is(kickolduser),
        of("max-connections").is(max_connections),
        of("banner").maybe(text(banner)),
        of("openstr").maybe(text(openstr)),
        of("closestr").maybe(text(closestr)),
        of("closeon").maybe(text(closeon)),
        of("sendon").maybe(text(sendon)),
        of("signature").maybe(text(signature)),
        of("chardelay").is(chardelay),
        of("chardelay-scale").is(chardelay_scale),
        of("chardelay-min").is(chardelay_min),
        of("chardelay-max").is(chardelay_max),
        of("dev-to-net-bufsize").is(dev_to_net_bufsize),
        of("net-to-dev-bufsize").is(net_to_dev_bufsize),
        of("no-con-to-acc").is(no_con_to_acc),
        of("no-acc-to-con").is(no_acc_to_con),
        of("remaddr").maybe(Some(remaddr.join(";")).filter(|text| !text.is_empty())),
        of("allow").maybe(allow),
        of("accepter-retry-time").is(&accepter_retry.as_secs()),
        of("refusal-text").is(refusal_text),
        of("connector-retry-time").is(&connector_retry.as_secs()),
        of("connback").maybe(Some(connback.join(";")).filter(|text| !text.is_empty())),
        of("connback-timeout").maybe(connback_timeout.map(|t| t.as_secs().to_string())),
        of("telnet-brk-on-sync").is(brk_on_sync),
        of("dtr-with-rts").is(dtr_with_rts),
        of("timeout-on-os-queue").is(timeout_on_os_queue),
        of("slow-client").is(slow_client),
        of("slow-client-limit").is(slow_client_limit),
        of("keepalive").is(&keepalive.map_or_else(off, |k| k.to_string())),
        of("user-timeout").is(&user_timeout.map_or_else(off, |t| t.as_secs().to_string())),
        of("trace-read").maybe(text(&read.name)),
        of("trace-write").maybe(text(&write.name)),
        of("trace-both").maybe(text(&both.name)),
        // they say something about the three that follow, and so stand before them
        of("trace-hexdump").is(&files.iter().all(|file| file.hexdump)),
        of("trace-timestamp").is(&files.iter().all(|file| file.timestamp)),
        of("trace-read-hexdump").is(&read.hexdump),
        of("trace-read-timestamp").is(&read.timestamp),
        of("trace-write-hexdump").is(&write.hexdump),
        of("trace-write-timestamp").is(&write.timestamp),
        of("trace-both-hexdump").is(&both.hexdump),
        of("trace-both-timestamp").is(&both.timestamp),
        of("led-tx").maybe(led(led_tx)),
        of("led-rx").maybe(led(led_rx)),
        of("on-device-loss").is(if *holds { "hold" } else { "close" }),
        of("hold-time").is(&connector::time_text(*hold_time)),
        of("device-open").is(if *keeps_open { "always" } else { "on-connect" }),
    ];
    list.extend(of_announce(announce.as_deref()));
    list
}

fn of_announce(announce: Option<&Announce>) -> Vec<InForce> {
    let none = Announce::default();
    let Announce { enabled, interface, net_type, name, service, domain, host, texts, attributes } =
        announce.unwrap_or(&none);
    let of = |name| slot(Place::Connection, name);
    let mut list = vec![
        of("mdns").is(enabled),
        of("mdns-interface").maybe(interface.map(|index| index.to_string())),
        of("mdns-nettype").is(net_type),
        of("mdns-name").maybe(name.clone()),
        of("mdns-type").maybe(service.clone()),
        of("mdns-domain").maybe(domain.clone()),
        of("mdns-host").maybe(host.clone()),
    ];
    if texts.is_empty() {
        list.push(of("mdns-txt").maybe(None));
    }
    list.extend(texts.iter().map(|text| of("mdns-txt").is(text)));
    list.push(of("mdns-sysattrs").is(attributes));
    list
}

/// The options of the types that an accepter is made of.
pub fn of_accepter(accepter: &Accepter) -> Vec<InForce> {
    let Accepter { text: _, telnet, tls, filters, listen } = accepter;
    let mut list = Vec::new();
    if let Some(telnet) = telnet {
        let TelnetOptions { rfc2217, client, winsize } = telnet;
        let of = |name| slot(Place::Layer("telnet"), name);
        list.push(of("rfc2217").is(rfc2217));
        list.push(of("mode").maybe(client.then(|| "client".to_owned())));
        list.push(of("winsize").is(winsize));
    }
    if let Some(tls) = tls {
        let TlsOptions { key, cert, ca, client_auth } = &**tls;
        let of = |name| slot(Place::Layer("ssl"), name);
        list.push(of("key").is(&key.display()));
        list.push(of("cert").is(&cert.display()));
        list.push(of("ca").maybe(ca.as_ref().map(|ca| ca.display().to_string())));
        list.push(of("clientauth").is(client_auth));
    }
    if let Some(filters) = filters {
        let ClientFilters { above, below } = &**filters;
        list.extend(above.iter().chain(below).flat_map(connector::of_filter));
    }
    list.extend(of_listen(listen));
    list
}

/// The options of a transport.
fn of_listen(listen: &Listen) -> Vec<InForce> {
    match listen {
        Listen::Tcp(TcpListen { addresses: _, nodelay, reuseaddr, wrap, wrap_name }) => {
            let of = |name| slot(Place::Layer("tcp"), name);
            vec![
                of("nodelay").is(nodelay),
                of("reuseaddr").is(reuseaddr),
                of("tcpd").is(wrap),
                of("tcpdname").is(wrap_name),
            ]
        }
        Listen::Udp(UdpListen { addresses: _, reuseaddr }) => {
            vec![slot(Place::Layer("udp"), "reuseaddr").is(reuseaddr)]
        }
        Listen::Unix(UnixListen { path: _, delsock, mode, owner, group }) => {
            let of = |name| slot(Place::Layer("unix"), name);
            vec![
                of("delsock").is(delsock),
                of("perm").maybe(mode.map(|mode| format!("{mode:03o}"))),
                of("owner").maybe(owner.as_ref().map(ToString::to_string)),
                of("group").maybe(group.as_ref().map(ToString::to_string)),
            ]
        }
        Listen::Stdio(StdioListen { raw }) => vec![slot(Place::Layer("stdio"), "raw").is(raw)],
        Listen::Dial(dial) => {
            let retry = dial.retry.map(connector::time_text);
            vec![slot(Place::Layer("conacc"), "retry-time").maybe(retry)]
        }
        Listen::Dummy => Vec::new(),
    }
}

/// The type of a transport, as accepters write it.
pub fn transport_name(listen: &Listen) -> &'static str {
    match listen {
        Listen::Tcp(_) => "tcp",
        Listen::Udp(_) => "udp",
        Listen::Unix(_) => "unix",
        Listen::Stdio(_) => "stdio",
        Listen::Dial(_) => "conacc",
        Listen::Dummy => "dummy",
    }
}

/// What follows the type of a transport: the addresses that it binds, as `ipv4,127.0.0.1,2000`, or
/// a path. Empty for those that take nothing.
pub fn address_text(listen: &Listen) -> String {
    if let Listen::Unix(unix) = listen {
        return unix.path.to_string();
    }
    if let Listen::Dial(dial) = listen {
        return dial.connector.text.to_string();
    }
    let addresses = listen.addresses();
    let texts: Vec<_> = addresses.iter().map(|a| one_address(a, addresses.len() > 1)).collect();
    texts.join(",")
}

/// `among`: there are others, so that a host must be written: `*` for all.
fn one_address(address: &ListenAddress, among: bool) -> String {
    let ListenAddress { family, host, port } = address;
    host_text(*family, host.as_deref().or(among.then_some("*")), *port)
}

fn host_text(family: Family, host: Option<&str>, port: u16) -> String {
    let family = match family {
        Family::Any => "",
        Family::V4 => "ipv4,",
        Family::V6 => "ipv6,",
        Family::V6Mapped => "ipv6n4,",
    };
    match host {
        Some(host) => format!("{family}{host},{port}"),
        None => format!("{family}{port}"),
    }
}

/// The settings of a device.
pub fn of_device(device: &DeviceConfig) -> Vec<InForce> {
    let DeviceConfig {
        path: _,
        rule: _,
        line,
        nobreak,
        uucp_lock,
        dtr,
        rts,
        write_only,
        read_only,
        rs485,
        low_latency,
        drain_ms,
        stall_ms,
    } = device;
    let LineSettings { baud: _, size: _, parity: _, stop: _, flow, local, hangup_when_done } = line;
    let Flow { xonxoff, rtscts } = flow;
    let of = |name| slot(Place::Serial, name);
    vec![
        of("speed").is(line),
        of("local").is(local),
        of("xonxoff").is(xonxoff),
        of("rtscts").is(rtscts),
        of("hangup-when-done").maybe(hangup_when_done.map(|on| on.to_string())),
        of("nobreak").is(nobreak),
        of("wronly").is(write_only),
        of("rdonly").is(read_only),
        of("dtr").maybe(dtr.map(|on| on.to_string())),
        of("rts").maybe(rts.map(|on| on.to_string())),
        of("low-latency").is(low_latency),
        of("rs485").maybe(rs485.as_ref().map(rs485_text)),
        slot(Place::Layer("serialdev"), "uucplock").is(uucp_lock),
        slot(Place::Layer("serialdev"), "drain_time").maybe(drain_ms.map(|ms| (ms / 10).to_string())),
        slot(Place::Layer("serialdev"), "char_drain_wait")
            .is(&stall_ms.map_or_else(|| "off".to_owned(), |ms| (ms / 10).to_string())),
    ]
}

fn rs485_text(conf: &Rs485) -> String {
    let Rs485 { delay_before_ms, delay_after_ms, rts_on_send, rts_after_send, rx_during_tx, terminate_bus } =
        conf;
    let mut text = format!("{delay_before_ms}:{delay_after_ms}");
    let flags = [
        (rts_on_send, "rts_on_send"),
        (rts_after_send, "rts_after_send"),
        (rx_during_tx, "rx_during_tx"),
        (terminate_bus, "terminate_bus"),
    ];
    for (_, name) in flags.into_iter().filter(|(set, _)| **set) {
        // writing to a String cannot fail
        let _ = write!(text, ":{name}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Connector;
    use crate::config::Wrap;

    fn place() -> Box<[ListenAddress]> {
        [ListenAddress { family: Family::Any, host: None, port: 1 }].into()
    }

    fn tcp() -> Listen {
        let (wrap, wrap_name) = (Wrap::default(), "ser2net".into());
        Listen::Tcp(TcpListen { addresses: place(), nodelay: true, reuseaddr: true, wrap, wrap_name })
    }

    /// One of each other transport.
    fn others() -> [Listen; 4] {
        let path = "/s".into();
        [
            Listen::Udp(UdpListen { addresses: place(), reuseaddr: false }),
            Listen::Unix(UnixListen { path, delsock: false, mode: None, owner: None, group: None }),
            Listen::Stdio(StdioListen::default()),
            Listen::Dial(Arc::new(super::super::Dial {
                owner: "a".into(),
                connector: Connector::serial("/dev/x", DeviceConfig::new("/dev/x")),
                retry: None,
            })),
        ]
    }

    fn sample() -> Connection {
        Connection {
            name: "a".into(),
            enabled: true,
            accepter: Accepter {
                text: "telnet,ssl,tcp,1".into(),
                telnet: Some(TelnetOptions::default()),
                tls: Some(Box::new(TlsOptions {
                    key: "k".into(),
                    cert: "c".into(),
                    ca: None,
                    client_auth: false,
                })),
                filters: None,
                listen: Arc::new(tcp()),
            },
            connector: Connector::serial("/dev/x", DeviceConfig::new("/dev/x")),
            timeout: None,
            options: Arc::default(),
        }
    }

    #[test]
    fn every_value_is_an_option_of_the_table_and_every_active_option_has_a_value() {
        let mut list = in_force(&sample());
        for target in connector::samples() {
            list.extend(connector::of_connector(&target));
        }
        list.extend(others().iter().flat_map(of_listen));
        for value in &list {
            assert!(value.row().is_some(), "{value:?}");
        }
        for row in options::OPTIONS.iter().filter(|row| row.status == options::Status::Active) {
            // parts of the speed, or ways to say the same as another option
            let part = row.kind == options::Kind::Flag
                // all of them are refused
                || row.place == Place::Admin
                || matches!(row.name, "nouucplock" | "custspeed")
                || row.place == Place::Layer("ssl") && row.name == "mode"
                || row.place == Place::Layer("trace") && matches!(row.name, "stderr" | "stdout")
                || matches!(row.name, "umode" | "gmode" | "omode");
            let found = list.iter().any(|v| v.place == row.place && v.name == row.name);
            assert!(found != part, "{:?} {}", row.place, row.name);
        }
    }

    #[test]
    fn built_in_values_are_known_as_such() {
        let mut odd = in_force(&sample());
        odd.extend(others().iter().flat_map(of_listen));
        odd.retain(|v| !v.is_built_in());
        let names: Vec<_> = odd.iter().map(|v| v.name).collect();
        assert_eq!(names, ["key", "cert"], "{odd:?}");
    }
}
