//! Writes the model's states to the API server, however often that goes away.

use std::time::{Duration, Instant};

use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};

use super::model::{Kind, Services, Slice, Slices, Unit};

/// How long a write is tried; an API server that restarts takes some seconds.
const LIMIT: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(50);

/// A write: method, path, object.
type Write = (Method, String, Value);

/// The writes that make one state of Services of another, and the same for the slices; at the beginning of all.
pub(crate) fn services(unit: &Unit, old: Option<&Services>, new: &Services) -> Vec<Write> {
    let collection = format!("/api/v1/namespaces/{}/services", unit.namespace());
    let mark = |mark| {
        let name = unit.services_mark(mark);
        let made = object(unit, &name, json!({ "type": "ExternalName", "externalName": "mark.test" }));
        (name, made)
    };
    let service = |kind| {
        let ports = json!([{ "name": "http", "port": 80, "protocol": "TCP" }]);
        let spec = match kind {
            Kind::ClusterIp(variant) => {
                json!({ "clusterIP": unit.cluster_address(variant).to_string(), "ports": ports })
            }
            Kind::Headless => json!({ "clusterIP": "None", "ports": ports }),
            Kind::Alias(variant) => {
                json!({ "type": "ExternalName", "externalName": Unit::alias(variant).trim_end_matches('.') })
            }
        };
        object(unit, &unit.named("s"), spec)
    };
    let mut writes = Vec::new();
    writes.extend(write(&collection, &unit.named("s"), old.and_then(|old| old.service), new.service, service));
    writes.extend(write_mark(&collection, old.map(|old| old.mark), new.mark, mark));
    writes
}

pub(crate) fn slices(unit: &Unit, old: Option<&Slices>, new: &Slices) -> Vec<Write> {
    let collection = format!("/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices", unit.namespace());
    let mut writes = Vec::new();
    for number in 0..=u8::MAX {
        let name = format!("{}-{number}", unit.named("s"));
        let (old, new) = (old.and_then(|old| old.slices.get(&number)), new.slices.get(&number));
        writes.extend(write(&collection, &name, old, new, |slice| slice_object(unit, &name, slice)));
    }
    let mark = |mark| {
        let name = unit.slices_mark(mark);
        let pod = json!([{ "addresses": ["10.63.0.1"], "targetRef": { "kind": "Pod", "name": name } }]);
        let made = slice(unit, &name, &unit.named("ml"), pod, json!([{ "name": "mark", "port": 1 }]));
        (name, made)
    };
    writes.extend(write_mark(&collection, old.map(|old| old.mark), new.mark, mark));
    writes
}

/// The Service of the slices' marks, which does not change.
pub(crate) fn service_of_marks(unit: &Unit) -> Write {
    let collection = format!("/api/v1/namespaces/{}/services", unit.namespace());
    (
        Method::POST,
        collection,
        object(unit, &unit.named("ml"), json!({ "clusterIP": "None", "ports": [{ "port": 1 }] })),
    )
}

/// The new one comes before the old one goes.
fn write_mark(
    collection: &str,
    old: Option<u32>,
    new: u32,
    object: impl Fn(u32) -> (String, Value),
) -> impl Iterator<Item = Write> {
    let made = (old != Some(new)).then(|| (Method::POST, collection.to_owned(), object(new).1));
    let gone = old
        .filter(|old| *old != new)
        .map(|old| (Method::DELETE, format!("{collection}/{}", object(old).0), Value::Null));
    made.into_iter().chain(gone)
}

fn write<T: PartialEq>(
    collection: &str,
    name: &str,
    old: Option<T>,
    new: Option<T>,
    object: impl Fn(T) -> Value,
) -> Option<Write> {
    if old == new {
        return None;
    }
    let one = format!("{collection}/{name}");
    Some(match (old, new) {
        (None, Some(new)) => (Method::POST, collection.to_owned(), object(new)),
        (Some(_), Some(new)) => (Method::PUT, one, object(new)),
        (_, None) => (Method::DELETE, one, Value::Null),
    })
}

fn object(unit: &Unit, name: &str, spec: Value) -> Value {
    let metadata = json!({ "namespace": unit.namespace(), "name": name });
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec })
}

fn slice_object(unit: &Unit, name: &str, it: &Slice) -> Value {
    let endpoint = |(pod, ready): (&u16, &bool)| {
        json!({
            "addresses": [unit.pod_address(*pod).to_string()],
            "conditions": { "ready": ready },
            "targetRef": { "kind": "Pod", "name": format!("p{pod}"), "namespace": unit.namespace() },
        })
    };
    let endpoints: Vec<Value> = it.endpoints.iter().map(endpoint).collect();
    let service = unit.named(if it.is_elsewhere { "x" } else { "s" });
    slice(unit, name, &service, endpoints.into(), json!([{ "name": "http", "port": 8080, "protocol": "TCP" }]))
}

fn slice(unit: &Unit, name: &str, service: &str, endpoints: Value, ports: Value) -> Value {
    let labels = json!({ "kubernetes.io/service-name": service });
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": { "namespace": unit.namespace(), "name": name, "labels": labels },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": ports,
    })
}

/// An API server that is killed within a write may keep the Service's address taken until it repairs that, minutes later.
/// No other Service of the model has it.
async fn free_address(client: &Client, service: &Value) {
    let address = service["spec"]["clusterIP"].as_str().expect("a Service with an address");
    let path = format!("/apis/networking.k8s.io/v1/ipaddresses/{address}");
    // Where it fails, the next attempt finds the address taken still.
    let _ = client.request::<Value>(Request::delete(path).body(Vec::new()).expect("a request")).await;
}

/// Carries a write out. An attempt whose answer was lost may have done it: one that then finds it done is content.
pub(crate) async fn carry_out(client: &Client, (method, path, object): &Write) {
    let begun = Instant::now();
    let mut lost = false;
    loop {
        let body = if object.is_null() { Vec::new() } else { object.to_string().into_bytes() };
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let error = match client.request::<Value>(request.body(body).expect("a request")).await {
            Ok(_) => return,
            Err(error) => error,
        };
        let passes = match &error {
            kube::Error::Api(status) => match status.code {
                404 if lost && *method == Method::DELETE => return,
                409 if lost && *method == Method::POST => return,
                // One that has just started does not know its ranges yet.
                422 if status.message.contains("already allocated") => {
                    free_address(client, object).await;
                    true
                }
                422 => status.message.contains("failed to allocate IP"),
                403 | 409 | 429 | 500.. => true,
                _ => false,
            },
            _ => true,
        };
        assert!(passes && begun.elapsed() < LIMIT, "{method} {path}: {error}\n{object}");
        lost |= !matches!(&error, kube::Error::Api(status) if status.code < 500);
        tokio::time::sleep(PAUSE).await;
    }
}
