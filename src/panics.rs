//! Panics: none should be; one that is must cost one query or one event, be seen, and be counted.

use std::sync::atomic::{AtomicU64, Ordering};

static SURVIVED: AtomicU64 = AtomicU64::new(0);

/// Logs and counts panics from now on, in place of what the standard library prints.
pub fn watch() {
    std::panic::set_hook(Box::new(|panic| {
        SURVIVED.fetch_add(1, Ordering::Relaxed);
        let thread = std::thread::current();
        tracing::error!("Recovered from panic in {}: {panic}", thread.name().unwrap_or("a thread"));
    }));
}

/// How many there have been.
pub fn survived() -> u64 {
    SURVIVED.load(Ordering::Relaxed)
}

/// Runs something that must not take its thread along; `None` if it panicked. What it was changing may be half changed:
/// it must be something that the next run does not build on, or that the next listing repairs.
pub fn contain<T>(run: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).ok()
}

#[cfg(test)]
mod tests {
    #[test]
    #[allow(clippy::panic)]
    fn a_panic_is_contained() {
        assert_eq!(super::contain(|| 1), Some(1));
        assert_eq!(super::contain(|| -> u8 { panic!("for the test") }), None);
    }
}
