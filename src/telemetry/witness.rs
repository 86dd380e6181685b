//! What is told of each answer: the log, and the counters.

use super::counters::ServerCounters;
use super::query_log::QueryLog;
use crate::answer::Answered;
use crate::net::{Exchange, Observer, Path};

/// Logs and counts the answers of one listener.
#[derive(Debug)]
pub struct Witness {
    /// The log.
    pub log: QueryLog,
    /// The counters, where any block has `prometheus`.
    pub counters: Option<ServerCounters>,
}

impl Observer for Witness {
    fn is_watching(&self) -> bool {
        self.counters.is_some() || self.log.is_watching()
    }

    fn answered(&self, exchange: &Exchange<'_>, answered: &Answered<'_>) {
        if let Some(counters) = &self.counters {
            counters.count(exchange, answered);
        }
        if self.log.is_watching() {
            self.log.answered(exchange, answered);
        }
    }

    fn went(&self, path: Path, answers: u64) {
        if let Some(counters) = &self.counters {
            counters.went(path, answers);
        }
    }

    fn shed(&self) {
        if let Some(counters) = &self.counters {
            counters.shed();
        }
    }
}
