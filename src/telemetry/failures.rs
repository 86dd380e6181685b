//! Failures (`errors`): each a line, or many told together (plugin/errors/errors.go).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::config::{Consolidate, Errors, LogLevel};

/// What one server block does with failures.
#[derive(Debug)]
pub(super) struct Failures {
    gathered: Vec<Arc<Gathered>>,
    runtime: Option<Handle>,
}

/// Failures of one kind since the last line about them.
#[derive(Debug)]
struct Gathered {
    options: Consolidate,
    count: AtomicU32,
}

impl Failures {
    /// To be called on the runtime, on which the periods end; without one, nothing is gathered.
    pub(super) fn new(errors: &Errors) -> Self {
        let gathered = errors.consolidate.iter().cloned();
        let gathered = gathered.map(|options| Arc::new(Gathered { options, count: AtomicU32::new(0) }));
        Self { gathered: gathered.collect(), runtime: Handle::try_current().ok() }
    }

    /// Logs a failure, or counts it until its period ends.
    pub(super) fn tell(&self, line: &str, failure: &str) {
        let found = self.gathered.iter().find(|gathered| gathered.options.pattern.is_match(failure));
        let Some((gathered, runtime)) = found.zip(self.runtime.as_ref()) else { return log(LogLevel::Error, line) };
        if gathered.count.fetch_add(1, Ordering::Relaxed) > 0 {
            return;
        }
        let ending = Arc::clone(gathered);
        runtime.spawn(async move {
            sleep(ending.options.period).await;
            ending.tell();
        });
        if gathered.options.show_first {
            log(gathered.options.level, line);
        }
    }
}

impl Drop for Failures {
    /// What was counted is told before the end.
    fn drop(&mut self) {
        self.gathered.iter().for_each(|gathered| gathered.tell());
    }
}

impl Gathered {
    fn tell(&self) {
        let count = self.count.swap(0, Ordering::Relaxed);
        let Consolidate { pattern, level, show_first, .. } = &self.options;
        let period = self.options.period_text();
        if count > 1 || count == 1 && !show_first {
            log(*level, &format!("{count} errors like '{pattern}' occurred in last {period}"));
        }
    }
}

fn log(level: LogLevel, line: &str) {
    match level {
        LogLevel::Error => tracing::error!(target: "plugin/errors", "{line}"),
        LogLevel::Warning => tracing::warn!(target: "plugin/errors", "{line}"),
        LogLevel::Info => tracing::info!(target: "plugin/errors", "{line}"),
        LogLevel::Debug => tracing::debug!(target: "plugin/errors", "{line}"),
    }
}
