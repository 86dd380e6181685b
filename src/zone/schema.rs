//! Where records are born: Services and EndpointSlices to names, after the Kubernetes DNS specification as CoreDNS
//! reads it (plugin/kubernetes/kubernetes.go, func findServices), and ServiceImports with theirs in the same way
//! (func findMultiClusterServices; KEP-1645, specification.md).

use std::net::IpAddr;
use std::sync::Arc;

use super::chunks::{ChunkPlan, Prints, SlicePrint, SlicePrints};
use super::endpoint_label::{Naming, Which};
use super::faults::{Fault, planted};
use super::name::{Labels, Name, push_labels};
use super::options::ViewOptions;
use super::pack::{List, Member, Parts, PortName, Sets, Target, pack, sort};
use super::packed::{ASIDE, HOSTNAME, NAMES, NO_PTR, OWN, ROOT};
use super::rules::Rules;
use super::service::{Service, WHOLE_MAX};
use super::shards::keyed_hash_of;
use super::slice_part::SlicePart;
use crate::model::{self, AddressRef, Cluster, EndpointNames, EndpointRef, EndpointSlice, ServiceKind};

/// Makes Services of views, one after the other; its room is used again.
#[derive(Debug, Default)]
pub(super) struct Schema {
    labels: Vec<u8>,
    own: Vec<Member>,
    endpoints: Vec<Member>,
    lists: Vec<List>,
    /// The ports that the lists of slices were made of, in the lists' order.
    sources: Vec<Arc<[model::EndpointPort]>>,
    octets: Vec<u8>,
    prints: Prints,
}

/// What a Service is made for.
#[derive(Clone, Copy)]
pub(super) struct For<'o> {
    /// The view's number.
    pub(super) view: usize,
    pub(super) options: &'o ViewOptions,
    /// Whether anything has a name there: the namespace exists and is exposed.
    pub(super) is_named: bool,
    /// How its names are made.
    pub(super) rules: Rules,
    /// The cluster, and the filter that the view sees it through.
    pub(super) cluster: (&'o Cluster, usize),
}

