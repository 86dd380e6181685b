//! A server at work, and how another configuration takes the place of the one at work.
//!
//! A reload loses nothing: all that can fail is done beside what is served, sockets stay open where both configurations
//! have them, and what is answered on them changes in one step. What of the clusters is held goes on ([`super::sources`]).

use std::collections::{HashMap, HashSet};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::admin::{self, Admin, Subjects};
use super::args::Args;
use super::caches::Caches;
use super::listeners::{self, Listener};
use super::loops;
use super::pid_file::PidFile;
use super::plan::plan;
use super::serve::Failure;
use super::services::{Lasting, Services, forwarders};
use super::sources::{Arranged, BlockViews, Sources};
use super::transfers::Notifying;
use super::weights::WeightFiles;
use super::{EXIT_OK, EXIT_UNFINISHED, version};
use crate::admin::{FollowedSource, Readiness};
use crate::config::{Config, Fingerprint, Loaded};
use crate::forward::{Forwarders, LoopWatch};
use crate::net::{ListenError, Serving, SharedService, Sockets, TcpPlaces, WaitingRoom};
use crate::telemetry;
use crate::zone::View;

/// How often the wait for the first listing looks.
const SYNC_POLL: Duration = Duration::from_millis(5);
/// How often it says so, as CoreDNS does (plugin/kubernetes/kubernetes.go, func InitKubeCache).
const SYNC_LOG: Duration = Duration::from_millis(500);
/// How long it does so that often; from then on, it says so each time that this has passed.
const SYNC_LONG: Duration = Duration::from_secs(10);
/// How long a cluster that a reload brings may take to be listed, unless `startup_timeout` is longer. What is at work
/// goes on meanwhile.
const RELOAD_SYNC_MAX: Duration = Duration::from_secs(30);
/// How long sockets may take to answer what has arrived and to close, CoreDNS's time (core/dnsserver/server.go).
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A server at work.
pub(super) struct Running {
    lasting: Lasting,
    sources: Sources,
    serving: Serving,
    admin: Admin,
    notifying: Notifying,
    forwarders: Arc<Forwarders>,
    caches: Caches,
    weights: WeightFiles,
    loops: Vec<LoopWatch>,
    _pid_file: Option<PidFile>,
}

/// Sockets that are opened for a configuration before it is put to work.
struct Opened {
    /// Those of addresses that are not served yet.
    new: HashMap<SocketAddr, Sockets>,
    /// More UDP sockets of addresses that are.
    more: Vec<(SocketAddr, Vec<UdpSocket>)>,
}

/// Serves a configuration: follows its clusters, waits for their first listing, opens the sockets.
pub(super) async fn start(args: &Args, loaded: &Loaded) -> Result<Running, Failure> {
    let config = &loaded.config;
    let plan = plan(config).map_err(|error| Failure::Configuration(error.into()))?;
    let mut running = Running {
        lasting: Lasting::default(),
        sources: Sources::default(),
        serving: Serving::default(),
        admin: Admin::default(),
        notifying: Notifying::default(),
        forwarders: Arc::new(forwarders(config, &Forwarders::default()).await?),
        caches: Caches::default(),
        weights: WeightFiles::default(),
        loops: Vec::new(),
        _pid_file: None,
    };
    telemetry::set_debug_lines(has_debug_lines(config));
    let (arranged, views) = running.sources.arrange(plan, true).await?;
    let endpoints = running.admin.open(config).await.map_err(|error| Failure::Runtime(error.into()))?;
    // They tell why nothing is served yet.
    running.tell(endpoints, loaded, &views, arranged.states());
    let blocks: Vec<&BlockViews> = views.iter().flatten().collect();
    wait_for_sync(&blocks).await;
    // Whoever gets an answer finds it; it goes again if the sockets cannot be opened.
    running._pid_file = args.pidfile.as_deref().and_then(PidFile::write);
    let listeners = listeners::plan(config);
    let opened = running.open(&listeners, args)?;
    running.answer(config, &views, &listeners, opened)?;
    running.admin.readiness.open();
    running.notifying.replace(config, &views);
    running.sources = arranged.keep().await;
    if !args.quiet {
        telemetry::print(&format!("{}{}", listeners::startup_lines(&listeners), version()));
    }
    Ok(running)
}

