//! Where records are born: Services and EndpointSlices to names, after the Kubernetes DNS specification as CoreDNS
//! reads it (plugin/kubernetes/kubernetes.go, func findServices).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use super::faults::{Fault, planted};
use super::name::{LABEL_OCTETS_MAX, Labels, Name};
use super::options::ViewOptions;
use super::records::{EndpointLabel, Endpoints, Entry, PortRecords, RecordSet, ServiceRecords};
use crate::model::{Endpoint, EndpointAddress, EndpointSlice, Service, ServiceKind};

/// A pair before duplicates are dropped.
#[derive(Clone, Copy)]
struct Pair<'a> {
    target: u32,
    address: IpAddr,
    port: Option<u16>,
    port_name: &'a str,
    protocol: &'a str,
}

/// An endpoint whose address is a name, under a port.
struct AliasPair<'a> {
    target: u32,
    name: Name,
    port_name: &'a str,
    protocol: &'a str,
}

/// The records of a Service of a namespace that the view exposes; `None` if it has no name at all.
///
/// `slices` are those that carry the Service's name.
pub(super) fn service_records<'a>(
    service: &Service,
    slices: impl Iterator<Item = &'a EndpointSlice>,
    options: &ViewOptions,
) -> Option<ServiceRecords> {
    let key = service_key(&service.key.name, &service.key.namespace)?;
    let empty =
        |root| ServiceRecords { key: key.clone(), root, endpoints: Endpoints::default(), ports: Box::default() };
    match &service.kind {
        ServiceKind::ExternalName(target) => {
            // An address as a name is no alias: findServices drops it, and with it the name. Ports and endpoints do
            // not exist below an alias.
            if target.parse::<IpAddr>().is_ok() {
                return None;
            }
            let alias = Name::parse(target)?;
            Some(empty(Some(RecordSet { aliases: [alias].into(), ..RecordSet::default() })))
        }
        ServiceKind::Headless => {
            let below = EndpointPairs::collect(slices, options);
            let everything = below.set(|_, _| true);
            let ports = below.ports(&everything);
            let exists = !below.is_empty() || planted(Fault::EmptyHeadlessExists);
            let endpoints = below.into_endpoints(&everything);
            Some(ServiceRecords { key, root: exists.then_some(everything), endpoints, ports })
        }
        ServiceKind::ClusterIp(addresses) => {
            let below = EndpointPairs::collect(slices, options);
            let everything = below.set(|_, _| true);
            let own = ClusterPairs::collect(service, addresses);
            Some(ServiceRecords {
                key,
                root: Some(record_set(&own.0, Vec::new(), |_, _| true)),
                endpoints: below.into_endpoints(&everything),
                ports: own.ports(),
            })
        }
    }
}

/// The labels of Service and namespace, by which a view finds a Service.
pub(super) fn service_key(service: &str, namespace: &str) -> Option<Labels> {
    if service.contains('.') || namespace.contains('.') {
        return None;
    }
    let service = Labels::parse(service)?;
    let namespace = Labels::parse(namespace)?;
    Some(Labels::concat(&[service.as_wire(), namespace.as_wire()]))
}

/// The label of an endpoint: its hostname, else its pod's name where the view wants that, else its address with
/// dashes (plugin/kubernetes/kubernetes.go, func endpointHostname). A pod's name of more than 63 characters is no
/// label (plugin/kubernetes/object/endpoint.go).
pub(super) fn endpoint_label(endpoint: &Endpoint, address: &EndpointAddress, options: &ViewOptions) -> Option<Labels> {
    let hostname = endpoint.hostname.as_deref().filter(|name| !name.is_empty() && !planted(Fault::HostnameIgnored));
    let pod_names = options.endpoint_pod_names != planted(Fault::PodNamesInverted);
    let limit = if planted(Fault::PodNameOf63Refused) { LABEL_OCTETS_MAX - 1 } else { LABEL_OCTETS_MAX };
    let pod = endpoint
        .target_name
        .as_deref()
        .filter(|name| pod_names && !name.is_empty() && name.len() <= limit && name.bytes().all(is_name_octet));
    hostname.and_then(Labels::parse).or_else(|| pod.and_then(Labels::parse)).or_else(|| dashed(address))
}

/// Whether an octet stands for itself in a name's text, so that what is asked for can equal what is served.
fn is_name_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.')
}

