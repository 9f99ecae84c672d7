//! One connection: its options, then its accepter and connector.

use super::access::{self, Back};
use super::layers::{Default, described, is_idle, nearest_way};
use super::report::{Finished, Report, Written, sub_span};
use super::{Common, accepter, connector, leds, matching, scalar};
use crate::config::announce::{self, Announce, NetType};
use crate::config::error::{Diagnostic, Span};
use crate::config::options::{self, Place, Row, Status, Value};
use crate::config::raw::{Origin, RawConnection, RawOption, RawValue, Spanned};
use crate::config::{
    Cable, CharDelay, ConnectBack, Connection, Destination, Dial, Options, SlowClient, Template, Traces,
};
use std::sync::Arc;
use std::time::Duration;

/// Longest `user-timeout` in seconds: a day.
const USER_TIMEOUT_MAX: u32 = 86_400;

/// Resolves a connection. `None` comes with at least one error (or, when it is disabled, warning).
pub(super) fn resolve(raw: &RawConnection, common: &Common) -> Resolved {
    let name = &raw.name;
    let mut report = Report::new(&name.value, raw.enabled, common.trace);
    if name.value.is_empty() {
        report.error(name.span.clone(), "the connection has no name", None);
    }
    let mut options = common.options.clone();
    options.allow.clone_from(&common.allow);
    if let (Some(span), Some(row)) = (&common.allow_span, options::find(Place::Connection, "allow")) {
        report.origin(row, None, span, true);
    }
    let mut layer_defaults = Vec::new();
    let mut remaddr_is_default = true;
    for option in &raw.defaults {
        default(option, &mut options, &mut layer_defaults, common, &mut report);
    }
    for option in &raw.options {
        if option.name.value.eq_ignore_ascii_case("remaddr") && std::mem::take(&mut remaddr_is_default) {
            options.remaddr.clear();
        }
        explicit(option, raw.origin, &mut options, common, &mut report);
    }
    if options.connback.len() > options.max_connections {
        let (back, most) = (options.connback.len(), options.max_connections);
        let span = raw.options.iter().find(|o| matches!(o.name.value.as_str(), "connback" | "remaddr"));
        report.error(
            span.map_or(&name.span, |option| &option.name.span).clone(),
            format!("{back} addresses to connect to, but max-connections is {most}"),
            Some(format!("write max-connections: {back}, or more to let clients in besides")),
        );
    }
    if !options.cable.as_ref().is_some_and(|cable| cable.holds)
        && let Some(option) = raw.options.iter().find(|o| o.name.value.eq_ignore_ascii_case("hold-time"))
    {
        report.warning(
            option.name.span.clone(),
            "hold-time has no effect: clients are closed when the device is lost",
            Some("write on-device-loss: hold, or leave it out".to_owned()),
        );
    }
    options.announce = options.announce.filter(|announce| announce.enabled);
    options.cable = options.cable.filter(|cable| **cable != Cable::default());
    let timeout = timeout(raw.timeout.as_ref(), &mut report);
    let accepter = accepter::resolve(&raw.accepter, &layer_defaults, &common.services, &mut report);
    let rule = matching::of_options(&raw.options, &mut report);
    let connector = connector::resolve(&raw.connector, rule, &layer_defaults, &common.services, &mut report);
    let checks_clients = accepter.as_ref().and_then(|a| a.tls.as_ref()).is_some_and(|tls| tls.client_auth);
    for option in raw.defaults.iter().chain(&raw.options).filter(|_| checks_clients) {
        // Without these, more users would be let in than were meant.
        let name = option.name.value.to_ascii_lowercase();
        if matches!(name.as_str(), "authdir" | "pamauth" | "allowed-users") {
            report.blocked(option.name.span.clone(), &format!("{name} together with clientauth"), None);
        }
    }
    let Finished { failed, diagnostics, origins } = report.finish();
    let connection = match (failed, accepter, connector) {
        (false, Some(accepter), Some(connector)) => Some(Connection {
            name: name.value.as_str().into(),
            enabled: raw.enabled,
            accepter,
            connector,
            timeout,
            options: Arc::new(options),
        }),
        _ => None,
    };
    Resolved { connection, diagnostics, origins }
}

