//! The list-watch loop against a scripted server, for what a real API server cannot be made to do on demand.
//!
//! It speaks JSON only; what protobuf means is held beside its decoder, and against a real API server.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/scripted_api.rs"]
mod scripted_api;

use std::time::Duration;

use podzone::config::ApiLimits;
use podzone::model::Kind;
use podzone::source::{Handle, Timing};
use scripted_api::{Answer, Server, bookmark, end_of_list, event, expect, item, page, refusal, requests, timing};

#[tokio::test]
async fn a_stale_continue_token_restarts_the_list() {
    let server = Server::start(vec![
        page(5, "abc", &[item("a")]),
        Answer::full(410, refusal(410, "Expired")),
        page(9, "", &[item("a"), item("b")]),
        Answer::hang(String::new()),
    ])
    .await;
    let (handle, mut events) = server.follow().await;
    expect(&mut events, &["begin", "apply n/a", "begin", "apply n/a", "apply n/b", "end"]).await;
    let asked = server.asked(4).await;
    assert_eq!(asked[0], "/api/v1/services?limit=500&labelselector=app%3dweb");
    assert_eq!(asked[1], "/api/v1/services?limit=500&continue=abc&labelselector=app%3dweb");
    assert_eq!(asked[2], "/api/v1/services?labelselector=app%3dweb");
    assert!(asked[3].contains("watch=true&allowwatchbookmarks=true&resourceversion=9&timeoutseconds="), "{}", asked[3]);
    assert_eq!(handle.health().status(Kind::Service).unwrap().listings, 1);
}

#[tokio::test]
async fn a_watch_goes_on_from_its_bookmark_and_relists_when_gone() {
    let lines = [
        format!(r#"{{"type":"ADDED","object":{}}}"#, item("b").replace(r#"Version":"1""#, r#"Version":"6""#)),
        r#"{"type":"MODIFIED","object":{"metadata":{"name":"bad","namespace":"n","resourceVersion":"7"},"spec":{"ports":7}}}"#.into(),
        r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"8"}}}"#.into(),
        // Cut off within a frame: it is not to be believed.
        r#"{"type":"DELETED","object":{"metadata":{"name":"#.into(),
    ];
    let server = Server::start(vec![
        page(5, "", &[item("a")]),
        Answer::full(200, lines.join("\n")),
        Answer::full(200, format!("{{\"type\":\"ERROR\",\"object\":{}}}\n", refusal(410, "Gone"))),
        page(20, "", &[item("a")]),
        Answer::full(410, refusal(410, "Expired")),
        page(30, "", &[]),
        Answer::hang(String::new()),
    ])
    .await;
    let (handle, mut events) = server.follow().await;
    expect(&mut events, &["begin", "apply n/a", "end", "apply n/b", "begin", "apply n/a", "end", "begin", "end"]).await;
    let asked = server.asked(7).await;
    assert!(asked[2].contains("resourceversion=8&"), "{asked:?}");
    assert!(asked[6].contains("resourceversion=30&"), "{asked:?}");
    let status = handle.health().status(Kind::Service).unwrap();
    assert_eq!((status.listings, status.malformed), (3, 1));
    // What was refused once is not asked for again.
    assert!(!asked.iter().any(|path| path.contains("sendinitialevents")), "{asked:?}");
}

