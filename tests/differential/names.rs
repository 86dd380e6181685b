//! The names that a cluster makes, and names near them, sorted by shape.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::cluster::{Cluster, Family, Kind, Service, Slice, TOPOLOGY_ZONES};
use crate::dice::Dice;

/// What kind of name is asked. The run asserts that each was asked often enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Shape {
    /// `service.namespace.svc`
    Service,
    /// Of an ExternalName.
    External,
    /// `_port._proto.service…`, of ports that are there.
    Port,
    /// The same with fewer underscores, empty parts, other ports.
    PortVariant,
    /// `endpoint.service…`
    Endpoint,
    /// `zone.pin._zone.service…`
    TopologyZone,
    /// Under another Service, or of an endpoint that is not ready or not there.
    EndpointElsewhere,
    /// Port and protocol in front of an endpoint's name.
    TooLong,
    /// `namespace.svc`, `namespace.pod`, `_tcp.svc`
    Namespace,
    /// The apex, `svc.`, `pod.`
    Structure,
    /// `dns-version`, `ns.dns`, `apex.dns`
    Special,
    /// `1-2-3-4.namespace.pod`
    Pod,
    /// Pod names that are no address, or no pod's; `foo.1-2-3-4.namespace.pod`
    PodVariant,
    /// The reverse name of an address of the cluster.
    Reverse,
    /// Of its neighbours, or too short, or too long.
    ReverseVariant,
    /// In none of the zones.
    Outside,
    /// With a label changed, taken out or put in.
    Mutated,
    /// With bytes that no host name has.
    Odd,
}

impl Shape {
    /// How often each is asked.
    pub(crate) const WEIGHTS: [(u32, Self); 18] = [
        (15, Self::Service),
        (7, Self::External),
        (11, Self::Port),
        (6, Self::PortVariant),
        (12, Self::Endpoint),
        (3, Self::EndpointElsewhere),
        (4, Self::TopologyZone),
        (2, Self::TooLong),
        (3, Self::Namespace),
        (3, Self::Structure),
        (4, Self::Special),
        (4, Self::Pod),
        (3, Self::PodVariant),
        (9, Self::Reverse),
        (3, Self::ReverseVariant),
        (2, Self::Outside),
        (8, Self::Mutated),
        (1, Self::Odd),
    ];

    /// Whether the names of this shape are complete, rather than relative to a zone.
    pub(crate) fn is_absolute(self) -> bool {
        matches!(self, Self::Reverse | Self::ReverseVariant | Self::Outside)
    }
}

/// Names in presentation form, by shape; grouped by what they are about, so that large Services do not crowd out
/// small ones.
#[derive(Default)]
pub(crate) struct Names {
    groups: BTreeMap<Shape, BTreeMap<String, BTreeSet<String>>>,
    by_shape: BTreeMap<Shape, Vec<Vec<String>>>,
    /// Reverse names of addresses in slices without a Service's label. CoreDNS gives no answer to those, which costs
    /// seconds each, so that they are asked apart.
    pub(crate) unlabelled: Vec<String>,
}

impl Names {
    /// All names of clusters: of several states of one, so that what is gone is asked too.
    pub(crate) fn of(clusters: &[&Cluster]) -> Self {
        let mut names = Self::default();
        for cluster in clusters {
            for namespace in &cluster.namespaces {
                names.add_namespace(namespace);
            }
            for service in &cluster.services {
                let own = |it: &&Slice| it.service.as_deref() == Some(&*service.name);
                names.add_service(service, cluster.slices.iter().filter(own));
            }
            for import in &cluster.imports {
                let own = |it: &&Slice| it.import.as_ref().is_some_and(|(name, _)| *name == import.name);
                names.add_service(import, cluster.slices.iter().filter(own));
            }
            for slice in &cluster.slices {
                names.add_slice(cluster, slice);
                names.add_imported_slice(slice);
            }
            names.add_pods(cluster);
            names.add_reverse(cluster);
        }
        names.add_fixed();
        names.add_mutable();
        names.by_shape = std::mem::take(&mut names.groups)
            .into_iter()
            .map(|(shape, groups)| (shape, groups.into_values().map(|it| it.into_iter().collect()).collect()))
            .collect();
        names
    }

    /// A name of this shape; relative to a zone unless the shape is absolute.
    pub(crate) fn pick(&self, dice: &mut Dice, shape: Shape) -> String {
        let groups = self.by_shape.get(&shape).unwrap_or_else(|| panic!("no names of shape {shape:?}"));
        let group = dice.pick(groups);
        let name = dice.pick(group).clone();
        if shape == Shape::Mutated { mutated(dice, &name) } else { name }
    }

