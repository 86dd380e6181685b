//! All that a zone of a view holds, as a transfer gives it: every record that a question finds, each once.
//!
//! What is only a way to ask is no record: any port (`_._tcp.web…`), ports without underscores, labels before a pod's
//! address or an IPv6 address's reverse name, and addresses that `pods insecure` answers without knowing them.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use ahash::HashSet;

use super::cut::Cut;
use super::delta::{Data, Record, records_beyond, service_portion};
use super::name::{Labels, NAME_OCTETS_MAX, Name, REVERSE_TREES, is_at_or_below, suffixes};
use super::name_servers;
use super::options::{Pods, ViewOptions};
use super::pointers::PointerCursor;
use super::records::weight;
use super::service::{Below, Service};
use super::shards::Cursor;
use super::snapshot::Snapshot;
use super::view::View;

/// The version of the schema that the names follow (Kubernetes DNS-Based Service Discovery, section 2.2),
const SCHEMA_VERSION: &[u8] = b"1.1.0";
/// that of the schema of multicluster zones (Kubernetes DNS-Based Multicluster Service Discovery, section 2.2),
const MULTICLUSTER_SCHEMA_VERSION: &[u8] = b"1.0.0";
/// and the TTL of their records.
pub const SCHEMA_VERSION_TTL_SECS: u32 = 28_800;

/// The version of the schema that names follow, of this cluster or of many.
pub fn schema_version(is_multicluster: bool) -> &'static [u8] {
    if is_multicluster { MULTICLUSTER_SCHEMA_VERSION } else { SCHEMA_VERSION }
}

/// Where that record stands in each zone.
pub const SCHEMA_VERSION_AT: &[u8] = b"\x0bdns-version";

/// The labels of the zone's first server and of its keeper's mailbox, which every SOA names.
pub const SOA_NAMES: [&[u8]; 2] = [name_servers::DEFAULT, b"\x0ahostmaster"];
/// Refresh, retry and expiry in seconds, which are for secondaries.
pub const SOA_TIMES: [u32; 3] = [7200, 1800, 86_400];

/// Which records of a view are a zone's.
#[derive(Clone, Debug)]
pub struct ZoneFilter {
    zone: Name,
    is_reverse: bool,
    is_multicluster: bool,
    /// Whether reverse names can be in it.
    has_pointers: bool,
    /// Zones of the view below it, whose names are theirs.
    nested: Vec<Name>,
    primary: Name,
}

impl ZoneFilter {
    /// The filter of a zone of a view.
    pub fn new(options: &ViewOptions, zone: &Name) -> Self {
        let nested = options.zones.iter().filter(|other| *other != zone && other.is_within(zone)).cloned().collect();
        let is_reverse = zone.is_reverse();
        let is_multicluster = options.multicluster;
        // Nothing points back into other clusters.
        let has_pointers =
            !is_multicluster && (is_reverse || REVERSE_TREES.iter().any(|tree| is_at_or_below(tree, zone.as_wire())));
        Self { zone: zone.clone(), is_reverse, is_multicluster, has_pointers, nested, primary: options.primary.clone() }
    }

    /// The zone.
    pub fn zone(&self) -> &Name {
        &self.zone
    }

    /// The version of the schema that its names follow.
    pub fn schema_version(&self) -> &'static [u8] {
        schema_version(self.is_multicluster)
    }

    /// Writes a record's owner; `false` if it is none of the zone's, or cannot be written (RFC 1035 section 2.3.4).
    pub fn owner(&self, record: &Record, owner: &mut Vec<u8>) -> bool {
        owner.clear();
        match &record.data {
            Data::Ptr { address, .. } => push_reverse_name(owner, *address),
            _ => {
                owner.extend_from_slice(record.owner.as_wire());
                owner.extend_from_slice(self.zone.as_wire());
            }
        }
        let beyond = match &record.data {
            Data::Srv { target, .. } | Data::NameServer(target) => target.as_wire().len() + self.zone.as_wire().len(),
            Data::Ptr { target, .. } => target.as_wire().len() + self.primary.as_wire().len(),
            _ => 0,
        };
        owner.len() <= NAME_OCTETS_MAX
            && beyond <= NAME_OCTETS_MAX
            && is_at_or_below(owner, self.zone.as_wire())
            && !self.nested.iter().any(|nested| is_at_or_below(owner, nested.as_wire()))
    }
}

