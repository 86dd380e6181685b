//! Cuts: the versions of a view that its SOA serial counts, and that secondaries are given.
//!
//! A view may be published many times in a second; it is cut once at most, the first change after a quiet second at
//! once. A cut compares what stands with what stood at the last one: what changed and changed back moves no serial. That
//! is known by what the last cut holds, which shares all but a second's changes with what is published.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::HashSet;

use super::delta::{Delta, Replaced};
use super::name::Labels;
use super::publish::pointers;
use super::serial::next_serial;
use super::snapshot::Snapshot;

/// The shortest time between two cuts. Serials are seconds where nothing pushes them ahead, and two cuts in a second
/// would.
pub const CUT_PAUSE: Duration = Duration::from_secs(1);

/// A cut of a view.
#[derive(Debug)]
pub struct Cut<'c> {
    /// What was cut the last time; `None` for the first cut, when everything was listed once.
    pub before: Option<&'c Snapshot>,
    /// What is cut now; its serial is the SOA's from now on.
    pub after: &'c Snapshot,
    /// What lies between the two; for the first cut, nothing.
    pub delta: Delta,
}

/// Who follows the cuts of a view. It is told before the new serial is answered.
pub type CutFollower = Box<dyn FnMut(&Cut<'_>) + Send>;

/// What may have changed since the last cut.
#[derive(Debug, Default)]
struct Touched {
    services: HashSet<Labels>,
    namespaces: HashSet<Labels>,
    pods: HashSet<(IpAddr, Arc<Labels>)>,
    name_servers: bool,
}

/// What a view was at its last cut, and what was touched since.
#[derive(Default)]
pub(super) struct Cutter {
    last: Option<(Instant, Snapshot)>,
    touched: Touched,
    followers: Vec<CutFollower>,
}

impl Cutter {
    pub(super) fn follow(&mut self, follower: CutFollower) {
        self.followers.push(follower);
    }

    /// Takes note of what a publication changes. Before the first cut nothing is: a listing is not held twice.
    pub(super) fn note(&mut self, delta: &Delta) {
        if self.last.is_none() {
            return;
        }
        let Touched { services, namespaces, pods, name_servers } = &mut self.touched;
        services.extend(delta.services.iter().map(|change| change.key.clone()));
        namespaces.extend(delta.namespaces.iter().map(|(namespace, _)| namespace.clone()));
        pods.extend(delta.pods.iter().map(|(address, namespace, _)| (*address, Arc::clone(namespace))));
        *name_servers |= delta.name_servers.is_some();
    }

    /// Whether all that was published is cut.
    pub(super) fn is_done(&self) -> bool {
        self.last.is_some() && self.touched.is_empty()
    }

    /// When the next cut is to be made, if anything was touched.
    pub(super) fn due(&self) -> Option<Instant> {
        let (last, _) = self.last.as_ref()?;
        (!self.touched.is_empty()).then(|| *last + CUT_PAUSE)
    }

    /// Cuts, if it is time to; whether the serial moved.
    pub(super) fn cut(&mut self, next: &mut Snapshot, now: Instant, unix_secs: u32) -> bool {
        let is_first = self.last.is_none();
        if is_first && !next.is_synced || !is_first && self.due().is_none_or(|due| now < due) {
            return false;
        }
        let touched = std::mem::take(&mut self.touched);
        let before = self.last.as_ref().map(|(_, before)| before);
        let delta = before.map(|before| touched.delta(before, next, !self.followers.is_empty())).unwrap_or_default();
        if !is_first && delta.is_empty() {
            // Equal, but not the same memory: what was replaced can go.
            self.last = self.last.take().map(|(last, _)| (last, next.clone()));
            return false;
        }
        next.serial = next_serial(next.serial, unix_secs);
        let cut = Cut { before, after: next, delta };
        for follower in &mut self.followers {
            follower(&cut);
        }
        self.last = Some((now, next.clone()));
        true
    }
}

impl Touched {
    fn is_empty(&self) -> bool {
        self.services.is_empty() && self.namespaces.is_empty() && self.pods.is_empty() && !self.name_servers
    }

    /// What really changed. The pointers, which follow from the Services, only where somebody wants to know.
    fn delta(self, before: &Snapshot, after: &Snapshot, with_pointers: bool) -> Delta {
        let mut delta = Delta { version: after.version(), ..Delta::default() };
        for key in self.services {
            let (old, new) = (before.service(key.as_wire()), after.service(key.as_wire()));
            if old != new {
                delta.services.push(Replaced { key, old: old.cloned(), new: new.cloned() });
            }
        }
        if with_pointers {
            let sides = delta.services.iter().flat_map(|change| {
                let (old, new) = (change.old.as_ref(), change.new.as_ref());
                let gone = old.map(|old| old.beyond(new)).unwrap_or_default();
                let come = new.map(|new| new.beyond(old)).unwrap_or_default();
                gone.into_iter().chain(come)
            });
            delta.pointers = pointers(before, after, sides.map(|(address, _)| address).collect());
        }
        for namespace in self.namespaces {
            let exists = after.has_namespace(namespace.as_wire());
            if exists != before.has_namespace(namespace.as_wire()) {
                delta.namespaces.push((namespace, exists));
            }
        }
        for (address, namespace) in self.pods {
            let change = i64::from(after.pods_of(address, &namespace)) - i64::from(before.pods_of(address, &namespace));
            if change != 0 {
                delta.pods.push((address, namespace, change));
            }
        }
        if self.name_servers && before.name_servers() != after.name_servers() {
            delta.name_servers = Some(Arc::new(after.name_servers().clone()));
        }
        delta
    }
}
