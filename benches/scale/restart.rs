//! An API server that starts anew, after which everybody lists everything again.

use crate::api;
use crate::cluster::Written;
use crate::fill;
use crate::stage::Stage;
use crate::support::kube::ControlPlane;
use crate::support::{ports, wait_for};
use serde_json::json;
use std::time::{Duration, Instant};

/// Clients wait longer with each attempt that fails while the API is away.
const RELIST_LIMIT: Duration = Duration::from_secs(120);

/// Ends the API server and starts it, and waits until the only server that follows it has listed all slices.
pub(crate) fn restart(stage: &mut Stage) {
    let begin = Instant::now();
    let runtime = api::runtime();
    // Something that servers are not told of: what they know is then older than what the new API server begins with,
    // which so cannot let a watch go on, and they have to list.
    runtime.block_on(async { fill::write(&stage.plane.client(), unrelated()).await });
    stage.plane.stop_api();
    stage.plane.start_api();
    let ready = begin.elapsed();
    let lists = wait_for("all slices are listed again", RELIST_LIMIT, || {
        let lists = slice_lists(&stage.plane);
        (lists > stage.own_lists).then_some(lists).ok_or_else(|| format!("{lists} lists"))
    });
    println!(
        "   the API server is ready {ready:.1?} after its end, listed again {:.1?} ({lists} lists, {} its own)",
        begin.elapsed(),
        stage.own_lists
    );
}

/// How many lists of all slices the API server has answered since its start: plain ones, and streams that have come to
/// their end. It lists them for itself too before it is ready.
pub(crate) fn slice_lists(plane: &ControlPlane) -> f64 {
    let runtime = api::runtime();
    let metrics = runtime.block_on(async { api::text(&plane.client(), "/metrics").await });
    let counts = metrics.lines().filter(|line| {
        let is_plain = line.starts_with("apiserver_request_total{") && line.contains(r#"verb="LIST""#);
        let is_streamed = line.starts_with("apiserver_watch_list_duration_seconds_count{");
        (is_plain || is_streamed) && line.contains(r#"resource="endpointslices""#)
    });
    counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

fn unrelated() -> Written {
    Written {
        path: "/api/v1/namespaces/default/configmaps".to_owned(),
        body: json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("unrelated-{}", ports::free())},
        }),
    }
}