impl Running {
    /// Puts another configuration to work.
    ///
    /// # Errors
    /// If it cannot be; then the one before still is, in every part.
    pub(super) async fn reload(&mut self, args: &Args, loaded: &Loaded) -> Result<(), Failure> {
        let config = &loaded.config;
        let plan = plan(config).map_err(|error| Failure::Configuration(error.into()))?;
        let (arranged, views) = self.sources.arrange(plan, false).await?;
        let listeners = listeners::plan(config);
        let prepared = self.prepare(args, config, &listeners, &arranged, &views).await;
        let (endpoints, opened, forwarders) = match prepared {
            Ok(prepared) => prepared,
            Err(failure) => {
                arranged.abandon().await;
                return Err(failure);
            }
        };
        let before = (Arc::clone(&self.forwarders), self.serving.addresses().collect());
        self.forwarders = forwarders;
        if let Err(failure) = self.answer(config, &views, &listeners, opened) {
            let (forwarders, addresses) = before;
            self.forwarders = forwarders;
            self.close_all_but(&addresses).await;
            arranged.abandon().await;
            return Err(failure);
        }
        telemetry::set_debug_lines(has_debug_lines(config));
        self.tell(endpoints, loaded, &views, arranged.states());
        self.notifying.replace(config, &views);
        self.sources = arranged.keep().await;
        self.close_all_but(&listeners.iter().map(Listener::address).collect()).await;
        for listener in &listeners {
            // A worker that does not end in time ends later.
            self.serving.shrink(&listener.address(), listener.workers(args.workers), STOP_LIMIT).await;
        }
        Ok(())
    }

    /// Does what may fail, as nearly all of it may.
    async fn prepare(
        &self,
        args: &Args,
        config: &Config,
        listeners: &[Listener],
        arranged: &Arranged,
        views: &[Option<BlockViews>],
    ) -> Result<(admin::Opened, Opened, Arc<Forwarders>), Failure> {
        let patience = views.iter().flatten().map(|views| views.startup_timeout).max().unwrap_or_default();
        wait_for_new(arranged.new_views(), arranged.states(), patience.max(RELOAD_SYNC_MAX)).await?;
        let forwarders = Arc::new(forwarders(config, &self.forwarders).await?);
        // From when a socket is open, somebody may wait for its answer.
        let endpoints = self.admin.open(config).await.map_err(|error| Failure::Runtime(error.into()))?;
        Ok((endpoints, self.open(listeners, args)?, forwarders))
    }

    /// Opens the sockets that listeners want and that are not there. All are opened before one is served: a server that
    /// cannot open all of them serves none.
    fn open(&self, listeners: &[Listener], args: &Args) -> Result<Opened, Failure> {
        let (mut new, mut more) = (HashMap::new(), Vec::new());
        let refuse = |error: ListenError| Failure::Runtime(error.into());
        for listener in listeners {
            let (address, workers) = (listener.address(), listener.workers(args.workers));
            match self.serving.at(&address) {
                None => {
                    new.insert(address, self.serving.open(address, workers).map_err(refuse)?);
                }
                Some((_, there)) if there < workers => {
                    more.push((address, Sockets::open_more(address, workers - there).map_err(refuse)?));
                }
                Some(_) => {}
            }
        }
        Ok(Opened { new, more })
    }

    /// Answers as a configuration says from now on.
    ///
    /// # Errors
    /// If the system gives no thread for a new socket; then what was served before is answered as before.
    fn answer(
        &mut self,
        config: &Config,
        views: &[Option<BlockViews>],
        listeners: &[Listener],
        Opened { mut new, more }: Opened,
    ) -> Result<(), Failure> {
        self.weights.replace(config);
        let caches = self.caches.next(config, &self.forwarders);
        let probes = loops::probes(config);
        let kept = (&caches, &self.weights, &probes[..]);
        let services = Services::new(config, views, Arc::clone(&self.forwarders), kept, &self.lasting);
        let served: HashSet<SocketAddr> = self.serving.addresses().collect();
        let no_thread = |error| Failure::Runtime(anyhow::Error::from(error).context("cannot start a UDP worker"));
        for listener in listeners {
            let Some(sockets) = new.remove(&listener.address()) else { continue };
            let service = services.of(listener, WaitingRoom::new(Handle::current()));
            let serve =
                self.serving.serve(listener.address(), sockets, SharedService::new(service), TcpPlaces::default());
            serve.map_err(no_thread)?;
        }
        for (address, sockets) in more {
            self.serving.add(address, sockets).map_err(no_thread)?;
        }
        for listener in listeners.iter().filter(|listener| served.contains(&listener.address())) {
            if let Some((service, _)) = self.serving.at(&listener.address()) {
                service.replace(services.of(listener, service.waiting()));
            }
        }
        drop(services);
        self.caches = caches;
        self.loops = loops::watch(config, &self.forwarders, &probes);
        Ok(())
    }

