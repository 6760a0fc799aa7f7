//! The command line: `shardine [CONFIG_FILE] [-] [--parameter value …]`.
//!
//! Every parameter is an option, so the options are read from the table and not declared one by one; clap draws
//! the help. An option's values run up to the next option:
//!
//! - `--name` is always an option, `--name=value` gives its one value;
//! - `-name` is one if it names a parameter (`-port 6380`), so that values such as `-1` and `-::1` are values;
//! - a parameter of one value takes the next argument, whatever it is, unless that is itself `--` and a
//!   parameter's name.

use super::file::{Directives, is_special};
use super::nearest;
use super::quote::split_arguments;
use super::table::{Config, Parameter, find};
use clap::builder::StyledStr;
use clap::{Arg, Command};
use std::ffi::OsString;
use std::path::PathBuf;
use thiserror::Error;

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// To start the server.
    Run(Invocation),
    /// To print this help.
    Help(String),
    /// To print this version.
    Version(String),
}

/// A start of the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invocation {
    /// The file to read first.
    pub config_file: Option<PathBuf>,
    /// Whether more configuration follows on standard input.
    pub from_stdin: bool,
    /// The options in their order: parameters, by the name that was used, with their words.
    pub overrides: Vec<(String, Vec<String>)>,
}

impl Invocation {
    /// Sets the options in the configuration, which is left as it was on an error.
    pub fn apply(&self, config: &mut Config) -> Result<(), CliError> {
        let mut wanted = config.clone();
        let mut directives = Directives::default();
        for (name, words) in &self.overrides {
            let wrong = |reason| CliError::Value {
                name: name.clone(),
                reason,
            };
            directives.follow(&mut wanted, name, words).map_err(wrong)?;
        }
        let wrong = |reason| CliError::Value {
            name: "user".into(),
            reason,
        };
        directives.finish(&mut wanted).map_err(wrong)?;
        *config = wanted;
        Ok(())
    }
}

/// A command line that cannot be followed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CliError {
    /// An option that is no parameter.
    #[error("--{name}: {}; --help lists the main ones", nearest::unknown(name))]
    Unknown {
        /// Its name.
        name: String,
    },
    /// An option without its value.
    #[error("--{name} needs a value")]
    Missing {
        /// Its name.
        name: String,
    },
    /// An argument that belongs to no option.
    #[error(
        "unexpected argument '{argument}' after --{name}, which takes one value; a configuration file comes first"
    )]
    Unexpected {
        /// The argument.
        argument: String,
        /// The option before it.
        name: String,
    },
    /// A second configuration file.
    #[error("unexpected argument '{argument}': there is a configuration file already")]
    SecondFile {
        /// The argument.
        argument: String,
    },
    /// A value that the parameter does not take.
    #[error("--{name}: {reason}")]
    Value {
        /// The option.
        name: String,
        /// What is wrong with the value.
        reason: String,
    },
    /// An argument that is not text; only the configuration file's name may be any bytes.
    #[error("the argument '{}' is not valid UTF-8", .0.to_string_lossy())]
    NotText(OsString),
}

/// Reads the arguments, the program's own name not among them.
pub fn parse_args<A: Into<OsString> + Clone>(args: &[A]) -> Result<Action, CliError> {
    let mut args = args.iter().cloned().map(Into::<OsString>::into).peekable();
    let mut invocation = Invocation::default();
    while let Some(arg) = args.next() {
        let Some(text) = arg.to_str().filter(|text| text.starts_with('-')) else {
            positional(&mut invocation, arg)?;
            continue;
        };
        match text {
            "-" => {
                invocation.from_stdin = true;
                continue;
            }
            "-h" | "--help" => return Ok(Action::Help(command().render_help().to_string())),
            "-v" | "-V" | "--version" => {
                return Ok(Action::Version(command().render_version().trim().into()));
            }
            _ => {}
        }
        let option = text.strip_prefix("--").unwrap_or(&text[1..]);
        let (name, inline) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let row = find(name);
        if row.is_none() && !is_special(name) && !name.contains('.') {
            return Err(CliError::Unknown { name: name.into() });
        }
        let name = name.to_string();
        let mut words: Vec<String> = inline.map(str::to_string).into_iter().collect();
        let one = row.is_some_and(|row| !row.several);
        while let Some(next) = args
            .peek()
            .filter(|next| inline.is_none() && takes(row, words.len(), next))
        {
            words.push(
                next.to_str()
                    .ok_or_else(|| CliError::NotText(next.clone()))?
                    .into(),
            );
            args.next();
        }
        if words.is_empty() && row.is_some() {
            return Err(CliError::Missing { name });
        }
        if !one && let [word] = words.as_slice() {
            words = split(word);
        }
        invocation.overrides.push((name, words));
    }
    Ok(Action::Run(invocation))
}

