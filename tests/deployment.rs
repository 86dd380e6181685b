//! The goal: every pod of a Deployment has a name that equals its own FQDN, and the name lives as long as the pod.
//!
//! Real controllers make the pods and their EndpointSlices; the same scenario runs on CoreDNS, so that it is known to
//! hold what it claims.
// A test may panic; what it lacks is said by the harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;
use support::dns::{self, Query};
use support::kube::{ControlPlane, Options};
use support::server::{Program, Server};
use support::wait_for;

const FOLLOWS_WITHIN: Duration = Duration::from_secs(30);

const COREFILE: &str = "
cluster.local in-addr.arpa {
    errors
    kubernetes cluster.local in-addr.arpa {
        kubeconfig {kubeconfig}
        endpoint_pod_names
    }
}
";

#[test]
fn coredns_names_the_pods_of_a_deployment() {
    scenario(Program::CoreDns, "on-coredns");
}

#[test]
fn podzone_names_the_pods_of_a_deployment() {
    scenario(Program::Podzone, "on-podzone");
}

fn scenario(program: Program, namespace: &'static str) {
    let plane = control_plane();
    plane.apply(&manifests(namespace));
    let server = program.start(&COREFILE.replace("{kubeconfig}", &plane.kubeconfig().to_string_lossy()));
    let shop = Shop { plane, server, namespace };

    shop.rolled_out();
    let first = shop.follows(20);
    shop.dig_agrees(&first);

    shop.kubectl(&[
        "patch",
        "deployment",
        "web",
        "--patch",
        r#"{"spec":{"template":{"metadata":{"annotations":{"round":"2"}}}}}"#,
    ]);
    shop.rolled_out();
    let second = shop.follows(20);
    assert!(first.keys().all(|name| !second.contains_key(name)), "a rollout replaces every pod");
    shop.are_gone(first.keys());

    shop.kubectl(&["scale", "deployment", "web", "--replicas=3"]);
    let third = shop.follows(3);
    assert!(third.keys().all(|name| second.contains_key(name)), "scaling down only removes pods");
    shop.are_gone(second.keys().filter(|name| !third.contains_key(*name)));

    shop.kubectl(&["scale", "deployment", "web", "--replicas=0"]);
    shop.are_gone(third.keys());
    shop.are_gone([&shop.service()]);

    shop.kubectl(&["scale", "deployment", "web", "--replicas=2"]);
    let last = shop.follows(2);
    shop.kubectl(&["delete", "deployment/web", "service/web"]);
    shop.are_gone(last.keys());
    shop.are_gone([&shop.service()]);
}

/// One control plane with controllers and fake kubelets for all tests of this crate.
fn control_plane() -> &'static ControlPlane {
    static PLANE: OnceLock<ControlPlane> = OnceLock::new();
    PLANE.get_or_init(|| {
        let mut plane = ControlPlane::start(Options::default());
        plane.start_controllers();
        plane.start_kwok();
        plane.apply(NODE);
        plane
    })
}

const NODE: &str = "
apiVersion: v1
kind: Node
metadata:
  name: fake
  annotations: {kwok.x-k8s.io/node: fake}
status:
  allocatable: {cpu: 64, memory: 256Gi, pods: 1000}
  capacity: {cpu: 64, memory: 256Gi, pods: 1000}
";

fn manifests(namespace: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: {namespace}}}
spec:
  clusterIP: None
  selector: {{app: web}}
  ports: [{{name: http, port: 80}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: {namespace}}}
spec:
  replicas: 20
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      subdomain: web
      # No scheduler runs.
      nodeName: fake
      terminationGracePeriodSeconds: 1
      containers: [{{name: web, image: web}}]
"
    )
}

/// The Deployment and Service `web` in one namespace, and the server that names its pods.
struct Shop {
    plane: &'static ControlPlane,
    server: Server,
    namespace: &'static str,
}

impl Shop {
    fn kubectl(&self, arguments: &[&str]) -> String {
        self.plane.kubectl(&[&["--namespace", self.namespace], arguments].concat(), "")
    }

    fn rolled_out(&self) {
        self.kubectl(&["rollout", "status", "deployment/web", "--timeout=120s"]);
    }

    fn service(&self) -> String {
        format!("web.{}.svc.cluster.local.", self.namespace)
    }

