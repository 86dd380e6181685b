//! Holding back removals that come too thick to be believed.
//!
//! A listing is believed in what it names. Where it leaves out more than a share of all endpoints at once, the API server
//! may have lost its data, and not the cluster its pods: an etcd that was restored from a backup, or by half. What such a
//! listing leaves out stays for a while, and goes only if no listing and no watch has named it until then.
//!
//! What a watch says is deleted is deleted: somebody said so, of each object.

use std::time::{Duration, Instant};

use ahash::{HashMap, HashSet};

use super::Cluster;
use crate::model::{EndpointSlice, Kind, ObjectKey};

/// When removals are held back, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MassRemoval {
    /// A listing that leaves out more than this share of all endpoints is not believed at once; 0 to 99.
    pub percent: u8,
    /// How long what it leaves out stays.
    pub time: Duration,
}

/// What became of removals that were held back, for who tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldNote {
    /// A listing left too much out.
    Began {
        /// The kind that was listed.
        kind: Kind,
        /// Objects that are held from now on.
        objects: usize,
        /// The endpoints (or pods, or objects where there are no endpoints) that it left out in all, and how many there
        /// are.
        lost: Lost,
        /// For how long they are held.
        time: Duration,
    },
    /// The time was over and they had not come back.
    Removed {
        /// Their kind.
        kind: Kind,
        /// How many.
        objects: usize,
    },
    /// All that was held of a kind has come back, or was deleted one by one.
    Returned {
        /// The kind.
        kind: Kind,
    },
}

/// A share of what there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// What is left out.
    pub lost: usize,
    /// What there is, that included.
    pub of: usize,
}

impl Lost {
    fn is_more_than(self, percent: u8) -> bool {
        self.lost as u128 * 100 > self.of as u128 * u128::from(percent)
    }
}

/// What is held back.
#[derive(Debug, Default)]
pub(super) struct Hold {
    rule: Option<MassRemoval>,
    /// The objects of each kind, and until when.
    held: HashMap<Kind, HashMap<ObjectKey, Instant>>,
    /// Nothing is to be removed before.
    next: Option<Instant>,
    notes: Vec<HoldNote>,
}

impl Hold {
    /// Whether the object, which is there or was deleted one by one, was held.
    pub(super) fn forget(&mut self, kind: Kind, key: &ObjectKey) {
        // Nearly always empty.
        if self.held.is_empty() {
            return;
        }
        if let Some(held) = self.held.get_mut(&kind)
            && held.remove(key).is_some()
            && held.is_empty()
        {
            self.held.remove(&kind);
            self.notes.push(HoldNote::Returned { kind });
        }
    }

    fn is_held(&self, kind: Kind, key: &ObjectKey) -> bool {
        self.held.get(&kind).is_some_and(|held| held.contains_key(key))
    }

    /// Takes the objects of a kind whose time is over.
    fn take_due(&mut self, kind: Kind, now: Instant) -> Vec<ObjectKey> {
        let Some(held) = self.held.get_mut(&kind) else { return Vec::new() };
        let due: Vec<ObjectKey> = held.extract_if(|_, until| *until <= now).map(|(key, _)| key).collect();
        if held.is_empty() {
            self.held.remove(&kind);
        }
        if !due.is_empty() {
            self.notes.push(HoldNote::Removed { kind, objects: due.len() });
        }
        due
    }
}

impl Cluster {
    /// Holds removals back by this rule from now on. Without one nothing is held, and what was held is removed when it
    /// is next asked for.
    pub fn set_mass_removal(&mut self, rule: Option<MassRemoval>, now: Instant) {
        self.hold.rule = rule;
        // What is held is held no longer than by the new rule.
        let latest = now + rule.map_or(Duration::ZERO, |rule| rule.time);
        for until in self.hold.held.values_mut().flat_map(HashMap::values_mut) {
            *until = latest.min(*until);
        }
        self.hold.next = (!self.hold.held.is_empty()).then_some(now);
    }

