//! The commands of the runbook do what it says, each as it stands but for addresses, on a real API server whose pods are
//! kwok's. What needs a kubelet, which kwok is not, is left to the reader: `port-forward` alone.
// A test may panic; what it lacks is said by the harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use support::kube::{ControlPlane, Options};
use support::peers;
use support::server::{Program, Server};
use support::wait_for;

const PATIENCE: Duration = Duration::from_secs(60);

/// Where pods run that nobody schedules.
const NODE: &str = "
apiVersion: v1
kind: Node
metadata: {name: fake}
";
const PINNED: &str = r#"{"spec": {"template": {"spec": {"nodeName": "fake"}}}}"#;
/// The operator's, as far as objects of a kind can be there.
const DEFINITIONS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: KINDs.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {kind: NAME, plural: KINDs, singular: KIND}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The commands of the runbook, in order.
fn commands() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let blocks = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

fn succeeds(command: &str, output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

struct Scene {
    plane: ControlPlane,
    server: Server,
}

impl Scene {
    fn start() -> Self {
        let mut plane = ControlPlane::start(Options::default());
        plane.start_controllers();
        plane.start_kwok();
        plane.apply(NODE);
        for (kind, name) in [("servicemonitor", "ServiceMonitor"), ("prometheusrule", "PrometheusRule")] {
            plane.apply(&DEFINITIONS.replace("KIND", kind).replace("NAME", name));
        }
        let corefile = format!(
            "cluster.local in-addr.arpa {{
    bind 127.0.0.1
    ready 127.0.0.1:{{port:ready}}
    prometheus 127.0.0.1:{{port:metrics}}
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {}
        endpoint_pod_names
    }}
}}
",
            plane.kubeconfig().display()
        );
        let server = Program::Podzone.start(&corefile);
        Self { plane, server }
    }

    fn run(&self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "kubectl" if words.contains(&"port-forward") => {}
            "kubectl" => {
                if words.contains(&"rollout") && words.contains(&"status") {
                    let patch = ["--namespace=podzone", "patch", "deployment", "podzone", "--patch", PINNED];
                    self.plane.kubectl(&patch, "");
                }
                // A definition is served some moments after it was written.
                wait_for(line, PATIENCE, || {
                    let mut kubectl = Command::new(peers::binary("kubectl"));
                    kubectl.arg("--kubeconfig").arg(self.plane.kubeconfig()).args(&words[1..]).current_dir(root());
                    let output = kubectl.output().unwrap();
                    let said = String::from_utf8_lossy(&output.stderr).into_owned();
                    if output.status.success() { Ok(()) } else { Err(said + &self.plane.logs()) }
                });
            }
            "curl" => {
                let url = [("8181", "ready"), ("9153", "metrics")]
                    .iter()
                    .fold(words[words.len() - 1].to_owned(), |url, it| {
                        url.replace(&format!("localhost:{}", it.0), &self.server.addr_of(it.1).to_string())
                    });
                let output =
                    Command::new("curl").args(&words[1..words.len() - 1]).arg("--fail").arg(url).output().unwrap();
                let said = succeeds(line, &output);
                let holds = if line.ends_with("/ready") { "OK" } else { "podzone_synced" };
                assert!(said.contains(holds), "{line}: {said}");
            }
            "dig" => {
                let port = self.server.addr().port().to_string();
                let words = words[1..].iter().map(|word| match *word {
                    "@localhost" => "@127.0.0.1",
                    "1053" => &port,
                    other => other,
                });
                let said = succeeds(line, &Command::new("dig").args(words).output().unwrap());
                let status = if line.contains("missing") { "status: NXDOMAIN" } else { "status: NOERROR" };
                assert!(
                    said.contains(status) && said.contains("ANSWER: 1,") != line.contains("missing"),
                    "{line}: {said}"
                );
            }
            "podzone" => {
                let podzone = Command::new(Program::Podzone.path()).args(&words[1..]).current_dir(root()).output();
                succeeds(line, &podzone.unwrap());
            }
            other => panic!("this test cannot run {other}: {line}"),
        }
    }
}

#[test]
fn the_commands_of_the_runbook_succeed() {
    let commands = commands();
    for name in ["kubectl", "dig", "curl", "podzone"] {
        assert!(commands.iter().any(|line| line.starts_with(name)), "no {name}");
    }
    let scene = Scene::start();
    wait_for("it is ready", PATIENCE, || {
        let answer = scene.server.ask("kubernetes.default.svc.cluster.local", support::dns::A);
        if answer.answers.len() == 1 { Ok(()) } else { Err(answer.to_string()) }
    });
    commands.iter().for_each(|line| scene.run(line));
}
