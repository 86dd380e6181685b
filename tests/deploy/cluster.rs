//! One cluster for the tests that install podzone, and the programs that they install it with.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::support::kube::{ControlPlane, Options};
use super::support::process::Scratch;
use super::support::{mcs, peers, wait_for};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A node of kwok's, on which every pod lands: no scheduler runs. And of what the Prometheus operator installs, as much as an API
/// server's checks need.
const FIXTURES: &str = "
apiVersion: v1
kind: Node
metadata: {name: fake, annotations: {kwok.x-k8s.io/node: fake}}
status:
  allocatable: {cpu: 64, memory: 256Gi, pods: 1000}
  capacity: {cpu: 64, memory: 256Gi, pods: 1000}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: on-the-fake-node}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  failurePolicy: Fail
  reinvocationPolicy: Never
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration: {expression: 'Object{spec: Object.spec{nodeName: \"fake\"}}'}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: on-the-fake-node}
spec: {policyName: on-the-fake-node}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: servicemonitors.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {plural: servicemonitors, singular: servicemonitor, kind: ServiceMonitor, listKind: ServiceMonitorList}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        required: [spec]
        properties:
          spec:
            type: object
            required: [endpoints, selector]
            properties:
              jobLabel: {type: string}
              namespaceSelector:
                type: object
                properties: {any: {type: boolean}, matchNames: {type: array, items: {type: string}}}
              selector:
                type: object
                properties:
                  matchLabels: {type: object, additionalProperties: {type: string}}
              endpoints:
                type: array
                items:
                  type: object
                  properties:
                    port: {type: string}
                    interval: {type: string, pattern: '^(0|([0-9]+(ms|[smhdwy]))+)$'}
";

/// The cluster, for one test at a time: they install objects of the same names.
pub(crate) fn cluster() -> MutexGuard<'static, ControlPlane> {
    static CLUSTER: OnceLock<Mutex<ControlPlane>> = OnceLock::new();
    CLUSTER.get_or_init(|| Mutex::new(start())).lock().unwrap_or_else(PoisonError::into_inner)
}

fn start() -> ControlPlane {
    let mut plane = ControlPlane::start(Options::default());
    plane.start_controllers();
    plane.start_kwok();
    plane.apply(FIXTURES);
    mcs::install(&plane);
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: probe, namespace: default}, \
               spec: {containers: [{name: probe, image: probe}]}}";
    wait_for("pods land on the node", PATIENCE, || {
        let node = plane.kubectl(&["create", "--dry-run=server", "--output=jsonpath={.spec.nodeName}", "-f", "-"], pod);
        if node == "fake" { Ok(()) } else { Err(format!("{node:?}\n{}", plane.logs())) }
    });
    plane
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn deploy(path: &str) -> PathBuf {
    root().join("deploy").join(path)
}

/// What an overlay comes to.
pub(crate) fn rendered(plane: &ControlPlane, overlay: &str) -> String {
    plane.kubectl(&["kustomize", &deploy(&format!("kustomize/overlays/{overlay}")).display().to_string()], "")
}

/// An object of the cluster.
pub(crate) fn object(plane: &ControlPlane, namespace: &str, what: &str) -> Value {
    serde_json::from_str(&plane.kubectl(&["--namespace", namespace, "get", what, "--output=json"], "")).unwrap()
}

/// Runs helm, on no cluster; what it says, or what it says is wrong.
pub(crate) fn helm(arguments: &[&str]) -> Result<String, String> {
    let folder = Scratch::new();
    run_helm(Command::new(peers::binary("helm")).args(arguments).env("KUBECONFIG", "/dev/null"), folder.path())
}

/// Runs helm on a cluster, as its administrator.
pub(crate) fn helm_on(plane: &ControlPlane, arguments: &[&str]) -> String {
    let mut command = Command::new(peers::binary("helm"));
    command.args(arguments).env("KUBECONFIG", plane.kubeconfig());
    run_helm(&mut command, plane.folder())
        .unwrap_or_else(|error| panic!("helm {arguments:?}: {error}\n{}", plane.logs()))
}

fn run_helm(command: &mut Command, folder: &Path) -> Result<String, String> {
    // Not the configuration of whoever runs the tests.
    for variable in ["HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
        command.env(variable, folder);
    }
    let Output { status, stdout, stderr } = command.current_dir(root()).output().expect("helm");
    let [said, beside] = [stdout, stderr].map(|octets| String::from_utf8(octets).unwrap());
    if status.success() { Ok(said) } else { Err(said + &beside) }
}

/// All objects that there are, but for events, and for what follows from other objects.
pub(crate) fn objects(plane: &ControlPlane) -> BTreeSet<String> {
    let kinds = plane.kubectl(&["api-resources", "--verbs=list", "--output=name"], "");
    let kinds: Vec<&str> =
        kinds.lines().filter(|kind| !kind.starts_with("events") && !kind.ends_with("metrics.k8s.io")).collect();
    let columns = "--output=custom-columns=:kind,:metadata.namespace,:metadata.name";
    let all = plane.kubectl(&["get", &kinds.join(","), "--all-namespaces", "--no-headers", columns], "");
    all.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Waits until there is nothing but what there was, and these.
pub(crate) fn wait_until_only(plane: &ControlPlane, before: &BTreeSet<String>, and: &[&str]) {
    wait_for("all that was installed is gone", PATIENCE, || {
        let now = objects(plane);
        let more: Vec<_> = now.difference(before).filter(|object| !and.contains(&object.as_str())).collect();
        if more.is_empty() { Ok(()) } else { Err(format!("{more:?}")) }
    });
}