/// What became of a connection.
pub(super) struct Resolved {
    /// It runs.
    pub(super) connection: Option<Connection>,
    /// What is to be said.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Where its values came from, when that was asked for.
    pub(super) origins: Vec<Written>,
}

/// The options as they are when nothing is written.
impl std::default::Default for Options {
    /// The defaults of the options table.
    fn default() -> Self {
        let mut options = Options {
            kickolduser: false,
            max_connections: 1,
            banner: None,
            openstr: None,
            closestr: None,
            closeon: None,
            sendon: None,
            signature: None,
            chardelay: CharDelay::On,
            chardelay_scale: 0,
            chardelay_min: 0,
            chardelay_max: 0,
            dev_to_net_bufsize: 1,
            net_to_dev_bufsize: 1,
            no_con_to_acc: false,
            no_acc_to_con: false,
            remaddr: Vec::new(),
            allow: None,
            accepter_retry: Duration::ZERO,
            refusal_text: true,
            connector_retry: Duration::ZERO,
            connback: Vec::new(),
            connback_timeout: None,
            brk_on_sync: false,
            dtr_with_rts: false,
            timeout_on_os_queue: false,
            slow_client: SlowClient::Disconnect,
            slow_client_limit: 0,
            keepalive: None,
            user_timeout: None,
            announce: None,
            traces: Traces::default(),
            led_tx: None,
            led_rx: None,
            cable: None,
        };
        for row in options::rows(Place::Connection) {
            if row.name == "keepalive" {
                options.keepalive = row.default.and_then(|text| access::keepalive(text).ok().flatten());
            } else if let Some(read) = row.default.and_then(|text| row.read(Some(text)).ok()) {
                set(&mut options, row, read.value);
            }
        }
        options
    }
}

/// A value that a `default:` section set. `name` may carry its class in front: `serialdev:speed`.
pub(super) fn default(
    option: &RawOption,
    options: &mut Options,
    layers: &mut Vec<Default>,
    common: &Common,
    report: &mut Report,
) {
    let written = option.name.value.as_str();
    let (class, name) =
        written.split_once(':').map_or((None, written), |(c, n)| (Some(c).filter(|c| !c.is_empty()), n));
    let span = option.name.span.clone();
    let Some(row) = options::find_default(class, name) else {
        report.warning(span, format!("'{written}' has no default that could be set"), None);
        return;
    };
    match row.place {
        Place::Connection => connection_option(row, option, options, common, true, report),
        Place::Admin => {}
        Place::Layer(_) | Place::Serial => match scalar(option.value.as_ref()) {
            Ok(text) => layers.push(Default {
                row,
                classed: class.is_some(),
                text: text.unwrap_or("").to_owned(),
                span,
            }),
            Err(()) => report.warning(span, format!("{name} takes one value"), None),
        },
    }
}

/// An option as it is written.
pub(super) fn explicit(
    option: &RawOption,
    origin: Origin,
    options: &mut Options,
    common: &Common,
    report: &mut Report,
) {
    let name = option.name.value.as_str();
    let row = options::find(Place::Connection, name).filter(|row| {
        // The one-line format's spellings belong to it, but for tr, tw and tb, which YAML takes too.
        origin == Origin::Legacy || row.name.eq_ignore_ascii_case(name) || matches!(name, "tr" | "tw" | "tb")
    });
    if let Some(row) = row {
        connection_option(row, option, options, common, false, report);
        return;
    }
    let help = if name.eq_ignore_ascii_case("enable") || name.eq_ignore_ascii_case("timeout") {
        Some(format!("write {name} beside accepter, not under options"))
    } else if options::find(Place::Serial, name).is_some() {
        Some(format!("write {name} in the connector, behind the device"))
    } else {
        let known = options::rows(Place::Connection).map(|row| row.name);
        options::suggest(name, known).map(|near| format!("did you mean {near}?"))
    };
    report.error(option.name.span.clone(), format!("unknown option '{name}'"), help);
}

