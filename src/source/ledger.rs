//! What has been told of the objects of a kind, to see whether a watch tells everything.
//!
//! A watch that loses changes looks like one on which nothing happens. So a check lists all objects beside the watch,
//! and compares with what the watch told. What differs is no fault yet: it may be on its way. It is one if the watch
//! has come past the list's resource version and has not said it.

use std::collections::{HashMap, HashSet};

use ahash::RandomState;

use crate::model::ObjectKey;

/// Hashes in place of names and versions: 17 bytes an object, and the table's free places. Two that share a hash hide
/// a fault from the count; the list that found it has repaired it all the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    versions: HashMap<u64, u32, RandomState>,
    hasher: RandomState,
}

impl Ledger {
    /// An empty ledger to be compared with this one.
    pub(super) fn successor(&self) -> Self {
        Self { versions: HashMap::default(), hasher: self.hasher.clone() }
    }

    /// The object exists in this version.
    pub(super) fn note(&mut self, key: &ObjectKey, version: &str) {
        let version = self.hasher.hash_one(version) as u32;
        self.versions.insert(self.hash(key), version);
    }

    /// The object is gone.
    pub(super) fn forget(&mut self, key: &ObjectKey) {
        self.versions.remove(&self.hash(key));
    }

    /// The objects of which `listed`, a successor of this, says something else.
    fn differences(&self, listed: &Self) -> HashSet<u64> {
        let changed = listed.versions.iter().filter(|(key, version)| self.versions.get(key) != Some(version));
        let gone = self.versions.keys().filter(|key| !listed.versions.contains_key(key));
        changed.map(|(key, _)| *key).chain(gone.copied()).collect()
    }

    fn hash(&self, key: &ObjectKey) -> u64 {
        self.hasher.hash_one(key)
    }
}

/// What a check's list says beyond the watch, as long as the watch may still say it.
#[derive(Debug)]
pub(super) struct Check {
    version: u64,
    open: HashSet<u64>,
}

/// Whether a check goes on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The watch has not come as far as the list. What it says is older than what is known.
    Behind,
    /// It has, and this many changes it did not tell.
    Missed(usize),
}

impl Check {
    /// Compares what was told with a list of this resource version; `None` where the version is no number, so that
    /// nobody can say which of two comes first.
    pub(super) fn new(told: &Ledger, listed: &Ledger, version: &str) -> Option<Self> {
        Some(Self { version: version.parse().ok()?, open: told.differences(listed) })
    }

    /// The watch has come to `version`, by an event of `key` or a bookmark.
    pub(super) fn hear(&mut self, ledger: &Ledger, key: Option<&ObjectKey>, version: Option<&str>) -> Verdict {
        // One who says no version, or one that is no number, is taken to be up to date.
        let version = version.map_or(u64::MAX, |version| version.parse().unwrap_or(u64::MAX));
        match key {
            Some(key) if version <= self.version => {
                self.open.remove(&ledger.hash(key));
                Verdict::Behind
            }
            // The list has this version too: all that came before it has been told.
            None if version >= self.version => Verdict::Missed(self.open.len()),
            Some(_) => Verdict::Missed(self.open.len()),
            None => Verdict::Behind,
        }
    }

    /// The list's resource version.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// How many changes the watch has not told so far.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("n", name)
    }

    fn told(objects: &[(&str, &str)], ledger: &mut Ledger) {
        for (name, version) in objects {
            ledger.note(&key(name), version);
        }
    }

    fn check() -> (Ledger, Check) {
        let mut before = Ledger::default();
        told(&[("same", "1"), ("changed", "2"), ("gone", "3"), ("deleted", "4")], &mut before);
        before.forget(&key("deleted"));
        let mut listed = before.successor();
        told(&[("same", "1"), ("changed", "7"), ("new", "8")], &mut listed);
        let check = Check::new(&before, &listed, "10").unwrap();
        (listed, check)
    }

    #[test]
    fn what_the_watch_tells_in_time_is_no_fault() {
        let (ledger, mut check) = check();
        assert_eq!(check.open(), 3);
        for (name, version) in [("changed", "7"), ("new", "8"), ("gone", "9")] {
            assert_eq!(check.hear(&ledger, Some(&key(name)), Some(version)), Verdict::Behind);
        }
        assert_eq!(check.hear(&ledger, None, Some("9")), Verdict::Behind);
        assert_eq!(check.hear(&ledger, None, Some("10")), Verdict::Missed(0));
    }

    #[test]
    fn what_the_watch_passes_over_is_one() {
        let (ledger, mut check) = check();
        assert_eq!(check.hear(&ledger, Some(&key("new")), Some("8")), Verdict::Behind);
        assert_eq!(check.hear(&ledger, Some(&key("same")), Some("11")), Verdict::Missed(2));
    }

    #[test]
    fn versions_that_are_no_numbers_cannot_be_compared() {
        assert!(Check::new(&Ledger::default(), &Ledger::default(), "a7").is_none());
    }
}
