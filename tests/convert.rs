//! `serbroker convert` on the configuration files of `tests/corpus/`, and as a command.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use serbroker::config::convert::{convert, to_yaml};
use serbroker::config::error::Severity;
use serbroker::config::load::{Inputs, load};
use serbroker::config::{Admin, Config, Connection, Rotator, resolve};
use serde::Deserialize as _;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

fn corpus() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files = Vec::new();
    for dir in ["legacy", "yaml"] {
        files.extend(fs::read_dir(root.join(dir)).unwrap().map(|entry| entry.unwrap().path()));
    }
    files.sort();
    assert!(files.len() > 200, "the corpus is cut");
    files
}

/// What runs from a text.
fn config(text: &str) -> Config {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("converted.yaml");
    fs::write(&path, text).unwrap();
    config_of(&path)
}

fn config_of(path: &Path) -> Config {
    let (raw, _) = load(&Inputs { file: Some(path.to_owned()), ..Inputs::default() });
    resolve::resolve(&raw).0
}

/// A connection without the texts in which the converter writes types that were left out; what
/// they mean is in the other fields.
fn without_texts(connection: &Connection) -> Connection {
    let mut connection = connection.clone();
    connection.accepter.text = "".into();
    connection.connector.text = "".into();
    connection
}

/// `now` is `before`, or `before` with the type that ser2net 4.6 wants.
fn typed(before: &str, now: &str, of: &str) -> bool {
    before == now || !before.contains(of) && now.contains(of)
}

/// What is not the same. `texts`: also those that clients can be shown.
fn differences(before: &Config, after: &Config, texts: bool) -> Option<String> {
    let Config { connections, rotators, admin, metrics, leds } = before;
    if *leds != after.leds {
        return Some("leds".to_owned());
    }
    if *metrics != after.metrics {
        return Some("metrics".to_owned());
    }
    let rotators_of = |list: &[Arc<Rotator>]| {
        let plain = |r: &Arc<Rotator>| {
            (r.name.clone(), r.accepter.listen.clone(), r.members.clone(), r.options.clone())
        };
        list.iter().map(plain).collect::<Vec<_>>()
    };
    if rotators_of(rotators) != rotators_of(&after.rotators) {
        return Some(format!("{rotators:?} became {:?}", after.rotators));
    }
    let entrance = |admin: &Option<Arc<Admin>>| {
        let parts = |admin: &Admin| {
            (admin.accepter.telnet, admin.accepter.tls.clone(), admin.accepter.listen.clone())
        };
        admin.as_deref().map(|admin| (parts(admin), admin.allow.clone()))
    };
    if entrance(admin) != entrance(&after.admin) {
        return Some(format!("{admin:?} became {:?}", after.admin));
    }
    let names = |list: &[Arc<Connection>]| list.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
    if names(connections) != names(&after.connections) {
        return Some(format!("{:?} became {:?}", names(connections), names(&after.connections)));
    }
    for (was, is) in connections.iter().zip(&after.connections) {
        if without_texts(was) != without_texts(is) {
            return Some(format!("{was:?}\nbecame\n{is:?}"));
        }
        if !texts {
            continue;
        }
        let texts = (&was.accepter.text, &is.accepter.text, &was.connector.text, &is.connector.text);
        // `ipv4,tcp,…` had the type in another place
        let accepter = typed(texts.0, texts.1, "tcp,") || texts.0.contains(",tcp,");
        if !accepter || !typed(texts.2, texts.3, "serialdev,") {
            return Some(format!("{texts:?}"));
        }
    }
    None
}

