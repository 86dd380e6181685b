//! What a name means in a view: the grammar of names below a zone (plugin/kubernetes/parse.go, func parseRequest, and
//! kubernetes.go, func Records).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::folded::Folded;
use crate::zone::faults::{Fault, planted};
use crate::zone::name::suffixes;
use crate::zone::records::Selected;
use crate::zone::{Below, Pods, Service, Snapshot, View, name_servers};

/// What stands at a name.
#[derive(Debug)]
pub(super) enum Located<'n> {
    /// Nothing stands there, but the name exists: an apex, `svc`, `pod`, a namespace.
    Empty,
    /// There is no such name.
    Missing,
    /// What a Service has at its own name or below it.
    Service(Selected<'n>),
    /// Nothing, and the name exists for every type: that of a topology zone which has no endpoints.
    Drained,
    /// A pod's address.
    Pod(Pod),
    /// `ns.dns`: the zone's own server.
    NameServer,
}

/// A name below `pod.`
#[derive(Clone, Copy, Debug)]
pub(super) struct Pod {
    /// The address that it spells.
    pub address: IpAddr,
    /// How many pods of the namespace have it; 1 where that is not looked at.
    pub pods: u32,
    /// Where the labels `<address>.<namespace>.pod` begin in the name.
    pub at: usize,
}

/// The most labels that a name which exists has below its zone: two, a Service's name, its namespace, `svc`. Only those
/// of topology zones have more, and of pods with dots in their names.
const LABELS_MAX: usize = 5;

/// The labels of a name below its zone; only the rightmost [`LABELS_MAX`] are kept, all are counted.
struct Labels<'n> {
    name: &'n [u8],
    at: [u8; LABELS_MAX],
    count: usize,
}

impl<'n> Labels<'n> {
    /// The labels of `name` that begin before `zone_at`.
    fn of(name: &'n [u8], zone_at: usize) -> Self {
        let mut labels = Self { name, at: [0; LABELS_MAX], count: 0 };
        for at in suffixes(name).take_while(|at| *at < zone_at) {
            if labels.count >= LABELS_MAX {
                labels.at.rotate_left(1);
            }
            let slot = labels.count.min(LABELS_MAX - 1);
            labels.at[slot] = u8::try_from(at).unwrap_or(u8::MAX);
            labels.count += 1;
        }
        labels
    }

    /// The offset of the label that is `back` labels from the zone, 1 being the last.
    fn offset(&self, back: usize) -> Option<usize> {
        let kept = self.count.min(LABELS_MAX);
        kept.checked_sub(back).and_then(|index| self.at.get(index)).map(|at| usize::from(*at))
    }

    /// The text of that label.
    fn text(&self, back: usize) -> Option<&'n [u8]> {
        let at = self.offset(back)?;
        let length = usize::from(*self.name.get(at)?);
        self.name.get(at + 1..at + 1 + length)
    }

    /// The octets before a label.
    fn before(&self, back: usize) -> Option<&'n [u8]> {
        self.name.get(..self.offset(back)?)
    }

    /// The octets from one label to the one before another.
    fn run(&self, from_back: usize, until_back: usize) -> Option<&'n [u8]> {
        self.name.get(self.offset(from_back)?..self.offset(until_back)?)
    }
}

/// Finds a name (wire form, lower case) whose zone begins at `zone_at`.
pub(super) fn locate<'n>(view: &View, content: &'n Snapshot, name: &'n [u8], zone_at: usize) -> Located<'n> {
    if &name[..zone_at] == name_servers::DEFAULT {
        // Before everything was listed, another may be.
        return if content.is_synced() { Located::NameServer } else { Located::Missing };
    }
    locate_in_cluster(view, content, name, zone_at)
}

