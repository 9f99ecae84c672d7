use super::*;

fn read(text: &str) -> Session {
    let mut session = Session::default();
    session.read(&Arc::new(Source::new("t", text)), None);
    session
}

const OK: &str = "connection: &ok\n  accepter: tcp,2\n  connector: serialdev,/dev/b,9600n81,local\n";

fn names(session: &Session) -> Vec<&str> {
    session.file.connections.iter().map(|c| c.name.value.as_str()).collect()
}

fn option<'s>(session: &'s Session, connection: &str, name: &str) -> &'s str {
    let connection = session.file.connections.iter().find(|c| c.name.value == connection).unwrap();
    let mut all = connection.defaults.iter().chain(&connection.options);
    let found = all.rfind(|o| o.name.value == name).unwrap();
    match &found.value.as_ref().unwrap().value {
        RawValue::Scalar(text) => text,
        other => panic!("{other:?}"),
    }
}

fn one(banner: &str) -> String {
    format!(
        "connection: &a\n  accepter: tcp,1\n  connector: serialdev,/dev/a,9600n81\n  options:\n    banner: {banner}\n"
    )
}

/// Severity, marked text, message and help of the only diagnostic.
fn complaint(text: &str) -> (Severity, String, String, String) {
    let session = read(text);
    assert_eq!(session.diagnostics.len(), 1, "{text}: {:?}", session.diagnostics);
    let d = &session.diagnostics[0];
    let span = d.span.as_ref().unwrap();
    let marked = span.source.text[span.start..span.end].to_owned();
    (d.severity, marked, d.message.clone(), d.help.clone().unwrap_or_default())
}

#[test]
fn version_1_names_are_data() {
    let text = format!(
        "define: &ban one\ndefine: &ban '*(ban)-two'\n{}connection: &b\n  accepter: tcp,*(port)\n",
        one("'<*(ban)>\\r\\n'")
    );
    let session = read(&text);
    assert_eq!(option(&session, "a", "banner"), "<one-two>\\r\\n");
    assert_eq!(names(&session), ["a"]);
    let session = read(&format!("define: &ban hello\n{}", one("*ban")));
    assert_eq!(option(&session, "a", "banner"), "hello");
    let session = read(&format!("define: &ban\n{}", one("'<*(ban)>'")));
    assert_eq!(option(&session, "a", "banner"), "<>");
}

#[test]
fn names_live_across_documents_and_the_last_definition_wins() {
    let session = read(&format!(
        "---\ndefine: &x one\n---\n{}define: &x two\n...\n---\n{OK}  options:\n    banner: *x\n",
        one("*x")
    ));
    assert!(session.diagnostics.is_empty(), "{:?}", session.diagnostics);
    assert_eq!(option(&session, "a", "banner"), "one");
    assert_eq!(option(&session, "ok", "banner"), "two");
}

#[test]
fn version_2_is_read() {
    let session = read(
        "defines:\n  dev: /dev/x\ndefaults:\n  speed:\n    value: 19200n81\n    class: serialdev\n  mdns: \"true\"\n\
         connections:\n  con1:\n    accepter: tcp,1\n    connector: serialdev,=(dev)\n    options:\n      \
         banner: '*(dev)'\n---\ndelete_defaults:\n  speed: [serialdev]\nconnections:\n  con2:\n    accepter: tcp,2\n    \
         connector: serialdev,=(dev)\nrotators:\n  rot1:\n    accepter: tcp,3\n    connections: [con1, con2]\n",
    );
    assert!(session.diagnostics.is_empty(), "{:?}", session.diagnostics);
    assert_eq!(names(&session), ["con1", "con2"]);
    assert_eq!(session.file.connections[0].connector.value, "serialdev,/dev/x");
    assert_eq!(option(&session, "con1", "serialdev:speed"), "19200n81");
    assert_eq!(option(&session, "con1", "banner"), "*(dev)");
    assert_eq!(option(&session, "con2", ":mdns"), "true");
    assert_eq!(session.file.connections[1].options.len(), 0);
    let rotator = &session.file.rotators[0];
    assert_eq!((rotator.name.value.as_str(), rotator.accepter.value.as_str()), ("rot1", "tcp,3"));
    assert_eq!(rotator.members.iter().map(|m| m.value.as_str()).collect::<Vec<_>>(), ["con1", "con2"]);
}

