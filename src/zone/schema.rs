//! Where records are born: Services and EndpointSlices to names, after the Kubernetes DNS specification as CoreDNS
//! reads it (plugin/kubernetes/kubernetes.go, func findServices).

use std::net::IpAddr;
use std::sync::Arc;

use super::faults::{Fault, planted};
use super::name::{LABEL_OCTETS_MAX, Labels, Name, push_labels};
use super::options::ViewOptions;
use super::pack::{List, Member, Parts, PortName, Sets, Target};
use super::packed::{NAMES, OWN, ROOT};
use super::service::Service;
use super::shards::keyed_hash_of;
use crate::model::{self, AddressRef, Conditions, EndpointRef, EndpointSlice, ServiceKind};

/// Makes Services of a view, one after the other; its room is used again.
#[derive(Debug, Default)]
pub(super) struct Schema {
    labels: Vec<u8>,
    own: Vec<Member>,
    endpoints: Vec<Member>,
    lists: Vec<List>,
    /// The ports that the lists of slices were made of, in the lists' order.
    sources: Vec<Arc<[model::EndpointPort]>>,
    octets: Vec<u8>,
}

impl Schema {
    /// What stands at and below a Service's name, and what its endpoints' addresses point back to; `None` if nothing.
    ///
    /// `slices` are those that carry the Service's name. Where it does not exist, or `is_named` says that nothing has a
    /// name there, its addresses still point back. `old` is what stood there before, of which all is taken over that
    /// stays the same.
    pub(super) fn service<'a>(
        &mut self,
        key: &Labels,
        service: Option<&model::Service>,
        is_named: bool,
        slices: impl Iterator<Item = &'a EndpointSlice>,
        options: &ViewOptions,
        old: Option<&Service>,
    ) -> Option<Service> {
        self.clear();
        let mut flags = match service {
            None => 0,
            Some(service) => match &service.kind {
                ServiceKind::ClusterIp(addresses) if is_named => {
                    self.cluster_ips(&service.ports, addresses);
                    ROOT | NAMES | OWN
                }
                ServiceKind::ClusterIp(addresses) => {
                    self.cluster_ips(&[], addresses);
                    OWN
                }
                ServiceKind::ExternalName(target) if is_named => self.alias(target),
                ServiceKind::Headless if is_named => NAMES,
                ServiceKind::Headless | ServiceKind::ExternalName(_) => 0,
            },
        };
        self.slices(slices, options, flags);
        if flags == NAMES && (!self.endpoints.is_empty() || planted(Fault::EmptyHeadlessExists)) {
            flags |= ROOT;
        }
        if flags & ROOT == 0 && self.own.is_empty() && self.endpoints.is_empty() {
            return None;
        }
        self.sort_lists();
        let selected = if flags & OWN == 0 { &self.endpoints } else { &self.own };
        let mut addresses = vec![0; self.lists.len()];
        for member in selected.iter().filter(|member| !matches!(member.target, Target::Alias(_))) {
            addresses[usize::from(member.list)] += 1;
        }
        let sets = Sets::new(&self.lists, &addresses);
        let parts = Parts {
            key: key.as_wire(),
            flags,
            lists: &self.lists,
            sets: &sets,
            labels: &self.labels,
            own: &self.own,
            endpoints: &[],
        };
        Some(Service::pack(&parts, &mut self.endpoints, &mut self.octets, old))
    }

    fn clear(&mut self) {
        self.labels.clear();
        self.own.clear();
        self.endpoints.clear();
        self.lists.clear();
        self.sources.clear();
    }

    /// An ExternalName. An address as a name is no alias: findServices drops it, and with it the name. Ports and
    /// endpoints do not exist below an alias.
    fn alias(&mut self, target: &str) -> u8 {
        let Some(name) = Name::parse(target).filter(|_| target.parse::<IpAddr>().is_err()) else { return 0 };
        self.lists.push(List { is_selected: true, ports: Vec::new() });
        self.add_own(Target::Alias(name.as_wire().into()));
        ROOT | OWN
    }

    /// The Service's own addresses, each with each of its ports.
    fn cluster_ips(&mut self, ports: &[model::ServicePort], addresses: &[IpAddr]) {
        let addresses = if planted(Fault::FirstClusterIpOnly) { addresses.get(..1).unwrap_or(&[]) } else { addresses };
        if addresses.is_empty() {
            return;
        }
        let declared = ports.iter().map(|port| (Some(port.port), &*port.name, &*port.protocol));
        self.lists.push(List::new(true, declared));
        for address in addresses {
            self.add_own(Target::from(*address));
        }
        self.own.sort_unstable_by(|one, other| one.target.cmp(&other.target));
    }

    fn add_own(&mut self, target: Target) {
        self.own.push(Member { label: (0, 0), hash: keyed_hash_of(&[0u8; 0][..]), list: 0, target });
    }

    /// The endpoints of slices. Where they have no names, of a Service that does not exist or is an alias, they still are
    /// what their addresses point back to.
    fn slices<'a>(&mut self, slices: impl Iterator<Item = &'a EndpointSlice>, options: &ViewOptions, flags: u8) {
        let have_names = flags & NAMES != 0;
        let own_lists = self.lists.len();
        for slice in slices {
            let mut list = None;
            for endpoint in slice.endpoints.iter().filter(|endpoint| answers(endpoint.conditions)) {
                for address in endpoint.addresses() {
                    let target = match address {
                        AddressRef::Ip(address) => Target::from(address),
                        AddressRef::Name(_) if !have_names => continue,
                        AddressRef::Name(name) => match Name::parse(&String::from_utf8_lossy(name)) {
                            Some(name) => Target::Alias(name.as_wire().into()),
                            None => continue,
                        },
                    };
                    let at = self.labels.len();
                    if !push_endpoint_label(&mut self.labels, &endpoint, address, options) {
                        continue;
                    }
                    let list = *list.get_or_insert_with(|| {
                        let ports = if have_names { Some(&slice.ports) } else { None };
                        self.list(own_lists, ports, flags & OWN == 0)
                    });
                    let octets = (self.labels.len() - at) as u8;
                    let hash = keyed_hash_of(&self.labels[at..]);
                    self.endpoints.push(Member { label: (at as u32, octets), hash, list, target });
                }
            }
            if planted(Fault::FirstSliceOnly) {
                break;
            }
        }
    }

    /// The index of a slice's list of ports; without ports, of an empty one.
    fn list(&mut self, own_lists: usize, ports: Option<&Arc<[model::EndpointPort]>>, is_selected: bool) -> u16 {
        let Some(ports) = ports else {
            if self.lists.len() == own_lists {
                self.lists.push(List { is_selected: false, ports: Vec::new() });
            }
            return own_lists as u16;
        };
        // More lists than can be numbered share the last.
        let number = |index: usize| u16::try_from(index).unwrap_or(u16::MAX - 1);
        if let Some(known) = self.sources.iter().position(|known| Arc::ptr_eq(known, ports) || known == ports) {
            return number(own_lists + known);
        }
        if self.lists.len() < usize::from(u16::MAX) {
            let declared = ports.iter().map(|port| (port.port, &*port.name, &*port.protocol));
            self.lists.push(List::new(is_selected, declared));
            self.sources.push(Arc::clone(ports));
        }
        number(self.lists.len() - 1)
    }

    /// Puts the lists into an order of their own, whatever slice came first, each once.
    fn sort_lists(&mut self) {
        if self.lists.len() < 2 {
            return;
        }
        let mut sorted = self.lists.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let moved: Vec<u16> =
            self.lists.iter().map(|list| sorted.binary_search(list).map_or(0, |index| index as u16)).collect();
        for member in self.own.iter_mut().chain(&mut self.endpoints) {
            member.list = moved.get(usize::from(member.list)).copied().unwrap_or_default();
        }
        self.lists = sorted;
    }
}

