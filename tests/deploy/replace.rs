//! podzone in CoreDNS's place: there and back by the commands of `docs/deploy.md`, and no moment at which nobody answers.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::cluster::{PATIENCE, cluster, deploy, object, objects, wait_until_only};
use super::document;
use super::overlays::assert_rights;
use super::pod::Pod;
use super::support::kube::ControlPlane;
use super::support::namespace::Network;
use super::support::process::{Process, Scratch};
use super::support::server::Program;
use super::support::{peers, wait_for};

/// What kubeadm makes of CoreDNS, as far as it says who answers.
const COREDNS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: coredns, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec:
  replicas: 2
  selector: {matchLabels: {k8s-app: kube-dns}}
  template:
    metadata: {labels: {k8s-app: kube-dns}}
    spec: {containers: [{name: coredns, image: coredns}]}
";

/// The pods behind the Service kube-dns, of which Deployment, that are ready.
fn behind(plane: &ControlPlane) -> Vec<String> {
    let slices = object(plane, "kube-system", "endpointslices");
    let of_service = |slice: &&Value| slice["metadata"]["labels"]["kubernetes.io/service-name"] == "kube-dns";
    let mut pods: Vec<String> = slices["items"].as_array().unwrap().iter().filter(of_service).flat_map(ready).collect();
    pods.sort();
    pods.dedup();
    pods
}

fn ready(slice: &Value) -> Vec<String> {
    let endpoints = slice["endpoints"].as_array().map_or(&[][..], Vec::as_slice);
    let ready = endpoints.iter().filter(|endpoint| endpoint["conditions"]["ready"] == true);
    ready
        .map(|endpoint| endpoint["targetRef"]["name"].as_str().unwrap().split('-').next().unwrap().to_owned())
        .collect()
}

fn wait_for_behind(plane: &ControlPlane, expected: &[&str]) {
    wait_for(&format!("{expected:?} answer"), PATIENCE, || {
        let pods = behind(plane);
        if pods == expected { Ok(()) } else { Err(format!("{pods:?}")) }
    });
}

#[test]
fn there_and_back_while_somebody_answers() {
    let plane = cluster();
    let before = objects(&plane);
    let service = std::fs::read_to_string(deploy("kustomize/overlays/replace/kube-dns.yaml")).unwrap();
    // As kubeadm does it, which is not by applying.
    plane.kubectl(&["create", "-f", "-"], &format!("{COREDNS}---\n{service}"));
    wait_for_behind(&plane, &["coredns"]);
    let of_kubeadm = object(&plane, "kube-system", "service/kube-dns")["spec"].clone();

    // All that ever is in the slices.
    let mut watch = Command::new(peers::binary("kubectl"));
    let selector = "--selector=kubernetes.io/service-name=kube-dns";
    watch.arg("--kubeconfig").arg(plane.kubeconfig()).args([
        "--namespace=kube-system",
        "get",
        "endpointslices",
        selector,
    ]);
    watch.args(["--watch", "--output=json"]).stdin(Stdio::null()).env("HOME", plane.folder());
    let mut watch = Process::spawn("kubectl get --watch", watch, &plane.folder().join("slices"));
    watch.wait_until("it tells of a slice", PATIENCE, || {
        watch_log(&plane).map(|log| !log.is_empty()).unwrap_or_default().then_some(())
    });

    let commands = document::blocks("docs/deploy.md", "In CoreDNS's place");
    let [there, alone, back] = &commands[..] else { panic!("docs/deploy.md: {commands:?}") };
    document::run(&plane, there);
    wait_for_behind(&plane, &["coredns", "podzone"]);
    answers_in_its_place(&plane);
    document::run(&plane, alone);
    wait_for_behind(&plane, &["podzone"]);
    // Nothing of kubeadm's was changed: what an upgrade writes anew is what is there.
    assert_eq!(object(&plane, "kube-system", "service/kube-dns")["spec"], of_kubeadm);
    let of_dns = plane.kubectl(
        &["--namespace=kube-system", "get", "deployments", "--selector=k8s-app=kube-dns", "--output=name"],
        "",
    );
    assert_eq!(of_dns.trim(), "deployment.apps/coredns", "kubeadm upgrade fails where there are two");

    document::run(&plane, back);
    wait_for_behind(&plane, &["coredns"]);
    let slices = watch_log(&plane).unwrap();
    assert!(slices.len() > 3, "{slices:?}");
    assert!(slices.iter().all(|slice| !ready(slice).is_empty()), "nobody answers: {slices:?}");
    assert!(slices.iter().any(|slice| !ready(slice).contains(&"coredns".to_owned())), "{slices:?}");
    watch.kill();
    plane.kubectl(&["delete", "-f", "-"], &format!("{COREDNS}---\n{service}"));
    wait_until_only(&plane, &before, &[]);
}

/// A pod of the overlay's Deployment as it stands, on port 53, with the node's resolver as its upstream: it serves the cluster and the
/// world, and is no loop.
fn answers_in_its_place(plane: &ControlPlane) {
    let network = Network::new();
    let upstream = network.host("upstream.test", Ipv4Addr::new(10, 244, 0, 9), &[]);
    let folder = Scratch::new();
    let corefile = folder.path().join("Corefile");
    std::fs::write(&corefile, ".:53 {\n hosts {\n  192.0.2.7 www.example.org\n }\n}\n").unwrap();
    let mut command = upstream.command(&Program::CoreDns.path().to_string_lossy());
    command.arg("-conf").arg(&corefile);
    let _upstream = Process::spawn("the node's resolver", command, &folder.path().join("log"));
    let place = ("podzone-1", Ipv4Addr::new(10, 244, 0, 2));
    let mut pod = Pod::run(plane, &network, ("kube-system", "podzone"), place, &[upstream.address()]);
    pod.wait_until_ready();
    assert_eq!(pod.port("dns"), "53");
    assert_rights(plane, "kube-system", "podzone", &[]);
    for (name, address) in [
        ("kube-dns.kube-system.svc.cluster.local", "10.96.0.10"),
        ("10-1-2-3.default.pod.cluster.local", "10.1.2.3"),
        ("www.example.org", "192.0.2.7"),
    ] {
        wait_for(name, PATIENCE, || {
            let answer = pod.dig(&["+short", name, "A"]);
            if answer.trim() == address { Ok(()) } else { Err(format!("{answer}\n{}", pod.log())) }
        });
    }
    let targets = pod.dig(&["+short", "+tcp", "_dns._udp.kube-dns.kube-system.svc.cluster.local", "SRV"]);
    assert!(targets.contains(" kube-dns.kube-system.svc.cluster.local."), "{targets}");
    pod.stop();
}

/// The states of the slice as they were told, the last perhaps left out while it is written.
fn watch_log(plane: &ControlPlane) -> Option<Vec<Value>> {
    let text = std::fs::read_to_string(plane.folder().join("slices")).ok()?;
    Some(serde_json::Deserializer::from_str(&text).into_iter::<Value>().map_while(Result::ok).collect())
}
