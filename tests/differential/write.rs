//! Writes clusters to the API server: what differs between two clusters is created, replaced or deleted.

use futures::stream::{self, StreamExt};
use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::{Cluster, Family, Kind, Pod, Port, Service, Slice};

/// Requests at once.
const IN_FLIGHT: usize = 16;
const ATTEMPTS: usize = 50;

/// Path of the collection, and name.
type Key = (String, String);

/// Makes the API server hold `new` where it held `old`.
pub(crate) async fn change(client: &Client, old: &Cluster, new: &Cluster) {
    let (namespaces_before, namespaces) = (namespace_objects(old), namespace_objects(new));
    let (before, after) = (objects(old), objects(new));
    let made = namespaces.iter().filter(|(key, _)| !namespaces_before.contains_key(*key));
    each(made, |(key, object)| write(client, key, object, false)).await;
    let written = after.iter().filter(|(key, object)| before.get(*key) != Some(object));
    each(written, |(key, object)| write(client, key, object, before.contains_key(key))).await;
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    each(gone, |key| delete(client, key)).await;
    let gone = namespaces_before.keys().filter(|key| !namespaces.contains_key(*key));
    each(gone, |key| delete_namespace(client, key)).await;
}

async fn each<I, F>(items: impl Iterator<Item = I>, step: impl Fn(I) -> F)
where
    F: Future<Output = ()>,
{
    // Built one after the other: the closures borrow what the caller has.
    let steps: Vec<F> = items.map(step).collect();
    stream::iter(steps).buffer_unordered(IN_FLIGHT).collect::<Vec<()>>().await;
}

async fn write(client: &Client, (collection, name): &Key, object: &Value, exists: bool) {
    let one = format!("{collection}/{name}");
    if exists && collection.ends_with("/serviceimports") {
        // Custom resources are not replaced but by who knows their version.
        send(client, Method::PATCH, &one, object).await;
    } else if exists {
        send(client, Method::PUT, &one, object).await;
    } else {
        send(client, Method::POST, collection, object).await;
    }
    if object.get("status").is_some() {
        send(client, Method::PATCH, &format!("{one}/status"), &json!({ "status": object["status"] })).await;
    }
}

async fn delete(client: &Client, (collection, name): &Key) {
    send(client, Method::DELETE, &format!("{collection}/{name}?gracePeriodSeconds=0"), &Value::Null).await;
}

/// Without a namespace controller nobody takes the finalizer away but us.
async fn delete_namespace(client: &Client, (collection, name): &Key) {
    let one = format!("{collection}/{name}");
    send(client, Method::DELETE, &one, &Value::Null).await;
    let empty =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name }, "spec": { "finalizers": [] } });
    send(client, Method::PUT, &format!("{one}/finalize"), &empty).await;
}

/// One request, again while the server has reasons that pass: a namespace that is not yet seen or still ending.
async fn send(client: &Client, method: Method, path: &str, body: &Value) {
    let content = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    for attempt in 0.. {
        let request = Request::builder().method(&method).uri(path).header("content-type", content);
        let request = request.body(bytes.clone()).expect("a request");
        let error = match client.request::<Value>(request).await {
            Ok(_) => return,
            Err(error) => error,
        };
        let passes = match &error {
            kube::Error::Api(status) if status.code == 404 && method == Method::DELETE => return,
            kube::Error::Api(status) => matches!(status.code, 403 | 404 | 409 | 429 | 500..),
            _ => true,
        };
        assert!(passes && attempt < ATTEMPTS, "{method} {path}: {error}\n{body}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn namespace_objects(cluster: &Cluster) -> BTreeMap<Key, Value> {
    let object = |name: &String| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    cluster.namespaces.iter().map(|name| (("/api/v1/namespaces".to_owned(), name.clone()), object(name))).collect()
}

fn objects(cluster: &Cluster) -> BTreeMap<Key, Value> {
    let mut objects = BTreeMap::new();
    let core = |namespace: &str, resource: &str| format!("/api/v1/namespaces/{namespace}/{resource}");
    for service in &cluster.services {
        objects.insert((core(&service.namespace, "services"), service.name.clone()), service_object(service));
    }
    for import in &cluster.imports {
        let collection = format!("/apis/multicluster.x-k8s.io/v1alpha1/namespaces/{}/serviceimports", import.namespace);
        objects.insert((collection, import.name.clone()), import_object(import));
    }
    for slice in &cluster.slices {
        let collection = format!("/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices", slice.namespace);
        objects.insert((collection, slice.name.clone()), slice_object(slice));
    }
    for pod in &cluster.pods {
        objects.insert((core(&pod.namespace, "pods"), pod.name.clone()), pod_object(pod));
    }
    objects
}

fn metadata(namespace: &str, name: &str, labels: &[(&str, Option<&str>)]) -> Value {
    let labels: BTreeMap<_, _> = labels.iter().filter_map(|(key, value)| Some((*key, (*value)?))).collect();
    json!({ "namespace": namespace, "name": name, "labels": labels })
}

fn service_object(service: &Service) -> Value {
    let ports: Vec<Value> = service.ports.iter().map(port_object).collect();
    let mut spec = json!({ "ports": ports });
    match &service.kind {
        Kind::External(target) => {
            spec["type"] = "ExternalName".into();
            spec["externalName"] = target.as_str().into();
        }
        Kind::Headless => spec["clusterIP"] = "None".into(),
        Kind::ClusterIp(addresses) => {
            let family = |it: &std::net::IpAddr| if it.is_ipv4() { "IPv4" } else { "IPv6" };
            spec["ipFamilies"] = addresses.iter().map(family).collect();
            spec["ipFamilyPolicy"] = if addresses.len() == 2 { "RequireDualStack" } else { "SingleStack" }.into();
            spec["clusterIPs"] = addresses.iter().map(ToString::to_string).collect();
            spec["clusterIP"] = addresses[0].to_string().into();
        }
    }
    let metadata = metadata(&service.namespace, &service.name, &[("tier", service.tier)]);
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec })
}

