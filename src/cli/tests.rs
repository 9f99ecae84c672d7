use super::*;

fn run(arguments: &[&str]) -> RunOptions {
    match parse(arguments) {
        Ok(Command::Run(options)) => options,
        other => panic!("{other:?}"),
    }
}

fn ends(arguments: &[&str]) -> Exit {
    parse(arguments).expect_err("ends at once")
}

#[test]
fn description_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn defaults_follow_the_name() {
    let own = run(&["/usr/sbin/serbroker"]);
    assert_eq!(own.personality, Personality::Serbroker);
    assert_eq!((own.background, own.verbosity, own.uucp_locks), (false, 0, true));
    assert_eq!((own.config, own.inline), (ConfigChoice::Default, Inline::None));
    assert!(run(&["/usr/sbin/ser2net"]).background);
    for foreground in ["-n", "-d"] {
        assert!(!run(&["ser2net", foreground]).background);
    }
    assert_eq!(run(&["serbroker", "-d"]).verbosity, 1);
    assert_eq!(run(&["serbroker", "-l", "-l", "-n"]).verbosity, 2);
}

#[test]
fn first_default_file_that_exists() {
    let find = |who: Personality, there: &[&str]| {
        who.find_config(|path| there.iter().any(|one| Path::new(one) == path))
    };
    let all = ["/etc/ser2net.conf", "/etc/ser2net.yaml", "/etc/ser2net/ser2net.yaml", "/etc/serbroker.yaml"];
    for known in 1..=all.len() {
        assert_eq!(find(Personality::Serbroker, &all[..known]), Some(PathBuf::from(all[known - 1])));
    }
    assert_eq!(find(Personality::Ser2net, &all), Some(PathBuf::from("/etc/ser2net/ser2net.yaml")));
    assert_eq!(find(Personality::Ser2net, &["/etc/serbroker.yaml"]), None);
}

#[test]
fn everything_at_once() {
    let options = run(&[
        "serbroker",
        "-n",
        "-d",
        "-c",
        "/x.yaml",
        "-P",
        "/run/x.pid",
        "-u",
        "-s",
        "my sig",
        "-t",
        "3",
        "-b",
        "-p",
        "tcp,2001",
        "-n",
    ]);
    assert_eq!(options.config, ConfigChoice::File("/x.yaml".into()));
    assert_eq!(options.pid_file, Some("/run/x.pid".into()));
    assert_eq!(options.signature.as_deref(), Some("my sig"));
    assert_eq!((options.uucp_locks, options.threads), (false, Some(3)));
    assert_eq!(options.notices.len(), 1);
    assert_eq!(options.admin.as_deref(), Some("tcp,2001"));
    assert_eq!(run(&["serbroker", "-c", "-"]).config, ConfigChoice::File("-".into()));
    assert_eq!(run(&["serbroker", "-c", "a", "-c", "b"]).config, ConfigChoice::File("b".into()));
    assert_eq!(run(&["serbroker", "-t", "0"]).threads, Some(1));
}

#[test]
fn configuration_on_the_command_line() {
    let yaml = run(&["ser2net", "-n", "-Y", "a: &a#", "-Y", "  b: c"]);
    assert_eq!(yaml.config, ConfigChoice::None);
    assert_eq!(yaml.inline, Inline::Yaml(vec!["a: &a#".into(), "  b: c".into()]));
    let lines = run(&["ser2net", "-n", "-C", "1:raw:0:/dev/a:9600", "-C", "2:raw:0:/dev/b:9600", "-c", "f"]);
    assert_eq!(lines.inline, Inline::Lines(vec!["1:raw:0:/dev/a:9600".into(), "2:raw:0:/dev/b:9600".into()]));
    assert_eq!(lines.config, ConfigChoice::File("f".into()));
    assert_eq!(run(&["ser2net", "-Y", "x", "-c", "f"]).config, ConfigChoice::File("f".into()));
    assert_eq!(run(&["ser2net", "-c", "f", "-Y", "x"]).config, ConfigChoice::None);
    assert_eq!(run(&["serbroker", "-c", "f", "-Y", "x"]).config, ConfigChoice::File("f".into()));
    let mixed = ends(&["ser2net", "-Y", "x", "-C", "y"]);
    assert_eq!(mixed.status, 1);
    assert!(mixed.text.contains("cannot be used with"), "{}", mixed.text);
}

