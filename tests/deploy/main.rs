//! What `deploy/` says, on a real API server: every object is accepted without a warning, the rights are enough and none is
//! too much, the shipped Corefiles are served as they stand but for addresses, and CoreDNS forwards by the shipped blocks.
// A test may panic; what it lacks is said by the harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod chart;
mod clients;
mod cluster;
mod document;
mod examples;
mod front;
mod overlays;
mod pod;
mod replace;
mod story;
#[path = "../support/mod.rs"]
mod support;
#[path = "../erlang_endures/way.rs"]
mod way;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::dns::{self, A, PTR, Query, SRV};
use support::kube::{ControlPlane, Options};
use support::server::{Program, Server};
use support::{page, wait_for};

const OVERLAYS: [&str; 3] = ["forwarded", "pods-verified", "multicluster"];
const PATIENCE: Duration = Duration::from_secs(60);
/// The address of podzone's Service in the shipped blocks of CoreDNS.
const SERVICE_ADDRESS: &str = "10.96.0.53";

/// A headless Service of two pods, as the controllers write it.
const BEAM: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: beam, namespace: shop}
spec: {clusterIP: None, ports: [{name: epmd, port: 4369}]}
---
apiVersion: v1
kind: Service
metadata: {name: docs, namespace: shop}
spec: {type: ExternalName, externalName: beam.shop.svc.cluster.local}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: beam-1, namespace: shop, labels: {kubernetes.io/service-name: beam}}
addressType: IPv4
ports: [{name: epmd, port: 4369, protocol: TCP}]
endpoints:
- {addresses: [10.244.1.1], conditions: {ready: true}, targetRef: {kind: Pod, name: beam-x, namespace: shop}}
- {addresses: [10.244.1.2], conditions: {ready: true}, targetRef: {kind: Pod, name: beam-y, namespace: shop}}
";
const BEAM_NAME: &str = "beam.shop.svc.cluster.local.";

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

fn rendered(plane: &ControlPlane, overlay: &str) -> String {
    plane.kubectl(&["kustomize", &deploy(&format!("kustomize/overlays/{overlay}")).display().to_string()], "")
}

/// A Corefile of an overlay, as podzone's ConfigMap has it after it was applied: with other ports, at this address, from this
/// API server, and with the snapshot in the server's folder.
fn corefile(plane: &ControlPlane, kubeconfig: &Path, more: &str) -> String {
    let text = plane
        .kubectl(&["--namespace", "podzone", "get", "configmap", "podzone", "--output=jsonpath={.data.Corefile}"], "");
    let changes = [
        (":1053", String::new()),
        ("    errors\n", "    errors\n    bind 127.0.0.1\n".to_owned()),
        ("    health {", "    health 127.0.0.1:{port:health} {".to_owned()),
        ("lameduck 5s", "lameduck 1s".to_owned()),
        ("    ready\n", "    ready 127.0.0.1:{port:ready}\n".to_owned()),
        ("prometheus :9153", "prometheus 127.0.0.1:{port:metrics}".to_owned()),
        ("/var/lib/podzone", "{folder}".to_owned()),
        (
            "endpoint_pod_names\n",
            format!("endpoint_pod_names\n        kubeconfig {} test\n{more}", kubeconfig.display()),
        ),
    ];
    changes.into_iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "no {from:?} in\n{text}");
        text.replace(from, &to)
    })
}

/// A kubeconfig of podzone's service account, with the rights that it has and no other.
fn account(plane: &ControlPlane) -> PathBuf {
    let token = plane.kubectl(&["create", "token", "podzone", "--namespace", "podzone"], "");
    plane.kubeconfig_with_token(token.trim())
}

fn ready(server: &Server) -> (u16, String) {
    page::get(server.addr_of("ready"), "/ready").map(|(code, _, body)| (code, body)).unwrap_or_default()
}

fn wait_until_ready(server: &Server) {
    wait_for("it is ready", PATIENCE, || match ready(server) {
        (200, body) if body == "OK" => Ok(()),
        (code, body) => Err(format!("{code} {body}\n{}", server.log())),
    });
}

