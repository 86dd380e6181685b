//! The command line, in CoreDNS's spelling: `-conf`, `-dns.port`, one dash or two, `-x=v` or `-x v`.
//!
//! clap knows no long flags with one dash, so the words are first brought into the form that it reads, by the rules
//! of Go's package `flag`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Parser, ValueEnum};

use crate::config::SOCKETS_MAX;
use crate::corefile::did_you_mean;
use crate::telemetry::LogFormat;

/// What was asked for on the command line.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(
    name = "podzone",
    about = "A DNS server for Kubernetes that gives every pod its own name",
    override_usage = "podzone [-conf FILE] [-dns.port PORT] [-pidfile FILE] [-workers NUMBER]\n       \
                      [-log-format text|json] [-quiet]\n       \
                      podzone check [-conf FILE] [-dns.port PORT] [-format text|json]\n       \
                      podzone fmt [-conf FILE] [-write | -check]",
    after_help = "Flags take one dash or two, and their value as '-conf FILE' or '-conf=FILE'.\n\n\
                  Commands, each with a -help of its own:\n  \
                    check  tell all that is wrong with a Corefile, and serve nothing\n  \
                    fmt    write a Corefile evenly\n\n\
                  Exit codes:\n  \
                    0  all went well\n  \
                    1  the configuration is wrong: a flag or the Corefile\n  \
                    2  it failed while running: a socket could not be opened, or the like; or a second\n     \
                       SIGINT ended it at once\n  \
                    3  asked to end, it had to cut connections off\n\n\
                  Example:\n  \
                    podzone -conf Corefile.example -dns.port 1053\n  \
                    dig @127.0.0.1 -p 1053 kubernetes.default.svc.cluster.local",
    disable_help_flag = true,
    disable_version_flag = true,
    args_override_self = true
)]
pub struct Args {
    /// Corefile to serve; 'stdin' reads a pipe [default: Corefile in the current folder]
    #[arg(long, value_name = "FILE")]
    pub conf: Option<PathBuf>,

    /// Port of zones that name none; 0 to 65535
    #[arg(short = 'p', long = "dns.port", value_name = "PORT", default_value_t = 53)]
    pub port: u16,

    /// Write the process's number to this file
    #[arg(long, value_name = "FILE")]
    pub pidfile: Option<PathBuf>,

    /// UDP sockets, each with a thread, of every address and port whose server block has no 'multisocket'; 1 to 1024
    /// [default: one for each CPU that the process may use]
    #[arg(long, value_name = "NUMBER")]
    pub workers: Option<u16>,

    /// Form of log lines: 'text' is CoreDNS's, 'json' an object a line
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text, hide_possible_values = true)]
    pub log_format: LogFormat,

    /// Print nothing while starting
    #[arg(long, action = ArgAction::SetTrue)]
    pub quiet: bool,

    /// List the directives that a Corefile may have, and exit
    #[arg(long, action = ArgAction::SetTrue)]
    pub plugins: bool,

    /// Show the version, and exit
    #[arg(long, action = ArgAction::SetTrue)]
    pub version: bool,

    /// Show this help, and exit
    #[arg(short = 'h', long = "help", action = ArgAction::Help)]
    help: Option<bool>,
}

/// What was asked for behind `podzone check`.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(
    name = "podzone check",
    about = "Tells all that is wrong with a Corefile, and what is odd, without serving it",
    override_usage = "podzone check [-conf FILE] [-dns.port PORT] [-format text|json]",
    after_help = "Exit codes:\n  \
                    0  podzone would serve it; there may be warnings\n  \
                    1  it would not, or a flag is wrong",
    disable_help_flag = true,
    args_override_self = true
)]
pub struct CheckArgs {
    /// Corefile to check; 'stdin' reads a pipe [default: Corefile in the current folder]
    #[arg(long, value_name = "FILE")]
    pub conf: Option<PathBuf>,

    /// Port of zones that name none; 0 to 65535
    #[arg(short = 'p', long = "dns.port", value_name = "PORT", default_value_t = 53)]
    pub port: u16,