#[test]
fn subcommands() {
    let files = vec![PathBuf::from("a.yaml"), PathBuf::from("-")];
    assert_eq!(
        parse(["serbroker", "check", "a.yaml", "-"]),
        Ok(Command::Check { files, detail: Detail::Mistakes })
    );
    let detail = |args: &[&str]| match parse([&["serbroker", "check", "a"], args].concat()) {
        Ok(Command::Check { detail, .. }) => detail,
        other => panic!("{other:?}"),
    };
    assert_eq!((detail(&["--explain"]), detail(&["--json", "--explain"])), (Detail::Ports, Detail::Json));
    assert_eq!(ends(&["serbroker", "check", "--json", "a"]).status, 1);
    let output = Output { file: Some("b".into()), force: true };
    assert_eq!(
        parse(["serbroker", "convert", "-", "-o", "b", "--force"]),
        Ok(Command::Convert { file: "-".into(), output })
    );
    assert_eq!(ends(&["serbroker", "convert"]).status, 1);
    assert_eq!(parse(["serbroker", "demo"]), Ok(Command::Demo { verbosity: 0 }));
    assert_eq!(parse(["serbroker", "demo", "-ll"]), Ok(Command::Demo { verbosity: 2 }));
    assert_eq!(ends(&["serbroker", "check"]).status, 1);
    let misplaced = ends(&["serbroker", "-c", "x", "demo"]);
    assert_eq!((misplaced.status, misplaced.to_stderr), (1, true));
    assert!(misplaced.text.contains("-c cannot be used with a subcommand"), "{}", misplaced.text);
}

#[test]
fn version_as_ser2net_tells_it() {
    for flag in ["-v", "-V", "--version"] {
        let exit = ends(&["/usr/sbin/ser2net", flag]);
        assert_eq!(exit.text, "/usr/sbin/ser2net version 4.6.7\n");
        assert_eq!((exit.status, exit.to_stderr), (0, false));
    }
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(ends(&["serbroker", "-l", "-v"]).text, format!("serbroker version {version}\n"));
}

#[test]
fn mistakes_end_with_1_on_stderr() {
    for wrong in [
        &["ser2net", "-x"][..],
        &["ser2net", "-n", "-c"],
        &["ser2net", "-n", "foo"],
        &["ser2net", "-t", "x"],
        &["ser2net", "-t", "-1"],
        &["ser2net", "-s"],
        &["serbroker", "-x"],
        &["serbroker", "foo"],
        &["serbroker", "-c"],
    ] {
        let exit = ends(wrong);
        assert_eq!((exit.status, exit.to_stderr), (1, true), "{wrong:?}");
        assert!(exit.text.ends_with('\n'), "{}", exit.text);
        assert_eq!(exit.text.starts_with("error: "), wrong[0] == "serbroker", "{}", exit.text);
    }
}

/// The first lines are those of ser2net 4.3.11.
#[test]
fn mistakes_are_told_as_by_ser2net_under_its_name() {
    for (wrong, first_line) in [
        (&["-x"][..], "Invalid option: '-x'"),
        (&["-h"], "Invalid option: '-h'"),
        (&["--help"], "Invalid argument: '--help'"),
        (&["--foo"], "Invalid argument: '--foo'"),
        (&["-n", "foo"], "Invalid argument: 'foo'"),
        (&["-n", "-c"], "No config file specified with -c"),
        (&["-p"], "No control port specified with -p"),
        (&["-P"], "No pid file specified with -P"),
        (&["-s"], "No signature specified"),
        (&["-t"], "No thread count specified"),
        (&["-t", "x"], "Invalid thread count specified: x"),
        (&["-t", "3x"], "Invalid thread count specified: 3x"),
    ] {
        let exit = ends(&[&["/usr/sbin/ser2net"][..], wrong].concat());
        assert_eq!(exit.text.lines().next(), Some(first_line), "{}", exit.text);
        assert_eq!((exit.status, exit.to_stderr), (1, true));
        let usage = exit.text.contains("--config-line");
        assert_eq!(usage, !first_line.contains("thread") && !first_line.contains("signature"));
    }
}

