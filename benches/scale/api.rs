//! Requests to the API server, as few and as bare as the bench needs.

use bytes::Bytes;
use http::{Request, Response};
use kube::Client;
use kube::client::Body;

pub(crate) const SERVICES: &str = "/api/v1/services";
pub(crate) const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";

pub(crate) const PODS: &str = "/api/v1/pods";

/// Only the metadata comes back, so that reading an answer costs the bench little.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Replaces an object; the version that it has then.
pub(crate) async fn put(client: &Client, path: &str, body: Bytes) -> u64 {
    let request = Request::put(path).header("Content-Type", "application/json").header("Accept", METADATA);
    let text = client.request_text(request.body(body.into()).expect("a request")).await;
    let text = text.unwrap_or_else(|error| panic!("PUT {path}: {error}"));
    let object: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let version = object["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse().ok());
    version.unwrap_or_else(|| panic!("PUT {path}: {text}"))
}

pub(crate) async fn delete(client: &Client, path: &str) {
    let request = Request::delete(path).header("Accept", METADATA).body(Vec::new()).expect("a request");
    client.request_text(request).await.unwrap_or_else(|error| panic!("DELETE {path}: {error}"));
}

pub(crate) async fn text(client: &Client, path: &str) -> String {
    let request = Request::get(path).body(Vec::new()).expect("a request");
    client.request_text(request).await.unwrap_or_else(|error| panic!("GET {path}: {error}"))
}

/// Asks for a list or a watch in protobuf; the body is yet to be read.
pub(crate) async fn open(client: &Client, path: &str, accept: &'static str) -> Response<Body> {
    let request = Request::get(path).header("Accept", accept).body(Body::empty()).expect("a request");
    let response = client.send(request).await.unwrap_or_else(|error| panic!("GET {path}: {error}"));
    assert!(response.status().is_success(), "GET {path}: {}", response.status());
    let kind = response.headers().get("Content-Type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    assert!(kind.starts_with("application/vnd.kubernetes.protobuf"), "GET {path}: {kind}");
    response
}

pub(crate) const LIST: &str = "application/vnd.kubernetes.protobuf";
pub(crate) const WATCH: &str = "application/vnd.kubernetes.protobuf;stream=watch";
