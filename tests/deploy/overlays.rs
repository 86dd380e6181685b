//! Each overlay applied for real, and podzone run as its Deployment says, with its ServiceAccount and its Corefile as they stand.

use std::net::Ipv4Addr;

use super::cluster::{cluster, deploy, objects, rendered, wait_until_only};
use super::pod::Pod;
use super::support::kube::ControlPlane;
use super::support::namespace::Network;
use super::{BEAM, BEAM_NAME};

/// What every overlay may, and what each adds.
const RIGHTS: [&str; 3] = ["namespaces", "services", "endpointslices.discovery.k8s.io"];
const OVERLAYS: [(&str, &[&str]); 3] =
    [("forwarded", &[]), ("pods-verified", &["pods"]), ("multicluster", &["serviceimports.multicluster.x-k8s.io"])];

const IMPORT: &str = "
apiVersion: multicluster.x-k8s.io/v1alpha1
kind: ServiceImport
metadata: {name: web, namespace: shop}
spec: {type: ClusterSetIP, ips: [10.42.42.42], ports: [{name: http, port: 80, protocol: TCP}]}
---
apiVersion: v1
kind: Pod
metadata: {name: beam-x, namespace: shop}
spec: {containers: [{name: beam, image: beam}]}
";

/// That an account may do exactly this, beside what every account may.
pub(crate) fn assert_rights(plane: &ControlPlane, namespace: &str, account: &str, more: &[&str]) {
    let who = format!("--as=system:serviceaccount:{namespace}:{account}");
    let list = plane.kubectl(&["auth", "can-i", "--list", &who, "--namespace", namespace, "--no-headers"], "");
    let mut rights: Vec<_> = list
        .lines()
        .filter(|line| !line.starts_with(' ') && !line.contains("selfsubject"))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let mut expected: Vec<_> = RIGHTS.iter().chain(more).map(|of| format!("{of} [] [] [list watch]")).collect();
    rights.sort();
    expected.sort();
    assert_eq!(rights, expected, "{list}");
}

#[test]
fn each_overlay_runs_with_what_it_is_granted() {
    let plane = cluster();
    let before = objects(&plane);
    plane.apply(BEAM);
    plane.apply(IMPORT);
    let network = Network::new();
    for (number, (overlay, more)) in OVERLAYS.into_iter().enumerate() {
        plane.apply(&std::fs::read_to_string(deploy("kustomize/base/namespace.yaml")).unwrap());
        plane.apply(&rendered(&plane, overlay));
        assert_rights(&plane, "podzone", "podzone", more);
        plane.kubectl(&["--namespace=podzone", "rollout", "status", "deployment/podzone", "--timeout=120s"], "");
        let address = Ipv4Addr::new(10, 244, 0, 2 + u8::try_from(number).unwrap());
        let mut pod = Pod::run(&plane, &network, ("podzone", "podzone"), (overlay, address), &[]);
        pod.wait_until_ready();
        let answer = pod.dig(&["+short", BEAM_NAME, "SRV"]);
        assert!(answer.contains(" beam-x.beam.shop.svc.cluster.local."), "{overlay}: {answer}");
        // kwok's first address is as good as any.
        let of_pod = super::cluster::object(&plane, "shop", "pod/beam-x")["status"]["podIP"].clone();
        let dashed = format!("{}.shop.pod.cluster.local", of_pod.as_str().unwrap().replace('.', "-"));
        let import = pod.dig(&["web.shop.svc.clusterset.local", "A"]);
        match overlay {
            "pods-verified" => {
                assert_eq!(pod.dig(&["+short", &dashed, "A"]).trim(), of_pod, "{dashed}");
                assert!(pod.dig(&["10-9-9-9.shop.pod.cluster.local", "A"]).contains("NXDOMAIN"));
            }
            "multicluster" => assert!(import.contains("10.42.42.42"), "{import}"),
            _ => assert!(import.contains("REFUSED"), "{import}"),
        }
        pod.stop();
        plane.kubectl(&["delete", "--wait=true", "-f", "-"], &rendered(&plane, overlay));
    }
    plane.kubectl(&["delete", "namespace", "shop"], "");
    wait_until_only(&plane, &before, &[]);
}
