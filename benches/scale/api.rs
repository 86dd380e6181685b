//! Requests to the API server, as few and as bare as the bench needs.

use crate::arrivals::{Last, Noted};
use crate::support::kube::ControlPlane;
use bytes::Bytes;
use futures::FutureExt;
use http::{Request, Response};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::{BoxError, ServiceExt};

pub(crate) const SERVICES: &str = "/api/v1/services";
pub(crate) const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";

pub(crate) const PODS: &str = "/api/v1/pods";

/// Only the metadata comes back, so that reading an answer costs the bench little.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// A client as administrator that notes when what it read last came.
pub(crate) fn noting_client(plane: &ControlPlane, last: &Last) -> Client {
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig()).expect("the plane's kubeconfig");
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options);
    let config = config.now_or_never().expect("nothing to wait for").expect("the plane's kubeconfig");
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    let last = last.clone();
    let connector = connector.map_response(move |stream| Noted::new(stream, last.clone()));
    let connector = config.rustls_https_connector_with_connector(connector).expect("TLS");
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).build(connector);
    ClientBuilder::new(http.map_err(BoxError::from), config.default_namespace.clone())
        .with_layer(&config.base_uri_layer())
        .build()
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