/// The records of a zone in one version of a view, made as they are asked for; which may be long after the version was
/// replaced.
#[derive(Debug)]
pub struct Contents {
    view: Arc<View>,
    content: Snapshot,
    filter: ZoneFilter,
    stage: Stage,
    /// The Service that is under way, and how many of its portions were made.
    service: Option<(Service, usize)>,
    /// Made and not given yet: those of one portion of a Service at most.
    ready: VecDeque<Record>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Services(Cursor),
    Pods(Cursor),
    Pointers(PointerCursor),
    End,
}

impl Contents {
    /// The records of a zone, its SOA aside.
    pub fn new(view: Arc<View>, content: Snapshot, filter: ZoneFilter) -> Self {
        let ready = apex(&content, filter.is_reverse).into();
        let stage = if filter.is_reverse {
            Stage::Pointers(PointerCursor::default())
        } else {
            Stage::Services(Cursor::default())
        };
        Self { view, content, filter, stage, service: None, ready }
    }

    /// Makes more records ready; `false` if there are none.
    fn go_on(&mut self) -> bool {
        if let Some((service, portions)) = &mut self.service {
            match service_portion(service, *portions) {
                Some(records) => {
                    *portions += 1;
                    self.ready.extend(records);
                }
                None => self.service = None,
            }
            return true;
        }
        match &mut self.stage {
            Stage::Services(cursor) => match self.content.next_service(cursor) {
                Some(service) => self.service = Some((service.clone(), 0)),
                None => self.stage = Stage::Pods(Cursor::default()),
            },
            Stage::Pods(cursor) => {
                let found = self.content.next_pods(cursor).filter(|_| self.view.options().pods == Pods::Verified);
                match found {
                    Some(pods) if self.content.has_namespace(pods.namespace.as_wire()) => {
                        self.ready.extend(pod_records(pods.address, &pods.namespace, pods.pods));
                    }
                    Some(_) => {}
                    None => self.stage = Stage::Pointers(PointerCursor::default()),
                }
            }
            Stage::Pointers(_) if !self.filter.has_pointers => self.stage = Stage::End,
            Stage::Pointers(cursor) => match self.content.next_pointer(cursor) {
                Some(address) => self.ready.extend(pointer_records(&self.content, address)),
                None => self.stage = Stage::End,
            },
            Stage::End => return false,
        }
        true
    }
}

impl Iterator for Contents {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        while self.ready.is_empty() {
            if !self.go_on() {
                return None;
            }
        }
        self.ready.pop_front()
    }
}

/// Records that are gone, and records that came.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Gone.
    pub removed: Vec<Record>,
    /// New.
    pub added: Vec<Record>,
}

