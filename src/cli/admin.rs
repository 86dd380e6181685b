//! The admin endpoints: where they are, and what they tell, from one configuration to the next.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::services::handlers;
use super::sources::BlockViews;
use crate::admin::{
    self, AdminListenError, Enabled, FollowedSource, HealthCounts, Metrics, Page, Readiness, ServedView, SharedPage,
    Told,
};
use crate::config::{AdminAddress, Config, ServerBlock, Version};
use crate::forward::ForwardCounts;
use crate::telemetry::{CacheTally, Counters, server_label};

/// Endpoints at work.
pub(super) struct Admin {
    endpoints: Vec<Endpoint>,
    health: Arc<HealthCounts>,
    begun: Instant,
    /// What `ready` tells.
    pub(super) readiness: Arc<Readiness>,
    /// How long DNS is still served after the process was asked to end: the longest of all blocks.
    pub(super) lameduck: Duration,
}

/// A socket, until this is dropped.
struct Endpoint {
    spot: Spot,
    page: Arc<SharedPage>,
    /// Where connections are accepted, as long as they are.
    accepting: Weak<TcpListener>,
    serving: AbortHandle,
    /// Who asks it for `/health`.
    probe: Option<AbortHandle>,
}

/// What the endpoints tell of.
pub(super) struct Subjects<'s> {
    pub(super) config: &'s Config,
    /// The version of the configuration, if `reload` is used.
    pub(super) version: Option<Version>,
    pub(super) views: &'s [Option<BlockViews>],
    pub(super) sources: Vec<Arc<FollowedSource>>,
    pub(super) counters: Arc<Counters>,
    pub(super) forwards: Vec<Arc<ForwardCounts>>,
    pub(super) caches: Arc<CacheTally>,
}

/// An address; where the system chooses the port, each directive has a socket of its own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Spot(AdminAddress, Option<&'static str>);

impl Spot {
    fn new(name: &'static str, address: &AdminAddress) -> Self {
        Self(address.clone(), (address.port == 0).then_some(name))
    }
}

/// Sockets that are open and not served yet.
pub(super) struct Opened(BTreeMap<Spot, TcpListener>);

impl Default for Admin {
    fn default() -> Self {
        let begun = Instant::now();
        Self {
            endpoints: Vec::new(),
            health: Arc::default(),
            begun,
            readiness: Arc::new(Readiness::new(Vec::new(), Vec::new(), begun)),
            lameduck: Duration::ZERO,
        }
    }
}

impl Admin {
    /// Opens the sockets of all endpoints that are not open yet.
    ///
    /// # Errors
    /// If one cannot be opened; then none is.
    pub(super) async fn open(&self, config: &Config) -> Result<Opened, AdminListenError> {
        let mut opened = BTreeMap::new();
        for (name, address) in addresses(config) {
            let spot = Spot::new(name, address);
            if !opened.contains_key(&spot) && !self.endpoints.iter().any(|endpoint| endpoint.spot == spot) {
                let same_port = self.endpoints.iter().filter(|endpoint| endpoint.spot.0.port == address.port);
                let own: Vec<Arc<TcpListener>> =
                    same_port.filter_map(|endpoint| endpoint.accepting.upgrade()).collect();
                opened.insert(spot, admin::listen(name, address, &own).await?);
            }
        }
        Ok(Opened(opened))
    }

    /// Tells of other things from now on, on these sockets and those that there are, as far as they are wanted.
    pub(super) fn replace(&mut self, opened: Opened, subjects: Subjects<'_>) {
        let config = subjects.config;
        let views = subjects.views.iter().flatten().flat_map(BlockViews::views).cloned().collect();
        let readiness =
            Readiness::new(views, subjects.sources.clone(), self.begun).with_forwards(subjects.forwards.clone());
        if self.readiness.is_open() {
            readiness.open();
        }
        self.readiness = Arc::new(readiness);
        let lameducks = config.blocks.iter().filter_map(|block| block.health.as_ref()).map(|health| health.lameduck);
        self.lameduck = lameducks.max().unwrap_or_default();
        let metrics = Arc::new(metrics(subjects, Arc::clone(&self.health)));

        let (mut before, Opened(mut opened)) = (std::mem::take(&mut self.endpoints), opened);
        for (name, address) in addresses(config) {
            // Blocks that name one endpoint twice mean one.
            let spot = Spot::new(name, address);
            if self.endpoints.iter().any(|endpoint| endpoint.spot == spot) {
                continue;
            }
            let page = self.page(name, address, config, &metrics);
            let mut endpoint = match before.iter().position(|endpoint| endpoint.spot == spot) {
                Some(at) => {
                    let endpoint = before.swap_remove(at);
                    endpoint.page.replace(page);
                    endpoint
                }
                None => match opened.remove(&spot) {
                    Some(listener) => Endpoint::serve(spot, listener, page),
                    // Each was opened that was not there.
                    None => continue,
                },
            };
            endpoint.probe(name == HEALTH, &self.health);
            self.endpoints.push(endpoint);
        }
    }

