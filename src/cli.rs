//! The command line.
//!
//! Started as `serbroker` the program stays in the foreground and has subcommands. Started under the
//! name `ser2net` (a link) it does what ser2net(8) does with the same arguments: background, its
//! default files, its rule for `-c` together with `-C` and `-Y`. Parsing is pure: nothing is opened,
//! printed or ended here.
//!
//! `-v` prints the version under both names, as in ser2net, so that scripts which probe with it work;
//! `-l` is what makes the log more talkative.

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
            Self::Ser2net => &["/etc/ser2net/ser2net.yaml", "/etc/ser2net.conf"],
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
    /// Leave the terminal before running.
    pub background: bool,
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
    /// `-C` lines in the one-line format, in order. They come before the file's.
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
given, reads /etc/ser2net/ser2net.yaml or /etc/ser2net.conf by default, and a -C or -Y
after -c makes it ignore the file.

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
    /// A line of configuration in the one-line format (repeatable)
    #[arg(short = 'C', long = "config-line", value_name = "LINE", action = ArgAction::Append)]
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
    let matches =
        Cli::command().bin_name(personality.name()).try_get_matches_from(arguments).map_err(|e| exit(&e))?;
    let cli = Cli::from_arg_matches(&matches).map_err(|e| exit(&e))?;
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
    let inline = if !args.yaml.is_empty() {
        Inline::Yaml(args.yaml)
    } else if !args.config_line.is_empty() {
        Inline::Lines(args.config_line)
    } else {
        Inline::None
    };
    // ser2net forgets a file that was named before the last -C or -Y
    let last = |id: &str| matches.indices_of(id).and_then(Iterator::max);
    let file_is_last = last("config") > last("yaml").max(last("config_line"));
    let config = match args.config {
        Some(file) if file_is_last || personality == Personality::Serbroker => ConfigChoice::File(file),
        None if inline == Inline::None => ConfigChoice::Default,
        _ => ConfigChoice::None,
    };
    let mut notices = Vec::new();
    if args.cisco_ios {
        notices.push("-b is ignored: the short Cisco form of speeds is recognised by itself".to_owned());
    }
    RunOptions {
        personality,
        config,
        inline,
        background: personality == Personality::Ser2net && !args.no_detach && !args.debug,
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
            &["ser2net", "-a", "/x"],
            &["ser2net", "-t", "-1"],
            &["ser2net", "-s"],
        ] {
            let exit = ends(wrong);
            assert_eq!((exit.status, exit.to_stderr), (1, true), "{wrong:?}");
            assert!(exit.text.ends_with('\n') && exit.text.starts_with("error: "), "{}", exit.text);
        }
        assert!(ends(&["ser2net", "-x"]).text.contains("Usage: ser2net"));
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
        assert_eq!(options, 13, "the options of ser2net(8) and no others");
        for word in ["check", "demo"].iter().chain(Personality::Serbroker.default_config_files()) {
            assert!(exit.text.contains(word), "{word}\n{}", exit.text);
        }
        assert!(exit.text.lines().all(|line| line.len() <= 100), "{}", exit.text);
        assert_eq!(ends(&["serbroker", "-h"]).text, exit.text);
        assert!(ends(&["serbroker", "check", "--help"]).text.contains("<FILE>"));
    }
}
