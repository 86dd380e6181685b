//! Seeded random clusters, with everything that may be odd about Services and EndpointSlices.
//!
//! All Services are without selectors and all slices made by hand, so that nothing but the seed decides what is in
//! them. What the API server would refuse is not made: it refuses loopback and link-local endpoints, two ports of one
//! name in a slice, and IPv6 addresses in another form than the canonical one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::dice::Dice;

/// The zone that in-zone ExternalNames point into.
pub(crate) const ZONE: &str = "cluster.local";

/// What is written to the API.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    /// Tells this cluster's addresses and namespaces from those of others on the same API server.
    pub(crate) number: usize,
    pub(crate) namespaces: Vec<String>,
    pub(crate) services: Vec<Service>,
    /// ServiceImports: a Service's `ClusterIp` stands for `ClusterSetIP`.
    pub(crate) imports: Vec<Service>,
    pub(crate) slices: Vec<Slice>,
    pub(crate) pods: Vec<Pod>,
    /// How many addresses and names were handed out.
    counter: usize,
}

/// The value of the label `tier`, which the `labels` option selects by.
pub(crate) type Tier = Option<&'static str>;

#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) tier: Tier,
    pub(crate) kind: Kind,
    pub(crate) ports: Vec<Port>,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    ClusterIp(Vec<IpAddr>),
    Headless,
    External(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) protocol: &'static str,
    /// Only slices may leave it out.
    pub(crate) number: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
    Fqdn,
}

#[derive(Clone, Debug)]
pub(crate) struct Slice {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// The label that names the Service.
    pub(crate) service: Option<String>,
    /// The labels that name the ServiceImport, and the cluster that it is of.
    pub(crate) import: Option<(String, String)>,
    pub(crate) tier: Tier,
    pub(crate) family: Family,
    pub(crate) ports: Vec<Port>,
    pub(crate) endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) addresses: Vec<String>,
    pub(crate) hostname: Option<String>,
    /// Kind and name of the target.
    pub(crate) target: Option<(&'static str, String)>,
    pub(crate) ready: Option<bool>,
    pub(crate) serving: Option<bool>,
    pub(crate) terminating: Option<bool>,
}

impl Endpoint {
    /// The topology zone that it is in: one for each address. CoreDNS keeps the last that a slice says of an address, so
    /// that those which several endpoints may have are in none.
    pub(crate) fn zone(&self) -> Option<&'static str> {
        let shared = |it: &String| it.starts_with("10.77.") || it.starts_with("10.97.") || it.ends_with(".com");
        if self.addresses.iter().any(shared) {
            return None;
        }
        let number = self.addresses.first()?.bytes().map(usize::from).sum::<usize>();
        (number % 5 != 0).then(|| TOPOLOGY_ZONES[number % TOPOLOGY_ZONES.len()])
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) tier: Tier,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) phase: &'static str,
}

/// The Services whose endpoints are names.
pub(crate) const NAMED: &str = "named";

/// Where endpoints may be.
pub(crate) const TOPOLOGY_ZONES: [&str; 3] = ["eu-1a", "EU-1B", "rack.7"];
const WORDS: [&str; 12] =
    ["web", "api", "db", "cache", "queue", "auth", "search", "mail", "dns", "ns", "svc", "grpc-frontend"];
const PORT_NAMES: [&str; 8] = ["http", "https", "grpc", "metrics", "dns", "dns-tcp", "a", "quite-a-long-port"];
const PROTOCOLS: [(u32, &str); 3] = [(70, "TCP"), (22, "UDP"), (8, "SCTP")];
const TIERS: [(u32, Tier); 3] = [(70, Some("front")), (12, Some("back")), (18, None)];

/// How large a cluster is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) services_per_namespace: usize,
    /// Endpoints of the largest Service.
    pub(crate) largest: usize,
}

