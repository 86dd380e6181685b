//! Kubernetes objects, stripped to what DNS needs.
//!
//! Sources apply the API server's defaults (protocol `TCP`, empty port names), so that a manifest means what it
//! would mean once applied.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::endpoints::Endpoints;
use super::event::Kind;
use super::settings::Settings;

/// Labels of an object; needed only until its visibility to each view is decided.
pub type Labels = BTreeMap<String, String>;

/// Namespace and name; the namespace of a cluster-scoped object is empty. A clone shares both texts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Namespace, or empty.
    pub namespace: Arc<str>,
    /// Name within the namespace.
    pub name: Arc<str>,
}

impl ObjectKey {
    /// Makes a key of a namespace (empty for cluster-scoped objects) and a name.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// Any object of a [`Kind`].
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A Namespace.
    Namespace(Namespace),
    /// A Service.
    Service(Service),
    /// An EndpointSlice.
    EndpointSlice(EndpointSlice),
    /// A Pod.
    Pod(Pod),
    /// A ServiceImport, which is to DNS what a Service is: one of cluster set IPs, or a headless one.
    ServiceImport(Service),
}

impl Object {
    /// The kind of the object.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Namespace(_) => Kind::Namespace,
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Pod(_) => Kind::Pod,
            Self::ServiceImport(_) => Kind::ServiceImport,
        }
    }
}

/// A Namespace: its existence is what makes the names below it answerable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: Arc<str>,
    /// Its labels.
    pub labels: Labels,
}

/// A Service, of this cluster or imported from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub key: ObjectKey,
    /// Its labels.
    pub labels: Labels,
    /// How its name resolves.
    pub kind: ServiceKind,
    /// `spec.ports`, in order.
    pub ports: Arc<[ServicePort]>,
    /// Whether the cluster chooses its endpoints by `spec.selector`; of a ServiceImport it is not known, and `false`.
    pub has_selector: bool,
    /// What it says of its names; nearly all say nothing.
    pub settings: Option<Box<Settings>>,
}

/// How a Service's name resolves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// `spec.clusterIPs` (or `spec.clusterIP` where that list is empty), of a ServiceImport `spec.ips`: one or two
    /// addresses, or none where nobody has given any.
    ClusterIp(Vec<IpAddr>),
    /// `spec.clusterIP: None`, of a ServiceImport `spec.type: Headless`: the endpoints' own addresses.
    Headless,
    /// `spec.type: ExternalName`: an alias, as written.
    ExternalName(Box<str>),
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServicePort {
    /// Name; empty if unnamed.
    pub name: Box<str>,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Box<str>,
    /// The port's number.
    pub port: u16,
}

/// An EndpointSlice: addresses times ports of one Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Namespace and name of the slice.
    pub key: ObjectKey,
    /// Its labels.
    pub labels: Labels,
    /// The value of the label `kubernetes.io/service-name`: the Service, in the slice's namespace; `None` (or
    /// empty) for a slice that belongs to none.
    pub service: Option<Arc<str>>,
    /// The ServiceImport that it belongs to, if it does.
    pub import: Option<Box<Import>>,
    /// The endpoints, ready or not.
    pub endpoints: Endpoints,
    /// The ports of all of them; empty means none are declared.
    pub ports: Arc<[EndpointPort]>,
}

/// Where an EndpointSlice of another cluster's endpoints belongs (KEP-1645, EndpointSlice).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The value of the label `multicluster.kubernetes.io/service-name`: the ServiceImport, in the slice's namespace.
    pub service: Arc<str>,
    /// The value of the label `multicluster.kubernetes.io/source-cluster`: the cluster's id; empty where it has none.
    pub cluster: Arc<str>,
}

/// A port of an EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointPort {
    /// Name; empty if unnamed.
    pub name: Box<str>,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Box<str>,
    /// The port's number; `None` stands for all ports, of which DNS has no record.
    pub port: Option<u16>,
}

/// A Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Namespace and name.
    pub key: ObjectKey,
    /// Its labels.
    pub labels: Labels,
    /// `status.podIPs`, or `status.podIP` where that list is empty.
    pub addresses: PodAddresses,
    /// `spec.hostname`, if it is set, and is not the pod's name.
    pub hostname: Option<Box<str>>,
    /// Whether `metadata.deletionTimestamp` is set.
    pub terminating: bool,
}

/// The addresses of a Pod: at most one of each family (`ValidatePodStatusUpdate` in `k8s.io/kubernetes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PodAddresses {
    /// The IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// The IPv6 address.
    pub v6: Option<Ipv6Addr>,
}

impl PodAddresses {
    /// The addresses.
    pub fn iter(self) -> impl Iterator<Item = IpAddr> {
        self.v4.map(IpAddr::from).into_iter().chain(self.v6.map(IpAddr::from))
    }
}

impl FromIterator<IpAddr> for PodAddresses {
    /// The first of each family. IPv4-mapped IPv6 addresses are to be given as IPv4.
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        let mut first = Self::default();
        for address in addresses {
            match address {
                IpAddr::V4(address) => first.v4 = first.v4.or(Some(address)),
                IpAddr::V6(address) => first.v6 = first.v6.or(Some(address)),
            }
        }
        first
    }
}