    /// Form of what is told: 'text' for people, 'json' for programs
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text, hide_possible_values = true)]
    pub format: Format,

    /// Show this help, and exit
    #[arg(short = 'h', long = "help", action = ArgAction::Help)]
    help: Option<bool>,
}

/// The form of what `podzone check` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines of the Corefile with carets and hints.
    Text,
    /// One JSON object.
    Json,
}

/// What was asked for behind `podzone fmt`.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(
    name = "podzone fmt",
    about = "Writes a Corefile evenly: lines set in by four spaces, one space between words; comments stay",
    override_usage = "podzone fmt [-conf FILE] [-write | -check]",
    after_help = "Without -write and -check the formatted Corefile is printed. Files that it imports are not touched.\n\n\
                  Exit codes:\n  \
                    0  all went well\n  \
                    1  with -check, the Corefile is not formatted; or it cannot be read or written, or a flag is wrong",
    disable_help_flag = true,
    args_override_self = true
)]
pub struct FmtArgs {
    /// Corefile to format; 'stdin' reads a pipe [default: Corefile in the current folder]
    #[arg(long, value_name = "FILE")]
    pub conf: Option<PathBuf>,

    /// Write the file instead of printing it
    #[arg(short = 'w', long, action = ArgAction::SetTrue, conflicts_with = "check")]
    pub write: bool,

    /// Print nothing, and exit with 1 if the file is not formatted
    #[arg(long, action = ArgAction::SetTrue)]
    pub check: bool,

    /// Show this help, and exit
    #[arg(short = 'h', long = "help", action = ArgAction::Help)]
    help: Option<bool>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve, or tell of the program itself.
    Serve(Args),
    /// `podzone check`
    Check(CheckArgs),
    /// `podzone fmt`
    Fmt(FmtArgs),
}

impl Args {
    /// The Corefile: the one named, or `Corefile` in the current folder.
    pub fn corefile(&self) -> PathBuf {
        corefile(self.conf.as_ref())
    }
}

impl CheckArgs {
    /// The Corefile: the one named, or `Corefile` in the current folder.
    pub fn corefile(&self) -> PathBuf {
        corefile(self.conf.as_ref())
    }
}

impl FmtArgs {
    /// The Corefile: the one named, or `Corefile` in the current folder.
    pub fn corefile(&self) -> PathBuf {
        corefile(self.conf.as_ref())
    }
}

fn corefile(named: Option<&PathBuf>) -> PathBuf {
    named.cloned().unwrap_or_else(|| PathBuf::from("Corefile"))
}

/// Why the command line asks for nothing that can be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgsError {
    /// Help was asked for, and this is it: for standard output, exit code 0.
    #[error("{0}")]
    Help(String),
    /// A flag or an argument is wrong: for standard error, exit code 1.
    #[error("{0}")]
    Wrong(String),
}

impl ArgsError {
    /// The exit code of the process.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Help(_) => 0,
            Self::Wrong(_) => 1,
        }
    }
}

/// Reads a command line, the program's name first, as `std::env::args_os` gives it.
///
/// # Errors
/// [`ArgsError::Help`] if help was asked for, [`ArgsError::Wrong`] if it cannot be read.
pub fn parse_from<I, T>(args: I) -> Result<Command, ArgsError>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString>,
{
    // clap is told the program's name by each command itself.
    let mut args = args.into_iter().map(Into::into).skip(1).peekable();
    let command = args.next_if(|word| COMMANDS.iter().any(|command| word == command));
    match command.as_ref().and_then(|word| word.to_str()) {
        Some("check") => read(args, &CHECK_FLAGS).map(Command::Check),
        Some(_) => read(args, &FMT_FLAGS).map(Command::Fmt),
        None => read(args, &SERVE_FLAGS).map(Command::Serve),
    }
}