impl Cluster {
    /// The cluster that a seed makes.
    pub(crate) fn random(dice: &mut Dice, number: usize, scale: Scale) -> Self {
        let mut cluster = Self { number, ..Self::default() };
        for word in ["prod", "stage", "default-2"] {
            cluster.namespaces.push(format!("{word}-{number}"));
        }
        // Words that have a meaning in names; one name, because a namespace's end takes a moment.
        cluster.namespaces.push(["svc", "pod", "dns"][number % 3].to_owned());
        for namespace in cluster.namespaces.clone() {
            let mut words = WORDS.to_vec();
            dice.shuffle(&mut words);
            for word in words.iter().take(scale.services_per_namespace) {
                let name = if dice.percent(60) { (*word).to_owned() } else { format!("{word}-{}", dice.suffix(3)) };
                cluster.add_service(dice, &namespace, name);
            }
        }
        cluster.add_sure_cases(dice, scale);
        cluster.add_loose_slices(dice);
        cluster.add_external_names(dice);
        cluster.add_pods(dice);
        cluster
    }

    /// A Service with its slices, if any.
    fn add_service(&mut self, dice: &mut Dice, namespace: &str, name: String) {
        let kind = if dice.percent(50) { Kind::Headless } else { Kind::ClusterIp(self.cluster_ips(dice)) };
        let portless = matches!(kind, Kind::Headless) && dice.percent(20);
        let ports = if portless { Vec::new() } else { service_ports(dice) };
        let service = Service { namespace: namespace.to_owned(), name, tier: dice.weighted(&TIERS), kind, ports };
        let slices = dice.weighted(&[(5, 0), (52, 1), (27, 2), (16, 3)]);
        for _ in 0..slices {
            let slice = self.slice_of(dice, &service);
            self.slices.push(slice);
        }
        self.services.push(service);
    }

    /// What every cluster must have, whatever its dice.
    fn add_sure_cases(&mut self, dice: &mut Dice, scale: Scale) {
        let namespace = self.namespaces[0].clone();
        for (name, count) in [("many", 45), ("most", scale.largest)] {
            if count == 0 {
                continue;
            }
            let ports = vec![port("http", "TCP", 80)];
            let service = Service {
                namespace: namespace.clone(),
                name: name.into(),
                tier: Some("front"),
                kind: Kind::Headless,
                ports,
            };
            let mut slice = self.slice_of(dice, &service);
            slice.family = Family::V4;
            slice.tier = Some("front");
            slice.ports = service.ports.clone();
            slice.endpoints = (0..count).map(|_| self.plain_endpoint(dice)).collect();
            self.slices.push(slice);
            self.services.push(service);
        }
        self.add_named(dice);
        let kind = Kind::ClusterIp(self.cluster_ips(dice));
        self.services.push(Service {
            namespace: namespace.clone(),
            name: "vacant".into(),
            tier: Some("front"),
            kind,
            ports: vec![port("http", "TCP", 80)],
        });
        // The same port name over TCP and UDP needs two slices; and the endpoints of both are the same.
        let kind = Kind::Headless;
        let ports = vec![port("dns", "UDP", 53), port("dns-tcp", "TCP", 53)];
        let twice = Service { namespace, name: "twice".into(), tier: Some("front"), kind, ports };
        let mut slice = self.slice_of(dice, &twice);
        slice.family = Family::V4;
        slice.tier = Some("front");
        slice.endpoints = (0..3).map(|_| self.plain_endpoint(dice)).collect();
        for protocol in ["UDP", "TCP"] {
            slice.ports = vec![port("dns", protocol, 53)];
            slice.name = self.name("twice");
            self.slices.push(slice.clone());
        }
        self.services.push(twice);
    }