impl List {
    /// A list of ports: number, name and protocol. Without any it has one all the same, that no name selects: addresses
    /// exist without ports.
    fn new<'a>(is_selected: bool, ports: impl Iterator<Item = (Option<u16>, &'a str, &'a str)>) -> Self {
        let lower = |text: &str| text.to_ascii_lowercase().into_bytes().into_boxed_slice();
        let mut ports: Vec<PortName> = ports
            .map(|(number, name, protocol)| PortName { number, name: lower(name), protocol: lower(protocol) })
            .take(usize::from(u16::MAX))
            .collect();
        if ports.is_empty() {
            ports.push(PortName { number: None, name: Box::default(), protocol: Box::default() });
        }
        ports.sort_unstable();
        Self { is_selected, ports }
    }
}

/// The labels of Service and namespace, by which a view finds a Service.
pub(super) fn service_key(service: &str, namespace: &str) -> Option<Labels> {
    let mut key = Vec::with_capacity(service.len() + namespace.len() + 2);
    let is_label = |text: &str| !text.contains('.');
    let is_key = is_label(service)
        && is_label(namespace)
        && push_labels(&mut key, service.as_bytes())
        && push_labels(&mut key, namespace.as_bytes());
    is_key.then(|| Labels::from_wire(key))
}

/// Appends the label of an endpoint: its hostname, else its pod's name where the view wants that, else its address with
/// dashes (plugin/kubernetes/kubernetes.go, func endpointHostname). A pod's name of more than 63 characters is no label
/// (plugin/kubernetes/object/endpoint.go). `false`, and nothing appended, where nothing gives a label.
pub(super) fn push_endpoint_label(
    labels: &mut Vec<u8>,
    endpoint: &EndpointRef<'_>,
    address: AddressRef<'_>,
    options: &ViewOptions,
) -> bool {
    let hostname = endpoint.hostname.filter(|_| !planted(Fault::HostnameIgnored));
    if hostname.is_some_and(|hostname| push_labels(labels, hostname)) {
        return true;
    }
    let pod_names = options.endpoint_pod_names != planted(Fault::PodNamesInverted);
    let limit = if planted(Fault::PodNameOf63Refused) { LABEL_OCTETS_MAX - 1 } else { LABEL_OCTETS_MAX };
    let is_label = |name: &[u8]| name.len() <= limit && name.iter().all(is_name_octet);
    let pod = endpoint.target_name.filter(|name| pod_names && is_label(name));
    pod.is_some_and(|pod| push_labels(labels, pod)) || push_dashed(labels, address)
}