impl Schema {
    /// What stands at and below a Service's name, and what its endpoints' addresses point back to; `None` if nothing.
    ///
    /// `slices` are those that carry the Service's name. Where it does not exist, or nothing has a name there, its
    /// addresses still point back. `old` is what stood there before, of which all is taken over that stays the same.
    pub(super) fn service<'a>(
        &mut self,
        key: &Labels,
        service: Option<&model::Service>,
        slices: impl Iterator<Item = &'a EndpointSlice>,
        made_for: For<'_>,
        old: Option<&Service>,
    ) -> Option<Service> {
        let For { view, options, mut is_named, rules, cluster } = made_for;
        let naming = Naming::new(key, options, rules, cluster);
        let slices = slices.take(if planted(Fault::FirstSliceOnly) { 1 } else { usize::MAX });
        let parts: Vec<SlicePart<'_>> = if options.zonal {
            slices.flat_map(SlicePart::by_zone).collect()
        } else {
            slices.map(SlicePart::all).collect()
        };
        let ignores_empty = options.ignore_empty_service && !planted(Fault::EmptyServiceShown);
        if ignores_empty && service.is_some_and(has_cluster_ips) {
            is_named &= parts.iter().flat_map(SlicePart::endpoints).any(|ready| ready.addresses().next().is_some());
        }
        if !matches!(old, Some(Service::Chunked(_))) {
            let flags = self.begin(service, is_named, options);
            self.collect(&parts, naming, flags);
            if self.endpoints.len() <= WHOLE_MAX {
                return self.whole(key, options, flags, naming);
            }
        }
        let flags = self.begin(service, is_named, options);
        let mut prints = self.prints.take(view, key);
        prints.renew((flags, rules, naming.version()), &parts, |part| self.print(part, naming, flags));
        if prints.members() <= WHOLE_MAX {
            self.collect(&parts, naming, flags);
            return self.whole(key, options, flags, naming);
        }
        let service = self.chunked(key, flags, &prints, &parts, naming, old);
        self.prints.keep(view, key, prints);
        Some(service)
    }

    /// Lets go of what is kept of a Service that a view does not show any more.
    pub(super) fn forget(&mut self, view: usize, key: &Labels) {
        self.prints.take(view, key);
    }

    /// Lets go of all that is kept of a view.
    pub(super) fn forget_view(&mut self, view: usize) {
        self.prints.forget(view);
    }

    /// Begins with the Service itself; what there is of names.
    fn begin(&mut self, service: Option<&model::Service>, is_named: bool, options: &ViewOptions) -> u8 {
        self.clear();
        match service {
            None => 0,
            Some(service) => match &service.kind {
                ServiceKind::ClusterIp(addresses) if is_named => {
                    self.cluster_ips(&service.ports, addresses);
                    // CoreDNS goes by the ports, which every Service of the API has, and an import may not. Its endpoints
                    // have names all the same (plugin/kubernetes/kubernetes.go, func findMultiClusterServices).
                    let has_root = !options.multicluster || !service.ports.is_empty();
                    if has_root { ROOT | NAMES | OWN } else { NAMES | OWN }
                }
                ServiceKind::ClusterIp(addresses) => {
                    self.cluster_ips(&[], addresses);
                    OWN
                }
                ServiceKind::ExternalName(target) if is_named => self.alias(target),
                ServiceKind::Headless if is_named => NAMES,
                ServiceKind::Headless | ServiceKind::ExternalName(_) => 0,
            },
        }
    }

    /// A Service whose members are all collected.
    fn whole(&mut self, key: &Labels, options: &ViewOptions, mut flags: u8, naming: Naming<'_>) -> Option<Service> {
        if flags == NAMES && (!self.endpoints.is_empty() || planted(Fault::EmptyHeadlessExists)) {
            flags |= ROOT;
        }
        // Names of topology zones exist below a headless Service that is empty.
        let has_zones = options.zonal && flags == NAMES;
        if flags & ROOT == 0 && self.own.is_empty() && self.endpoints.is_empty() && !has_zones {
            return None;
        }
        let moved = self.sort_lists();
        for member in self.own.iter_mut().chain(&mut self.endpoints) {
            member.list = moved.get(usize::from(member.list)).copied().unwrap_or_default();
        }
        sort(&mut self.endpoints, &self.labels);
        let selected = if flags & OWN == 0 { &self.endpoints } else { &self.own };
        let sets = Sets::new(&self.lists, &self.count_addresses(selected));
        let Self { lists, labels, own, endpoints, octets, .. } = self;
        let traits = naming.traits();
        let parts = Parts {
            key: key.as_wire(),
            flags,
            traits,
            ttl_secs: naming.rules.ttl_secs,
            srv_limit: naming.rules.srv_limit,
            lists,
            sets: &sets,
            labels,
            own,
            endpoints,
        };
        Some(Service::Whole(pack(octets, &parts)))
    }

    /// A Service in chunks, of which only those are made anew whose members changed.
    fn chunked(
        &mut self,
        key: &Labels,
        mut flags: u8,
        prints: &SlicePrints,
        slices: &[SlicePart<'_>],
        naming: Naming<'_>,
        old: Option<&Service>,
    ) -> Service {
        if flags == NAMES {
            flags |= ROOT;
        }
        let traits = naming.traits();
        let own_lists = self.lists.len();
        let mut of_slices: Vec<u16> = Vec::with_capacity(slices.len());
        for (slice, print) in slices.iter().zip(prints.iter()) {
            of_slices.push(if print.has_members() { self.list(own_lists, slice, flags, naming.rules) } else { 0 });
        }
        let moved = self.sort_lists();
        let lists = of_slices.iter_mut().chain(self.own.iter_mut().map(|member| &mut member.list));
        lists.for_each(|list| *list = moved.get(usize::from(*list)).copied().unwrap_or_default());
        let mut addresses = self.count_addresses(&self.own);
        if flags & OWN == 0 {
            for (list, print) in of_slices.iter().zip(prints.iter()).filter(|(_, print)| print.has_members()) {
                addresses[usize::from(*list)] += print.addresses;
            }
        }
        let sets = Sets::new(&self.lists, &addresses);
        let plan = ChunkPlan::new(prints, &(&self.lists, flags, traits, naming.rules), old);
        for (index, (slice, print)) in slices.iter().zip(prints.iter()).enumerate() {
            if print.is_wanted(&plan) {
                let list = of_slices[index];
                let (labels, endpoints) = (&mut self.labels, &mut self.endpoints);
                let mut printed = print.iter();
                each_target(slice, flags, naming, |endpoint, address, target, role| {
                    let Some(hash) = printed.next().flatten().filter(|hash| plan.is_wanted(*hash)) else { return };
                    let at = labels.len();
                    if naming.push_labels(labels, slice.slice, endpoint, address, role.which) {
                        let label = (at as u32, (labels.len() - at) as u8);
                        endpoints.push(Member { label, hash, list, marks: role.marks, target });
                    }
                });
            }
        }
        let Self { lists, labels, own, endpoints, octets, .. } = self;
        let parts = Parts {
            key: key.as_wire(),
            flags,
            traits,
            ttl_secs: naming.rules.ttl_secs,
            srv_limit: naming.rules.srv_limit,
            lists,
            sets: &sets,
            labels,
            own,
            endpoints: &[],
        };
        plan.pack(&parts, endpoints, octets)
    }

    /// How many addresses have each list of ports.
    fn count_addresses(&self, members: &[Member]) -> Vec<u32> {
        let mut addresses = vec![0; self.lists.len()];
        let is_counted = |member: &&Member| !matches!(member.target, Target::Alias(_)) && member.marks & ASIDE == 0;
        for member in members.iter().filter(is_counted) {
            addresses[usize::from(member.list)] += 1;
        }
        addresses
    }

    /// What a slice of a large Service adds to it.
    fn print(&mut self, part: &SlicePart<'_>, naming: Naming<'_>, flags: u8) -> SlicePrint {
        let list = match flags & NAMES {
            0 => 0,
            _ => keyed_hash_of(&List::of_part(part, flags, naming.rules)),
        };
        let mut print = SlicePrint::new(part);
        let labels = &mut self.labels;
        each_target(part, flags, naming, |endpoint, address, target, role| {
            labels.clear();
            let is_member = naming.push_labels(labels, part.slice, endpoint, address, role.which);
            print.add(is_member.then(|| keyed_hash_of(&labels[..])), &target, role.marks, list);
        });
        labels.clear();
        print
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
        self.lists.push(List { is_selected: true, zone: Box::default(), ports: Vec::new() });
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
        self.own.push(Member { label: (0, 0), hash: keyed_hash_of(&[0u8; 0][..]), list: 0, marks: 0, target });
    }

    /// The endpoints of slices. Where they have no names, of a Service that does not exist or is an alias, they still are
    /// what their addresses point back to.
    fn collect(&mut self, slices: &[SlicePart<'_>], naming: Naming<'_>, flags: u8) {
        let own_lists = self.lists.len();
        for slice in slices {
            let mut list = None;
            each_target(slice, flags, naming, |endpoint, address, target, role| {
                let at = self.labels.len();
                if naming.push_labels(&mut self.labels, slice.slice, endpoint, address, role.which) {
                    let list = *list.get_or_insert_with(|| self.list(own_lists, slice, flags, naming.rules));
                    let label = (at as u32, (self.labels.len() - at) as u8);
                    let hash = keyed_hash_of(&self.labels[at..]);
                    self.endpoints.push(Member { label, hash, list, marks: role.marks, target });
                }
            });
        }
    }

    /// The index of a slice's list of ports; where nothing has a name, of an empty one.
    fn list(&mut self, own_lists: usize, part: &SlicePart<'_>, flags: u8, rules: Rules) -> u16 {
        if flags & NAMES == 0 {
            if self.lists.len() == own_lists {
                self.lists.push(List { is_selected: false, zone: Box::default(), ports: Vec::new() });
            }
            return own_lists as u16;
        }
        // More lists than can be numbered share the last.
        let number = |index: usize| u16::try_from(index).unwrap_or(u16::MAX - 1);
        let ports = &part.slice.ports;
        let is_known = |(known, list): (&Arc<[model::EndpointPort]>, &List)| {
            (Arc::ptr_eq(known, ports) || known == ports) && *list.zone == *part.zone.labels()
        };
        let made = self.lists.get(own_lists..).unwrap_or(&[]);
        if let Some(known) = self.sources.iter().zip(made).position(is_known) {
            return number(own_lists + known);
        }
        if self.lists.len() < usize::from(u16::MAX) {
            self.lists.push(List::of_part(part, flags, rules));
            self.sources.push(Arc::clone(ports));
        }
        number(self.lists.len() - 1)
    }

    /// Puts the lists into an order of their own, whatever slice came first, each once; where each went.
    fn sort_lists(&mut self) -> Vec<u16> {
        let mut sorted = self.lists.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let place = |list: &List| sorted.binary_search(list).map_or(0, |index| index as u16);
        let moved = self.lists.iter().map(place).collect();
        self.lists = sorted;
        moved
    }
}

/// What a name of an endpoint is: which, and the marks of its member.
#[derive(Clone, Copy)]
struct Role {
    which: Which,
    marks: u8,
}

/// What a slice's endpoints that belong into answers stand for, one after the other, with the address as it is written,
/// and once for each name.
fn each_target<'s>(
    part: &SlicePart<'s>,
    flags: u8,
    naming: Naming<'_>,
    mut each: impl FnMut(&EndpointRef<'s>, AddressRef<'s>, Target, Role),
) {
    let rules = naming.rules;
    let marks_hostnames = rules.marks_hostnames;
    let has_former = rules.names == EndpointNames::Both && flags & NAMES != 0;
    // Where nothing has names there is nothing more than what points back.
    let rules = if flags & NAMES == 0 { Rules::default() } else { rules };
    for (endpoint, is_aside) in part.named(rules) {
        let hostname = if marks_hostnames && endpoint.hostname.is_some() { HOSTNAME } else { 0 };
        let marks = hostname | if is_aside { ASIDE } else { 0 };
        let above = if flags & NAMES == 0 { 0 } else { naming.labels_above(part.slice, &endpoint) };
        for address in endpoint.addresses() {
            let target = match address {
                AddressRef::Ip(address) => Target::from(address),
                AddressRef::Name(_) if flags & NAMES == 0 => continue,
                AddressRef::Name(name) => match Name::parse(&String::from_utf8_lossy(name)) {
                    Some(name) => Target::Alias(name.as_wire().into()),
                    None => continue,
                },
            };
            if has_former {
                // It resolves, and that is all.
                let former = Role { which: Which::Former, marks: ASIDE | NO_PTR };
                each(&endpoint, address, target.clone(), former);
            }
            each(&endpoint, address, target, Role { which: Which::Told, marks });
            for above in 1..=above {
                each(&endpoint, address, Target::Nothing, Role { which: Which::Above(above), marks: ASIDE | NO_PTR });
            }
        }
    }
}

impl List {
    fn of_part(part: &SlicePart<'_>, flags: u8, rules: Rules) -> Self {
        let declared = part.slice.ports.iter().map(|port| (port.port, &*port.name, &*port.protocol));
        // A headless Service may have no ports. Its SRV records are then told apart by their targets alone.
        let zero = Some((Some(0), "", ""))
            .filter(|_| part.slice.ports.is_empty() && rules.portless_srv && flags & (OWN | NAMES) == NAMES);
        Self { zone: part.zone.labels().into(), ..Self::new(flags & OWN == 0, declared.chain(zero)) }
    }

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
        Self { is_selected, zone: Box::default(), ports }
    }
}

/// Whether a Service is one that `ignore empty_service` is about.
fn has_cluster_ips(service: &model::Service) -> bool {
    matches!(service.kind, ServiceKind::ClusterIp(_))
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
