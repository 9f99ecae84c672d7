use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

struct Told {
    name: HostName,
    asked: usize,
    files: HashMap<&'static str, &'static str>,
}

impl World for Told {
    fn host_name(&mut self) -> HostName {
        self.asked += 1;
        self.name.clone()
    }

    fn file(&mut self, path: &str) -> io::Result<String> {
        self.files.get(path).map(|text| (*text).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn world(name: HostName) -> Told {
    Told { name, asked: 0, files: HashMap::from([("/etc/friends", "10.9.\n.lab.example\n")]) }
}

fn known() -> Told {
    world(HostName::Known("bench1.lab.example".into()))
}

fn visit(client: &str) -> Visit<'static> {
    Visit { daemon: "ser2net", client: client.parse().unwrap(), server: "127.0.0.1".parse().unwrap() }
}

/// Whether a pattern matches a client.
fn hits(pattern: &str, client: &str, mut world: Told) -> bool {
    decide(&format!("ALL: {pattern}\n"), Access::Allow, &visit(client), &mut world).is_some()
}

#[test]
fn patterns_of_clients() {
    for (pattern, client, hit) in [
        ("ALL", "10.1.2.3", true),
        ("all", "10.1.2.3", true),
        ("10.1.2.3", "10.1.2.3", true),
        ("10.1.2.3", "::ffff:10.1.2.3", true),
        ("10.1.2.4", "10.1.2.3", false),
        ("10.1.", "10.1.2.3", true),
        ("10.1.", "10.10.2.3", false),
        ("10.1.0.0/255.255.0.0", "10.1.2.3", true),
        ("10.1.0.0/255.255.0.0", "10.2.2.3", false),
        ("10.1.0.0/16", "10.1.2.3", true),
        ("10.1.0.0/33", "10.1.2.3", false),
        ("0.0.0.0/0", "10.1.2.3", true),
        ("[::1]", "::1", true),
        ("[::1]", "::2", false),
        ("[fd00::]/8", "fd12::1", true),
        ("[fd00::]/8", "fe80::1", false),
        ("[fd00::]/129", "fd00::1", false),
        ("[::]/0", "fe80::1", true),
        ("[::]/0", "10.1.2.3", false),
        (".lab.example", "10.1.2.3", true),
        (".LAB.example", "10.1.2.3", true),
        ("lab.example", "10.1.2.3", false),
        ("bench1.lab.example", "10.1.2.3", true),
        ("bench?.lab.*", "10.1.2.3", true),
        ("10.1.2.?", "10.1.2.3", true),
        ("KNOWN", "10.1.2.3", true),
        ("UNKNOWN", "10.1.2.3", false),
        ("PARANOID", "10.1.2.3", false),
        ("LOCAL", "10.1.2.3", false),
        ("/etc/friends", "10.1.2.3", true),
        ("ALL EXCEPT 10.1.", "10.1.2.3", false),
        ("ALL EXCEPT 10.2.", "10.1.2.3", true),
        ("ALL EXCEPT 10. EXCEPT 10.1.", "10.1.2.3", true),
        ("10.2., 10.1. 10.3.", "10.1.2.3", true),
        ("ALL@10.1.", "10.1.2.3", true),
        ("root@10.1.", "10.1.2.3", false),
        ("@trusted", "10.1.2.3", false),
        ("/no/such/file", "10.1.2.3", false),
        ("", "10.1.2.3", false),
    ] {
        assert_eq!(hits(pattern, client, known()), hit, "{pattern} {client}");
    }
}

#[test]
fn names_that_are_not_known() {
    for (pattern, name, hit) in [
        ("KNOWN", HostName::Unknown, false),
        ("KNOWN", HostName::Paranoid, false),
        ("UNKNOWN", HostName::Unknown, true),
        ("PARANOID", HostName::Paranoid, true),
        ("LOCAL", HostName::Known("bench1".into()), true),
        ("LOCAL", HostName::Unknown, false),
        (".lab.example", HostName::Paranoid, false),
    ] {
        assert_eq!(hits(pattern, "10.1.2.3", world(name.clone())), hit, "{pattern} {name:?}");
    }
}

#[test]
fn no_name_is_asked_for_where_addresses_decide() {
    let mut world = known();
    let text = "ser2net: 10.1. 192.168.0.0/16 [fd00::]/8 10.9.9.9\nALL: ALL\n";
    let decision = decide(text, Access::Allow, &visit("10.1.2.3"), &mut world).unwrap();
    assert_eq!((decision.line, world.asked), (1, 0));
}

#[test]
fn daemons() {
    for (daemons, hit) in [
        ("ser2net", true),
        ("SER2NET", true),
        ("ALL", true),
        ("sshd", false),
        ("sshd, ser2net", true),
        ("ALL EXCEPT ser2net", false),
        ("ALL EXCEPT ser2net-control", true),
        ("con1", false),
        ("ser2net@127.0.0.1", true),
        ("ser2net@10.0.0.1", false),
        ("ser2net@127.", false),
    ] {
        let found = decide(&format!("{daemons}: ALL\n"), Access::Allow, &visit("10.1.2.3"), &mut known());
        assert_eq!(found.is_some(), hit, "{daemons}");
    }
}

#[test]
fn lines() {
    let text =
        "# ALL: ALL\n\n no colon at all\nsshd: ALL\nser2net: \\\n  10.1.2.3, \\\n  10.1.2.4\nALL: ALL\n";
    for (client, line) in [("10.1.2.4", 5), ("10.1.2.3", 5), ("10.1.2.5", 8)] {
        assert_eq!(decide(text, Access::Deny, &visit(client), &mut known()).unwrap().line, line, "{client}");
    }
    assert_eq!(decide("sshd: ALL", Access::Deny, &visit("::1"), &mut known()), None);
    assert!(decide("ALL: [::1] : deny", Access::Allow, &visit("::1"), &mut known()).is_some());
}

#[test]
fn options_decide_too() {
    for (text, access, allowed) in [
        ("ALL: ALL", Access::Allow, true),
        ("ALL: ALL", Access::Deny, false),
        ("ALL: ALL: deny", Access::Allow, false),
        ("ALL: ALL : ALLOW", Access::Deny, true),
        ("ALL: ALL: spawn (echo %h \\: %d) &: allow", Access::Deny, true),
        ("ALL: ALL: twist /bin/echo no", Access::Allow, false),
        ("ALL: ALL: aclexec /bin/true", Access::Allow, false),
        ("ALL: ALL: bogus", Access::Allow, false),
        ("ALL: ALL: severity info", Access::Allow, true),
    ] {
        let decision = decide(text, access, &visit("10.1.2.3"), &mut known()).unwrap();
        assert_eq!(decision.allowed, allowed, "{text}");
    }
}

#[test]
fn what_is_not_clear_lets_nobody_in() {
    assert!(hits("@trusted 10.1.", "10.1.2.3", known()), "another pattern decides");
    assert!(!hits("10.2. EXCEPT @trusted", "10.1.2.3", known()));
    for pattern in ["@trusted", "root@10.1.2.3", "/no/such/file", "ALL EXCEPT @trusted"] {
        let text = format!("ser2net: {pattern}\n");
        assert_eq!(decide(&text, Access::Allow, &visit("10.1.2.3"), &mut known()), None, "{pattern}");
        let denied = decide(&text, Access::Deny, &visit("10.1.2.3"), &mut known()).unwrap();
        assert!(!denied.allowed && denied.not_acted_on.is_some(), "{pattern}");
        let other = decide(&text.replace("ser2net", "sshd"), Access::Deny, &visit("10.1.2.3"), &mut known());
        assert_eq!(other, None, "{pattern}");
    }
}

#[test]
fn a_file_that_names_itself_ends() {
    let mut world = Told { files: HashMap::from([("/loop", "/loop /loop")]), ..known() };
    assert_eq!(decide("ALL: /loop", Access::Allow, &visit("10.1.2.3"), &mut world), None);
}

proptest! {
    #[test]
    fn no_text_is_too_odd(text in "[ -~\\n\\\\:@/\\[\\]*?.,]{0,80}", deny: bool) {
        let access = if deny { Access::Deny } else { Access::Allow };
        let mut world = Told { files: HashMap::new(), ..known() };
        decide(&text, access, &visit("10.1.2.3"), &mut world);
    }

    #[test]
    fn stars_match_what_they_stand_for(a in "[a-z.]{0,6}", b in "[a-z.]{0,6}", c in "[a-z.]{0,6}") {
        let (pattern, text) = (format!("{a}*{c}"), format!("{a}{b}{c}"));
        prop_assert!(wild(pattern.as_bytes(), text.as_bytes()));
    }
}