#[tokio::test]
async fn refusals_are_waited_out() {
    let server = Server::start(vec![
        Answer::full(503, "<html>"),
        Answer::full(403, refusal(403, "Forbidden")),
        Answer::full(200, "<html>"),
        page(5, "", &[item("a")]),
        Answer::full(500, refusal(500, "InternalError")),
        Answer::full(200, String::new()),
        Answer::hang(format!("{{\"type\":\"DELETED\",\"object\":{}}}\n", item("a"))),
    ])
    .await;
    let (handle, mut events) = server.follow().await;
    expect(&mut events, &["begin", "apply n/a", "end", "delete n/a"]).await;
    let status = loop {
        // The event is sent before it is counted as heard.
        let status = handle.health().status(Kind::Service).unwrap();
        if status.failing.is_none() {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!((status.failures, status.listings), (5, 1));
    assert!(status.last_error.unwrap().contains("cannot watch services: the watch ended at once"));
}

#[tokio::test]
async fn a_silent_watch_is_dropped_and_after_a_second_one_all_is_listed() {
    let server = Server::start(vec![
        page(5, "", &[item("a")]),
        Answer::hang(String::new()),
        Answer::hang(String::new()),
        page(9, "", &[item("b")]),
        Answer::hang(String::new()),
    ])
    .await;
    let (handle, mut events) = server.follow().await;
    expect(&mut events, &["begin", "apply n/a", "end", "begin", "apply n/b", "end"]).await;
    assert_eq!(handle.health().status(Kind::Service).unwrap().silences, 2);
}

#[tokio::test]
async fn the_server_says_how_long_to_wait() {
    let busy = r#"{"kind":"Status","code":429,"reason":"TooManyRequests","details":{"retryAfterSeconds":1}}"#;
    let server = Server::start(vec![Answer::full(429, busy), page(5, "", &[]), Answer::hang(String::new())]).await;
    let begun = std::time::Instant::now();
    let (_handle, mut events) = server.follow().await;
    expect(&mut events, &["begin", "end"]).await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn dropping_the_handle_ends_the_source() {
    let server = Server::start(vec![page(5, "", &[]), Answer::hang(String::new())]).await;
    let (handle, mut events) = server.follow().await;
    expect(&mut events, &["begin", "end"]).await;
    drop(handle);
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), events.recv()).await.unwrap(), None);
}

#[tokio::test]
async fn a_streamed_list_goes_on_as_the_watch() {
    let events =
        [event("ADDED", "a", 1), bookmark(1, ""), event("ADDED", "b", 2), end_of_list(9), event("DELETED", "a", 10)];
    let server = Server::streaming(vec![Answer::full(200, events.concat()), Answer::hang("")]).await;
    let (handle, mut events) = server.follow().await;
    expect(&mut events, &["begin", "apply n/a", "apply n/b", "end", "delete n/a"]).await;
    let asked = server.asked(2).await;
    let list = "watch=true&allowwatchbookmarks=true&sendinitialevents=true&resourceversionmatch=notolderthan&timeout";
    assert!(asked[0].contains(list), "{asked:?}");
    assert!(asked[1].contains("resourceversion=10&"), "{asked:?}");
    let status = handle.health().status(Kind::Service).unwrap();
    assert_eq!((status.listings, status.failures, status.events), (1, 0, 3));
}

#[tokio::test]
async fn a_streamed_list_without_an_end_is_fetched_in_pages_and_keeps_what_it_told() {
    let server = Server::streaming(vec![
        Answer::hang(event("ADDED", "a", 1)),
        page(5, "", &[item("a"), item("b")]),
        Answer::hang(""),
    ])
    .await;
    let (_handle, mut events) = server.follow().await;
    expect(&mut events, &["begin", "apply n/a", "begin", "apply n/a", "apply n/b", "end"]).await;
    assert!(server.asked(3).await[1].contains("?limit="));
}

#[tokio::test]
async fn a_streamed_list_that_never_ends_is_given_up_however_much_it_tells() {
    // An API server that takes the request for a plain watch on a busy cluster.
    let busy: String = (0..2000).map(|version| event("ADDED", "a", version)).collect();
    let server = Server::streaming(vec![Answer::hang(busy), page(5, "", &[]), Answer::hang("")]).await;
    let timing = Timing { stream_whole: Duration::ZERO, ..timing() };
    let (_handle, mut events) = server.follow_with(timing).await;
    expect(&mut events, &["begin", "begin", "end"]).await;
}