#[test]
fn every_object_is_accepted_and_the_rights_are_just_enough() {
    let plane = ControlPlane::start(Options::default());
    plane.apply(BEAM);
    // A dry run needs the namespace that the objects are in.
    plane.apply(&std::fs::read_to_string(deploy("kustomize/base/namespace.yaml")).unwrap());
    for overlay in OVERLAYS {
        let objects = rendered(&plane, overlay);
        let (output, warnings) =
            plane.kubectl_warned(&["apply", "--server-side", "--dry-run=server", "-f", "-"], &objects);
        assert_eq!(warnings, "", "{overlay}");
        assert_eq!(output.lines().count(), objects.matches("\nkind: ").count(), "{overlay}\n{output}");
    }
    plane.apply(&rendered(&plane, "forwarded"));
    let rights = plane
        .kubectl(&["auth", "can-i", "--list", "--as=system:serviceaccount:podzone:podzone", "--namespace=podzone"], "");
    let document = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/deploy.md")).unwrap();
    for line in rights.lines().filter(|line| line.contains("[list watch]")) {
        let line = line.trim_end();
        assert!(document.contains(line), "docs/deploy.md does not have\n{line}\nof\n{rights}");
    }

    let kubeconfig = account(&plane);
    let server = Program::Podzone.start(&corefile(&plane, &kubeconfig, ""));
    wait_until_ready(&server);
    let answer = server.ask(BEAM_NAME, SRV);
    assert_eq!(answer.answers.len(), 2, "{answer}");
    assert!(answer.answers.iter().any(|record| record.data().ends_with(" beam-x.beam.shop.svc.cluster.local.")));

    // Without any one verb, it is that which is told.
    let role = plane.kubectl(&["get", "clusterrole", "podzone", "--output=json"], "");
    let role: serde_json::Value = serde_json::from_str(&role).unwrap();
    for (rule, of_rule) in role["rules"].as_array().unwrap().iter().enumerate() {
        for resource in of_rule["resources"].as_array().unwrap() {
            for verb in ["list", "watch"] {
                plane.apply(&without(&role, rule, resource, verb).to_string());
                let folder = support::process::Scratch::new();
                let text = corefile(&plane, &kubeconfig, "").replace("{folder}", &folder.path().display().to_string());
                let server = Program::Podzone.start(&text);
                let resource = resource.as_str().unwrap();
                let refused = format!("cannot {verb} {resource}");
                wait_for(
                    &refused,
                    PATIENCE,
                    || if server.log().contains(&refused) { Ok(()) } else { Err(server.log()) },
                );
                let missing = format!("the right to {verb} {resource}");
                wait_for(&missing, PATIENCE, || match ready(&server) {
                    // Where the API server streams lists, watching does for listing.
                    (200, body) if verb == "list" && body == "OK" => Ok(()),
                    (_, body) if body.contains(&missing) => Ok(()),
                    (code, body) => Err(format!("{code} {body}\n{}", server.log())),
                });
            }
        }
    }
}

/// The role without a verb for one of the resources of a rule.
fn without(role: &serde_json::Value, rule: usize, resource: &serde_json::Value, verb: &str) -> serde_json::Value {
    let mut less = role.clone();
    less["metadata"] = serde_json::json!({"name": "podzone"});
    let rules = less["rules"].as_array_mut().unwrap();
    let resources = rules[rule]["resources"].as_array_mut().unwrap();
    resources.retain(|known| known != resource);
    let other = if verb == "list" { "watch" } else { "list" };
    let rest = serde_json::json!({"apiGroups": rules[rule]["apiGroups"], "resources": [resource], "verbs": [other]});
    if rules[rule]["resources"].as_array().unwrap().is_empty() {
        rules.remove(rule);
    }
    rules.push(rest);
    less
}

#[test]
fn the_corefiles_of_overlays_are_sound_and_another_with_what_they_add() {
    let read = |folder: &str| std::fs::read_to_string(deploy(&format!("kustomize/{folder}/Corefile"))).unwrap();
    let base = read("base");
    let stock = std::fs::read_to_string(deploy("stock/kubeadm.Corefile")).unwrap();
    for (folder, added, rest_is) in [
        ("base", &[][..], &base),
        ("overlays/pods-verified", &["        pods verified\n"], &base),
        (
            "overlays/multicluster",
            &["        multicluster clusterset.local\n", " clusterset.local:1053", " clusterset.local"],
            &base,
        ),
        (
            "overlays/replace",
            &[
                "# What kubeadm gives CoreDNS to serve, with the names of pods.\n",
                "       # The name of each pod, of Deployments too.\n       endpoint_pod_names\n",
                "       # A container that starts anew while the API server is away answers from what the last one knew.\n",
                "       snapshot /var/lib/podzone/cluster.snapshot\n",
            ],
            &stock,
        ),
    ] {
        let rest = added.iter().fold(read(folder), |text, added| {
            assert!(text.contains(added), "{folder}: no {added:?}");
            text.replacen(added, "", 1)
        });
        assert_eq!(rest, *rest_is, "{folder}");
        let path = deploy(&format!("kustomize/{folder}/Corefile"));
        let check = Command::new(Program::Podzone.path()).args(["check", "-conf"]).arg(&path).output().unwrap();
        let said = [check.stdout, check.stderr].map(|octets| String::from_utf8(octets).unwrap()).concat();
        assert!(check.status.success(), "{folder}: {said}");
        assert!(!said.contains("warning"), "{folder}: {said}");
    }
}

