//! A map in versions: readers look one version up while the writer makes the next, which shares all that did not change.
//!
//! Entries are spread over shards by a keyed hash, the shards over groups, and the groups over rows. A shard is one array
//! in which an entry stands at the place that its hash says or soon after it, so that a look-up is a load of the row's
//! place, one of the group's, one of the shard's and one of the entry's. To change an entry is to copy its shard, its
//! group, its row and the list of rows: some dozen references at each step, whatever the size of the map up to hundreds of
//! thousands. Each is a count to be touched somewhere else, most likely out of every cache: without rows, it was a hundred.
//! What no other version holds is changed in place, so that filling a map that nobody reads yet copies nothing. `benches/pieces.rs` has the
//! measure against `DashMap`, whose readers take a lock.

use std::hash::Hash;
use std::sync::{Arc, LazyLock};

use ahash::RandomState;

/// Rows of groups, groups of a row, and the bits of a hash that choose among either.
const ROWS: usize = 8;
const ROW_BITS: u32 = ROWS.trailing_zeros();
/// Groups of shards, and the bits of a hash that choose one.
const GROUPS: usize = ROWS * ROWS;
const GROUP_BITS: u32 = 2 * ROW_BITS;
/// Places of a shard with its first entry.
const PLACES_MIN: usize = 4;

/// A keyed hash of octets. Tenants choose the names of Services and pods, and without the key could choose names that
/// all fall into one place.
pub fn keyed_hash(octets: &[u8]) -> u32 {
    (keyed_hash_of(octets) >> 32) as u32
}

/// The same of anything, in all its bits.
pub(super) fn keyed_hash_of<T: Hash + ?Sized>(value: &T) -> u64 {
    static STATE: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    STATE.hash_one(value)
}

/// An entry of a [`Shards`], which knows its key.
pub trait Entry: Clone {
    /// What it is looked up by.
    type Key: ?Sized;

    /// Entries of a shard, on average, with which each group gets twice as many. To copy a group touches a count of
    /// references of each of its shards, and to copy a shard those that its entries have: where they have none, shards are
    /// to be large and few.
    const SHARD_ENTRIES: usize = 32;

    /// The keyed hash of a key.
    fn hash_of(key: &Self::Key) -> u32;

    /// Whether a key is its key.
    fn has_key(&self, key: &Self::Key) -> bool;
}

/// A place in one version of a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    shard: usize,
    place: usize,
}

/// A version of a map. A clone is another version, and cheap.
#[derive(Clone, Debug)]
pub struct Shards<E> {
    /// The first bits of a hash choose a row, the next a group of it, and the next a shard of that. All groups have as many
    /// shards, a power of two.
    rows: Arc<[Row<E>]>,
    len: usize,
}

type Row<E> = Arc<[Group<E>]>;

type Group<E> = Arc<[Shard<E>]>;

#[derive(Clone, Debug)]
struct Shard<E> {
    /// Entries with their hashes, each at the place that the last bits of its hash say, or at the next that was free.
    /// There is always one that is, unless there are no places at all.
    places: Arc<[Place<E>]>,
    taken: usize,
}

type Place<E> = Option<(u32, E)>;

impl<E: Entry> Default for Shards<E> {
    fn default() -> Self {
        let group: Group<E> = Arc::new([Shard { places: Arc::new([]), taken: 0 }]);
        let row: Row<E> = vec![group; ROWS].into();
        Self { rows: vec![row; ROWS].into(), len: 0 }
    }
}

impl<E: Entry> Shards<E> {
    /// The entry of a key.
    pub fn get(&self, key: &E::Key) -> Option<&E> {
        self.get_hashed(E::hash_of(key), key)
    }

    /// The first entry with a hash, whatever its key: for those who touch what they will need before they need it.
    pub fn first_with(&self, hash: u32) -> Option<&E> {
        let places = &self.shard(hash)?.places;
        let (of, entry) = places.get(hash as usize & places.len().wrapping_sub(1))?.as_ref()?;
        (*of == hash).then_some(entry)
    }

