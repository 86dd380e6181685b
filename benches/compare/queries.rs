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

/// Kinds and their shares.
pub(crate) type Mix = [(Kind, u32); 6];

/// The standard mix, in percent.
pub(crate) const MIX: Mix = [
    (Kind::PodA, 35),
    (Kind::Srv, 25),
    (Kind::HeadlessA, 10),
    (Kind::ClusterIpA, 15),
    (Kind::NxDomain, 10),
    (Kind::AaaaNoData, 5),
];

/// 70 % of names that do not exist, the rest as in the standard mix; in permille.
pub(crate) const MOSTLY_NXDOMAIN: Mix = [
    (Kind::PodA, 117),
    (Kind::Srv, 83),
    (Kind::HeadlessA, 33),
    (Kind::ClusterIpA, 50),
    (Kind::NxDomain, 700),
    (Kind::AaaaNoData, 17),
];

/// What an answer must have to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// These addresses, sorted, and no others.
    Addresses(Vec<Ipv4Addr>),
    /// SRV records of as many targets, with these addresses, sorted.
    Targets(Vec<Ipv4Addr>),
    NxDomain,
    NoData,
}

pub(crate) struct Question {
    pub(crate) name: String,
    pub(crate) rtype: u16,
    pub(crate) expected: Expected,
    /// What is right too while the slice that it is about is updated to and fro.
    pub(crate) churned: Expected,
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

    /// A question of a mix.
    pub(crate) fn mixed(&self, mix: &Mix, rng: &mut StdRng) -> Question {
        let mut place = rng.random_range(0..mix.iter().map(|(_, share)| share).sum());
        for (kind, share) in mix {
            if place < *share {
                return self.draw(*kind, rng);
            }
            place -= share;
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
        Question::about(kind, services[rng.random_range(0..services.len())], rng)
    }
}

impl Question {
    /// A question of a kind about a Service; which of its pods is drawn.
    pub(crate) fn about(kind: Kind, service: &Service, rng: &mut StdRng) -> Self {
        let index = rng.random_range(0..service.pods.len());
        let pod = &service.pods[index];
        let pods = || service.pods.iter().map(|pod| pod.address);
        // Of Services with one slice.
        let churned = || sorted(pods().take(service.pods.len() - 1).chain([service.successor(0).address]));
        let (name, rtype, expected, churned) = match kind {
            Kind::PodA | Kind::LargePodA => {
                let expected = addresses([pod.address]);
                let churned = if service.is_replaced(index) { Expected::NxDomain } else { expected.clone() };
                (service.pod_fqdn(pod), dns::A, expected, churned)
            }
            Kind::Srv => {
                let name = format!("_http._tcp.{}", service.fqdn());
                (name, dns::SRV, Expected::Targets(sorted(pods())), Expected::Targets(churned()))
            }
            Kind::HeadlessA => (service.fqdn(), dns::A, addresses(pods()), addresses(churned())),
            Kind::ClusterIpA => alike(service.fqdn(), dns::A, addresses(service.cluster_ip)),
            Kind::AaaaNoData => alike(service.fqdn(), dns::AAAA, Expected::NoData),
            Kind::NxDomain => {
                let namespace = &service.namespace;
                let name = match rng.random_range(0..3) {
                    // No generated name has a vowel.
                    0 => format!("{}-aeiou.{}", &pod.name[..pod.name.len() - 6], service.fqdn()),
                    1 => format!("gone-{}.{namespace}.svc.cluster.local", rng.random_range(0..10_000)),
                    _ => format!("api{}.example.com.{namespace}.svc.cluster.local", rng.random_range(0..10_000)),
                };
                alike(name, dns::A, Expected::NxDomain)
            }
        };
        Self { name, rtype, expected, churned }
    }

    /// As dnsperf asks it with `-e`.
    pub(crate) fn query(&self) -> dns::Query {
        dns::Query::new(&self.name, self.rtype).payload(4096)
    }

    /// Why an answer is not right, if it is not.
    pub(crate) fn wrong(&self, answer: &dns::Message) -> Option<String> {
        let rcode = if self.expected == Expected::NxDomain { dns::NXDOMAIN } else { dns::NOERROR };
        let right = answer.rcode == rcode
            && match &self.expected {
                Expected::Addresses(addresses) => {
                    let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                    let given = answer.data_of(dns::A);
                    given.len() == texts.len() && texts.iter().all(|text| given.contains(text))
                }
                Expected::Targets(targets) => answer.data_of(dns::SRV).len() == targets.len(),
                Expected::NxDomain | Expected::NoData => answer.answers.is_empty(),
            };
        (!right).then(|| format!("{} {}: expected {:?}, got {answer}", self.name, self.rtype, self.expected))
    }
}

/// The same question with letters of either case (draft-vixie-dnsext-dns0x20).
pub(crate) fn in_random_case(question: Question, rng: &mut StdRng) -> Question {
    let turn = |letter: char| if rng.random() { letter.to_ascii_uppercase() } else { letter };
    Question { name: question.name.chars().map(turn).collect(), ..question }
}

/// The questions as dnsperf reads them.
pub(crate) fn file<'q>(questions: impl IntoIterator<Item = &'q Question>) -> String {
    let mut text = String::new();
    for question in questions {
        writeln!(text, "{}. {}", question.name, dns::type_text(question.rtype)).expect("memory");
    }
    text
}

/// A question that no update is about.
fn alike(name: String, rtype: u16, expected: Expected) -> (String, u16, Expected, Expected) {
    (name, rtype, expected.clone(), expected)
}

fn addresses(of: impl IntoIterator<Item = Ipv4Addr>) -> Expected {
    Expected::Addresses(sorted(of))
}

fn sorted(addresses: impl IntoIterator<Item = Ipv4Addr>) -> Vec<Ipv4Addr> {
    let mut addresses: Vec<_> = addresses.into_iter().collect();
    addresses.sort();
    addresses
}
