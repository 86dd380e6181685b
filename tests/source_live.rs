//! The source against a real API server: its two formats mean the same, and a list comes as a stream.
// A test may panic; what it lacks is said by the harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use http_body_util::BodyExt;
use podzone::config::{ApiLimits, Source};
use podzone::model::{Cluster, Event, Kind, Object, ObjectKey};
use podzone::source::{self, Timing, read_list, read_watch};
use support::kube::{ControlPlane, Options};
use support::mcs;
use tokio::sync::mpsc;

const LIMIT: Duration = Duration::from_secs(60);
const JSON: &str = "application/json";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

const OBJECTS: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default, labels: {app: web}, annotations: {a: b}}
spec: {clusterIP: 10.96.1.1, selector: {app: web}, ports: [{name: http, port: 80, targetPort: web}, {name: dns, port: 53, protocol: UDP}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: default}
spec: {clusterIP: None, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: default}
spec: {type: ExternalName, externalName: example.com}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints:
- addresses: [10.1.0.1]
  hostname: one
  nodeName: node
  zone: z
  conditions: {ready: true, serving: true, terminating: false}
  targetRef: {kind: Pod, namespace: default, name: web-x}
- addresses: [10.1.0.2]
  conditions: {ready: false}
- addresses: [10.1.0.3]
ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP, appProtocol: x}, {name: all}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: names, namespace: default}
addressType: FQDN
endpoints: [{addresses: [a.example.com]}]
ports: []
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: six, namespace: default}
addressType: IPv6
endpoints: [{addresses: ['fd00::1']}]
ports: [{port: 1, protocol: SCTP}]
---
apiVersion: v1
kind: Pod
metadata: {name: pod, namespace: default, labels: {app: web}}
spec: {containers: [{name: c, image: i}]}
---
apiVersion: multicluster.x-k8s.io/v1alpha1
kind: ServiceImport
metadata: {name: web, namespace: default}
spec: {type: ClusterSetIP, ips: [10.42.0.1], ports: [{name: http, port: 80, protocol: TCP}]}
";

const PATHS: [(Kind, &str); 4] = [
    (Kind::Namespace, "/api/v1/namespaces"),
    (Kind::Service, "/api/v1/services"),
    (Kind::EndpointSlice, "/apis/discovery.k8s.io/v1/endpointslices"),
    (Kind::Pod, "/api/v1/pods"),
];

/// The body and its type; a watch is read until `is_whole`.
async fn fetch(
    client: &kube::Client,
    path: &str,
    accept: &str,
    is_whole: impl Fn(&str, &[u8]) -> bool,
) -> (String, Vec<u8>) {
    let request = http::Request::get(path).header("accept", accept).body(kube::client::Body::empty()).unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(content_type.starts_with(accept.split(';').next().unwrap()), "{content_type} for {accept}");
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while !is_whole(&content_type, &bytes) {
        let Some(piece) = tokio::time::timeout(LIMIT, body.frame()).await.expect("all of it in time") else { break };
        bytes.extend_from_slice(piece.unwrap().data_ref().unwrap());
    }
    (content_type, bytes)
}

#[test]
fn both_formats_of_the_api_server_mean_the_same() {
    let plane = plane();
    runtime().block_on(async {
        let client = plane.client();
        for (kind, path) in PATHS {
            let mut lists = Vec::new();
            let mut watches = Vec::new();
            for format in [JSON, PROTOBUF] {
                let (content_type, body) = fetch(&client, path, format, |_, _| false).await;
                let events = read_list(kind, &content_type, &[&body]).unwrap();
                // However it is cut.
                let octets: Vec<&[u8]> = body.chunks(1).collect();
                assert_eq!(read_list(kind, &content_type, &octets).unwrap(), events);
                lists.push(events);

                let path = format!(
                    "{path}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
                );
                let ends = |content_type: &str, body: &[u8]| {
                    let events = read_watch(kind, content_type, &[body]).unwrap();
                    events.contains(&Event::End(kind))
                };
                let (content_type, body) = fetch(&client, &path, &format!("{format};stream=watch"), ends).await;
                let mut events = read_watch(kind, &content_type, &[&body]).unwrap();
                assert_eq!(events.pop(), Some(Event::End(kind)));
                events.sort_by_key(|event| format!("{event:?}"));
                watches.push(events);
            }
            assert!(lists[0].len() > 2, "{kind}: {:?}", lists[0]);
            assert_eq!(lists[0], lists[1], "{kind}");
            assert_eq!(watches[0], watches[1], "{kind}");
            assert_eq!(watches[0].len(), lists[0].len() - 2, "{kind}");
        }
    });
}