/// Whether the option, which has so many words already, takes the next argument as well.
fn takes(row: Option<&Parameter>, count: usize, next: &OsString) -> bool {
    // What is not text is taken here, to be refused as a value.
    let Some(text) = next.to_str() else {
        return true;
    };
    let names_option = |dashes: &str| {
        let name = text
            .strip_prefix(dashes)
            .map(|option| option.split('=').next().unwrap_or(option));
        name.is_some_and(|name| find(name).is_some() || is_special(name))
    };
    match row {
        Some(row) if !row.several => count == 0 && !names_option("--"),
        _ => !text.starts_with("--") && !names_option("-"),
    }
}

/// An argument that is neither an option nor its value.
fn positional(invocation: &mut Invocation, arg: OsString) -> Result<(), CliError> {
    let argument = arg.to_string_lossy().into_owned();
    if let Some((name, _)) = invocation.overrides.last() {
        return Err(CliError::Unexpected {
            argument,
            name: name.clone(),
        });
    }
    if invocation.config_file.is_some() {
        return Err(CliError::SecondFile { argument });
    }
    invocation.config_file = Some(arg.into());
    Ok(())
}

/// One argument may hold all words of a parameter: `--replicaof "HOST PORT"`.
fn split(word: &str) -> Vec<String> {
    match split_arguments(word) {
        Ok(words) if !words.is_empty() => words,
        _ => vec![word.into()],
    }
}

/// The parameters that the help shows, with what stands for their value.
const MAIN: [(&str, &str); 15] = [
    ("port", "PORT"),
    ("bind", "ADDR..."),
    ("unixsocket", "PATH"),
    ("requirepass", "PASSWORD"),
    ("protected-mode", "yes|no"),
    ("shards", "N"),
    ("server-cpulist", "CPUS"),
    ("replicaof", "HOST PORT"),
    ("databases", "N"),
    ("maxclients", "N"),
    ("maxmemory", "BYTES"),
    ("save", "SECONDS CHANGES"),
    ("appendonly", "yes|no"),
    ("dir", "PATH"),
    ("loglevel", "LEVEL"),
];

const EXAMPLES: &str = "\
Every parameter of redis.conf is an option: --name value. They are all listed, with defaults, in docs/config.md, and
`CONFIG GET *` shows their values. What the command line says wins over standard input, and that over the file.
-name is the same as --name, and --name=value the same as --name value.

Examples:
  shardine                                  listen on port 6379, one core per CPU
  shardine /etc/redis/redis.conf            with the configuration of an existing Redis
  shardine --port 6380 --shards 4 --bind 127.0.0.1 ::1
  shardine --replicaof 10.0.0.1 6379        follow another server
  shardine --save \"\" --appendonly no        keep the data in memory only
  shardine - < my.conf                      read the configuration from standard input";