fn read<A: Parser>(args: impl Iterator<Item = OsString>, flags: &Flags) -> Result<A, ArgsError> {
    let words = rewrite(args, flags)?;
    A::try_parse_from(std::iter::once(OsString::from("podzone")).chain(words)).map_err(|error| {
        let text = error.render().to_string();
        if error.kind() == clap::error::ErrorKind::DisplayHelp {
            ArgsError::Help(text)
        } else {
            ArgsError::Wrong(text.trim_start_matches("error: ").trim_end().to_owned())
        }
    })
}

/// The first words that are no flags, and no mistakes.
const COMMANDS: [&str; 2] = ["check", "fmt"];

/// The flags of a command.
struct Flags {
    /// How its help is asked for.
    help: &'static str,
    /// Those with a value.
    valued: &'static [&'static str],
    /// Those without.
    plain: &'static [&'static str],
}

const SERVE_FLAGS: Flags = Flags {
    help: "podzone -help",
    valued: &["conf", "dns.port", "p", "pidfile", "workers", "log-format"],
    plain: &["quiet", "plugins", "version", "help", "h"],
};
const CHECK_FLAGS: Flags =
    Flags { help: "podzone check -help", valued: &["conf", "dns.port", "p", "format"], plain: &["help", "h"] };
const FMT_FLAGS: Flags =
    Flags { help: "podzone fmt -help", valued: &["conf"], plain: &["write", "w", "check", "help", "h"] };

/// Brings the words into clap's form: `--conf=FILE`, `--quiet`.
fn rewrite(mut args: impl Iterator<Item = OsString>, flags: &Flags) -> Result<Vec<OsString>, ArgsError> {
    let mut words: Vec<OsString> = Vec::new();
    while let Some(arg) = args.next() {
        // Only a value may be something else than UTF-8, and no flag is.
        let text = arg.to_string_lossy().into_owned();
        let flag = text.strip_prefix("--").or_else(|| text.strip_prefix('-')).unwrap_or_default();
        if flag.is_empty() {
            // The first word that is no flag ends the flags; so does "--". Nothing may follow.
            let first = if text == "--" { args.next() } else { Some(arg) };
            return match first {
                Some(first) => Err(extra_arguments(first, args, flags)),
                None => Ok(words),
            };
        }
        let (name, value) = match flag.split_once('=') {
            Some((name, _)) => (name, Some(after_equals(&arg))),
            None => (flag, None),
        };
        if flags.valued.contains(&name) {
            let Some(value) = value.or_else(|| args.next()) else {
                return Err(ArgsError::Wrong(format!("flag needs an argument: -{name}")));
            };
            check_value(name, &value)?;
            let mut word = OsString::from(format!("--{}=", long(name)));
            word.push(value);
            words.push(word);
        } else if flags.plain.contains(&name) {
            let long = long(name);
            words.retain(|word| word.to_str() != Some(&format!("--{long}")));
            if value.map_or(Ok(true), |value| check_bool(name, &value))? {
                words.push(format!("--{long}").into());
            }
        } else {
            return Err(undefined(name, flags));
        }
    }
    Ok(words)
}

/// The long form of a flag.
fn long(name: &str) -> &str {
    match name {
        "p" => "dns.port",
        "h" => "help",
        "w" => "write",
        other => other,
    }
}

/// What is behind the first `=`; kept as the system gave it, for a path need not be UTF-8.
fn after_equals(arg: &OsString) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let bytes = arg.as_bytes();
    let start = bytes.iter().position(|byte| *byte == b'=').map_or(bytes.len(), |at| at + 1);
    OsString::from_vec(bytes[start..].to_vec())
}

fn extra_arguments(first: OsString, rest: impl Iterator<Item = OsString>, flags: &Flags) -> ArgsError {
    let hint = if COMMANDS.iter().any(|command| first == *command) {
        format!("the command comes first: podzone {} -conf FILE", first.to_string_lossy())
    } else {
        format!("a Corefile is named with -conf FILE; {} tells more", flags.help)
    };
    let all: Vec<_> = std::iter::once(first).chain(rest).map(|arg| arg.to_string_lossy().into_owned()).collect();
    ArgsError::Wrong(format!("extra command line arguments: [{}]\n  = help: {hint}", all.join(" ")))
}

