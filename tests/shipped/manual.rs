//! The manual pages against the options table and the command line.

use super::{available, path, text};
use serbroker::config::options::{self, Kind, Place, Row, Status};
use std::collections::BTreeSet;
use std::process::Command;

/// One `.It Cm name` of a page, with the lines below it.
#[derive(Debug)]
struct Item {
    head: String,
    body: Vec<String>,
}

/// The items between a heading line and the next one.
fn items(page: &str, heading: &str) -> Vec<Item> {
    let mut found: Vec<Item> = Vec::new();
    let mut lines = page.lines().skip_while(|line| *line != heading);
    assert!(lines.next().is_some(), "no '{heading}'");
    for line in lines.take_while(|line| !line.starts_with(".Sh ") && !line.starts_with(".Ss ")) {
        if let Some(head) = line.strip_prefix(".It ") {
            found.push(Item { head: head.to_owned(), body: Vec::new() });
        } else if line != ".El"
            && let Some(item) = found.last_mut()
        {
            item.body.push(line.to_owned());
        }
    }
    found
}

/// What the page has to say about an option, as lines of their own.
fn facts(row: &Row) -> Vec<String> {
    let mut facts = Vec::new();
    if let Kind::Int { min, max, unit } = row.kind {
        let range = format!("{min} to {max} {unit}");
        facts.push(format!("{}.", range.trim_end()));
    }
    if let Some(default) = row.default {
        facts.push(format!("Default: {default}."));
    }
    if !row.also.is_empty() {
        facts.push(format!("Also written {}.", row.also.join(", ")));
    }
    match row.status {
        Status::Active => {}
        Status::Moot => facts.push("Accepted; there is nothing to do for it.".to_owned()),
        Status::Later => facts.push("Not yet active.".to_owned()),
        Status::Blocks => facts.push("Not yet active: a connection with it does not run.".to_owned()),
    }
    facts
}

#[test]
fn the_page_lists_exactly_the_options_of_the_table() {
    let page = text("man/serbroker.yaml.5");
    let places = [
        (".Sh OPTIONS OF CONNECTIONS", Place::Connection),
        (".Ss Options of telnet", Place::Layer("telnet")),
        (".Ss Options of ssl", Place::Layer("ssl")),
        (".Ss Options of tcp", Place::Layer("tcp")),
        (".Ss Options of udp", Place::Layer("udp")),
        (".Ss Options of unix", Place::Layer("unix")),
        (".Ss Options of stdio", Place::Layer("stdio")),
        (".Ss Options of serialdev", Place::Layer("serialdev")),
        (".Ss Settings of the device", Place::Serial),
        (".Ss Options of dev", Place::Layer("dev")),
        (".Ss Options of udp", Place::Layer("udp")),
        (".Ss Options of unix", Place::Layer("unix")),
        (".Ss Options of stdio", Place::Layer("stdio")),
        (".Ss Options of conacc", Place::Layer("conacc")),
        (".Ss Options of pty", Place::Layer("pty")),
        (".Ss Options of echo", Place::Layer("echo")),
        (".Ss Options of file", Place::Layer("file")),
        (".Ss Options of keepopen", Place::Layer("keepopen")),
        (".Ss Options of ratelimit", Place::Layer("ratelimit")),
        (".Ss Options of msgdelim", Place::Layer("msgdelim")),
        (".Ss Options of trace", Place::Layer("trace")),
        (".Ss Options of the admin port", Place::Admin),
    ];
    for row in options::OPTIONS {
        assert!(places.iter().any(|(_, place)| *place == row.place), "no section for {:?}", row.place);
    }
    for (heading, place) in places {
        let items = items(&page, heading);
        let named: Vec<&str> = items
            .iter()
            .map(|item| item.head.strip_prefix("Cm ").and_then(|h| h.split(' ').next()).unwrap())
            .collect();
        let rows: Vec<&Row> = options::rows(place).collect();
        assert_eq!(named, rows.iter().map(|row| row.name).collect::<Vec<_>>(), "{heading}");
        for (item, row) in items.iter().zip(rows) {
            let told: Vec<&String> = item.body.iter().filter(|line| is_fact(line)).collect();
            assert_eq!(told, facts(row).iter().collect::<Vec<_>>(), "{heading}: {}", row.name);
            assert!(item.body.len() > told.len(), "{} is not explained", row.name);
            if let Kind::BoolOr(words) = row.kind {
                let values = format!("Ar true|false|{}", words.join("|"));
                assert!(item.head.ends_with(&values), "{}: {}", row.name, item.head);
            }
        }
    }
}

