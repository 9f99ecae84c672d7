//! The option words of a port line and what they are called in YAML files.

/// What a word means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A setting of the device, as it stands in the connector string.
    Serial(String),
    /// `remctl`, `-remctl`: RFC 2217 on telnet ports.
    Remctl(bool),
    /// An option of the connection with its value.
    Option(&'static str, String),
    /// Not a word of the format; it may be the name of a definition.
    Unknown,
}

/// Device words that stand for themselves, and how their negation is written in the connector
/// string.
const SERIAL: [(&str, &str, Option<&str>); 10] = [
    ("EVEN", "EVEN", None),
    ("ODD", "ODD", None),
    ("NONE", "NONE", None),
    ("MARK", "MARK", None),
    ("SPACE", "SPACE", None),
    ("XONXOFF", "XONXOFF", Some("xonxoff=false")),
    ("RTSCTS", "RTSCTS", Some("rtscts=false")),
    ("LOCAL", "LOCAL", Some("local=false")),
    ("NOBREAK", "NOBREAK", Some("nobreak=false")),
    ("HANGUP_WHEN_DONE", "hangup-when-done", Some("hangup-when-done=false")),
];

/// Device words that begin with a digit.
const COUNTED: [&str; 6] = ["5DATABITS", "6DATABITS", "7DATABITS", "8DATABITS", "1STOPBIT", "2STOPBITS"];

/// Words that switch something: legacy spellings and the option. `-word` is off, `word=value` sets.
const SWITCHES: [(&str, &str); 24] = [
    ("kickolduser", "kickolduser"),
    ("chardelay", "chardelay"),
    ("telnet_brk_on_sync", "telnet-brk-on-sync"),
    ("telnet-brk-on-sync", "telnet-brk-on-sync"),
    ("no-con-to-acc", "no-con-to-acc"),
    ("no-acc-to-con", "no-acc-to-con"),
    ("mdns", "mdns"),
    ("mdns-sysattrs", "mdns-sysattrs"),
    ("hexdump", "trace-hexdump"),
    ("trace-hexdump", "trace-hexdump"),
    ("tr-hexdump", "trace-read-hexdump"),
    ("trace-read-hexdump", "trace-read-hexdump"),
    ("tw-hexdump", "trace-write-hexdump"),
    ("trace-write-hexdump", "trace-write-hexdump"),
    ("tb-hexdump", "trace-both-hexdump"),
    ("trace-both-hexdump", "trace-both-hexdump"),
    ("timestamp", "trace-timestamp"),
    ("trace-timestamp", "trace-timestamp"),
    ("tr-timestamp", "trace-read-timestamp"),
    ("trace-read-timestamp", "trace-read-timestamp"),
    ("tw-timestamp", "trace-write-timestamp"),
    ("trace-write-timestamp", "trace-write-timestamp"),
    ("tb-timestamp", "trace-both-timestamp"),
    ("trace-both-timestamp", "trace-both-timestamp"),
];

/// Words with a number or name.
const NUMBERS: [(&str, &str); 15] = [
    ("max-connections", "max-connections"),
    ("chardelay-scale", "chardelay-scale"),
    ("chardelay-min", "chardelay-min"),
    ("chardelay-max", "chardelay-max"),
    ("dev-to-net-bufsize", "dev-to-net-bufsize"),
    ("net-to-dev-bufsize", "net-to-dev-bufsize"),
    // their names in ser2net 3.0
    ("dev-to-tcp-bufsize", "dev-to-net-bufsize"),
    ("tcp-to-dev-bufsize", "net-to-dev-bufsize"),
    ("accepter-retry-time", "accepter-retry-time"),
    ("connector-retry-time", "connector-retry-time"),
    ("connback-timeout", "connback-timeout"),
    ("led-tx", "led-tx"),
    ("led-rx", "led-rx"),
    ("mdns-interface", "mdns-interface"),
    ("mdns-nettype", "mdns-nettype"),
];

/// Words with a text, in which commas do not separate.
const TEXTS: [(&str, &str); 23] = [
    ("banner", "banner"),
    ("signature", "signature"),
    ("openstr", "openstr"),
    ("closestr", "closestr"),
    ("closeon", "closeon"),
    ("sendon", "sendon"),
    ("remaddr", "remaddr"),
    ("connback", "connback"),
    ("rs485", "rs485"),
    ("tr", "trace-read"),
    ("trace-read", "trace-read"),
    ("tw", "trace-write"),
    ("trace-write", "trace-write"),
    ("tb", "trace-both"),
    ("trace-both", "trace-both"),
    ("authdir", "authdir"),
    ("pamauth", "pamauth"),
    ("allowed-users", "allowed-users"),
    ("mdns-name", "mdns-name"),
    ("mdns-type", "mdns-type"),
    ("mdns-domain", "mdns-domain"),
    ("mdns-host", "mdns-host"),
    ("mdns-txt", "mdns-txt"),
];

/// Words that are a text option without text: it is empty.
const EMPTY: [&str; 2] = ["banner", "signature"];

fn find(table: &[(&'static str, &'static str)], word: &str) -> Option<&'static str> {
    table.iter().find(|(name, _)| *name == word).map(|(_, option)| *option)
}

/// A word names an option of connections, in YAML files or on legacy lines.
pub(crate) fn is_option_name(word: &str) -> bool {
    SWITCHES.iter().chain(&NUMBERS).chain(&TEXTS).any(|(legacy, option)| *legacy == word || *option == word)
}