/// Reads and sets an option of the connection. A default that cannot be used is left out, except
/// where that would let strangers in.
fn connection_option(
    row: &'static Row,
    option: &RawOption,
    options: &mut Options,
    common: &Common,
    is_default: bool,
    report: &mut Report,
) {
    let span = option.value.as_ref().map_or(&option.name.span, |v| &v.span);
    if row.name == "allow" {
        report.origin(row, None, &option.name.span, is_default);
        return allow(option, span, options, report);
    }
    if row.name == "match" {
        // it belongs to the device, and is read with that
        return report.origin(row, None, &option.name.span, is_default);
    }
    let Ok(text) = scalar(option.value.as_ref()) else {
        report.error(span.clone(), format!("{} takes one value", row.name), None);
        return;
    };
    let read = match row.read(text) {
        Ok(read) => read,
        Err(message) if is_default && row.name != "remaddr" => {
            report.warning(span.clone(), format!("{message}; the default is not used"), None);
            return;
        }
        Err(message) => {
            report.error(span.clone(), message, None);
            return;
        }
    };
    if let Some(warning) = read.warning {
        report.warning(span.clone(), warning, None);
    }
    report.origin(row, text, &option.name.span, is_default);
    match row.name {
        "remaddr" => return remaddr(text.unwrap_or(""), span, options, common, is_default, report),
        "connback" => return connback(text.unwrap_or(""), span, options, common, report),
        "keepalive" => {
            match access::keepalive(text.unwrap_or("")) {
                Ok(keepalive) => options.keepalive = keepalive,
                Err(message) if is_default => {
                    report.warning(span.clone(), format!("{message}; the default is not used"), None);
                }
                Err(message) => report.error(span.clone(), message, Some("write for instance 15/5/3".into())),
            }
            return;
        }
        _ => {}
    }
    if matches!(row.name, "led-tx" | "led-rx") {
        return leds::set(row, text.unwrap_or(""), span, options, common, report);
    }
    if !is_idle(row, &read.value) {
        let span = option.name.span.clone();
        match row.status {
            Status::Active | Status::Moot => {}
            Status::Blocks => report.blocked(span, &described(row), nearest_way(row)),
            Status::Later => report.left_out(span, &described(row), nearest_way(row)),
        }
    }
    if let Value::Text(value) = &read.value
        && let Some(complaint) = announce::complaint(row.name, value)
    {
        report.error(span.clone(), complaint, None);
        return;
    }
    set(options, row, read.value);
}

fn allow(option: &RawOption, span: &Span, options: &mut Options, report: &mut Report) {
    let none = RawValue::Scalar(String::new());
    match access::allowed(option.value.as_ref().map_or(&none, |v| &v.value)) {
        Ok(list) => options.allow = Some(list),
        Err(message) => {
            let help = Some("write for instance allow: [192.168.1.0/24, ::1]".into());
            report.error(span.clone(), message, help);
        }
    }
}

fn remaddr(
    text: &str,
    span: &Span,
    options: &mut Options,
    common: &Common,
    is_default: bool,
    report: &mut Report,
) {
    let spanned = Spanned { value: text.to_owned(), span: span.clone() };
    match access::remote_rules(text, &common.services) {
        Ok((rules, back)) => {
            if is_default {
                options.remaddr = rules;
            } else {
                options.remaddr.extend(rules);
            }
            options.connback.extend(resolved(back, &spanned, common, report));
        }
        Err(problem) => report.problem(&spanned, problem),
    }
}

