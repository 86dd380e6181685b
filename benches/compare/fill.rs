//! Writes the cluster into a real API server.

use crate::cluster::{Cluster, Written, namespace};
use crate::support::kube::ControlPlane;
use std::sync::{Arc, Mutex};
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
        let all_but_last = (0..cluster.services.len() - 1).collect();
        let cluster_of_all = Arc::clone(cluster);
        in_parallel(plane, connections, all_but_last, move |client, index| {
            let cluster = Arc::clone(&cluster_of_all);
            async move {
                for object in cluster.services[index].objects() {
                    write(&client, object).await;
                }
            }
        })
        .await;
        for object in cluster.last().objects() {
            write(&client, object).await;
        }
    });
    begin.elapsed()
}

/// Does the work on all items over so many connections.
pub(crate) async fn in_parallel<T, F>(
    plane: &ControlPlane,
    connections: usize,
    items: Vec<T>,
    work: impl Fn(kube::Client, T) -> F + Send + Sync + 'static,
) where
    T: Send + 'static,
    F: Future<Output = ()> + Send,
{
    let (items, work) = (Arc::new(Mutex::new(items.into_iter())), Arc::new(work));
    // Each has a client, and so a connection, of its own, on which one request follows the other.
    let workers: Vec<_> = (0..connections)
        .map(|_| {
            let (client, items, work) = (plane.client(), Arc::clone(&items), Arc::clone(&work));
            tokio::spawn(async move {
                loop {
                    let item = items.lock().expect("no worker panics with it").next();
                    let Some(item) = item else { break };
                    work(client.clone(), item).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("a worker");
    }
}

pub(crate) async fn write(client: &kube::Client, object: Written) {
    let body = serde_json::to_vec(&object.body).expect("JSON");
    let request = http::Request::post(&object.path).header("Content-Type", "application/json").body(body);
    if let Err(error) = client.request_text(request.expect("a request")).await {
        panic!("POST {}: {error}: {}", object.path, object.body["metadata"]["name"]);
    }
}
