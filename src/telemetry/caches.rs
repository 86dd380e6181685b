//! What is counted of caches, for as long as the process lives.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::answer::{Cache, CacheCounts};

/// The counts of all caches on all servers.
#[derive(Debug, Default)]
pub struct CacheTally(Mutex<Vec<CountedCache>>);

/// A cache on a server.
#[derive(Clone, Debug)]
pub struct CountedCache {
    /// The server's label.
    pub server: String,
    /// The zones of the cache, with commas between them.
    pub zones: String,
    /// What is counted.
    pub counts: Arc<CacheCounts>,
    cache: Weak<Cache>,
}

impl CountedCache {
    /// The cache, if it is still at work.
    pub fn cache(&self) -> Option<Arc<Cache>> {
        self.cache.upgrade()
    }
}

impl CacheTally {
    /// The counts of a cache on a server, which go on where one with the same labels was.
    pub fn of(&self, server: &str, zones: &str, cache: &Arc<Cache>) -> Arc<CacheCounts> {
        let mut all = self.all();
        let known = all.iter_mut().find(|known| known.server == server && known.zones == zones);
        if let Some(known) = known {
            known.cache = Arc::downgrade(cache);
            return Arc::clone(&known.counts);
        }
        let counts = Arc::new(CacheCounts::default());
        all.push(CountedCache {
            server: server.to_owned(),
            zones: zones.to_owned(),
            counts: Arc::clone(&counts),
            cache: Arc::downgrade(cache),
        });
        counts
    }

    /// All of them.
    pub fn read(&self) -> Vec<CountedCache> {
        self.all().clone()
    }

    fn all(&self) -> MutexGuard<'_, Vec<CountedCache>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
