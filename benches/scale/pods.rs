//! A start with `pods verified`, where every pod of the cluster is an object of its own.
//!
//! Through the API each pod takes two writes, its own and that of its status, and 150,000 of them many minutes. So one is
//! written through the API, as a pattern of what the API server makes of a pod, and the others past it into etcd while
//! the API server is away; it then reads them as its own.

use crate::api;
use crate::cluster::{Pod, Service, Written};
use crate::fill;
use crate::report::{Column, Measure, Row, Sheet, State};
use crate::stage::{How, Stage, Subject};
use crate::starts::SETTLING;
use crate::support::dns;
use crate::touch::touch;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Instant;

/// Writes in one transaction; etcd takes 128, and 1.5 MB.
const BATCH: usize = 100;
const PODS: &str = "/api/v1/namespaces/default/pods";
const PATTERN: &str = "pattern";

/// Writes a pod for each endpoint of the cluster, and starts the API server anew.
pub(crate) fn fill(stage: &mut Stage) {
    let begin = Instant::now();
    let runtime = api::runtime();
    let pattern = runtime.block_on(pattern(stage));
    stage.plane.stop_api();
    let count = runtime.block_on(write_all(stage, &pattern));
    println!("{count} pods written to etcd in {:.1?}", begin.elapsed());
    stage.plane.start_api();
    let text = runtime.block_on(async { api::text(&stage.plane.client(), "/api/v1/pods?limit=1").await });
    let list: Value = serde_json::from_str(&text).expect("JSON");
    let known = list["metadata"]["remainingItemCount"].as_u64().map(|others| others + 1);
    assert_eq!(known, Some(count as u64), "the API server knows every pod");
}

/// What the API server stores for a pod that runs.
async fn pattern(stage: &Stage) -> Value {
    let client = stage.plane.client();
    let written = Written {
        path: PODS.to_owned(),
        body: json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": PATTERN, "namespace": "default",
                "labels": {"app": PATTERN, "pod-template-hash": "5d4b8c6f79"},
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "pattern-5d4b8c6f79", "controller": true,
                    "blockOwnerDeletion": true, "uid": "00000000-0000-4000-8000-000000000000",
                }],
            },
            "spec": {
                "nodeName": "node-0001",
                "containers": [{
                    "name": "server", "image": "registry.example/server:1.2.3",
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "env": [{"name": "MODE", "value": "production"}],
                    "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                    "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
                }],
            },
        }),
    };
    fill::write(&client, written).await;
    let condition = |kind| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let conditions = ["Initialized", "Ready", "ContainersReady", "PodScheduled"].map(condition);
    let status = json!({"status": {
        "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "hostIP": "192.0.2.1",
        "startTime": "2026-01-01T00:00:00Z",
        "conditions": conditions,
        "containerStatuses": [{
            "name": "server", "ready": true, "restartCount": 0, "started": true,
            "image": "registry.example/server:1.2.3", "imageID": "registry.example/server@sha256:0123456789abcdef",
            "containerID": "containerd://0123456789abcdef0123456789abcdef",
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
        }],
    }});
    let request =
        Request::patch(format!("{PODS}/{PATTERN}/status")).header("Content-Type", "application/merge-patch+json");
    let request = request.body(serde_json::to_vec(&status).expect("JSON")).expect("a request");
    let text = client.request_text(request).await.expect("a pod's status");
    api::delete(&client, &format!("{PODS}/{PATTERN}?gracePeriodSeconds=0")).await;
    let mut pod: Value = serde_json::from_str(&text).expect("JSON");
    // etcd's own revision takes its place.
    pod["metadata"].as_object_mut().expect("metadata").remove("resourceVersion");
    pod
}

async fn write_all(stage: &Stage, pattern: &Value) -> usize {
    let etcd: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let url = format!("{}/v3/kv/txn", stage.plane.etcd_url());
    let pods = stage.cluster.services.iter().flat_map(|service| service.pods.iter().map(move |pod| (service, pod)));
    let pods: Vec<_> = pods.collect();
    for batch in pods.chunks(BATCH) {
        let puts: Vec<_> = batch.iter().map(|(service, pod)| put(pattern, service, pod)).collect();
        let body = serde_json::to_vec(&json!({"success": puts})).expect("JSON");
        let request = Request::post(&url).body(Full::new(body.into())).expect("a request");
        let response = etcd.request(request).await.expect("etcd");
        let status = response.status();
        let answer = response.into_body().collect().await.expect("etcd's answer").to_bytes();
        assert!(status.is_success(), "etcd: {status}: {}", String::from_utf8_lossy(&answer));
    }
    pods.len()
}

/// One pod as an operation of a transaction.
fn put(pattern: &Value, service: &Service, pod: &Pod) -> Value {
    let mut object = pattern.clone();
    object["metadata"]["name"] = json!(pod.name);
    object["metadata"]["namespace"] = json!(service.namespace);
    object["metadata"]["uid"] = json!(pod.uid());
    object["metadata"]["labels"]["app"] = json!(service.name);
    object["status"]["podIP"] = json!(pod.address);
    object["status"]["podIPs"] = json!([{"ip": pod.address}]);
    let key = format!("/registry/pods/{}/{}", service.namespace, pod.name);
    let value = serde_json::to_vec(&object).expect("JSON");
    json!({"requestPut": {"key": ByteString(key.into_bytes()), "value": ByteString(value)}})
}

/// Starts both servers, and asks about every name, every pod's address among them.
pub(crate) fn round(stage: &Stage, sheet: &mut Sheet, subjects: [Subject; 2]) {
    let mut held = BTreeMap::new();
    for subject in subjects {
        let mut running = stage.start(subject, How { pods_verified: true, ..How::default() });
        let mut sample = stage.sample();
        // Last in the listing of pods, and so the first that is asked about.
        let service = stage.cluster.last();
        let address = service.pods.last().expect("every Service has pods").address.to_string();
        let name = format!("{}.{}.pod.cluster.local", address.replace('.', "-"), service.namespace);
        sample.push((dns::Query::new(&name, dns::A), address));
        let time = running.server.wait_until_known(sample);
        let (cpu, memory) = (running.server.cpu(), running.memory());
        println!("  {}: ready after {time:.3?}, {cpu:.3?} of CPU, {}", subject.title(), memory.describe());
        let row = Row::from(subject);
        sheet.memory(row, State::PodsReady, &memory);
        touch(running.server.addr, &stage.cluster, true);
        let steady = running.settled_memory(SETTLING);
        println!("   {}", steady.describe());
        sheet.memory(row, State::PodsSteady, &steady);
        sheet.add(row, Column::PodsReady, time.as_secs_f64());
        sheet.add(row, Column::PodsReadyCpu, cpu.as_secs_f64());
        held.insert(subject, steady.held());
    }
    let of = |subject| held.get(&subject).copied();
    sheet.ratio(Measure::Pods, of(Subject::Podzone), of(Subject::Coredns));
}
