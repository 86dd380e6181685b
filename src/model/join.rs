//! Joins of objects, and tables that give their room back.

use std::collections::BTreeSet;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use ahash::HashMap;

use super::objects::ObjectKey;

/// A table with room for fewer objects than this is not worth shrinking.
const ROOMY: usize = 1024;

/// Gives room back: a map does not become smaller by itself, and a cluster may.
pub(super) fn shrink<K: Eq + Hash, V>(map: &mut HashMap<K, V>) {
    if map.capacity() > ROOMY && map.len() < map.capacity() / 4 {
        map.shrink_to_fit();
    }
}

/// A join from one key to its members. Nearly every Service has one slice, and one takes no set.
#[derive(Debug)]
pub(super) struct Join<K>(HashMap<K, Members>);

#[derive(Debug)]
enum Members {
    One(ObjectKey),
    Many(BTreeSet<ObjectKey>),
}

impl Members {
    fn iter(&self) -> impl Iterator<Item = &ObjectKey> {
        let (one, many) = match self {
            Self::One(member) => (Some(member), None),
            Self::Many(members) => (None, Some(members)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

impl<K> Default for Join<K> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<K: Eq + Hash> Join<K> {
    pub(super) fn add(&mut self, key: K, member: &ObjectKey) {
        match self.0.entry(key) {
            Entry::Vacant(vacant) => {
                vacant.insert(Members::One(member.clone()));
            }
            Entry::Occupied(mut occupied) => match occupied.get_mut() {
                Members::One(known) if known == member => {}
                Members::One(known) => {
                    let members = BTreeSet::from([known.clone(), member.clone()]);
                    occupied.insert(Members::Many(members));
                }
                Members::Many(members) => {
                    members.insert(member.clone());
                }
            },
        }
    }

    pub(super) fn drop_member(&mut self, key: &K, member: &ObjectKey) {
        let is_empty = match self.0.get_mut(key) {
            Some(Members::One(known)) => known == member,
            Some(Members::Many(members)) => {
                members.remove(member);
                members.is_empty()
            }
            None => false,
        };
        if is_empty {
            self.0.remove(key);
            shrink(&mut self.0);
        }
    }

    /// The keys that have members.
    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.keys()
    }

    pub(super) fn get<'a>(&'a self, key: &K) -> impl Iterator<Item = &'a ObjectKey> + use<'a, K> {
        self.0.get(key).into_iter().flat_map(Members::iter)
    }
}
