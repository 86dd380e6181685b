//! Serving: follow the clusters, wait for their first listing, open the sockets, answer.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::time::{Instant, sleep};

use super::admin::{self, Admin};
use super::args::Args;
use super::follow::{Following, follow};
use super::listeners::{self, Listener};
use super::pid_file::PidFile;
use super::signals::{Order, Signals};
use super::transfers;
use super::views::{Plan, ViewPlan, plan};
use super::{EXIT_CONFIGURATION, EXIT_OK, EXIT_RUNTIME, EXIT_UNFINISHED, version};
use crate::config::{self, Config};
use crate::net::Serving;
use crate::{panics, telemetry};

/// How often the wait for the first listing looks.
const SYNC_POLL: Duration = Duration::from_millis(5);
/// How often it says so, as CoreDNS does (plugin/kubernetes/kubernetes.go, func InitKubeCache).
const SYNC_LOG: Duration = Duration::from_millis(500);
/// How long sockets may take to answer what has arrived and to close, CoreDNS's time (core/dnsserver/server.go).
const STOP_LIMIT: Duration = Duration::from_secs(5);

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
    let loaded = config::load(&args.corefile(), args.port).map_err(|error| Failure::Configuration(error.into()))?;
    telemetry::set_debug_lines(loaded.config.blocks.iter().any(|block| block.debug));
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    if loaded.config.blocks.is_empty() {
        tracing::warn!("{} has no server block: nothing is served", args.corefile().display());
    }
    let plan = plan(&loaded.config).map_err(|error| Failure::Configuration(error.into()))?;
    raise_descriptors();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(runtime_threads())
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .map_err(Failure::Runtime)?;
    let result = runtime.block_on(run(args, &loaded.config, plan));
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
async fn run(args: &Args, config: &Config, plan: Plan) -> Result<u8, Failure> {
    let mut signals = Signals::take().context("cannot wait for signals").map_err(Failure::Runtime)?;
    let running = tokio::select! {
        running = start(args, config, plan) => running?,
        // Nothing is served yet.
        order = signals.next() => return Ok(if let Order::Quit(code) = order { code } else { EXIT_OK }),
    };
    if let Order::Quit(code) = signals.next().await {
        return Ok(code);
    }
    tokio::select! {
        code = running.end() => Ok(code),
        code = signals.quit() => Ok(code),
    }
}

/// A server at work.
struct Running {
    serving: Serving,
    admin: Admin,
    _sources: Vec<Following>,
    _pid_file: Option<PidFile>,
}

impl Running {
    /// Ends in good order: tells that it will, waits for those who heard it, then answers what has arrived.
    async fn end(self) -> u8 {
        self.admin.readiness.end();
        let lameduck = self.admin.lameduck;
        if !lameduck.is_zero() {
            tracing::info!(target: "plugin/health", "Going into lameduck mode for {lameduck:?}");
            sleep(lameduck).await;
        }
        if self.serving.stop(STOP_LIMIT).await {
            return EXIT_OK;
        }
        tracing::error!("what was still being answered after {STOP_LIMIT:?} is cut off");
        EXIT_UNFINISHED
    }
}

async fn start(args: &Args, config: &Config, plan: Plan) -> Result<Running, Failure> {
    let (mut sources, mut followed) = (Vec::new(), Vec::new());
    for source in plan.sources {
        let (following, state) = follow(source, &followed).await?;
        sources.push(following);
        followed.push(state);
    }
    let listeners: Vec<Listener> = listeners::plan(config);
    let counters = listeners::counters(&listeners, config);
    let forwarders = listeners::forwarders(config);
    let forwards = forwarders.counts();
    let admin =
        admin::start(config, &plan.views, &followed, counters.clone(), forwards).await.map_err(Failure::Runtime)?;
    let views: Vec<&ViewPlan> = plan.views.iter().flatten().collect();
    wait_for_sync(&views).await;
    // Whoever gets an answer finds it; it goes again if the sockets cannot be opened.
    let pid_file = args.pidfile.as_deref().and_then(PidFile::write);
    let serving = listeners::open(&listeners, config, &plan.views, counters.as_deref(), forwarders, args.workers)
        .map_err(Failure::Runtime)?;
    transfers::notify_all(config, &plan.views);
    if !args.quiet {
        telemetry::print(&format!("{}{}", listeners::startup_lines(&listeners), version()));
    }
    Ok(Running { serving, admin, _sources: sources, _pid_file: pid_file })
}

/// Waits until every view has seen everything once that there is to see, or has waited its `startup_timeout`.
async fn wait_for_sync(views: &[&ViewPlan]) {
    let begun = Instant::now();
    let mut said = begun;
    loop {
        let mut waiting = views.iter().filter(|plan| plan.views().any(|view| view.current().is_awaited())).peekable();
        if waiting.peek().is_none() {
            return;
        }
        if waiting.all(|plan| begun.elapsed() >= plan.startup_timeout) {
            tracing::warn!(target: "plugin/kubernetes", "starting server with unsynced Kubernetes API");
            return;
        }
        if said.elapsed() >= SYNC_LOG {
            tracing::info!(target: "plugin/kubernetes", "waiting for Kubernetes API before starting server");
            said = Instant::now();
        }
        sleep(SYNC_POLL).await;
    }
}
