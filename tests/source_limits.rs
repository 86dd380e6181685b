//! How hard an API server is asked: `apiserver_qps`, `apiserver_burst`, `apiserver_max_inflight`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/scripted_api.rs"]
mod scripted_api;

use std::sync::Arc;
use std::time::{Duration, Instant};

use podzone::config::{ApiLimits, Qps};
use podzone::model::Kind;
use podzone::source::Timing;
use scripted_api::{Answer, Server, end_of_list, refusal, timing};
use tokio::sync::Semaphore;

/// Long enough for a request that nothing holds back.
const A_WHILE: Duration = Duration::from_millis(300);
const KINDS: [Kind; 2] = [Kind::Namespace, Kind::Service];

fn patient() -> Timing {
    Timing { stream_silence: Duration::from_secs(30), ..timing() }
}

#[tokio::test]
async fn one_list_at_a_time_where_one_request_may_be_under_way() {
    for (max_inflight, at_once) in [(Some(1), 1), (Some(2), 2), (None, 2)] {
        let gate = Arc::new(Semaphore::new(0));
        let list = || Answer::hang("").gated(&gate, &[end_of_list(5)]);
        let server = Server::streaming(vec![list(), list()]).await;
        let limits = ApiLimits { max_inflight, ..ApiLimits::default() };
        let (_handle, _events) = server.follow_within(&limits, &KINDS, patient()).await;
        server.asked(at_once).await;
        tokio::time::sleep(A_WHILE).await;
        assert_eq!(server.asked(at_once).await.len(), at_once, "at most {max_inflight:?}");
        // A list that has ended leaves its place to the next, though its watch goes on.
        gate.add_permits(2);
        assert_eq!(server.asked(2).await.len(), 2);
    }
}

#[tokio::test]
async fn requests_keep_their_rate_but_for_a_burst() {
    let refused = || Answer::full(503, refusal(503, "ServiceUnavailable"));
    for (burst, waits) in [(1, 4), (3, 2)] {
        let server = Server::streaming((0..5).map(|_| refused()).collect()).await;
        let limits = ApiLimits { qps: Qps::new(20.0), burst: Some(burst), max_inflight: None };
        let begun = Instant::now();
        let impatient =
            Timing { backoff_first: Duration::from_micros(10), backoff_max: Duration::from_micros(10), ..patient() };
        let (_handle, _events) = server.follow_within(&limits, &[Kind::Service], impatient).await;
        server.asked(5).await;
        assert!(begun.elapsed() >= Duration::from_millis(50) * waits, "{:?} with bursts of {burst}", begun.elapsed());
    }
}