fn undefined(name: &str, flags: &Flags) -> ArgsError {
    let known = flags.valued.iter().chain(flags.plain).copied().filter(|known| known.len() > 1);
    let hint = did_you_mean(name, known)
        .map_or_else(|| format!("{} lists the flags", flags.help), |known| format!("did you mean -{known}?"));
    ArgsError::Wrong(format!("flag provided but not defined: -{name}\n  = help: {hint}"))
}

fn check_value(name: &str, value: &OsString) -> Result<(), ArgsError> {
    match name {
        "p" | "dns.port" => check_port(name, value),
        "workers" => check_workers(value),
        "format" | "log-format" => check_format(name, value),
        _ => Ok(()),
    }
}

fn check_format(name: &str, value: &OsString) -> Result<(), ArgsError> {
    match value.to_str() {
        Some("text" | "json") => Ok(()),
        _ => Err(ArgsError::Wrong(format!(
            "invalid value {:?} for flag -{name}\n  = help: -{name} takes text or json",
            value.to_string_lossy()
        ))),
    }
}

fn check_port(name: &str, value: &OsString) -> Result<(), ArgsError> {
    match value.to_str().map(str::parse::<u16>) {
        Some(Ok(_)) => Ok(()),
        _ => Err(ArgsError::Wrong(format!(
            "address {}: invalid port\n  = help: -{name} takes a number, 0 to 65535",
            value.to_string_lossy()
        ))),
    }
}

fn check_workers(value: &OsString) -> Result<(), ArgsError> {
    match value.to_str().map(str::parse::<u16>) {
        Some(Ok(1..=SOCKETS_MAX)) => Ok(()),
        _ => Err(ArgsError::Wrong(format!(
            "invalid value {:?} for flag -workers\n  = help: -workers takes a number, 1 to {SOCKETS_MAX}",
            value.to_string_lossy()
        ))),
    }
}