#[tokio::test]
async fn an_etcd_that_is_too_old_for_streamed_lists_is_remembered() {
    let error = r#"{"type":"ERROR","object":{"kind":"Status","code":500,"message":"a watch stream was requested by the client but the required storage feature RequestWatchProgress is disabled"}}"#;
    let server = Server::streaming(vec![
        Answer::full(200, format!("{error}\n")),
        page(5, "", &[]),
        Answer::full(410, refusal(410, "Expired")),
        page(9, "", &[]),
        Answer::hang(""),
    ])
    .await;
    let (handle, mut events) = server.follow().await;
    expect(&mut events, &["begin", "begin", "end", "begin", "end"]).await;
    assert!(server.asked(4).await[3].contains("?limit="));
    assert_eq!(handle.health().status(Kind::Service).unwrap().failures, 0);
}

#[tokio::test]
async fn a_streamed_list_that_breaks_off_is_fetched_in_pages_next() {
    let gone = format!("{{\"type\":\"ERROR\",\"object\":{}}}\n", refusal(410, "Expired"));
    for broken in [event("ADDED", "a", 1), event("ADDED", "a", 1) + &gone] {
        let server =
            Server::streaming(vec![Answer::full(200, broken), page(5, "", &[item("a")]), Answer::hang("")]).await;
        let (handle, mut events) = server.follow().await;
        expect(&mut events, &["begin", "apply n/a", "begin", "apply n/a", "end"]).await;
        assert_eq!(handle.health().status(Kind::Service).unwrap().failures, 1);
    }
}

/// A field of protobuf that has a length.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    prost::encoding::encode_varint(value.len() as u64, &mut field);
    [&field, value].concat()
}

fn envelope(object: &[u8]) -> Vec<u8> {
    [&b"k8s\0"[..], &field(2, object)].concat()
}

/// The headless Service of `item`.
fn service(name: &str, version: &str) -> Vec<u8> {
    let metadata = [field(1, name.as_bytes()), field(3, b"n"), field(6, version.as_bytes())].concat();
    [field(1, &metadata), field(2, &field(3, b"None"))].concat()
}

fn framed(kind: &str, object: &[u8]) -> Vec<u8> {
    let event = [field(1, kind.as_bytes()), field(2, &field(1, &envelope(object)))].concat();
    [&u32::try_from(event.len()).unwrap().to_be_bytes()[..], &event].concat()
}

fn protobuf_page(version: &str, items: &[Vec<u8>]) -> Vec<u8> {
    let items: Vec<u8> = items.iter().flat_map(|item| field(2, item)).collect();
    envelope(&[field(1, &field(2, version.as_bytes())), items].concat())
}

#[tokio::test]
async fn protobuf_is_asked_for_and_what_breaks_off_in_it_is_not_believed() {
    let cut = protobuf_page("5", &[service("a", "1"), service("b", "2")]);
    let absurd = [framed("ADDED", &service("c", "6")), vec![0xff; 8]].concat();
    let truncated = [framed("ADDED", &service("d", "7")), framed("DELETED", &service("a", "8"))].concat();
    let server = Server::start(vec![
        Answer::full(200, &cut[..cut.len() - 4]).protobuf(),
        Answer::full(200, protobuf_page("5", &[service("a", "1"), vec![0xff; 5], service("b", "2")])).protobuf(),
        Answer::full(200, absurd).protobuf(),
        Answer::full(200, &truncated[..truncated.len() - 1]).protobuf(),
        Answer::full(200, framed("ERROR", &field(4, b"Expired"))).protobuf(),
        page(9, "", &[item("a")]),
        Answer::hang(""),
    ])
    .await;
    let (handle, mut events) = server.follow().await;
    expect(&mut events, &["begin", "apply n/a"]).await;
    expect(&mut events, &["begin", "apply n/a", "apply n/b", "end", "apply n/c", "apply n/d"]).await;
    expect(&mut events, &["begin", "apply n/a", "end"]).await;
    let asked = server.asked(7).await;
    assert!(asked[3].contains("resourceversion=6&") && asked[4].contains("resourceversion=7&"), "{asked:?}");
    let requests = requests(&server.requests, 1).await;
    assert!(requests.iter().all(|request| request.contains("accept: application/vnd.kubernetes.protobuf")));
    let status = handle.health().status(Kind::Service).unwrap();
    assert_eq!((status.malformed, status.failures), (1, 2));
}

