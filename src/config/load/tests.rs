use super::*;
use crate::config::raw::RawValue;
use proptest::prelude::*;
use std::fmt::Write as _;

fn in_file(text: &str, name: &str) -> (RawFile, Vec<Diagnostic>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    load(&Inputs { file: Some(path), ..Inputs::default() })
}

fn names(file: &RawFile) -> Vec<&str> {
    file.connections.iter().map(|c| c.name.value.as_str()).collect()
}

#[test]
fn the_content_decides_about_the_format() {
    let yaml = [
        "connection: &a\n  accepter: tcp,1\n",
        "# x\n\n%YAML 1.1\n---\n",
        "\u{feff}---\n",
        "YAML 1.1\n---\n",
        "define: &a b",
        "connections:\n",
        "conection: &a\n",
        "connection:&a\n",
        "{}",
        "- a\n",
        "\"connection\": &a\n",
        "metrics: 127.0.0.1:9100\n",
    ];
    for text in yaml {
        assert_eq!(recognise(text, Path::new("x.conf")), Format::Yaml, "{text:?}");
    }
    let legacy = [
        "2000:raw:0:/dev/ttyS0:9600\n",
        "# x\nBANNER:a: b\n",
        " 2000: raw:0:/dev/ttyS0:9600",
        "localhost,2000:telnet:0:/dev/ttyS0:9600",
        "::1,2000:raw:0:/dev/ttyS0",
        "CONTROLPORT:2000\n",
        "2000:RAW:0:/dev/x\n",
        "hello world\n2000:raw:0:/dev/ttyS0\nconnection: &a\n",
    ];
    for text in legacy {
        assert_eq!(recognise(text, Path::new("x.yaml")), Format::Legacy, "{text:?}");
    }
    assert_eq!(recognise("# nothing\n", Path::new("x.yml")), Format::Yaml);
    assert_eq!(recognise("hello\n", Path::new("x.conf")), Format::Legacy);
}

#[test]
fn files_that_cannot_be_read_are_fatal() {
    let dir = tempfile::tempdir().unwrap();
    let message = |path: PathBuf| {
        let (file, found) = load(&Inputs { file: Some(path), ..Inputs::default() });
        assert!(file.connections.is_empty());
        assert_eq!(found[0].severity, Severity::Fatal);
        found[0].message.clone()
    };
    assert!(message(dir.path().join("no")).contains("does not exist"));
    assert!(message(dir.path().to_owned()).contains("is a directory"));
    let path = dir.path().join("a");
    for (content, part) in
        [(&b" \n"[..], "is empty"), (b"connection: &a\0", "NUL at byte 14"), (b"a: \xff", "byte 3 is 0xff")]
    {
        std::fs::write(&path, content).unwrap();
        let message = message(path.clone());
        assert!(message.contains(part), "{message}");
    }
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(MAX_FILE as u64 + 1).unwrap();
    assert!(message(path).contains("larger than"));
}

#[test]
fn snippets_follow_the_file_and_are_one_text() {
    let inputs = Inputs {
        file: None,
        yaml: vec![
            "define: &x '#1'#connection: &a#  accepter: tcp,1".to_owned(),
            "  connector: serialdev,/dev/a,9600n81".to_owned(),
            "  options:#    banner: \"\\\"#\" # *x#    closeon: *x".to_owned(),
        ],
        legacy: vec!["2000:raw:0:/dev/b:9600".to_owned()],
        admin: None,
        keys: None,
    };
    let (file, found) = load(&inputs);
    // the '#' behind the banner ends its line, and what follows it is no key
    assert_eq!(found[0].span.as_ref().map(|s| s.source.name.as_str()), Some("-Y"), "{found:?}");
    assert_eq!(names(&file), ["a", "2000"]);
    assert_eq!(file.connections[0].options.len(), 1);

    let inputs = Inputs { yaml: vec![inputs.yaml[0].clone(), inputs.yaml[1].clone()], ..inputs };
    let (file, found) = load(&inputs);
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(names(&file), ["a", "2000"]);
}

