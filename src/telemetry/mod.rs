//! The log, on standard output, and counts of what was answered.
//!
//! Nobody waits for whoever reads standard output: lines wait in a queue, and what does not fit is dropped and counted.

mod access;
mod caches;
mod changes;
mod counters;
mod failures;
mod kind;
mod lines;
mod metadata;
mod query_log;
mod reloads;
mod witness;

use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::Level;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;

pub use access::{AccessCounts, REFUSALS, localhost_requests};
pub use caches::{CacheTally, CountedCache};
pub use changes::{Changes, ServiceKind};
pub use counters::{Counters, Counts, ServerCounters, ServerCounts, rcode_name, server_label};
pub use lines::LogFormat;
pub use metadata::{KubernetesMetadata, Metadata};
pub use query_log::{BlockLog, QueryLog};
pub use reloads::{reload_failed, reloads_failed};
pub use witness::Witness;

/// Whether debug lines are written.
static HAS_DEBUG_LINES: AtomicBool = AtomicBool::new(false);

/// Writes debug lines too, or no longer (`debug`).
pub fn set_debug_lines(wanted: bool) {
    HAS_DEBUG_LINES.store(wanted, Ordering::Relaxed);
    // Each place that logs remembers whether anybody hears it.
    tracing::callsite::rebuild_interest_cache();
}

/// Lines that may wait to be written; at a hundred octets each, about a megabyte.
const LINES_WAITING: usize = 8192;

static OUT: OnceLock<NonBlocking> = OnceLock::new();

/// Sends log events to standard output: information and what is worse, and debug lines where they are wanted. What waits is
/// written when the value that is given goes.
pub fn init(format: LogFormat) -> WorkerGuard {
    let builder = NonBlockingBuilder::default().buffered_lines_limit(LINES_WAITING).lossy(true).thread_name("log");
    let (writer, guard) = builder.finish(std::io::stdout());
    OUT.get_or_init(|| writer.clone());
    lines::set_format(format);
    // Libraries speak of single attempts; what they come to is said once, by the part of ours that made them.
    let ours = filter_fn(|event| {
        let level = if HAS_DEBUG_LINES.load(Ordering::Relaxed) { Level::DEBUG } else { Level::INFO };
        *event.level() <= level && lines::is_ours(event.target())
    });
    let layer = tracing_subscriber::fmt::layer().event_format(lines::Lines).with_writer(writer).with_filter(ours);
    // A second call, in tests, keeps the first.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer));
    guard
}

/// Log lines that were dropped.
pub fn dropped_lines() -> u64 {
    OUT.get().map_or(0, |out| out.error_counter().dropped_lines() as u64)
}

/// Writes text to standard output as it is, behind the lines that were logged before.
pub fn print(text: &str) {
    if let Some(mut out) = OUT.get().cloned() {
        // It never fails: what does not fit is dropped and counted.
        let _ = out.write_all(text.as_bytes());
    }
}
