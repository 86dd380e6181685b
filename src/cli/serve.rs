//! Serving: follow the clusters, wait for their first listing, open the sockets, answer.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::admin::{self, Admin};
use super::args::Args;
use super::listeners::{self, Listener};
use super::pid_file::PidFile;
use super::signals::{Order, Signals};
use super::views::{Plan, SourcePlan, ViewPlan, plan};
use super::{EXIT_CONFIGURATION, EXIT_OK, EXIT_RUNTIME, EXIT_UNFINISHED, version};
use crate::admin::FollowedSource;
use crate::config::{self, Config};
use crate::model::{Event, Kind};
use crate::net::Serving;
use crate::panics::{self, contain};
use crate::source::{self, Health, StartError};
use crate::zone::Publisher;

/// Events that may wait between a source and the zone. A source that is faster waits; a full slice is some kilobytes.
const EVENTS_QUEUED: usize = 1024;
/// Events after which the zone publishes at the latest, though more have come.
const EVENTS_PER_STEP: usize = 1024;
/// How long what was listed waits to be made names of, while not everything was listed; without Services and Namespaces
/// there are none to make.
const LISTING_PAUSE: Duration = Duration::from_millis(100);
/// How long it waits to be published then.
const LISTING_SHOWN: Duration = Duration::from_secs(1);
/// How long objects gather before they are taken in, meanwhile. A list brings some dozens in a millisecond.
const LISTING_NAP: Duration = Duration::from_millis(5);
/// How often the wait for the first listing looks.
const SYNC_POLL: Duration = Duration::from_millis(5);
/// How often it says so, as CoreDNS does (plugin/kubernetes/kubernetes.go, func InitKubeCache).
const SYNC_LOG: Duration = Duration::from_millis(500);
/// How long sockets may take to answer what has arrived and to close, CoreDNS's time (core/dnsserver/server.go).
const STOP_LIMIT: Duration = Duration::from_secs(5);

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
    _sources: Vec<FollowedThread>,
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
        let (handle, state) = follow(source, &followed).await?;
        sources.push(handle);
        followed.push(state);
    }
    let listeners: Vec<Listener> = listeners::plan(config);
    let counters = listeners::counters(&listeners, config);
    let admin = admin::start(config, &plan.views, &followed, counters.clone()).await.map_err(Failure::Runtime)?;
    let views: Vec<&ViewPlan> = plan.views.iter().flatten().collect();
    wait_for_sync(&views).await;
    let serving = listeners::open(&listeners, config, &plan.views, counters.as_deref(), args.workers)
        .map_err(Failure::Runtime)?;
    let pid_file = args.pidfile.as_deref().and_then(PidFile::write);
    if !args.quiet {
        print!("{}{}", listeners::startup_lines(&listeners), version());
    }
    Ok(Running { serving, admin, _sources: sources, _pid_file: pid_file })
}

/// Starts following a cluster: its source on a thread of its own, its zone's writer on another.
async fn follow(
    plan: SourcePlan,
    others: &[Arc<FollowedSource>],
) -> Result<(FollowedThread, Arc<FollowedSource>), Failure> {
    let SourcePlan { source, kinds, selector, publisher } = plan;
    let (sender, receiver) = mpsc::channel(EVENTS_QUEUED);
    let config = source.clone();
    let (thread, health) =
        FollowedThread::start(async move { source::start(&config, &kinds, selector.as_deref(), sender).await }).await?;
    let state = Arc::new(FollowedSource::new(&source, health, others));
    let held = Arc::clone(&state);
    let runtime = Handle::current();
    std::thread::Builder::new()
        .name("zone".into())
        .spawn(move || publish(publisher, receiver, &held, &runtime))
        .context("cannot start the zone's thread")
        .map_err(Failure::Runtime)?;
    Ok((thread, state))
}

/// The thread that a source is followed on, until this is dropped. All that a list brings passes through several tasks,
/// which would wake each other across the runtime's threads; and what is asked over TCP does not delay it.
struct FollowedThread {
    _end: oneshot::Sender<()>,
}

impl FollowedThread {
    /// Runs what starts a source, and what that starts.
    async fn start(
        start: impl Future<Output = Result<source::Handle, StartError>> + Send + 'static,
    ) -> Result<(Self, Arc<Health>), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start a source's runtime")
            .map_err(Failure::Runtime)?;
        let (started, starting) = oneshot::channel();
        let (end, ended) = oneshot::channel::<()>();
        let run = async move {
            match start.await {
                Ok(handle) => {
                    let _ = started.send(Ok(handle.health()));
                    // An error says that the sender is gone, which is the signal.
                    let _ = ended.await;
                }
                Err(error) => drop(started.send(Err(error))),
            }
        };
        std::thread::Builder::new()
            .name("source".into())
            .spawn(move || {
                runtime.block_on(run);
                runtime.shutdown_background();
            })
            .context("cannot start a source's thread")
            .map_err(Failure::Runtime)?;
        match starting.await {
            Ok(Ok(health)) => Ok((Self { _end: end }, health)),
            Ok(Err(error)) => Err(Failure::Configuration(error.into())),
            Err(_) => Err(Failure::Runtime(anyhow::anyhow!("a source's thread ended as it began"))),
        }
    }
}

/// Takes events in and publishes: at once when few come, in steps when many do, and while everything is listed for the
/// first time, when a Service is seldom whole, now and then.
fn publish(mut publisher: Publisher, mut events: mpsc::Receiver<Event>, held: &FollowedSource, runtime: &Handle) {
    let mut step = Vec::with_capacity(EVENTS_PER_STEP);
    let (mut prepared, mut published) = (Instant::now(), Instant::now());
    loop {
        let taken = if publisher.is_synced() {
            Ok(events.blocking_recv_many(&mut step, EVENTS_PER_STEP))
        } else {
            // To be woken for each object of a list costs more than to take it in.
            std::thread::sleep(LISTING_NAP);
            runtime.block_on(async { timeout(LISTING_PAUSE, events.recv_many(&mut step, EVENTS_PER_STEP)).await })
        };
        if taken == Ok(0) {
            return;
        }
        for event in step.drain(..) {
            contain(|| publisher.handle(event));
        }
        if publisher.is_synced() || published.elapsed() >= LISTING_SHOWN {
            contain(|| publisher.publish());
            held.held(publisher.cluster());
            (prepared, published) = (Instant::now(), Instant::now());
        } else if prepared.elapsed() >= LISTING_PAUSE
            && publisher.cluster().is_synced(&[Kind::Namespace, Kind::Service])
        {
            contain(|| publisher.prepare());
            prepared = Instant::now();
        }
    }
}

/// Waits until every view has seen everything once, or has waited its `startup_timeout`.
async fn wait_for_sync(views: &[&ViewPlan]) {
    let begun = Instant::now();
    let mut said = begun;
    loop {
        let mut waiting = views.iter().filter(|plan| !plan.view.current().is_synced()).peekable();
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
