//! Connections to an upstream that nobody uses just now, the oldest first (plugin/pkg/proxy/persistent.go).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::stream::Connection;

/// The longest time between two looks at what has expired (defaultExpire).
const LOOK_MAX: Duration = Duration::from_secs(10);
/// The shortest.
const LOOK_MIN: Duration = Duration::from_millis(100);

/// How long connections are kept, and how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keeping {
    /// `expire`
    pub(super) expire: Duration,
    /// `max_age`
    pub(super) max_age: Option<Duration>,
    /// `max_idle_conns`; 0 is all.
    pub(super) most: usize,
}

/// The connections.
pub(super) struct Pool {
    keeping: Keeping,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    connections: VecDeque<Connection>,
    /// Somebody looks at what has expired.
    is_looked_at: bool,
}

impl Pool {
    pub(super) fn new(keeping: Keeping) -> Arc<Self> {
        Arc::new(Self { keeping, idle: Mutex::default() })
    }

    /// One that can be used still.
    pub(super) fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while let Some(connection) = idle.connections.pop_front() {
            if !self.is_stale(&connection, now) && !connection.is_over() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps one until it expires.
    pub(super) fn give(self: &Arc<Self>, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = self.keeping.most > 0 && idle.connections.len() >= self.keeping.most;
        if is_full || self.is_stale(&connection, Instant::now()) {
            return;
        }
        idle.connections.push_back(connection);
        if !std::mem::replace(&mut idle.is_looked_at, true) {
            tokio::spawn(look(Arc::downgrade(self), self.keeping.expire.clamp(LOOK_MIN, LOOK_MAX)));
        }
    }

    fn is_stale(&self, connection: &Connection, now: Instant) -> bool {
        let since = |moment: Instant| now.saturating_duration_since(moment);
        since(connection.used) > self.keeping.expire
            || self.keeping.max_age.is_some_and(|most| since(connection.created) > most)
    }

    /// Lets go what has expired; whether anything is left.
    fn clean(&self) -> bool {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        idle.connections.retain(|connection| !self.is_stale(connection, now) && !connection.is_over());
        idle.is_looked_at = !idle.connections.is_empty();
        idle.is_looked_at
    }
}

/// Looks at a pool for as long as there is something in it.
async fn look(pool: Weak<Pool>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        if !pool.upgrade().is_some_and(|pool| pool.clean()) {
            return;
        }
    }
}
