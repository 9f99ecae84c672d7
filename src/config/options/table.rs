//! The rows themselves.

use super::{Kind, Place, Row, Status};

const CONNECTION: Place = Place::Connection;
const SERIAL: Place = Place::Serial;
const BOOL: Kind = Kind::Bool;
const TEXT: Kind = Kind::Text { empty: true };
const FILLED_TEXT: Kind = Kind::Text { empty: false };
const TEMPLATE: Kind = Kind::Template { empty: true };
const FILLED_TEMPLATE: Kind = Kind::Template { empty: false };

const fn int(min: u32, max: u32, unit: &'static str) -> Kind {
    Kind::Int { min, max, unit }
}

/// An active row without other spellings that cannot be a default.
const fn row(
    place: Place,
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    doc: &'static str,
) -> Row {
    Row { name, place, also: &[], kind, default, as_default: false, status: Status::Active, doc }
}

/// It can be set in a `default:` section.
const fn as_default(row: Row) -> Row {
    Row { as_default: true, ..row }
}

/// It has other spellings.
const fn also(row: Row, also: &'static [&'static str]) -> Row {
    Row { also, ..row }
}

/// There is nothing to do for it.
const fn moot(row: Row) -> Row {
    Row { status: Status::Moot, ..row }
}

/// It does nothing yet.
const fn later(row: Row) -> Row {
    Row { status: Status::Later, ..row }
}

/// A connection with it does not run.
const fn blocks(row: Row) -> Row {
    Row { status: Status::Blocks, ..row }
}

