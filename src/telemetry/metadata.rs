//! What is known of a query beside its answer (`metadata`), for log lines: `{/kubernetes/service}` and the like
//! (plugin/kubernetes/metadata.go).

use std::net::IpAddr;
use std::sync::Arc;

use super::kind::Kind;
use crate::zone::{Name, View};

/// What a block knows of queries.
#[derive(Debug, Default)]
pub struct Metadata {
    /// Of queries for names at or below these.
    pub zones: Vec<Name>,
    /// Those of `kubernetes`, if the block has it.
    pub kubernetes: Option<KubernetesMetadata>,
}

/// What `kubernetes` knows of queries.
#[derive(Debug)]
pub struct KubernetesMetadata {
    /// Its zones.
    pub zones: Vec<Name>,
    /// Whether it has names for topology zones.
    pub zonal: bool,
    /// The view of the cluster's own Services.
    pub view: Option<Arc<View>>,
}

impl Metadata {
    /// The value of a label, for a query for a name (in lower case, with a final dot) from a client; `None` where nothing
    /// has set it.
    pub(super) fn value(
        &self,
        label: &str,
        (name, parsed): (&str, &Name),
        client: IpAddr,
        kind: Kind,
    ) -> Option<String> {
        match label {
            "log/type" => return Some(kind.name().into()),
            "log/class" => return Some(kind.class().into()),
            _ => {}
        }
        let kubernetes = self.kubernetes.as_ref().filter(|_| self.zones.iter().any(|zone| parsed.is_within(zone)))?;
        let label = label.strip_prefix("kubernetes/")?;
        if label == "client-namespace" {
            // Every pod's address is known with `pods verified` only.
            return kubernetes.view.as_ref()?.current().namespaces_of_pods_at(client.to_canonical()).min();
        }
        let zones = kubernetes.zones.iter().filter(|zone| parsed.is_within(zone));
        let zone = zones.max_by_key(|zone| zone.as_wire().len())?.to_string();
        // As text a zone stands at the name's end, the root of all nowhere in it.
        let base = if zone == "." { name } else { name.strip_suffix(&zone)? };
        match Parts::of(base.trim_end_matches('.'), kubernetes.zonal) {
            Err(error) => (label == "parse-error").then(|| error.to_owned()),
            Ok(parts) => match label {
                "port-name" => Some(parts.port),
                "protocol" => Some(parts.protocol),
                "endpoint" => Some(parts.endpoint),
                "service" => Some(parts.service),
                "namespace" => Some(parts.namespace),
                "kind" => Some(parts.kind),
                "zone" if kubernetes.zonal => Some(parts.zone),
                _ => None,
            }
            .map(ToOwned::to_owned),
        }
    }
}

/// The parts of a name below a zone; what it does not have is empty (plugin/kubernetes/parse.go, func parseRequest).
#[derive(Debug, Default, PartialEq, Eq)]
struct Parts<'n> {
    port: &'n str,
    protocol: &'n str,
    endpoint: &'n str,
    zone: &'n str,
    service: &'n str,
    namespace: &'n str,
    kind: &'n str,
}

impl<'n> Parts<'n> {
    /// Takes a name apart, from its end. CoreDNS never looks for the clusters of multicluster zones here: it has not found
    /// out the zone of the query yet.
    fn of(base: &'n str, zonal: bool) -> Result<Self, &'static str> {
        let mut parts = Self::default();
        if matches!(base, "" | "svc" | "pod") {
            return Ok(parts);
        }
        let labels: Vec<&str> = base.split('.').rev().collect();
        let mut labels = labels.as_slice();
        let mut next = || labels.split_off_first().copied();
        parts.kind = next().unwrap_or_default();
        if !matches!(parts.kind, "svc" | "pod") {
            return Err(INVALID);
        }
        (parts.namespace, parts.service) = (next().unwrap_or_default(), next().unwrap_or_default());
        match labels {
            [] => {}
            [endpoint] => parts.endpoint = endpoint,
            [protocol, port] => {
                let bare = |label: &'n str| label.strip_prefix('_').unwrap_or(label);
                (parts.protocol, parts.port) = (bare(protocol), bare(port));
            }
            ["_zone", "pin" | "prefer", ..] if zonal && parts.kind == "svc" => {
                let behind = base.split("._zone.").next().unwrap_or_default();
                parts.zone = behind.rsplit_once('.').map_or("", |(zone, _)| zone);
            }
            _ => return Err(INVALID),
        }
        Ok(parts)
    }
}

/// What CoreDNS says of a name that is none of a cluster's (plugin/kubernetes/kubernetes.go).
const INVALID: &str = "invalid query name";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_as_coredns_does() {
        let of = |base, zonal| Parts::of(base, zonal);
        let web = Parts { kind: "svc", namespace: "shop", service: "web", ..Parts::default() };
        assert_eq!(of("web.shop.svc", false), Ok(web));
        let with = |port, protocol, endpoint, zone| Parts {
            port,
            protocol,
            endpoint,
            zone,
            kind: "svc",
            namespace: "shop",
            service: "web",
        };
        assert_eq!(of("a.web.shop.svc", false), Ok(with("", "", "a", "")));
        assert_eq!(of("_http._tcp.web.shop.svc", false), Ok(with("http", "tcp", "", "")));
        assert_eq!(of("eu.1.pin._zone.web.shop.svc", true), Ok(with("", "", "", "eu.1")));
        assert_eq!(of("eu.pin._zone.web.shop.svc", false), Err(INVALID));
        assert_eq!(of("eu.near._zone.web.shop.svc", true), Err(INVALID));
        assert_eq!(of("shop.pod", false), Ok(Parts { kind: "pod", namespace: "shop", ..Parts::default() }));
        assert_eq!(of("shop.node", false), Err(INVALID));
        assert_eq!(of("", true), Ok(Parts::default()));
    }
}
