//! The command line.
//!
//! Started as `serbroker` the program stays in the foreground and has subcommands. Started under the
//! name `ser2net` (a link) it does what ser2net(8) does with the same arguments: background, its
//! default files, its rule for `-c` together with `-C` and `-Y`. Parsing is pure: nothing is opened,
//! printed or ended here.
//!
//! `-v` prints the version under both names, as in ser2net, so that scripts which probe with it work:
//! under that name it is [`SER2NET_VERSION`]. `-l` is what makes the log more talkative.

mod attach;
mod ser2net;

use crate::attach::Attach;
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

/// The version of ser2net whose arguments and files are understood, which programs that start it ask
/// for (labgrid writes another configuration for those before 4.2.0).
const SER2NET_VERSION: &str = "4.6.7";

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
    /// List the serial ports of this machine.
    Ports {
        /// Configuration whose connections are told; `None`: the default file, if there is one.
        config: Option<PathBuf>,
        /// As JSON.
        json: bool,
    },
    /// Make a far port a terminal of this machine.
    Attach {
        /// Which, and how.
        options: Box<Attach>,
        /// See [`RunOptions::verbosity`].
        verbosity: u8,
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
    /// List the serial ports of this machine: what they are, who has them, who may
    Ports {
        /// Configuration whose connections are told [default: the first of the files below]
        #[arg(short = 'c', long = "config", value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print JSON
        #[arg(long = "json")]
        json: bool,
    },
    /// Make a port of a far server a local terminal that any program can open
    #[command(after_help = attach::AFTER_HELP)]
    Attach(attach::AttachArgs),
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
        let version = match personality {
            Personality::Serbroker => env!("CARGO_PKG_VERSION"),
            Personality::Ser2net => SER2NET_VERSION,
        };
        let text = format!("{} version {version}\n", program.display());
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
                Sub::Ports { config, json } => Command::Ports { config, json },
                Sub::Attach(args) => {
                    let (options, verbosity) = args.options()?;
                    Command::Attach { options: Box::new(options), verbosity }
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
mod tests;
