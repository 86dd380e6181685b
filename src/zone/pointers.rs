//! PTR records: which names an address has (plugin/kubernetes/reverse.go).

use std::net::IpAddr;

use super::faults::{Fault, planted};
use super::name::Labels;
use super::options::ViewOptions;
use super::schema::{endpoint_label, service_key};
use crate::model::{Cluster, EndpointAddress};

/// The names of an address, relative to the view's primary zone and each once; empty if it has none.
///
/// A Service whose cluster IP it is wins. Otherwise each slice that holds it in a ready endpoint gives a name, whether
/// its Service exists or not; a slice that names no Service gives none, since there is no name to give.
/// A namespace must exist only where `namespaces` names some.
pub(super) fn pointers(cluster: &Cluster, filter: usize, options: &ViewOptions, address: IpAddr) -> Box<[Labels]> {
    let exposed = |namespace: &str| {
        options.namespaces.is_empty() || options.exposes(namespace) && cluster.has_namespace(namespace)
    };
    let mut names = Vec::new();
    for service in cluster.services_with(address, filter).filter(|service| exposed(&service.key.namespace)) {
        names.extend(service_key(&service.key.name, &service.key.namespace).map(|key| below_svc(&[key.as_wire()])));
        if !planted(Fault::PtrMixesEndpoints) {
            break;
        }
    }
    if !names.is_empty() && !planted(Fault::PtrMixesEndpoints) {
        return names.into();
    }
    for slice in cluster.slices_with(address, filter).filter(|slice| exposed(&slice.key.namespace)) {
        let Some(key) = slice.service.as_ref().and_then(|service| service_key(service, &slice.key.namespace)) else {
            continue;
        };
        let holder = EndpointAddress::Ip(address);
        for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.is_ready()) {
            if !endpoint.addresses.contains(&holder) {
                continue;
            }
            if let Some(label) = endpoint_label(endpoint, &holder, options) {
                names.push(below_svc(&[label.as_wire(), key.as_wire()]));
            }
        }
    }
    names.sort();
    names.dedup();
    if planted(Fault::PtrFirstOnly) {
        names.truncate(1);
    }
    names.into()
}

fn below_svc(parts: &[&[u8]]) -> Labels {
    let mut all = parts.to_vec();
    all.push(b"\x03svc");
    Labels::concat(&all)
}
