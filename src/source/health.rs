//! What is known about a source's own state, for readiness, metrics and status.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::requests::Requests;
use crate::model::Kind;

/// The state of a source, by kind. Shared between the source's tasks and whoever asks.
#[derive(Debug)]
pub struct Health {
    kinds: Vec<(Kind, Mutex<Status>)>,
    /// When the first of the changes was received that nobody has taken from here yet.
    changed: Mutex<Option<Instant>>,
    /// Its requests to an API server; none of manifests.
    pub requests: Requests,
}

/// The state of one kind.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// A full listing has been sent at least once. Never becomes false again.
    pub listed: bool,
    /// What is held of it was restored before that, from a snapshot.
    pub restored: bool,
    /// Full listings sent, the first included: all but the first are relists.
    pub listings: u64,
    /// The listing under way, one beside a watch too; `None` while there is none.
    pub listing: Option<Listing>,
    /// How long the last listing took that was sent in full; of manifests it is not measured.
    pub last_listing: Option<Duration>,
    /// Objects applied and deleted so far, listings included.
    pub events: u64,
    /// When an event (not a bookmark) was last received; `None` before the first.
    pub last_event: Option<SystemTime>,
    /// When the source last heard anything of this kind, bookmarks included (for manifests: when the folder was last
    /// looked through): its age is the age of the data.
    pub last_heard: Option<Instant>,
    /// Objects (or parts of objects) left out because they could not be used, each sighting counted.
    pub malformed: u64,
    /// Failed attempts to list or watch, or to read manifests.
    pub failures: u64,
    /// Watches that were given up because they were open and silent.
    pub silences: u64,
    /// Listings beside a watch, to see that it tells everything.
    pub checks: u64,
    /// Changes that such a listing found and its watch had not told.
    pub missed: u64,
    /// What keeps the source from being up to date right now; `None` while all is well.
    pub failing: Option<Failing>,
    /// The last failure, even if it is over.
    pub last_error: Option<String>,
}

/// A listing under way.
#[derive(Clone, Copy, Debug)]
pub struct Listing {
    /// When it was asked for.
    pub begun: Instant,
    /// Objects that came so far.
    pub objects: u64,
}

/// A failure that lasts.
#[derive(Clone, Debug)]
pub struct Failing {
    /// When it began.
    pub since: SystemTime,
    /// Its latest cause.
    pub cause: String,
    /// What kind of cause that is.
    pub why: Why,
}

/// What somebody may do about a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Why {
    /// Wait, or look at the cause.
    #[default]
    Other,
    /// Grant the right to use this verb.
    Forbidden(&'static str),
    /// Install the custom resource, if it is wanted at all.
    Absent,
}

impl Status {
    /// For how long nothing is heard of this kind, though there is something of it, and no attempt succeeds.
    pub fn lost_for(&self) -> Option<Duration> {
        let failing = self.failing.as_ref().filter(|_| self.listed || self.restored)?;
        let silent = self.last_heard.map_or(Duration::MAX, |heard| heard.elapsed());
        Some(failing.since.elapsed().unwrap_or_default().min(silent))
    }
}

impl Health {
    pub(super) fn new(kinds: &[Kind]) -> Self {
        let kinds = kinds.iter().map(|kind| (*kind, Mutex::default())).collect();
        Self { kinds, changed: Mutex::default(), requests: Requests::default() }
    }

    /// Whether every kind of the source has been listed once.
    pub fn is_synced(&self) -> bool {
        self.kinds.iter().all(|(_, status)| lock(status).listed)
    }

    /// The state of `kind`; `None` if the source does not follow it.
    pub fn status(&self, kind: Kind) -> Option<Status> {
        self.kinds.iter().find(|(known, _)| *known == kind).map(|(_, status)| lock(status).clone())
    }