impl Difference {
    fn between(before: HashSet<Record>, after: HashSet<Record>) -> Self {
        let removed = before.iter().filter(|record| !after.contains(record)).cloned().collect();
        let added = after.into_iter().filter(|record| !before.contains(record)).collect();
        Self { removed, added }
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        self.removed.len() + self.added.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a cut changes in the zones of a view: in those of names, and in those of addresses.
#[derive(Debug, Default)]
pub struct Changes {
    /// Records of zones of names, relative to each.
    pub names: Difference,
    /// Records of zones of addresses, relative to each: who serves them.
    pub apex: Difference,
    /// PTR records, each of whichever zone its name is in.
    pub pointers: Difference,
}

impl Changes {
    /// What a cut changes.
    pub fn of(options: &ViewOptions, cut: &Cut<'_>) -> Self {
        let Cut { before: Some(before), after, delta } = cut else { return Self::default() };
        let side = |content: &Snapshot, is_old: bool| {
            let sides = delta.services.iter().map(|change| (change.old.as_ref(), change.new.as_ref()));
            let sides = sides.map(|(old, new)| if is_old { (old, new) } else { (new, old) });
            // What both versions of a large Service share is the same record on both sides.
            let services = sides.filter_map(|(service, other)| Some(records_beyond(service?, other)));
            let mut records: HashSet<Record> = services.flatten().collect();
            records.extend(touched_pods(options, content, cut));
            records.extend(apex(content, false));
            records
        };
        let addresses = || delta.pointers.iter().map(|change| change.key);
        let pointers = |content: &Snapshot| addresses().flat_map(|address| pointer_records(content, address)).collect();
        let reverse = |content: &Snapshot| apex(content, true).into_iter().collect();
        Self {
            names: Difference::between(side(before, true), side(after, false)),
            apex: Difference::between(reverse(before), reverse(after)),
            pointers: Difference::between(pointers(before), pointers(after)),
        }
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        self.names.len() + self.apex.len() + self.pointers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What concerns a zone: records that are gone, or those that came.
    pub fn of_zone<'c>(
        &'c self,
        filter: &ZoneFilter,
        side: fn(&'c Difference) -> &'c [Record],
    ) -> impl Iterator<Item = &'c Record> + use<'c> {
        let own = if filter.is_reverse { &self.apex } else { &self.names };
        let pointers = if filter.has_pointers { side(&self.pointers) } else { &[] };
        side(own).iter().chain(pointers)
    }
}

/// The records of the pods that a cut touches, which come and go with their namespaces too.
fn touched_pods(options: &ViewOptions, content: &Snapshot, cut: &Cut<'_>) -> Vec<Record> {
    if options.pods != Pods::Verified {
        return Vec::new();
    }
    let mut records = Vec::new();
    let exists = |namespace: &Labels| content.has_namespace(namespace.as_wire());
    for (address, namespace, _) in cut.delta.pods.iter().filter(|(_, namespace, _)| exists(namespace)) {
        let pods = content.pods_of(*address, namespace);
        if pods > 0 {
            records.extend(pod_records(*address, namespace, pods));
        }
    }
    let moved: HashSet<&Labels> = cut.delta.namespaces.iter().map(|(namespace, _)| namespace).collect();
    if moved.iter().any(|namespace| exists(namespace)) {
        let mut cursor = Cursor::default();
        while let Some(pods) = content.next_pods(&mut cursor) {
            if moved.contains(&*pods.namespace) && exists(&pods.namespace) {
                records.extend(pod_records(pods.address, &pods.namespace, pods.pods));
            }
        }
    }
    records
}

/// The records of a zone that are not the cluster's objects': who serves it, and the schema's version.
fn apex(content: &Snapshot, is_reverse: bool) -> Vec<Record> {
    let servers = content.name_servers();
    let mut records =
        vec![Record { owner: Labels::from_wire(SCHEMA_VERSION_AT), ttl_secs: None, data: Data::SchemaVersion }];
    let mut seen = HashSet::default();
    for (name, _) in &servers.0 {
        records.push(Record { owner: Labels::default(), ttl_secs: None, data: Data::NameServer(name.clone()) });
    }
    let default = Labels::from_wire(name_servers::DEFAULT);
    let defaults = servers.addresses().map(|address| (&default, address));
    let glue = servers.0.iter().flat_map(|(name, addresses)| addresses.iter().map(move |address| (name, *address)));
    for (name, address) in defaults.chain(glue) {
        let is_held = !is_reverse && has_address(content, name, address);
        if !is_held && seen.insert((name.clone(), address)) {
            records.push(Record { owner: name.clone(), ttl_secs: None, data: Data::Address(address) });
        }
    }
    records
}

/// Whether a Service gives a name this address already.
fn has_address(content: &Snapshot, name: &Labels, address: IpAddr) -> bool {
    let wire = name.as_wire();
    let starts: Vec<usize> = suffixes(wire).collect();
    let Some(key_at) = starts.len().checked_sub(3).map(|at| starts[at]) else { return false };
    let Some(key) = wire[key_at..].strip_suffix(b"\x03svc") else { return false };
    let below = match &wire[..key_at] {
        [] => Below::Service,
        label => Below::Endpoint(label),
    };
    let selected = content.service(key).and_then(|service| service.select(below));
    selected.is_some_and(|selected| selected.entries.iter().any(|entry| entry.address == address))
}

/// A verified pod: its address, and, as CoreDNS has it, an SRV record of port 0 that points to itself.
fn pod_records(address: IpAddr, namespace: &Labels, pods: u32) -> Vec<Record> {
    let text = match address {
        IpAddr::V4(address) => address.to_string().replace('.', "-"),
        IpAddr::V6(address) => address.to_string().replace(':', "-"),
    };
    // An IPv4 address in IPv6's clothes has no name: it is looked for as what it is.
    let Some(label) = Labels::parse(&text).filter(|_| !text.contains('.')) else { return Vec::new() };
    let owner = Labels::concat(&[label.as_wire(), namespace.as_wire(), b"\x03pod"]);
    let srv = Data::Srv { weight: weight(pods), port: 0, target: owner.clone() };
    let record = |data| Record { owner: owner.clone(), ttl_secs: None, data };
    vec![record(Data::Address(address)), record(srv)]
}

fn pointer_records(content: &Snapshot, address: IpAddr) -> Vec<Record> {
    let mut names = Vec::new();
    content.pointers(address, |pointed| names.push(pointed.to_labels()));
    names.sort_unstable();
    names.dedup();
    let ttl_secs = content.pointers_ttl_secs(address);
    let record = |target| Record { owner: Labels::default(), ttl_secs, data: Data::Ptr { address, target } };
    names.into_iter().map(record).collect()
}

/// The name in the reverse trees that stands for an address (RFC 1035 section 3.5, RFC 3596 section 2.5).
fn push_reverse_name(name: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for octet in address.octets().iter().rev() {
                let text = octet.to_string();
                name.push(text.len() as u8);
                name.extend_from_slice(text.as_bytes());
            }
            name.extend_from_slice(b"\x07in-addr\x04arpa\0");
        }
        IpAddr::V6(address) => {
            for octet in address.octets().iter().rev() {
                for nibble in [octet & 0xf, octet >> 4] {
                    name.extend_from_slice(&[1, b"0123456789abcdef"[usize::from(nibble)]]);
                }
            }
            name.extend_from_slice(b"\x03ip6\x04arpa\0");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::name::write_text;

    #[test]
    fn an_address_is_written_backwards() {
        let reversed = |text: &str| {
            let (mut name, mut shown) = (Vec::new(), String::new());
            push_reverse_name(&mut name, text.parse().expect("an address"));
            write_text(&mut shown, &name).expect("text");
            shown
        };
        assert_eq!(reversed("10.2.0.254"), "254.0.2.10.in-addr.arpa");
        let nibbles = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
        assert_eq!(reversed("fd00::1"), nibbles);
    }

    #[test]
    fn a_name_is_of_the_longest_zone_that_it_is_in() {
        let name = |text: &str| Name::parse(text).expect("a name");
        let zones = ["cluster.local", "in-addr.arpa", "10.in-addr.arpa"].map(name);
        let options = ViewOptions::new(zones.to_vec()).expect("zones");
        let pointer = |address: &str| Record {
            owner: Labels::default(),
            ttl_secs: None,
            data: Data::Ptr { address: address.parse().expect("an address"), target: Labels::default() },
        };
        let held = |address: &str| {
            let filters = zones.iter().map(|zone| ZoneFilter::new(&options, zone));
            filters.map(|filter| filter.owner(&pointer(address), &mut Vec::new())).collect::<Vec<_>>()
        };
        assert_eq!(held("10.0.0.1"), [false, false, true]);
        assert_eq!(held("11.0.0.1"), [false, true, false]);
        assert_eq!(held("fd00::1"), [false, false, false]);
    }
}
