//! A map in versions: readers look one version up while the writer makes the next, which shares all that did not change.
//!
//! The trie has two levels of 64 branches, chosen by a keyed hash, above leaves that are short arrays. To change an entry
//! is to copy its leaf and the two nodes above it, some two kilobytes, whatever the size of the map; nodes that no
//! other version holds are changed in place, so that filling a map that nobody reads yet copies nothing twice.
//! A look-up is three loads that depend on each other, and a search in a leaf. `benches/pieces.rs` has the measure
//! against `DashMap`, whose readers take a lock.

use std::sync::{Arc, LazyLock};

use ahash::RandomState;

/// Branches of a node.
const FANOUT: usize = 64;
/// Bits of the hash that choose one.
const BITS: u32 = 6;

/// A keyed hash of octets. Tenants choose the names of Services and pods, and without the key could choose names that
/// all fall into one place.
pub fn keyed_hash(octets: &[u8]) -> u32 {
    static STATE: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    (STATE.hash_one(octets) >> 32) as u32
}

/// An entry of a [`Trie`], which knows its key.
pub trait Entry: Clone {
    /// What it is looked up by.
    type Key: ?Sized;

    /// The keyed hash of a key.
    fn hash_of(key: &Self::Key) -> u32;

    /// Whether a key is its key.
    fn has_key(&self, key: &Self::Key) -> bool;
}

/// A version of a map. A clone is another version, and cheap.
#[derive(Clone, Debug)]
pub struct Trie<E> {
    root: Arc<Node<Arc<Node<Leaf<E>>>>>,
    len: usize,
}

type Node<B> = [B; FANOUT];
/// Entries with their hashes, in the order of these.
type Leaf<E> = Arc<[(u32, E)]>;

impl<E: Entry> Default for Trie<E> {
    fn default() -> Self {
        let empty: Leaf<E> = Arc::new([]);
        let node = Arc::new(std::array::from_fn(|_| Arc::clone(&empty)));
        Self { root: Arc::new(std::array::from_fn(|_| Arc::clone(&node))), len: 0 }
    }
}

impl<E: Entry> Trie<E> {
    /// The entry of a key.
    pub fn get(&self, key: &E::Key) -> Option<&E> {
        self.get_hashed(E::hash_of(key), key)
    }

    /// The entry of a key whose hash is known.
    pub fn get_hashed(&self, hash: u32, key: &E::Key) -> Option<&E> {
        let leaf = &self.root[branch(hash, 0)][branch(hash, 1)];
        let first = leaf.partition_point(|(of, _)| *of < hash);
        let same = leaf[first..].iter().take_while(|(of, _)| *of == hash);
        same.map(|(_, entry)| entry).find(|entry| entry.has_key(key))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.root.iter().flat_map(|node| node.iter()).flat_map(|leaf| leaf.iter()).map(|(_, entry)| entry)
    }

    /// Puts an entry in the place of the key's, or takes it away.
    pub fn set(&mut self, key: &E::Key, new: Option<E>) {
        let hash = E::hash_of(key);
        let node = &mut Arc::make_mut(&mut self.root)[branch(hash, 0)];
        let leaf = &mut Arc::make_mut(node)[branch(hash, 1)];
        let place = leaf.iter().position(|(of, entry)| *of == hash && entry.has_key(key));
        match (place, new) {
            (Some(place), Some(new)) => {
                if let Some(leaf) = Arc::get_mut(leaf) {
                    leaf[place].1 = new;
                } else {
                    let replaced = leaf.iter().enumerate().map(|(at, (of, entry))| match at == place {
                        true => (*of, new.clone()),
                        false => (*of, entry.clone()),
                    });
                    *leaf = replaced.collect();
                }
            }
            (None, Some(new)) => {
                let before = leaf.partition_point(|(of, _)| *of < hash);
                *leaf =
                    leaf[..before].iter().cloned().chain([(hash, new)]).chain(leaf[before..].iter().cloned()).collect();
                self.len += 1;
            }
            (Some(place), None) => {
                *leaf = leaf[..place].iter().chain(&leaf[place + 1..]).cloned().collect();
                self.len -= 1;
            }
            (None, None) => {}
        }
    }
}

/// The branch that a hash takes at a level, the root's being 0.
fn branch(hash: u32, level: u32) -> usize {
    (hash >> (u32::BITS - BITS * (level + 1))) as usize % FANOUT
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Keys whose hashes meet often.
    #[derive(Clone, Debug, PartialEq)]
    struct Pair(u8, u32);

    impl Entry for Pair {
        type Key = u8;

        fn hash_of(key: &u8) -> u32 {
            u32::from(*key % 7) << 29 | u32::from(*key % 3)
        }

        fn has_key(&self, key: &u8) -> bool {
            self.0 == *key
        }
    }

    proptest! {
        #[test]
        fn each_version_holds_what_was_set_until_then(changes in prop::collection::vec((any::<u8>(), any::<Option<u32>>()), 0..200)) {
            let (mut trie, mut model) = (Trie::<Pair>::default(), BTreeMap::new());
            let mut versions = Vec::new();
            for (at, (key, value)) in changes.into_iter().enumerate() {
                trie.set(&key, value.map(|value| Pair(key, value)));
                match value {
                    Some(value) => model.insert(key, value),
                    None => model.remove(&key),
                };
                if at % 8 == 0 {
                    versions.push((trie.clone(), model.clone()));
                }
            }
            versions.push((trie, model));
            for (trie, model) in versions {
                prop_assert_eq!(trie.len(), model.len());
                let mut all: Vec<_> = trie.iter().map(|pair| (pair.0, pair.1)).collect();
                all.sort_unstable();
                prop_assert_eq!(all, model.iter().map(|(key, value)| (*key, *value)).collect::<Vec<_>>());
                for key in 0..=u8::MAX {
                    prop_assert_eq!(trie.get(&key).map(|pair| pair.1), model.get(&key).copied());
                }
            }
        }
    }
}