#[tokio::test]
async fn the_first_list_comes_as_a_whole_and_the_next_as_a_stream() {
    let server = Server::streaming(vec![
        Answer::full(200, protobuf_page("5", &[service("a", "1"), service("b", "2")])).protobuf(),
        Answer::full(410, refusal(410, "Expired")),
        Answer::hang(event("ADDED", "a", 1) + &end_of_list(9)),
    ])
    .await;
    let (handle, mut events) = server.follow_with(whole()).await;
    expect(&mut events, &["begin", "apply n/a", "apply n/b", "end", "begin", "apply n/a", "end"]).await;
    let asked = server.asked(3).await;
    assert_eq!(asked[0], "/api/v1/services?labelselector=app%3dweb");
    assert!(asked[1].contains("watch=true&") && asked[1].contains("resourceversion=5&"), "{asked:?}");
    assert!(asked[2].contains("sendinitialevents=true"), "{asked:?}");
    assert_eq!(handle.health().status(Kind::Service).unwrap().failures, 0);
}

#[tokio::test]
async fn a_whole_list_in_json_is_not_read() {
    let server =
        Server::streaming(vec![page(5, "", &[item("a")]), Answer::hang(event("ADDED", "b", 1) + &end_of_list(9))])
            .await;
    let (handle, mut events) = server.follow_with(whole()).await;
    expect(&mut events, &["begin", "apply n/b", "end"]).await;
    assert!(server.asked(2).await[1].contains("sendinitialevents=true"));
    assert_eq!(handle.health().status(Kind::Service).unwrap().failures, 0);
}

#[tokio::test]
async fn a_whole_list_that_does_not_arrive_is_given_up_for_a_stream() {
    let list = protobuf_page("5", &[service("a", "1"), service("b", "2")]);
    let cut = &list[..list.len() - 4];
    for unfinished in [Answer::full(200, cut).protobuf(), Answer::hang(cut).protobuf()] {
        let stream = Answer::hang(event("ADDED", "a", 1) + &end_of_list(9));
        let server = Server::streaming(vec![unfinished, stream]).await;
        let (handle, mut events) = server.follow_with(whole()).await;
        expect(&mut events, &["begin", "apply n/a", "begin", "apply n/a", "end"]).await;
        assert!(server.asked(2).await[1].contains("sendinitialevents=true"));
        assert_eq!(handle.health().status(Kind::Service).unwrap().failures, 1);
    }
}

#[tokio::test]
async fn pods_are_too_many_for_a_whole_list() {
    let server = Server::streaming(vec![Answer::hang(end_of_list(9))]).await;
    let (_handle, mut events) = server.follow_within(&ApiLimits::default(), &[Kind::Pod], whole()).await;
    expect(&mut events, &["begin", "end"]).await;
    assert!(server.asked(1).await[0].contains("sendinitialevents=true"));
}

fn whole() -> Timing {
    Timing { first_whole: Duration::from_millis(300), ..timing() }
}

#[tokio::test]
async fn a_server_that_accepts_json_only_is_asked_for_json() {
    let server = Server::start(vec![
        Answer::full(406, refusal(406, "NotAcceptable")),
        page(5, "", &[item("a")]),
        Answer::hang(""),
    ])
    .await;
    let (handle, mut events) = server.follow().await;
    expect(&mut events, &["begin", "apply n/a", "end"]).await;
    let requests = requests(&server.requests, 4).await;
    assert!(requests[2..].iter().all(|request| request.contains("accept: application/json\r\n")), "{requests:?}");
    assert_eq!(handle.health().status(Kind::Service).unwrap().failures, 0);
}

/// A check soon, and nothing else.
fn checking() -> Timing {
    Timing { check: Duration::from_secs(1), ..timing() }
}

