//! The command line.

mod admin;
mod ahead;
pub mod args;
mod caches;
mod check;
mod fmt;
mod follow;
mod listeners;
mod loops;
mod pid_file;
mod plan;
mod reload;
mod running;
mod serve;
mod services;
mod signals;
mod snapshots;
mod sources;
mod transfers;
mod weights;
mod workers;

use std::process::ExitCode;

use self::args::{Args, ArgsError, Command};

/// The exit code of an end in good order, and of one that SIGQUIT asked for.
const EXIT_OK: u8 = 0;
/// The exit code of a configuration that cannot be served: flags or Corefile.
const EXIT_CONFIGURATION: u8 = 1;
/// The exit code of what went wrong while serving: a socket that cannot be opened, say.
const EXIT_RUNTIME: u8 = 2;
/// The exit code of an end that a second SIGINT forced.
const EXIT_FORCED: u8 = 2;
/// The exit code of an end that cut connections off, because they did not end in time.
const EXIT_UNFINISHED: u8 = 3;

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    match args::parse_from(std::env::args_os()) {
        Ok(Command::Serve(args)) => run(&args),
        Ok(Command::Check(args)) => check::check(&args),
        Ok(Command::Fmt(args)) => fmt::fmt(&args),
        Err(error @ ArgsError::Help(_)) => {
            print!("{error}");
            ExitCode::from(error.exit_code())
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(args: &Args) -> ExitCode {
    if args.version {
        print!("{}", version());
        return ExitCode::SUCCESS;
    }
    if args.plugins {
        print!("{}", plugins());
        return ExitCode::SUCCESS;
    }
    serve::serve(args)
}

/// What `-version` prints, in CoreDNS's form: name and version; system, compiler and commit.
fn version() -> String {
    let (system, machine) = (std::env::consts::OS, go_machine());
    let (version, rustc, commit) = (env!("CARGO_PKG_VERSION"), env!("PODZONE_RUSTC"), env!("PODZONE_COMMIT"));
    format!("podzone-{version}\n{system}/{machine}, {rustc}, {commit}\n")
}

/// The machine as CoreDNS, and so Go, calls it.
fn go_machine() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// What `-plugins` prints: the directives, a line each, as CoreDNS lists its plugins (coredns/caddy, plugins.go, func
/// DescribePlugins).
fn plugins() -> String {
    let mut names = crate::config::DIRECTIVES;
    names.sort_unstable();
    names.iter().map(|name| format!("{name}\n")).collect()
}