    /// When [`Self::release`] has something to do, if nothing comes back until then.
    pub fn release_due(&self) -> Option<Instant> {
        self.hold.next.filter(|_| !self.hold.held.is_empty())
    }

    /// Removes what was held until now and has not come back. A kind that is being listed waits for the listing's end;
    /// others wait as long as `waits` says so of them, and are asked for again after `again`.
    pub fn release(&mut self, now: Instant, again: Duration, waits: impl Fn(Kind) -> bool) {
        let kinds: Vec<Kind> = self.hold.held.keys().copied().collect();
        for kind in kinds {
            if self.under_way.contains(&kind) || waits(kind) {
                continue;
            }
            for key in self.hold.take_due(kind, now) {
                self.remove(kind, &key);
            }
        }
        let left = self.hold.held.values().flat_map(HashMap::values);
        self.hold.next = left.min().map(|until| if *until <= now { now + again } else { *until });
    }

    /// How many objects of each kind are there only because their removal is held back.
    pub fn held(&self) -> impl Iterator<Item = (Kind, usize)> {
        self.hold.held.iter().map(|(kind, held)| (*kind, held.len()))
    }

    /// Until when they are held at the longest.
    pub fn held_until(&self) -> Option<Instant> {
        self.hold.held.values().flat_map(HashMap::values).max().copied()
    }

    /// What became of removals since the last call.
    pub fn take_hold_notes(&mut self) -> Vec<HoldNote> {
        std::mem::take(&mut self.hold.notes)
    }

    /// Which of the objects that a listing of a kind left out are to be removed now.
    pub(super) fn sift(&mut self, kind: Kind, stale: Vec<ObjectKey>, now: Instant) -> Vec<ObjectKey> {
        let Some(rule) = self.hold.rule.filter(|_| !stale.is_empty()) else { return stale };
        let mut gone = self.hold.take_due(kind, now);
        let over: HashSet<&ObjectKey> = gone.iter().collect();
        let missing: HashSet<&ObjectKey> = stale.iter().filter(|key| !over.contains(key)).collect();
        let lost = self.lost(kind, &missing);
        let new = missing.into_iter().filter(|key| !self.hold.is_held(kind, key));
        let new: Vec<ObjectKey> = new.cloned().collect();
        if new.is_empty() {
            return gone;
        }
        if !lost.is_more_than(rule.percent) {
            gone.extend(new);
            return gone;
        }
        let until = now + rule.time;
        self.hold.notes.push(HoldNote::Began { kind, objects: new.len(), lost, time: rule.time });
        self.hold.held.entry(kind).or_default().extend(new.into_iter().map(|key| (key, until)));
        self.hold.next = Some(self.hold.next.map_or(until, |next| next.min(until)));
        gone
    }

    /// How many endpoints would go with these objects. Where there are none at all, objects count.
    fn lost(&self, kind: Kind, missing: &HashSet<&ObjectKey>) -> Lost {
        let objects = Lost { lost: missing.len(), of: self.count(kind) };
        if kind == Kind::Pod {
            return objects;
        }
        let namespaces: HashSet<&str> = missing.iter().map(|key| &*key.name).collect();
        let goes = |slice: &EndpointSlice| match kind {
            Kind::EndpointSlice => missing.contains(&slice.key),
            Kind::Service => super::owner(slice).is_some_and(|owner| missing.contains(&owner)),
            Kind::ServiceImport => super::importer(slice).is_some_and(|importer| missing.contains(&importer)),
            Kind::Namespace => namespaces.contains(&*slice.key.namespace),
            Kind::Pod => false,
        };
        let mut endpoints = Lost::default();
        for slice in self.slices.live.values().map(|live| &live.object) {
            let count = slice.endpoints.iter().count();
            endpoints.of += count;
            endpoints.lost += if goes(slice) { count } else { 0 };
        }
        if endpoints.of == 0 { objects } else { endpoints }
    }
}
