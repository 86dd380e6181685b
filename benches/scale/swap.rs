//! An update of a slice as a rolling update makes it: another pod takes the place of the last one, and the next update
//! puts that back.

use crate::cluster::{SLICE_ENDPOINTS, Service};
use crate::support::dns;
use bytes::Bytes;
use std::net::Ipv4Addr;

pub(crate) struct Swap {
    path: String,
    key: String,
    /// The slice as it was made, and updated.
    bodies: [Bytes; 2],
    /// The pod that only the one or the other has.
    pods: [(String, Ipv4Addr); 2],
    is_updated: bool,
}

/// What is to be written, and the pod that is then there and was not before.
pub(crate) struct Change<'s> {
    pub(crate) path: &'s str,
    pub(crate) body: Bytes,
    pub(crate) query: dns::Query,
    pub(crate) address: Ipv4Addr,
}

impl Swap {
    pub(crate) fn new(service: &Service, slice: usize) -> Self {
        let written = [false, true].map(|is_updated| service.slice(slice, is_updated));
        let replaced = service.pods.chunks(SLICE_ENDPOINTS).nth(slice).and_then(<[_]>::last).expect("a slice");
        let successor = service.successor(slice);
        Self {
            path: format!("{}/{}", written[0].path, service.slice_names[slice]),
            key: format!("/registry/endpointslices/{}/{}", service.namespace, service.slice_names[slice]),
            bodies: written.map(|object| serde_json::to_vec(&object.body).expect("JSON").into()),
            pods: [replaced, &successor].map(|pod| (service.pod_fqdn(pod), pod.address)),
            is_updated: false,
        }
    }

    /// Where etcd has the slice.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The next update, which the caller makes.
    pub(crate) fn next(&mut self) -> Change<'_> {
        self.is_updated = !self.is_updated;
        let content = usize::from(self.is_updated);
        let (name, address) = &self.pods[content];
        Change {
            path: &self.path,
            body: self.bodies[content].clone(),
            query: dns::Query::new(name, dns::A).payload(1232),
            address: *address,
        }
    }
}
