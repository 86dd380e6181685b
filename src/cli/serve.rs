//! Serving: from the process's start to its end.

use std::process::ExitCode;

use anyhow::Context as _;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::args::Args;
use super::reload::Reloader;
use super::running;
use super::signals::{Order, Signals};
use super::{EXIT_CONFIGURATION, EXIT_OK, EXIT_RUNTIME};
use crate::config::{self, Fingerprint, Loaded};
use crate::{panics, telemetry};

/// Why serving could not go on.
pub(super) enum Failure {
    /// The configuration is to be mended.
    Configuration(anyhow::Error),
    /// The machine, or what runs on it, is.
    Runtime(anyhow::Error),
}

/// Runs the server until a signal ends it.
pub(super) fn serve(args: &Args) -> ExitCode {
    // What waits to be written is, when this function ends.
    let _log = telemetry::init(args.log_format);
    panics::watch();
    match try_serve(args) {
        Ok(code) => ExitCode::from(code),
        Err(Failure::Configuration(error)) => {
            eprintln!("{error:#}");
            ExitCode::from(EXIT_CONFIGURATION)
        }
        Err(Failure::Runtime(error)) => {
            eprintln!("{error:#}");
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

fn try_serve(args: &Args) -> Result<u8, Failure> {
    let (loaded, fingerprint) = config::load_recorded(&args.corefile(), args.port);
    let loaded = loaded.map_err(|error| Failure::Configuration(error.into()))?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    if loaded.config.blocks.is_empty() {
        tracing::warn!("{} has no server block: nothing is served", args.corefile().display());
    }
    raise_descriptors();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(runtime_threads())
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .map_err(Failure::Runtime)?;
    let result = runtime.block_on(run(args, loaded, fingerprint));
    // Connections and watches end with the process; nothing waits for them.
    runtime.shutdown_background();
    result
}

/// One thread for each CPU that the process may use, a container's quota counted. TCP, admin and the watches share them:
/// all of those yield after some hundred microseconds of work, so that one thread is enough for one CPU, where a second
/// would only be switched to and from; and TCP may have all CPUs, as the UDP workers may.
fn runtime_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Lets the process have as many file descriptors as the system allows it, as Go does for CoreDNS: the soft limit is
/// often 1,024, for the sake of programs that use `select`, and each TCP connection takes one.
fn raise_descriptors() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!("only {soft} file descriptors, not {hard}: {error}");
    }
}

/// Serves until a signal ends it; the exit code.
async fn run(args: &Args, loaded: Loaded, fingerprint: Fingerprint) -> Result<u8, Failure> {
    let mut signals = Signals::take().context("cannot wait for signals").map_err(Failure::Runtime)?;
    let mut running = match unless(&mut signals, running::start(args, &loaded)).await {
        Ok(running) => running?,
        // Nothing is served yet.
        Err(order) => return Ok(if let Order::Quit(code) = order { code } else { EXIT_OK }),
    };
    let mut reloader = Reloader::new(args, &loaded, fingerprint, &running);
    let order = loop {
        let reload = tokio::select! {
            order = signals.next() => match order {
                Order::Reload => true,
                order => break order,
            },
            () = reloader.due() => false,
        };
        let reloading =
            async { if reload { reloader.reload(&mut running).await } else { reloader.look(&mut running).await } };
        if let Err(order) = unless(&mut signals, reloading).await {
            break order;
        }
    };
    if let Order::Quit(code) = order {
        return Ok(code);
    }
    tokio::select! {
        code = running.end() => Ok(code),
        code = signals.quit() => Ok(code),
    }
}

/// Does something, unless an order comes to end. Orders to reload are obeyed by what is done, or wait until it is.
async fn unless<T>(signals: &mut Signals, work: impl Future<Output = T>) -> Result<T, Order> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        order = signals.next_to_end() => Err(order),
    }
}
