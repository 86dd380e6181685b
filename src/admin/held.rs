//! What a listing left out and is held back, as it is reported on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::{Cluster, HoldNote, Kind};

/// What of a source is held back now, and how often that was.
#[derive(Debug, Default)]
pub struct Held {
    now: Mutex<Option<Now>>,
    began: AtomicU64,
    removed: AtomicU64,
}

#[derive(Clone, Debug)]
struct Now {
    objects: Vec<(Kind, usize)>,
    until: Option<Instant>,
}

impl Held {
    /// Notes what is held back.
    pub(super) fn set(&self, cluster: &Cluster) {
        let mut objects: Vec<(Kind, usize)> = cluster.held().collect();
        objects.sort_unstable();
        let now = (!objects.is_empty()).then(|| Now { objects, until: cluster.held_until() });
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Counts what became of it.
    pub fn count(&self, note: &HoldNote) {
        match note {
            HoldNote::Began { .. } => self.began.fetch_add(1, Ordering::Relaxed),
            HoldNote::Removed { objects, .. } => self.removed.fetch_add(*objects as u64, Ordering::Relaxed),
            HoldNote::Returned { .. } => 0,
        };
    }

    /// How often a listing left too much out.
    pub fn began(&self) -> u64 {
        self.began.load(Ordering::Relaxed)
    }

    /// Objects that were removed when their time was over.
    pub fn removed(&self) -> u64 {
        self.removed.load(Ordering::Relaxed)
    }

    /// How many objects of a kind are held back.
    pub fn objects(&self, kind: Kind) -> u64 {
        self.now()
            .map_or(0, |now| now.objects.iter().filter(|(of, _)| *of == kind).map(|(_, count)| *count as u64).sum())
    }

    /// What is held back and for how long, in words; `None` if nothing is.
    pub fn told(&self) -> Option<String> {
        let now = self.now()?;
        let objects: Vec<String> = now.objects.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let left = now.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        Some(format!("{} that a listing left out stay for {} s", objects.join(", "), left.as_secs()))
    }

    fn now(&self) -> Option<Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
