//! Multicluster zones on a real API server: with and without the custom resource that they are made of.
// A test may panic; what it lacks is said by the harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use support::dns::{A, NOERROR, NXDOMAIN, SERVFAIL, SRV, TXT};
use support::kube::rights::{SERVICES, SLICES, podzone_rights};
use support::kube::{ControlPlane, Options};
use support::mcs;
use support::server::{Program, Server};
use support::{page, wait_for};

/// The longest wait of a source between attempts is 30 s.
const RECOVERS_WITHIN: Duration = Duration::from_secs(60);

fn corefile(kubeconfig: &Path, startup_timeout: &str) -> String {
    format!(
        "cluster.local clusterset.local {{\n errors\n ready 127.0.0.1:{{port:ready}}\n \
         prometheus 127.0.0.1:{{port:metrics}}\n kubernetes {{\n  kubeconfig {}\n  \
         multicluster clusterset.local\n  startup_timeout {startup_timeout}\n }}\n}}\n",
        kubeconfig.display()
    )
}

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.96.1.1, ports: [{name: http, port: 80}]}
";

const IMPORTS: &str = "
apiVersion: multicluster.x-k8s.io/v1alpha1
kind: ServiceImport
metadata: {name: web, namespace: default}
spec: {type: ClusterSetIP, ips: [10.42.42.42], ports: [{name: http, port: 80, protocol: TCP}]}
---
apiVersion: multicluster.x-k8s.io/v1alpha1
kind: ServiceImport
metadata: {name: beam, namespace: default}
spec: {type: Headless, ports: [{name: epmd, port: 4369, protocol: TCP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: imported-beam-east
  namespace: default
  labels: {multicluster.kubernetes.io/service-name: beam, multicluster.kubernetes.io/source-cluster: east}
addressType: IPv4
endpoints: [{addresses: [10.244.1.1], hostname: pod-1}]
ports: [{name: epmd, port: 4369}]
";

fn expect(server: &Server, name: &str, rcode: u16, data: &[&str]) {
    wait_for(&format!("{name} is {rcode} {data:?}"), RECOVERS_WITHIN, || {
        let answer = server.ask(name, A);
        if answer.rcode == rcode && answer.data_of(A) == data { Ok(()) } else { Err(answer.to_string()) }
    });
}

/// Status and body of a page.
fn get(server: &Server, port: &str, path: &str) -> (u16, String) {
    let (status, _, body) = page::get(server.addr_of(port), path).expect("the page");
    (status, body)
}

#[test]
fn a_cluster_without_service_imports_loses_only_their_zone_until_it_has_them() {
    let plane = ControlPlane::start(Options::default());
    plane.apply(SERVICE);
    let begun = Instant::now();
    let server = Program::Podzone.start(&corefile(plane.kubeconfig(), "10m"));
    assert!(begun.elapsed() < Duration::from_secs(25), "it waits for what is not there: {:?}", begun.elapsed());
    expect(&server, "web.default.svc.cluster.local.", NOERROR, &["10.96.1.1"]);
    expect(&server, "never.default.svc.cluster.local.", NXDOMAIN, &[]);
    for name in ["web.default.svc.clusterset.local.", "clusterset.local.", "never.clusterset.local."] {
        expect(&server, name, SERVFAIL, &[]);
    }
    let (status, body) = get(&server, "ready", "/ready");
    assert_eq!((status, &*body), (200, "OK\nclusterset.local.: not served, the API server has no ServiceImports\n"));
    // CoreDNS denies nothing in any zone, and is not ready.
    let theirs = Program::CoreDns.start(&corefile(plane.kubeconfig(), "1s"));
    expect(&theirs, "web.default.svc.cluster.local.", NOERROR, &["10.96.1.1"]);
    expect(&theirs, "never.default.svc.cluster.local.", SERVFAIL, &[]);
    assert_eq!(get(&theirs, "ready", "/ready").0, 503);
    drop(theirs);
    let log = server.log();
    let said = log.matches("cannot list serviceimports.multicluster.x-k8s.io: 404").count();
    assert_eq!(said, 1, "{log}");
    let metrics = get(&server, "metrics", "/metrics").1;
    let synced = |zone: &str| {
        let line = metrics.lines().find(|it| it.starts_with("podzone_synced{") && it.contains(&format!("\"{zone}\"")));
        line.unwrap_or_else(|| panic!("podzone_synced of {zone}: {metrics}")).ends_with(" 1")
    };
    assert!(synced("cluster.local.") && !synced("clusterset.local."));

    mcs::install(&plane);
    plane.apply(IMPORTS);
    expect(&server, "web.default.svc.clusterset.local.", NOERROR, &["10.42.42.42"]);
    expect(&server, "never.default.svc.clusterset.local.", NXDOMAIN, &[]);
    expect(&server, "pod-1.east.beam.default.svc.clusterset.local.", NOERROR, &["10.244.1.1"]);
    let answer = server.ask("_epmd._tcp.beam.default.svc.clusterset.local.", SRV);
    assert_eq!(answer.data_of(SRV), ["0 100 4369 pod-1.east.beam.default.svc.clusterset.local."], "{answer}");
    assert_eq!(server.ask("dns-version.clusterset.local.", TXT).data_of(TXT), ["\"1.0.0\""]);
    assert_eq!(server.ask("dns-version.cluster.local.", TXT).data_of(TXT), ["\"1.1.0\""]);
    assert_eq!(get(&server, "ready", "/ready"), (200, "OK".into()));
    expect(&server, "web.default.svc.cluster.local.", NOERROR, &["10.96.1.1"]);
    let log = server.log();
    assert!(!log.contains("answers in JSON"), "custom resources say nothing of the API server: {log}");

    // What is there is followed, and taken away again.
    plane.apply(&IMPORTS.replace("10.42.42.42", "10.42.42.43"));
    expect(&server, "web.default.svc.clusterset.local.", NOERROR, &["10.42.42.43"]);
    plane.kubectl(&["delete", "serviceimport/web"], "");
    expect(&server, "web.default.svc.clusterset.local.", NXDOMAIN, &[]);
    expect(&server, "web.default.svc.cluster.local.", NOERROR, &["10.96.1.1"]);
}

#[test]
fn without_the_right_to_list_service_imports_it_is_not_ready_and_says_why() {
    let plane = ControlPlane::start(Options::default());
    mcs::install(&plane);
    plane.apply(SERVICE);
    plane.apply(IMPORTS);
    plane.apply(&podzone_rights(&[SERVICES, SLICES, &imports("serviceexports")]));
    let token = plane.kubectl(&["create", "token", "podzone", "--namespace", "default"], "");
    let kubeconfig = plane.kubeconfig_with_token(token.trim());
    let server = Program::Podzone.start(&corefile(&kubeconfig, "1s"));
    expect(&server, "web.default.svc.cluster.local.", NOERROR, &["10.96.1.1"]);
    expect(&server, "never.default.svc.cluster.local.", NXDOMAIN, &[]);
    expect(&server, "web.default.svc.clusterset.local.", SERVFAIL, &[]);
    let (status, body) = get(&server, "ready", "/ready");
    let reason = body.lines().find(|line| line.contains("ServiceImport: not listed")).unwrap_or_default();
    assert_eq!(status, 503, "{body}");
    assert!(reason.contains("which clusterset.local. are made of") && reason.contains("forbidden"), "{body}");

    // No more rights than these are needed.
    plane.apply(&podzone_rights(&[SERVICES, SLICES, &imports("serviceimports")]));
    expect(&server, "web.default.svc.clusterset.local.", NOERROR, &["10.42.42.42"]);
    assert_eq!(get(&server, "ready", "/ready"), (200, "OK".into()));
}

fn imports(resource: &str) -> String {
    format!("{{apiGroups: [multicluster.x-k8s.io], resources: [{resource}], verbs: [list, watch]}}")
}