    /// All entries with a hash, whatever their keys.
    pub fn all_with(&self, hash: u32) -> impl Iterator<Item = &E> {
        let places = self.shard(hash).map_or(&[][..], |shard| &shard.places);
        let mask = places.len().wrapping_sub(1);
        // An empty place ends the run, and there always is one.
        let run = (0..places.len()).map_while(move |step| places[(hash as usize + step) & mask].as_ref());
        run.filter(move |(of, _)| *of == hash).map(|(_, entry)| entry)
    }

    /// The entry of a key whose hash is known.
    pub fn get_hashed(&self, hash: u32, key: &E::Key) -> Option<&E> {
        let shard = self.shard(hash)?;
        let place = place_of(&shard.places, hash, key)?;
        shard.places.get(place)?.as_ref().map(|(_, entry)| entry)
    }

    fn shard(&self, hash: u32) -> Option<&Shard<E>> {
        let (row, group) = group_of(hash);
        let group = self.rows.get(row)?.get(group)?;
        group.get(shard_of(hash, group.len()))
    }

    fn shards(&self) -> impl Iterator<Item = &Shard<E>> {
        self.groups().flat_map(|group| group.iter())
    }

    fn groups(&self) -> impl Iterator<Item = &Group<E>> {
        self.rows.iter().flat_map(|row| row.iter())
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// How much memory its places take, in octets; what entries refer to is not counted.
    pub fn octets(&self) -> usize {
        self.shards().map(|shard| size_of_val(&*shard.places) + size_of::<Shard<E>>()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.shards().flat_map(|shard| shard.places.iter().flatten()).map(|(_, entry)| entry)
    }

    /// The next entry behind a place, in no order: for those who do not hold on to what they look at.
    pub fn next(&self, cursor: &mut Cursor) -> Option<&E> {
        // All groups have as many shards.
        let count = self.groups().next().map_or(1, |group| group.len());
        loop {
            let group = cursor.shard / count;
            let shard = self.rows.get(group / ROWS)?.get(group % ROWS)?.get(cursor.shard % count)?;
            let rest = shard.places.get(cursor.place..).unwrap_or(&[]);
            if let Some((at, (_, entry))) = rest.iter().enumerate().find_map(|(at, place)| Some((at, place.as_ref()?)))
            {
                cursor.place += at + 1;
                return Some(entry);
            }
            *cursor = Cursor { shard: cursor.shard + 1, place: 0 };
        }
    }

    /// Puts an entry in the place of the key's, or takes it away.
    pub fn set(&mut self, key: &E::Key, new: Option<E>) {
        let hash = E::hash_of(key);
        let (row, group) = group_of(hash);
        let group = &mut Arc::make_mut(&mut Arc::make_mut(&mut self.rows)[row])[group];
        let count = group.len();
        let shard = &mut Arc::make_mut(group)[shard_of(hash, count)];
        match (place_of(&shard.places, hash, key), new) {
            (Some(place), Some(new)) => Arc::make_mut(&mut shard.places)[place] = Some((hash, new)),
            (Some(place), None) => {
                take(Arc::make_mut(&mut shard.places), place);
                shard.taken -= 1;
                self.len -= 1;
            }
            (None, Some(new)) => {
                if (shard.taken + 1) * 4 > shard.places.len() * 3 {
                    let all = shard.places.iter().flatten().cloned().collect();
                    *shard = Shard::with(all, (shard.places.len() * 2).max(PLACES_MIN));
                }
                put(Arc::make_mut(&mut shard.places), hash, new);
                shard.taken += 1;
                self.len += 1;
                if self.len > GROUPS * count * E::SHARD_ENTRIES {
                    self.spread(count * 2);
                }
            }
            (None, None) => {}
        }
    }

    /// Spreads the entries of each group over another number of shards.
    fn spread(&mut self, count: usize) {
        let spread = |group: &Group<E>| {
            let mut entries = vec![Vec::new(); count];
            for (hash, entry) in group.iter().flat_map(|shard| shard.places.iter().flatten()) {
                entries[shard_of(*hash, count)].push((*hash, entry.clone()));
            }
            let shards = entries.into_iter().map(|entries| {
                let places = (entries.len() * 3 / 2 + 1).next_power_of_two().max(PLACES_MIN);
                Shard::with(entries, places)
            });
            shards.collect()
        };
        self.rows = self.rows.iter().map(|row| row.iter().map(spread).collect()).collect();
    }
}

/// The row of a hash, and the group of that row.
fn group_of(hash: u32) -> (usize, usize) {
    let group = (hash >> (u32::BITS - GROUP_BITS)) as usize;
    (group / ROWS, group % ROWS)
}

/// The shard of a hash among the so many of its group, by the bits behind those of the group.
fn shard_of(hash: u32, count: usize) -> usize {
    ((u64::from(hash << GROUP_BITS) * count as u64) >> u32::BITS) as usize
}

/// Where a key's entry stands in a shard.
fn place_of<E: Entry>(shard: &[Place<E>], hash: u32, key: &E::Key) -> Option<usize> {
    let mask = shard.len().wrapping_sub(1);
    let mut place = hash as usize & mask;
    // An empty shard has no place at all.
    while let Some((of, entry)) = shard.get(place)? {
        if *of == hash && entry.has_key(key) {
            return Some(place);
        }
        place = (place + 1) & mask;
    }
    None
}

impl<E: Clone> Shard<E> {
    /// A shard of so many places, a power of two and more than there are entries.
    fn with(entries: Vec<(u32, E)>, count: usize) -> Self {
        let mut places = vec![None; count];
        let taken = entries.len();
        for (hash, entry) in entries {
            put(&mut places, hash, entry);
        }
        Self { places: places.into(), taken }
    }
}

fn put<E>(places: &mut [Place<E>], hash: u32, entry: E) {
    let mask = places.len() - 1;
    let mut place = hash as usize & mask;
    while places[place].is_some() {
        place = (place + 1) & mask;
    }
    places[place] = Some((hash, entry));
}

/// Takes the entry of a place away. Of those that stand behind it without a gap, each moves up that would not be found
/// otherwise: a search begins at the place that a hash says, and ends at the first empty one.
fn take<E>(places: &mut [Place<E>], place: usize) {
    let mask = places.len() - 1;
    let mut free = place;
    places[free] = None;
    for step in 1..places.len() {
        let at = (place + step) & mask;
        let Some((hash, _)) = &places[at] else { return };
        // How far it stands from where its search begins, and from the free place.
        let [from_first, from_free] = [*hash as usize, free].map(|place| at.wrapping_sub(place) & mask);
        if from_first >= from_free {
            places.swap(at, free);
            free = at;
        }
    }
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
            let (mut map, mut model) = (Shards::<Pair>::default(), BTreeMap::new());
            let mut versions = Vec::new();
            for (at, (key, value)) in changes.into_iter().enumerate() {
                map.set(&key, value.map(|value| Pair(key, value)));
                match value {
                    Some(value) => model.insert(key, value),
                    None => model.remove(&key),
                };
                if at % 8 == 0 {
                    versions.push((map.clone(), model.clone()));
                }
            }
            versions.push((map, model));
            for (map, model) in versions {
                prop_assert_eq!(map.len(), model.len());
                let mut all: Vec<_> = map.iter().map(|pair| (pair.0, pair.1)).collect();
                all.sort_unstable();
                prop_assert_eq!(&all, &model.iter().map(|(key, value)| (*key, *value)).collect::<Vec<_>>());
                let mut cursor = Cursor::default();
                let mut stepped: Vec<_> = std::iter::from_fn(|| map.next(&mut cursor)).map(|pair| (pair.0, pair.1)).collect();
                stepped.sort_unstable();
                prop_assert_eq!(stepped, all);
                for key in 0..=u8::MAX {
                    prop_assert_eq!(map.get(&key).map(|pair| pair.1), model.get(&key).copied());
                }
            }
        }
    }
}