fn connback(text: &str, span: &Span, options: &mut Options, common: &Common, report: &mut Report) {
    let spanned = Spanned { value: text.to_owned(), span: span.clone() };
    match access::connect_back(text, &common.services) {
        Ok(list) => options.connback.extend(resolved(list, &spanned, common, report)),
        Err(problem) => report.problem(&spanned, problem),
    }
}

/// Makes connectors of what is connected to otherwise than by plain TCP.
fn resolved(
    list: Vec<Back>,
    text: &Spanned<String>,
    common: &Common,
    report: &mut Report,
) -> Vec<ConnectBack> {
    let one = |back| match back {
        Back::Ready(back) => Some(back),
        Back::Other { telnet, place } => {
            let piece =
                Spanned { value: text.value.get(place.clone())?.to_owned(), span: sub_span(text, &place) };
            let connector =
                report.untraced(|report| connector::resolve(&piece, None, &[], &common.services, report))?;
            let dial = Dial { owner: report.name().into(), connector, retry: None };
            Some(ConnectBack { telnet, to: Destination::Other(Arc::new(dial)) })
        }
    };
    list.into_iter().filter_map(one).collect()
}

/// Stores a value that was read. Rows that have no field here are not active.
fn set(options: &mut Options, row: &Row, value: Value) {
    let o = options;
    match (row.name, value) {
        ("kickolduser", Value::Bool(on)) => o.kickolduser = on,
        ("chardelay", Value::Bool(true)) => o.chardelay = CharDelay::On,
        ("chardelay", Value::Bool(false)) => o.chardelay = CharDelay::Off,
        // the only word of its row
        ("chardelay", Value::Text(_)) => o.chardelay = CharDelay::Adaptive,
        ("no-con-to-acc", Value::Bool(on)) => o.no_con_to_acc = on,
        ("no-acc-to-con", Value::Bool(on)) => o.no_acc_to_con = on,
        ("refusal-text", Value::Bool(on)) => o.refusal_text = on,
        ("max-connections", Value::Int(Some(n))) => o.max_connections = n as usize,
        ("chardelay-scale", Value::Int(Some(n))) => o.chardelay_scale = n,
        ("chardelay-min", Value::Int(Some(n))) => o.chardelay_min = n,
        ("chardelay-max", Value::Int(Some(n))) => o.chardelay_max = n,
        ("dev-to-net-bufsize", Value::Int(Some(n))) => o.dev_to_net_bufsize = n as usize,
        ("net-to-dev-bufsize", Value::Int(Some(n))) => o.net_to_dev_bufsize = n as usize,
        ("accepter-retry-time", Value::Int(Some(n))) => o.accepter_retry = Duration::from_secs(n.into()),
        ("connector-retry-time", Value::Int(Some(n))) => o.connector_retry = Duration::from_secs(n.into()),
        ("connback-timeout", Value::Int(Some(n))) => {
            // as with timeout, 0 is never; but it says so for these connections
            o.connback_timeout = Some(Duration::from_secs(n.into()));
        }
        ("telnet-brk-on-sync", Value::Bool(on)) => o.brk_on_sync = on,
        ("dtr-with-rts", Value::Bool(on)) => o.dtr_with_rts = on,
        ("timeout-on-os-queue", Value::Bool(on)) => o.timeout_on_os_queue = on,
        ("slow-client", Value::Text(word)) => {
            o.slow_client = match word.as_str() {
                "backpressure" => SlowClient::Backpressure,
                "drop-oldest" => SlowClient::DropOldest,
                _ => SlowClient::Disconnect,
            }
        }
        ("slow-client-limit", Value::Int(Some(n))) => o.slow_client_limit = n as usize,
        ("user-timeout", Value::Int(seconds)) => {
            o.user_timeout =
                seconds.filter(|s| *s > 0).map(|s| Duration::from_secs(s.min(USER_TIMEOUT_MAX).into()));
        }
        ("banner", Value::Text(text)) => o.banner = filled(text),
        ("openstr", Value::Text(text)) => o.openstr = filled(text),
        ("closestr", Value::Text(text)) => o.closestr = filled(text),
        ("closeon", Value::Text(text)) => o.closeon = filled(text),
        ("sendon", Value::Text(text)) => o.sendon = filled(text),
        // An empty signature is one.
        ("signature", Value::Text(text)) => o.signature = Some(Template(text.into_bytes())),
        ("trace-read", Value::Text(text)) => o.traces.read.name = filled(text),
        ("trace-write", Value::Text(text)) => o.traces.write.name = filled(text),
        ("trace-both", Value::Text(text)) => o.traces.both.name = filled(text),
        // the later one of `trace-hexdump` and `trace-read-hexdump` counts
        ("trace-hexdump", Value::Bool(on)) => o.traces.each().into_iter().for_each(|file| file.hexdump = on),
        ("trace-timestamp", Value::Bool(on)) => {
            o.traces.each().into_iter().for_each(|file| file.timestamp = on);
        }
        ("trace-read-hexdump", Value::Bool(on)) => o.traces.read.hexdump = on,
        ("trace-write-hexdump", Value::Bool(on)) => o.traces.write.hexdump = on,
        ("trace-both-hexdump", Value::Bool(on)) => o.traces.both.hexdump = on,
        ("trace-read-timestamp", Value::Bool(on)) => o.traces.read.timestamp = on,
        ("trace-write-timestamp", Value::Bool(on)) => o.traces.write.timestamp = on,
        ("trace-both-timestamp", Value::Bool(on)) => o.traces.both.timestamp = on,
        ("on-device-loss", Value::Text(word)) => o.cable.get_or_insert_default().holds = word == "hold",
        ("hold-time", Value::Time(time)) => o.cable.get_or_insert_default().hold_time = time,
        ("device-open", Value::Text(word)) => o.cable.get_or_insert_default().keeps_open = word == "always",
        (name, value) if name.starts_with("mdns") => announce(&mut o.announce, name, value),
        _ => {}
    }
}

