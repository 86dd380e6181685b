//! Which chunks of a large Service a change touches.
//!
//! Of each slice of such a Service is kept what its endpoints are to the chunks, two hashes each, so that a slice that
//! stays as it was is not read again. A chunk's hash is the sum of its members', whatever slices they are in; where it
//! is what it was, so is the chunk.

use std::hash::Hash;
use std::sync::Arc;

use ahash::HashMap;

use super::name::Labels;
use super::pack::{Member, Parts, Target, pack, sort};
use super::packed::{ASIDE, fold_hash};
use super::rules::Rules;
use super::service::{Chunk, Chunked, Service, chunk_of};
use super::shards::keyed_hash_of;
use super::slice_part::{SlicePart, Zone};
use crate::model::{EndpointPort, Endpoints};

/// How many endpoints a chunk has at most on average.
const CHUNK_ENDPOINTS: usize = 64;

/// The prints of all large Services, by view.
#[derive(Debug, Default)]
pub(super) struct Prints(HashMap<(usize, Labels), SlicePrints>);

impl Prints {
    /// Takes out what is known of a Service's slices.
    pub(super) fn take(&mut self, view: usize, key: &Labels) -> SlicePrints {
        self.0.remove(&(view, key.clone())).unwrap_or_default()
    }

    /// Keeps it, as long as the Service is large.
    pub(super) fn keep(&mut self, view: usize, key: &Labels, prints: SlicePrints) {
        self.0.insert((view, key.clone()), prints);
    }

    /// Lets go of what is known for a view.
    pub(super) fn forget(&mut self, view: usize) {
        self.0.retain(|(of, _), _| *of != view);
    }
}

/// The prints of a Service's slices, in their order.
#[derive(Debug, Default)]
pub(super) struct SlicePrints {
    /// What the Service was, and how its names were made, which decides what of a slice counts, and when pods last said
    /// something else of themselves.
    made_by: (u8, Rules, u64),
    slices: Vec<SlicePrint>,
}

/// What a slice is to the chunks.
#[derive(Debug)]
pub(super) struct SlicePrint {
    /// What it was made of.
    endpoints: Endpoints,
    ports: Arc<[EndpointPort]>,
    zone: Zone,
    /// Of each target the hash of its label, and that of all of it; zeros where it has no label.
    members: Vec<(u64, u64)>,
    count: usize,
    /// How many addresses the Service's own name selects of them.
    pub(super) addresses: u32,
}