    /// Services whose endpoints are names. Each has one slice: CoreDNS takes slices in random order, and a CNAME
    /// question gets the first endpoint's name, so that its answer would be chance.
    fn add_named(&mut self, dice: &mut Dice) {
        for (index, kind) in [(0, Kind::Headless), (1, Kind::ClusterIp(self.cluster_ips(dice)))] {
            let (namespace, tier) = (self.namespaces[index].clone(), Some("front"));
            let service = Service { namespace, name: NAMED.into(), tier, kind, ports: service_ports(dice) };
            let mut slice = self.slice_of(dice, &service);
            slice.family = Family::Fqdn;
            slice.tier = tier;
            slice.endpoints = (0..2).map(|_| self.endpoint(dice, Family::Fqdn)).collect();
            self.slices.push(slice);
            self.services.push(service);
        }
    }

    /// Slices of Services that do not exist, and of none.
    fn add_loose_slices(&mut self, dice: &mut Dice) {
        let namespace = self.namespaces[1].clone();
        let missing = Service {
            namespace: namespace.clone(),
            name: "missing".into(),
            tier: None,
            kind: Kind::Headless,
            ports: vec![port("http", "TCP", 80)],
        };
        let slice = self.slice_of(dice, &missing);
        self.slices.push(slice);
        let mut unlabelled = self.slice_of(dice, &missing);
        unlabelled.service = None;
        unlabelled.endpoints.truncate(2);
        self.slices.push(unlabelled);
        // An address that a Service's slice has as well.
        let shared =
            self.slices.iter().find(|it| it.service.is_some() && it.family == Family::V4 && !it.endpoints.is_empty());
        if let Some(shared) = shared.cloned() {
            let name = self.name("shared");
            self.slices.push(Slice { service: None, name, endpoints: shared.endpoints[..1].to_vec(), ..shared });
        }
    }

    /// Aliases into the other zone lead to Services with addresses only: a loop over two zones of one server ends
    /// CoreDNS's process, whose stack overflows.
    fn add_external_names(&mut self, dice: &mut Dice) {
        let targets: Vec<(String, String)> =
            self.services.iter().map(|it| (it.name.clone(), it.namespace.clone())).collect();
        let namespace = self.namespaces[0].clone();
        let inside = |service: &str| format!("{service}.{namespace}.svc.{ZONE}");
        let mut externals = vec![
            ("x-outside".to_owned(), "www.example.com".to_owned()),
            ("x-dot".into(), "www.example.com.".into()),
            ("x-address".into(), "10.1.2.3".into()),
            ("x-short".into(), "intranet".into()),
            ("x-missing".into(), inside("nobody")),
            ("x-self".into(), inside("x-self")),
            ("x-loop-a".into(), inside("x-loop-b")),
            ("x-loop-b".into(), inside("x-loop-a")),
            ("x-headless".into(), inside("many")),
            ("x-chain-0".into(), inside("twice")),
            ("x-to-outside".into(), inside("x-outside")),
            ("x-other-zone".into(), format!("many.{namespace}.svc.other.example")),
            ("x-apex".into(), ZONE.to_owned()),
            ("x-ns".into(), format!("ns.dns.{ZONE}")),
            ("x-port".into(), inside("dns.udp.twice")),
            ("x-outside-alias".into(), "alias.example.com".into()),
            ("x-outside-many".into(), "many.example.com".into()),
            ("x-outside-none".into(), "none.example.com".into()),
        ];
        // Longer than CoreDNS follows.
        for step in 1..14 {
            externals.push((format!("x-chain-{step}"), inside(&format!("x-chain-{}", step - 1))));
        }
        for number in 0..4 {
            let (service, namespace) = dice.pick(&targets);
            let zone = dice.pick(&[ZONE, ZONE, "other.example"]);
            externals.push((format!("x-random-{number}"), format!("{service}.{namespace}.svc.{zone}")));
        }
        for (name, target) in externals {
            let ports = if dice.percent(20) { service_ports(dice) } else { Vec::new() };
            let tier = if dice.percent(80) { Some("front") } else { None };
            self.services.push(Service {
                namespace: namespace.clone(),
                name,
                tier,
                kind: Kind::External(target),
                ports,
            });
        }
    }

