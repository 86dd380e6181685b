//! The synthetic cluster as a source tells of it, for a server without an API server.

use crate::cluster::{Cluster, Pod, SLICE_ENDPOINTS, Service, Shape};
use podzone::model::{
    Endpoint, EndpointAddress, EndpointPort, EndpointSlice, Event, Kind, Labels, Namespace, Object, ObjectKey,
    ServiceKind, ServicePort,
};
use std::borrow::Borrow;

pub(crate) const KINDS: [Kind; 3] = [Kind::Namespace, Kind::Service, Kind::EndpointSlice];

/// The full listing of all kinds.
pub(crate) fn listing(cluster: &Cluster) -> impl Iterator<Item = Event> {
    list(cluster.namespaces().map(str::to_owned), || cluster.services.iter())
}

/// The same of a cluster that is made while it is listed, once for each kind, and not kept.
pub(crate) fn generated(shape: Shape, seed: u64) -> impl Iterator<Item = Event> {
    list(shape.namespaces(), move || Cluster::services(shape, seed))
}

fn list<S: Borrow<Service>, I: Iterator<Item = S>>(
    namespaces: impl Iterator<Item = String>,
    of_cluster: impl Fn() -> I,
) -> impl Iterator<Item = Event> {
    let namespaces = namespaces.map(|name| Object::Namespace(Namespace { name: name.into(), labels: Labels::new() }));
    let services = of_cluster().map(|service| Object::Service(object(service.borrow())));
    let slices = of_cluster().flat_map(|service| slices(service.borrow()).collect::<Vec<_>>());
    listed(Kind::Namespace, namespaces)
        .chain(listed(Kind::Service, services))
        .chain(listed(Kind::EndpointSlice, slices.map(Object::EndpointSlice)))
}

fn listed(kind: Kind, objects: impl Iterator<Item = Object>) -> impl Iterator<Item = Event> {
    [Event::Begin(kind)].into_iter().chain(objects.map(Event::Apply)).chain([Event::End(kind)])
}

fn object(service: &Service) -> podzone::model::Service {
    podzone::model::Service {
        key: ObjectKey::new(&*service.namespace, &*service.name),
        labels: Labels::new(),
        kind: match service.cluster_ip {
            Some(address) => ServiceKind::ClusterIp(vec![address.into()]),
            None => ServiceKind::Headless,
        },
        ports: [ServicePort { name: "http".into(), protocol: "TCP".into(), port: 80 }].into(),
        has_selector: true,
        settings: None,
    }
}

/// The slices of a Service.
pub(crate) fn slices(service: &Service) -> impl Iterator<Item = EndpointSlice> {
    let pods = service.pods.chunks(SLICE_ENDPOINTS).zip(&service.slice_names);
    pods.map(|(pods, name)| slice(service, name, pods.iter()))
}

/// The slices of a Service, each with its last pod replaced.
pub(crate) fn succeeding_slices(service: &Service) -> impl Iterator<Item = EndpointSlice> {
    let pods = service.pods.chunks(SLICE_ENDPOINTS).zip(&service.slice_names).enumerate();
    pods.map(|(index, (pods, name))| {
        let kept = pods.split_last().map_or(&[][..], |(_, kept)| kept);
        slice(service, name, kept.iter().chain([&service.successor(index)]))
    })
}

fn slice<'p>(service: &Service, name: &str, pods: impl Iterator<Item = &'p Pod>) -> EndpointSlice {
    EndpointSlice {
        key: ObjectKey::new(&*service.namespace, name),
        labels: Labels::new(),
        service: Some(service.name.as_str().into()),
        import: None,
        endpoints: pods.map(endpoint).collect(),
        ports: [EndpointPort { name: "http".into(), protocol: "TCP".into(), port: Some(8080) }].into(),
    }
}

fn endpoint(pod: &Pod) -> Endpoint {
    Endpoint {
        addresses: vec![EndpointAddress::Ip(pod.address.into())],
        hostname: None,
        target_name: Some(pod.name.as_str().into()),
        ready: Some(true),
        serving: Some(true),
        terminating: Some(false),
        zone: None,
    }
}