/// Every option.
#[rustfmt::skip]
pub const OPTIONS: &[Row] = &[
    as_default(row(CONNECTION, "kickolduser", BOOL, Some("false"),
        "A new client throws out an old one when the port is full.")),
    as_default(row(CONNECTION, "max-connections", int(1, 65_536, "clients"), Some("1"),
        "Most clients at a time.")),
    as_default(row(CONNECTION, "banner", TEMPLATE, None,
        "Text for a new client, with escapes.")),
    as_default(row(CONNECTION, "openstr", TEMPLATE, None,
        "Text for the device when it is opened, with escapes.")),
    as_default(row(CONNECTION, "closestr", TEMPLATE, None,
        "Text for the device before it is closed, with escapes.")),
    as_default(row(CONNECTION, "closeon", FILLED_TEMPLATE, None,
        "Closes all clients when the device sends this string.")),
    as_default(row(CONNECTION, "sendon", FILLED_TEMPLATE, None,
        "Sends what was gathered when the device sends this string.")),
    as_default(row(CONNECTION, "signature", TEMPLATE, None,
        "Signature told to RFC 2217 clients, as it is written.")),
    later(as_default(also(row(CONNECTION, "telnet-brk-on-sync", BOOL, Some("false"),
        "Sends a break when the client sends a telnet sync."), &["telnet_brk_on_sync"]))),
    as_default(row(CONNECTION, "chardelay", Kind::BoolOr(&["adaptive"]), Some("true"),
        "Waits a little for more bytes of the device before sending; adaptive: not with the first ones.")),
    as_default(row(CONNECTION, "chardelay-scale", int(1, 1000, "tenths of a character"), Some("20"),
        "Wait for this many tenths of a character.")),
    as_default(row(CONNECTION, "chardelay-min", int(1, 100_000, "microseconds"), Some("1000"),
        "Shortest wait.")),
    as_default(row(CONNECTION, "chardelay-max", int(1, 1_000_000, "microseconds"), Some("20000"),
        "Longest wait.")),
    as_default(row(CONNECTION, "dev-to-net-bufsize", int(1, 65_536, "bytes"), Some("64"),
        "Bytes read from the device at a time.")),
    as_default(also(row(CONNECTION, "net-to-dev-bufsize", int(1, 65_536, "bytes"), Some("64"),
        "Bytes read from a client at a time."), &["tcp-to-dev-bufsize"])),
    row(CONNECTION, "no-con-to-acc", BOOL, Some("false"),
        "Nothing goes from the device to the clients."),
    row(CONNECTION, "no-acc-to-con", BOOL, Some("false"),
        "Nothing goes from the clients to the device."),
    as_default(row(CONNECTION, "remaddr", Kind::Addresses, None,
        "Who may connect, as [tcp,]host[/bits],port separated by ';'; port 0 is any.")),
    as_default(row(CONNECTION, "allow", Kind::Networks, None,
        "Who may connect, as addresses or networks.")),
    as_default(row(CONNECTION, "refusal-text", BOOL, Some("true"),
        "Tells a client that is refused the reason.")),
    as_default(row(CONNECTION, "accepter-retry-time", int(1, 2_147_483_647, "seconds"), Some("20"),
        "Wait between attempts to listen.")),
    later(as_default(row(CONNECTION, "connector-retry-time", int(1, 2_147_483_647, "seconds"), Some("20"),
        "Wait between attempts to open a device that no client waits for."))),
    also(row(CONNECTION, "trace-read", FILLED_TEMPLATE, None,
        "File for what the device sends."), &["tr"]),
    also(row(CONNECTION, "trace-write", FILLED_TEMPLATE, None,
        "File for what the clients send."), &["tw"]),
    also(row(CONNECTION, "trace-both", FILLED_TEMPLATE, None,
        "File for what both send."), &["tb"]),
    row(CONNECTION, "trace-hexdump", BOOL, Some("false"),
        "Hexadecimal lines in all trace files."),
    row(CONNECTION, "trace-timestamp", BOOL, Some("false"),
        "Times in all trace files."),
    also(row(CONNECTION, "trace-read-hexdump", BOOL, Some("false"),
        "Hexadecimal lines in the file of trace-read."), &["tr-hexdump"]),
    also(row(CONNECTION, "trace-read-timestamp", BOOL, Some("false"),
        "Times in the file of trace-read."), &["tr-timestamp"]),
    also(row(CONNECTION, "trace-write-hexdump", BOOL, Some("false"),
        "Hexadecimal lines in the file of trace-write."), &["tw-hexdump"]),
    also(row(CONNECTION, "trace-write-timestamp", BOOL, Some("false"),
        "Times in the file of trace-write."), &["tw-timestamp"]),
    also(row(CONNECTION, "trace-both-hexdump", BOOL, Some("false"),
        "Hexadecimal lines in the file of trace-both."), &["tb-hexdump"]),
    also(row(CONNECTION, "trace-both-timestamp", BOOL, Some("false"),
        "Times in the file of trace-both."), &["tb-timestamp"]),
    row(CONNECTION, "led-tx", FILLED_TEXT, None,
        "LED that shows bytes to the device."),
    row(CONNECTION, "led-rx", FILLED_TEXT, None,
        "LED that shows bytes from the device."),
    later(row(CONNECTION, "connback", FILLED_TEXT, None,
        "Connects to these addresses when the device sends something.")),
    later(row(CONNECTION, "connback-timeout", int(0, 2_147_483_647, "seconds"), None,
        "Closes an idle connection made by connback.")),
    later(row(CONNECTION, "timeout-on-os-queue", BOOL, Some("false"),
        "Bytes that wait in the system count as traffic for the timeout.")),
    later(as_default(row(CONNECTION, "authdir", FILLED_TEXT, None,
        "Directory with the users' keys."))),
    later(as_default(row(CONNECTION, "pamauth", FILLED_TEXT, None,
        "PAM service that checks passwords."))),
    later(as_default(row(CONNECTION, "allowed-users", TEXT, None,
        "Users that may connect, separated by blanks."))),
    as_default(row(CONNECTION, "mdns", BOOL, Some("false"),
        "Announces the connection by mDNS.")),
    as_default(row(CONNECTION, "mdns-interface", Kind::IntOrOff, None,
        "Index of the network interface to announce on; -1 is all.")),
    row(CONNECTION, "mdns-nettype", Kind::Choice(&["unspec", "ipv4", "ipv6"]), Some("unspec"),
        "Address family to announce."),
    row(CONNECTION, "mdns-name", FILLED_TEXT, None,
        "Name to announce."),
    as_default(row(CONNECTION, "mdns-type", FILLED_TEXT, None,
        "Service type to announce.")),
    as_default(row(CONNECTION, "mdns-domain", FILLED_TEXT, None,
        "Domain to announce in.")),
    as_default(row(CONNECTION, "mdns-host", FILLED_TEXT, None,
        "Host to announce.")),
    row(CONNECTION, "mdns-txt", FILLED_TEXT, None,
        "A name=value text to announce; may be repeated."),
    as_default(row(CONNECTION, "mdns-sysattrs", BOOL, Some("false"),
        "Announces the attributes of a USB device.")),
    as_default(row(Place::Layer("telnet"), "rfc2217", BOOL, Some("false"),
        "Offers and obeys RFC 2217.")),
    as_default(row(Place::Layer("telnet"), "mode", Kind::Choice(&["server", "client"]), Some("server"),
        "Which end of telnet this is; an accepter is the server.")),
    later(row(Place::Layer("telnet"), "winsize", BOOL, Some("false"),
        "Asks for the size of the client's window.")),
    moot(row(Place::Layer("telnet"), "readbuf", int(0, 2_147_483_647, "bytes"), None,
        "Size of the read buffer; buffers have the size that they need.")),
    moot(row(Place::Layer("telnet"), "writebuf", int(0, 2_147_483_647, "bytes"), None,
        "Size of the write buffer; buffers have the size that they need.")),
    as_default(row(Place::Layer("ssl"), "key", TEXT, Some("/etc/ser2net/ser2net.key"),
        "PEM file with the private key.")),
    as_default(row(Place::Layer("ssl"), "cert", TEXT, Some("/etc/ser2net/ser2net.crt"),
        "PEM file with the certificate chain; empty: the file of the key.")),
    as_default(row(Place::Layer("ssl"), "ca", TEXT, None,
        "PEM file with authorities for client certificates.")),
    as_default(row(Place::Layer("ssl"), "clientauth", BOOL, Some("false"),
        "A client must show a certificate that one of the authorities signed.")),
    as_default(row(Place::Layer("ssl"), "allow-authfail", BOOL, Some("false"),
        "Lets clients in whose certificate is not valid.")),
    as_default(row(Place::Layer("ssl"), "mode", Kind::Choice(&["server", "client"]), Some("server"),
        "Which end of TLS this is; an accepter is the server.")),
    moot(row(Place::Layer("ssl"), "readbuf", int(0, 2_147_483_647, "bytes"), None,
        "Size of the read buffer; buffers have the size that they need.")),
    moot(row(Place::Layer("ssl"), "writebuf", int(0, 2_147_483_647, "bytes"), None,
        "Size of the write buffer; buffers have the size that they need.")),
    as_default(row(Place::Layer("tcp"), "nodelay", BOOL, Some("true"),
        "Sends small pieces at once (TCP_NODELAY).")),
    as_default(row(Place::Layer("tcp"), "reuseaddr", BOOL, Some("true"),
        "Listens although old connections linger (SO_REUSEADDR).")),
    moot(row(Place::Layer("tcp"), "readbuf", int(0, 2_147_483_647, "bytes"), None,
        "Size of the read buffer; buffers have the size that they need.")),
    blocks(as_default(row(Place::Layer("tcp"), "tcpd", Kind::Choice(&["on", "print", "off"]), None,
        "Asks the files of hosts_access(5) who may connect."))),
    blocks(row(Place::Layer("tcp"), "tcpdname", FILLED_TEXT, None,
        "Name of the program for hosts_access(5).")),
    as_default(row(Place::Layer("serialdev"), "nouucplock", BOOL, Some("false"),
        "Makes no UUCP lock file.")),
    row(Place::Layer("serialdev"), "uucplock", BOOL, Some("true"),
        "Makes a UUCP lock file."),
    as_default(row(Place::Layer("serialdev"), "drain_time", Kind::IntOrOff, None,
        "Longest wait at close for all unsent output, in hundredths of a second.")),
    as_default(row(Place::Layer("serialdev"), "char_drain_wait", Kind::IntOrOff, Some("50"),
        "Longest wait at close while no character goes out, in hundredths of a second.")),
    as_default(row(Place::Layer("serialdev"), "custspeed", BOOL, Some("true"),
        "Allows speeds other than the classic ones; they always are.")),
    moot(row(Place::Layer("serialdev"), "readbuf", int(0, 2_147_483_647, "bytes"), None,
        "Size of the read buffer; buffers have the size that they need.")),
    as_default(row(SERIAL, "speed", Kind::Mode, Some("9600n81"),
        "Speed, parity, data bits and stop bits; the name may be left out.")),
    as_default(row(SERIAL, "local", BOOL, Some("false"),
        "Ignores the modem lines.")),
    as_default(row(SERIAL, "xonxoff", BOOL, Some("false"),
        "Flow control by XON and XOFF.")),
    as_default(row(SERIAL, "rtscts", BOOL, Some("false"),
        "Flow control by RTS and CTS.")),
    as_default(also(row(SERIAL, "hangup-when-done", BOOL, Some("false"),
        "Drops DTR and RTS at close."), &["hangup_when_done"])),
    as_default(row(SERIAL, "nobreak", BOOL, Some("false"),
        "Leaves the break state alone at open.")),
    row(SERIAL, "wronly", BOOL, Some("false"),
        "Only writes to the device, and sets nothing on it."),
    row(SERIAL, "rdonly", BOOL, Some("false"),
        "Only reads from the device."),
    row(SERIAL, "dtr", BOOL, None,
        "Sets DTR at open."),
    row(SERIAL, "rts", BOOL, None,
        "Sets RTS at open."),
    as_default(row(SERIAL, "rs485", Kind::Rs485, Some("off"),
        "RS-485 direction control: before:after[:rts_on_send][:rts_after_send][:rx_during_tx][:terminate_bus].")),
    row(SERIAL, "NONE", Kind::Flag, None,
        "No parity."),
    row(SERIAL, "EVEN", Kind::Flag, None,
        "Even parity."),
    row(SERIAL, "ODD", Kind::Flag, None,
        "Odd parity."),
    row(SERIAL, "MARK", Kind::Flag, None,
        "Parity bit 1."),
    row(SERIAL, "SPACE", Kind::Flag, None,
        "Parity bit 0."),
    row(SERIAL, "5databits", Kind::Flag, None,
        "5 data bits."),
    row(SERIAL, "6databits", Kind::Flag, None,
        "6 data bits."),
    row(SERIAL, "7databits", Kind::Flag, None,
        "7 data bits."),
    row(SERIAL, "8databits", Kind::Flag, None,
        "8 data bits."),
    row(SERIAL, "1stopbit", Kind::Flag, None,
        "One stop bit."),
    row(SERIAL, "2stopbits", Kind::Flag, None,
        "Two stop bits."),
    later(as_default(row(Place::Admin, "authdir-admin", FILLED_TEXT, None,
        "Directory with the keys of the administrators."))),
    later(as_default(row(Place::Admin, "pamauth-admin", FILLED_TEXT, None,
        "PAM service that checks passwords of the administrators."))),
];
