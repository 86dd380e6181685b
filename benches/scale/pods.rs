//! A start with `pods verified`, where every pod of the cluster is an object of its own.
//!
//! Through the API each pod takes two writes, its own and that of its status, and 150,000 of them many minutes. So one is
//! written through the API, as a pattern of what the API server makes of a pod, and the others past it into etcd while
//! the API server is away; it then reads them as its own.

use crate::api::{self, PODS, SERVICES, SLICES};
use crate::cluster::{Pod, Service, Written};
use crate::download::{self, FORMS};
use crate::etcd::Etcd;
use crate::fill;
use crate::report::{Column, Measure, Row, Sheet, State};
use crate::stage::{How, Stage};
use crate::starts::SETTLING;
use crate::stored;
use crate::subject::Subject;
use crate::support::dns;
use crate::touch::touch;
use http::Request;
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Instant;

/// Writes in one transaction; etcd takes 128, and 1.5 MB.
const BATCH: usize = 100;
/// Pods that are asked about before all are. CoreDNS reads them in no order.
const SAMPLE: usize = 1000;
const PLACE: &str = "/api/v1/namespaces/default/pods";
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
    let text = runtime.block_on(async { api::text(&stage.plane.client(), &format!("{PODS}?limit=1")).await });
    let list: Value = serde_json::from_str(&text).expect("JSON");
    let known = list["metadata"]["remainingItemCount"].as_u64().map(|others| others + 1);
    assert_eq!(known, Some(count as u64), "the API server knows every pod");
}

/// What the API server stores for a pod that runs.
async fn pattern(stage: &Stage) -> ByteString {
    let client = stage.plane.client();
    let written = Written {
        path: PLACE.to_owned(),
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
        Request::patch(format!("{PLACE}/{PATTERN}/status")).header("Content-Type", "application/merge-patch+json");
    let request = request.body(serde_json::to_vec(&status).expect("JSON")).expect("a request");
    client.request_text(request).await.expect("a pod's status");
    let stored = Etcd::new(stage.plane.etcd_url()).get(&format!("/registry/pods/default/{PATTERN}")).await;
    api::delete(&client, &format!("{PLACE}/{PATTERN}?gracePeriodSeconds=0")).await;
    stored
}

async fn write_all(stage: &Stage, pattern: &ByteString) -> usize {
    let etcd = Etcd::new(stage.plane.etcd_url());
    let pods = stage.cluster.services.iter().flat_map(|service| service.pods.iter().map(move |pod| (service, pod)));
    let pods: Vec<_> = pods.collect();
    for batch in pods.chunks(BATCH) {
        etcd.put_all(batch.iter().map(|(service, pod)| stored_pod(&pattern.0, service, pod))).await;
    }
    pods.len()
}

/// One pod and its key. The fields' numbers are those of `generated.proto` in `k8s.io/api` (`core/v1`)
/// and `k8s.io/apimachinery` (`meta/v1`).
fn stored_pod(pattern: &[u8], service: &Service, pod: &Pod) -> (String, ByteString) {
    const METADATA: u64 = 1;
    const STATUS: u64 = 3;
    let (uid, address) = (pod.uid(), pod.address.to_string());
    let value = stored::with(
        pattern,
        &[
            (&[METADATA, 1], &pod.name),
            (&[METADATA, 3], &service.namespace),
            (&[METADATA, 5], &uid),
            (&[STATUS, 6], &address),
            // `podIPs`, of which there is one.
            (&[STATUS, 12, 1], &address),
        ],
    );
    (format!("/registry/pods/{}/{}", service.namespace, pod.name), ByteString(value))
}

/// Starts both servers, and asks about every name, every pod's address among them.
pub(crate) fn round(stage: &Stage, sheet: &mut Sheet, subjects: [Subject; 2]) {
    let mut held = BTreeMap::new();
    for (row, form) in FORMS {
        let (time, octets) = download::all(&stage.plane, form, &[SERVICES, SLICES, PODS]);
        println!("  {}: {time:.3?}, {octets} octets", row.title());
        sheet.add(row, Column::PodsReady, time.as_secs_f64());
        sheet.add(row, Column::PodsOctets, octets as f64 / 1e6);
    }
    for subject in subjects {
        let mut running = stage.start(subject, How { pods_verified: true, ..How::default() });
        let mut sample = stage.sample();
        sample.extend(by_address(stage));
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

/// The addresses of pods here and there, and of the last in their listing.
fn by_address(stage: &Stage) -> impl Iterator<Item = (dns::Query, String)> {
    let services = &stage.cluster.services;
    let sample = services.iter().step_by(services.len().div_ceil(SAMPLE)).chain([stage.cluster.last()]);
    sample.map(|service| {
        let address = service.pods.last().expect("every Service has pods").address.to_string();
        let name = format!("{}.{}.pod.cluster.local", address.replace('.', "-"), service.namespace);
        (dns::Query::new(&name, dns::A), address)
    })
}