#[test]
fn a_directory_or_a_line() {
    let options = run(&["ser2net", "-n", "-C", "/srv/s2n"]);
    assert_eq!(options.config, ConfigChoice::File("/srv/s2n/ser2net.yaml".into()));
    assert_eq!((options.config_dir, options.inline), (Some("/srv/s2n".into()), Inline::None));
    // the file that is named is read, the keys are those of the last directory
    let options = run(&["ser2net", "-c", "f.yaml", "-C", "a", "-C", "./b:c"]);
    assert_eq!(options.config, ConfigChoice::File("f.yaml".into()));
    assert_eq!(options.config_dir, Some("./b:c".into()));
    let options = run(&["ser2net", "-c", "f", "-C", "1:raw:0:/dev/a:9600", "-C", "/d"]);
    assert_eq!(options.config, ConfigChoice::None);
    assert_eq!(options.inline, Inline::Lines(vec!["1:raw:0:/dev/a:9600".into()]));
}

#[test]
fn where_the_log_goes() {
    let syslog = |arguments: &[&str]| run(arguments).syslog;
    assert!(syslog(&["ser2net"]) && syslog(&["ser2net", "-n"]));
    assert!(!syslog(&["ser2net", "-d"]) && !syslog(&["ser2net", "-n", "-d"]) && !syslog(&["serbroker"]));
    assert!(run(&["ser2net", "-r", "-d"]).say_ready && !run(&["ser2net", "-d"]).say_ready);
}

#[test]
fn directories_of_keys_are_named_in_the_log() {
    let notices = run(&["ser2net", "-a", "/x", "-A", "/y"]).notices;
    assert!(notices[0].starts_with("-a /x: ") && notices[1].starts_with("-A /y: "), "{notices:?}");
}

#[test]
fn help_is_complete() {
    let exit = ends(&["serbroker", "--help"]);
    assert_eq!((exit.status, exit.to_stderr), (0, false));
    let mut options = 0;
    for argument in Cli::command().get_arguments() {
        let short = argument.get_short().expect("every option has a letter");
        assert!(exit.text.contains(&format!("  -{short}, --")), "-{short}\n{}", exit.text);
        assert!(argument.get_help().is_some_and(|help| help.to_string().len() > 10), "-{short}");
        options += 1;
    }
    assert_eq!(options, 16, "the options of ser2net and no others");
    for word in ["check", "demo"].iter().chain(Personality::Serbroker.default_config_files()) {
        assert!(exit.text.contains(word), "{word}\n{}", exit.text);
    }
    assert!(exit.text.lines().all(|line| line.len() <= 100), "{}", exit.text);
    assert_eq!(ends(&["serbroker", "-h"]).text, exit.text);
    assert!(ends(&["serbroker", "check", "--help"]).text.contains("<FILE>"));
}

#[test]
fn ports_with_and_without_a_configuration() {
    let ports = |arguments: &[&str]| parse([&["serbroker", "ports"], arguments].concat());
    assert_eq!(ports(&[]), Ok(Command::Ports { config: None, json: false }));
    let named = Some(PathBuf::from("/x.yaml"));
    assert_eq!(ports(&["-c", "/x.yaml", "--json"]), Ok(Command::Ports { config: named, json: true }));
    assert_eq!(ends(&["serbroker", "ports", "/dev/ttyS0"]).status, 1);
}
