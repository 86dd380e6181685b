//! The endpoints of a slice, in one piece of memory.
//!
//! A cluster has far more endpoints than anything else, and each is a few octets: a list of structures with strings of
//! their own takes ten times as much.
//!
//! ```text
//! flags | number of addresses | addresses: 4 or 6 and the octets, or 0 and a text | hostname | target's name | zone
//! ```
//!
//! A text stands behind its length; numbers have seven bits an octet, the lowest first, as in protobuf. Few zones have
//! many endpoints: a zone is 0 and a text, or else where in the list that text stands already.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// An endpoint of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its addresses.
    pub addresses: Vec<EndpointAddress>,
    /// `hostname`: set for a pod whose `subdomain` is the Service's name and whose `hostname` is set.
    pub hostname: Option<Box<str>>,
    /// `targetRef.name`, whatever the kind of the target and however long.
    pub target_name: Option<Box<str>>,
    /// `conditions.ready`; `None` is to be read as ready.
    pub ready: Option<bool>,
    /// `conditions.serving`; `None` is to be read as `ready`.
    pub serving: Option<bool>,
    /// `conditions.terminating`; `None` is to be read as not terminating.
    pub terminating: Option<bool>,
    /// `zone`: the topology zone that it is in.
    pub zone: Option<Box<str>>,
}

/// An endpoint's address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndpointAddress {
    /// Address types `IPv4` and `IPv6`. IPv4-mapped IPv6 addresses are given as IPv4.
    Ip(IpAddr),
    /// Address type `FQDN`.
    Name(Box<str>),
}

/// The endpoints of a slice, in their order. Made of [`Endpoint`]s, or by [`EndpointsBuilder`]. A clone shares them.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Endpoints(Arc<[u8]>);

/// What is said of an endpoint's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Conditions {
    /// See [`Endpoint::ready`].
    pub ready: Option<bool>,
    /// See [`Endpoint::serving`].
    pub serving: Option<bool>,
    /// See [`Endpoint::terminating`].
    pub terminating: Option<bool>,
}

impl Conditions {
    /// Whether the endpoint belongs into answers: `conditions.ready`, where nothing said means yes
    /// (`EndpointConditions` in `k8s.io/api/discovery/v1`).
    pub fn is_ready(self) -> bool {
        self.ready.unwrap_or(true)
    }

    /// Three conditions of three values each: less than [`HAS_ZONE`].
    fn flags(self) -> u8 {
        let value = |condition: Option<bool>| condition.map_or(0, |is| 1 + u8::from(is));
        value(self.ready) + 3 * value(self.serving) + 9 * value(self.terminating)
    }

    fn of_flags(flags: u8) -> Self {
        let values = flags & (HAS_ZONE - 1);
        let condition = |value: u8| match value % 3 {
            1 => Some(false),
            2 => Some(true),
            _ => None,
        };
        Self { ready: condition(values), serving: condition(values / 3), terminating: condition(values / 9) }
    }
}

const HAS_ZONE: u8 = 1 << 5;
const HAS_HOSTNAME: u8 = 1 << 6;
const HAS_TARGET: u8 = 1 << 7;

/// An endpoint as it stands in the list.
#[derive(Clone, Copy, Debug)]
pub struct EndpointRef<'a> {
    /// What is said of its state.
    pub conditions: Conditions,
    /// See [`Endpoint::hostname`].
    pub hostname: Option<&'a [u8]>,
    /// See [`Endpoint::target_name`].
    pub target_name: Option<&'a [u8]>,
    /// See [`Endpoint::zone`].
    pub zone: Option<&'a [u8]>,
    count: usize,
    addresses: &'a [u8],
}

/// An address as it stands in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressRef<'a> {
    /// See [`EndpointAddress::Ip`].
    Ip(IpAddr),
    /// See [`EndpointAddress::Name`].
    Name(&'a [u8]),
}

impl<'a> EndpointRef<'a> {
    /// Its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = AddressRef<'a>> + use<'a> {
        let mut rest = self.addresses;
        (0..self.count).map_while(move |_| take_address(&mut rest))
    }
}