    /// The FQDN of each Ready pod, as its kubelet gives it, with its address.
    fn pods(&self) -> BTreeMap<String, String> {
        let list: serde_json::Value =
            serde_json::from_str(&self.kubectl(&["get", "pods", "--selector=app=web", "--output=json"])).unwrap();
        let ready = |pod: &&serde_json::Value| {
            let conditions = pod["status"]["conditions"].as_array();
            pod["metadata"]["deletionTimestamp"].is_null()
                && conditions.is_some_and(|all| all.iter().any(|it| it["type"] == "Ready" && it["status"] == "True"))
        };
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(ready)
            .map(|pod| {
                let name = pod["metadata"]["name"].as_str().unwrap();
                let hostname = &name[..name.len().min(63)];
                let hostname = hostname.trim_end_matches(['-', '.']);
                let subdomain = pod["spec"]["subdomain"].as_str().unwrap();
                let fqdn = format!("{hostname}.{subdomain}.{}.svc.cluster.local.", self.namespace);
                (fqdn, pod["status"]["podIP"].as_str().unwrap().to_owned())
            })
            .collect()
    }

    /// Waits until there are this many pods and the server names exactly them; gives names and addresses.
    fn follows(&self, count: usize) -> BTreeMap<String, String> {
        wait_for(&format!("{:?} names {count} pods", self.server.program), FOLLOWS_WITHIN, || {
            let pods = self.pods();
            let targets = self.targets();
            self.advertised_resolve(&targets);
            if pods.len() != count {
                return Err(format!("the API has {} Ready pods\n{}", pods.len(), self.plane.logs()));
            }
            if !targets.iter().eq(pods.keys()) {
                return Err(format!("targets: {targets:#?}\npods: {pods:#?}\n{}", self.server.log()));
            }
            for (name, address) in &pods {
                let answer = self.server.ask(name, dns::A);
                if answer.data_of(dns::A) != [address.clone()] {
                    return Err(format!("{name} is {address}, not {answer}"));
                }
                let reverse = address.split('.').rev().collect::<Vec<_>>().join(".");
                let answer = self.server.ask(&format!("{reverse}.in-addr.arpa."), dns::PTR);
                if answer.data_of(dns::PTR) != [name.clone()] {
                    return Err(format!("{address} is {name}, not {answer}"));
                }
            }
            Ok(pods)
        })
    }

    /// The targets of the named port's SRV records.
    fn targets(&self) -> BTreeSet<String> {
        let question = Query::new(&format!("_http._tcp.{}", self.service()), dns::SRV);
        let answer = dns::ask_tcp(self.server.addr(), &question).expect("an answer over TCP");
        let target = |data: String| data.split(' ').next_back().unwrap().to_owned();
        answer.data_of(dns::SRV).into_iter().map(target).collect()
    }

    /// At any time, also within a rollout: what is advertised resolves.
    fn advertised_resolve(&self, targets: &BTreeSet<String>) {
        for name in targets {
            // A pod may go between the two questions; then it is no longer advertised either.
            if self.server.ask(name, dns::A).data_of(dns::A).is_empty() {
                assert!(!self.targets().contains(name), "{name} is advertised, and does not resolve");
            }
        }
    }

    /// Waits until none of these names exists.
    fn are_gone<'a>(&self, names: impl IntoIterator<Item = &'a String>) {
        for name in names {
            wait_for(&format!("{name} is gone"), FOLLOWS_WITHIN, || {
                let answer = self.server.ask(name, dns::A);
                if answer.rcode == dns::NXDOMAIN { Ok(()) } else { Err(answer.to_string()) }
            });
        }
    }

    /// What a user would type.
    fn dig_agrees(&self, pods: &BTreeMap<String, String>) {
        let (name, address) = pods.first_key_value().unwrap();
        for transport in ["+notcp", "+tcp"] {
            assert_eq!(self.dig(&[transport, "+short", name, "A"]), std::slice::from_ref(address));
            let lines = self.dig(&[transport, "+short", &self.service(), "SRV"]);
            let targets: BTreeSet<_> = lines.iter().filter_map(|line| line.split(' ').next_back()).collect();
            assert!(targets.into_iter().eq(pods.keys()), "dig {transport}: {lines:#?}");
        }
    }

    fn dig(&self, arguments: &[&str]) -> Vec<String> {
        let address = self.server.addr();
        let output = Command::new("dig")
            .args([&format!("@{}", address.ip()), "-p", &address.port().to_string()])
            .args(arguments)
            // Not the configuration of whoever runs the tests.
            .env("HOME", self.plane.folder())
            .output()
            .expect("dig: run `make setup` (tests/peers/install)");
        assert!(output.status.success(), "dig {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}
