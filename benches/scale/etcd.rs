//! Requests to etcd past the API server, through the gateway that it has beside gRPC; octets are in Base64 there.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::ByteString;
use serde_json::{Value, json};

/// Clones share connections.
#[derive(Clone)]
pub(crate) struct Etcd {
    url: String,
    client: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
}

impl Etcd {
    /// Within a runtime.
    pub(crate) fn new(url: String) -> Self {
        Self { url, client: hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http() }
    }

    /// What is stored.
    pub(crate) async fn get(&self, key: &str) -> ByteString {
        let found = self.ask("range", json!({"key": octets(key)}).to_string().into()).await;
        let value = serde_json::from_value(found["kvs"][0]["value"].clone());
        value.unwrap_or_else(|error| panic!("{key} in etcd: {error}: {found}"))
    }

    /// Writes all of these in one step.
    pub(crate) async fn put_all(&self, pairs: impl Iterator<Item = (String, ByteString)>) {
        let puts: Vec<_> =
            pairs.map(|(key, value)| json!({"requestPut": {"key": octets(&key), "value": value}})).collect();
        self.ask("txn", json!({"success": puts}).to_string().into()).await;
    }

    /// Writes what [`put`] made.
    pub(crate) async fn put(&self, body: Bytes) {
        self.ask("put", body).await;
    }

    async fn ask(&self, what: &str, body: Bytes) -> Value {
        let request = Request::post(format!("{}/v3/kv/{what}", self.url)).body(Full::new(body));
        let response = self.client.request(request.expect("a request")).await.expect("etcd");
        let status = response.status();
        let answer = response.into_body().collect().await.expect("etcd's answer").to_bytes();
        assert!(status.is_success(), "etcd: {status}: {}", String::from_utf8_lossy(&answer));
        serde_json::from_slice(&answer).expect("JSON")
    }
}

/// A request that writes one key.
pub(crate) fn put(key: &str, value: &ByteString) -> Bytes {
    json!({"key": octets(key), "value": value}).to_string().into()
}

fn octets(text: &str) -> ByteString {
    ByteString(text.as_bytes().to_vec())
}