impl Endpoints {
    /// The endpoints.
    pub fn iter(&self) -> impl Iterator<Item = EndpointRef<'_>> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || take_endpoint(&self.0, &mut rest))
    }

    /// Whether these are the others, and not only equal to them.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The list as it stands in memory, for [`Self::from_octets`].
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// A list of the octets that [`Self::octets`] gave; `None` if they are no list.
    pub fn from_octets(octets: &[u8]) -> Option<Self> {
        let is_text = |octets: &[u8]| std::str::from_utf8(octets).is_ok();
        let mut rest = octets;
        while !rest.is_empty() {
            let endpoint = take_endpoint(octets, &mut rest)?;
            let texts = [endpoint.hostname, endpoint.target_name, endpoint.zone];
            let names = endpoint.addresses().all(|address| match address {
                AddressRef::Ip(_) => true,
                AddressRef::Name(name) => is_text(name),
            });
            if !names || !texts.into_iter().flatten().all(is_text) {
                return None;
            }
        }
        Some(Self(octets.into()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<Endpoint>> for Endpoints {
    fn from(endpoints: Vec<Endpoint>) -> Self {
        endpoints.into_iter().collect()
    }
}

impl FromIterator<Endpoint> for Endpoints {
    fn from_iter<I: IntoIterator<Item = Endpoint>>(endpoints: I) -> Self {
        let mut builder = EndpointsBuilder::default();
        for endpoint in endpoints {
            builder.begin();
            for address in &endpoint.addresses {
                match address {
                    EndpointAddress::Ip(address) => builder.ip(*address),
                    EndpointAddress::Name(name) => builder.name(name),
                }
            }
            let Endpoint { ready, serving, terminating, .. } = endpoint;
            let conditions = Conditions { ready, serving, terminating };
            let Endpoint { hostname, target_name, zone, .. } = &endpoint;
            builder.end(conditions, hostname.as_deref(), target_name.as_deref(), zone.as_deref());
        }
        builder.finish()
    }
}

impl std::fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|endpoint| (endpoint, endpoint.addresses().collect::<Vec<_>>())))
            .finish()
    }
}

/// Makes [`Endpoints`], one after the other: [`Self::begin`], the addresses, [`Self::end`].
#[derive(Debug, Default)]
pub struct EndpointsBuilder {
    octets: Vec<u8>,
    addresses: Vec<u8>,
    count: usize,
    /// Where the texts of zones stand.
    zones: Vec<usize>,
}

impl EndpointsBuilder {
    /// One that has room for so many octets.
    pub fn with_capacity(octets: usize) -> Self {
        Self { octets: Vec::with_capacity(octets), ..Self::default() }
    }

    /// Begins an endpoint.
    pub fn begin(&mut self) {
        self.addresses.clear();
        self.count = 0;
    }

    /// Adds an address to it. IPv4-mapped IPv6 addresses are to be given as IPv4.
    pub fn ip(&mut self, address: IpAddr) {
        self.count += 1;
        match address {
            IpAddr::V4(address) => {
                self.addresses.push(4);
                self.addresses.extend_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                self.addresses.push(6);
                self.addresses.extend_from_slice(&address.octets());
            }
        }
    }

    /// Adds an address that is a name.
    pub fn name(&mut self, name: &str) {
        self.count += 1;
        self.addresses.push(0);
        put_text(&mut self.addresses, name);
    }

    /// Ends it. An empty text is none.
    pub fn end(
        &mut self,
        conditions: Conditions,
        hostname: Option<&str>,
        target_name: Option<&str>,
        zone: Option<&str>,
    ) {
        let [hostname, target_name, zone] =
            [hostname, target_name, zone].map(|text| text.filter(|text| !text.is_empty()));
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        self.octets.push(
            conditions.flags()
                | flag(zone.is_some(), HAS_ZONE)
                | flag(hostname.is_some(), HAS_HOSTNAME)
                | flag(target_name.is_some(), HAS_TARGET),
        );
        put_number(&mut self.octets, self.count);
        self.octets.extend_from_slice(&self.addresses);
        for text in [hostname, target_name].into_iter().flatten() {
            put_text(&mut self.octets, text);
        }
        if let Some(zone) = zone {
            self.zone(zone);
        }
    }

    fn zone(&mut self, zone: &str) {
        let text_at = |at: usize| take_text(&mut self.octets.get(at..)?);
        let known = self.zones.iter().copied().find(|at| text_at(*at) == Some(zone.as_bytes()));
        // The first octet of a list is an endpoint's flags, so that no text stands at 0.
        put_number(&mut self.octets, known.unwrap_or(0));
        if known.is_none() {
            self.zones.push(self.octets.len());
            put_text(&mut self.octets, zone);
        }
    }

    /// The list. The builder is empty again, and keeps its room.
    pub fn finish(&mut self) -> Endpoints {
        let endpoints = Endpoints(self.octets.as_slice().into());
        self.octets.clear();
        self.zones.clear();
        endpoints
    }
}

fn put_number(octets: &mut Vec<u8>, mut number: usize) {
    while number > 0x7f {
        octets.push(number as u8 | 0x80);
        number >>= 7;
    }
    octets.push(number as u8);
}