/// Like [`locate`], but `ns.dns` is not looked at: TXT and PTR know no such name.
pub(super) fn locate_in_cluster<'n>(view: &View, content: &'n Snapshot, name: &'n [u8], zone_at: usize) -> Located<'n> {
    let labels = Labels::of(name, zone_at);
    let kind = match labels.text(1) {
        None => return Located::Empty,
        Some(b"svc") => Kind::Service,
        Some(b"pod") => Kind::Pod,
        Some(_) => return Located::Missing,
    };
    if labels.count == 1 {
        return Located::Empty;
    }
    let below = if labels.count <= LABELS_MAX || planted(Fault::LongNamesAnswered) {
        None
    } else {
        match topology_zone(&labels) {
            Some(below) if view.options().zonal && matches!(kind, Kind::Service) => Some(below),
            _ if matches!(kind, Kind::Service) => Some(Below::Endpoint(labels.before(3).unwrap_or(&[]))),
            _ => return Located::Missing,
        }
    };
    if is_reverse(name) {
        return Located::Missing;
    }
    let namespace = labels.run(2, 1).unwrap_or(&[]);
    if !content.has_namespace(namespace) && !planted(Fault::NamespaceUnchecked) {
        return Located::Missing;
    }
    match kind {
        Kind::Pod => locate_pod(view, content, &labels),
        Kind::Service if labels.count == 2 && planted(Fault::NamespaceNodeMissing) => Located::Missing,
        Kind::Service if labels.count == 2 => Located::Empty,
        Kind::Service => match locate_service(view, content, &labels, below) {
            // A set of which some are known is worse than none: who asks for it takes those for all.
            Some(found) if !content.is_synced() && found.is_of_endpoints() => Located::Missing,
            // Nothing, where there are endpoints of no set, or none of the topology zone.
            Some(Found { selected, is_headless: true, .. }) if selected.is_empty() => Located::Drained,
            Some(Found { selected, .. }) => Located::Service(selected),
            None => Located::Missing,
        },
    }
}

/// The topology zone that `<zone>.pin._zone.<service>...` asks for, or `<zone>.prefer._zone.<service>...`; the zone's
/// name may be of several labels (plugin/kubernetes/parse.go, func parseRequest).
fn topology_zone<'n>(labels: &Labels<'n>) -> Option<Below<'n>> {
    let prefer = match (labels.text(5)?, labels.text(4)?) {
        (b"pin", b"_zone") => false,
        (b"prefer", b"_zone") => true,
        _ => return None,
    };
    Some(Below::Zone { labels: labels.name.get(..labels.offset(5)?)?, prefer })
}

enum Kind {
    Service,
    Pod,
}

/// What is asked for of a Service.
struct Found<'n> {
    selected: Selected<'n>,
    is_headless: bool,
    /// It is not the Service's own name, nor that of a port.
    is_below: bool,
}

impl Found<'_> {
    /// Whether slices say what it has, of which there may be several. What a Service says is all there, or nothing of it.
    fn is_of_endpoints(&self) -> bool {
        self.is_headless || self.is_below
    }
}

fn locate_service<'n>(
    view: &View,
    content: &'n Snapshot,
    labels: &Labels<'n>,
    long: Option<Below<'n>>,
) -> Option<Found<'n>> {
    let service = content.service(labels.run(3, 1)?)?;
    let below = match (long, labels.count) {
        (Some(Below::Endpoint(labels)), _) if !service.has_dotted(labels) => {
            return None;
        }
        (Some(long), _) => long,
        (None, 3) => Below::Service,
        (None, 4) => Below::Endpoint(labels.run(4, 3)?),
        (None, _) => two_labels(view, service, labels.run(5, 3)?, labels.text(5)?, labels.text(4)?)?,
    };
    let is_below = !matches!(below, Below::Service | Below::Port { .. });
    Some(Found { selected: service.select(below)?, is_headless: service.is_headless(), is_below })
}

/// What two labels before a Service's name mean: port and protocol, or, where Services come from many clusters, an
/// endpoint and its cluster, if neither begins with an underscore; or the pod that has such a name, with a dot.
pub(super) fn two_labels<'n>(
    view: &View,
    service: &Service,
    wire: &'n [u8],
    first: &'n [u8],
    second: &'n [u8],
) -> Option<Below<'n>> {
    if service.is_dotted(wire) {
        return Some(Below::Endpoint(wire));
    }
    let has_clusters = view.options().multicluster && !planted(Fault::ClusterIsProtocol);
    if has_clusters && ![first, second].iter().any(|label| label.starts_with(b"_")) {
        return Some(Below::Endpoint(wire));
    }
    let (port, protocol) = (stripped(first)?, stripped(second)?);
    if service.is_above_dotted(wire) && service.set(port, protocol).is_none() {
        return Some(Below::Endpoint(wire));
    }
    Some(Below::Port { port, protocol })
}

/// A port's or protocol's label without its underscore, which may be missing.
fn stripped(label: &[u8]) -> Option<&[u8]> {
    match label.strip_prefix(b"_") {
        Some(rest) => Some(rest),
        None if planted(Fault::UnderscoreRequired) => None,
        None => Some(label),
    }
}

