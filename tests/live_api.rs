//! What podzone does while its API server is away, forgets, or denies.
// A test may panic; what it lacks is said by the harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use support::dns::Message;
use support::dns::{A, NOERROR, NXDOMAIN, SERVFAIL, SOA};
use support::kube::rights::{SERVICES, SLICES, podzone_rights};
use support::kube::{ControlPlane, Options};
use support::server::{Program, Server};
use support::wait_for;

/// The longest wait of a source between attempts is 30 s.
const RECOVERS_WITHIN: Duration = Duration::from_secs(60);

fn corefile(kubeconfig: &std::path::Path) -> String {
    format!(
        "cluster.local {{\n errors\n kubernetes {{\n  kubeconfig {}\n  startup_timeout 1s\n }}\n}}\n",
        kubeconfig.display()
    )
}

fn service(name: &str, address: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\n\
         spec: {{clusterIP: {address}, ports: [{{port: 80}}]}}\n"
    )
}

fn ask(server: &Server, name: &str) -> Message {
    server.ask(&format!("{name}.default.svc.cluster.local."), A)
}

fn expect(server: &Server, name: &str, rcode: u16, data: &[&str]) {
    wait_for(&format!("{name} is {data:?}"), RECOVERS_WITHIN, || {
        let answer = ask(server, name);
        if answer.rcode == rcode && answer.data_of(A) == data { Ok(()) } else { Err(answer.to_string()) }
    });
}

#[test]
fn an_api_server_that_is_away_takes_no_name_with_it_and_what_it_missed_is_repaired() {
    // Without its watch cache the API server forgets what etcd forgets.
    let mut plane = ControlPlane::start(Options {
        api_arguments: vec!["--watch-cache=false".into(), "--etcd-compaction-interval=0".into()],
        ..Options::default()
    });
    plane.apply(&service("stays", "10.96.1.1"));
    plane.apply(&service("goes", "10.96.1.2"));
    let server = Program::Podzone.start(&corefile(plane.kubeconfig()));
    expect(&server, "stays", NOERROR, &["10.96.1.1"]);
    assert!(!server.log().contains("answers in JSON"), "the API server has protobuf: {}", server.log());
    let serial = |server: &Server| server.ask("cluster.local.", SOA).data_of(SOA);
    let before = serial(&server);

    plane.stop_api();
    wait_for("the outage is logged", RECOVERS_WITHIN, || {
        let log = server.log();
        if log.contains("what is known is still served") { Ok(()) } else { Err(log) }
    });
    expect(&server, "stays", NOERROR, &["10.96.1.1"]);
    expect(&server, "never", NXDOMAIN, &[]);

    plane.start_api();
    plane.kubectl(&["delete", "service", "goes"], "");
    plane.apply(&service("comes", "10.96.1.3"));
    expect(&server, "comes", NOERROR, &["10.96.1.3"]);
    expect(&server, "goes", NXDOMAIN, &[]);
    expect(&server, "stays", NOERROR, &["10.96.1.1"]);
    assert_ne!(serial(&server), before, "the serial moves with the content");
}

#[test]
fn what_the_api_server_denies_is_named_and_until_it_is_granted_nothing_is_denied() {
    let plane = ControlPlane::start(Options::default());
    plane.apply(&service("web", "10.96.1.1"));
    plane.apply(&podzone_rights(&[
        SERVICES,
        "{apiGroups: [discovery.k8s.io], resources: [endpoints], verbs: [list, watch]}",
    ]));
    let token = plane.kubectl(&["create", "token", "podzone", "--namespace", "default"], "");
    let kubeconfig = plane.kubeconfig_with_token(token.trim());
    let server = Program::Podzone.start(&corefile(&kubeconfig));

    wait_for("the denial is logged", RECOVERS_WITHIN, || {
        let log = server.log();
        if log.contains("cannot list endpointslices") && log.contains("forbidden") { Ok(()) } else { Err(log) }
    });
    expect(&server, "web", NOERROR, &["10.96.1.1"]);
    expect(&server, "never", SERVFAIL, &[]);

    plane.apply(&podzone_rights(&[SERVICES, SLICES]));
    expect(&server, "never", NXDOMAIN, &[]);
}
