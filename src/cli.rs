//! The command line.
//!
//! Started as `serbroker` the program stays in the foreground and has subcommands. Started under the
//! name `ser2net` (a link) it does what ser2net(8) does with the same arguments: background, its
//! default files, its rule for `-c` together with `-C` and `-Y`. Parsing is pure: nothing is opened,
//! printed or ended here.
//!
//! `-v` prints the version under both names, as in ser2net, so that scripts which probe with it work;
//! `-l` is what makes the log more talkative.

mod ser2net;

use crate::commands::{Detail, Output};
use clap::error::ErrorKind;
use clap::{ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Which program's habits the name we were started under asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Personality {
    /// Our own.
    Serbroker,
    /// ser2net's.
    Ser2net,
}

impl Personality {
    /// By the last part of `argv[0]`.
    pub fn of(program: &Path) -> Self {
        match program.file_name() {
            Some(name) if name == "ser2net" => Self::Ser2net,
            _ => Self::Serbroker,
        }
    }

    /// The configuration files that are looked for without `-c`, the first that exists is taken.
    pub fn default_config_files(self) -> &'static [&'static str] {
        match self {
            Self::Serbroker => &[
                "/etc/serbroker.yaml",
                "/etc/ser2net/ser2net.yaml",
                "/etc/ser2net.yaml",
                "/etc/ser2net.conf",
            ],
            // the last is Debian's, which names it on the command line
            Self::Ser2net => &["/etc/ser2net/ser2net.yaml", "/etc/ser2net.conf", "/etc/ser2net.yaml"],
        }
    }

    /// Name in logs and as the default of texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Serbroker => "serbroker",
            Self::Ser2net => "ser2net",
        }
    }

    /// The default file for which `exists` is true first.
    pub fn find_config(self, exists: impl Fn(&Path) -> bool) -> Option<PathBuf> {
        self.default_config_files().iter().map(PathBuf::from).find(|path| exists(path))
    }
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run the broker.
    Run(RunOptions),
    /// Say what is wrong with configuration files.
    Check {
        /// The files; `-` is standard input.
        files: Vec<PathBuf>,
        /// How much is told.
        detail: Detail,
    },
    /// Turn a configuration file into version 2 YAML.
    Convert {
        /// The file; `-` is standard input.
        file: PathBuf,
        /// Where the result goes.
        output: Output,
    },
    /// Run on simulated devices.
    Demo {
        /// See [`RunOptions::verbosity`].
        verbosity: u8,
    },
}

/// How to run the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Whose habits.
    pub personality: Personality,
    /// Where the configuration is.
    pub config: ConfigChoice,
    /// Configuration on the command line.
    pub inline: Inline,
    /// Directory of the default configuration file and of the default key and certificate; `None`:
    /// the usual places.
    pub config_dir: Option<PathBuf>,
    /// Leave the terminal before running.
    pub background: bool,
    /// Log to syslog although in the foreground, where there is one.
    pub syslog: bool,
    /// Print `Ready` on standard output when the ports listen.
    pub say_ready: bool,
    /// 0 info, 1 debug, more: trace.
    pub verbosity: u8,
    /// File for the process id.
    pub pid_file: Option<PathBuf>,
    /// Make and obey UUCP lock files.
    pub uucp_locks: bool,
    /// RFC 2217 signature of ports that give none.
    pub signature: Option<String>,
    /// Threads that move data, at least 1; `None`: not said.
    pub threads: Option<usize>,
    /// What was asked for and is not done, as lines for the log.
    pub notices: Vec<String>,
    /// `-p`: accepter of the admin port.
    pub admin: Option<String>,
}

/// Where the configuration file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChoice {
    /// Look for the default files ([`Personality::find_config`]).
    Default,
    /// This file; `-` is standard input.
    File(PathBuf),
    /// No file: what is on the command line is all.
    None,
}