fn import_object(import: &Service) -> Value {
    let ports: Vec<Value> = import.ports.iter().map(port_object).collect();
    let (kind, ips) = match &import.kind {
        Kind::ClusterIp(addresses) => ("ClusterSetIP", addresses.iter().map(ToString::to_string).collect()),
        Kind::Headless | Kind::External(_) => ("Headless", Vec::new()),
    };
    json!({
        "apiVersion": "multicluster.x-k8s.io/v1alpha1",
        "kind": "ServiceImport",
        "metadata": metadata(&import.namespace, &import.name, &[("tier", import.tier)]),
        "spec": { "type": kind, "ips": ips, "ports": ports },
    })
}

fn port_object(port: &Port) -> Value {
    let mut object = json!({ "protocol": port.protocol, "name": port.name });
    if let Some(number) = port.number {
        object["port"] = number.into();
    }
    object
}

fn slice_object(slice: &Slice) -> Value {
    let import = slice.import.as_ref();
    let labels = [
        ("tier", slice.tier),
        ("kubernetes.io/service-name", slice.service.as_deref()),
        ("multicluster.kubernetes.io/service-name", import.map(|(service, _)| &**service)),
        ("multicluster.kubernetes.io/source-cluster", import.map(|(_, cluster)| &**cluster)),
    ];
    let endpoints: Vec<Value> = slice
        .endpoints
        .iter()
        .map(|it| {
            let mut object = json!({ "addresses": it.addresses, "conditions": {} });
            for (condition, value) in [("ready", it.ready), ("serving", it.serving), ("terminating", it.terminating)] {
                if let Some(value) = value {
                    object["conditions"][condition] = value.into();
                }
            }
            if let Some(hostname) = &it.hostname {
                object["hostname"] = hostname.as_str().into();
            }
            if let Some(zone) = it.zone() {
                object["zone"] = zone.into();
            }
            if let Some((kind, name)) = &it.target {
                object["targetRef"] = json!({ "kind": kind, "name": name, "namespace": slice.namespace });
            }
            object
        })
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata(&slice.namespace, &slice.name, &labels),
        "addressType": match slice.family { Family::V4 => "IPv4", Family::V6 => "IPv6", Family::Fqdn => "FQDN" },
        "ports": slice.ports.iter().map(port_object).collect::<Vec<_>>(),
        "endpoints": endpoints,
    })
}

fn pod_object(pod: &Pod) -> Value {
    let addresses: Vec<Value> = pod.addresses.iter().map(|it| json!({ "ip": it.to_string() })).collect();
    let mut status = json!({ "phase": pod.phase, "podIPs": addresses });
    if let Some(address) = pod.addresses.first() {
        status["podIP"] = address.to_string().into();
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(&pod.namespace, &pod.name, &[("tier", pod.tier)]),
        "spec": { "containers": [{ "name": "main", "image": "none" }] },
        "status": status,
    })
}