    /// The kinds that the source follows.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.kinds.iter().map(|(kind, _)| *kind)
    }

    /// These kinds were restored from a snapshot.
    pub fn restored(&self, kinds: &[Kind]) {
        kinds.iter().for_each(|kind| self.update(*kind, |status| status.restored = true));
    }

    /// A change was received.
    pub(super) fn changed(&self) {
        lock(&self.changed).get_or_insert_with(Instant::now);
    }

    /// Since when a change waits to be taken from the source; from now on it waits no more.
    pub fn take_changed(&self) -> Option<Instant> {
        lock(&self.changed).take()
    }

    fn update(&self, kind: Kind, change: impl FnOnce(&mut Status)) {
        if let Some((_, status)) = self.kinds.iter().find(|(known, _)| *known == kind) {
            change(&mut lock(status));
        }
    }

    /// A listing is asked for; one that went on is given up for it.
    pub(super) fn listing_begins(&self, kind: Kind) {
        self.update(kind, |status| status.listing = Some(Listing { begun: Instant::now(), objects: 0 }));
    }

    /// There is no listing any more, whether or not it was sent in full.
    pub(super) fn listing_ends(&self, kind: Kind) {
        self.update(kind, |status| status.listing = None);
    }

    /// A listing was sent in full; gives what it was.
    pub(super) fn listed(&self, kind: Kind) -> Option<Listing> {
        let mut ended = None;
        self.update(kind, |status| {
            status.listed = true;
            status.listings += 1;
            ended = status.listing.take();
            status.last_listing = ended.map(|listing| listing.begun.elapsed()).or(status.last_listing);
        });
        ended
    }

    pub(super) fn events(&self, kind: Kind, count: usize) {
        self.update(kind, |status| {
            status.events += count as u64;
            if let Some(listing) = &mut status.listing {
                listing.objects += count as u64;
            }
            status.last_event = Some(SystemTime::now());
        });
    }

    /// The source heard of this kind, so that what failed before is over.
    pub(super) fn heard(&self, kind: Kind) {
        self.update(kind, |status| {
            status.last_heard = Some(Instant::now());
            status.failing = None;
        });
    }

    pub(super) fn malformed(&self, kind: Kind, count: usize) {
        self.update(kind, |status| status.malformed += count as u64);
    }

    pub(super) fn silent(&self, kind: Kind) {
        self.update(kind, |status| status.silences += 1);
    }

    /// A check ended, and found so many changes that the watch had not told.
    pub(super) fn checked(&self, kind: Kind, missed: usize) {
        self.update(kind, |status| {
            status.checks += 1;
            status.missed += missed as u64;
        });
    }

    /// A look at manifests found this wrong, or nothing. Only a new cause counts as a failure, however often it is
    /// looked at.
    pub(super) fn looked(&self, kind: Kind, cause: Option<&str>) {
        let known = self.status(kind).and_then(|status| status.failing).map(|failing| failing.cause);
        match cause {
            None => self.heard(kind),
            Some(cause) if known.as_deref() != Some(cause) => self.failed(kind, cause, Why::Other),
            Some(_) => {}
        }
        self.update(kind, |status| status.last_heard = Some(Instant::now()));
    }

    pub(super) fn failed(&self, kind: Kind, cause: &str, why: Why) {
        self.update(kind, |status| {
            status.failures += 1;
            status.last_error = Some(cause.to_owned());
            let since = status.failing.take().map_or_else(SystemTime::now, |failing| failing.since);
            status.failing = Some(Failing { since, cause: cause.to_owned(), why });
        });
    }
}

// Nothing that holds the lock can panic, and a half-written status would still be a status.
fn lock<T>(status: &Mutex<T>) -> MutexGuard<'_, T> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_lasts_until_something_is_heard() {
        let health = Health::new(&[Kind::Service, Kind::Pod]);
        health.failed(Kind::Service, "refused", Why::Other);
        health.failed(Kind::Service, "forbidden", Why::Forbidden("list"));
        let status = health.status(Kind::Service).unwrap();
        assert_eq!((status.failures, status.failing.map(|failing| failing.cause)), (2, Some("forbidden".into())));
        health.heard(Kind::Service);
        health.listed(Kind::Service);
        let status = health.status(Kind::Service).unwrap();
        assert!(status.failing.is_none() && status.last_error.as_deref() == Some("forbidden"));
        assert!(!health.is_synced());
        health.listed(Kind::Pod);
        assert!(health.is_synced());
        assert!(health.status(Kind::Namespace).is_none());
    }
}
