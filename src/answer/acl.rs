//! `acl`: what becomes of a query by who asks for what (plugin/acl/acl.go).

use std::net::IpAddr;

use super::folded::Folded;
use crate::zone::Name;

/// All rules of a block, in their order.
pub type Acl = Vec<Rule>;

/// One `acl` directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The names that it is about are at or below these.
    pub zones: Vec<Name>,
    /// The first that fits decides.
    pub policies: Vec<Policy>,
}

/// One line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What becomes of the query.
    pub action: Action,
    /// `type`; `None` is all.
    pub types: Option<Vec<u16>>,
    /// `net`; `None` is all.
    pub networks: Option<Vec<Network>>,
}

/// What becomes of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes on, past all other rules.
    Allow,
    /// REFUSED.
    Block,
    /// NOERROR without records.
    Filter,
    /// No answer.
    Drop,
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// The addresses that share so many leading bits; `None` if an address has fewer.
    pub fn new(address: IpAddr, prefix_bits: u8) -> Option<Self> {
        let most = if address.is_ipv4() { 32 } else { 128 };
        (prefix_bits <= most).then_some(Self { address, prefix_bits })
    }

    /// Whether an address is in it.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let shift = |most: u8| u32::from(most - self.prefix_bits);
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).checked_shr(shift(32)).unwrap_or_default() == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).checked_shr(shift(128)).unwrap_or_default() == 0
            }
            _ => false,
        }
    }
}

impl Rule {
    /// The longest of its zones that a name is in.
    fn zone_of(&self, name: &Folded) -> Option<&Name> {
        let zones = self.zones.iter().filter_map(|zone| Some((name.within(zone.as_wire())?, zone)));
        zones.min_by_key(|(at, _)| *at).map(|(_, zone)| zone)
    }
}

impl Policy {
    fn fits(&self, qtype: u16, client: IpAddr) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(&qtype))
            && self.networks.as_ref().is_none_or(|networks| networks.iter().any(|network| network.contains(client)))
    }
}

/// What becomes of a query, and the zone for which a rule says so: the first rule decides that is about its name and has
/// a line that fits. None allows it.
pub fn decide<'a>(rules: &'a [Rule], name: &Folded, qtype: u16, client: IpAddr) -> (Action, Option<&'a Name>) {
    let client = client.to_canonical();
    let about = rules.iter().filter_map(|rule| Some((rule, rule.zone_of(name)?)));
    let mut fitting = about.filter_map(|(rule, zone)| {
        let policy = rule.policies.iter().find(|policy| policy.fits(qtype, client))?;
        Some((policy.action, Some(zone)))
    });
    fitting.next().unwrap_or((Action::Allow, None))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_share_its_leading_bits() {
        let network =
            |address: &str, bits| Network::new(address.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), bits);
        let has = |address: &str, bits, other: &str| {
            network(address, bits).zip(other.parse().ok()).is_some_and(|(network, other)| network.contains(other))
        };
        assert!(has("10.1.2.3", 8, "10.255.0.1") && !has("10.1.2.3", 8, "11.1.2.3"));
        assert!(has("10.1.2.3", 32, "10.1.2.3") && !has("10.1.2.3", 32, "10.1.2.2"));
        assert!(has("10.1.2.3", 0, "192.0.2.1") && !has("10.1.2.3", 0, "2001:db8::1"));
        assert!(has("2001:db8::", 33, "2001:db8:7fff::1") && !has("2001:db8::", 33, "2001:db8:8000::1"));
        assert!(has("::", 0, "2001:db8::1"));
        assert_eq!((network("10.0.0.0", 33), network("::", 129)), (None, None));
    }
}
