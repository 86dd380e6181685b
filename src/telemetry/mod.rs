//! Log lines in CoreDNS's form: `[LEVEL] plugin/<name>: message`, on standard output, without a time, which whatever
//! collects them adds; and counts of what was answered.

mod changes;
mod counters;
mod query_log;
mod reloads;
mod witness;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;

pub use changes::{Changes, ServiceKind};
pub use counters::{Counters, Counts, ServerCounters, rcode_name, server_label};
pub use query_log::{BlockLog, QueryLog};
pub use reloads::{RELOADS, Reloads};
pub use witness::Witness;

/// Whether debug lines are written.
static HAS_DEBUG_LINES: AtomicBool = AtomicBool::new(false);

/// Writes debug lines too, or no longer (`debug`).
pub fn set_debug_lines(wanted: bool) {
    HAS_DEBUG_LINES.store(wanted, Ordering::Relaxed);
    // Each place that logs remembers whether anybody hears it.
    tracing::callsite::rebuild_interest_cache();
}

/// Sends log events to standard output: information and what is worse, and debug lines where they are wanted.
pub fn init() {
    // Libraries speak of single attempts; what they come to is said once, by the part of ours that made them.
    let ours = filter_fn(|event| {
        let level = if HAS_DEBUG_LINES.load(Ordering::Relaxed) { Level::DEBUG } else { Level::INFO };
        *event.level() <= level && is_ours(event.target())
    });
    let lines = tracing_subscriber::fmt::layer().event_format(CoreDnsLines).with_filter(ours);
    // A second call, in tests, keeps the first.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines));
}

/// The target of query lines, which bear no name of a part.
const QUERY_TARGET: &str = "query";

fn is_ours(target: &str) -> bool {
    target.starts_with("podzone") || target.starts_with("plugin/") || target == QUERY_TARGET
}

struct CoreDnsLines;

impl<S, N> FormatEvent<S, N> for CoreDnsLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARNING",
            Level::INFO => "INFO",
            Level::DEBUG | Level::TRACE => "DEBUG",
        };
        write!(out, "[{level}] {}", prefix(event.metadata().target()))?;
        let mut line = Line { message: String::new(), fields: String::new() };
        event.record(&mut line);
        writeln!(out, "{}{}", line.message, line.fields)
    }
}

/// CoreDNS names the plugin that speaks; here the part of the program that does its work does.
fn prefix(target: &str) -> String {
    if target.starts_with("podzone::source") || target.starts_with("podzone::zone") {
        return "plugin/kubernetes: ".into();
    }
    match target.strip_prefix("plugin/") {
        Some(_) => format!("{target}: "),
        None => String::new(),
    }
}

/// A message, and its fields as ` name=value` behind it. Line breaks and control characters, which what comes from
/// outside may hold, are escaped: one event is one line.
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        let text: String = text
            .chars()
            .flat_map(|character| {
                let escaped = character.is_control().then(|| character.escape_default());
                let plain = (!character.is_control()).then_some(character);
                escaped.into_iter().flatten().chain(plain)
            })
            .collect();
        if field.name() == "message" {
            self.message = text;
        } else {
            self.fields.push_str(&format!(" {}={text}", field.name()));
        }
    }
}
