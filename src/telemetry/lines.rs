//! The form of log lines: CoreDNS's, `[LEVEL] plugin/<name>: message`, without a time, which whatever collects them adds;
//! or a JSON object each.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::corefile::harmless;

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// CoreDNS's.
    Text,
    /// `{"time":…,"level":…,"plugin":…,"message":…}`; a query's has `"query"` in place of the message.
    Json,
}

static IS_JSON: AtomicBool = AtomicBool::new(false);

pub(super) fn set_format(format: LogFormat) {
    IS_JSON.store(format == LogFormat::Json, Ordering::Relaxed);
}

/// Whether lines are JSON objects.
pub(super) fn is_json() -> bool {
    IS_JSON.load(Ordering::Relaxed)
}

/// The target of query lines, which bear no name of a part. In JSON their message is an object.
pub(super) const QUERY_TARGET: &str = "query";

pub(super) fn is_ours(target: &str) -> bool {
    target.starts_with("podzone") || target.starts_with("plugin/") || target == QUERY_TARGET
}

/// Writes events as lines.
pub(super) struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = Line::default();
        event.record(&mut line);
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        if is_json() {
            return write_json(&mut out, level, target, line);
        }
        let level = match level {
            Level::ERROR => "ERROR",
            Level::WARN => "WARNING",
            Level::INFO => "INFO",
            Level::DEBUG | Level::TRACE => "DEBUG",
        };
        write!(out, "[{level}] ")?;
        if let Some(plugin) = plugin(target) {
            write!(out, "plugin/{plugin}: ")?;
        }
        // What comes from outside may hold line breaks: one event is one line.
        write!(out, "{}", harmless(&line.message))?;
        for (name, value) in &line.fields {
            write!(out, " {name}={}", harmless(value))?;
        }
        writeln!(out)
    }
}

fn write_json(out: &mut Writer<'_>, level: Level, target: &str, line: Line) -> fmt::Result {
    let mut object = Map::new();
    object.insert("time".into(), jiff::Timestamp::now().to_string().into());
    object.insert("level".into(), level.as_str().to_lowercase().into());
    if let Some(plugin) = plugin(target) {
        object.insert("plugin".into(), plugin.into());
    }
    match serde_json::from_str::<Value>(&line.message) {
        Ok(query) if target == QUERY_TARGET => {
            object.insert("query".into(), query);
        }
        _ => {
            object.insert("message".into(), line.message.into());
        }
    }
    for (name, value) in line.fields {
        object.insert(name.into(), value.into());
    }
    writeln!(out, "{}", Value::Object(object))
}

/// CoreDNS names the plugin that speaks; here the part of the program that does its work does.
fn plugin(target: &str) -> Option<&str> {
    if target.starts_with("podzone::source") || target.starts_with("podzone::zone") {
        return Some("kubernetes");
    }
    target.strip_prefix("plugin/")
}

/// An event's message and fields.
#[derive(Default)]
struct Line {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            name => self.fields.push((name, text)),
        }
    }
}
