//! How far a long listing has come is told: in the log at a pace that a person can read, in metrics, and by readiness.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/scripted_api.rs"]
mod scripted_api;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use podzone::admin::{FollowedSource, Metrics, Readiness, Told};
use podzone::config::Source;
use podzone::model::Kind;
use podzone::source::{Handle, Timing};
use scripted_api::{Answer, Server, end_of_list, event, expect, item, page, timing};
use tokio::sync::Semaphore;

const PATIENCE: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_millis(150);
const TOLD: Duration = Duration::from_millis(100);

/// Nothing but listings takes time.
fn telling() -> Timing {
    Timing { listing_long: LONG, listing_told: TOLD, stream_silence: PATIENCE, silence: PATIENCE, ..timing() }
}

/// What was logged, by this thread, on which all of a test runs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn taken(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let lines = tracing_subscriber::fmt().with_writer(move || log.clone()).with_ansi(false).without_time();
        tracing::subscriber::set_default(lines.finish())
    }

    fn lines(&self, with: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(with)).map(str::to_owned).collect()
    }

    async fn until(&self, count: usize, with: &str) {
        let begun = Instant::now();
        while self.lines(with).len() < count {
            assert!(begun.elapsed() < PATIENCE, "{count} lines with {with:?}: {:#?}", self.lines(""));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn followed(handle: &Handle) -> Arc<FollowedSource> {
    Arc::new(FollowedSource::new(&Source::InCluster, handle.health(), Vec::new(), &[]))
}

/// Objects and seconds of the listing under way, and how long the last one took.
fn metrics(handle: &Handle) -> [Option<f64>; 3] {
    let text = Metrics::new(Told { sources: vec![followed(handle)], ..Told::default() }).text();
    let text = text.unwrap();
    ["listing_objects", "listing_age_seconds", "last_listing_duration_seconds"].map(|name| {
        let series = format!("podzone_source_{name}{{source=\"in-cluster\",kind=\"Service\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)).map(|value| value.parse().unwrap())
    })
}

/// Follows a list of three objects, of which two come and the third waits for `gate`.
async fn a_slow_list_is_told_of(server: &Server, gate: &Semaphore, first: &[&str], rest: &[&str]) {
    let log = Log::default();
    let _guard = log.taken();
    let begun = Instant::now();
    let (handle, mut events) = server.follow_with(telling()).await;
    expect(&mut events, first).await;
    log.until(3, "listing services: 2 objects in ").await;
    let [objects, age, last] = metrics(&handle);
    assert_eq!((objects, last), (Some(2.0), None));
    assert!(age.unwrap() >= LONG.as_secs_f64() && age.unwrap() <= begun.elapsed().as_secs_f64(), "{age:?}");
    let reasons = Readiness::new(Vec::new(), vec![followed(&handle)], Instant::now()).reasons();
    assert!(reasons.contains("Service: not listed for ") && reasons.contains(" s, 2 objects in "), "{reasons}");
    assert!(log.lines("listed services").is_empty(), "{:#?}", log.lines(""));

    gate.add_permits(1);
    expect(&mut events, rest).await;
    log.until(1, "listed services: 3 objects in ").await;
    let took = begun.elapsed();
    let told = log.lines("listing services: ").len();
    let most = 1 + (took.saturating_sub(LONG).as_millis() / TOLD.as_millis()) as usize;
    assert!(told <= most, "{told} lines in {took:?}: {:#?}", log.lines(""));
    let [objects, age, last] = metrics(&handle);
    assert_eq!((objects, age), (Some(0.0), Some(0.0)));
    // It was told of three times; the clock of the list itself begins a moment after that of what is told.
    assert!(last.unwrap() >= (LONG + TOLD).as_secs_f64() && last.unwrap() <= took.as_secs_f64(), "{last:?}");
    // Nothing is listed any more, and nothing told.
    tokio::time::sleep(LONG + 2 * TOLD).await;
    assert_eq!(log.lines("listing services: ").len(), told);
}

#[tokio::test]
async fn a_streamed_list_that_takes_long_is_told_of() {
    let gate = Arc::new(Semaphore::new(0));
    let begin = Answer::hang(event("ADDED", "a", 1) + &event("ADDED", "b", 2));
    let rest = event("ADDED", "c", 3) + &end_of_list(9);
    let server = Server::streaming(vec![begin.gated(&gate, &[rest])]).await;
    a_slow_list_is_told_of(&server, &gate, &["begin", "apply n/a", "apply n/b"], &["apply n/c", "end"]).await;
}

#[tokio::test]
async fn a_list_in_pages_that_takes_long_is_told_of() {
    let gate = Arc::new(Semaphore::new(0));
    let second = String::from_utf8(page(9, "", &[item("c")]).body).unwrap();
    let server = Server::start(vec![
        page(5, "abc", &[item("a"), item("b")]),
        Answer::full(200, "").gated(&gate, &[second]),
        Answer::hang(""),
    ])
    .await;
    a_slow_list_is_told_of(&server, &gate, &["begin", "apply n/a", "apply n/b"], &["apply n/c", "end"]).await;
}

#[tokio::test]
async fn a_list_of_which_nothing_comes_is_told_of_and_one_that_fails_is_under_way_no_more() {
    let gate = Arc::new(Semaphore::new(0));
    let server =
        Server::start(vec![Answer::hang("").gated(&gate, &[]), page(9, "", &[item("a")]), Answer::hang("")]).await;
    let log = Log::default();
    let _guard = log.taken();
    // No other attempt comes while the metrics are looked at.
    let timing = Timing { request: 2 * LONG + TOLD, backoff_first: 10 * LONG, ..telling() };
    let (handle, mut events) = server.follow_with(timing).await;
    log.until(2, "listing services: 0 objects in ").await;
    log.until(1, "cannot list services").await;
    assert_eq!(metrics(&handle), [Some(0.0), Some(0.0), None]);
    expect(&mut events, &["begin", "apply n/a", "end"]).await;
    assert!(log.lines("listed services").len() <= 1, "the failed one was not listed: {:#?}", log.lines(""));
}

#[tokio::test]
async fn a_short_list_is_not_told_of() {
    let log = Log::default();
    let _guard = log.taken();
    let server = Server::start(vec![page(9, "", &[item("a")]), Answer::hang("")]).await;
    let (handle, mut events) = server.follow_with(Timing { listing_long: PATIENCE, ..telling() }).await;
    expect(&mut events, &["begin", "apply n/a", "end"]).await;
    server.asked(2).await;
    assert!(metrics(&handle)[2].unwrap() < PATIENCE.as_secs_f64());
    assert!(log.lines("services: ").is_empty(), "{:#?}", log.lines(""));
}

#[tokio::test]
async fn a_listing_beside_a_watch_is_told_of_too() {
    let gate = Arc::new(Semaphore::new(0));
    let checked = String::from_utf8(page(9, "", &[item("a")]).body).unwrap();
    let server = Server::start(vec![
        page(5, "", &[item("a")]),
        Answer::hang(""),
        Answer::full(200, "").gated(&gate, &[checked]),
    ])
    .await;
    let log = Log::default();
    let _guard = log.taken();
    let timing = Timing { check: Duration::from_millis(500), ..telling() };
    let (handle, mut events) = server.follow_with(timing).await;
    expect(&mut events, &["begin", "apply n/a", "end"]).await;
    let first = handle.health().status(Kind::Service).unwrap().last_listing;
    log.until(2, "listing services: 0 objects in ").await;
    gate.add_permits(1);
    expect(&mut events, &["begin", "apply n/a", "end"]).await;
    log.until(1, "listed services: 1 objects in ").await;
    assert!(handle.health().status(Kind::Service).unwrap().last_listing > first);
}
