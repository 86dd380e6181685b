//! What the fields of objects mean to DNS, whichever format spelled them.

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{EndpointsBuilder, Import, Labels, ObjectKey, PodAddresses, ServiceKind};

/// The label that ties an EndpointSlice to its Service (`LabelServiceName` in `k8s.io/api/discovery/v1`).
const LABEL_SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The labels that tie an EndpointSlice to its ServiceImport, and say which cluster its endpoints are in
/// (`LabelServiceName` and `LabelSourceCluster` in `sigs.k8s.io/mcs-api/pkg/apis/v1alpha1`).
const LABEL_IMPORT_NAME: &str = "multicluster.kubernetes.io/service-name";
const LABEL_SOURCE_CLUSTER: &str = "multicluster.kubernetes.io/source-cluster";

/// Why an object cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Invalid {
    #[error("metadata.name is missing")]
    NoName,
    #[error("spec.type is ExternalName but spec.externalName is missing")]
    NoExternalName,
    #[error("addressType is {0:?}, expected IPv4, IPv6 or FQDN")]
    AddressType(Box<str>),
    #[error("a port without a number")]
    NoPort,
    #[error("port {0} is out of range, expected 0 to 65535")]
    Port(i32),
}

/// The key of an object; a namespaced object without a namespace gets the empty one.
pub(super) fn key(namespace: Option<Box<str>>, name: Option<Box<str>>) -> Result<ObjectKey, Invalid> {
    let name = name.filter(|name| !name.is_empty()).ok_or(Invalid::NoName)?;
    Ok(ObjectKey::new(namespace.unwrap_or_default(), name))
}

/// How a Service's name resolves.
pub(super) fn service_kind<'a>(
    is_alias: bool,
    external_name: Option<Box<str>>,
    cluster_ips: impl Iterator<Item = &'a str> + Clone,
    cluster_ip: Option<&'a str>,
    notes: &mut Vec<String>,
) -> Result<ServiceKind, Invalid> {
    // An alias whatever clusterIP says: the API does not clear every field of a Service whose type changes.
    if is_alias {
        let name = external_name.filter(|name| !name.is_empty()).ok_or(Invalid::NoExternalName)?;
        return Ok(ServiceKind::ExternalName(name));
    }
    // `clusterIP` is the first of `clusterIPs` (ServiceSpec in k8s.io/api/core/v1); objects written before 1.20
    // and manifests have it alone.
    let alone = cluster_ip.filter(|text| cluster_ips.clone().next().is_none() && !text.is_empty());
    let texts = cluster_ips.chain(alone);
    if texts.clone().any(|text| text == "None") {
        return Ok(ServiceKind::Headless);
    }
    let mut addresses = Vec::new();
    for text in texts {
        match parse_ip(text) {
            Some(address) => addresses.push(address),
            None => notes.push(format!("cluster IP {text:?} is not an IP address, it is left out")),
        }
    }
    Ok(ServiceKind::ClusterIp(addresses))
}

/// The Service that an EndpointSlice belongs to.
pub(super) fn service_name(labels: &Labels) -> Option<Arc<str>> {
    labels.get(LABEL_SERVICE_NAME).filter(|name| !name.is_empty()).map(|name| name.as_str().into())
}

/// The ServiceImport that an EndpointSlice belongs to, and the cluster that it comes from.
pub(super) fn import(labels: &Labels) -> Option<Box<Import>> {
    let service = labels.get(LABEL_IMPORT_NAME).filter(|name| !name.is_empty())?;
    let cluster = labels.get(LABEL_SOURCE_CLUSTER).map_or("", String::as_str);
    Some(Box::new(Import { service: service.as_str().into(), cluster: cluster.into() }))
}

/// How a ServiceImport's name resolves. What is not `Headless` has addresses of its own.
pub(super) fn import_kind<'a>(
    import_type: Option<&str>,
    ips: impl Iterator<Item = &'a str>,
    notes: &mut Vec<String>,
) -> ServiceKind {
    if import_type == Some("Headless") {
        return ServiceKind::Headless;
    }
    let mut addresses = Vec::new();
    for text in ips {
        match parse_ip(text) {
            Some(address) => addresses.push(address),
            None => notes.push(format!("clusterset IP {text:?} is not an IP address, it is left out")),
        }
    }
    ServiceKind::ClusterIp(addresses)
}

/// Whether the addresses of a slice of this type are names.
pub(super) fn holds_names(address_type: Option<&str>) -> Result<bool, Invalid> {
    match address_type {
        Some("IPv4" | "IPv6") => Ok(false),
        Some("FQDN") => Ok(true),
        other => Err(Invalid::AddressType(other.unwrap_or_default().into())),
    }
}

/// Adds an address to the endpoint that is being made.
pub(super) fn endpoint_address(text: &str, names: bool, endpoints: &mut EndpointsBuilder, notes: &mut Vec<String>) {
    match parse_ip(text) {
        _ if names => endpoints.name(text),
        Some(address) => endpoints.ip(address),
        None => notes.push(format!("endpoint address {text:?} is not an IP address, it is left out")),
    }
}

/// A pod's `spec.hostname`, if it says more than the pod's name: all pods of StatefulSets have one.
pub(super) fn pod_hostname(key: &ObjectKey, hostname: Option<Box<str>>) -> Option<Box<str>> {
    hostname.filter(|hostname| !hostname.is_empty() && **hostname != *key.name)
}

/// A pod's addresses, as many as it has yet: `podIPs`, or `alone` of old API servers.
pub(super) fn pod_addresses<'a>(
    all: impl Iterator<Item = &'a str>,
    alone: Option<&'a str>,
    notes: &mut Vec<String>,
) -> PodAddresses {
    let mut all = all.filter(|text| !text.is_empty()).peekable();
    let alone = alone.filter(|text| !text.is_empty() && all.peek().is_none());
    let address = |text: &str| {
        let address = parse_ip(text);
        if address.is_none() {
            notes.push(format!("pod IP {text:?} is not an IP address, it is left out"));
        }
        address
    };
    all.chain(alone).filter_map(address).collect()
}

/// The protocol of a port, or the API server's default.
pub(super) fn protocol(name: Option<Box<str>>) -> Box<str> {
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "TCP".into())
}

/// An IPv4-mapped IPv6 address is the IPv4 address: its place is an A record.
fn parse_ip(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}
