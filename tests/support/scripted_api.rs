//! A Kubernetes API server that answers by script, one connection after the other, and what its answers are made of.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use podzone::config::{ApiLimits, Source};
use podzone::model::{Event, Kind, Object};
use podzone::source::{self, Handle, Timing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

/// What the server does with one request.
#[derive(Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
    /// What follows once so many requests came.
    pub(crate) later: Option<(usize, Vec<u8>)>,
    /// What follows, a piece each time that the test lets one through.
    pub(crate) pieces: Vec<Vec<u8>>,
    pub(crate) gate: Option<Arc<Semaphore>>,
    /// Whether the connection then stays open, and nothing more is said.
    pub(crate) hangs: bool,
}

impl Answer {
    pub(crate) fn full(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type: "application/json", body: body.into(), ..Self::default() }
    }

    pub(crate) fn hang(body: impl Into<Vec<u8>>) -> Self {
        Self { hangs: true, ..Self::full(200, body) }
    }

    pub(crate) fn later(self, requests: usize, body: &str) -> Self {
        Self { later: Some((requests, body.into())), ..self }
    }

    /// The body goes on by a piece for each permit of `gate`.
    pub(crate) fn gated(self, gate: &Arc<Semaphore>, pieces: &[String]) -> Self {
        let pieces = pieces.iter().map(|piece| piece.clone().into_bytes()).collect();
        Self { gate: Some(Arc::clone(gate)), pieces, ..self }
    }

    pub(crate) fn protobuf(self) -> Self {
        Self { content_type: "application/vnd.kubernetes.protobuf;stream=watch", ..self }
    }
}

/// A server that gives its answers in order, one a connection, and the requests that it got.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    /// Requests at the beginning that are no matter of the test's.
    pub(crate) aside: usize,
}

impl Server {
    /// One that streams no lists: it refuses the first request, which is left out of those that it tells.
    pub(crate) async fn start(answers: Vec<Answer>) -> Self {
        let refused = Answer::full(422, refusal(422, "Invalid"));
        Self { aside: 1, ..Self::streaming([vec![refused], answers].concat()).await }
    }

    pub(crate) async fn streaming(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                let request = String::from_utf8(request).unwrap().to_lowercase();
                assert!(request.contains("user-agent: podzone/"), "{request}");
                log.lock().unwrap().push(request);
                tokio::spawn(say(stream, answer, Arc::clone(&log)));
            }
            std::future::pending::<()>().await;
        });
        Self { url, requests, aside: 0 }
    }

    /// The paths asked for, once there are `count`.
    pub(crate) async fn asked(&self, count: usize) -> Vec<String> {
        let requests = requests(&self.requests, self.aside + count).await;
        requests[self.aside..].iter().map(|request| request.split(' ').nth(1).unwrap().to_owned()).collect()
    }

    pub(crate) async fn follow(&self) -> (Handle, mpsc::Receiver<Event>) {
        self.follow_with(Timing { silence: Duration::from_millis(300), ..timing() }).await
    }

    pub(crate) async fn follow_with(&self, timing: Timing) -> (Handle, mpsc::Receiver<Event>) {
        self.follow_within(&ApiLimits::default(), &[Kind::Service], timing).await
    }

    pub(crate) async fn follow_within(
        &self,
        limits: &ApiLimits,
        kinds: &[Kind],
        timing: Timing,
    ) -> (Handle, mpsc::Receiver<Event>) {
        let (sender, events) = mpsc::channel(16);
        let config = Source::Endpoint { url: self.url.clone(), tls: None };
        let handle = source::start_with(&config, kinds, Some("app=web"), limits, sender, timing).await.unwrap();
        (handle, events)
    }
}

/// No list comes as a whole, so that the first is like all others.
pub(crate) fn timing() -> Timing {
    Timing {
        first_whole: Duration::ZERO,
        stream_silence: Duration::from_millis(300),
        backoff_first: Duration::from_millis(20),
        ..Timing::default()
    }
}

pub(crate) async fn requests(log: &Mutex<Vec<String>>, count: usize) -> Vec<String> {
    loop {
        let requests = log.lock().unwrap().clone();
        if requests.len() >= count {
            return requests;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Says an answer to the end. A client that left before it is no failure.
async fn say(mut stream: TcpStream, answer: Answer, log: Arc<Mutex<Vec<String>>>) {
    let Answer { status, content_type, body, later, pieces, gate, hangs } = answer;
    let head = format!("HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
    if let Some((count, body)) = later {
        requests(&log, count).await;
        let _ = stream.write_all(&body).await;
    }
    for piece in pieces {
        if let Some(gate) = &gate {
            gate.acquire().await.unwrap().forget();
        }
        let _ = stream.write_all(&piece).await;
    }
    if hangs {
        std::future::pending::<()>().await;
    }
    let _ = stream.shutdown().await;
}

pub(crate) fn item(name: &str) -> String {
    format!(r#"{{"metadata":{{"name":"{name}","namespace":"n","resourceVersion":"1"}},"spec":{{"clusterIP":"None"}}}}"#)
}

pub(crate) fn page(version: u32, next: &str, items: &[String]) -> Answer {
    let items = items.join(",");
    Answer::full(
        200,
        format!(r#"{{"metadata":{{"resourceVersion":"{version}","continue":"{next}"}},"items":[{items}]}}"#),
    )
}

pub(crate) fn refusal(code: u16, reason: &str) -> String {
    format!(r#"{{"kind":"Status","status":"Failure","code":{code},"reason":"{reason}","message":"said so"}}"#)
}

pub(crate) async fn next(events: &mut mpsc::Receiver<Event>) -> String {
    match tokio::time::timeout(Duration::from_secs(10), events.recv()).await.expect("an event").unwrap() {
        Event::Apply(Object::Service(service) | Object::ServiceImport(service)) => format!("apply {}", service.key),
        Event::Delete(_, key) => format!("delete {key}"),
        Event::Begin(_) => "begin".into(),
        Event::End(_) => "end".into(),
        Event::Triggered(slice, _) => format!("triggered {slice}"),
        Event::Unknown(_) => "unknown".into(),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn expect(events: &mut mpsc::Receiver<Event>, expected: &[&str]) {
    for (at, expected) in expected.iter().enumerate() {
        assert_eq!(next(events).await, *expected, "event {at}");
    }
}

/// An event of an object in a version.
pub(crate) fn event(kind: &str, name: &str, version: u32) -> String {
    let object = item(name).replace(r#"Version":"1""#, &format!(r#"Version":"{version}""#));
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

pub(crate) fn bookmark(version: u32, annotations: &str) -> String {
    format!(
        "{{\"type\":\"BOOKMARK\",\"object\":{{\"metadata\":{{\"resourceVersion\":\"{version}\",\
         \"annotations\":{{{annotations}}}}}}}}}\n"
    )
}

pub(crate) fn end_of_list(version: u32) -> String {
    bookmark(version, r#""k8s.io/initial-events-end":"true""#)
}
