//! The values of the types that a connector is made of.

use super::{InForce, of_device, slot};
use crate::config::Connector;
use crate::config::TelnetOptions;
use crate::config::connector::{
    CommandLine, DevNode, Directions, Echo, ErrorOutput, FilePair, Filter, KeepOpen, Local, MsgDelim,
    Program, Pty, RateLimit, Target, TcpConnect, TlsClient, TraceFile, TraceTap, UdpConnect,
};
use crate::config::options::Place;
use std::path::PathBuf;
use std::time::Duration;

/// The options of everything in a connector.
pub(crate) fn of_connector(connector: &Connector) -> Vec<InForce> {
    let Connector { text: _, filters, target } = connector;
    let mut list: Vec<InForce> = filters.iter().flat_map(of_filter).collect();
    list.extend(of_target(target));
    list
}

fn of_target(target: &Target) -> Vec<InForce> {
    match target {
        Target::Serial(device) => of_device(device),
        Target::Dev(DevNode { path: _, reads, writes }) => {
            let of = |name| slot(Place::Layer("dev"), name);
            vec![of("rdonly").is(&!writes), of("wronly").is(&!reads)]
        }
        Target::Tcp(TcpConnect { remotes: _, local, nodelay }) => {
            let of = |name| slot(Place::Layer("tcp"), name);
            vec![of("nodelay").is(nodelay), of("laddr").maybe(local.as_ref().map(local_text))]
        }
        Target::Udp(udp) => of_udp(udp),
        Target::Unix(_) => Vec::new(),
        Target::Pty(pty) => of_pty(pty),
        Target::Program(Program { command, errors }) => {
            let CommandLine { arguments: _, directory } = command;
            let of = |name| slot(Place::Layer("stdio"), name);
            vec![
                of("start-dir").maybe(path_text(directory.as_ref())),
                of("noredir-stderr").is(&(*errors == ErrorOutput::Inherit)),
                of("stderr-to-stdout").is(&(*errors == ErrorOutput::Output)),
            ]
        }
        Target::Echo(Echo { echoes, data }) => {
            let of = |name| slot(Place::Layer("echo"), name);
            vec![of("noecho").is(&!echoes), of("data").maybe(data.as_ref().map(ToString::to_string))]
        }
        Target::File(FilePair { input, output, ends, create, mode }) => {
            let of = |name| slot(Place::Layer("file"), name);
            vec![
                of("infile").maybe(path_text(input.as_ref())),
                of("outfile").maybe(path_text(output.as_ref())),
                of("read_close").is(ends),
                of("create").is(create),
                of("perm").maybe(mode.map(mode_text)),
            ]
        }
    }
}

fn of_udp(udp: &UdpConnect) -> Vec<InForce> {
    let UdpConnect { remote: _, local, groups, ttl, loopback, from_all, reuseaddr } = udp;
    let of = |name| slot(Place::Layer("udp"), name);
    let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
    vec![
        of("laddr").maybe(local.as_ref().map(local_text)),
        of("nocon").is(from_all),
        of("mcast").maybe(Some(groups.join(",")).filter(|text| !text.is_empty())),
        of("mttl").is(ttl),
        of("mloop").is(loopback),
        of("reuseaddr").is(reuseaddr),
    ]
}

fn of_pty(pty: &Pty) -> Vec<InForce> {
    let Pty { link, force_link, raw, mode, owner, group, command } = pty;
    let of = |name| slot(Place::Layer("pty"), name);
    let directory = command.as_ref().and_then(|CommandLine { arguments: _, directory }| directory.as_ref());
    vec![
        of("link").maybe(path_text(link.as_ref())),
        of("forcelink").is(force_link),
        of("raw").is(raw),
        of("perm").maybe(mode.map(mode_text)),
        of("owner").maybe(owner.as_ref().map(ToString::to_string)),
        of("group").maybe(group.as_ref().map(ToString::to_string)),
        of("start-dir").maybe(path_text(directory)),
    ]
}

/// What a filter is called.
pub(in crate::config) fn filter_name(filter: &Filter) -> &'static str {
    match filter {
        Filter::Telnet(_) => "telnet",
        Filter::Tls(_) => "ssl",
        Filter::KeepOpen(_) => "keepopen",
        Filter::RateLimit(_) => "ratelimit",
        Filter::MsgDelim(_) => "msgdelim",
        Filter::Trace(_) => "trace",
    }
}