/// What a word means by itself.
pub(super) fn meaning(word: &str) -> Meaning {
    if let Some((_, text, _)) = SERIAL.iter().find(|(name, ..)| *name == word) {
        return Meaning::Serial((*text).to_owned());
    }
    if is_line_settings(word) {
        return Meaning::Serial(word.to_owned());
    }
    if let Some(negated) = word.strip_prefix('-') {
        if let Some((_, _, Some(text))) = SERIAL.iter().find(|(name, ..)| *name == negated) {
            return Meaning::Serial((*text).to_owned());
        }
        if negated == "remctl" {
            return Meaning::Remctl(false);
        }
        return match find(&SWITCHES, negated) {
            Some(option) => Meaning::Option(option, "false".to_owned()),
            None => Meaning::Unknown,
        };
    }
    if word == "remctl" {
        return Meaning::Remctl(true);
    }
    if let Some((name, value)) = word.split_once('=') {
        return [&SWITCHES[..], &NUMBERS, &TEXTS]
            .iter()
            .find_map(|table| find(table, name))
            .map_or(Meaning::Unknown, |option| Meaning::Option(option, value.to_owned()));
    }
    if EMPTY.contains(&word) {
        return find(&TEXTS, word).map_or(Meaning::Unknown, |o| Meaning::Option(o, String::new()));
    }
    find(&SWITCHES, word).map_or(Meaning::Unknown, |option| Meaning::Option(option, "true".to_owned()))
}

/// `9600`, `9600n81`, `8DATABITS` …
fn is_line_settings(word: &str) -> bool {
    if COUNTED.iter().any(|known| known.eq_ignore_ascii_case(word)) {
        return true;
    }
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
    if rest.len() == word.len() || word.trim_matches('0').is_empty() {
        return false;
    }
    let rest = rest.as_bytes();
    rest.len() <= 3
        && rest.first().is_none_or(|c| b"neomsNEOMS".contains(c))
        && rest.get(1).is_none_or(|c| (b'5'..=b'8').contains(c))
        && rest.get(2).is_none_or(|c| matches!(c, b'1' | b'2'))
}

/// The text of this word goes on behind a comma.
pub(super) fn takes_commas(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| find(&TEXTS, name).is_some())
}

/// The cut short spelling of a word that says what holds without it.
pub(super) fn shortened_default(word: &str) -> Option<&'static str> {
    ["NONE", "8DATABITS", "1STOPBIT"]
        .into_iter()
        .find(|full| word.len() >= 3 && word.len() < full.len() && full.starts_with(word))
}

/// The known word that is nearest to an unknown one.
pub(super) fn suggestion(word: &str, defined: &[&str]) -> String {
    let name = word.split_once('=').map_or(word, |(name, _)| name);
    if let Some((serial, ..)) = SERIAL.iter().find(|(s, ..)| s.eq_ignore_ascii_case(word)) {
        return format!("write '{serial}' in capitals");
    }
    let bare = name.trim_start_matches('-');
    if let Some(rest) = bare.strip_prefix("disable-").filter(|rest| find(&SWITCHES, rest).is_some()) {
        return format!("write '-{rest}' to switch it off");
    }
    let tables = [&SWITCHES[..], &NUMBERS, &TEXTS];
    let known = SERIAL.iter().map(|(s, ..)| *s).chain(COUNTED).chain(["remctl"]);
    let known = known.chain(tables.iter().flat_map(|t| t.iter().map(|(n, _)| *n)));
    if name == word && (find(&TEXTS, word).is_some() || find(&NUMBERS, word).is_some()) {
        return format!("write '{word}=value'");
    }
    match crate::config::suggest::nearest(bare, known.chain(defined.iter().copied())) {
        Some(near) => format!("did you mean '{near}'?"),
        None => "an option is a speed, a word such as 8DATABITS or LOCAL, or the name of a BANNER:, \
                 OPENSTR: … line above"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_what_ser2net_takes_them_for() {
        let serial = |text: &str| Meaning::Serial(text.to_owned());
        assert_eq!(meaning("LOCAL"), serial("LOCAL"));
        assert_eq!(meaning("-RTSCTS"), serial("rtscts=false"));
        assert_eq!(meaning("HANGUP_WHEN_DONE"), serial("hangup-when-done"));
        assert_eq!(meaning("8databits"), serial("8databits"));
        assert_eq!(meaning("9600n81"), serial("9600n81"));
        assert_eq!(meaning("-remctl"), Meaning::Remctl(false));
        assert_eq!(meaning("-chardelay"), Meaning::Option("chardelay", "false".to_owned()));
        assert_eq!(meaning("hexdump"), Meaning::Option("trace-hexdump", "true".to_owned()));
        assert_eq!(meaning("tr=x"), Meaning::Option("trace-read", "x".to_owned()));
        assert_eq!(meaning("banner"), Meaning::Option("banner", String::new()));
        for unknown in ["local", "-EVEN", "2STOPBIT", "9DATABITS", "8n1", "0", "foo=bar", "RAW", "-"] {
            assert_eq!(meaning(unknown), Meaning::Unknown, "{unknown}");
        }
    }

    #[test]
    fn suggestions_name_the_word_that_was_meant() {
        assert_eq!(suggestion("2STOPBIT", &[]), "did you mean '2STOPBITS'?");
        assert_eq!(suggestion("local", &[]), "write 'LOCAL' in capitals");
        assert_eq!(suggestion("disable-chardelay", &[]), "write '-chardelay' to switch it off");
        assert_eq!(suggestion("edgeq-rapter2", &["edgeq-raptor2"]), "did you mean 'edgeq-raptor2'?");
        assert_eq!(suggestion("closeon", &[]), "write 'closeon=value'");
        assert_eq!(shortened_default("NON"), Some("NONE"));
        assert_eq!(shortened_default("2STOP"), None);
    }
}
