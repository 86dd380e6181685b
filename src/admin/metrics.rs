//! What was counted, in Prometheus's text format.
//!
//! Names and labels are CoreDNS's (plugin/metrics/vars/vars.go), and `podzone_` is before what only podzone knows.
//!
//! prometheus-client writes OpenMetrics, which Prometheus takes and much around it does not: there a counter's family
//! lacks the `_total` that its samples have, and bounds are written `100.0`. Counters are therefore written as it
//! writes gauges, under their full names, and bounds are written as CoreDNS writes them, so that the series of both
//! programs can be added up.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::sources::FollowedSource;
use crate::model::Kind;
use crate::source::Status;
use crate::telemetry::{self, Counts, Distribution};
use crate::transfer::{Counters, Outcome};
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

/// Everything that is told.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// The format of [`Metrics::text`].
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// Tells of these, as they are whenever it is asked.
    pub fn new(
        counters: Arc<telemetry::Counters>,
        enabled: Vec<Enabled>,
        views: Vec<ServedView>,
        sources: Vec<Arc<FollowedSource>>,
    ) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(All { counters, enabled, views, sources }));
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
struct All {
    counters: Arc<telemetry::Counters>,
    enabled: Vec<Enabled>,
    views: Vec<ServedView>,
    sources: Vec<Arc<FollowedSource>>,
}

/// The labels of what is told of one kind of a source's objects.
type KindLabels = [(&'static str, String); 2];

/// A label's name and its value.
type Label<'a> = (&'static str, &'a str);

impl Collector for All {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut out = Out(&mut encoder);
        self.program(&mut out)?;
        self.queries(&mut out)?;
        self.views(&mut out)?;
        self.transfers(&mut out)?;
        self.sources(&mut out)
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
        let mut panics =
            out.0.encode_descriptor("coredns_panics_total", "Panics that were survived.", None, MetricType::Counter)?;
        panics.encode_gauge(&crate::panics::survived())?;
        let enabled = self.enabled.iter().map(|enabled| {
            let [server, zone, view] = zone_labels(&enabled.server, &enabled.zone);
            ([server, zone, view, ("name", enabled.name)], 1_u64)
        });
        out.gauge("coredns_plugin_enabled", "Always 1, for each directive that queries pass through.", enabled)
    }

    fn queries(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let zones: Vec<(&str, String, Counts)> = self
            .counters
            .0
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
        let servers = self.counters.0.iter();
        let shed = servers.map(|server| ([("server", server.label.clone())], server.shed_count()));
        out.counter("podzone_shed_queries_total", "Queries that were dropped for want of room, by server.", shed)
    }

    fn views(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let view = |view: &ServedView, value: u64| {
            let labels = [("server", view.server.clone()), ("zone", view.zone.clone())];
            (labels, value)
        };
        let synced = self.views.iter().map(|served| view(served, served.view.current().is_synced().into()));
        out.gauge("podzone_synced", "1 once everything that a view needs was listed.", synced)?;
        let services = self.views.iter().map(|served| view(served, served.view.current().service_count() as u64));
        out.gauge("podzone_services", "Services that have records in a view.", services)
    }

    fn transfers(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let outcomes = [
            ("soa", Outcome::Soa),
            ("incremental", Outcome::Incremental),
            ("full", Outcome::Full),
            ("refused", Outcome::Refused),
            ("failed", Outcome::Failed),
            ("cut_off", Outcome::CutOff),
        ];
        let counted = || self.views.iter().filter_map(|view| Some((view, view.transfers.as_ref()?)));
        let labels = |view: &ServedView| [("server", view.server.clone()), ("zone", view.zone.clone())];
        let of_view = |(view, counters): (&ServedView, &Arc<Counters>)| {
            let [server, zone] = labels(view);
            let with = |(name, outcome): (&'static str, Outcome)| {
                ([server.clone(), zone.clone(), ("outcome", name.to_owned())], counters.get(outcome))
            };
            outcomes.map(with)
        };
        let help = "Questions for transfers by what became of them.";
        out.counter("podzone_transfers_total", help, counted().flat_map(of_view))?;
        let records = counted().map(|(view, counters)| (labels(view), counters.records()));
        out.counter("podzone_transferred_records_total", "Records of transfers that were given.", records)?;
        let octets = counted().map(|(view, counters)| (labels(view), counters.octets()));
        out.counter("podzone_transferred_bytes_total", "Bytes of transfers that were given.", octets)?;
        let notified = |(view, counters): (&ServedView, &Arc<Counters>)| {
            let [server, zone] = labels(view);
            let with = |(name, outcome): (&'static str, Outcome)| {
                ([server.clone(), zone.clone(), ("outcome", name.to_owned())], counters.get(outcome))
            };
            [("taken", Outcome::Notified), ("unheard", Outcome::Unheard)].map(with)
        };
        let help = "Zones' new versions that secondaries were told of, and took, or never answered.";
        out.counter("podzone_notifies_total", help, counted().flat_map(notified))?;
        let serials = counted().map(|(view, _)| (labels(view), u64::from(view.view.current().serial())));
        out.gauge("podzone_zone_serial", "The SOA serial.", serials)
    }

    fn sources(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let now = Instant::now();
        let kinds: Vec<(KindLabels, Status, u64)> = self
            .sources
            .iter()
            .flat_map(|source| {
                source.health.kinds().filter_map(|kind: Kind| {
                    let labels = [("source", source.name.clone()), ("kind", kind.to_string())];
                    Some((labels, source.health.status(kind)?, source.count(kind)))
                })
            })
            .collect();
        let each = |value: fn(&Status) -> u64| {
            kinds.iter().map(move |(labels, status, _)| (labels.clone(), value(status))).collect::<Vec<_>>()
        };
        let held = kinds.iter().map(|(labels, _, count)| (labels.clone(), *count));
        out.gauge("podzone_objects", "Objects of a source that are held.", held)?;
        let listed = each(|status| status.listed.into());
        out.gauge("podzone_source_listed", "1 once all objects of a kind were listed.", listed)?;
        let failing = each(|status| status.failing.is_some().into());
        out.gauge("podzone_source_failing", "1 while a source cannot follow a kind.", failing)?;
        let relists = each(|status| status.listings.saturating_sub(1));
        out.counter("podzone_source_relists_total", "Full listings of a kind after the first.", relists)?;
        let objects = each(|status| status.listing.map_or(0, |listing| listing.objects));
        let help = "Objects so far of the listing under way; 0 while there is none.";
        out.gauge("podzone_source_listing_objects", help, objects)?;
        let ages = kinds.iter().map(|(labels, status, _)| {
            let age = status.listing.map(|listing| now.saturating_duration_since(listing.begun));
            (labels.clone(), age.unwrap_or_default().as_secs_f64())
        });
        let help = "Seconds since the listing under way began; 0 while there is none.";
        out.gauge("podzone_source_listing_age_seconds", help, ages)?;
        let last =
            kinds.iter().filter_map(|(labels, status, _)| Some((labels.clone(), status.last_listing?.as_secs_f64())));
        let help = "Seconds that the last full listing of a kind took.";
        out.gauge("podzone_source_last_listing_duration_seconds", help, last)?;
        let events = each(|status| status.events);
        out.counter("podzone_source_events_total", "Objects applied and deleted, listings included.", events)?;
        let failures = each(|status| status.failures);
        out.counter("podzone_source_failures_total", "Failed attempts to list, watch or read.", failures)?;
        let malformed = each(|status| status.malformed);
        out.counter("podzone_source_malformed_total", "Objects, or parts, that could not be used.", malformed)?;
        let silences = each(|status| status.silences);
        let help = "Watches that were given up because they were open and silent.";
        out.counter("podzone_source_silent_watches_total", help, silences)?;
        let checks = each(|status| status.checks);
        out.counter(
            "podzone_source_checks_total",
            "Listings beside a watch, to see that it tells everything.",
            checks,
        )?;
        let missed = each(|status| status.missed);
        let help = "Changes that a watch did not tell and a listing beside it found.";
        out.counter("podzone_source_missed_total", help, missed)?;
        let event_ages = kinds.iter().filter_map(|(labels, status, _)| {
            Some((labels.clone(), status.last_event?.elapsed().unwrap_or_default().as_secs_f64()))
        });
        out.gauge("podzone_source_last_event_age_seconds", "Seconds since an object last changed.", event_ages)?;
        let heard_ages = kinds.iter().filter_map(|(labels, status, _)| {
            Some((labels.clone(), now.saturating_duration_since(status.last_heard?).as_secs_f64()))
        });
        let help = "Seconds since anything was heard of a kind: the age of what is served.";
        out.gauge("podzone_source_last_heard_age_seconds", help, heard_ages)
    }
}

/// The labels that all series of queries have. There are no views of CoreDNS's kind.
fn zone_labels<'a>(server: &'a str, zone: &'a str) -> [Label<'a>; 3] {
    [("server", server), ("zone", zone), ("view", "")]
}

