//! Who serves the zone: NS records and their addresses (plugin/kubernetes/ns.go).

use std::net::IpAddr;

use super::endpoint_label::Naming;
use super::name::Labels;
use super::options::ViewOptions;
use super::rules::Rules;
use super::schema::service_key;
use crate::model::{AddressRef, Cluster, EndpointSlice, ObjectKey, ServiceKind};

/// The zone's name servers: names relative to the zone, with their addresses.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NameServers(pub Vec<(Labels, Vec<IpAddr>)>);

impl NameServers {
    /// Every address.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.0.iter().flat_map(|(_, addresses)| addresses).copied()
    }

    fn add(&mut self, name: Labels, address: IpAddr) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, addresses)) if addresses.contains(&address) => {}
            Some((_, addresses)) => addresses.push(address),
            None => self.0.push((name, vec![address])),
        }
    }
}

/// The Services whose endpoints hold one of our own addresses: a headless one by its endpoints' names, another by its
/// cluster IPs. Where no endpoint holds one, `ns.dns` with those addresses themselves.
pub fn name_servers(cluster: &Cluster, filter: usize, options: &ViewOptions) -> NameServers {
    let mut servers = NameServers::default();
    let mut found = false;
    for local in &options.local_addresses {
        for slice in cluster.slices_with(*local, filter) {
            found = true;
            add_service(&mut servers, cluster, filter, options, slice);
        }
    }
    if !found {
        for local in &options.local_addresses {
            servers.add(Labels::concat(&[DEFAULT]), *local);
        }
    }
    servers
}

/// The labels of the name server of a zone that no Service stands for.
pub const DEFAULT: &[u8] = b"\x02ns\x03dns";

fn add_service(
    servers: &mut NameServers,
    cluster: &Cluster,
    filter: usize,
    options: &ViewOptions,
    slice: &EndpointSlice,
) {
    let Some(name) = &slice.service else { return };
    let Some(key) = service_key(name, &slice.key.namespace) else { return };
    let Some(service) = cluster.service(&ObjectKey::new(slice.key.namespace.clone(), name.clone()), filter) else {
        return;
    };
    match &service.kind {
        ServiceKind::Headless => {
            let rules = Rules::of(options, cluster, &slice.key.namespace, Some(service));
            let naming = Naming::new(&key, options, rules, (cluster, filter));
            for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.conditions.is_ready()) {
                for address in endpoint.addresses() {
                    let mut name = Vec::new();
                    let AddressRef::Ip(ip) = address else { continue };
                    if naming.push_endpoint_label(&mut name, slice, &endpoint, address) {
                        servers.add(Labels::concat(&[&name, key.as_wire(), b"\x03svc"]), ip);
                    }
                }
            }
        }
        ServiceKind::ClusterIp(addresses) => {
            for address in addresses {
                servers.add(Labels::concat(&[key.as_wire(), b"\x03svc"]), *address);
            }
        }
        ServiceKind::ExternalName(_) => {}
    }
}