/// The spellings that Go's `strconv.ParseBool` takes.
fn check_bool(name: &str, value: &OsString) -> Result<bool, ArgsError> {
    match value.to_str() {
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        _ => Err(ArgsError::Wrong(format!(
            "invalid boolean value {:?} for -{name}: parse error\n  = help: write -{name} alone, or -{name}=false",
            value.to_string_lossy()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Result<Command, ArgsError> {
        parse_from(std::iter::once("podzone").chain(words.iter().copied()))
    }

    fn parse(words: &[&str]) -> Result<Args, ArgsError> {
        command(words).map(|command| match command {
            Command::Serve(args) => args,
            other => panic!("{words:?}: {other:?}"),
        })
    }

    fn wrong(words: &[&str]) -> String {
        match command(words) {
            Err(ArgsError::Wrong(text)) => text.lines().next().unwrap_or_default().to_owned(),
            other => panic!("{words:?}: {other:?}"),
        }
    }

    #[test]
    fn defaults() {
        let args = parse(&[]).expect("fine");
        assert_eq!((args.corefile(), args.port, args.quiet), (PathBuf::from("Corefile"), 53, false));
        assert_eq!((args.pidfile, args.workers, args.version, args.plugins), (None, None, false, false));
    }

    #[test]
    fn every_spelling_of_a_value() {
        for words in [&["-conf", "a=b"][..], &["--conf", "a=b"], &["-conf=a=b"], &["--conf=a=b"]] {
            assert_eq!(parse(words).expect("fine").corefile(), PathBuf::from("a=b"), "{words:?}");
        }
        for words in [&["-dns.port", "1053"][..], &["--dns.port=1053"], &["-p", "1053"], &["-p=1053"], &["--p=1053"]] {
            assert_eq!(parse(words).expect("fine").port, 1053, "{words:?}");
        }
    }

    #[test]
    fn workers_are_1_to_1024() {
        for (text, number) in [("1", 1), ("1024", 1024)] {
            assert_eq!(parse(&["-workers", text]).expect("fine").workers, Some(number));
        }
        for text in ["0", "1025", "-1", "70000", "many", ""] {
            assert_eq!(wrong(&["-workers", text]), format!("invalid value {text:?} for flag -workers"));
        }
    }

    #[test]
    fn a_value_may_look_like_a_flag() {
        assert_eq!(parse(&["-conf", "-quiet"]).expect("fine").corefile(), PathBuf::from("-quiet"));
    }

    #[test]
    fn the_last_of_a_flag_holds() {
        assert_eq!(parse(&["-p", "1", "-dns.port=2"]).expect("fine").port, 2);
        assert!(!parse(&["-quiet", "-quiet=false"]).expect("fine").quiet);
        assert!(parse(&["-quiet", "-quiet"]).expect("fine").quiet);
    }

    #[test]
    fn booleans() {
        let args = parse(&["-quiet=true", "--version", "-plugins=1"]).expect("fine");
        assert_eq!((args.quiet, args.version, args.plugins), (true, true, true));
        assert!(!parse(&["-quiet=F"]).expect("fine").quiet);
    }

    #[test]
    fn refused_in_the_words_of_coredns() {
        assert_eq!(wrong(&["extra"]), "extra command line arguments: [extra]");
        assert_eq!(wrong(&["a", "b", "-quiet"]), "extra command line arguments: [a b -quiet]");
        assert_eq!(wrong(&["-quiet", "false"]), "extra command line arguments: [false]");
        assert_eq!(wrong(&["--", "-quiet"]), "extra command line arguments: [-quiet]");
        assert_eq!(wrong(&["-"]), "extra command line arguments: [-]");
        assert_eq!(wrong(&["-foo"]), "flag provided but not defined: -foo");
        assert_eq!(wrong(&["---conf=x"]), "flag provided but not defined: --conf");
        assert_eq!(wrong(&["-conf"]), "flag needs an argument: -conf");
        assert_eq!(wrong(&["-quiet=maybe"]), r#"invalid boolean value "maybe" for -quiet: parse error"#);
        assert_eq!(wrong(&["-p", "70000"]), "address 70000: invalid port");
        assert_eq!(wrong(&["-p", ""]), "address : invalid port");
        assert!(parse(&["--"]).is_ok());
    }

    #[test]
    fn help_in_every_spelling() {
        for flag in ["-h", "-help", "--help", "--h"] {
            let error = parse(&[flag]).expect_err("help");
            assert_eq!(error.exit_code(), 0);
            for part in ["-conf", "-dns.port", "Exit codes:", "Usage: podzone"] {
                assert!(error.to_string().contains(part), "{flag}: {part} in\n{error}");
            }
        }
    }
    #[test]
    fn a_command_comes_first_and_has_flags_of_its_own() {
        let Ok(Command::Check(check)) = command(&["check", "--conf", "a", "-p=1053", "-format", "json"]) else {
            panic!("check")
        };
        assert_eq!((check.corefile(), check.port, check.format), (PathBuf::from("a"), 1053, Format::Json));
        for (flag, write, check) in [("-w", true, false), ("--write", true, false), ("-check", false, true)] {
            let Ok(Command::Fmt(fmt)) = command(&["fmt", flag]) else { panic!("fmt {flag}") };
            assert_eq!((fmt.corefile(), fmt.write, fmt.check), (PathBuf::from("Corefile"), write, check));
        }
        assert_eq!(wrong(&["fmt", "-quiet"]), "flag provided but not defined: -quiet");
        assert_eq!(wrong(&["check", "Corefile"]), "extra command line arguments: [Corefile]");
        assert_eq!(wrong(&["check", "-format=xml"]), "invalid value \"xml\" for flag -format");
        assert_eq!(wrong(&["-quiet", "check"]), "extra command line arguments: [check]");
        assert!(wrong(&["fmt", "-w", "-check"]).contains("cannot be used with"));
        for name in COMMANDS {
            let Err(ArgsError::Help(text)) = command(&[name, "-h"]) else { panic!("{name} -h") };
            assert!(text.contains(&format!("Usage: podzone {name}")), "{text}");
        }
    }
}
