//! The synthetic cluster: a large one, the same for the same seed (and the same release of `rand`, which is pinned).

use crate::support::dns;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// Most Services are small; a few take many slices.
const SMALL: RangeInclusive<usize> = 3..=8;
const MEDIUM: RangeInclusive<usize> = 20..=150;
const LARGE: usize = 5000;

const SERVICES_PER_NAMESPACE: usize = 100;

/// What the EndpointSlice controller puts into a slice by default.
pub(crate) const SLICE_ENDPOINTS: usize = 100;

/// How large the cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shape {
    /// 10,000 Services with 154,704 endpoints.
    Full,
    /// 100 Services with 1,500.
    Small,
    /// 70,000 Services with 1,000,000 endpoints.
    Million,
    /// One headless Service for each of [`TARGETS`].
    Targets,
}

/// How many pods the Services of [`Shape::Targets`] have.
pub(crate) const TARGETS: [usize; 4] = [1, 10, 100, 1000];

/// The letters of generated names (k8s.io/apimachinery/pkg/util/rand).
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

const WORDS: [&str; 16] = [
    "account",
    "billing",
    "cart",
    "catalog",
    "delivery",
    "events",
    "frontend",
    "gateway",
    "inventory",
    "ledger",
    "metrics",
    "orders",
    "payment",
    "search",
    "session",
    "users",
];

pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
}

pub(crate) struct Service {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// None of a headless one.
    pub(crate) cluster_ip: Option<Ipv4Addr>,
    pub(crate) pods: Vec<Pod>,
    pub(crate) slice_names: Vec<String>,
}

/// How many endpoints a Service has, in words.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    Small,
    Medium,
    Large,
}

/// An object and where to POST it.
pub(crate) struct Written {
    pub(crate) path: String,
    pub(crate) body: Value,
}

pub(crate) struct Cluster {
    pub(crate) services: Vec<Service>,
}

impl Cluster {
    pub(crate) fn generate(shape: Shape, seed: u64) -> Self {
        Self { services: Self::services(shape, seed).collect() }
    }

    /// Its Services, made one by one, for those who do not keep them.
    pub(crate) fn services(shape: Shape, seed: u64) -> impl Iterator<Item = Service> {
        let mut rng = StdRng::seed_from_u64(seed);
        let sizes = shape.sizes(&mut rng);
        let count = sizes.len();
        let mut headless: Vec<bool> = (0..count).map(|index| index % 2 == 0 || shape == Shape::Targets).collect();
        headless.shuffle(&mut rng);
        let mut addresses = (0_u32..).map(|index| Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 128, 0, 10)) + index));
        (0..count).map(move |index| {
            let name = if index + 1 == count {
                // Last in the writing and in the order of every listing: who answers it has read everything.
                "zz-written-last".to_owned()
            } else {
                let mut word = || WORDS[rng.random_range(0..WORDS.len())];
                format!("{}-{}-{index:04}", word(), word())
            };
            let cluster_ip = (!headless[index]).then(|| {
                let offset = u32::try_from(index).expect("an index of thousands");
                Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 100, 0, 0)) + offset)
            });
            let replica_set = letters(&mut rng, 10);
            let mut names = BTreeSet::new();
            while names.len() < sizes[index] {
                names.insert(letters(&mut rng, 5));
            }
            let pods = names.into_iter().map(|suffix| Pod {
                name: format!("{name}-{replica_set}-{suffix}"),
                address: addresses.next().expect("no end"),
            });
            let pods: Vec<_> = pods.collect();
            let slices = pods.len().div_ceil(SLICE_ENDPOINTS);
            let mut slice_names = BTreeSet::new();
            while slice_names.len() < slices {
                slice_names.insert(format!("{name}-{}", letters(&mut rng, 5)));
            }
            let namespace = namespace_of(index);
            Service { namespace, name, cluster_ip, pods, slice_names: slice_names.into_iter().collect() }
        })
    }

    pub(crate) fn last(&self) -> &Service {
        self.services.last().expect("thousands")
    }

    pub(crate) fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.services.chunks(SERVICES_PER_NAMESPACE).map(|services| services[0].namespace.as_str())
    }

    pub(crate) fn endpoints(&self) -> usize {
        self.services.iter().map(|service| service.pods.len()).sum()
    }
}

impl Pod {
    pub(crate) fn uid(&self) -> String {
        uid(self.address, 0xcafe)
    }
}

impl Service {
    pub(crate) fn size(&self) -> Size {
        match self.pods.len() {
            LARGE => Size::Large,
            count if SMALL.contains(&count) => Size::Small,
            _ => Size::Medium,
        }
    }

    pub(crate) fn is_headless(&self) -> bool {
        self.cluster_ip.is_none()
    }

