//! The options of one view: what one `kubernetes` directive says.

use std::collections::HashSet;
use std::net::IpAddr;
use std::num::NonZeroU16;

use super::name::{Name, is_at_or_below};
use crate::model::PodNames;

/// A view's options, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewOptions {
    /// The zones that it is authoritative for.
    pub zones: Vec<Name>,
    /// What it names are the ServiceImports, with the endpoints of all clusters of the set (KEP-1645), and not the
    /// cluster's own Services. Nothing points back into it.
    pub multicluster: bool,
    /// The zone that PTR records point into: the first that is not a reverse zone.
    pub primary: Name,
    /// TTL of its records, in seconds.
    pub ttl_secs: u32,
    /// How long a denial may be kept, in seconds; `None` is as long as records.
    pub negative_ttl_secs: Option<u32>,
    /// Namespaces that are exposed; empty means all.
    pub namespaces: HashSet<Box<str>>,
    /// How endpoints without a hostname are named: as the first line says that is about their Service; where none is,
    /// after their address.
    pub endpoint_pod_names: Vec<PodNames>,
    /// Endpoints of headless Services without ports are SRV targets, with port 0.
    pub portless_srv: bool,
    /// How many SRV targets the answer for a set has at most: where there are more, those that stand side by side from any
    /// place on, a new one for each answer.
    pub srv_limit: Option<NonZeroU16>,
    /// An address of endpoints of several Services points back to one name, and not to one in each.
    pub canonical_ptr: bool,
    /// Endpoints that are not ready have names, which no set has.
    pub publish_not_ready: bool,
    /// Endpoints that are terminating and serve still keep their names, which no set has.
    pub drain: bool,
    /// Services with cluster IPs that have no ready endpoints do not exist.
    pub ignore_empty_service: bool,
    /// Headless Services have names for the endpoints of each topology zone.
    pub zonal: bool,
    /// How names below `pod.` are answered.
    pub pods: Pods,
    /// Names at or below these that the view does not have are passed on.
    pub fallthrough: Vec<Name>,
    /// The addresses that this server is reached at: who serves the zone (NS records).
    pub local_addresses: Vec<IpAddr>,
}

/// How names below `pod.` are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Pods {
    /// They do not exist.
    #[default]
    Disabled,
    /// Every address exists in every namespace.
    Insecure,
    /// Those exist that a pod of the namespace has.
    Verified,
}

impl ViewOptions {
    /// CoreDNS's TTL where nothing is said (`defaultTTL` in plugin/kubernetes/kubernetes.go).
    pub const TTL_SECS_DEFAULT: u32 = 5;

    /// The options of a view of these zones about which nothing else is said; `None` if there is no zone.
    pub fn new(zones: Vec<Name>) -> Option<Self> {
        let primary = zones.iter().find(|zone| !zone.is_reverse()).or_else(|| zones.first())?.clone();
        Some(Self {
            zones,
            multicluster: false,
            primary,
            ttl_secs: Self::TTL_SECS_DEFAULT,
            negative_ttl_secs: None,
            namespaces: HashSet::new(),
            endpoint_pod_names: Vec::new(),
            portless_srv: false,
            srv_limit: None,
            canonical_ptr: false,
            publish_not_ready: false,
            drain: false,
            ignore_empty_service: false,
            zonal: false,
            pods: Pods::Disabled,
            fallthrough: Vec::new(),
            local_addresses: Vec::new(),
        })
    }

    /// Whether a name (wire form, lower case) that the view does not have is passed on.
    pub fn passes_on(&self, name: &[u8]) -> bool {
        self.fallthrough.iter().any(|zone| is_at_or_below(name, zone.as_wire()))
    }

    /// The last field of the SOA: how long a denial may be kept, in seconds (RFC 2308 section 4).
    pub fn soa_minimum_secs(&self) -> u32 {
        self.negative_ttl_secs.unwrap_or(self.ttl_secs)
    }

    /// The TTL of the SOA in seconds: 300 at most, as in CoreDNS.
    pub fn soa_ttl_secs(&self) -> u32 {
        self.ttl_secs.min(300)
    }

    /// The TTL of the SOA in a denial, in seconds. A denial is kept for the less of it and of the SOA's last field (RFC 2308
    /// section 5), so that what is said of denials is said in both.
    pub fn denial_ttl_secs(&self) -> u32 {
        self.negative_ttl_secs.unwrap_or_else(|| self.soa_ttl_secs())
    }

    /// Whether `namespaces` lets a namespace through.
    pub fn exposes(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.contains(namespace)
    }
}