fn command() -> Command {
    let config = Config::default();
    let mut command = Command::new("shardine")
        .version(env!("CARGO_PKG_VERSION"))
        .about("An in-memory data store for all cores, compatible with Redis")
        .override_usage("shardine [CONFIG_FILE] [-] [--PARAMETER VALUE...]...")
        .after_help(StyledStr::from(EXAMPLES))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .term_width(0)
        .next_line_help(false)
        .arg(Arg::new("CONFIG_FILE").help("File in the format of redis.conf"))
        .arg(
            Arg::new("stdin")
                .value_name("-")
                .help("Read configuration from standard input"),
        );
    for (name, value) in MAIN {
        let Some(row) = find(name) else { continue };
        let default = match row.show(&config) {
            empty if empty.is_empty() => String::new(),
            shown => format!(" [default: {shown}]"),
        };
        let help = format!(
            "{}{default}",
            row.doc.trim().trim_end_matches('.').replace('`', "")
        );
        command = command.arg(
            Arg::new(name)
                .long(name)
                .value_name(value)
                .num_args(1)
                .help(help),
        );
    }
    let flag = |name: &'static str, short: char, help: &'static str| {
        Arg::new(name)
            .long(name)
            .short(short)
            .num_args(0)
            .help(help)
    };
    command
        .arg(flag("help", 'h', "Print this help"))
        .arg(flag("version", 'v', "Print the version"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{PARAMETERS, ReplicaOf, parse_file};

    fn run(args: &[&str]) -> Invocation {
        match parse_args(args) {
            Ok(Action::Run(invocation)) => invocation,
            other => panic!("{args:?}: {other:?}"),
        }
    }

    fn config(args: &[&str]) -> Config {
        let mut config = Config::default();
        run(args)
            .apply(&mut config)
            .unwrap_or_else(|error| panic!("{args:?}: {error}"));
        config
    }

    fn error(args: &[&str]) -> String {
        match parse_args(args) {
            Ok(Action::Run(invocation)) => {
                let mut config = Config::default();
                let error = invocation.apply(&mut config).expect_err("must be refused");
                assert_eq!(config, Config::default());
                error.to_string()
            }
            Ok(other) => panic!("{args:?}: {other:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn nothing_is_the_default() {
        assert_eq!(run(&[]), Invocation::default());
        assert_eq!(config(&[]), Config::default());
    }

    #[test]
    fn the_file_comes_first_and_a_dash_is_standard_input() {
        let invocation = run(&["/etc/redis/redis.conf", "-", "--port", "1"]);
        assert_eq!(
            invocation.config_file,
            Some(PathBuf::from("/etc/redis/redis.conf"))
        );
        assert!(invocation.from_stdin);
        assert_eq!(
            invocation.overrides,
            [("port".to_string(), vec!["1".to_string()])]
        );
        assert!(run(&["-"]).from_stdin);
    }

    #[test]
    fn options_have_the_forms_of_redis() {
        assert_eq!(config(&["--port", "6380"]).port, 6380);
        assert_eq!(config(&["--PORT", "6380"]).port, 6380);
        assert_eq!(config(&["--port=6380"]).port, 6380);
        assert_eq!(
            config(&["--bind", "127.0.0.1", "-::1", "--port", "1"]).bind,
            ["127.0.0.1", "-::1"]
        );
        assert_eq!(
            config(&["--bind", "127.0.0.1 ::1"]).bind,
            ["127.0.0.1", "::1"]
        );
        assert!(config(&["--save", ""]).save.is_empty());
        assert_eq!(config(&["--save", "60", "1000"]).save.len(), 1);
        assert_eq!(config(&["--save", "60 1 300 10"]).save.len(), 2);
        assert_eq!(
            config(&["--save", "60", "1", "--save", "300", "10"])
                .save
                .len(),
            2
        );
        assert!(!config(&["--appendonly", "no"]).appendonly);
        assert_eq!(
            config(&["--slowlog-log-slower-than", "-1"]).slowlog_log_slower_than,
            -1
        );
        assert_eq!(config(&["--port", "1", "--port", "2"]).port, 2);
        assert_eq!(config(&["--slave-priority", "3"]).replica_priority, 3);
        assert_eq!(
            config(&["--lua-replicate-commands", "yes"]),
            Config::default()
        );
    }

    #[test]
    fn a_single_dash_works_for_parameters() {
        let leader = Some(ReplicaOf {
            host: "localhost".into(),
            port: 6379,
        });
        assert_eq!(config(&["-port", "6380"]).port, 6380);
        for args in [
            &["-replicaof", "localhost", "6379", "-port", "6380"][..],
            &["--replicaof", "localhost 6379", "--port", "6380"],
            &["--slaveof", "localhost", "6379", "-port=6380"],
            &["--replicaof=localhost 6379", "--port", "6380"],
        ] {
            let config = config(args);
            assert_eq!(
                (config.replicaof, config.port),
                (leader.clone(), 6380),
                "{args:?}"
            );
        }
    }

    #[test]
    fn a_value_may_look_like_an_option() {
        assert_eq!(
            config(&["--requirepass", "--secret"]).requirepass,
            "--secret"
        );
        assert_eq!(config(&["--requirepass", "-port"]).requirepass, "-port");
        assert_eq!(config(&["--requirepass=--port"]).requirepass, "--port");
        assert_eq!(
            config(&["--requirepass", "with blank"]).requirepass,
            "with blank"
        );
        assert_eq!(config(&["--requirepass", "--help"]).requirepass, "--help");
        assert_eq!(config(&["--requirepass", ""]).requirepass, "");
    }

    #[test]
    fn every_parameter_is_an_option() {
        let default = Config::default();
        for parameter in PARAMETERS {
            for name in parameter.names() {
                let args = [format!("--{name}"), parameter.show(&default)];
                let Ok(Action::Run(invocation)) = parse_args(&args) else {
                    panic!("{name}")
                };
                let mut config = Config::default();
                invocation
                    .apply(&mut config)
                    .unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(config, default, "{name}");
            }
        }
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let mut config = Config::default();
        let mut include = |_: &str| Ok(Vec::new());
        parse_file(
            "port 1\nsave 1 1\ntimeout 9",
            "redis.conf",
            &mut config,
            &mut include,
        )
        .unwrap();
        run(&["redis.conf", "--port", "2", "--save", "2", "2"])
            .apply(&mut config)
            .unwrap();
        assert_eq!((config.port, config.timeout, config.save.len()), (2, 9, 1));
        assert_eq!(config.save[0].seconds, 2);
    }

    #[test]
    fn mistakes_are_named_in_one_sentence() {
        for (args, expected) in [
            (
                &["--prot", "1"][..],
                "--prot: unknown parameter 'prot' (did you mean 'port'?); --help lists the main ones",
            ),
            (
                &["-prot", "1"],
                "--prot: unknown parameter 'prot' (did you mean 'port'?); --help lists the main ones",
            ),
            (
                &["--port", "1", "-prot", "2"],
                "--prot: unknown parameter 'prot' (did you mean 'port'?); --help lists the main ones",
            ),
            (&["--port"], "--port needs a value"),
            (&["--port", "--bind", "::1"], "--port needs a value"),
            (&["--bind"], "--bind needs a value"),
            (
                &["--port", "1", "my.conf"],
                "unexpected argument 'my.conf' after --port, which takes one value; a configuration file comes first",
            ),
            (
                &["a.conf", "b.conf"],
                "unexpected argument 'b.conf': there is a configuration file already",
            ),
            (
                &["--port", "x"],
                "--port: argument couldn't be parsed into an integer",
            ),
            (
                &["--port", "65536"],
                "--port: argument must be between 0 and 65535 inclusive",
            ),
            (
                &["--replicaof", "localhost"],
                "--replicaof: wrong number of arguments",
            ),
            (
                &["--loadmodule", "x.so"],
                "--loadmodule: modules cannot be loaded here",
            ),
            (
                &["--sentinel"],
                "--sentinel: there is no sentinel mode here",
            ),
            (
                &["--include", "x.conf"],
                "--include: only a file can include files",
            ),
            (
                &["--shards", "9999"],
                "--shards: argument must be between 0 and 1024 inclusive",
            ),
            (
                &["--server-cpulist", "0-"],
                "--server-cpulist: not a list of CPUs such as 0-3,8 or 0-7:2",
            ),
        ] {
            assert_eq!(error(args), expected);
        }
    }

    #[test]
    fn what_is_not_text_is_refused_except_as_a_file() {
        use std::os::unix::ffi::OsStringExt;
        let odd = OsString::from_vec(vec![b'a', 0xff]);
        let Ok(Action::Run(invocation)) = parse_args(std::slice::from_ref(&odd)) else {
            panic!("a file")
        };
        assert_eq!(invocation.config_file, Some(odd.clone().into()));
        assert_eq!(
            parse_args(&["--bind".into(), odd.clone()]),
            Err(CliError::NotText(odd))
        );
    }

    #[test]
    fn help_and_version_are_there() {
        let Ok(Action::Help(help)) = parse_args(&["--help"]) else {
            panic!("help")
        };
        for (name, _) in MAIN {
            assert!(find(name).is_some());
            assert!(help.contains(&format!("--{name} ")), "{name}\n{help}");
        }
        for needed in [
            "docs/config.md",
            "Examples",
            "[default: 6379]",
            "--help",
            "CONFIG_FILE",
        ] {
            assert!(help.contains(needed), "{needed}\n{help}");
        }
        assert!(!help.contains("[stdin]"));
        let version = format!("shardine {}", env!("CARGO_PKG_VERSION"));
        assert_eq!(parse_args(&["-v"]), Ok(Action::Version(version)));
    }
}
