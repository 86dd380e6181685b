//! Which server block serves a name: that of the longest zone that the name is in.

use std::collections::HashMap;
use std::sync::Arc;

use super::folded::Folded;
use super::query::rtype;
use super::responder::Block;
use crate::zone::{Name, View};

/// A zone of a listener, and the block that serves it.
#[derive(Debug)]
pub(super) struct Route {
    zone: Name,
    pub(super) block: Arc<Block>,
    /// The block's views in their order, as indices into [`Routes::views`].
    views: [Option<usize>; 2],
}

impl Route {
    /// The index of the block's view of this number.
    pub(super) fn view(&self, number: usize) -> Option<usize> {
        self.views.get(number).copied().flatten()
    }
}

/// The zones of a listener.
#[derive(Debug, Default)]
pub(super) struct Routes {
    by_zone: HashMap<Name, Route, ahash::RandomState>,
    /// The lengths of zones in octets: a suffix of another length is no zone, and not looked up.
    lengths: [u64; 4],
    /// The blocks' views, each once.
    views: Vec<Arc<View>>,
}

impl Routes {
    /// Routes to zones' blocks.
    pub(super) fn new(zones: impl IntoIterator<Item = (Name, Arc<Block>)>) -> Self {
        let mut routes = Self::default();
        for (zone, block) in zones {
            let length = zone.as_wire().len();
            if let Some(word) = routes.lengths.get_mut(length / 64) {
                *word |= 1 << (length % 64);
            }
            let mut views = [None; 2];
            for (index, view) in views.iter_mut().zip(block.views()) {
                *index = Some(routes.index_of(view));
            }
            routes.by_zone.insert(zone.clone(), Route { zone, block, views });
        }
        routes
    }

    fn index_of(&mut self, view: &Arc<View>) -> usize {
        let known = self.views.iter().position(|known| Arc::ptr_eq(known, view));
        known.unwrap_or_else(|| {
            self.views.push(Arc::clone(view));
            self.views.len() - 1
        })
    }

    /// The blocks' views, each once.
    pub(super) fn views(&self) -> &[Arc<View>] {
        &self.views
    }

    /// All blocks, those with several zones more than once.
    pub(super) fn blocks(&self) -> impl Iterator<Item = &Arc<Block>> {
        self.by_zone.values().map(|route| &route.block)
    }

    /// The block of the longest zone that a name is in. DS stands on the parent's side of a cut, so that its question
    /// goes to the shortest (core/dnsserver/server.go, func ServeDNS), the root's only if there is no other.
    pub(super) fn find(&self, name: &Folded, qtype: u16) -> Option<&Route> {
        let mut routes = name.suffixes().filter_map(|at| self.zone(name.as_wire().get(at..)?));
        if qtype != rtype::DS {
            return routes.next();
        }
        let last = routes.filter(|route| route.zone.as_wire() != b"\0").last();
        last.or_else(|| self.zone(b"\0"))
    }

    fn zone(&self, name: &[u8]) -> Option<&Route> {
        let is_length = self.lengths.get(name.len() / 64)? & 1 << (name.len() % 64) != 0;
        if is_length { self.by_zone.get(name) } else { None }
    }
}