    pub(crate) fn fqdn(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.name, self.namespace)
    }

    pub(crate) fn pod_fqdn(&self, pod: &Pod) -> String {
        format!("{}.{}", pod.name, self.fqdn())
    }

    /// The pod that takes the place of the last of a slice when that is updated.
    pub(crate) fn successor(&self, slice: usize) -> Pod {
        let replaced = self.pods.chunks(SLICE_ENDPOINTS).nth(slice).and_then(<[_]>::last).expect("a slice");
        let base = &replaced.name[..replaced.name.len() - 6];
        // No generated name has a vowel, and no pod an address in 11.0.0.0/8.
        let address = Ipv4Addr::from(u32::from(replaced.address) + (1 << 24));
        Pod { name: format!("{base}-e{slice:04}"), address }
    }

    /// Whether an update of its slice replaces the pod at this index.
    pub(crate) fn is_replaced(&self, pod: usize) -> bool {
        pod + 1 == self.pods.len() || (pod + 1).is_multiple_of(SLICE_ENDPOINTS)
    }

    /// The Service and its slices, in the form that the API server and the EndpointSlice controller give them.
    pub(crate) fn objects(&self) -> Vec<Written> {
        let (name, namespace) = (&self.name, &self.namespace);
        let cluster_ip = self.cluster_ip.map_or_else(|| "None".to_owned(), |address| address.to_string());
        let mut objects = vec![Written {
            path: format!("/api/v1/namespaces/{namespace}/services"),
            body: json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
                "spec": {
                    "clusterIP": cluster_ip,
                    "selector": {"app": name},
                    "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
                },
            }),
        }];
        objects.extend((0..self.slice_names.len()).map(|index| self.slice(index, false)));
        objects
    }

    /// A slice as it was made, or as an update makes it.
    pub(crate) fn slice(&self, index: usize, is_updated: bool) -> Written {
        let (name, namespace, slice) = (&self.name, &self.namespace, &self.slice_names[index]);
        let pods = self.pods.chunks(SLICE_ENDPOINTS).nth(index).expect("a slice");
        let mut endpoints: Vec<_> = pods.iter().map(|pod| self.endpoint(pod)).collect();
        if let Some(last) = endpoints.last_mut().filter(|_| is_updated) {
            *last = self.endpoint(&self.successor(index));
        }
        Written {
            path: format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"),
            body: json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "name": slice, "namespace": namespace,
                    "labels": {
                        "app": name,
                        "kubernetes.io/service-name": name,
                        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                    },
                    "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z"},
                    "ownerReferences": [{
                        "apiVersion": "v1", "kind": "Service", "name": name, "controller": true,
                        "blockOwnerDeletion": true, "uid": uid(self.pods[0].address, 0xfeed),
                    }],
                },
                "addressType": "IPv4",
                "endpoints": endpoints,
                "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            }),
        }
    }

    fn endpoint(&self, pod: &Pod) -> Value {
        json!({
            "addresses": [pod.address.to_string()],
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": format!("node-{:04}", pod.address.octets()[2]),
            "targetRef": {
                "kind": "Pod", "namespace": self.namespace, "name": pod.name, "uid": pod.uid(),
            },
            "zone": "zone-a",
        })
    }
}

/// The question by which a server shows that it knows a Service and the last of its pods.
pub(crate) fn knows(service: &Service) -> (dns::Query, String) {
    let pod = service.pods.last().expect("every Service has pods");
    (dns::Query::new(&service.pod_fqdn(pod), dns::A).payload(1232), pod.address.to_string())
}

impl Shape {
    /// The namespaces of its Services.
    pub(crate) fn namespaces(self) -> impl Iterator<Item = String> {
        (0..self.services()).step_by(SERVICES_PER_NAMESPACE).map(namespace_of)
    }

    fn services(self) -> usize {
        match self {
            Self::Full => 10_000,
            Self::Small => 100,
            Self::Million => 70_000,
            Self::Targets => TARGETS.len(),
        }
    }

    /// So many endpoints for each Service that the total is exact; the last Service is small.
    fn sizes(self, rng: &mut StdRng) -> Vec<usize> {
        let services = self.services();
        let (endpoints, medium, large) = match self {
            Self::Full => (154_704, 1000, 4),
            Self::Small => (1500, 10, 0),
            Self::Million => (1_000_000, 7000, 12),
            Self::Targets => return TARGETS.into(),
        };
        let mut sizes = vec![LARGE; large];
        let medium = large..large + medium;
        sizes.extend(medium.clone().map(|_| rng.random_range(MEDIUM)));
        while sizes.len() < services {
            sizes.push(rng.random_range(SMALL));
        }
        // The medium ones take up what the drawing left over.
        let mut total: usize = sizes.iter().sum();
        for index in medium.cycle() {
            match total.cmp(&endpoints) {
                std::cmp::Ordering::Equal => break,
                std::cmp::Ordering::Less if sizes[index] < *MEDIUM.end() => {
                    (sizes[index], total) = (sizes[index] + 1, total + 1)
                }
                std::cmp::Ordering::Greater if sizes[index] > *MEDIUM.start() => {
                    (sizes[index], total) = (sizes[index] - 1, total - 1);
                }
                _ => {}
            }
        }
        sizes[..services - 1].shuffle(rng);
        sizes
    }
}

fn letters(rng: &mut StdRng, count: usize) -> String {
    (0..count).map(|_| char::from(LETTERS[rng.random_range(0..LETTERS.len())])).collect()
}

/// The namespace of a Service by its place in the cluster.
pub(crate) fn namespace_of(index: usize) -> String {
    format!("team-{:02}", index / SERVICES_PER_NAMESPACE)
}

/// A Namespace as the API server takes it.
pub(crate) fn namespace(name: &str) -> Written {
    Written {
        path: "/api/v1/namespaces".to_owned(),
        body: json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
    }
}

/// A UID of the usual length.
fn uid(address: Ipv4Addr, kind: u16) -> String {
    format!("{:08x}-{kind:04x}-4000-8000-{:012x}", u32::from(address), u32::from(address))
}