    fn page(&self, name: &str, address: &AdminAddress, config: &Config, metrics: &Arc<Metrics>) -> Page {
        match name {
            HEALTH => Page::Health,
            PROMETHEUS => Page::Metrics(Arc::clone(metrics)),
            _ => {
                let ready = config.blocks.iter().filter_map(|block| block.ready.as_ref());
                let monitor = ready.filter(|ready| ready.address == *address).map(|ready| ready.monitor).next();
                let (readiness, latch) = (Arc::clone(&self.readiness), AtomicBool::new(false));
                Page::Ready { readiness, monitor: monitor.unwrap_or_default(), latch }
            }
        }
    }
}

impl Endpoint {
    fn serve(spot: Spot, listener: TcpListener, page: Page) -> Self {
        let (listener, page) = (Arc::new(listener), Arc::new(SharedPage::new(page)));
        let accepting = Arc::downgrade(&listener);
        let serving = tokio::spawn(admin::serve(listener, Arc::clone(&page))).abort_handle();
        Self { spot, page, accepting, serving, probe: None }
    }

    /// Has its `/health` asked for, or no longer.
    fn probe(&mut self, wanted: bool, counts: &Arc<HealthCounts>) {
        if !wanted {
            self.stop_probe();
        } else if self.probe.is_none() {
            // The port may have been the system's choice.
            let local = self.accepting.upgrade().and_then(|listener| listener.local_addr().ok());
            let port = local.map_or(self.spot.0.port, |local| local.port());
            let address = AdminAddress { port, ..self.spot.0.clone() };
            self.probe = Some(tokio::spawn(admin::probe(address, Arc::clone(counts))).abort_handle());
        }
    }

    fn stop_probe(&mut self) {
        if let Some(probe) = self.probe.take() {
            probe.abort();
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.serving.abort();
        self.stop_probe();
    }
}

const HEALTH: &str = "health";
const PROMETHEUS: &str = "prometheus";

/// The endpoints of all blocks, each with its directive.
fn addresses(config: &Config) -> impl Iterator<Item = (&'static str, &AdminAddress)> {
    config.blocks.iter().flat_map(|block| {
        let ready = block.ready.as_ref().map(|ready| ("ready", &ready.address));
        let health = block.health.as_ref().map(|health| (HEALTH, &health.address));
        let metrics = block.prometheus.as_ref().map(|address| (PROMETHEUS, address));
        [ready, health, metrics].into_iter().flatten()
    })
}

fn metrics(subjects: Subjects<'_>, health: Arc<HealthCounts>) -> Metrics {
    let Subjects { config, version, views, sources, counters, forwards, caches } = subjects;
    let served = config.blocks.iter().zip(views).filter_map(|(block, plan)| {
        let (server, zone) = labels(block).into_iter().next()?;
        let plan = plan.as_ref()?;
        let served = plan.views().map(move |view| {
            let transfers = plan.kept_of(view).map(|kept| Arc::clone(&kept.counters));
            // Two views of one directive are told apart by their zones.
            let own = view.options().zones.first().filter(|_| view.options().multicluster);
            let zone = own.map_or_else(|| zone.clone(), ToString::to_string);
            ServedView { server: server.clone(), zone, view: Arc::clone(view), transfers }
        });
        Some(served)
    });
    let (enabled, views) = (enabled(config), served.flatten().collect());
    Metrics::new(Told { version, counters, enabled, views, sources, forwards, caches, health })
}

/// The servers of a block's first key, each with that key's zone: CoreDNS sets a directive up for that one only.
fn labels(block: &ServerBlock) -> Vec<(String, String)> {
    let Some(key) = block.keys.first() else { return Vec::new() };
    let servers = match block.bind.as_slice() {
        [] => vec![server_label(None, key.port)],
        addresses => addresses.iter().map(|address| server_label(Some(*address), key.port)).collect(),
    };
    servers.into_iter().map(|server| (server, key.zone.clone())).collect()
}

fn enabled(config: &Config) -> Vec<Enabled> {
    let counted = config.blocks.iter().filter(|block| block.prometheus.is_some());
    let of_block = |block: &ServerBlock| {
        let of_server = |(server, zone): (String, String)| {
            handlers(block).into_iter().map(move |name| Enabled { server: server.clone(), zone: zone.clone(), name })
        };
        labels(block).into_iter().flat_map(of_server).collect::<Vec<_>>()
    };
    counted.flat_map(of_block).collect()
}