    fn add_pods(&mut self, dice: &mut Dice) {
        for (index, namespace) in self.namespaces.clone().into_iter().enumerate() {
            for _ in 0..4 {
                let v4 = IpAddr::V4(self.v4());
                let v6: IpAddr = self.v6(dice).parse().expect("an address");
                let [second_v4, second_v6] = second_addresses(index, self.next());
                // Few have a second address: each question after one is a listed difference, of which there may be few.
                let addresses = match dice.below(12) {
                    0 | 1 => Vec::new(),
                    2 | 3 => vec![v6],
                    4 => vec![v6, second_v4],
                    5 => vec![v4, second_v6],
                    _ => vec![v4],
                };
                let phase = dice.weighted(&[(80, "Running"), (10, "Pending"), (5, "Succeeded"), (5, "Failed")]);
                let (name, tier) = (self.name("pod"), dice.weighted(&TIERS));
                self.pods.push(Pod { namespace: namespace.clone(), name, tier, addresses, phase });
            }
        }
    }

    /// A slice for a Service, alike in tier and ports as a rule.
    pub(crate) fn slice_of(&mut self, dice: &mut Dice, service: &Service) -> Slice {
        let family = dice.weighted(&[(70, Family::V4), (30, Family::V6)]);
        let ports = match dice.below(10) {
            0 => Vec::new(),
            1 => slice_ports(dice),
            _ => endpoint_ports(&service.ports),
        };
        let count = dice.weighted(&[(4, 0), (28, 1), (32, 2), (23, 4), (13, 7)]);
        let mut endpoints: Vec<Endpoint> = (0..count).map(|_| self.endpoint(dice, family)).collect();
        // Endpoints may appear in several slices of a Service.
        let of_same = |it: &&Slice| {
            it.service.as_deref() == Some(&*service.name) && it.namespace == service.namespace && it.family == family
        };
        if let Some(other) = self.slices.iter().find(of_same)
            && dice.percent(40)
        {
            endpoints.extend(other.endpoints.iter().take(2).cloned());
        }
        Slice {
            namespace: service.namespace.clone(),
            name: self.name(&service.name),
            service: Some(service.name.clone()),
            import: None,
            tier: if dice.percent(75) { service.tier } else { dice.weighted(&TIERS) },
            family,
            ports,
            endpoints,
        }
    }

    pub(crate) fn endpoint(&mut self, dice: &mut Dice, family: Family) -> Endpoint {
        let mut addresses = vec![self.address(dice, family)];
        if dice.percent(6) {
            addresses.push(self.address(dice, family));
        }
        let hostname = dice.percent(25).then(|| format!("host-{}", dice.below(4)));
        let pod = format!("{}-{}-{}", dice.pick(&WORDS), dice.suffix(9), dice.suffix(5));
        let target = match dice.below(20) {
            0 => Some(("Node", format!("node-{}", dice.below(9)))),
            1 => Some(("Pod", format!("{}.{}", pod, dice.suffix(3)))),
            2 => Some(("Pod", padded(&pod, 63))),
            3 => Some(("Pod", padded(&pod, 64))),
            4 => Some(("Pod", padded(&pod, 90))),
            5..=7 => None,
            _ => Some(("Pod", pod)),
        };
        Endpoint {
            addresses,
            hostname,
            target,
            ready: dice.weighted(&[(70, Some(true)), (16, None), (14, Some(false))]),
            serving: dice.weighted(&[(60, None), (30, Some(true)), (10, Some(false))]),
            terminating: dice.weighted(&[(70, None), (15, Some(true)), (15, Some(false))]),
        }
    }

    /// A ready pod of a Deployment.
    fn plain_endpoint(&mut self, dice: &mut Dice) -> Endpoint {
        let pod = format!("web-{}-{}", dice.suffix(9), dice.suffix(5));
        Endpoint {
            addresses: vec![self.v4().to_string()],
            hostname: None,
            target: Some(("Pod", pod)),
            ready: Some(true),
            serving: Some(true),
            terminating: Some(false),
        }
    }

