//! What was counted, in Prometheus's text format.
//!
//! Names and labels are CoreDNS's (plugin/metrics/vars/vars.go), and `podzone_` is before what only podzone knows.
//!
//! prometheus-client writes OpenMetrics, which Prometheus takes and much around it does not: there a counter's family
//! lacks the `_total` that its samples have, and bounds are written `100.0`. Counters are therefore written as it
//! writes gauges, under their full names, and bounds are written as CoreDNS writes them, so that the series of both
//! programs can be added up.

mod caches;
mod forward;
mod memory;
mod out;
mod outages;
mod process;
mod sources;
mod views;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::registry::Registry;

use self::out::{Flat as _, Label, Out, zone_labels};
use super::probe::HealthCounts;
use super::sources::FollowedSource;
use crate::config::Version;
use crate::forward::ForwardCounts;
use crate::histogram::SLIM_BOUNDS;
use crate::telemetry::{self, Counts};
use crate::transfer::Counters;
use crate::zone::View;

/// A directive that queries pass through, as `coredns_plugin_enabled` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enabled {
    /// The server's label.
    pub server: String,
    /// The first zone of the block.
    pub zone: String,
    /// The directive.
    pub name: &'static str,
}

/// A view, with the labels that it is told under.
#[derive(Debug)]
pub struct ServedView {
    /// The label of the first server of the block.
    pub server: String,
    /// The first zone of the block, or of the view where that is of multicluster zones.
    pub zone: String,
    /// The view.
    pub view: Arc<View>,
    /// What was counted of its transfers, if there are any.
    pub transfers: Option<Arc<Counters>>,
}

/// What is told of.
#[derive(Debug, Default)]
pub struct Told {
    /// The version of the configuration, where it is watched.
    pub version: Option<Version>,
    /// Queries and answers.
    pub counters: Arc<telemetry::Counters>,
    /// Directives.
    pub enabled: Vec<Enabled>,
    /// Views.
    pub views: Vec<ServedView>,
    /// Where their objects come from.
    pub sources: Vec<Arc<FollowedSource>>,
    /// What other servers are asked.
    pub forwards: Vec<Arc<ForwardCounts>>,
    /// What is kept of their answers.
    pub caches: Arc<telemetry::CacheTally>,
    /// The requests to our own `/health`.
    pub health: Arc<HealthCounts>,
}

/// Everything that is told.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// The format of [`Metrics::text`].
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// Tells of these, as they are whenever it is asked.
    pub fn new(told: Told) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(All(told)));
        Self { registry }
    }

    /// All of it.
    ///
    /// # Errors
    /// If a value cannot be written, which none of ours is.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        Ok(with_whole_bounds(&text))
    }
}

/// Writes `le="100.0"` as `le="100"`.
fn with_whole_bounds(text: &str) -> String {
    const BOUND: &str = "le=\"";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(BOUND) {
        let (before, after) = rest.split_at(at + BOUND.len());
        out.push_str(before);
        let (bound, after) = after.split_at(after.find('"').unwrap_or(after.len()));
        out.push_str(bound.strip_suffix(".0").unwrap_or(bound));
        rest = after;
    }
    out.push_str(rest);
    out
}

#[derive(Debug)]
struct All(Told);

impl Deref for All {
    type Target = Told;

    fn deref(&self) -> &Told {
        &self.0
    }
}

impl Collector for All {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut out = Out(&mut encoder);
        self.program(&mut out)?;
        self.queries(&mut out)?;
        self.forwards(&mut out)?;
        self.caches(&mut out)?;
        self.changes(&mut out)?;
        self.requests(&mut out)?;
        self.views(&mut out)?;
        self.transfers(&mut out)?;
        self.sources(&mut out)?;
        self.outages(&mut out)?;
        process::tell(&mut out)
    }
}

impl All {
    fn program(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let build: [Label<'_>; 3] = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("revision", env!("PODZONE_COMMIT")),
            ("goversion", env!("PODZONE_RUSTC")),
        ];
        out.gauge(
            "coredns_build_info",
            "Always 1; the labels say what podzone was built from, and by what.",
            [(build, 1_u64)],
        )?;
        out.count("coredns_panics_total", "Panics that were survived.", crate::panics::survived())?;
        let help = "Times that a Corefile, or what it names, could not be put to work; the one before stayed.";
        out.count("coredns_reload_failed_total", help, telemetry::reloads_failed())?;
        let version =
            self.version.map(|version| ([("hash", "sha512".to_owned()), ("value", version.to_string())], 1_u64));
        let help = "Always 1; the SHA-512 of the Corefile at work, where reload watches it.";
        out.gauge("coredns_reload_version_info", help, version)?;
        let help = "Log lines that were dropped, because nobody took those before them.";
        out.count("podzone_log_lines_dropped_total", help, telemetry::dropped_lines())?;
        let took = [(Vec::new(), &SLIM_BOUNDS[..], self.health.took.read())];
        let help = "Seconds that requests to the own /health took, one a second.";
        out.histogram("coredns_health_request_duration_seconds", help, 1e-9, took)?;
        let help = "Requests to the own /health that were not answered.";
        out.count("coredns_health_request_failures_total", help, self.health.failures())?;
        let enabled = self.enabled.iter().map(|enabled| {
            let [server, zone, view] = zone_labels(&enabled.server, &enabled.zone);
            ([server, zone, view, ("name", enabled.name)], 1_u64)
        });
        out.gauge("coredns_plugin_enabled", "Always 1, for each directive that queries pass through.", enabled)
    }