fn dashed(address: &EndpointAddress) -> Option<Labels> {
    match address {
        EndpointAddress::Ip(IpAddr::V4(address)) => Labels::parse(&address.to_string().replace('.', "-")),
        EndpointAddress::Ip(IpAddr::V6(address)) => {
            let mut label = address.to_string().replace(':', "-");
            if label.ends_with('-') && !planted(Fault::TrailingColonsUnfilled) {
                // A label must not end in a dash (RFC 1123 section 2.1).
                label.push('0');
            }
            Labels::parse(&label)
        }
        EndpointAddress::Name(name) => Labels::parse(&name.replace('.', "-")),
    }
}

/// All pairs of a Service's slices, and the labels that they point to.
struct EndpointPairs<'a> {
    labels: Vec<Labels>,
    pairs: Vec<Pair<'a>>,
    aliases: Vec<AliasPair<'a>>,
}

impl<'a> EndpointPairs<'a> {
    fn collect(slices: impl Iterator<Item = &'a EndpointSlice>, options: &ViewOptions) -> Self {
        let mut by_label: BTreeMap<Labels, Vec<(&'a EndpointSlice, &'a EndpointAddress)>> = BTreeMap::new();
        for slice in slices {
            for endpoint in slice.endpoints.iter().filter(|endpoint| answers(endpoint)) {
                for address in &endpoint.addresses {
                    if let Some(label) = endpoint_label(endpoint, address, options) {
                        by_label.entry(label).or_default().push((slice, address));
                    }
                }
            }
            if planted(Fault::FirstSliceOnly) {
                break;
            }
        }
        let mut found = Self { labels: Vec::with_capacity(by_label.len()), pairs: Vec::new(), aliases: Vec::new() };
        for (target, (label, members)) in (0u32..).zip(by_label) {
            for (slice, address) in members {
                found.add(target, slice, address);
            }
            found.labels.push(label);
        }
        found
    }