    fn address(&mut self, dice: &mut Dice, family: Family) -> String {
        match family {
            Family::Fqdn => format!("host-{}.example.com", dice.below(5)),
            // An address that several Services share; and one that is some Service's ClusterIP.
            Family::V4 if dice.percent(10) => format!("10.77.{}.{}", self.number, dice.between(1, 5)),
            Family::V4 if dice.percent(4) => {
                let of = self.services.iter().find_map(|it| match &it.kind {
                    Kind::ClusterIp(addresses) => addresses.iter().find(|it| it.is_ipv4()),
                    _ => None,
                });
                match of.map(IpAddr::to_string) {
                    Some(address) => address,
                    None => self.v4().to_string(),
                }
            }
            Family::V4 => self.v4().to_string(),
            Family::V6 => self.v6(dice),
        }
    }

    fn v4(&mut self) -> Ipv4Addr {
        let number = self.next();
        Ipv4Addr::new(10, 128 + self.number as u8, (number >> 8) as u8, number as u8)
    }

    /// An IPv6 address with its `::` in front, within, at the end, or without one.
    fn v6(&mut self, dice: &mut Dice) -> String {
        let own = (self.number as u16 + 1) << 12 | self.next() as u16;
        let groups = match dice.below(5) {
            0 => [0, 0, 0, 0, 0, 0xabcd, 1, own],
            1 => [0xfd00, own, 0, 0, 0, 0, 0, 0],
            2 => [0xfd00, 1, 2, 3, 4, 5, 6, own],
            3 => [0xfd00, 0, 0, own, 0, 0, 0, 7],
            _ => [0xfd00, 0x10, 0, 0, 0, 0, 0, own],
        };
        Ipv6Addr::from(groups).to_string()
    }

    pub(crate) fn cluster_ips(&mut self, dice: &mut Dice) -> Vec<IpAddr> {
        let number = self.number * 1024 + self.next();
        let v4 = IpAddr::V4(Ipv4Addr::from_bits(0x0a61_0000 + number as u32));
        let v6 = IpAddr::V6(Ipv6Addr::from([0xfd00, 0x96, 0, 0, 0, 0, 0, 0x100 + number as u16]));
        match dice.below(20) {
            0..12 => vec![v4],
            12..15 => vec![v6],
            15..18 => vec![v4, v6],
            _ => vec![v6, v4],
        }
    }

    pub(crate) fn name(&mut self, of: &str) -> String {
        format!("{of}-{}", self.next())
    }

    fn next(&mut self) -> usize {
        self.counter += 1;
        self.counter
    }

    /// Objects by which a server's progress is seen, one of each kind: written last, seen last.
    pub(crate) fn with_markers(&self, round: usize) -> Self {
        let mut marked = self.clone();
        let markers = Markers::new(self, round);
        let namespace = markers.namespace.clone();
        let tier = Some("front");
        marked.namespaces.push(markers.new_namespace.clone());
        let ports = vec![port("marker", "TCP", 1)];
        let kind = Kind::ClusterIp(vec![IpAddr::V4(markers.cluster_ip)]);
        let service = Service { namespace: namespace.clone(), name: markers.service.clone(), tier, kind, ports };
        let headless = Service { kind: Kind::Headless, name: markers.headless.clone(), ..service.clone() };
        if !self.imports.is_empty() {
            marked.imports.extend([service.clone(), headless.clone()]);
        }
        marked.services.push(headless);
        let mut endpoint = marked.plain_endpoint(&mut Dice::new(0));
        endpoint.addresses = vec![markers.address.to_string()];
        marked.slices.push(Slice {
            namespace: namespace.clone(),
            name: markers.headless.clone(),
            service: Some(markers.headless.clone()),
            import: (!self.imports.is_empty()).then(|| (markers.headless.clone(), "marker".to_owned())),
            tier,
            family: Family::V4,
            ports: endpoint_ports(&service.ports),
            endpoints: vec![endpoint],
        });
        marked.services.push(service);
        let addresses = vec![IpAddr::V4(markers.address)];
        marked.pods.push(Pod { namespace, name: markers.service, tier, addresses, phase: "Running" });
        marked
    }
}