/// Configuration given on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inline {
    /// None.
    None,
    /// `-Y` texts as given (`#` for line ends not yet replaced), in order. They follow the file.
    Yaml(Vec<String>),
    /// `-C` lines in the one-line format, in order. They come after the file's.
    Lines(Vec<String>),
}

/// The program is to print this and end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// What to print, with its last line end.
    pub text: String,
    /// On stderr, not stdout.
    pub to_stderr: bool,
    /// Exit status: 0 when this was asked for, 1 for a mistake.
    pub status: u8,
}

const AFTER_HELP: &str = "\
Without -c, -C and -Y the first of these files that exists is read:
  /etc/serbroker.yaml, /etc/ser2net/ser2net.yaml, /etc/ser2net.yaml, /etc/ser2net.conf
YAML and one-line format are told apart by content, not by name.

Started under the name ser2net, the program goes into the background unless -n or -d is
given, logs to syslog unless -d is given, reads /etc/ser2net/ser2net.yaml,
/etc/ser2net.conf or /etc/ser2net.yaml by default, and a -C LINE or -Y after -c makes it
ignore the file.

Signals: SIGHUP reads the configuration again, SIGTERM and SIGINT end the program.
Environment: RUST_LOG chooses log levels (for instance RUST_LOG=serbroker=debug).
Exit status: 0 well done, 1 mistake in arguments or configuration, or failure.";

const CONVERT_HELP: &str = "\
What does not run, and options that do nothing yet, become comments at their place and are
named on standard error with file, line and column.

Exit status: 0 when every connection runs from the result as it did from FILE; 1 when one
does not run or is not the same (the result is written all the same), or when FILE cannot
be read or OUT not be written.";

/// Serial ports on the network: raw, telnet, RFC 2217 and TLS. Reads the configuration of ser2net.
#[derive(Debug, Parser)]
#[command(
    name = "serbroker",
    after_help = AFTER_HELP,
    disable_version_flag = true,
    disable_help_subcommand = true,
    args_override_self = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Sub>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Check configuration files and say what is wrong with them, and where; status 1 on errors
    Check {
        /// Files to check; - is standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Print every port as it will run, and where each value came from
        #[arg(long = "explain")]
        explain: bool,
        /// Print the same as JSON
        #[arg(long = "json", requires = "explain")]
        json: bool,
    },
    /// Turn a configuration file of any format into version 2 YAML, with its comments
    #[command(after_help = CONVERT_HELP)]
    Convert {
        /// File to convert, one-line format or YAML; - is standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Write to this file instead of standard output
        #[arg(short = 'o', long = "output", value_name = "OUT")]
        output: Option<PathBuf>,
        /// Replace OUT if it exists
        #[arg(long = "force", requires = "output")]
        force: bool,
    },
    /// Serve simulated devices on loopback and print commands to try; ends with Ctrl-C
    Demo {
        /// Log more; twice for still more
        #[arg(short = 'l', long = "verbose", action = ArgAction::Count)]
        verbose: u8,
    },
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Configuration file; - is standard input
    #[arg(short = 'c', long = "config", value_name = "FILE", allow_hyphen_values = true)]
    config: Option<PathBuf>,
    /// Line in the one-line format (repeatable), or directory of files
    #[arg(short = 'C', long = "config-line", value_name = "LINE|DIR", action = ArgAction::Append)]
    #[arg(allow_hyphen_values = true, conflicts_with = "yaml")]
    config_line: Vec<String>,
    /// YAML configuration; # outside quotes is a line end (repeatable)
    #[arg(short = 'Y', long = "yaml", value_name = "TEXT", action = ArgAction::Append)]
    #[arg(allow_hyphen_values = true)]
    yaml: Vec<String>,
    /// Stay in the foreground
    #[arg(short = 'n', long = "no-detach", action = ArgAction::SetTrue)]
    no_detach: bool,
    /// Stay in the foreground and log more
    #[arg(short = 'd', long = "debug", action = ArgAction::SetTrue)]
    debug: bool,
    /// Log more; twice for still more
    #[arg(short = 'l', long = "verbose", action = ArgAction::Count)]
    verbose: u8,
    /// Print Ready on standard output when the ports listen
    #[arg(short = 'r', long = "ready", action = ArgAction::SetTrue)]
    ready: bool,
    /// Write the process id to this file; removed at the end
    #[arg(short = 'P', long = "pid-file", value_name = "FILE", allow_hyphen_values = true)]
    pid_file: Option<PathBuf>,
    /// Neither make nor obey UUCP lock files
    #[arg(short = 'u', long = "no-uucp-locks", action = ArgAction::SetTrue)]
    no_uucp_locks: bool,
    /// RFC 2217 signature of ports that give none
    #[arg(short = 's', long = "signature", value_name = "TEXT", allow_hyphen_values = true)]
    signature: Option<String>,
    /// Number of threads that move data
    #[arg(short = 't', long = "threads", value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(0..=1024))]
    threads: Option<u16>,
    /// Opens an admin port on this accepter
    #[arg(short = 'p', long = "admin", value_name = "ACCEPTER", allow_hyphen_values = true)]
    admin: Option<String>,
    /// Directory of users' keys (not read, see the manual)
    #[arg(short = 'a', long = "authdir", value_name = "DIR", allow_hyphen_values = true)]
    authdir: Option<PathBuf>,
    /// Directory of administrators' keys (not read, see the manual)
    #[arg(short = 'A', long = "authdir-admin", value_name = "DIR", allow_hyphen_values = true)]
    authdir_admin: Option<PathBuf>,
    /// Ignored: the short Cisco form of speeds is recognised by itself
    #[arg(short = 'b', long = "cisco-ios", action = ArgAction::SetTrue)]
    cisco_ios: bool,
    /// Print the version
    #[arg(short = 'v', visible_short_alias = 'V', long = "version", action = ArgAction::SetTrue)]
    version: bool,
}

