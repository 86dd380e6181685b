//! Writes the cluster into a real API server.

use crate::cluster::{Cluster, Written, namespace};
use crate::support::kube::ControlPlane;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Writes everything over so many connections, the cluster's last Service after all others.
pub(crate) fn fill(plane: &ControlPlane, cluster: &Arc<Cluster>, connections: usize) -> Duration {
    let begin = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = plane.client();
        for name in cluster.namespaces() {
            write(&client, namespace(name)).await;
        }
        let next = Arc::new(AtomicUsize::new(0));
        // Each has a client, and so a connection, of its own, on which one request follows the other.
        let writers: Vec<_> = (0..connections)
            .map(|_| {
                let (client, cluster, next) = (plane.client(), Arc::clone(cluster), Arc::clone(&next));
                tokio::spawn(async move {
                    let all_but_last = cluster.services.len() - 1;
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(service) = cluster.services[..all_but_last].get(index) else { break };
                        for object in service.objects() {
                            write(&client, object).await;
                        }
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.expect("a writer");
        }
        for object in cluster.last().objects() {
            write(&client, object).await;
        }
    });
    begin.elapsed()
}

async fn write(client: &kube::Client, object: Written) {
    let body = serde_json::to_vec(&object.body).expect("JSON");
    let request = http::Request::post(&object.path).header("Content-Type", "application/json").body(body);
    if let Err(error) = client.request_text(request.expect("a request")).await {
        panic!("POST {}: {error}: {}", object.path, object.body["metadata"]["name"]);
    }
}
