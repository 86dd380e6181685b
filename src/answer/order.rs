//! What `loadbalance` says of the order of addresses, beside chance: weights, or subnets that are preferred
//! (plugin/loadbalance/weighted.go and prefer.go).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::acl::Network;
use crate::zone::Name;

/// An order of addresses.
#[derive(Clone, Debug)]
pub enum Order {
    /// One address comes first, chosen by weight; the others stay as they are.
    Weighted(Arc<Weights>),
    /// Those in the first of these networks come first, then those in the second, and so on; among themselves, and for the
    /// rest, chance decides.
    Preferred(Vec<Network>),
}

/// The weights of addresses by the names that have them. They may be replaced while they are used.
#[derive(Debug, Default)]
pub struct Weights(ArcSwap<HashMap<Name, Vec<(IpAddr, u8)>>>);

/// What an address weighs that has no weight.
const WEIGHT_DEFAULT: u8 = 1;

impl Weights {
    /// Weighs by these from now on.
    pub fn replace(&self, weights: HashMap<Name, Vec<(IpAddr, u8)>>) {
        self.0.store(Arc::new(weights));
    }

    /// Chooses one of these addresses, each with the name that has it, by a number that is any of its type with the same
    /// chance; `None` if there is none.
    pub(super) fn choose(&self, addresses: &[(Option<Name>, IpAddr)], number: u32) -> Option<usize> {
        let table = self.0.load();
        let weight = |(name, address): &(Option<Name>, IpAddr)| {
            let known = name.as_ref().and_then(|name| table.get(name));
            let found = known.and_then(|known| known.iter().find(|(of, _)| of == address));
            u64::from(found.map_or(WEIGHT_DEFAULT, |(_, weight)| *weight))
        };
        let sum: u64 = addresses.iter().map(weight).sum();
        let mut left = (u64::from(number) * sum) >> u32::BITS;
        addresses.iter().position(|address| {
            let own = weight(address);
            let is_it = left < own;
            left = left.saturating_sub(own);
            is_it
        })
    }
}

/// The place of an address among networks that are preferred; behind all of them if it is in none.
pub(super) fn rank(preferred: &[Network], address: IpAddr) -> usize {
    preferred.iter().position(|network| network.contains(address)).unwrap_or(preferred.len())
}