    fn tell(
        &mut self,
        opened: admin::Opened,
        loaded: &Loaded,
        views: &[Option<BlockViews>],
        sources: Vec<Arc<FollowedSource>>,
    ) {
        let subjects = Subjects {
            config: &loaded.config,
            version: loaded.config.reload().map(|_| loaded.version),
            views,
            sources,
            counters: Arc::clone(&self.lasting.counters),
            forwards: self.forwarders.counts(),
            caches: Arc::clone(&self.lasting.cache_tally),
        };
        self.admin.replace(opened, subjects);
    }

    /// Closes the sockets of other addresses, when what has arrived there is answered.
    async fn close_all_but(&mut self, wanted: &HashSet<SocketAddr>) {
        let gone: Vec<SocketAddr> = self.serving.addresses().filter(|address| !wanted.contains(address)).collect();
        for address in gone {
            if !self.serving.close(&address, STOP_LIMIT).await {
                tracing::warn!("what was still being answered on {address} after {STOP_LIMIT:?} is cut off");
            }
        }
    }

    /// What its clients of API servers are made of.
    pub(super) fn credentials(&self) -> Fingerprint {
        Fingerprint::of(&self.sources.files())
    }

    /// Has those clients made anew.
    pub(super) fn renew(&self) {
        self.sources.renew();
    }

    /// Ends in good order: tells that it will, waits for those who heard it, then answers what has arrived.
    pub(super) async fn end(self) -> u8 {
        self.admin.readiness.end();
        let lameduck = self.admin.lameduck;
        if !lameduck.is_zero() {
            tracing::info!(target: "plugin/health", "Going into lameduck mode for {lameduck:?}");
            sleep(lameduck).await;
        }
        let (is_finished, ()) = tokio::join!(self.serving.stop(STOP_LIMIT), self.sources.save(STOP_LIMIT));
        if is_finished {
            return EXIT_OK;
        }
        tracing::error!("what was still being answered after {STOP_LIMIT:?} is cut off");
        EXIT_UNFINISHED
    }
}

fn has_debug_lines(config: &Config) -> bool {
    config.blocks.iter().any(|block| block.debug)
}

/// Waits until every view has seen everything once that there is to see, or has waited its `startup_timeout`; with
/// `listen_when_synced` however long that takes.
async fn wait_for_sync(blocks: &[&BlockViews]) {
    let begun = Instant::now();
    let mut said = begun;
    loop {
        let mut waiting =
            blocks.iter().filter(|block| block.views().any(|view| view.current().is_awaited())).peekable();
        if waiting.peek().is_none() {
            return;
        }
        if waiting.all(|block| !block.listen_when_synced && begun.elapsed() >= block.startup_timeout) {
            tracing::warn!(target: "plugin/kubernetes", "starting server with unsynced Kubernetes API");
            return;
        }
        let pause = if begun.elapsed() < SYNC_LONG { SYNC_LOG } else { SYNC_LONG };
        if said.elapsed() >= pause {
            tracing::info!(target: "plugin/kubernetes", "waiting for Kubernetes API before starting server");
            said = Instant::now();
        }
        sleep(SYNC_POLL).await;
    }
}

/// Waits until all views of clusters that were not followed before have seen everything: nobody is to be answered worse
/// than before.
async fn wait_for_new(
    views: &[Arc<View>],
    sources: Vec<Arc<FollowedSource>>,
    patience: Duration,
) -> Result<(), Failure> {
    let begun = Instant::now();
    while views.iter().any(|view| view.current().is_awaited()) {
        if begun.elapsed() >= patience {
            let reasons = Readiness::new(views.to_vec(), sources, begun.into_std()).reasons();
            let reasons = reasons.lines().collect::<Vec<_>>().join("; ");
            let error = Err(anyhow!("{reasons}")).context(format!("not everything was listed within {patience:?}"));
            return error.map_err(Failure::Runtime);
        }
        sleep(SYNC_POLL).await;
    }
    Ok(())
}
