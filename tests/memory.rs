//! What a cluster took comes back when it is gone: an allocator that keeps what was freed makes the size of yesterday's
//! cluster today's limit.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fmt::Write as _;
use std::time::Duration;

use support::held::resident_kib;
use support::process::Scratch;
use support::server::{Program, Server};
use support::{dns, wait_for};

/// Enough to tell them from what a process takes for itself.
const SERVICES: usize = 2000;
const ENDPOINTS: usize = 40;
/// Freed memory is given back within some seconds (`JEMALLOC_SYS_WITH_MALLOC_CONF` in `.cargo/config.toml`).
const PATIENCE: Duration = Duration::from_secs(60);

/// A Service and its slice, as JSON, of which a folder may hold many a file.
fn service(number: usize) -> String {
    let mut endpoints = String::new();
    for endpoint in 0..ENDPOINTS {
        let (high, low) = ((number * ENDPOINTS + endpoint) >> 8, (number * ENDPOINTS + endpoint) & 0xff);
        let (second, third) = (high >> 8, high & 0xff);
        let comma = if endpoint == 0 { "" } else { "," };
        write!(
            endpoints,
            r#"{comma}{{"addresses":["10.{second}.{third}.{low}"],"targetRef":{{"kind":"Pod","name":"web-{number}-7c9d8f6b5d-{endpoint:05}"}}}}"#
        )
        .unwrap();
    }
    format!(
        r#"{{"apiVersion":"v1","kind":"Service","metadata":{{"name":"s{number}","namespace":"a"}},"spec":{{"clusterIP":"None"}}}}
{{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{{"name":"s{number}-1","namespace":"a","labels":{{"kubernetes.io/service-name":"s{number}"}}}},"addressType":"IPv4","endpoints":[{endpoints}],"ports":[{{"name":"http","port":80}}]}}
"#
    )
}

fn has(server: &Server, name: &str) -> bool {
    !server.ask(name, dns::A).answers.is_empty()
}

#[test]
fn memory_of_what_is_deleted_comes_back() {
    let scratch = Scratch::new();
    let objects = scratch.path().join("objects");
    std::fs::create_dir(&objects).unwrap();
    std::fs::write(objects.join("first.json"), service(0)).unwrap();
    let corefile = format!(
        "cluster.local {{\n bind 127.0.0.1\n kubernetes {{\n manifests {}\n endpoint_pod_names\n }}\n}}\n",
        objects.display()
    );
    let mut server = Program::Podzone.start(&corefile);
    let empty = resident_kib(server.process().id());

    let last = format!("s{}.a.svc.cluster.local", SERVICES - 1);
    let rest: String = (1..SERVICES).map(service).collect();
    std::fs::write(scratch.path().join("rest"), rest).unwrap();
    std::fs::rename(scratch.path().join("rest"), objects.join("rest.json")).unwrap();
    wait_for("the last Service", PATIENCE, || has(&server, &last).then_some(()).ok_or_else(String::new));
    let full = resident_kib(server.process().id());
    assert!(full > empty + 8 * 1024, "{full} KiB full, {empty} KiB empty: too little to say anything");

    std::fs::remove_file(objects.join("rest.json")).unwrap();
    wait_for("the deletes", PATIENCE, || (!has(&server, &last)).then_some(()).ok_or_else(String::new));
    let after = wait_for("half of the memory comes back", PATIENCE, || {
        let after = resident_kib(server.process().id());
        let is_back = (after - empty.min(after)) * 2 < full - empty;
        is_back.then_some(after).ok_or_else(|| format!("{empty} KiB empty, {full} KiB full, {after} KiB now"))
    });
    assert!(has(&server, "s0.a.svc.cluster.local"));
    println!("{empty} KiB empty, {full} KiB full, {after} KiB after all was deleted");
}