/// The names of the marker objects of one round.
pub(crate) struct Markers {
    /// A namespace that every configuration exposes.
    pub(crate) namespace: String,
    pub(crate) new_namespace: String,
    pub(crate) service: String,
    pub(crate) cluster_ip: Ipv4Addr,
    pub(crate) headless: String,
    /// Of the slice's endpoint and of the pod.
    pub(crate) address: Ipv4Addr,
}

impl Markers {
    pub(crate) fn new(cluster: &Cluster, round: usize) -> Self {
        let (number, low) = (cluster.number as u8, round as u8 + 1);
        Self {
            namespace: cluster.namespaces[0].clone(),
            new_namespace: format!("marker-{number}-{round}"),
            service: format!("marker-{round}"),
            cluster_ip: Ipv4Addr::new(10, 96, 200 + number, low),
            headless: format!("marker-headless-{round}"),
            address: Ipv4Addr::new(10, 250, number, low),
        }
    }
}

/// Addresses that pods have beside their first. CoreDNS knows only the first; by these it is told which one is asked.
fn second_addresses(namespace: usize, number: usize) -> [IpAddr; 2] {
    let (index, [high, low]) = (namespace as u8, (number as u16).to_be_bytes());
    [
        Ipv4Addr::new(10, 220 + index, high, low).into(),
        Ipv6Addr::from([0xfd02, index.into(), 0, 0, 0, 0, 1, number as u16]).into(),
    ]
}

/// Whether a pod of this namespace may have the address beside its first.
pub(crate) fn is_second_address(address: IpAddr, namespace: &str) -> bool {
    let index = match address {
        IpAddr::V4(address) => match address.octets() {
            [10, index @ 220..=223, ..] => usize::from(index - 220),
            _ => return false,
        },
        IpAddr::V6(address) => match address.segments() {
            [0xfd02, index, ..] => usize::from(index),
            _ => return false,
        },
    };
    let of = ["prod-", "stage-", "default-2-"].iter().position(|word| namespace.starts_with(word));
    of.unwrap_or(3) == index
}

fn port(name: &str, protocol: &'static str, number: u16) -> Port {
    Port { name: name.to_owned(), protocol, number: Some(number) }
}

/// One unnamed port, or named ones; the same number may be there for two protocols.
fn service_ports(dice: &mut Dice) -> Vec<Port> {
    let number = *dice.pick(&[80, 443, 5432, 9090]);
    let protocol = dice.weighted(&PROTOCOLS);
    if dice.percent(25) {
        return vec![port("", protocol, number)];
    }
    let mut names = PORT_NAMES.to_vec();
    dice.shuffle(&mut names);
    let mut ports = vec![port(names[0], protocol, number)];
    if dice.percent(45) {
        let other = if protocol == "TCP" { "UDP" } else { "TCP" };
        ports.push(port(names[1], other, number));
    }
    if dice.percent(30) {
        ports.push(port(names[2], dice.weighted(&PROTOCOLS), number + 1));
    }
    ports
}

/// Ports that a slice has and its Service may not.
fn slice_ports(dice: &mut Dice) -> Vec<Port> {
    let mut ports = service_ports(dice);
    if dice.percent(40) {
        ports[0].number = None;
    }
    ports
}

/// The target ports: other numbers than the Service's.
fn endpoint_ports(ports: &[Port]) -> Vec<Port> {
    ports.iter().map(|it| Port { number: it.number.map(|number| number + 8000), ..it.clone() }).collect()
}

fn padded(name: &str, length: usize) -> String {
    format!("{}{}", name, "z".repeat(length.saturating_sub(name.len())))
}
