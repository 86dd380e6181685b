//! The list-watch loop against a scripted server, for what a real API server cannot be made to do on demand.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use podzone::config::Source;
use podzone::model::{Event, Kind, Object};
use podzone::source::{self, Handle, Timing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// What the server does with one request.
enum Answer {
    /// Answers with this status and body, and closes.
    Full(u16, String),
    /// Answers 200 and this, and then says nothing more.
    Hang(String),
}

/// A server that gives its answers in order, one a connection, and the paths that it was asked for.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut held = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                let request = String::from_utf8(request).unwrap();
                assert!(request.to_lowercase().contains("user-agent: podzone/"), "{request}");
                log.lock().unwrap().push(request.split(' ').nth(1).unwrap().to_owned());
                let (status, body) = match &answer {
                    Answer::Full(status, body) => (*status, body),
                    Answer::Hang(body) => (200, body),
                };
                let head =
                    format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n");
                stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
                match answer {
                    Answer::Full(..) => stream.shutdown().await.unwrap(),
                    Answer::Hang(_) => held.push(stream),
                }
            }
            std::future::pending::<()>().await;
        });
        Self { url, asked }
    }

    /// The paths asked for, once there are `count`.
    async fn asked(&self, count: usize) -> Vec<String> {
        loop {
            let asked = self.asked.lock().unwrap().clone();
            if asked.len() >= count {
                return asked;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn follow(&self) -> (Handle, mpsc::Receiver<Event>) {
        let (sender, events) = mpsc::channel(16);
        let timing = Timing {
            silence: Duration::from_millis(300),
            backoff_first: Duration::from_millis(20),
            ..Timing::default()
        };
        let config = Source::Endpoint { url: self.url.clone(), tls: None };
        let handle = source::start_with(&config, &[Kind::Service], Some("app=web"), sender, timing).await.unwrap();
        (handle, events)
    }
}

fn item(name: &str) -> String {
    format!(r#"{{"metadata":{{"name":"{name}","namespace":"n","resourceVersion":"1"}},"spec":{{"clusterIP":"None"}}}}"#)
}

fn page(version: u32, next: &str, items: &[String]) -> Answer {
    let items = items.join(",");
    Answer::Full(
        200,
        format!(r#"{{"metadata":{{"resourceVersion":"{version}","continue":"{next}"}},"items":[{items}]}}"#),
    )
}

fn refusal(code: u16, reason: &str) -> String {
    format!(r#"{{"kind":"Status","status":"Failure","code":{code},"reason":"{reason}","message":"said so"}}"#)
}

async fn next(events: &mut mpsc::Receiver<Event>) -> String {
    match tokio::time::timeout(Duration::from_secs(10), events.recv()).await.expect("an event").unwrap() {
        Event::Apply(Object::Service(service)) => format!("apply {}", service.key),
        Event::Delete(_, key) => format!("delete {key}"),
        Event::Begin(_) => "begin".into(),
        Event::End(_) => "end".into(),
        other => panic!("{other:?}"),
    }
}

async fn expect(events: &mut mpsc::Receiver<Event>, expected: &[&str]) {
    for (at, expected) in expected.iter().enumerate() {
        assert_eq!(next(events).await, *expected, "event {at}");
    }
}

#[tokio::test]
async fn a_stale_continue_token_restarts_the_list() {
    let server = Server::start(vec![
        page(5, "abc", &[item("a")]),
        Answer::Full(410, refusal(410, "Expired")),
        page(9, "", &[item("a"), item("b")]),
        Answer::Hang(String::new()),
    ])
    .await;
    let (handle, mut events) = server.follow().await;
    expect(&mut events, &["begin", "apply n/a", "begin", "apply n/a", "apply n/b", "end"]).await;
    let asked = server.asked(4).await;
    assert_eq!(asked[0], "/api/v1/services?limit=500&labelSelector=app%3Dweb");
    assert_eq!(asked[1], "/api/v1/services?limit=500&continue=abc&labelSelector=app%3Dweb");
    assert_eq!(asked[2], "/api/v1/services?labelSelector=app%3Dweb");
    assert!(asked[3].contains("watch=true&allowWatchBookmarks=true&resourceVersion=9&timeoutSeconds="), "{}", asked[3]);
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
        Answer::Full(200, lines.join("\n")),
        Answer::Full(200, format!("{{\"type\":\"ERROR\",\"object\":{}}}\n", refusal(410, "Gone"))),
        page(20, "", &[item("a")]),
        Answer::Full(410, refusal(410, "Expired")),
        page(30, "", &[]),
        Answer::Hang(String::new()),
    ])
    .await;
    let (handle, mut events) = server.follow().await;
    expect(&mut events, &["begin", "apply n/a", "end", "apply n/b", "begin", "apply n/a", "end", "begin", "end"]).await;
    let asked = server.asked(7).await;
    assert!(asked[2].contains("resourceVersion=8&"), "{asked:?}");
    assert!(asked[6].contains("resourceVersion=30&"), "{asked:?}");
    let status = handle.health().status(Kind::Service).unwrap();
    assert_eq!((status.listings, status.malformed), (3, 1));
}

#[tokio::test]
async fn refusals_are_waited_out() {
    let server = Server::start(vec![
        Answer::Full(503, "<html>".into()),
        Answer::Full(403, refusal(403, "Forbidden")),
        Answer::Full(200, "<html>".into()),
        page(5, "", &[item("a")]),
        Answer::Full(500, refusal(500, "InternalError")),
        Answer::Full(200, String::new()),
        Answer::Hang(format!("{{\"type\":\"DELETED\",\"object\":{}}}\n", item("a"))),
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
        Answer::Hang(String::new()),
        Answer::Hang(String::new()),
        page(9, "", &[item("b")]),
        Answer::Hang(String::new()),
    ])
    .await;
    let (_handle, mut events) = server.follow().await;
    expect(&mut events, &["begin", "apply n/a", "end", "begin", "apply n/b", "end"]).await;
}

#[tokio::test]
async fn the_server_says_how_long_to_wait() {
    let busy = r#"{"kind":"Status","code":429,"reason":"TooManyRequests","details":{"retryAfterSeconds":1}}"#;
    let server =
        Server::start(vec![Answer::Full(429, busy.into()), page(5, "", &[]), Answer::Hang(String::new())]).await;
    let begun = std::time::Instant::now();
    let (_handle, mut events) = server.follow().await;
    expect(&mut events, &["begin", "end"]).await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn dropping_the_handle_ends_the_source() {
    let server = Server::start(vec![page(5, "", &[]), Answer::Hang(String::new())]).await;
    let (handle, mut events) = server.follow().await;
    expect(&mut events, &["begin", "end"]).await;
    drop(handle);
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), events.recv()).await.unwrap(), None);
}