fn locate_pod<'n>(view: &View, content: &Snapshot, labels: &Labels<'n>) -> Located<'n> {
    let mode = view.options().pods;
    if mode == Pods::Disabled {
        return Located::Missing;
    }
    // What stands before the address is not looked at, up to two labels (func findPods).
    let Some(text) = labels.text(3) else { return Located::Empty };
    let (Some(address), Some(at)) = (pod_address(text, mode == Pods::Verified), labels.offset(3)) else {
        return Located::Missing;
    };
    if mode == Pods::Insecure {
        return Located::Pod(Pod { address, pods: 1, at });
    }
    let namespace = labels.run(2, 1).unwrap_or(&[]);
    let of_namespace = content
        .pod_namespaces(address)
        .filter(|(candidate, _)| candidate.as_wire() == namespace || planted(Fault::PodNamespaceUnchecked));
    match of_namespace.map(|(_, pods)| pods).sum() {
        0 => Located::Missing,
        pods => Located::Pod(Pod { address, pods, at }),
    }
}

/// The address that a pod's label spells: three dashes, no two together, make an IPv4 address, all else must be an
/// IPv6 address with dashes for colons. `exact` asks for the one spelling that the API server uses, since CoreDNS
/// compares addresses of pods as text.
fn pod_address(label: &[u8], exact: bool) -> Option<IpAddr> {
    let text = std::str::from_utf8(label).ok()?;
    let dashes = text.bytes().filter(|octet| *octet == b'-').count();
    if dashes == 3 && !text.contains("--") {
        return text.replace('-', ".").parse().ok().map(IpAddr::V4);
    }
    if planted(Fault::PodIpv4Only) {
        return None;
    }
    let text = text.replace('-', ":");
    let address: Ipv6Addr = text.parse().ok()?;
    if exact && address.to_string() != text {
        return None;
    }
    Some(address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4))
}

fn is_reverse(name: &[u8]) -> bool {
    name.ends_with(b"\x07in-addr\x04arpa\0") || name.ends_with(b"\x03ip6\x04arpa\0")
}

/// The address that a name of the reverse trees spells (plugin/pkg/dnsutil/reverse.go): four numbers, or 32 nibbles,
/// to the left of which up to three labels more are not looked at.
pub(super) fn reverse_address(name: &Folded) -> Option<IpAddr> {
    // Both trees have two labels.
    let labels = name.starts().len().checked_sub(2)?;
    if name.within(b"\x07in-addr\x04arpa\0").is_some() {
        if labels != 4 {
            return None;
        }
        let mut octets = [0; 4];
        for (index, octet) in octets.iter_mut().rev().enumerate() {
            let text = name.label(index)?;
            // Numbers have no leading zeros.
            if text.first() == Some(&b'0') && text.len() > 1 || !text.iter().all(u8::is_ascii_digit) {
                return None;
            }
            *octet = std::str::from_utf8(text).ok()?.parse().ok()?;
        }
        return Some(IpAddr::V4(Ipv4Addr::from(octets)));
    }
    if name.within(b"\x03ip6\x04arpa\0").is_none() || !(32..36).contains(&labels) {
        return None;
    }
    let mut bits = 0u128;
    for index in (labels - 32..labels).rev() {
        let [digit] = name.label(index)? else { return None };
        bits = bits << 4 | u128::from(char::from(*digit).to_digit(16)?);
    }
    let address = Ipv6Addr::from(bits);
    Some(address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::Name;

    fn reversed(text: &str) -> Option<String> {
        reverse_address(&Folded::new(Name::parse(text).expect("a name").as_wire())).map(|address| address.to_string())
    }

    #[test]
    fn a_reverse_name_spells_its_address_backwards() {
        assert_eq!(reversed("4.3.2.1.in-addr.arpa").as_deref(), Some("1.2.3.4"));
        let nibbles = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
        assert_eq!(reversed(nibbles).as_deref(), Some("fd00::1"));
        assert_eq!(reversed(&format!("x.{nibbles}")).as_deref(), Some("fd00::1"));
        for text in ["3.2.1.in-addr.arpa", "5.4.3.2.1.in-addr.arpa", "04.3.2.1.in-addr.arpa", "in-addr.arpa", "a.b"] {
            assert_eq!(reversed(text), None, "{text}");
        }
    }

    #[test]
    fn a_pod_label_spells_its_address_with_dashes() {
        let spelled = |text: &str, exact| pod_address(text.as_bytes(), exact).map(|address| address.to_string());
        assert_eq!(spelled("1-2-3-4", true).as_deref(), Some("1.2.3.4"));
        assert_eq!(spelled("fd00--1", true).as_deref(), Some("fd00::1"));
        assert_eq!(spelled("fd00-0--1", false).as_deref(), Some("fd00::1"));
        assert_eq!(spelled("fd00-0--1", true), None);
        assert_eq!(spelled("1-2-3", false), None);
        assert_eq!(spelled("web", false), None);
    }
}