/// Whether an octet stands for itself in a name's text, so that what is asked for can equal what is served.
fn is_name_octet(octet: &u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.')
}

fn push_dashed(labels: &mut Vec<u8>, address: AddressRef<'_>) -> bool {
    match address {
        AddressRef::Ip(IpAddr::V4(address)) => push_labels(labels, address.to_string().replace('.', "-").as_bytes()),
        AddressRef::Ip(IpAddr::V6(address)) => {
            let mut label = address.to_string().replace(':', "-");
            if label.ends_with('-') && !planted(Fault::TrailingColonsUnfilled) {
                // A label must not end in a dash (RFC 1123 section 2.1).
                label.push('0');
            }
            push_labels(labels, label.as_bytes())
        }
        AddressRef::Name(name) => {
            let label: Vec<u8> = name.iter().map(|octet| if *octet == b'.' { b'-' } else { *octet }).collect();
            push_labels(labels, &label)
        }
    }
}

fn answers(conditions: Conditions) -> bool {
    if planted(Fault::NotReadyAnswered) {
        return true;
    }
    if planted(Fault::NilIsNotReady) {
        return conditions.ready == Some(true);
    }
    if planted(Fault::TerminatingLeftOut) && conditions.terminating == Some(true) {
        return false;
    }
    conditions.is_ready()
}