#[test]
fn coredns_forwards_by_the_shipped_blocks() {
    let plane = ControlPlane::start(Options::default());
    plane.apply(BEAM);
    plane.apply(&std::fs::read_to_string(deploy("kustomize/base/namespace.yaml")).unwrap());
    plane.apply(&rendered(&plane, "forwarded"));
    let kubeconfig = account(&plane);
    let text = corefile(&plane, &kubeconfig, "");
    let mut replicas = [Program::Podzone.start(&text), Program::Podzone.start(&text)];
    replicas.iter().for_each(wait_until_ready);
    let addresses = replicas.each_ref().map(|replica| replica.addr().to_string()).join(" ");
    // What CoreDNS serves itself stays: its own names differ.
    let own = format!(
        ".:{{port}} {{\n bind 127.0.0.1\n kubernetes cluster.local in-addr.arpa {{\n kubeconfig {} test\n }}\n}}\n",
        plane.kubeconfig().display()
    );
    let block = |file: &str| {
        let text = std::fs::read_to_string(deploy(&format!("coredns/{file}"))).unwrap();
        assert!(text.contains(SERVICE_ADDRESS) && text.contains("    errors\n"), "{text}");
        let text = text.replace(SERVICE_ADDRESS, &addresses).replace(":53", ":{port}");
        text.replace("    errors\n", "    errors\n    bind 127.0.0.1\n")
    };

    let coredns = Program::CoreDns.start(&format!("{}{own}", block("whole-zone.Corefile")));
    let target = "beam-x.beam.shop.svc.cluster.local.";
    for ask in [dns::ask, dns::ask_tcp] {
        let answer = ask(coredns.addr(), &Query::new(BEAM_NAME, SRV)).unwrap();
        assert!(answer.answers.iter().any(|record| record.data().ends_with(target)), "{answer}");
        assert_eq!(answer.additionals.len(), 2, "{answer}");
        assert_eq!(ask(coredns.addr(), &Query::new(target, A)).unwrap().data_of(A), ["10.244.1.1"]);
        let pointer = Query::new("1.1.244.10.in-addr.arpa.", PTR);
        assert_eq!(ask(coredns.addr(), &pointer).unwrap().data_of(PTR), [target]);
        let alias = ask(coredns.addr(), &Query::new("docs.shop.svc.cluster.local.", A)).unwrap();
        assert_eq!(alias.data_of(A).len(), 2, "{alias}");
        // What a resolver with ndots:5 asks first.
        let searched = Query::new("example.org.shop.svc.cluster.local.", A);
        assert_eq!(ask(coredns.addr(), &searched).unwrap().rcode, 3);
    }

    // One goes and comes back: who asks does not notice.
    let asked = || dns::ask(coredns.addr(), &Query::new(target, A)).map(|answer| answer.data_of(A));
    assert!(replicas[0].stop().is_some_and(|status| status.success()));
    for _ in 0..50 {
        assert_eq!(asked().unwrap(), ["10.244.1.1"]);
    }
    replicas[0].restart();
    wait_until_ready(&replicas[0]);
    // Both: an error, and no denial.
    replicas.iter_mut().for_each(|replica| assert!(replica.stop().is_some_and(|status| status.success())));
    assert_eq!(dns::ask(coredns.addr(), &Query::new(target, A)).unwrap().rcode, 2);
    replicas.iter_mut().for_each(Server::restart);
    wait_for("answers are back", PATIENCE, || match asked() {
        Ok(data) if data == ["10.244.1.1"] => Ok(()),
        other => Err(format!("{other:?}")),
    });

    let coredns = Program::CoreDns.start(&format!("{}{own}", block("one-namespace.Corefile")));
    let answer = coredns.ask(BEAM_NAME, SRV);
    assert!(answer.answers.iter().any(|record| record.data().ends_with(target)), "{answer}");
    let elsewhere = coredns.ask("kubernetes.default.svc.cluster.local.", A);
    assert_eq!(elsewhere.answers.len(), 1, "CoreDNS's own: {elsewhere}");

    let own_zone = text.replace("cluster.local in-addr.arpa ip6.arpa {", "podzone.test {");
    let replica = Program::Podzone.start(&own_zone);
    wait_until_ready(&replica);
    let stub = block("stub-domain.Corefile").replace(&addresses, &replica.addr().to_string());
    let coredns = Program::CoreDns.start(&format!("{stub}{own}"));
    let answer = coredns.ask("beam.shop.svc.podzone.test.", SRV);
    assert!(
        answer.answers.iter().any(|record| record.data().ends_with(" beam-x.beam.shop.svc.podzone.test.")),
        "{answer}"
    );
    let theirs = coredns.ask(BEAM_NAME, SRV);
    assert!(theirs.answers.iter().any(|record| record.data().ends_with(" 10-244-1-1.beam.shop.svc.cluster.local.")));
}
