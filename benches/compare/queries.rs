//! What is asked: the mix, and what a right answer has.

use crate::cluster::{Cluster, Service, Size};
use crate::support::dns;
use rand::RngExt;
use rand::rngs::StdRng;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// A kind of question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The address of a pod by the pod's name. The Service is drawn first, so that large ones weigh no more.
    PodA,
    /// The targets of a headless Service of 3 to 8 pods.
    Srv,
    /// The addresses of such a Service.
    HeadlessA,
    ClusterIpA,
    /// A third each: a pod that is gone, a Service that never was, a name that a search list made.
    NxDomain,
    /// An IPv6 address of a Service that has none.
    AaaaNoData,
    /// The address of a pod among the 5,000 of one Service; not in the mix.
    LargePodA,
}

/// The mix, in percent.
pub(crate) const MIX: [(Kind, u32); 6] = [
    (Kind::PodA, 35),
    (Kind::Srv, 25),
    (Kind::HeadlessA, 10),
    (Kind::ClusterIpA, 15),
    (Kind::NxDomain, 10),
    (Kind::AaaaNoData, 5),
];

/// What an answer must have to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// These addresses, sorted, and no others.
    Addresses(Vec<String>),
    /// So many SRV records.
    Targets(usize),
    NxDomain,
    NoData,
}

pub(crate) struct Question {
    pub(crate) name: String,
    pub(crate) rtype: u16,
    pub(crate) expected: Expected,
}

/// Draws questions about one cluster.
pub(crate) struct Drawer<'c> {
    every: Vec<&'c Service>,
    headless: Vec<&'c Service>,
    with_cluster_ip: Vec<&'c Service>,
    large: Vec<&'c Service>,
}

impl<'c> Drawer<'c> {
    pub(crate) fn new(cluster: &'c Cluster) -> Self {
        let of = |wanted: &dyn Fn(&Service) -> bool| cluster.services.iter().filter(|it| wanted(it)).collect();
        Self {
            every: of(&|_| true),
            headless: of(&|service| service.is_headless() && service.size() == Size::Small),
            with_cluster_ip: of(&|service| !service.is_headless()),
            large: of(&|service| service.size() == Size::Large),
        }
    }

    /// A question of the mix.
    pub(crate) fn mixed(&self, rng: &mut StdRng) -> Question {
        let mut percent = rng.random_range(0..MIX.iter().map(|(_, share)| share).sum());
        for (kind, share) in MIX {
            if percent < share {
                return self.draw(kind, rng);
            }
            percent -= share;
        }
        unreachable!("the shares were summed up")
    }

    pub(crate) fn draw(&self, kind: Kind, rng: &mut StdRng) -> Question {
        let services = match kind {
            Kind::PodA | Kind::NxDomain => &self.every,
            Kind::Srv | Kind::HeadlessA => &self.headless,
            Kind::ClusterIpA | Kind::AaaaNoData => &self.with_cluster_ip,
            Kind::LargePodA => &self.large,
        };
        let service = services[rng.random_range(0..services.len())];
        let pod = &service.pods[rng.random_range(0..service.pods.len())];
        let (name, rtype, expected) = match kind {
            Kind::PodA | Kind::LargePodA => (service.pod_fqdn(pod), dns::A, addresses([pod.address])),
            Kind::Srv => (format!("_http._tcp.{}", service.fqdn()), dns::SRV, Expected::Targets(service.pods.len())),
            Kind::HeadlessA => (service.fqdn(), dns::A, addresses(service.pods.iter().map(|pod| pod.address))),
            Kind::ClusterIpA => (service.fqdn(), dns::A, addresses(service.cluster_ip)),
            Kind::AaaaNoData => (service.fqdn(), dns::AAAA, Expected::NoData),
            Kind::NxDomain => {
                let namespace = &service.namespace;
                let name = match rng.random_range(0..3) {
                    // No generated name has a vowel.
                    0 => format!("{}-aeiou.{}", &pod.name[..pod.name.len() - 6], service.fqdn()),
                    1 => format!("gone-{}.{namespace}.svc.cluster.local", rng.random_range(0..10_000)),
                    _ => format!("api{}.example.com.{namespace}.svc.cluster.local", rng.random_range(0..10_000)),
                };
                (name, dns::A, Expected::NxDomain)
            }
        };
        Question { name, rtype, expected }
    }
}

impl Question {
    /// As dnsperf asks it with `-e`.
    pub(crate) fn query(&self) -> dns::Query {
        dns::Query::new(&self.name, self.rtype).payload(4096)
    }

    /// Why an answer is not right, if it is not.
    pub(crate) fn wrong(&self, answer: &dns::Message) -> Option<String> {
        let rcode = if self.expected == Expected::NxDomain { dns::NXDOMAIN } else { dns::NOERROR };
        let right = answer.rcode == rcode
            && match &self.expected {
                Expected::Addresses(addresses) => answer.data_of(dns::A) == *addresses,
                Expected::Targets(count) => answer.data_of(dns::SRV).len() == *count,
                Expected::NxDomain | Expected::NoData => answer.answers.is_empty(),
            };
        (!right).then(|| format!("{} {}: expected {:?}, got {answer}", self.name, self.rtype, self.expected))
    }
}

/// The questions as dnsperf reads them.
pub(crate) fn file<'q>(questions: impl IntoIterator<Item = &'q Question>) -> String {
    let mut text = String::new();
    for question in questions {
        writeln!(text, "{}. {}", question.name, dns::type_text(question.rtype)).expect("memory");
    }
    text
}

fn addresses(of: impl IntoIterator<Item = Ipv4Addr>) -> Expected {
    let mut texts: Vec<_> = of.into_iter().map(|address| address.to_string()).collect();
    texts.sort();
    Expected::Addresses(texts)
}
