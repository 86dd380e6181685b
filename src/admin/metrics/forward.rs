//! What is told of other servers, under the names of CoreDNS's plugins forward and proxy.

use std::collections::BTreeMap;
use std::fmt;

use super::All;
use super::out::{Label, Out};
use crate::forward::{Count, Proto, UpstreamCounts};
use crate::histogram::{Distribution, TIME_BOUNDS};
use crate::telemetry::rcode_name;

/// The one plugin that asks upstreams.
const PROXY: Label<'static> = ("proxy_name", "forward");

/// The counts of one upstream, over all directives that name it.
#[derive(Default)]
struct OfUpstream {
    took: BTreeMap<String, Distribution>,
    check_failures: u64,
    loops: u64,
    is_looping: bool,
    cached: [u64; Proto::ALL.len()],
    fresh: [u64; Proto::ALL.len()],
}

impl OfUpstream {
    fn add(&mut self, counts: &UpstreamCounts) {
        for (rcode, distribution) in counts.by_rcode() {
            let name = rcode_name(rcode).map_or_else(|| rcode.to_string(), str::to_owned);
            self.took.entry(name).or_default().add(&distribution);
        }
        self.check_failures += counts.check_failures.get();
        self.loops += counts.loops.get();
        self.is_looping |= counts.is_looping();
        for (sum, count) in self.cached.iter_mut().chain(&mut self.fresh).zip(counts.cached.iter().chain(&counts.fresh))
        {
            *sum += count.get();
        }
    }
}

impl All {
    pub(super) fn forwards(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let sum = |of: fn(&crate::forward::ForwardCounts) -> &Count| -> u64 {
            self.forwards.iter().map(|counts| of(counts).get()).sum()
        };
        let help = "Queries for which all upstreams were down, so that one was asked at random.";
        out.count("coredns_forward_healthcheck_broken_total", help, sum(|counts| &counts.broken))?;
        let help = "Queries that were refused because max_concurrent others were under way.";
        out.count("coredns_forward_max_concurrent_rejects_total", help, sum(|counts| &counts.rejected))?;

        let mut upstreams: BTreeMap<&str, OfUpstream> = BTreeMap::new();
        for (address, counts) in self.forwards.iter().flat_map(|counts| &counts.upstreams) {
            upstreams.entry(address).or_default().add(counts);
        }
        let took = upstreams.iter().flat_map(|(to, of)| {
            of.took.iter().map(move |(rcode, distribution)| {
                (vec![PROXY, ("to", *to), ("rcode", rcode.as_str())], &TIME_BOUNDS[..], distribution)
            })
        });
        let help = "Seconds that exchanges with upstreams took, by upstream and response code.";
        out.histogram("coredns_proxy_request_duration_seconds", help, 1e-9, took)?;
        let failed = upstreams.iter().filter(|(_, of)| of.check_failures > 0);
        let failed = failed.map(|(to, of)| ([PROXY, ("to", *to)], of.check_failures));
        let help = "Health checks of upstreams that failed.";
        out.counter("coredns_proxy_healthcheck_failures_total", help, failed)?;
        let looped = || upstreams.iter().filter(|(_, of)| of.loops > 0);
        let help = "Times that an upstream was found to send back what it is asked.";
        out.counter("podzone_loops_total", help, looped().map(|(to, of)| ([("to", *to)], of.loops)))?;
        let help = "1 while an upstream sends back what it is asked, so that it is asked no more.";
        out.gauge("podzone_looping", help, looped().map(|(to, of)| ([("to", *to)], u64::from(of.is_looping))))?;
        // Of the transports that there were; over UDP nothing is kept, which is told as well.
        let of_protos = |of: fn(&OfUpstream, usize) -> u64| {
            upstreams.iter().flat_map(move |(to, upstream)| {
                let protos = Proto::ALL.into_iter().enumerate();
                let there = protos.filter(|(index, _)| upstream.cached[*index] + upstream.fresh[*index] > 0);
                there.map(move |(index, proto)| ([PROXY, ("to", *to), ("proto", proto.name())], of(upstream, index)))
            })
        };
        let help = "Exchanges with upstreams over a connection that was kept: none over UDP.";
        out.counter("coredns_proxy_conn_cache_hits_total", help, of_protos(|of, proto| of.cached[proto]))?;
        let help = "Exchanges with upstreams over a connection of their own, as all over UDP.";
        out.counter("coredns_proxy_conn_cache_misses_total", help, of_protos(|of, proto| of.fresh[proto]))
    }
}