    fn add(&mut self, shape: Shape, group: &str, name: impl Into<String>) {
        self.groups.entry(shape).or_default().entry(group.to_owned()).or_default().insert(name.into());
    }

    fn add_namespace(&mut self, namespace: &str) {
        for name in ["svc", "pod", "_tcp", "_tcp.svc", "_http._tcp.svc"] {
            self.add(Shape::Namespace, namespace, format!("{namespace}.{name}"));
        }
        self.add(Shape::Namespace, "all", "_tcp.svc");
        self.add(Shape::Namespace, "all", "nobody.svc");
        self.add(Shape::Namespace, "all", "nobody.pod");
        // A name of this namespace as if it were a Service's, and a label only.
        self.add(Shape::Namespace, namespace, namespace);
    }

    /// `slices` are those of its name, in whatever namespace.
    fn add_service<'c>(&mut self, service: &Service, slices: impl Iterator<Item = &'c Slice>) {
        let base = format!("{}.{}.svc", service.name, service.namespace);
        let shape = if matches!(service.kind, Kind::External(_)) { Shape::External } else { Shape::Service };
        self.add(shape, &base, &base);
        self.add(Shape::Namespace, &base, format!("{}.{}.pod", service.name, service.namespace));
        let slice_ports = slices.filter(|it| it.namespace == service.namespace).flat_map(|it| &it.ports);
        for port in service.ports.iter().chain(slice_ports) {
            let protocol = port.protocol.to_lowercase();
            if port.name.is_empty() {
                self.add(Shape::PortVariant, &base, format!("_._{protocol}.{base}"));
                continue;
            }
            let name = &port.name;
            self.add(Shape::Port, &base, format!("_{name}._{protocol}.{base}"));
            self.add(Shape::TooLong, &base, format!("x._{name}._{protocol}.{base}"));
            for variant in
                ["{n}.{p}", "_{n}.{p}", "{n}._{p}", "_{n}._", "_._{p}", "__{n}._{p}", "_{n}._{p}x", "_other._{p}"]
            {
                let variant = variant.replace("{n}", name).replace("{p}", &protocol);
                self.add(Shape::PortVariant, &base, format!("{variant}.{base}"));
            }
            let other = if protocol == "tcp" { "udp" } else { "tcp" };
            self.add(Shape::PortVariant, &base, format!("_{name}._{other}.{base}"));
            self.add(Shape::PortVariant, &base, format!("_{}._{protocol}.{base}", port.number.unwrap_or(1)));
        }
        for variant in ["_._", "_tcp", "_udp", "_http._sctp", "a.b"] {
            self.add(Shape::PortVariant, &base, format!("{variant}.{base}"));
        }
        for zone in TOPOLOGY_ZONES.into_iter().chain(["nowhere", "7", "x.rack.7"]) {
            for directive in ["pin", "prefer"] {
                self.add(Shape::TopologyZone, &base, format!("{zone}.{directive}._zone.{base}"));
            }
            self.add(Shape::TooLong, &base, format!("{zone}.only._zone.{base}"));
            self.add(Shape::TooLong, &base, format!("{zone}.pin.zone.{base}"));
        }
    }

    fn add_slice(&mut self, cluster: &Cluster, slice: &Slice) {
        let service = slice.service.as_deref().unwrap_or("none");
        let base = format!("{service}.{}.svc", slice.namespace);
        let elsewhere = cluster.services.iter().find(|it| it.name != service);
        // Enough to see every form of name; thousands would only be more of the same.
        for endpoint in slice.endpoints.iter().take(60) {
            let there = slice.service.is_some() && endpoint.ready != Some(false);
            let pod = endpoint.target.as_ref().map(|(_, name)| name.clone());
            let named = endpoint.hostname.is_some() || pod.as_ref().is_some_and(|it| it.len() < 64);
            let dashed: Vec<String> = endpoint.addresses.iter().map(|it| dashed(it)).collect();
            let labels = endpoint.hostname.iter().cloned().map(|it| (it, true));
            let labels = labels.chain(pod.map(|it| (it, endpoint.hostname.is_none())));
            let labels = labels.chain(dashed.into_iter().map(|it| (it, !named || endpoint.hostname.is_none())));
            for (label, right) in labels {
                // A dotted pod name is two labels; one that is too long is what a cut leaves of it.
                let right = right && label.len() < 64 && !label.contains('.');
                let label = if label.len() > 63 { label[..63].to_owned() } else { label };
                let shape = if there && right { Shape::Endpoint } else { Shape::EndpointElsewhere };
                self.add(shape, &base, format!("{label}.{base}"));
                self.add(Shape::TooLong, &base, format!("_http._tcp.{label}.{base}"));
                self.add(Shape::TooLong, &base, format!("a.b.c.{label}.{base}"));
                if let Some(other) = elsewhere {
                    let name = format!("{label}.{}.{}.svc", other.name, other.namespace);
                    self.add(Shape::EndpointElsewhere, &base, name);
                }
            }
        }
    }

    /// Names with a cluster's id before the Service's, and with another's, or none.
    fn add_imported_slice(&mut self, slice: &Slice) {
        let Some((import, cluster)) = &slice.import else { return };
        let base = format!("{import}.{}.svc", slice.namespace);
        for endpoint in slice.endpoints.iter().take(60) {
            let pod = endpoint.target.iter().map(|(_, name)| name.clone()).filter(|it| it.len() < 64);
            let dashed = endpoint.addresses.iter().map(|it| dashed(it));
            for label in endpoint.hostname.iter().cloned().chain(pod).chain(dashed) {
                let there = endpoint.ready != Some(false) && !cluster.contains('.') && !label.contains('.');
                let right = endpoint.hostname.as_ref().is_none_or(|hostname| *hostname == label);
                let shape = if there && right { Shape::Endpoint } else { Shape::EndpointElsewhere };
                self.add(shape, &format!("imported {base}"), format!("{label}.{cluster}.{base}"));
                for other in [format!("{label}.nowhere"), label.clone(), cluster.clone(), format!("_{label}.{cluster}")]
                {
                    self.add(Shape::EndpointElsewhere, &format!("imported {base}"), format!("{other}.{base}"));
                }
                for more in ["x", "_http._tcp"] {
                    self.add(Shape::TooLong, &base, format!("{more}.{label}.{cluster}.{base}"));
                }
            }
        }
    }

    fn add_pods(&mut self, cluster: &Cluster) {
        let addresses = cluster.pods.iter().flat_map(|pod| pod.addresses.iter().map(move |it| (&pod.namespace, *it)));
        for (namespace, address) in addresses {
            let name = dashed(&address.to_string());
            self.add(Shape::Pod, namespace, format!("{name}.{namespace}.pod"));
            self.add(Shape::PodVariant, "of others", format!("{name}.{}.pod", cluster.namespaces[1]));
            self.add(Shape::PodVariant, "foo", format!("foo.{name}.{namespace}.pod"));
            self.add(Shape::PodVariant, "port", format!("_http._tcp.{name}.{namespace}.pod"));
        }
        let plain = ["1-2-3-4", "0-0-0-0", "255-255-255-255", "fd00--1", "--", "--1", "fd00--", "1-2-3-4-5-6-7-8"];
        for name in plain {
            self.add(Shape::Pod, "plain", format!("{name}.{}.pod", cluster.namespaces[0]));
        }
        let variants = [
            "1-2-3-256",
            "01-2-3-4",
            "1-2-3",
            "1-2-3-4-5",
            "-1-2-3-4",
            "1--2-3",
            "fd00-0-0-0-0-0-0-1",
            "fd00--1--2",
            "--ffff-102-304",
            "--1-2-3-4",
            "fd00---1",
            "12345--1",
            "g--1",
            "web",
            "1.2.3.4",
        ];
        for name in variants {
            self.add(Shape::PodVariant, "no address", format!("{name}.{}.pod", cluster.namespaces[0]));
            self.add(Shape::PodVariant, "no namespace", format!("{name}.nobody.pod"));
        }
    }

    /// All names of a shape.
    #[cfg(feature = "planted-faults")]
    pub(crate) fn all(&self, shape: Shape) -> impl Iterator<Item = &String> {
        self.by_shape.get(&shape).into_iter().flatten().flatten()
    }

    fn add_reverse(&mut self, cluster: &Cluster) {
        let of_slices = |labelled: bool| {
            let slices = cluster.slices.iter().filter(move |it| it.service.is_some() == labelled);
            let endpoints = slices.filter(|it| it.family != Family::Fqdn).flat_map(|it| it.endpoints.iter().take(60));
            endpoints.flat_map(|it| &it.addresses).filter_map(|it| it.parse().ok()).collect::<Vec<IpAddr>>()
        };
        let (labelled, unlabelled) = (of_slices(true), of_slices(false));
        let pods = cluster.pods.iter().flat_map(|it| &it.addresses).copied().collect::<Vec<_>>();
        let mut of_services = Vec::new();
        for service in &cluster.services {
            if let Kind::ClusterIp(addresses) = &service.kind {
                of_services.extend(addresses.iter().copied());
            }
        }
        self.unlabelled.extend(unlabelled.iter().copied().map(reverse));
        for (source, addresses) in [("services", of_services), ("endpoints", labelled), ("pods", pods)] {
            for address in addresses.into_iter().filter(|it| !unlabelled.contains(it)) {
                let family = if address.is_ipv4() { "v4" } else { "v6" };
                let name = reverse(address);
                self.add(Shape::Reverse, &format!("{source} {family}"), &name);
                if !unlabelled.contains(&neighbour(address)) {
                    self.add(Shape::ReverseVariant, &format!("neighbour {family}"), reverse(neighbour(address)));
                }
                let (_, shorter) = name.split_once('.').expect("a reverse name has dots");
                self.add(Shape::ReverseVariant, &format!("short {family}"), shorter);
                self.add(Shape::ReverseVariant, &format!("long {family}"), format!("1.{name}"));
                self.add(Shape::ReverseVariant, &format!("zero {family}"), format!("0{name}"));
            }
        }
    }

    fn add_fixed(&mut self) {
        for name in ["", "svc", "pod"] {
            self.add(Shape::Structure, name, name);
        }
        for name in ["dns-version", "ns.dns", "apex.dns", "dns", "a.dns-version", "hostmaster", "a.ns.dns", "ns"] {
            self.add(Shape::Special, name, name);
        }
        for name in ["in-addr.arpa", "10.in-addr.arpa", "ip6.arpa", "arpa", "0.0.d.f.ip6.arpa", "a.in-addr.arpa"] {
            self.add(Shape::ReverseVariant, "zones", name);
        }
        for name in
            ["www.example.com", "local", "example", "cluster.locals", "xcluster.local", "www.example.com.cluster"]
        {
            self.add(Shape::Outside, name, name);
        }
        for name in ["alias", "alias2", "many", "none", "text", "ns"] {
            self.add(Shape::Outside, name, format!("{name}.example.com"));
        }
        self.add(Shape::Outside, "root", "");
        let odd = [
            "\\000.{n}",
            "a\\.b.{n}",
            "\\\\.{n}",
            "\\032.{n}",
            "\\255\\128.{n}",
            "*.{n}",
            "a\\@b.{n}",
            "a\\\"b.{n}",
            "\\(.{n}",
            "a/b.{n}",
            "web\\$.svc",
            "any.{n}",
            "_.{n}",
            "-.{n}",
            "a\\;b.{n}",
            "xn--bcher-kva.{n}",
        ];
        let (_, bases) = self.groups[&Shape::Service].iter().next().expect("a Service");
        let base = bases.iter().next().expect("a name").clone();
        for name in odd {
            self.add(Shape::Odd, name, name.replace("{n}", &base));
            self.add(Shape::Odd, name, name.replace("{n}", "svc"));
        }
    }

    /// What is worth mutating.
    fn add_mutable(&mut self) {
        let shapes = [Shape::Service, Shape::Port, Shape::Endpoint, Shape::Pod, Shape::External];
        let mut mutable = BTreeMap::new();
        for shape in shapes {
            let groups = self.groups.get(&shape).cloned().unwrap_or_default();
            mutable.extend(groups.into_iter().map(|(group, names)| (format!("{shape:?} {group}"), names)));
        }
        self.groups.insert(Shape::Mutated, mutable);
    }
}

/// With one label changed, taken out, doubled or put in.
fn mutated(dice: &mut Dice, name: &str) -> String {
    let mut labels: Vec<String> = name.split('.').map(str::to_owned).collect();
    let at = dice.below(labels.len());
    match dice.below(6) {
        0 => drop(labels.remove(at)),
        1 => labels.insert(at, dice.suffix(4)),
        2 => labels.insert(at, labels[at].clone()),
        3 => labels[at] = dice.pick(&["svc", "pod", "dns", "default", "_tcp", "_", "*", "web"]).to_string(),
        4 => labels[at].push('x'),
        _ => drop(labels[at].pop()),
    }
    labels.retain(|it| !it.is_empty() && it.len() <= 63);
    labels.join(".")
}

/// The label that CoreDNS makes of an address.
pub(crate) fn dashed(address: &str) -> String {
    let dashed = address.replace(['.', ':'], "-");
    if dashed.ends_with('-') { dashed + "0" } else { dashed }
}

/// The reverse name of an address.
pub(crate) fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|it| [it & 15, it >> 4]);
            nibbles.map(|it| format!("{it:x}.")).collect::<String>() + "ip6.arpa"
        }
    }
}

fn neighbour(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() ^ 1).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() ^ 1).into(),
    }
}
