//! What a pod calls itself, and whether that resolves: every combination that `docs/identity.md` lists, on a real API server
//! with the real controller of EndpointSlices.
//!
//! What a pod calls itself is computed from its spec as kubelet does (pkg/kubelet/kubelet_pods.go,
//! func GeneratePodHostNameAndDomain; KEP-4762 for `hostnameOverride`). The table of the document is what comes out.
// A test may panic; what it lacks is said by the harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::Path;
use std::time::Duration;

use support::dns;
use support::kube::{ControlPlane, Options};
use support::server::{Program, Server};
use support::wait_for;

/// The pods: a name for the row, the pod's own name, and what stands in its spec. All are behind the headless Service
/// `app` of the namespace `shop`.
fn pods() -> Vec<(&'static str, String, &'static str)> {
    let long = format!("long-{}-{}", "x".repeat(57), "y".repeat(7));
    let dotted_long = format!("{}.-{}", "d".repeat(61), "z".repeat(7)).replace(".-", ".z");
    vec![
        ("`subdomain`", "plain".to_owned(), "subdomain: app"),
        ("no `subdomain`", "alone".to_owned(), ""),
        ("`hostname`, `subdomain`", "named".to_owned(), "hostname: first, subdomain: app"),
        ("`hostname`, no `subdomain`", "half".to_owned(), "hostname: second"),
        ("`hostname`, another `subdomain`", "other".to_owned(), "hostname: third, subdomain: elsewhere"),
        ("another `subdomain`", "stray".to_owned(), "subdomain: elsewhere"),
        ("`subdomain`, `setHostnameAsFQDN`", "fqdn".to_owned(), "subdomain: app, setHostnameAsFQDN: true"),
        ("`subdomain`, `hostnameOverride`", "over".to_owned(), "subdomain: app, hostnameOverride: mine.example"),
        ("`subdomain`, `hostNetwork`", "host".to_owned(), "subdomain: app, hostNetwork: true"),
        ("a name of 64 or more characters, `subdomain`", long, "subdomain: app"),
        ("a name with dots, `subdomain`", "with.dots".to_owned(), "subdomain: app"),
        ("a long name with dots, `subdomain`", dotted_long, "subdomain: app"),
    ]
}

const SERVICE: &str = "app.shop.svc.cluster.local";
const FOLLOWS_WITHIN: Duration = Duration::from_secs(60);

/// `hostname -f` in a pod.
fn hostname_f(name: &str, spec: &serde_json::Value) -> String {
    let text = |key: &str| spec[key].as_str().filter(|text| !text.is_empty());
    if let Some(own) = text("hostnameOverride") {
        return own.to_owned();
    }
    if spec["hostNetwork"] == true {
        return "the node's".to_owned();
    }
    let hostname = text("hostname").unwrap_or(name);
    let hostname = if hostname.len() > 63 { hostname[..63].trim_end_matches(['-', '.']) } else { hostname };
    match text("subdomain") {
        Some(subdomain) => format!("{hostname}.{subdomain}.shop.svc.cluster.local"),
        None => hostname.to_owned(),
    }
}

fn server(program: Program, plane: &ControlPlane, options: &str) -> Server {
    program.start(&format!(
        "cluster.local in-addr.arpa {{\n bind 127.0.0.1\n kubernetes cluster.local in-addr.arpa {{\n kubeconfig {} test\n \
         {options}\n }}\n}}\n",
        plane.kubeconfig().display()
    ))
}

/// What names an address, without the Service's name, if that resolves to it; else in parentheses.
fn named(server: &Server, address: &str) -> Option<String> {
    let reverse = address.split('.').rev().collect::<Vec<_>>().join(".");
    let answer = server.ask(&format!("{reverse}.in-addr.arpa."), dns::PTR);
    let [name] = &answer.data_of(dns::PTR)[..] else { return None };
    let resolves = server.ask(name, dns::A).data_of(dns::A) == [address];
    let short = name.strip_suffix(&format!(".{SERVICE}.")).unwrap_or(name);
    // The address of the pod is another one at each run.
    let short = if short == address.replace('.', "-") { "dashed address" } else { short };
    Some(if resolves { short.to_owned() } else { format!("({short})") })
}

#[test]
fn the_table_of_what_a_pod_calls_itself_holds() {
    let mut plane = ControlPlane::start(Options {
        api_arguments: vec!["--feature-gates=HostnameOverride=true".to_owned()],
        ..Options::default()
    });
    plane.start_controllers();
    plane.start_kwok();
    plane.apply(
        "
apiVersion: v1
kind: Node
metadata: {name: fake, annotations: {kwok.x-k8s.io/node: fake}}
status:
  allocatable: {cpu: 64, memory: 256Gi, pods: 1000}
  capacity: {cpu: 64, memory: 256Gi, pods: 1000}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: shop}
spec: {clusterIP: None, selector: {app: app}, ports: [{name: http, port: 80}]}
",
    );
    for (_, name, spec) in pods() {
        let spec = if spec.is_empty() { String::new() } else { format!("{spec}, ") };
        plane.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{app: app}}}}\n\
             spec: {{{spec}nodeName: fake, automountServiceAccountToken: false, containers: [{{name: a, image: a}}]}}\n"
        ));
    }
    let servers = [
        server(Program::CoreDns, &plane, "endpoint_pod_names"),
        server(Program::Podzone, &plane, "endpoint_pod_names"),
        server(Program::Podzone, &plane, "endpoint_pod_names kubelet"),
        server(Program::Podzone, &plane, "endpoint_pod_names kubelet hostname"),
    ];
    let rows = wait_for("every pod is named", FOLLOWS_WITHIN, || {
        let list = plane.kubectl(&["--namespace", "shop", "get", "pods", "--output=json"], "");
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        let mut rows = Vec::new();
        for (row, name, _) in pods() {
            let found = list["items"].as_array().unwrap().iter().find(|pod| pod["metadata"]["name"] == *name).unwrap();
            let address = found["status"]["podIP"].as_str().ok_or_else(|| format!("{name} has no address"))?;
            let own = hostname_f(&name, &found["spec"]);
            let answers = servers.each_ref().map(|server| named(server, address));
            let [Some(theirs), Some(ours), Some(kubelet), Some(asked)] = answers else {
                return Err(format!("{name}: {answers:?}"));
            };
            assert_eq!(theirs, ours, "{name}: CoreDNS and podzone without words of its own");
            let is_own = if own == format!("{kubelet}.{SERVICE}") { "yes" } else { "no" };
            let row = [row, &own.replace(SERVICE, "app…"), &theirs, &kubelet, &asked, is_own].map(shortened);
            rows.push(format!("| {} |", row.join(" | ")));
        }
        Ok(rows)
    });
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/identity.md");
    let document = std::fs::read_to_string(path).unwrap();
    for row in &rows {
        assert!(document.contains(row.as_str()), "docs/identity.md has no such row; all are:\n{}", rows.join("\n"));
    }
}

/// A run of one letter as `x{57}`.
fn shortened(text: &str) -> String {
    let mut short = String::new();
    let letters: Vec<char> = text.chars().collect();
    for run in letters.chunk_by(|one, other| one == other) {
        if run.len() > 5 {
            short.push_str(&format!("{}{{{}}}", run[0], run.len()));
        } else {
            short.extend(run);
        }
    }
    short
}
