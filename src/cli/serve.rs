//! Serving: follow the clusters, wait for their first listing, open the sockets, answer.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::args::Args;
use super::listeners::{self, Listener};
use super::pid_file::PidFile;
use super::views::{Plan, SourcePlan, ViewPlan, plan};
use super::{EXIT_CONFIGURATION, EXIT_RUNTIME, version};
use crate::config::{self, Config};
use crate::model::Event;
use crate::net::{TcpLimits, serve_tcp};
use crate::source;
use crate::zone::Publisher;

/// Events that may wait between a source and the zone. A source that is faster waits.
const EVENTS_QUEUED: usize = 4096;
/// Events after which the zone publishes at the latest, though more have come.
const EVENTS_PER_STEP: usize = 1024;
/// How often the wait for the first listing looks.
const SYNC_POLL: Duration = Duration::from_millis(20);
/// How often it says so, as CoreDNS does (plugin/kubernetes/kubernetes.go, func InitKubeCache).
const SYNC_LOG: Duration = Duration::from_millis(500);

/// Why serving could not go on.
enum Failure {
    /// The configuration is to be mended.
    Configuration(anyhow::Error),
    /// The machine, or what runs on it, is.
    Runtime(anyhow::Error),
}

/// Runs the server until a signal ends it.
pub(super) fn serve(args: &Args) -> ExitCode {
    crate::telemetry::init(tracing::Level::INFO);
    match try_serve(args) {
        Ok(()) => ExitCode::SUCCESS,
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

fn try_serve(args: &Args) -> Result<(), Failure> {
    let loaded = config::load(&args.corefile(), args.port).map_err(|error| Failure::Configuration(error.into()))?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    if loaded.config.blocks.is_empty() {
        tracing::warn!("{} has no server block: nothing is served", args.corefile().display());
    }
    let plan = plan(&loaded.config).map_err(|error| Failure::Configuration(error.into()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .map_err(Failure::Runtime)?;
    let result = runtime.block_on(run(args, &loaded.config, plan));
    // Connections and watches end with the process; nothing waits for them.
    runtime.shutdown_background();
    result
}

async fn run(args: &Args, config: &Config, plan: Plan) -> Result<(), Failure> {
    // Before anything that may take long: the first process of a container that has no handler does not end at all.
    let mut signals = Signals::listen().context("cannot wait for signals").map_err(Failure::Runtime)?;
    let _running = tokio::select! {
        started = start(args, config, plan) => started?,
        () = signals.end() => return Ok(()),
    };
    signals.end().await;
    Ok(())
}

/// What must live for as long as the server does.
type Running = (Vec<source::Handle>, Option<PidFile>);

async fn start(args: &Args, config: &Config, plan: Plan) -> Result<Running, Failure> {
    let mut handles = Vec::new();
    for source in plan.sources {
        handles.push(follow(source).await?);
    }
    let views: Vec<&ViewPlan> = plan.views.iter().flatten().collect();
    wait_for_sync(&views).await;
    let listeners: Vec<Listener> = listeners::plan(config);
    let opened = listeners::open(&listeners, config, &plan.views).map_err(Failure::Runtime)?;
    let pid_file = args.pidfile.as_deref().and_then(PidFile::write);
    if !args.quiet {
        print!("{}{}", listeners::startup_lines(&listeners), version());
    }
    for (listener, service) in opened {
        tokio::spawn(serve_tcp(listener, service, TcpLimits::default()));
    }
    Ok((handles, pid_file))
}

/// Starts following a cluster: its source on the runtime, its zone's writer on a thread of its own.
async fn follow(plan: SourcePlan) -> Result<source::Handle, Failure> {
    let SourcePlan { source, kinds, selector, publisher } = plan;
    let (sender, receiver) = mpsc::channel(EVENTS_QUEUED);
    let handle = source::start(&source, &kinds, selector.as_deref(), sender)
        .await
        .map_err(|error| Failure::Configuration(error.into()))?;
    std::thread::Builder::new()
        .name("zone".into())
        .spawn(move || publish(publisher, receiver))
        .context("cannot start the zone's thread")
        .map_err(Failure::Runtime)?;
    Ok(handle)
}

/// Takes events in and publishes: at once when few come, in steps when many do.
fn publish(mut publisher: Publisher, mut events: mpsc::Receiver<Event>) {
    let mut step = Vec::with_capacity(EVENTS_PER_STEP);
    while events.blocking_recv_many(&mut step, EVENTS_PER_STEP) > 0 {
        for event in step.drain(..) {
            publisher.handle(event);
        }
        publisher.publish();
    }
}

/// Waits until every view has seen everything once, or has waited its `startup_timeout`.
async fn wait_for_sync(views: &[&ViewPlan]) {
    let begun = Instant::now();
    let mut said = begun;
    loop {
        let mut waiting = views.iter().filter(|plan| !plan.view.is_synced()).peekable();
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

/// The signals that end the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one.
    async fn end(&mut self) {
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        };
        tracing::info!("{name}: Shutting down servers then terminating");
    }
}