#[test]
fn defaults_come_before_options_and_can_be_deleted() {
    let session = read(&format!(
        "default:\n  name: speed\n  value: 300\n  class: serialdev\ndefault:\n  name: banner\n  value: hi\n\
         default:\n  name: banner\n  value: ho\n{}delete_default:\n  name: speed,\n  class: serialdev\n{OK}",
        one("*none").replace("*none", "x")
    ));
    assert!(session.diagnostics.is_empty(), "{:?}", session.diagnostics);
    let of = |i: usize| {
        let connection = &session.file.connections[i];
        let all = connection.defaults.iter().chain(&connection.options);
        all.map(|o| o.name.value.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(of(0), ["serialdev:speed", ":banner", "banner"]);
    assert_eq!(of(1), [":banner"]);
    assert_eq!(option(&session, "ok", ":banner"), "ho");
}

#[test]
fn a_connection_has_its_keys_with_places() {
    let text = "connection: &a\n  accepter: telnet, tcp,\n    1\n  enable: off\n  timeout: 10\n  allow: [10.0.0.0/8]\n  \
                connector: 'serialdev,/dev/a'\n  options:\n    x: 1\n  options:\n    y: *a\n";
    let session = read(text);
    assert!(session.diagnostics.is_empty(), "{:?}", session.diagnostics);
    let c = &session.file.connections[0];
    let at = |span: &Span| &text[span.start..span.end];
    assert_eq!((c.accepter.value.as_str(), at(&c.accepter.span)), ("telnet, tcp, 1", "telnet, tcp,\n    1"));
    assert_eq!(at(&c.connector.span), "'serialdev,/dev/a'");
    assert_eq!(at(&c.name.span), "&a");
    assert!(!c.enabled);
    assert_eq!(c.timeout.as_ref().unwrap().value, "10");
    assert_eq!(option(&session, "a", "y"), "a");
    let RawValue::List(list) = &c.options[0].value.as_ref().unwrap().value else { panic!("{c:?}") };
    assert_eq!(at(&list[0].span), "10.0.0.0/8");
}

#[test]
fn a_mistake_in_a_connection_costs_that_connection_only() {
    let base = "connection: &a\n  accepter: tcp,1\n  connector: serialdev,/dev/a\n";
    let cases: [(String, &str, &str); 13] = [
        (one("*nosuch").replace("banner", "openstr"), "*nosuch", "define: &nosuch"),
        (base.replace("tcp,1", "'tcp,*(nosuch)'"), "*(nosuch)", "define: &nosuch"),
        (base.replace("serialdev,/dev/a", "*nosuch"), "*nosuch", "define: &nosuch"),
        (one("'*{/no/file}'"), "*{/no/file}", ""),
        (format!("{base}  enable: true\n"), "true", "`enable: on`"),
        (format!("{base}  enable: ''\n"), "''", "`enable: on`"),
        (format!("{base}  foo: bar\n"), "foo", "accepter, connector"),
        (format!("{base}  acepter: bar\n"), "acepter", "'accepter:'"),
        (format!("{base}  trace-both: /x\n"), "trace-both", "below 'options:'"),
        (format!("{base}  accepter: tcp,2\n"), "accepter", "remove one"),
        (format!("{base}  options: x\n"), "x", "`name: value`"),
        (base.replace("  connector: serialdev,/dev/a\n", ""), "&a", "`connector: serialdev"),
        (
            base.replace("accepter: tcp", "accepter:tcp").replace("  connector: serialdev,/dev/a\n", ""),
            "accepter:tcp,1",
            "blank after the colon",
        ),
    ];
    for (text, marked, help) in cases {
        let whole = format!("{text}{OK}");
        let found = complaint(&whole);
        assert_eq!((found.0, found.1.as_str()), (Severity::Error, marked), "{found:?}");
        assert!(found.3.contains(help), "{found:?}");
        let session = read(&whole);
        assert_eq!(names(&session), ["ok"], "{text}");
        assert_eq!(session.diagnostics[0].connection.as_deref(), Some("a"));
    }
}

#[test]
fn a_banner_that_nobody_defined_costs_the_banner_only() {
    for (banner, marked, rest, left) in
        [("*nosuch", "*nosuch", "no banner is sent", ""), ("'x*(nosuch)y'", "*(nosuch)", "without it", "xy")]
    {
        let found = complaint(&one(banner));
        assert_eq!((found.0, found.1.as_str()), (Severity::Warning, marked));
        assert!(found.2.ends_with(rest) && found.3.contains("define: &nosuch"), "{found:?}");
        assert_eq!(option(&read(&one(banner)), "a", "banner"), left);
    }
}

#[test]
fn help_fits_what_is_seen_in_published_files() {
    let folded =
        "connection: &a\n  accepter: tcp,1\n  connector: serialdev,\n    /dev/a, # why\n    9600n81\n";
    let (_, marked, message, help) = complaint(folded);
    assert!(
        marked == "9" && message.contains("expected key") && help.contains("comment"),
        "{message}, {help}"
    );
    assert!(complaint("YAML 1.1\n---\n").3.contains("%YAML"));
    assert!(complaint("connector: x\n").3.contains("indent it"));
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let session = read(&format!(
        "connection: &a\n  accepter: *x\n  foo: 1\n  enable: maybe\n{}{OK}",
        one("*y").replace("&a", "&b").replace("banner", "openstr")
    ));
    let lines: Vec<_> =
        session.diagnostics.iter().map(|d| d.span.as_ref().unwrap().line_column().0).collect();
    assert_eq!(lines, [2, 3, 4, 1, 9]);
    assert_eq!(names(&session), ["ok"]);
}

#[test]
fn a_broken_structure_keeps_what_stood_before() {
    let broken = [
        "foo: bar\n",
        "define: &a\n  x: y\n",
        "default:\n  value: 1\n",
        "default:\n  name: speed\n  foo: 1\n",
        "x: 'abc\n",
        "x: [b\n",
        "---\n- a\n- b\n",
        "include: [\n",
    ];
    for text in broken {
        let alone = read(&format!("{text}{}", one("x")));
        assert!(alone.file.connections.is_empty(), "{text}");
        assert!(alone.diagnostics.iter().any(|d| d.severity == Severity::Fatal), "{text}");
        let after = read(&format!("{OK}{text}{}", one("x")));
        assert_eq!(names(&after), ["ok"], "{text}");
        assert_eq!(after.diagnostics[0].severity, Severity::Error, "{text}");
        assert!(after.diagnostics[0].help.as_ref().unwrap().contains("only the connections before"));
    }
}

#[test]
fn errors_of_structure_say_what_to_do() {
    let check = |text: &str, marked: &str, help: &str| {
        let found = complaint(text);
        assert_eq!((found.0, found.1.as_str()), (Severity::Fatal, marked), "{found:?}");
        assert!(found.3.contains(help), "{found:?}");
    };
    check("conection: &a\n", "conection", "'connection:'");
    check("timeout: 1\n", "timeout", "indent it");
    check("hello\n", "hello", "`connection: &name`");
    check("define: &a\n\tb: c\n", "\t", "tabs");
    check("a\u{1}b: c\n", "\u{1}", "remove the character");
    let deep = format!("define: {}", "[".repeat(5000));
    let session = read(&deep);
    assert!(session.diagnostics[0].message.contains("levels of nesting"), "{:?}", session.diagnostics);
}

#[test]
fn what_ser2net_refuses_without_need_is_a_warning() {
    let (severity, ..) = complaint(&format!("{OK}  options:\n"));
    assert_eq!(severity, Severity::Warning);
    let (severity, marked, ..) = complaint(&one("'<*(ban'"));
    assert_eq!((severity, marked.as_str()), (Severity::Warning, "*(ban"));
    let session =
        read(&format!("{OK}connections:\n  b:\n    accepter: tcp,1\n    connector: serialdev,/dev/x\n"));
    assert_eq!(names(&session), ["ok", "b"]);
    assert_eq!(session.diagnostics[0].severity, Severity::Warning);
}

#[test]
fn other_sections_and_own_settings_are_set_apart() {
    let session = read(&format!(
        "led: &led1\n  driver: sysfs\n{}rotator: &rot\n  accepter: tcp,8\n  connections: [ *a ]\nadmin:\n  accepter: tcp,9\n\
         metrics:\n  listen: 127.0.0.1:9100\nallow: 10.0.0.0/8\n",
        one("x").replace("banner: x", "led-tx: *led1")
    ));
    assert!(session.diagnostics.is_empty(), "{:?}", session.diagnostics);
    assert_eq!(session.file.rotators[0].members[0].value, "a");
    let led = &session.file.leds[0];
    assert_eq!((led.name.value.as_str(), led.driver.as_ref().unwrap().value.as_str()), ("led1", "sysfs"));
    assert_eq!(session.file.admins[0].accepter.value, "tcp,9");
    let keys: Vec<_> = session.file.settings.iter().map(|(k, _)| k.value.as_str()).collect();
    assert_eq!(keys, ["metrics", "allow"]);
    assert_eq!(option(&session, "a", "led-tx"), "led1");
}

#[test]
fn typed_settings_say_where_they_are_wrong() {
    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Metrics {
        listen: std::net::SocketAddr,
        #[serde(default)]
        limit: Option<u64>,
        #[serde(default)]
        names: Vec<String>,
    }
    let metrics = |text: &str| {
        let session = read(text);
        let (name, value) = session.file.settings[0].clone();
        de::from_value::<Metrics>(&value, &name.span)
    };
    let good = metrics("metrics:\n  listen: 127.0.0.1:9100\n  limit: 3\n  names: [a, b]\n").unwrap();
    let names = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(good, Metrics { listen: "127.0.0.1:9100".parse().unwrap(), limit: Some(3), names });
    let wrong = |text: &str| metrics(text).unwrap_err().to_string();
    assert_eq!(wrong("metrics:\n  listen: 1.2.3.4:1\n  limit: 3x\n"), "3:10: '3x' is not a valid u64");
    assert!(wrong("metrics:\n  listen: x\n").starts_with("2:11: "));
    assert!(wrong("metrics:\n  lisen: x\n").starts_with("2:3: unknown field `lisen`"));
    assert!(wrong("metrics: x\n").starts_with("1:10: "));
    assert!(wrong("metrics:\n  limit: 1\n").contains("missing field `listen`"));
}

mod includes {
    use super::super::include::{MAX_INCLUDE_DEPTH, MAX_INCLUDES};
    use super::*;

    fn with_files(main: &str, files: &[(&str, &str)]) -> Session {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let path = dir.path().join("main.yaml");
        let text = main.replace("{DIR}", dir.path().to_str().unwrap());
        std::fs::write(&path, &text).unwrap();
        let mut session = Session::default();
        session.read(&Arc::new(Source::new("main", text)), Some(&path));
        session
    }

    #[test]
    fn files_and_patterns_are_read_in_place_and_so_is_what_follows() {
        let b = one("x").replace("&a", "&b");
        let session = with_files(
            &format!(
                "include: {{DIR}}/conf.d/*.yaml\ninclude: def.yaml\n{OK}  options:\n    banner: '*(ban)'\n"
            ),
            &[
                ("conf.d/2.yaml", &b),
                ("conf.d/1.yaml", &format!("%YAML 1.1\n---\n{}...\n", one("x"))),
                ("conf.d/x.txt", "garbage"),
                ("def.yaml", "include: sub/more.yaml\n"),
                ("sub/more.yaml", "include: least.yaml\n"),
                ("sub/least.yaml", "define: &ban '<*{text}>'\n"),
                ("sub/text", "from a file\n"),
            ],
        );
        assert!(session.diagnostics.is_empty(), "{:?}", session.diagnostics);
        assert_eq!(names(&session), ["a", "b", "ok"]);
        assert_eq!(option(&session, "ok", "banner"), "<from a file\n>");
        assert!(session.file.connections[0].name.span.source.name.ends_with("conf.d/1.yaml"));
    }

    #[test]
    fn a_missing_file_does_not_stop_the_reading() {
        let session = with_files(&format!("include: {{DIR}}/no.yaml\ninclude: {{DIR}}/no*\n{OK}"), &[]);
        assert_eq!(names(&session), ["ok"]);
        let severities: Vec<_> = session.diagnostics.iter().map(|d| d.severity).collect();
        assert_eq!(severities, [Severity::Error, Severity::Warning]);
        assert!(session.diagnostics[0].message.contains("no.yaml does not exist"));
    }

    #[test]
    fn circles_show_their_chain() {
        let session = with_files(
            "include: a.yaml\n",
            &[("a.yaml", "include: b.yaml\n"), ("b.yaml", "include: a.yaml\n")],
        );
        let message = &session.diagnostics[0].message;
        let chain = message.split(": ").nth(1).unwrap();
        let files: Vec<_> = chain.split(" -> ").map(|f| f.rsplit('/').next().unwrap()).collect();
        assert_eq!(files, ["a.yaml", "b.yaml", "a.yaml"], "{message}");
        assert_eq!(session.diagnostics[0].severity, Severity::Fatal);
    }

    #[test]
    fn depth_and_number_are_limited() {
        let files: Vec<_> = (0..MAX_INCLUDE_DEPTH + 2)
            .map(|i| (format!("{i}.yaml"), format!("include: {}.yaml\n", i + 1)))
            .collect();
        let files: Vec<_> = files.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
        let session = with_files("include: 0.yaml\n", &files);
        assert!(session.diagnostics[0].message.contains("nested"), "{:?}", session.diagnostics);
        let many = "include: a.yaml\n".repeat(MAX_INCLUDES + 5);
        let session = with_files(&many, &[("a.yaml", "define: &a b\n")]);
        assert_eq!(session.diagnostics.len(), 1);
        assert!(session.diagnostics[0].message.contains("more than 1000"));
    }

    #[test]
    fn a_broken_included_file_breaks_the_whole() {
        let session = with_files(&format!("include: a.yaml\n{OK}"), &[("a.yaml", "a: [b\n")]);
        assert!(session.file.connections.is_empty());
        assert!(session.diagnostics[0].span.as_ref().unwrap().source.name.ends_with("a.yaml"));
    }
}