    fn queries(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let servers = self.counters.read();
        let zones: Vec<(&str, String, Counts)> = servers
            .iter()
            .flat_map(|server| server.read().into_iter().map(|(zone, counts)| (&*server.label, zone, counts)))
            .collect();
        let requests = zones.iter().flat_map(|(server, zone, counts)| {
            counts.requests().map(move |([proto, family, rtype], count)| {
                let labels = [("proto", proto), ("family", family), ("type", rtype)];
                ((zone_labels(server, zone), labels).flat(), count)
            })
        });
        out.counter("coredns_dns_requests_total", "Queries by zone, transport, address family and type.", requests)?;
        let dnssec = zones.iter().filter(|(_, _, counts)| counts.dnssec_ok() > 0);
        let dnssec = dnssec.map(|(server, zone, counts)| (zone_labels(server, zone), counts.dnssec_ok()));
        out.counter("coredns_dns_do_requests_total", "Queries with the DO bit by zone.", dnssec)?;
        let responses = zones.iter().flat_map(|(server, zone, counts)| {
            counts.responses().map(move |([rcode, plugin], count)| {
                ((zone_labels(server, zone), [("rcode", rcode), ("plugin", plugin)]).flat(), count)
            })
        });
        let help = "Answers by zone, response code and the directive that made them.";
        out.counter("coredns_dns_responses_total", help, responses)?;
        let durations = zones.iter().map(|(server, zone, counts)| {
            let (bounds, nanos) = counts.nanos();
            (zone_labels(server, zone).to_vec(), bounds, nanos)
        });
        let help = "Seconds from a query's arrival until its answer was sent, by zone.";
        out.histogram("coredns_dns_request_duration_seconds", help, 1e-9, durations)?;
        let sizes = zones.iter().flat_map(|(server, zone, counts)| {
            let of_proto =
                |(proto, bounds, octets)| ((zone_labels(server, zone), [("proto", proto)]).flat(), bounds, octets);
            counts.request_octets().map(of_proto)
        });
        out.histogram("coredns_dns_request_size_bytes", "Bytes of queries by zone and transport.", 1.0, sizes)?;
        let sizes = zones.iter().flat_map(|(server, zone, counts)| {
            let of_proto =
                |(proto, bounds, octets)| ((zone_labels(server, zone), [("proto", proto)]).flat(), bounds, octets);
            counts.response_octets().map(of_proto)
        });
        out.histogram("coredns_dns_response_size_bytes", "Bytes of answers by zone and transport.", 1.0, sizes)?;
        out.count(
            "coredns_local_localhost_requests_total",
            "Queries for names below localhost that local answered.",
            telemetry::localhost_requests(),
        )?;
        let allowed = servers.iter().filter(|server| server.access().allowed() > 0);
        let allowed = allowed.map(|server| ([("server", &*server.label), ("view", "")], server.access().allowed()));
        out.counter("coredns_acl_allowed_requests_total", "Queries that acl let go on, by server.", allowed)?;
        let refused: Vec<(&str, BTreeMap<String, [u64; 3]>)> =
            servers.iter().map(|server| (&*server.label, server.access().refused())).collect();
        for (cell, what) in telemetry::REFUSALS.into_iter().enumerate() {
            let counts = refused.iter().flat_map(|(server, zones)| {
                let counted = zones.iter().filter_map(move |(zone, counts)| Some((zone, *counts.get(cell)?)));
                counted.filter(|(_, count)| *count > 0).map(move |(zone, count)| (zone_labels(server, zone), count))
            });
            let help = format!("Queries that acl {what}, by server and the zone of its rule.");
            out.counter(&format!("coredns_acl_{what}_requests_total"), &help, counts)?;
        }
        let found = servers.iter().filter(|server| server.autopath_count() > 0);
        let found = found.map(|server| ([("server", server.label.clone())], server.autopath_count()));
        let help = "Queries that autopath answered by another name of their search path.";
        out.counter("coredns_autopath_success_total", help, found)?;
        let shed = servers.iter().map(|server| ([("server", server.label.clone())], server.shed_count()));
        out.counter("podzone_shed_queries_total", "Queries that were dropped for want of room, by server.", shed)?;
        let went = servers.iter().flat_map(|server| {
            server.paths().map(|(path, count)| ([("server", server.label.as_str()), ("path", path)], count))
        });
        out.counter("podzone_answers_total", "Answers by server and by how they were made.", went)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_written_as_coredns_writes_them() {
        let text = "a_bucket{le=\"0.0\",v=\"1.0\"} 1\na_bucket{le=\"0.25\"} 2\na_bucket{le=\"+Inf\"} 3\n";
        let expected = "a_bucket{le=\"0\",v=\"1.0\"} 1\na_bucket{le=\"0.25\"} 2\na_bucket{le=\"+Inf\"} 3\n";
        assert_eq!(with_whole_bounds(text), expected);
    }
}