#[test]
fn of_two_connections_with_one_name_the_first_stays() {
    let one = "connection: &a\n  accepter: tcp,1\n  connector: serialdev,/dev/a\n";
    let (file, found) = in_file(&format!("{one}{}", one.replace("tcp,1", "tcp,2")), "c");
    assert_eq!(names(&file), ["a"]);
    assert_eq!(file.connections[0].accepter.value, "tcp,1");
    assert_eq!((found[0].severity, found[0].connection.as_deref()), (Severity::Error, Some("a")));
    assert_eq!(found[0].span.as_ref().unwrap().line_column(), (4, 13));
}

#[test]
fn a_comment_is_a_configuration_without_connections() {
    let (file, found) = in_file("# nothing\n", "a.yaml");
    assert!(file.connections.is_empty());
    assert_eq!(found.iter().map(|d| d.severity).collect::<Vec<_>>(), [Severity::Warning]);
}

#[test]
fn ten_megabytes_are_read_in_reasonable_time() {
    let mut text = String::from("define: &speed 9600n81\n");
    let mut count = 0;
    while text.len() < 10_000_000 {
        let _ = write!(
            text,
            "connection: &con{count}\n  accepter: tcp,{}\n  connector: serialdev,/dev/ttyS{count},*(speed)\n  \
             options:\n    banner: 'Grüße {count}'\n",
            count % 60000
        );
        count += 1;
    }
    let start = std::time::Instant::now();
    let (file, found) = in_file(&text, "c");
    assert!(found.is_empty());
    assert_eq!(file.connections.len(), count);
    // two orders of magnitude above what it takes: only square behaviour is caught
    assert!(start.elapsed() < std::time::Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn a_file_full_of_mistakes_is_bounded_work() {
    let mut legacy = String::new();
    let mut yaml = String::new();
    for i in 0..40_000 {
        let _ = write!(legacy, "BANNER:nam{i}:x\n{i}:raw:0:/dev/a:9600 nane{i}x\n");
        let _ = write!(yaml, "define: &nam{i} x\ndefine: &y '*(nane{i}x)'\n");
    }
    let (_, found) = load(&Inputs { yaml: vec![yaml], legacy: vec![legacy], ..Inputs::default() });
    assert_eq!(found.len(), MAX_DIAGNOSTICS + 1);
    assert_eq!(found[MAX_DIAGNOSTICS].message, "79000 more mistakes are not shown");
    assert_eq!(found[MAX_DIAGNOSTICS].severity, Severity::Error);
}

const SEEDS: [&str; 3] = [
    "%YAML 1.1\n---\n# c\ndefine: &ban 'hello \\r\\n'\ndefault:\n  name: speed\n  value: 9600n81\n  class: \
     serialdev\nconnection: &con1\n  accepter: telnet(rfc2217),tcp,127.0.0.1,2000\n  timeout: 10\n  enable: on\n  \
     connector: serialdev,\n    /dev/ttyUSB0,\n    9600n81,local # x\n  options:\n    banner: \"*(ban) *{/no}\"\n    \
     kickolduser: true\nrotator: &rot\n  accepter: tcp,1\n  connections: [ *con1, con2 ]\ninclude: /no/*.yaml\n...\n",
    "defines:\n  a: b\ndefaults:\n  speed:\n    value: 9600n81\nconnections:\n  one:\n    accepter: tcp,1\n    \
     connector: serialdev,=(a)\n    options: {banner: =(a), allow: [10.0.0.0/8, '::1']}\n---\ndelete_defaults:\n  \
     speed: [serialdev]\nmetrics:\n  listen: 127.0.0.1:1\n",
    "BANNER:b:hello \\p\\r\\n\\\n more\r\nDEVICE:d:/dev/serial/by-path/pci-0:1\nTRACEFILE:t:/tmp/x\n\
     2000:telnet:600:/dev/ttyS0:9600 8DATABITS NONE 1STOPBIT b remctl tr=t -RTSCTS # c\n\
     ::1,2001:raw:0:'/dev/a:b':9600,LOCAL,remaddr=1.2.3.4,0;5\nlocalhost,2:rawlp:0:d\nROTATOR:1:2000 2001\n\
     DEFAULT:speed:9600:serialdev\nLED:l:sysfs:device=x:y\n3:off:0:/dev/x:led-tx=l\n",
];

#[test]
fn the_seeds_are_good_files() {
    for seed in SEEDS {
        let (file, found) = in_file(seed, "c");
        let bad: Vec<_> = found.iter().filter(|d| d.severity == Severity::Fatal).collect();
        assert!(bad.is_empty(), "{bad:?}");
        assert!(!file.connections.is_empty() || seed.contains("*{/no}"));
    }
}

/// Every place lies within its text, on character borders.
fn spans_are_sound(file: &RawFile, found: &[Diagnostic]) {
    fn value(v: &RawValue, out: &mut Vec<Span>) {
        match v {
            RawValue::Scalar(_) => {}
            RawValue::List(items) => items.iter().for_each(|i| {
                out.push(i.span.clone());
                value(&i.value, out);
            }),
            RawValue::Map(entries) => entries.iter().for_each(|(k, i)| {
                out.extend([k.span.clone(), i.span.clone()]);
                value(&i.value, out);
            }),
        }
    }
    let mut spans: Vec<_> = found.iter().filter_map(|d| d.span.clone()).collect();
    for c in &file.connections {
        spans.extend([c.name.span.clone(), c.accepter.span.clone(), c.connector.span.clone()]);
        spans.extend(c.timeout.iter().map(|t| t.span.clone()));
        for option in &c.options {
            spans.push(option.name.span.clone());
            if let Some(v) = &option.value {
                spans.push(v.span.clone());
                value(&v.value, &mut spans);
            }
        }
    }
    for span in spans {
        assert!(
            span.source.text.get(span.start..span.end).is_some(),
            "{span:?} {}..{}",
            span.start,
            span.end
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_loader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        std::fs::write(&path, bytes).unwrap();
        let (file, found) = load(&Inputs { file: Some(path), ..Inputs::default() });
        spans_are_sound(&file, &found);
    }

    #[test]
    fn no_text_makes_either_front_end_panic(text in "[a-zé:,&*(){}#'\"\\\\|>!%\\[\\]= \t\r\n0-9-]{0,80}") {
        let inputs = Inputs { yaml: vec![text.clone()], legacy: vec![text], ..Inputs::default() };
        let (file, found) = load(&inputs);
        spans_are_sound(&file, &found);
    }

    #[test]
    fn no_change_of_a_file_makes_the_loader_panic(
        seed in 0..SEEDS.len(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0..4_u8, any::<char>()), 1..6),
    ) {
        let mut text: Vec<char> = SEEDS[seed].chars().collect();
        for (place, what, with) in changes {
            let at = place.index(text.len());
            match what {
                0 => { text.remove(at); }
                1 => text.insert(at, with),
                2 => text.swap(at, 0),
                _ => { let piece = text[at..(at + 10).min(text.len())].to_vec(); text.extend(piece); }
            }
            if text.is_empty() { text.push('x'); }
        }
        let text: String = text.into_iter().collect();
        let inputs = Inputs { yaml: vec![text.clone()], legacy: vec![text], ..Inputs::default() };
        let (file, found) = load(&inputs);
        spans_are_sound(&file, &found);
    }
}

#[test]
fn keys_of_a_directory_are_defaults_that_those_of_the_file_outweigh() {
    let yaml =
        |extra: &str| format!("{extra}connection: &a#  accepter: ssl,tcp,1#  connector: serialdev,/dev/x#");
    let tls = |yaml: String| {
        let inputs = Inputs { yaml: vec![yaml], keys: Some(PathBuf::from("/srv/s")), ..Inputs::default() };
        let (file, found) = load(&inputs);
        assert!(found.is_empty(), "{found:?}");
        let (config, found) = crate::config::resolve::resolve(&file);
        assert!(found.is_empty(), "{found:?}");
        let tls = config.connections[0].accepter.tls.clone().unwrap();
        [tls.key.display().to_string(), tls.cert.display().to_string()]
    };
    assert_eq!(tls(yaml("")), ["/srv/s/ser2net.key", "/srv/s/ser2net.crt"]);
    let own = "default:#  name: key#  class: ssl#  value: /k#default:#  name: cert#  class: ssl#  value: /c#";
    assert_eq!(tls(yaml(own)), ["/k", "/c"]);
}