/// Reads the command line; the first argument is the program's name.
///
/// # Errors
///
/// Not only mistakes: `--help` and `--version` come this way too, with status 0.
pub fn parse(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Command, Exit> {
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let program = arguments.first().map_or_else(|| PathBuf::from("serbroker"), PathBuf::from);
    let personality = Personality::of(&program);
    let mistake = |e: clap::Error| match personality {
        Personality::Serbroker => exit(&e),
        Personality::Ser2net => ser2net::wrong_usage(&e, &arguments).unwrap_or_else(|| exit(&e)),
    };
    let matches =
        Cli::command().bin_name(personality.name()).try_get_matches_from(&arguments).map_err(mistake)?;
    let cli = Cli::from_arg_matches(&matches).map_err(mistake)?;
    if cli.run.version {
        let text = format!("{} version {}\n", program.display(), env!("CARGO_PKG_VERSION"));
        return Err(Exit { text, to_stderr: false, status: 0 });
    }
    match cli.command {
        None => Ok(Command::Run(run_options(personality, cli.run, &matches))),
        Some(sub) => {
            if let Some(option) = given_before_subcommand(&matches) {
                let text = format!("error: {option} cannot be used with a subcommand\n");
                return Err(Exit { text, to_stderr: true, status: 1 });
            }
            Ok(match sub {
                Sub::Check { files, explain, json } => {
                    let detail = match (explain, json) {
                        (false, _) => Detail::Mistakes,
                        (true, false) => Detail::Ports,
                        (true, true) => Detail::Json,
                    };
                    Command::Check { files, detail }
                }
                Sub::Convert { file, output, force } => {
                    Command::Convert { file, output: Output { file: output, force } }
                }
                Sub::Demo { verbose } => Command::Demo { verbosity: verbose },
            })
        }
    }
}

/// clap ends with 2 on mistakes; ser2net, and so we, with 1.
fn exit(error: &clap::Error) -> Exit {
    let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    Exit { text: error.to_string(), to_stderr: error.use_stderr(), status: u8::from(!asked_for) }
}

/// An option of the broker that stands before a subcommand, which has no use for it.
fn given_before_subcommand(matches: &ArgMatches) -> Option<String> {
    use clap::parser::ValueSource::CommandLine;
    let command = Cli::command();
    let mut given = command
        .get_arguments()
        .filter(|arg| matches.value_source(arg.get_id().as_str()) == Some(CommandLine));
    given.find_map(clap::Arg::get_short).map(|short| format!("-{short}"))
}

fn run_options(personality: Personality, args: RunArgs, matches: &ArgMatches) -> RunOptions {
    let places = matches.indices_of("config_line").into_iter().flatten();
    let (directories, lines): (Vec<_>, Vec<_>) =
        args.config_line.into_iter().zip(places).partition(|(text, _)| ser2net::is_directory(text));
    let config_dir = directories.into_iter().next_back().map(|(dir, _)| PathBuf::from(dir));
    let last_line = lines.last().map(|(_, place)| *place);
    let inline = if !args.yaml.is_empty() {
        Inline::Yaml(args.yaml)
    } else if !lines.is_empty() {
        Inline::Lines(lines.into_iter().map(|(line, _)| line).collect())
    } else {
        Inline::None
    };
    // ser2net forgets a file that was named before the last -C or -Y
    let last = |id: &str| matches.indices_of(id).and_then(Iterator::max);
    let file_is_last = last("config") > last("yaml").max(last_line);
    let config = match (args.config, &config_dir) {
        (Some(file), _) if file_is_last || personality == Personality::Serbroker => ConfigChoice::File(file),
        (None, Some(dir)) if inline == Inline::None => ConfigChoice::File(dir.join("ser2net.yaml")),
        (None, None) if inline == Inline::None => ConfigChoice::Default,
        _ => ConfigChoice::None,
    };
    let mut notices = Vec::new();
    if let Some(dir) = args.authdir {
        let dir = dir.display();
        notices.push(format!(
            "-a {dir}: keys of users are not read; a connection that needs them (clientauth without CA) does not run"
        ));
    }
    if let Some(dir) = args.authdir_admin {
        let dir = dir.display();
        notices
            .push(format!("-A {dir}: keys of administrators are not read; the admin port asks for no login"));
    }
    if args.cisco_ios {
        notices.push("-b is ignored: the short Cisco form of speeds is recognised by itself".to_owned());
    }
    RunOptions {
        personality,
        config,
        inline,
        config_dir,
        background: personality == Personality::Ser2net && !args.no_detach && !args.debug,
        syslog: personality == Personality::Ser2net && !args.debug,
        say_ready: args.ready,
        verbosity: args.verbose.saturating_add(u8::from(args.debug && personality == Personality::Serbroker)),
        pid_file: args.pid_file,
        uucp_locks: !args.no_uucp_locks,
        signature: args.signature,
        threads: args.threads.map(|threads| usize::from(threads.max(1))),
        notices,
        admin: args.admin,
    }
}

/// The parser's description, for man pages and completions.
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
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
        let all =
            ["/etc/ser2net.conf", "/etc/ser2net.yaml", "/etc/ser2net/ser2net.yaml", "/etc/serbroker.yaml"];
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
        let lines =
            run(&["ser2net", "-n", "-C", "1:raw:0:/dev/a:9600", "-C", "2:raw:0:/dev/b:9600", "-c", "f"]);
        assert_eq!(
            lines.inline,
            Inline::Lines(vec!["1:raw:0:/dev/a:9600".into(), "2:raw:0:/dev/b:9600".into()])
        );
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
        let version = env!("CARGO_PKG_VERSION");
        for flag in ["-v", "-V", "--version"] {
            let exit = ends(&["/usr/sbin/ser2net", flag]);
            assert_eq!(exit.text, format!("/usr/sbin/ser2net version {version}\n"));
            assert_eq!((exit.status, exit.to_stderr), (0, false));
        }
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
}