fn put_text(octets: &mut Vec<u8>, text: &str) {
    put_number(octets, text.len());
    octets.extend_from_slice(text.as_bytes());
}

fn take_number(rest: &mut &[u8]) -> Option<usize> {
    let mut number = 0;
    for shift in (0..usize::BITS).step_by(7) {
        let (octet, tail) = rest.split_first()?;
        *rest = tail;
        number |= usize::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let octets = take_number(rest)?;
    let (text, tail) = rest.split_at_checked(octets)?;
    *rest = tail;
    Some(text)
}

fn take_address<'a>(rest: &mut &'a [u8]) -> Option<AddressRef<'a>> {
    let (kind, tail) = rest.split_first()?;
    *rest = tail;
    Some(match kind {
        4 => {
            let (octets, tail) = rest.split_first_chunk::<4>()?;
            *rest = tail;
            AddressRef::Ip(Ipv4Addr::from(*octets).into())
        }
        6 => {
            let (octets, tail) = rest.split_first_chunk::<16>()?;
            *rest = tail;
            AddressRef::Ip(Ipv6Addr::from(*octets).into())
        }
        _ => AddressRef::Name(take_text(rest)?),
    })
}

/// Takes a zone of the list `all`.
fn take_zone<'a>(all: &'a [u8], rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    match take_number(rest)? {
        0 => take_text(rest),
        at => take_text(&mut all.get(at..)?),
    }
}

/// Takes the next endpoint of the list `list`.
fn take_endpoint<'a>(list: &'a [u8], rest: &mut &'a [u8]) -> Option<EndpointRef<'a>> {
    let (&flags, tail) = rest.split_first()?;
    *rest = tail;
    let count = take_number(rest)?;
    let all = *rest;
    for _ in 0..count {
        take_address(rest)?;
    }
    let addresses = all.get(..all.len() - rest.len())?;
    let hostname = if flags & HAS_HOSTNAME == 0 { None } else { Some(take_text(rest)?) };
    let target_name = if flags & HAS_TARGET == 0 { None } else { Some(take_text(rest)?) };
    let zone = if flags & HAS_ZONE == 0 { None } else { Some(take_zone(list, rest)?) };
    Some(EndpointRef { conditions: Conditions::of_flags(flags), hostname, target_name, zone, count, addresses })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::option;
    use proptest::prelude::*;

    fn address() -> impl Strategy<Value = EndpointAddress> {
        prop_oneof![
            any::<Ipv4Addr>().prop_map(|address| EndpointAddress::Ip(address.into())),
            any::<Ipv6Addr>().prop_map(|address| EndpointAddress::Ip(address.into())),
            ".{0,200}".prop_map(|name| EndpointAddress::Name(name.into())),
        ]
    }

    prop_compose! {
        fn endpoint()(
            addresses in prop::collection::vec(address(), 0..150),
            hostname in option::of(".{1,80}"),
            target_name in option::of(".{1,300}"),
            ready: Option<bool>,
            serving: Option<bool>,
            terminating: Option<bool>,
            zone in option::of(prop_oneof!["[ab]", ".{1,200}"]),
        ) -> Endpoint {
            let [hostname, target_name, zone] = [hostname, target_name, zone].map(|text| text.map(String::into_boxed_str));
            Endpoint { addresses, hostname, target_name, ready, serving, terminating, zone }
        }
    }

    fn owned(endpoint: EndpointRef<'_>) -> Endpoint {
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).expect("a text").into_boxed_str();
        Endpoint {
            addresses: endpoint
                .addresses()
                .map(|address| match address {
                    AddressRef::Ip(address) => EndpointAddress::Ip(address),
                    AddressRef::Name(name) => EndpointAddress::Name(text(name)),
                })
                .collect(),
            hostname: endpoint.hostname.map(text),
            target_name: endpoint.target_name.map(text),
            ready: endpoint.conditions.ready,
            serving: endpoint.conditions.serving,
            terminating: endpoint.conditions.terminating,
            zone: endpoint.zone.map(text),
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_out_again(endpoints in prop::collection::vec(endpoint(), 0..10)) {
            let packed = Endpoints::from(endpoints.clone());
            prop_assert_eq!(packed.iter().map(owned).collect::<Vec<_>>(), endpoints);
            prop_assert_eq!(Endpoints::from_octets(packed.octets()), Some(packed));
        }

        #[test]
        fn octets_that_are_no_list_are_refused(octets: Vec<u8>) {
            if let Some(list) = Endpoints::from_octets(&octets) {
                prop_assert_eq!(list.octets(), &octets[..]);
                list.iter().for_each(|endpoint| drop(owned(endpoint)));
            }
        }
    }
}