#[test]
fn every_file_of_the_corpus_means_the_same_when_it_is_converted() {
    let mut wrong = String::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for file in corpus() {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string();
        let conversion = convert(&text, &name, &file);
        let before = config_of(&file);
        let after = config(&conversion.text);
        if let Some(difference) = differences(&before, &after, true) {
            let _ = writeln!(wrong, "{name}: {difference}");
        }
        if conversion.remarks.iter().any(|d| d.message.contains("not the same")) {
            let _ = writeln!(wrong, "{name}: the converter found a difference");
        }
        let again = convert(&conversion.text, "again.yaml", Path::new("again.yaml"));
        if again.text != conversion.text {
            let _ = writeln!(wrong, "{name}: a second conversion changes something");
        }
        if !again.is_complete() {
            let _ = writeln!(wrong, "{name}: the result has errors: {:?}", again.remarks);
        }
        // any YAML reader takes it: keys are unique, and nothing of version 1 is left
        for document in serde_yaml::Deserializer::from_str(&conversion.text) {
            if let Err(error) = serde_yaml::Value::deserialize(document) {
                let _ = writeln!(wrong, "{name}: no plain YAML: {error}");
            }
        }
        // what says something to its reader is still there
        for comment in text.lines().map(str::trim).filter(|line| line.starts_with('#')) {
            if !conversion.text.contains(comment) {
                let _ = writeln!(wrong, "{name}: lost {comment:?}");
            }
        }
        let group = name.split('/').nth(2).unwrap();
        let what = match conversion.remarks.iter().map(|d| d.severity).max() {
            None => "without a remark",
            Some(Severity::Warning) => "with remarks",
            Some(_) if after.connections.is_empty() => "with errors, and nothing runs from the original",
            Some(_) => "with errors, and the rest runs",
        };
        *counts.entry(format!("{group}: {what}")).or_default() += 1;
        // and from the model alone, which writes accepters and connectors in its own way
        if let Some(difference) = differences(&before, &config(&to_yaml(&before)), false) {
            let _ = writeln!(wrong, "{name}: rendered: {difference}");
        }
    }
    for (what, count) in counts {
        println!("{what}: {count}");
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

fn serbroker(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_serbroker"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // it may refuse before it reads
    let written = child.stdin.take().unwrap().write_all(input.as_bytes());
    written.or_else(|e| if e.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(e) }).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn standard_input_to_standard_output() {
    let output =
        serbroker(&["convert", "-"], "# meter\n2170:telnet:0:/dev/ttyUSB0:1200 EVEN 7DATABITS remctl\n");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "%YAML 1.1\n---\nconnections:\n  # meter\n  2170:\n    accepter: telnet(rfc2217),tcp,2170\n    \
         connector: serialdev,/dev/ttyUSB0,1200e71\n"
    );
    assert!(output.stderr.is_empty());
}

#[test]
fn what_does_not_run_is_a_comment_a_message_and_the_exit_status() {
    let output = serbroker(&["convert", "-"], "1:raw:0:/dev/a:9600 bogus\n2:raw:0:/dev/b\n");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("# left out: unknown option 'bogus'\n  # 1:raw:0:/dev/a:9600 bogus\n"), "{text}");
    assert!(text.contains("\n  2:\n"), "{text}");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.starts_with("-:1:21: error: connection 1: unknown option 'bogus'\n"), "{errors}");
}

#[test]
fn an_existing_file_is_kept_unless_it_is_forced() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("new.yaml");
    fs::write(&target, "mine").unwrap();
    let name = target.to_str().unwrap();
    let refused = serbroker(&["convert", "-", "-o", name], "1:raw:0:/dev/a\n");
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("--force"));
    assert_eq!(fs::read_to_string(&target).unwrap(), "mine");
    let done = serbroker(&["convert", "-", "-o", name, "--force"], "1:raw:0:/dev/a\n");
    assert_eq!(done.status.code(), Some(0));
    assert!(fs::read_to_string(&target).unwrap().contains("serialdev,/dev/a"));
}