/// Whether a line is of the form of [`facts`].
fn is_fact(line: &str) -> bool {
    let range = line.split_once(" to ").is_some_and(|(from, _)| from.parse::<u32>().is_ok());
    range
        || ["Default: ", "Also written ", "Accepted; ", "Not yet active"]
            .iter()
            .any(|start| line.starts_with(start))
}

#[test]
fn own_keys_are_explained() {
    let page = text("man/serbroker.yaml.5");
    let top = items(&page, ".Sh TOP LEVEL");
    for key in serbroker::config::yaml::OWN_KEYS {
        assert!(top.iter().any(|item| item.head.starts_with(&format!("Cm {key} :"))), "{key}");
    }
}

#[test]
fn the_page_lists_exactly_the_flags_of_the_command_line() {
    let page = text("man/serbroker.8");
    let mut told = BTreeSet::new();
    let mut commands = BTreeSet::new();
    for item in items(&page, ".Sh DESCRIPTION") {
        let words: Vec<&str> = item.head.split(' ').collect();
        if words[0] == "Cm" {
            commands.insert(words[1].to_owned());
            continue;
        }
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            match (*word, words.peek()) {
                ("Fl", Some(&&"Fl")) => {
                    words.next();
                    told.insert(format!("--{}", words.next().unwrap()));
                }
                ("Fl", _) => {
                    told.insert(format!("-{}", words.next().unwrap()));
                }
                _ => {}
            }
        }
    }
    let mut flags = BTreeSet::from(["-h".to_owned(), "--help".to_owned()]);
    let command = serbroker::cli::command();
    for argument in command.get_arguments() {
        flags.extend(argument.get_short_and_visible_aliases().into_iter().flatten().map(|c| format!("-{c}")));
        flags.extend(argument.get_long().map(|long| format!("--{long}")));
    }
    // `Fl V ,` and the like lose their comma as a word of its own
    assert_eq!(told, flags);
    let known: BTreeSet<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    assert_eq!(commands, known);
    let heads: Vec<String> = items(&page, ".Sh DESCRIPTION").into_iter().map(|item| item.head).collect();
    for sub in command.get_subcommands() {
        let head = heads.iter().find(|head| head.starts_with(&format!("Cm {}", sub.get_name())));
        let of_name = page.split(&format!(".It {}", head.unwrap())).nth(1).unwrap();
        for long in sub
            .get_arguments()
            .filter_map(|a| a.get_long())
            .filter(|long| !["help", "verbose"].contains(long))
        {
            assert!(
                head.unwrap().contains(&format!("Fl Fl {long}"))
                    || of_name.contains(&format!("Fl Fl {long}")),
                "--{long} of {} is not in the page",
                sub.get_name()
            );
        }
    }
    let synopsis = page.split(".Sh SYNOPSIS").nth(1).unwrap().split(".Sh ").next().unwrap();
    for argument in command.get_arguments() {
        let short = argument.get_short().unwrap();
        assert!(synopsis.contains(&format!("Fl {short}")), "-{short} is not in the synopsis");
    }
}

#[test]
fn default_files_and_signals_are_named() {
    let page = text("man/serbroker.8");
    for personality in [serbroker::cli::Personality::Serbroker, serbroker::cli::Personality::Ser2net] {
        for file in personality.default_config_files() {
            assert!(
                page.contains(&format!(".Pa {file}")) || page.contains(&format!("It Pa {file}")),
                "{file}"
            );
        }
    }
    for signal in ["SIGHUP", "SIGTERM", "SIGINT"] {
        assert!(page.contains(signal), "{signal}");
    }
}

#[test]
fn mandoc_finds_nothing() {
    if !available("mandoc", "mandoc") {
        return;
    }
    for page in ["man/serbroker.8", "man/serbroker.yaml.5"] {
        let output = Command::new("mandoc").args(["-Tlint", "-Wwarning"]).arg(path(page)).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && out.is_empty() && err.is_empty(), "{page}\n{out}{err}");
    }
}