/// Stores an option of the announcement, which counts only when `mdns` is switched on in the end.
fn announce(announce: &mut Option<Box<Announce>>, name: &str, value: Value) {
    let a = announce.get_or_insert_default();
    match (name, value) {
        ("mdns", Value::Bool(on)) => a.enabled = on,
        ("mdns-interface", Value::Int(index)) => a.interface = index,
        ("mdns-nettype", Value::Text(text)) => {
            a.net_type = match text.as_str() {
                "ipv4" => NetType::V4,
                "ipv6" => NetType::V6,
                _ => NetType::Any,
            }
        }
        ("mdns-name", Value::Text(text)) => a.name = Some(text),
        ("mdns-type", Value::Text(text)) => a.service = Some(text),
        ("mdns-domain", Value::Text(text)) => a.domain = Some(text),
        ("mdns-host", Value::Text(text)) => a.host = Some(text),
        ("mdns-txt", Value::Text(text)) => a.texts.push(text),
        ("mdns-sysattrs", Value::Bool(on)) => a.attributes = on,
        _ => {}
    }
}

fn filled(text: String) -> Option<Template> {
    Some(Template(text.into_bytes())).filter(|t| !t.0.is_empty())
}

/// Seconds; 0 and numbers that ser2net takes for huge ones mean never.
fn timeout(text: Option<&Spanned<String>>, report: &mut Report) -> Option<Duration> {
    let text = text?;
    let Some(seconds) = options::number_of(&text.value) else {
        let message = format!("timeout must be a number of seconds, not '{}'", text.value);
        report.error(text.span.clone(), message, Some("write 0 for never".into()));
        return None;
    };
    if seconds < 0 {
        report.warning(text.span.clone(), "a negative timeout means never", Some("write 0 for never".into()));
        return None;
    }
    // Beyond 136 years the difference does not show.
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    Some(Duration::from_secs(seconds.into())).filter(|t| !t.is_zero())
}
