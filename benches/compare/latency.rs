//! How long answers take at half of what the server can do.

use crate::generator::{Outcome, Plan, on_core};
use crate::peers::Peer;
use crate::report::{Column, Measure, Sheet};
use crate::server::Server;
use crate::wanted::Wanted;
use std::time::Duration;

const PERCENTILES: [(Column, &str, f64); 3] =
    [(Column::P50, "p50", 0.5), (Column::P99, "p99", 0.99), (Column::P999, "p99.9", 0.999)];

/// Asks both servers at the same rate, one after the other.
pub(crate) fn compare(
    sheet: &mut Sheet,
    core: usize,
    rate: u32,
    time: Duration,
    [(podzone, exact), (echo, echoed)]: [(&Server, &[Wanted]); 2],
) {
    let p99 = [(Peer::Echo, echo, echoed), (Peer::Podzone, podzone, exact)].map(|(peer, server, questions)| {
        let plan = Plan { server: server.addr, questions, rate, time, flood: None };
        let outcome = on_core(core, plan);
        println!("  {}: {}", peer.title(), describe(&outcome, rate));
        outcome.void().is_none().then(|| {
            for (column, _, share) in PERCENTILES {
                sheet.add(peer, column, outcome.percentile(share));
            }
            outcome.percentile(0.99)
        })
    });
    let [echo, podzone] = p99;
    sheet.ratio(Measure::Latency, podzone, echo);
}

/// The percentiles in words, and what went wrong.
pub(crate) fn describe(outcome: &Outcome, rate: u32) -> String {
    let percentiles = PERCENTILES.map(|(_, title, share)| format!("{title} {:.0} us", outcome.percentile(share)));
    let verdict = outcome.void().map(|reason| format!("; void: {reason}")).unwrap_or_default();
    format!("{} at {rate} queries/s{verdict}", percentiles.join(", "))
}
