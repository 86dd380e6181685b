//! What becomes of queries ahead of the zones: by `acl` (plugin/acl/metrics.go), and as names of this host alone
//! (plugin/local/metrics.go).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::answer::{Action, Ahead, Answered, By, Folded, decide};
use crate::net::Exchange;

/// Queries for names below `localhost` that were answered here, by all servers.
static LOCALHOST: AtomicU64 = AtomicU64::new(0);

/// How many those were.
pub fn localhost_requests() -> u64 {
    LOCALHOST.load(Ordering::Relaxed)
}

/// What `acl` made of the queries of a server.
#[derive(Debug, Default)]
pub struct AccessCounts {
    allowed: AtomicU64,
    /// The others, by the zone that a rule is about. They are rare, or a flood, which nobody waits for.
    refused: Mutex<BTreeMap<String, [u64; 3]>>,
}

/// What becomes of queries that are not allowed, in the order of their cells, as metrics call it.
pub const REFUSALS: [&str; 3] = ["blocked", "filtered", "dropped"];

impl AccessCounts {
    /// Counts a query of a block.
    pub(super) fn count(&self, ahead: &Ahead, exchange: &Exchange<'_>, answered: &Answered<'_>) {
        let Some(question) = &answered.query.question else { return };
        let name = || Folded::new(question.name);
        match answered.by {
            By::Local if ahead.local.is_some_and(|local| local.is_below_localhost(&name())) => {
                LOCALHOST.fetch_add(1, Ordering::Relaxed);
            }
            // These come before `acl`.
            By::Local | By::Any | By::Chaos | By::Signing => {}
            By::Acl => {
                let (action, zone) = decide(&ahead.acl, &name(), question.qtype, exchange.client.ip());
                let cell = match action {
                    Action::Block => 0,
                    Action::Filter => 1,
                    Action::Drop => 2,
                    Action::Allow => return,
                };
                let zone = zone.map(ToString::to_string).unwrap_or_default();
                let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(count) = refused.entry(zone).or_default().get_mut(cell) {
                    *count += 1;
                }
            }
            _ if ahead.acl.is_empty() => {}
            By::Views | By::Elsewhere | By::Cache | By::Transfers | By::Whoami | By::Loop => {
                self.allowed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// How many were allowed.
    pub fn allowed(&self) -> u64 {
        self.allowed.load(Ordering::Relaxed)
    }

    /// How many were not, by zone, in the order of [`REFUSALS`].
    pub fn refused(&self) -> BTreeMap<String, [u64; 3]> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