    fn add(&mut self, target: u32, slice: &'a EndpointSlice, address: &EndpointAddress) {
        let declared = slice.ports.iter().map(|port| (&*port.name, &*port.protocol, port.port));
        // A slice without ports has addresses all the same: one pair that no port matches.
        let undeclared = slice.ports.is_empty().then_some(("", "", None));
        for (port_name, protocol, port) in declared.chain(undeclared) {
            match address {
                EndpointAddress::Ip(address) => {
                    self.pairs.push(Pair { target, address: *address, port, port_name, protocol });
                }
                EndpointAddress::Name(name) => {
                    if let Some(name) = Name::parse(name) {
                        self.aliases.push(AliasPair { target, name, port_name, protocol });
                    }
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.pairs.is_empty() && self.aliases.is_empty()
    }

    fn set(&self, select: impl Fn(&str, &str) -> bool) -> RecordSet {
        let aliases = self
            .aliases
            .iter()
            .filter(|alias| select(alias.port_name, alias.protocol))
            .map(|alias| alias.name.clone())
            .collect();
        record_set(&self.pairs, aliases, select)
    }

    /// The names of ports. Where all pairs have one port, they are the pairs of the Service itself and share them.
    fn ports(&self, everything: &RecordSet) -> Box<[PortRecords]> {
        let names = self
            .pairs
            .iter()
            .map(|pair| (pair.port_name, pair.protocol))
            .chain(self.aliases.iter().map(|alias| (alias.port_name, alias.protocol)));
        port_records(names, |select| {
            let all = self.pairs.iter().all(|pair| select(pair.port_name, pair.protocol))
                && self.aliases.iter().all(|alias| select(alias.port_name, alias.protocol));
            if all { everything.clone() } else { self.set(select) }
        })
    }

    /// The endpoints' own names; `everything` is the set of all pairs.
    fn into_endpoints(self, everything: &RecordSet) -> Endpoints {
        let mut labels: Vec<EndpointLabel> =
            self.labels.into_iter().map(|labels| EndpointLabel { labels, first: 0, pairs: 0 }).collect();
        for pair in &self.pairs {
            if let Some(label) = labels.get_mut(pair.target as usize) {
                label.pairs += 1;
            }
        }
        let entries = everything.entries.clone();
        let mut at = 0;
        for (target, label) in (0u32..).zip(&mut labels) {
            label.first = at;
            at += u32::try_from(entries[at as usize..].iter().take_while(|entry| entry.target == target).count())
                .unwrap_or_default();
        }
        let mut aliases: Vec<(u32, Name)> = self.aliases.into_iter().map(|alias| (alias.target, alias.name)).collect();
        aliases.dedup();
        Endpoints { labels: labels.into(), entries, aliases: aliases.into() }
    }
}

/// The pairs of a Service's own addresses.
struct ClusterPairs<'a>(Vec<Pair<'a>>);

impl<'a> ClusterPairs<'a> {
    fn collect(service: &'a Service, addresses: &[IpAddr]) -> Self {
        let declared = service.ports.iter().map(|port| (&*port.name, &*port.protocol, Some(port.port)));
        let undeclared = service.ports.is_empty().then_some(("", "", None));
        let addresses = if planted(Fault::FirstClusterIpOnly) { addresses.get(..1).unwrap_or(&[]) } else { addresses };
        let pairs = declared
            .chain(undeclared)
            .flat_map(|(port_name, protocol, port)| {
                addresses.iter().map(move |address| Pair {
                    target: Entry::SERVICE,
                    address: *address,
                    port,
                    port_name,
                    protocol,
                })
            })
            .collect();
        Self(pairs)
    }

    fn ports(&self) -> Box<[PortRecords]> {
        let names = self.0.iter().map(|pair| (pair.port_name, pair.protocol));
        port_records(names, |select| record_set(&self.0, Vec::new(), select))
    }
}

fn answers(endpoint: &Endpoint) -> bool {
    if planted(Fault::NotReadyAnswered) {
        return true;
    }
    if planted(Fault::NilIsNotReady) {
        return endpoint.ready == Some(true);
    }
    if planted(Fault::TerminatingLeftOut) && endpoint.terminating == Some(true) {
        return false;
    }
    endpoint.is_ready()
}

/// The names two labels below a Service: each port with its protocol, and either with `_` for the other. `_._` is
/// the Service itself.
fn port_records<'a>(
    names: impl Iterator<Item = (&'a str, &'a str)>,
    set: impl Fn(&dyn Fn(&str, &str) -> bool) -> RecordSet,
) -> Box<[PortRecords]> {
    let mut wanted: BTreeSet<(Vec<u8>, Vec<u8>)> = BTreeSet::new();
    for (port, protocol) in names {
        let (port, protocol) = (port.to_ascii_lowercase().into_bytes(), protocol.to_ascii_lowercase().into_bytes());
        wanted.insert((port.clone(), protocol.clone()));
        wanted.insert((port, Vec::new()));
        wanted.insert((Vec::new(), protocol));
    }
    wanted.remove(&(Vec::new(), Vec::new()));
    let mut records = Vec::with_capacity(wanted.len());
    for (port, protocol) in wanted {
        let set = set(&|name: &str, proto: &str| {
            (port.is_empty() || name.as_bytes().eq_ignore_ascii_case(&port) || planted(Fault::AnyPortMatches))
                && (protocol.is_empty()
                    || proto.as_bytes().eq_ignore_ascii_case(&protocol)
                    || planted(Fault::AnyProtocolMatches))
        });
        records.push(PortRecords { port: port.into(), protocol: protocol.into(), set });
    }
    records.into()
}

/// Marks the pairs that answers show, drops the others, and counts them all.
fn record_set(pairs: &[Pair<'_>], mut aliases: Vec<Name>, select: impl Fn(&str, &str) -> bool) -> RecordSet {
    let mut addresses = HashSet::new();
    let mut of_target = HashSet::new();
    let mut srv = HashSet::new();
    let mut glue = HashSet::new();
    let mut entries = Vec::new();
    let mut count = 0;
    for pair in pairs.iter().filter(|pair| select(pair.port_name, pair.protocol)) {
        count += 1;
        let mut marks = 0;
        if addresses.insert(pair.address) || planted(Fault::DuplicateAddresses) {
            marks |= Entry::FIRST_ADDRESS;
        }
        if of_target.insert((pair.target, pair.address)) {
            marks |= Entry::FIRST_OF_TARGET;
        }
        if let Some(port) = pair.port {
            if srv.insert((pair.target, port)) {
                marks |= Entry::FIRST_SRV;
            }
            if glue.insert((pair.target, pair.address)) {
                marks |= Entry::FIRST_GLUE;
            }
        }
        if marks != 0 {
            if pair.port.is_some() {
                marks |= Entry::HAS_PORT;
            }
            let port = pair.port.unwrap_or_default();
            entries.push(Entry { target: pair.target, address: pair.address, port, marks });
        }
    }
    if planted(Fault::WeightOverDistinct) {
        count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    }
    let mut seen = HashSet::new();
    aliases.retain(|alias| seen.insert(alias.clone()));
    RecordSet { entries: entries.into(), pairs: count, aliases: aliases.into() }
}
