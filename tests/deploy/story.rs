//! The whole way: the chart installed, an application's Deployment rolled out by the real controllers, its pods found by name, and
//! nothing left when all is uninstalled.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde_json::Value;

use super::chart::values;
use super::cluster::{PATIENCE, cluster, helm_on, objects, root, wait_until_only};
use super::document;
use super::pod::Pod;
use super::support::kube::ControlPlane;
use super::support::namespace::Network;
use super::support::wait_for;

const SERVICE: &str = "peers.default.svc.cluster.local";

#[test]
fn the_pods_of_a_deployment_find_each_other_by_name() {
    let plane = cluster();
    let before = objects(&plane);
    let commands = document::blocks("docs/deploy.md", "In a cluster");
    assert_eq!(document::blocks("README.md", "Use it on a cluster")[..2], commands);
    assert_eq!(document::blocks("deploy/chart/README.md", "Helm chart"), commands[1..]);
    let said = document::run(&plane, &commands[1]);
    assert!(said.contains("forward . 10.96.0.53"), "{said}");
    plane.kubectl(&["--namespace=podzone", "rollout", "status", "deployment/podzone", "--timeout=120s"], "");

    let network = Network::new();
    let place = ("podzone-1", Ipv4Addr::new(10, 244, 0, 2));
    let mut pod = Pod::run(&plane, &network, ("podzone", "podzone"), place, &[]);
    pod.wait_until_ready();

    let example = root().join("examples/erlang/manifest.yaml").display().to_string();
    plane.kubectl(&["apply", "--server-side", "-f", &example], "");
    let first = rolled_out(&plane, &pod, 3);
    // Any peer's address points back to the name that the pod gives itself.
    let name = first.first().unwrap();
    let address = pod.dig(&["+short", name, "A"]);
    assert_eq!(pod.dig(&["+short", "-x", address.trim()]).trim(), name);

    plane.kubectl(&["rollout", "restart", "deployment/peers"], "");
    let second = rolled_out(&plane, &pod, 3);
    assert!(first.is_disjoint(&second), "{first:?} {second:?}");
    for name in &first {
        assert!(pod.dig(&[name, "A"]).contains("NXDOMAIN"), "{name} is gone");
    }
    // A change of values is put to work, and the ConfigMap's change alone rolls nothing out: `reload` is for that.
    let upgrade =
        ["upgrade", "podzone", "deploy/chart", "--namespace", "podzone", "--values", &values("pods-verified")];
    let revision = |plane: &ControlPlane| {
        super::cluster::object(plane, "podzone", "deployment/podzone")["metadata"]["generation"].clone()
    };
    let (generation, _) = (revision(&plane), helm_on(&plane, &[&upgrade[..], &["--wait", "--timeout=120s"]].concat()));
    assert_eq!(revision(&plane), generation);

    pod.stop();
    plane.kubectl(&["delete", "-f", &example], "");
    helm_on(&plane, &["uninstall", "podzone", "--namespace", "podzone", "--wait"]);
    wait_until_only(&plane, &before, &["Namespace <none> podzone"]);
    plane.kubectl(&["delete", "namespace", "podzone"], "");
    wait_until_only(&plane, &before, &[]);
}

/// Waits until the Deployment is rolled out and DNS has exactly its pods, each under the FQDN that its kubelet gives it; gives these.
fn rolled_out(plane: &ControlPlane, pod: &Pod, count: usize) -> BTreeSet<String> {
    plane.kubectl(&["rollout", "status", "deployment/peers", "--timeout=120s"], "");
    wait_for("DNS has the pods of the Deployment", PATIENCE, || {
        let list = plane.kubectl(&["get", "pods", "--selector=app=peers", "--output=json"], "");
        let list: Value = serde_json::from_str(&list).unwrap();
        let alive =
            list["items"].as_array().unwrap().iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let fqdns: BTreeSet<String> = alive
            .map(|pod| {
                let word = |at: &str| pod.pointer(at).and_then(Value::as_str).unwrap_or_default();
                format!("{}.{}.default.svc.cluster.local.", word("/metadata/name"), word("/spec/subdomain"))
            })
            .collect();
        let told = pod.dig(&["+short", "+tcp", SERVICE, "SRV"]);
        let told: BTreeSet<String> =
            told.lines().filter_map(|line| line.rsplit(' ').next()).map(str::to_owned).collect();
        if told == fqdns && told.len() == count { Ok(told) } else { Err(format!("{told:?} {fqdns:?}\n{}", pod.log())) }
    })
}