/// The options of a filter.
pub(in crate::config) fn of_filter(filter: &Filter) -> Vec<InForce> {
    match filter {
        Filter::Telnet(TelnetOptions { rfc2217, client: _, winsize: _ }) => {
            vec![slot(Place::Layer("telnet"), "rfc2217").is(rfc2217)]
        }
        Filter::Tls(TlsClient { ca, identity, unverified }) => {
            let of = |name| slot(Place::Layer("ssl"), name);
            vec![
                of("key").maybe(path_text(identity.as_ref().map(|(_, key)| key))),
                of("cert").maybe(path_text(identity.as_ref().map(|(cert, _)| cert))),
                of("ca").maybe(path_text(ca.as_ref())),
                of("allow-authfail").is(unverified),
            ]
        }
        Filter::KeepOpen(KeepOpen { retry, discards }) => {
            let of = |name| slot(Place::Layer("keepopen"), name);
            vec![of("retry-time").is(&time_text(*retry)), of("discard-badwrites").is(discards)]
        }
        Filter::RateLimit(RateLimit { length, delay }) => {
            let of = |name| slot(Place::Layer("ratelimit"), name);
            vec![of("xmit_len").is(length), of("xmit_delay").is(&time_text(*delay))]
        }
        Filter::MsgDelim(MsgDelim { crc }) => vec![slot(Place::Layer("msgdelim"), "crc").is(crc)],
        Filter::Trace(TraceTap { copies, blocks, raw, file, empties }) => {
            let of = |name| slot(Place::Layer("trace"), name);
            let file = match file {
                None => of("file").maybe(None),
                Some(TraceFile::Path(path)) => of("file").maybe(path_text(Some(path))),
                Some(TraceFile::Stderr) => of("stderr").is(&true),
                Some(TraceFile::Stdout) => of("stdout").is(&true),
            };
            vec![
                of("dir").is(directions_text(*copies)),
                of("block").is(directions_text(*blocks)),
                of("raw").is(raw),
                file,
                of("delold").is(empties),
            ]
        }
    }
}

fn directions_text(directions: Directions) -> &'static str {
    match (directions.read, directions.write) {
        (false, false) => "none",
        (true, false) => "read",
        (false, true) => "write",
        (true, true) => "both",
    }
}

fn path_text(path: Option<&PathBuf>) -> Option<String> {
    path.map(|path| path.display().to_string())
}

fn mode_text(mode: u32) -> String {
    format!("{mode:03o}")
}

fn local_text(local: &Local) -> String {
    let Local { family, host, port } = local;
    super::host_text(*family, host.as_deref(), *port)
}

/// A time as gensio(5) writes it, in the largest unit that leaves no rest.
pub(super) fn time_text(time: Duration) -> String {
    let nanoseconds = time.as_nanos();
    let units = [(1_000_000_000, 's'), (1_000_000, 'm'), (1000, 'u'), (1, 'n')];
    let fits = units.into_iter().find(|(size, _)| nanoseconds.is_multiple_of(*size));
    fits.map_or_else(String::new, |(size, letter)| format!("{}{letter}", nanoseconds / size))
}

/// Connectors that have every type between them.
#[cfg(test)]
pub(super) fn samples() -> Vec<Connector> {
    use crate::config::connector::Remote;
    let remote = || Remote { family: crate::config::Family::Any, host: "h".into(), port: 1 };
    let none = Directions::default();
    let of = |target| Connector { text: "x".into(), filters: Vec::new(), target };
    let filters = vec![
        Filter::Telnet(TelnetOptions::default()),
        Filter::Tls(TlsClient { ca: None, identity: None, unverified: true }),
        Filter::KeepOpen(KeepOpen { retry: Duration::from_secs(1), discards: false }),
        Filter::RateLimit(RateLimit { length: 1, delay: Duration::from_micros(1500) }),
        Filter::MsgDelim(MsgDelim { crc: true }),
        Filter::Trace(TraceTap { copies: none, blocks: none, raw: false, file: None, empties: false }),
    ];
    let pty = Pty {
        link: None,
        force_link: false,
        raw: false,
        mode: None,
        owner: None,
        group: None,
        command: None,
    };
    let command = CommandLine { arguments: vec!["cat".to_owned()], directory: None };
    vec![
        Connector {
            filters,
            ..of(Target::Tcp(TcpConnect { remotes: vec![remote()], local: None, nodelay: true }))
        },
        of(Target::Udp(UdpConnect {
            remote: remote(),
            local: None,
            groups: Vec::new(),
            ttl: 1,
            loopback: true,
            from_all: false,
            reuseaddr: false,
        })),
        of(Target::Unix("/x".into())),
        of(Target::Dev(DevNode { path: "/x".into(), reads: true, writes: true })),
        of(Target::Pty(pty)),
        of(Target::Program(Program { command, errors: ErrorOutput::Log })),
        of(Target::Echo(Echo { echoes: true, data: None })),
        of(Target::File(FilePair { input: None, output: None, ends: true, create: false, mode: None })),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options::time_of;

    #[test]
    fn times_are_read_as_they_are_written() {
        for (text, written) in
            [("1", "1m"), ("500m", "500m"), ("1M30s", "90s"), ("0s", "0s"), ("1s5n", "1000000005n")]
        {
            let time = time_of(text, Some('m')).unwrap();
            assert_eq!(time_text(time), written);
            assert_eq!(time_of(written, None), Some(time));
        }
        let long = time_of("10D5H4M9s100u", None).unwrap();
        assert_eq!(
            long,
            Duration::from_secs(10 * 86_400 + 5 * 3600 + 4 * 60 + 9) + Duration::from_micros(100)
        );
        for text in ["", "s", "1x", "1s5", "-1s", "1.5s", " 1s", "1 s", "99999999999999999999D", "1é"] {
            assert_eq!(time_of(text, Some('s')), None, "{text}");
        }
    }

    #[test]
    fn samples_are_built_in_where_nothing_is_set() {
        let odd: Vec<_> = samples().iter().flat_map(of_connector).filter(|v| !v.is_built_in()).collect();
        let names: Vec<_> = odd.iter().map(|v| v.name).collect();
        assert_eq!(names, ["key", "cert", "allow-authfail", "xmit_delay"], "{odd:?}");
    }
}