async fn checked(handle: &Handle) -> (u64, u64) {
    loop {
        let status = handle.health().status(Kind::Service).unwrap();
        if status.checks > 0 {
            return (status.checks, status.missed);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_watch_that_tells_what_a_check_lists_is_in_order() {
    let later = [event("DELETED", "a", 6), event("ADDED", "b", 7), bookmark(8, ""), event("ADDED", "c", 10)];
    let server = Server::start(vec![
        page(5, "", &[item("a")]),
        Answer::hang("").later(4, &later.concat()),
        page(9, "", &[item("b").replace(r#"Version":"1""#, r#"Version":"7""#)]),
    ])
    .await;
    let (handle, mut events) = server.follow_with(checking()).await;
    // The list is newer than what the watch tells up to version 9, which therefore changes nothing.
    expect(&mut events, &["begin", "apply n/a", "end", "begin", "apply n/b", "end", "apply n/c"]).await;
    assert_eq!(checked(&handle).await, (1, 0));
}

#[tokio::test]
async fn a_watch_that_passes_over_what_a_check_lists_is_counted_and_made_again() {
    let server = Server::start(vec![
        page(5, "", &[item("a"), item("same")]),
        Answer::hang("").later(4, &bookmark(12, "")),
        page(9, "", &[item("b").replace(r#"Version":"1""#, r#"Version":"7""#), item("same")]),
        Answer::hang(event("ADDED", "c", 13)),
    ])
    .await;
    let (handle, mut events) = server.follow_with(checking()).await;
    expect(&mut events, &["begin", "apply n/a", "apply n/same", "end"]).await;
    expect(&mut events, &["begin", "apply n/b", "apply n/same", "end", "apply n/c"]).await;
    assert!(server.asked(4).await[3].contains("resourceversion=12&"));
    assert_eq!(checked(&handle).await, (1, 2));
}

#[tokio::test]
async fn a_silent_watch_that_a_check_proves_wrong_is_made_again_from_the_list() {
    let server = Server::start(vec![
        page(5, "", &[item("a")]),
        Answer::hang(""),
        page(9, "", &[]),
        Answer::hang(event("ADDED", "c", 13)),
    ])
    .await;
    let timing = Timing { silence: Duration::from_secs(2), ..checking() };
    let (handle, mut events) = server.follow_with(timing).await;
    expect(&mut events, &["begin", "apply n/a", "end", "begin", "end", "apply n/c"]).await;
    assert!(server.asked(4).await[3].contains("resourceversion=9&"));
    assert_eq!(checked(&handle).await, (1, 1));
    assert_eq!(handle.health().status(Kind::Service).unwrap().silences, 1);
}

#[tokio::test]
async fn a_custom_resource_is_asked_for_in_json_and_waited_for_where_it_is_not_installed() {
    let server = Server::streaming(vec![
        Answer::full(404, "404 page not found\n"),
        Answer::full(404, refusal(404, "NotFound")),
        Answer::full(200, [event("ADDED", "a", 1), end_of_list(9)].concat()),
        Answer::hang(""),
    ])
    .await;
    let (handle, mut events) = server.follow_within(&ApiLimits::default(), &[Kind::ServiceImport], timing()).await;
    expect(&mut events, &["unknown", "unknown", "begin", "apply n/a", "end"]).await;
    let asked = server.asked(3).await;
    let path = "/apis/multicluster.x-k8s.io/v1alpha1/serviceimports?";
    assert!(
        asked.iter().all(|asked| asked.starts_with(path) && asked.contains("labelselector=app%3dweb")),
        "{asked:?}"
    );
    let requests = requests(&server.requests, 3).await;
    assert!(requests.iter().all(|request| request.contains("accept: application/json\r\n")), "{requests:?}");
    let status = handle.health().status(Kind::ServiceImport).unwrap();
    assert_eq!((status.listings, status.failures), (1, 2));
}

#[tokio::test]
async fn what_every_api_server_has_is_never_unknown() {
    let server = Server::start(vec![
        Answer::full(404, refusal(404, "NotFound")),
        page(5, "", &[item("a")]),
        Answer::hang(String::new()),
    ])
    .await;
    let (_handle, mut events) = server.follow().await;
    expect(&mut events, &["begin", "apply n/a", "end"]).await;
}
