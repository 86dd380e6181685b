//! PTR records: which names an address has (plugin/kubernetes/reverse.go).
//!
//! For each address of a Service stands where its name is to be found: the Service by its hash, the label by its. The
//! name itself is written from there, so that it is held once.

use std::net::IpAddr;
use std::num::NonZeroU32;

use super::faults::{Fault, planted};
use super::name::Labels;
use super::packed::{HOSTNAME, label_hash};
use super::service::Service;
use super::shards::{Cursor, Entry, Shards, keyed_hash};

/// Where the name of an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pointer<A> {
    address: A,
    /// The keyed hash of the Service's key,
    service: u32,
    /// and that of the labels below it.
    label: NonZeroU32,
}

impl<A: AsRef<[u8]> + Clone + PartialEq> Entry for Pointer<A> {
    type Key = Self;

    const SHARD_ENTRIES: usize = 256;

    fn hash_of(key: &Self) -> u32 {
        keyed_hash(key.address.as_ref())
    }

    fn has_key(&self, key: &Self) -> bool {
        self == key
    }
}

/// The pointers of a view.
#[derive(Clone, Debug, Default)]
pub(super) struct Pointers {
    v4: Shards<Pointer<[u8; 4]>>,
    v6: Shards<Pointer<[u8; 16]>>,
}

/// A place among the pointers of one version.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PointerCursor {
    v4: Cursor,
    v6: Cursor,
}

/// The next address behind a place, each once: where several point from it, the first of them counts.
fn next_address<A: AsRef<[u8]> + Copy + PartialEq>(pointers: &Shards<Pointer<A>>, cursor: &mut Cursor) -> Option<A> {
    loop {
        let pointer = pointers.next(cursor)?;
        let mut same = pointers.all_with(keyed_hash(pointer.address.as_ref()));
        if same.find(|other| other.address == pointer.address) == Some(pointer) {
            return Some(pointer.address);
        }
    }
}

/// A name: the labels of an endpoint, none for a Service, and those of the Service and its namespace. `svc` and the zone
/// follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pointed<'a> {
    /// Service and namespace.
    pub key: &'a [u8],
    /// The endpoint.
    pub label: &'a [u8],
    /// The TTL of the Service's records in seconds, if it is not the view's.
    pub ttl_secs: Option<u32>,
    /// How near it is to what the pod calls itself; the lowest is the nearest.
    pub(super) rank: u8,
}

impl Pointed<'_> {
    /// The name, relative to the zone.
    pub fn to_labels(self) -> Labels {
        Labels::concat(&[self.label, self.key, b"\x03svc"])
    }
}

impl Pointers {
    /// How much memory they take, in octets.
    pub(super) fn octets(&self) -> usize {
        self.v4.octets() + self.v6.octets()
    }

    /// Takes in that one version of a Service stands in the place of another; the addresses that this touches.
    pub(super) fn replace(
        &mut self,
        old: Option<&Service>,
        new: Option<&Service>,
    ) -> impl Iterator<Item = IpAddr> + use<> {
        let key = new.or(old).map(Service::key).unwrap_or_default();
        let service = keyed_hash(key);
        let gone = old.map(|old| old.beyond(new)).unwrap_or_default();
        let come = new.map(|new| new.beyond(old)).unwrap_or_default();
        for (address, label) in &gone {
            self.set(*address, service, *label, false);
        }
        for (address, label) in &come {
            self.set(*address, service, *label, true);
        }
        gone.into_iter().chain(come).map(|(address, _)| address)
    }

    fn set(&mut self, address: IpAddr, service: u32, label: NonZeroU32, exists: bool) {
        match address {
            IpAddr::V4(address) => {
                let pointer = Pointer { address: address.octets(), service, label };
                self.v4.set(&pointer, exists.then_some(pointer));
            }
            IpAddr::V6(address) => {
                let pointer = Pointer { address: address.octets(), service, label };
                self.v6.set(&pointer, exists.then_some(pointer));
            }
        }
    }

    /// Where the names of an address are: the hashes of Service and labels.
    fn of(&self, address: IpAddr) -> impl Iterator<Item = (u32, NonZeroU32)> {
        let (v4, v6) = match address {
            IpAddr::V4(address) => (Some(address.octets()), None),
            IpAddr::V6(address) => (None, Some(address.octets())),
        };
        let v4 = v4.into_iter().flat_map(|octets| {
            let found = self.v4.all_with(keyed_hash(&octets)).filter(move |pointer| pointer.address == octets);
            found.map(|pointer| (pointer.service, pointer.label))
        });
        let v6 = v6.into_iter().flat_map(|octets| {
            let found = self.v6.all_with(keyed_hash(&octets)).filter(move |pointer| pointer.address == octets);
            found.map(|pointer| (pointer.service, pointer.label))
        });
        v4.chain(v6)
    }

    /// The next address behind a place that points to something, in no order.
    pub(super) fn next(&self, cursor: &mut PointerCursor) -> Option<IpAddr> {
        let v4 = next_address(&self.v4, &mut cursor.v4).map(IpAddr::from);
        v4.or_else(|| next_address(&self.v6, &mut cursor.v6).map(IpAddr::from))
    }

    /// Gives the names of an address to `each`, in no order.
    ///
    /// A Service whose cluster IP it is wins, the first by its key if there are several. Otherwise each Service that holds
    /// it in a ready endpoint gives a name, whether it exists or not; or, as `choice` has it, some of them do.
    pub(super) fn names<'s>(
        &self,
        services: &'s Shards<Service>,
        address: IpAddr,
        choice: Choice,
        mut each: impl FnMut(Pointed<'s>),
    ) {
        let found = |(service, label): (u32, NonZeroU32)| {
            services.all_with(service).find_map(move |service| {
                let (key, ttl_secs) = (service.key(), service.ttl_secs());
                let (label, marks) = service.label_of(label, address)?;
                let rank = match (service.is_canonical(), marks & HOSTNAME) {
                    (true, _) => RANK_CANONICAL,
                    (false, HOSTNAME) => RANK_CANONICAL + 1,
                    _ => RANK_CANONICAL + 2,
                };
                Some(Pointed { key, label, ttl_secs, rank })
            })
        };
        let itself = label_hash(&[]);
        let of_service = self.of(address).filter(|(_, label)| *label == itself).filter_map(found).min();
        if let Some(pointed) = of_service {
            each(pointed);
            if !planted(Fault::PtrMixesEndpoints) {
                return;
            }
        }
        let of_endpoints = || self.of(address).filter(|(_, label)| *label != itself).filter_map(found);
        let worst = match choice {
            Choice::All => u8::MAX,
            Choice::AllBut if of_endpoints().any(|pointed| pointed.rank == RANK_CANONICAL) => RANK_CANONICAL,
            Choice::AllBut => u8::MAX,
            Choice::One => {
                let order = |pointed: &Pointed<'s>| (pointed.rank, pointed.key, pointed.label);
                return of_endpoints().min_by(|one, other| order(one).cmp(&order(other))).into_iter().for_each(each);
            }
        };
        for pointed in of_endpoints().filter(|pointed| pointed.rank <= worst) {
            each(pointed);
            if planted(Fault::PtrFirstOnly) {
                return;
            }
        }
    }
}

/// The rank of the names of Services that say they are the ones.
const RANK_CANONICAL: u8 = 0;

/// Which names of an address count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// All; no Service says that its names are the ones.
    All,
    /// All, or those of Services that say that theirs are the ones.
    AllBut,
    /// One: that of a Service that says so, else one that is a hostname, which stands in a slice only if the pod's subdomain
    /// is the Service; of several the first by their Services' keys.
    One,
}
