//! Every option that the table calls active does something: one thing that can be seen for each, on
//! the running program. An option without a line here fails the test, so that none can be read and
//! then forgotten.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside of test functions")]

mod connectors;
mod device;
mod files;
mod net;
mod policy;
#[path = "../support/mod.rs"]
mod support;

use serbroker::config::options::{OPTIONS, Place, Row, Status};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How it is known that an option acts.
enum Proof {
    /// This fails when it does not.
    Here(fn()),
    /// A test of that name in that file does.
    Test(&'static str, &'static str),
}

use Proof::{Here, Test};

/// Place, name and proof.
type Line = (Place, &'static str, Proof);

/// A proof, and the options that it is for.
type Shared = (fn(), Vec<&'static str>);

const OPTION: Place = Place::Connection;
const TELNET: Place = Place::Layer("telnet");
const SSL: Place = Place::Layer("ssl");
const TCP: Place = Place::Layer("tcp");
const DEVICE: Place = Place::Layer("serialdev");
const SERIAL: Place = Place::Serial;
const UDP: Place = Place::Layer("udp");
const UNIX: Place = Place::Layer("unix");
const STDIO: Place = Place::Layer("stdio");
const PTY: Place = Place::Layer("pty");
const ECHO: Place = Place::Layer("echo");
const CONACC: Place = Place::Layer("conacc");
const FILE: Place = Place::Layer("file");
const DEV: Place = Place::Layer("dev");
const KEEPOPEN: Place = Place::Layer("keepopen");
const RATELIMIT: Place = Place::Layer("ratelimit");
const MSGDELIM: Place = Place::Layer("msgdelim");
const TRACE: Place = Place::Layer("trace");

fn lines() -> Vec<Line> {
    let mut lines = lines_of_types();
    lines.extend([
        (OPTION, "kickolduser", Here(net::kickolduser)),
        (OPTION, "max-connections", Here(net::max_connections)),
        (OPTION, "banner", Here(net::banner)),
        (OPTION, "openstr", Here(device::openstr)),
        (OPTION, "closestr", Here(device::closestr)),
        (OPTION, "closeon", Here(net::closeon)),
        (OPTION, "sendon", Here(net::sendon)),
        (OPTION, "signature", Here(net::signature)),
        (OPTION, "telnet-brk-on-sync", Here(device::telnet_brk_on_sync)),
        (OPTION, "dtr-with-rts", Here(device::dtr_with_rts)),
        (OPTION, "chardelay", Here(net::chardelay)),
        (OPTION, "chardelay-scale", Here(net::chardelay_scale)),
        (OPTION, "chardelay-min", Here(net::chardelay_min)),
        (OPTION, "chardelay-max", Here(net::chardelay_max)),
        (OPTION, "dev-to-net-bufsize", Here(net::dev_to_net_bufsize)),
        (OPTION, "net-to-dev-bufsize", Here(net::net_to_dev_bufsize)),
        (OPTION, "no-con-to-acc", Here(net::no_con_to_acc)),
        (OPTION, "no-acc-to-con", Here(device::no_acc_to_con)),
        (OPTION, "remaddr", Here(net::remaddr)),
        (OPTION, "allow", Here(net::allow)),
        (OPTION, "refusal-text", Here(net::refusal_text)),
        (OPTION, "accepter-retry-time", Here(net::accepter_retry_time)),
        (OPTION, "connector-retry-time", Here(policy::connector_retry_time)),
        (
            OPTION,
            "slow-client",
            Test("tests/policies.rs", "with_backpressure_everybody_waits_and_nobody_loses_anything"),
        ),
        (OPTION, "slow-client-limit", Here(policy::slow_client_limit)),
        (OPTION, "keepalive", Here(policy::keepalive)),
        (
            OPTION,
            "user-timeout",
            Test(
                "tests/silent_death.rs",
                "a_client_that_dies_silently_leaves_its_place_within_half_a_minute",
            ),
        ),
        (OPTION, "timeout-on-os-queue", Here(policy::timeout_on_os_queue)),
        (
            OPTION,
            "connback",
            Test("tests/connback.rs", "the_first_words_of_the_device_make_the_connection_and_go_over_it"),
        ),
        (
            OPTION,
            "connback-timeout",
            Test("tests/connback.rs", "idle_connections_back_have_a_timeout_of_their_own"),
        ),
        (OPTION, "trace-read", Here(files::trace_read)),
        (OPTION, "trace-write", Here(files::trace_write)),
        (OPTION, "trace-both", Here(files::trace_both)),
        (OPTION, "trace-hexdump", Here(files::trace_hexdump)),
        (OPTION, "trace-timestamp", Here(files::trace_timestamp)),
        (OPTION, "trace-read-hexdump", Here(files::trace_read_hexdump)),
        (OPTION, "trace-read-timestamp", Here(files::trace_read_timestamp)),
        (OPTION, "trace-write-hexdump", Here(files::trace_write_hexdump)),
        (OPTION, "trace-write-timestamp", Here(files::trace_write_timestamp)),
        (OPTION, "trace-both-hexdump", Here(files::trace_both_hexdump)),
        (OPTION, "trace-both-timestamp", Here(files::trace_both_timestamp)),
        (
            OPTION,
            "on-device-loss",
            Test("tests/cable.rs", "clients_that_are_held_go_on_with_the_device_that_comes_back"),
        ),
        (
            OPTION,
            "hold-time",
            Test("tests/cable.rs", "clients_are_held_for_the_time_that_is_given_and_no_longer"),
        ),
        (
            OPTION,
            "device-open",
            Test("tests/cable.rs", "a_device_that_is_open_always_is_opened_once_and_again_after_a_loss"),
        ),
        (OPTION, "match", Test("src/serial/find.rs", "ports_are_found_by_each_field_and_by_all_together")),
        (OPTION, "led-tx", Test("tests/leds.rs", "each_direction_lights_its_own_led")),
        (OPTION, "led-rx", Test("tests/leds.rs", "each_direction_lights_its_own_led")),
        (OPTION, "mdns", Test("tests/mdns.rs", "role_services")),
        (OPTION, "mdns-name", Test("tests/mdns.rs", "role_services")),
        (OPTION, "mdns-type", Test("tests/mdns.rs", "role_services")),
        (OPTION, "mdns-txt", Test("tests/mdns.rs", "role_services")),
        (OPTION, "mdns-sysattrs", Test("tests/mdns.rs", "role_services")),
        (OPTION, "mdns-interface", Test("src/mdns.rs", "what_is_announced")),
        (OPTION, "mdns-nettype", Test("src/mdns.rs", "what_is_announced")),
        (OPTION, "mdns-domain", Test("src/mdns.rs", "what_is_announced")),
        (OPTION, "mdns-host", Test("src/mdns.rs", "what_is_announced")),
        (TELNET, "rfc2217", Here(net::rfc2217)),
        (SSL, "key", Test("tests/tls.rs", "openssl_moves_bytes_both_ways")),
        (SSL, "cert", Test("tests/tls.rs", "openssl_moves_bytes_both_ways")),
        (SSL, "ca", Here(net::clientauth)),
        (SSL, "clientauth", Here(net::clientauth)),
        (SSL, "allow-authfail", Here(files::allow_authfail_is_refused)),
        (SSL, "mode", Here(files::mode_client_is_refused)),
        (TCP, "nodelay", Here(net::nodelay)),
        (TCP, "reuseaddr", Here(net::reuseaddr)),
        (DEVICE, "nouucplock", Here(device::uucplock)),
        (DEVICE, "uucplock", Here(device::uucplock)),
        (DEVICE, "drain_time", Here(device::drain_time)),
        (DEVICE, "char_drain_wait", Here(device::char_drain_wait)),
        (DEVICE, "custspeed", Here(device::custspeed)),
        (SERIAL, "speed", Here(device::speed)),
        (SERIAL, "local", Here(device::flags)),
        (SERIAL, "xonxoff", Here(device::flags)),
        (SERIAL, "rtscts", Here(device::flags)),
        (SERIAL, "hangup-when-done", Here(device::flags)),
        (SERIAL, "nobreak", Here(device::nobreak)),
        (SERIAL, "wronly", Here(device::one_way_devices)),
        (SERIAL, "rdonly", Here(device::one_way_devices)),
        (SERIAL, "dtr", Here(device::dtr_and_rts)),
        (SERIAL, "rts", Here(device::dtr_and_rts)),
        (SERIAL, "rs485", Here(device::rs485)),
        (SERIAL, "low-latency", Here(device::low_latency)),
        (SERIAL, "NONE", Here(device::parity)),
        (SERIAL, "EVEN", Here(device::parity)),
        (SERIAL, "ODD", Here(device::parity)),
        (SERIAL, "MARK", Here(device::parity)),
        (SERIAL, "SPACE", Here(device::parity)),
        (SERIAL, "5databits", Here(device::sizes)),
        (SERIAL, "6databits", Here(device::sizes)),
        (SERIAL, "7databits", Here(device::sizes)),
        (SERIAL, "8databits", Here(device::sizes)),
        (SERIAL, "1stopbit", Here(device::stop_bits)),
        (SERIAL, "2stopbits", Here(device::stop_bits)),
    ]);
    lines
}

/// Options of the types of which connectors and accepters are put together, and of the admin port.
fn lines_of_types() -> Vec<Line> {
    const CONNECTORS: &str = "tests/connectors/main.rs";
    const LOCAL: &str = "tests/connectors/local.rs";
    vec![
        (TCP, "laddr", Here(connectors::tcp_laddr)),
        (TCP, "tcpd", Test("tests/accepters/wrap.rs", "clients_that_the_files_keep_out_are_told_and_closed")),
        (
            TCP,
            "tcpdname",
            Test("tests/accepters/wrap.rs", "clients_that_the_files_keep_out_are_told_and_closed"),
        ),
        (UDP, "laddr", Test(CONNECTORS, "udp_sends_and_receives_datagrams_and_survives_that_nobody_listens")),
        (UDP, "nocon", Test(CONNECTORS, "udp_of_everybody_and_multicast")),
        (UDP, "mcast", Here(connectors::udp_mcast)),
        (UDP, "mttl", Here(connectors::udp_mttl)),
        (UDP, "mloop", Here(connectors::udp_mloop)),
        (UDP, "reuseaddr", Here(connectors::udp_reuseaddr)),
        (
            UNIX,
            "delsock",
            Test("tests/accepters/unix.rs", "what_a_killed_program_left_is_removed_where_that_is_asked_for"),
        ),
        (UNIX, "perm", Here(connectors::unix_modes)),
        (UNIX, "umode", Here(connectors::unix_modes)),
        (UNIX, "gmode", Here(connectors::unix_modes)),
        (UNIX, "omode", Here(connectors::unix_modes)),
        (UNIX, "owner", Here(connectors::unix_owner_and_group)),
        (UNIX, "group", Here(connectors::unix_owner_and_group)),
        (STDIO, "start-dir", Here(connectors::stdio_start_dir)),
        (STDIO, "noredir-stderr", Here(connectors::stdio_noredir_stderr)),
        (STDIO, "stderr-to-stdout", Test(LOCAL, "a_program_by_its_pipes")),
        (STDIO, "raw", Test("tests/accepters/stdio.rs", "raw_mode_wants_a_terminal_and_two_cannot_have_it")),
        (PTY, "link", Test(LOCAL, "a_pseudo_terminal_for_other_programs")),
        (PTY, "raw", Test(LOCAL, "a_pseudo_terminal_for_other_programs")),
        (PTY, "forcelink", Here(connectors::pty_forcelink)),
        (PTY, "perm", Here(connectors::pty_modes)),
        (PTY, "umode", Here(connectors::pty_modes)),
        (PTY, "gmode", Here(connectors::pty_modes)),
        (PTY, "omode", Here(connectors::pty_modes)),
        (PTY, "owner", Here(connectors::pty_owner_and_group)),
        (PTY, "group", Here(connectors::pty_owner_and_group)),
        (PTY, "start-dir", Test(LOCAL, "a_program_on_a_pseudo_terminal")),
        (
            CONACC,
            "retry-time",
            Test("tests/accepters/dial.rs", "retry_time_is_the_pause_between_two_connections"),
        ),
        (
            TELNET,
            "mode",
            Test("tests/accepters/telnet.rs", "the_clients_end_offers_nothing_and_obeys_nothing"),
        ),
        (
            TELNET,
            "winsize",
            Test("tests/accepters/telnet.rs", "a_program_sees_the_size_of_the_clients_window"),
        ),
        (ECHO, "noecho", Test(LOCAL, "echo_sends_back_and_data_comes_first")),
        (ECHO, "data", Test(LOCAL, "echo_sends_back_and_data_comes_first")),
        (FILE, "infile", Test(LOCAL, "files_are_read_and_written")),
        (FILE, "outfile", Test(LOCAL, "files_are_read_and_written")),
        (FILE, "create", Test(LOCAL, "files_are_read_and_written")),
        (FILE, "read_close", Here(connectors::file_read_close)),
        (FILE, "perm", Here(connectors::file_modes)),
        (FILE, "umode", Here(connectors::file_modes)),
        (FILE, "gmode", Here(connectors::file_modes)),
        (FILE, "omode", Here(connectors::file_modes)),
        (DEV, "rdonly", Test(LOCAL, "devices_that_are_no_terminals")),
        (DEV, "wronly", Test(LOCAL, "devices_that_are_no_terminals")),
        (KEEPOPEN, "retry-time", Test(CONNECTORS, "keepopen_keeps_clients_while_the_far_end_comes_and_goes")),
        (KEEPOPEN, "discard-badwrites", Here(connectors::keepopen_discard_badwrites)),
        (RATELIMIT, "xmit_len", Here(connectors::ratelimit_xmit_len)),
        (RATELIMIT, "xmit_delay", Test(CONNECTORS, "ratelimit_paces_what_is_written")),
        (MSGDELIM, "crc", Here(connectors::msgdelim_crc)),
        (TRACE, "dir", Test(CONNECTORS, "trace_copies_and_blocks")),
        (TRACE, "block", Test(CONNECTORS, "trace_copies_and_blocks")),
        (TRACE, "raw", Test(CONNECTORS, "trace_copies_and_blocks")),
        (TRACE, "file", Test(CONNECTORS, "trace_copies_and_blocks")),
        (TRACE, "stderr", Here(connectors::trace_stderr)),
        (TRACE, "stdout", Here(connectors::trace_stdout)),
        (TRACE, "delold", Here(connectors::trace_delold)),
        (
            Place::Admin,
            "authdir-admin",
            Test("src/config/resolve/tests.rs", "the_first_admin_port_counts_and_cannot_ask_for_logins"),
        ),
        (
            Place::Admin,
            "pamauth-admin",
            Test("src/config/resolve/tests.rs", "the_first_admin_port_counts_and_cannot_ask_for_logins"),
        ),
    ]
}

fn active() -> impl Iterator<Item = &'static Row> {
    OPTIONS.iter().filter(|row| row.status == Status::Active)
}

#[test]
fn every_active_option_has_a_proof_and_nothing_else_has() {
    let lines = lines();
    let known =
        |row: &Row| lines.iter().filter(|(place, name, _)| *place == row.place && *name == row.name).count();
    let without: Vec<_> = active().filter(|row| known(row) != 1).map(|row| (row.place, row.name)).collect();
    assert!(without.is_empty(), "active options without one line that proves it: {without:?}");
    let stale: Vec<_> = lines
        .iter()
        .filter(|(place, name, _)| !active().any(|row| row.place == *place && row.name == *name))
        .map(|(place, name, _)| (place, name))
        .collect();
    assert!(stale.is_empty(), "no active options: {stale:?}");
    for (_, name, proof) in &lines {
        if let Test(file, test) = proof {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {file}: {e}"));
            assert!(text.contains(&format!("fn {test}(")), "{name}: no test {test} in {file}");
        }
    }
}

#[test]
fn every_active_option_acts() {
    // one proof may be that of several options
    let mut proofs: BTreeMap<usize, Shared> = BTreeMap::new();
    for (_, name, proof) in lines() {
        if let Here(proof) = proof {
            proofs.entry(proof as usize).or_insert((proof, Vec::new())).1.push(name);
        }
    }
    let proofs: Vec<_> = proofs.into_values().collect();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    // they wait more than they compute
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while let Some((proof, names)) = proofs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if std::thread::spawn(*proof).join().is_err() {
                        failed.lock().unwrap().push(names.join(", "));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "these do not act: {failed:?}");
}
