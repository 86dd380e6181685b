//! What came of reading the Corefile again, as CoreDNS's `reload` tells it (plugin/reload/metrics.go).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counts of the whole process: a reload replaces whatever else there is.
pub static RELOADS: Reloads = Reloads::new();

/// See the module.
#[derive(Debug)]
pub struct Reloads {
    failed: AtomicU64,
    running: Mutex<Option<(&'static str, String)>>,
}

impl Reloads {
    const fn new() -> Self {
        Self { failed: AtomicU64::new(0), running: Mutex::new(None) }
    }

    /// A changed Corefile could not be put to work; the one before still is.
    pub fn fail(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that was.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// The Corefile with this digest is at work, as far as `reload` looks at it. `hash` names the digest (`sha512`), `value`
    /// is the digest in lower-case hexadecimal digits.
    pub fn runs(&self, hash: &'static str, value: String) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some((hash, value));
    }

    /// The digest's name and value; `None` where nobody reloads.
    pub fn running(&self) -> Option<(&'static str, String)> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_digest_is_the_one_that_runs() {
        let reloads = Reloads::new();
        assert_eq!((reloads.failed(), reloads.running()), (0, None));
        reloads.runs("sha512", "aa".into());
        reloads.fail();
        reloads.runs("sha512", "bb".into());
        assert_eq!((reloads.failed(), reloads.running()), (1, Some(("sha512", "bb".into()))));
    }
}
