//! The endpoints beside DNS: which there are, and what they tell.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::listeners::handlers;
use super::views::ViewPlan;
use crate::admin::{self, Enabled, FollowedSource, HealthCounts, Metrics, Page, Readiness, ServedView, Told};
use crate::config::{AdminAddress, Config, ServerBlock};
use crate::forward::ForwardCounts;
use crate::telemetry::{Counters, server_label};

/// Endpoints at work; they end with the runtime.
pub(super) struct Admin {
    /// What `ready` tells.
    pub(super) readiness: Arc<Readiness>,
    /// How long DNS is still served after the process was asked to end: the longest of all blocks.
    pub(super) lameduck: Duration,
}

/// Opens all endpoints, then serves them.
pub(super) async fn start(
    config: &Config,
    views: &[Option<ViewPlan>],
    sources: &[Arc<FollowedSource>],
    counters: Option<Arc<Counters>>,
    forwards: Vec<Arc<ForwardCounts>>,
) -> anyhow::Result<Admin> {
    let all = views.iter().flatten().flat_map(ViewPlan::views).cloned().collect();
    let readiness = Arc::new(Readiness::new(all, sources.to_vec()));
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
    let served = served.flatten();
    let health = Arc::<HealthCounts>::default();
    let metrics = Arc::new(Metrics::new(Told {
        counters: counters.unwrap_or_default(),
        enabled: enabled(config),
        views: served.collect(),
        sources: sources.to_vec(),
        forwards,
        health: Arc::clone(&health),
    }));

    let mut pages: Vec<(&'static str, &AdminAddress, Page)> = Vec::new();
    for block in &config.blocks {
        let ready = block.ready.as_ref().map(|ready| {
            let latch = AtomicBool::new(false);
            let page = Page::Ready { readiness: Arc::clone(&readiness), monitor: ready.monitor, latch };
            ("ready", &ready.address, page)
        });
        let health = block.health.as_ref().map(|health| ("health", &health.address, Page::Health));
        let metrics =
            block.prometheus.as_ref().map(|address| ("prometheus", address, Page::Metrics(Arc::clone(&metrics))));
        for (name, address, page) in [ready, health, metrics].into_iter().flatten() {
            // Blocks that name one endpoint twice mean one.
            if !pages.iter().any(|(_, known, _)| *known == address && address.port != 0) {
                pages.push((name, address, page));
            }
        }
    }
    let mut opened = Vec::new();
    for (name, address, page) in pages {
        opened.push((admin::listen(name, address).await?, page, address.clone()));
    }
    for (listener, page, address) in opened {
        if let (Page::Health, Ok(local)) = (&page, listener.local_addr()) {
            // The port may have been the system's choice.
            let address = AdminAddress { port: local.port(), ..address };
            tokio::spawn(admin::probe(address, Arc::clone(&health)));
        }
        tokio::spawn(admin::serve(listener, page));
    }
    let lameducks = config.blocks.iter().filter_map(|block| block.health.as_ref()).map(|health| health.lameduck);
    Ok(Admin { readiness, lameduck: lameducks.max().unwrap_or_default() })
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