/// Follows the cluster until it has listed all, no list as a whole, and says what it was told.
async fn follow(plane: &ControlPlane, kinds: &[Kind]) -> (source::Handle, mpsc::Receiver<Event>, Vec<Event>) {
    follow_with(plane, kinds, Timing { first_whole: Duration::ZERO, ..Timing::default() }).await
}

async fn follow_with(
    plane: &ControlPlane,
    kinds: &[Kind],
    timing: Timing,
) -> (source::Handle, mpsc::Receiver<Event>, Vec<Event>) {
    let (sender, mut events) = mpsc::channel(16);
    let config = Source::Kubeconfig { path: plane.kubeconfig().into(), context: None };
    let handle = source::start_with(&config, kinds, None, &ApiLimits::default(), sender, timing).await.unwrap();
    let mut seen = Vec::new();
    while seen.iter().filter(|event| matches!(event, Event::End(_))).count() < kinds.len() {
        seen.push(tokio::time::timeout(LIMIT, events.recv()).await.expect("all is listed in time").unwrap());
    }
    (handle, events, seen)
}

#[test]
fn a_list_comes_as_a_stream_and_goes_on_as_the_watch() {
    let plane = plane();
    runtime().block_on(async {
        let (handle, mut events, seen) = follow(&plane, &Kind::ALL).await;
        let mut cluster = Cluster::default();
        seen.into_iter().for_each(|event| cluster.handle(event));
        assert!(cluster.is_synced(&Kind::ALL) && cluster.count(Kind::Service) >= 3);
        assert_eq!(cluster.count(Kind::ServiceImport), 1, "custom resources come in JSON");

        plane.kubectl(&["delete", "service", "alias"], "");
        let event = tokio::time::timeout(LIMIT, events.recv()).await.expect("the change in time").unwrap();
        assert_eq!(event, Event::Delete(Kind::Service, ObjectKey::new("default", "alias")));
        for kind in Kind::ALL {
            let status = listed(&handle, kind).await;
            assert_eq!((status.listings, status.failures, status.malformed), (1, 0, 0), "{kind}: {status:?}");
        }
        // Two requests of podzone's would show a list and a watch.
        let metrics = plane.kubectl(&["get", "--raw", "/metrics"], "");
        let lists = metrics.lines().filter(|line| line.starts_with("apiserver_watch_list_duration_seconds_count"));
        assert!(lists.filter(|line| line.contains("services") || line.contains("endpointslices")).count() >= 2);
    });
}

#[test]
fn a_first_list_as_a_whole_tells_what_a_stream_tells_and_a_watch_goes_on_from_it() {
    let plane = plane();
    runtime().block_on(async {
        let (_streamed, _events, from_stream) = follow(&plane, &Kind::ALL).await;
        let (handle, mut events, from_list) = follow_with(&plane, &Kind::ALL, Timing::default()).await;
        let [from_stream, from_list] = [from_stream, from_list].map(|events| {
            let mut events: Vec<_> = events.iter().map(|event| format!("{event:?}")).collect();
            events.sort();
            events
        });
        assert_eq!(from_list, from_stream);

        plane.kubectl(&["delete", "service", "alias"], "");
        let event = tokio::time::timeout(LIMIT, events.recv()).await.expect("the change in time").unwrap();
        assert_eq!(event, Event::Delete(Kind::Service, ObjectKey::new("default", "alias")));
        for kind in Kind::ALL {
            let status = listed(&handle, kind).await;
            assert_eq!((status.listings, status.failures, status.malformed), (1, 0, 0), "{kind}: {status:?}");
        }
    });
}

#[test]
fn an_api_server_without_streamed_lists_is_listed_in_pages() {
    let plane = start(vec!["--feature-gates=WatchList=false".into()]);
    runtime().block_on(async {
        let (handle, _events, seen) = follow(&plane, &[Kind::Service]).await;
        let services = seen.iter().filter(|event| matches!(event, Event::Apply(Object::Service(_)))).count();
        assert!(services >= 3, "{seen:?}");
        // It refused the stream, which therefore did not begin.
        assert_eq!(seen.iter().filter(|event| matches!(event, Event::Begin(_))).count(), 1);
        let status = listed(&handle, Kind::Service).await;
        assert_eq!((status.listings, status.failures), (1, 0), "{status:?}");
    });
}

/// The state of a kind, whose end was told just before it was noted.
async fn listed(handle: &source::Handle, kind: Kind) -> source::Status {
    loop {
        let status = handle.health().status(kind).unwrap();
        if status.listed {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn plane() -> ControlPlane {
    start(Vec::new())
}

fn start(api_arguments: Vec<String>) -> ControlPlane {
    let plane = ControlPlane::start(Options { api_arguments, ..Options::default() });
    mcs::install(&plane);
    plane.apply(OBJECTS);
    plane
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
