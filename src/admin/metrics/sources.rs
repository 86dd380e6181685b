//! What is told of sources: their state, their requests, and how long changes take.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use super::All;
use super::out::{Label, Out};
use crate::histogram::{CHANGE_BOUNDS, Distribution, PROGRAMMING_BOUNDS, REQUEST_BOUNDS};
use crate::model::Kind;
use crate::source::Status;

/// The labels of what is told of one kind of a source's objects.
type KindLabels = [(&'static str, String); 2];

impl All {
    pub(super) fn sources(&self, out: &mut Out<'_, '_>) -> fmt::Result {
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

    /// How long changes took until answers had them. CoreDNS's metric is of the whole process.
    pub(super) fn changes(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let mut by_kind: BTreeMap<&str, Distribution> = BTreeMap::new();
        for (kind, distribution) in self.sources.iter().flat_map(|source| source.changes.by_kind()) {
            by_kind.entry(kind).or_default().add(&distribution);
        }
        let programmed = by_kind.iter().filter(|(_, distribution)| distribution.count() > 0);
        let programmed = programmed
            .map(|(kind, distribution)| (vec![("service_kind", *kind)], &PROGRAMMING_BOUNDS[..], distribution));
        let help = "Seconds from what an EndpointSlice was written for until it is answered from, by kind of Service.";
        out.histogram("coredns_kubernetes_dns_programming_duration_seconds", help, 1e-9, programmed)?;
        let waits = self.sources.iter().map(|source| {
            let labels: Vec<Label<'_>> = vec![("source", &source.name)];
            (labels, &CHANGE_BOUNDS[..], source.changes.waits())
        });
        let help = "Seconds from when a change was received until it is answered from.";
        out.histogram("podzone_change_to_answer_seconds", help, 1e-9, waits)
    }

    /// Requests to API servers, as client-go counts them. Sources may share a server.
    pub(super) fn requests(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let mut hosts: BTreeMap<String, OfHost> = BTreeMap::new();
        for to in self.sources.iter().flat_map(|source| source.health.requests.all()) {
            let of = hosts.entry(to.host.clone()).or_default();
            of.took.add(&to.took.read());
            of.throttled.add(&to.throttled.read());
            for (code, count) in to.codes() {
                let code = code.map_or_else(|| "<error>".to_owned(), |code| code.to_string());
                *of.codes.entry(code).or_default() += count;
            }
        }
        let durations = |of: fn(&OfHost) -> &Distribution| {
            let counted = hosts.iter().map(move |(host, counts)| (host, of(counts)));
            let counted = counted.filter(|(_, distribution)| distribution.count() > 0);
            counted.map(|(host, distribution)| {
                (vec![("verb", "GET"), ("host", host.as_str())], &REQUEST_BOUNDS[..], distribution)
            })
        };
        let help = "Seconds that pages of lists took, by verb and host of the API server.";
        let name = "coredns_kubernetes_rest_client_request_duration_seconds";
        out.histogram(name, help, 1e-9, durations(|of| &of.took))?;
        let help = "Seconds that requests to the API server waited for their turn, by verb and host.";
        let name = "coredns_kubernetes_rest_client_rate_limiter_duration_seconds";
        out.histogram(name, help, 1e-9, durations(|of| &of.throttled))?;
        let ended = hosts.iter().flat_map(|(host, of)| {
            of.codes.iter().map(move |(code, count)| {
                ([("code", code.as_str()), ("method", "GET"), ("host", host.as_str())], *count)
            })
        });
        let help = "Requests to the API server by status code, method and host.";
        out.counter("coredns_kubernetes_rest_client_requests_total", help, ended)
    }
}

/// The requests to one host.
#[derive(Default)]
struct OfHost {
    took: Distribution,
    throttled: Distribution,
    codes: BTreeMap<String, u64>,
}