#[test]
fn included_files_are_found_beside_the_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("names.yaml"), "define: &dev /dev/ttyS7\n").unwrap();
    let file = dir.path().join("main.yaml");
    let text = "include: names.yaml\nconnection: &a\n  accepter: tcp,1\n  connector: serialdev,*(dev)\n";
    fs::write(&file, text).unwrap();
    let output = serbroker(&["convert", file.to_str().unwrap()], "");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("include: names.yaml\nconnections:\n"), "{text}");
    assert!(text.contains("connector: serialdev,=(dev)\n"), "{text}");
    // it stays as it is, which is said with its place
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("main.yaml:1:") && errors.contains("names.yaml is included and not"), "{errors}");
    fs::write(dir.path().join("names.yaml"), "defines:\n  dev: /dev/ttyS7\n").unwrap();
    let output = serbroker(&["convert", file.to_str().unwrap()], "");
    assert_eq!(
        (output.status.code(), &*output.stderr),
        (Some(0), &b""[..]),
        "of version 2 already: {output:?}"
    );
}

#[test]
fn all_includes_stay_at_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let port = |number: u16| {
        format!("connection: &c{number}\n  accepter: tcp,{number}\n  connector: serialdev,/dev/x{number}\n")
    };
    fs::create_dir(dir.path().join("d")).unwrap();
    fs::write(dir.path().join("one.yaml"), port(1)).unwrap();
    fs::write(dir.path().join("d/two.yaml"), port(2)).unwrap();
    let file = dir.path().join("main.yaml");
    let text = format!("# first\ninclude: one.yaml # here\n{}include: d/*.yaml\n", port(3));
    fs::write(&file, text).unwrap();
    let output = serbroker(&["convert", file.to_str().unwrap()], "");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let (text, errors) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let places =
        ["# first", "include: one.yaml # here", "  c3:", "include: d/*.yaml"].map(|part| text.find(part));
    assert!(places.is_sorted() && places[0].is_some(), "{text}");
    for (place, name) in [("main.yaml:2:10", "one.yaml"), ("main.yaml:6:10", "d/two.yaml")] {
        assert!(errors.contains(place) && errors.contains(&format!("{name} is included")), "{errors}");
    }
    // and the result runs what the original ran
    fs::write(&file, text).unwrap();
    let explained = serbroker(&["check", "--explain", file.to_str().unwrap()], "");
    let explained = String::from_utf8(explained.stdout).unwrap();
    let ports: Vec<&str> =
        explained.lines().filter_map(|line| line.strip_prefix("port ")?.split(' ').next()).collect();
    assert_eq!(ports, ["c1", "c3", "c2"]);
}

#[test]
fn ports_are_explained_on_the_command_line() {
    let output = serbroker(&["check", "--explain", "-"], "2000:raw:5:/dev/ttyS0:9600 LOCAL\n");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("port 2000  (-:1:1)\n"), "{text}");
    let line = text.lines().find(|line| line.trim_start().starts_with("device local")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["device", "local", "true", "-:1:28"]);
    let json = serbroker(&["check", "--explain", "--json", "-"], "2000:raw:5:/dev/ttyS0:9600 LOCAL\n");
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json[0]["ports"][0]["timeout"]["value"], 5);
}

#[test]
fn the_readme_shows_what_comes_out() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let section = readme.split("### Coming from ser2net").nth(1).unwrap();
    let block = |kind: &str| {
        let body = section.split(&format!("```{kind}\n")).nth(1).unwrap();
        body.split("```").next().unwrap().to_owned()
    };
    let output = serbroker(&["convert", "-"], &block("conf"));
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, block("yaml"));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("\\p in its texts shows 'tcp,2001' from now on"), "{errors}");
    // the lines that are shown of the explanation, but for the name of the file
    let explained = serbroker(&["check", "--explain", "-"], &text);
    let explained = String::from_utf8(explained.stdout).unwrap();
    for line in block("text").lines() {
        let line = line.replace("/etc/ser2net/ser2net.yaml", "-");
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert!(explained.lines().any(|found| words(found) == words(&line)), "{line}\n{explained}");
    }
}