impl SlicePrints {
    /// Makes these the prints of other slices; those that are known already are taken over.
    pub(super) fn renew(
        &mut self,
        made_by: (u8, Rules, u64),
        slices: &[SlicePart<'_>],
        mut print: impl FnMut(&SlicePart<'_>) -> SlicePrint,
    ) {
        if std::mem::replace(&mut self.made_by, made_by) != made_by {
            self.slices.clear();
        }
        let mut known: Vec<Option<SlicePrint>> = std::mem::take(&mut self.slices).into_iter().map(Some).collect();
        let mut next = 0;
        for slice in slices {
            // Nearly always it is the next.
            let is_of = |known: &Option<SlicePrint>| known.as_ref().is_some_and(|known| known.is_of(slice));
            let at = (next..known.len()).chain(0..next.min(known.len())).take(8).find(|at| is_of(&known[*at]));
            let found = at.and_then(|at| known[at].take());
            next = at.unwrap_or(next) + 1;
            self.slices.push(found.unwrap_or_else(|| print(slice)));
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &SlicePrint> {
        self.slices.iter()
    }

    /// How many members there are.
    pub(super) fn members(&self) -> usize {
        self.slices.iter().map(|print| print.count).sum()
    }
}

impl SlicePrint {
    pub(super) fn new(part: &SlicePart<'_>) -> Self {
        let SlicePart { slice, zone } = part.clone();
        let (endpoints, ports) = (slice.endpoints.clone(), Arc::clone(&slice.ports));
        Self { endpoints, ports, zone, members: Vec::new(), count: 0, addresses: 0 }
    }

    fn is_of(&self, part: &SlicePart<'_>) -> bool {
        let SlicePart { slice, zone } = part;
        self.endpoints.is_same(&slice.endpoints) && Arc::ptr_eq(&self.ports, &slice.ports) && self.zone == *zone
    }

    /// Adds a target with its marks under a list of ports, all hashed: of the hash of its label, or of none.
    pub(super) fn add(&mut self, label: Option<u64>, target: &Target, marks: u8, list: u64) {
        let Some(label) = label else {
            self.members.push((0, 0));
            return;
        };
        self.members.push((label, keyed_hash_of(&(label, target, marks, list))));
        self.count += 1;
        self.addresses += u32::from(!matches!(target, Target::Alias(_)) && marks & ASIDE == 0);
    }

    pub(super) fn has_members(&self) -> bool {
        self.count > 0
    }

    /// The hashes of the labels, of each target one if it has a label.
    pub(super) fn iter(&self) -> impl Iterator<Item = Option<u64>> {
        self.members.iter().map(|member| (*member != (0, 0)).then_some(member.0))
    }

    /// Whether any member is in a chunk that is made anew.
    pub(super) fn is_wanted(&self, plan: &ChunkPlan<'_>) -> bool {
        self.iter().flatten().any(|hash| plan.is_wanted(hash))
    }
}

/// Which chunks there are, and which of them are taken over.
pub(super) struct ChunkPlan<'o> {
    made_of: Vec<u64>,
    known: Vec<Option<&'o Chunk>>,
}

impl<'o> ChunkPlan<'o> {
    /// `common` is what all chunks hang on.
    pub(super) fn new<T: Hash>(prints: &SlicePrints, common: &T, old: Option<&'o Service>) -> Self {
        let count = prints.members().div_ceil(CHUNK_ENDPOINTS).next_power_of_two();
        let mut made_of = vec![keyed_hash_of(&(common, count)); count];
        for member in prints.iter().flat_map(|print| &print.members).filter(|member| **member != (0, 0)) {
            let sum = &mut made_of[chunk_of(fold_hash(member.0), count)];
            *sum = sum.wrapping_add(member.1);
        }
        let old = match old {
            Some(Service::Chunked(old)) if old.chunks.len() == count => &old.chunks[..],
            _ => &[],
        };
        let known = |(index, made_of): (usize, &u64)| old.get(index).filter(|known| known.made_of == *made_of);
        let known = made_of.iter().enumerate().map(known).collect();
        Self { made_of, known }
    }

    /// Whether the chunk of a label's hash is made anew.
    pub(super) fn is_wanted(&self, hash: u64) -> bool {
        self.known[chunk_of(fold_hash(hash), self.known.len())].is_none()
    }

    /// Packs the Service of the members that are wanted. A chunk does not count the pairs of the others: the head does.
    pub(super) fn pack(self, parts: &Parts<'_>, members: &mut Vec<Member>, octets: &mut Vec<u8>) -> Service {
        let count = self.known.len();
        let mut of_chunks = vec![Vec::new(); count];
        for member in members.drain(..) {
            of_chunks[chunk_of(fold_hash(member.hash), count)].push(member);
        }
        let sets = parts.sets.without_pairs();
        let mut chunk = |((made_of, known), mut endpoints): ((u64, Option<&Chunk>), Vec<Member>)| {
            known.cloned().unwrap_or_else(|| {
                sort(&mut endpoints, parts.labels);
                let parts = Parts { own: &[], endpoints: &endpoints, sets: &sets, ..*parts };
                Chunk { made_of, packed: pack(octets, &parts) }
            })
        };
        let chunks = self.made_of.into_iter().zip(self.known).zip(of_chunks).map(&mut chunk).collect();
        Service::Chunked(Arc::new(Chunked { head: pack(octets, parts), chunks }))
    }
}
