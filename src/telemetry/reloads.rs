//! What came of being asked to read the Corefile again (plugin/reload/metrics.go).

use std::sync::atomic::{AtomicU64, Ordering};

static FAILED: AtomicU64 = AtomicU64::new(0);

/// A Corefile could not be put to work; the one before still is.
pub fn reload_failed() {
    FAILED.fetch_add(1, Ordering::Relaxed);
}

/// How often that was.
pub fn reloads_failed() -> u64 {
    FAILED.load(Ordering::Relaxed)
}