trait Flat<'a> {
    /// Both as one set.
    fn flat(self) -> Vec<Label<'a>>;
}

impl<'a, const A: usize, const B: usize> Flat<'a> for ([Label<'a>; A], [Label<'a>; B]) {
    fn flat(self) -> Vec<Label<'a>> {
        self.0.into_iter().chain(self.1).collect()
    }
}

/// Families, one after the other; one without samples is left out.
struct Out<'o, 'e>(&'o mut DescriptorEncoder<'e>);

impl Out<'_, '_> {
    fn counter<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        self.samples(name, help, MetricType::Counter, samples)
    }

    fn gauge<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        self.samples(name, help, MetricType::Gauge, samples)
    }

    fn samples<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        metric_type: MetricType,
        samples: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, metric_type)?;
        for (labels, value) in samples {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// `unit` is what one of the distributions' numbers is in the metric's unit.
    fn histogram<'d>(
        &mut self,
        name: &str,
        help: &str,
        unit: f64,
        samples: impl IntoIterator<Item = (Vec<Label<'d>>, &'static [u64], &'d Distribution)>,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, bounds, distribution) in samples {
            // Through text, so that 8192000000 times 1e-9 is 8.192 and not its neighbour.
            let bound = |bound: &u64| format!("{:.9}", *bound as f64 * unit).parse().unwrap_or(f64::INFINITY);
            let bounds = bounds.iter().map(bound).chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(distribution.buckets.iter().copied()).collect();
            let sum = distribution.sum as f64 * unit;
            let count = distribution.count();
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
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
