//! A real control plane of Kubernetes on loopback: etcd and kube-apiserver, and on demand the controllers and kwok,
//! which plays the kubelets.

use super::pki::Pki;
use super::process::{Process, Scratch};
use super::{peers, ports};
use futures::FutureExt;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a test may want different.
pub struct Options {
    /// Another etcd than the peer, for example Debian's 3.4, which cannot stream lists.
    pub etcd: Option<PathBuf>,
    /// One range per family; the first is the default of Services.
    pub service_ranges: String,
    /// Added to kube-apiserver's arguments.
    pub api_arguments: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { etcd: None, service_ranges: "10.96.0.0/12,fd00:96::/112".to_owned(), api_arguments: Vec::new() }
    }
}

/// What the tests need of the controllers; a scheduler is not needed where pods name their node.
const CONTROLLERS: &str = "deployment,replicaset,statefulset,endpointslice,namespace,garbagecollector";

/// An API server reads a full store first, on a machine that may be busy.
const START_LIMIT: Duration = Duration::from_secs(180);

/// A running control plane; all of it ends with this value.
pub struct ControlPlane {
    // In the order of their end: clients of the API, the API, its store, then the folder.
    kwok: Option<Process>,
    controllers: Option<Process>,
    api: Option<Process>,
    etcd: Process,
    options: Options,
    etcd_port: u16,
    api_port: u16,
    pki: Pki,
    kubeconfig: PathBuf,
    scratch: Scratch,
}

impl ControlPlane {
    /// Starts etcd and kube-apiserver, and waits until the API is ready.
    pub fn start(options: Options) -> Self {
        let scratch = Scratch::new();
        let pki = Pki::create(&scratch.path().join("pki"));
        pki.certificate("apiserver", "/CN=kube-apiserver", Some("DNS:localhost,IP:127.0.0.1,IP:10.96.0.1"));
        pki.certificate("admin", "/O=system:masters/CN=admin", None);
        pki.key("service-accounts");

        let (etcd_port, api_port) = (ports::free(), ports::free());
        let etcd = start_etcd(&options, &scratch, etcd_port);
        let kubeconfig = scratch.path().join("admin.kubeconfig");
        let mut plane = Self {
            kwok: None,
            controllers: None,
            api: None,
            etcd,
            options,
            etcd_port,
            api_port,
            pki,
            kubeconfig,
            scratch,
        };
        let user = format!("client-certificate: {}\n    client-key: {}", plane.cert().display(), plane.key().display());
        plane.write_kubeconfig(&plane.kubeconfig, &user);
        plane.start_api();
        plane
    }

    /// Where the API is.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.api_port)
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The administrator's certificate.
    pub fn cert(&self) -> PathBuf {
        self.pki.path("admin.crt")
    }

    /// The administrator's key.
    pub fn key(&self) -> PathBuf {
        self.pki.path("admin.key")
    }

    /// The authority that signed the API's certificate.
    pub fn ca(&self) -> PathBuf {
        self.pki.path("ca.crt")
    }

    /// A place for the test's own files; removed in the end.
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// A kubeconfig that holds only this token.
    pub fn kubeconfig_with_token(&self, token: &str) -> PathBuf {
        let path = self.folder().join(format!("token-{}.kubeconfig", ports::free()));
        self.write_kubeconfig(&path, &format!("token: {token}"));
        path
    }

    /// A client as administrator. Must be called within a tokio runtime.
    pub fn client(&self) -> kube::Client {
        let kubeconfig = kube::config::Kubeconfig::read_from(&self.kubeconfig).expect("our own kubeconfig");
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default())
            .now_or_never()
            .expect("nothing to wait for")
            .expect("our own kubeconfig");
        kube::Client::try_from(config).expect("a client")
    }

    /// Runs kubectl as administrator, with this on its standard input; gives its output, panics when it fails.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> String {
        self.kubectl_warned(arguments, input).0
    }

    /// The same, with what it says beside.
    pub fn kubectl_warned(&self, arguments: &[&str], input: &str) -> (String, String) {
        use std::io::Write;
        let mut child = self
            .kubectl_command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("kubectl's input");
        let output = child.wait_with_output().expect("kubectl's output");
        let [said, beside] = [output.stdout, output.stderr].map(|octets| String::from_utf8(octets).expect("UTF-8"));
        assert!(output.status.success(), "kubectl {arguments:?}: {beside}");
        (said, beside)
    }

    /// Applies manifests, YAML or JSON.
    pub fn apply(&self, manifests: &str) {
        self.kubectl(&["apply", "--server-side", "-f", "-"], manifests);
    }

    fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(peers::binary("kubectl"));
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments).env("HOME", self.scratch.path());
        command
    }

    /// Starts the API again after [`Self::stop_api`], on the same port over the same store, and waits until it is
    /// ready.
    pub fn start_api(&mut self) {
        assert!(self.api.is_none(), "the API is already running");
        let mut command = Command::new(peers::binary("kube-apiserver"));
        let file = |name: &str| self.pki.path(name).to_string_lossy().into_owned();
        command
            .arg(format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port))
            .arg(format!("--secure-port={}", self.api_port))
            .arg(format!("--service-cluster-ip-range={}", self.options.service_ranges))
            .arg(format!("--tls-cert-file={}", file("apiserver.crt")))
            .arg(format!("--tls-private-key-file={}", file("apiserver.key")))
            .arg(format!("--client-ca-file={}", file("ca.crt")))
            .arg(format!("--service-account-key-file={}", file("service-accounts.key")))
            .arg(format!("--service-account-signing-key-file={}", file("service-accounts.key")))
            .args([
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                // The API would write 127.0.0.1 into the endpoints of the Service kubernetes, which it then refuses.
                "--endpoint-reconciler-type=none",
                "--authorization-mode=RBAC",
                // Pods without controllers of their ServiceAccount.
                "--disable-admission-plugins=ServiceAccount",
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                "--max-requests-inflight=2000",
                "--max-mutating-requests-inflight=1000",
                // Ends at once when asked, watches included.
                "--shutdown-delay-duration=0s",
            ])
            .args(&self.options.api_arguments);
        let mut api = Process::spawn("kube-apiserver", command, &self.scratch.path().join("kube-apiserver.log"));
        api.wait_until("/readyz answers ok", START_LIMIT, || self.ready().then_some(()));
        self.api = Some(api);
    }

    /// Ends the API at once, as a crash would; the store stays.
    pub fn stop_api(&mut self) {
        self.api.take().expect("the API is running").kill();
    }

    /// Makes the store forget everything but its present state, some versions after the last that anybody was told: no
    /// watch can go on from what it knows.
    pub fn forget_history(&self) {
        let ask = |path: &str, body: &str| {
            let url = format!("http://127.0.0.1:{}/v3/kv/{path}", self.etcd_port);
            let output = Command::new("curl").args(["--silent", "--fail", "--data", body, &url]).output();
            let output = output.expect("curl: run `make setup` (tests/peers/install)");
            assert!(output.status.success(), "etcd's {path}: {output:?}");
            serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("JSON")
        };
        // The key `test`, in base64.
        let put = r#"{"key": "dGVzdA==", "value": "dGVzdA=="}"#;
        for _ in 0..10 {
            ask("put", put);
        }
        let revision = ask("put", put)["header"]["revision"].as_str().expect("a revision").to_owned();
        ask("compaction", &format!(r#"{{"revision": "{revision}", "physical": true}}"#));
    }

    /// The API process, to stop and continue it by signals, or to read its log.
    pub fn api(&mut self) -> &mut Process {
        self.api.as_mut().expect("the API is running")
    }

    /// The numbers of the processes that requests go through: the API and its store.
    pub fn ids(&self) -> Vec<u32> {
        self.api.iter().chain([&self.etcd]).map(Process::id).collect()
    }

    /// Where etcd is, for what is written past the API.
    pub fn etcd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.etcd_port)
    }

    /// Whether the API says that it is ready.
    pub fn ready(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.api_port)).is_ok()
            && self
                .kubectl_command(&["get", "--raw=/readyz", "--request-timeout=2s"])
                .stdin(Stdio::null())
                .output()
                .is_ok_and(|output| output.status.success() && output.stdout == b"ok")
    }

    /// Starts the controllers of Deployments, StatefulSets, EndpointSlices, namespaces and garbage.
    pub fn start_controllers(&mut self) {
        let mut command = Command::new(peers::binary("kube-controller-manager"));
        command
            .arg(format!("--kubeconfig={}", self.kubeconfig.display()))
            .arg(format!("--controllers={CONTROLLERS}"))
            // Nobody asks it anything.
            .args(["--leader-elect=false", "--secure-port=0", "--allocate-node-cidrs=false"])
            .args(["--kube-api-qps=1000", "--kube-api-burst=1000"]);
        let log = self.scratch.path().join("kube-controller-manager.log");
        self.controllers = Some(Process::spawn("kube-controller-manager", command, &log));
    }

    /// Starts kwok: every Node is its own, every pod of a Node becomes Ready with an address of 10.128.0.0/14.
    pub fn start_kwok(&mut self) {
        let mut command = Command::new(peers::binary("kwok"));
        command
            .arg(format!("--kubeconfig={}", self.kubeconfig.display()))
            .args(["--manage-all-nodes", "--cidr=10.128.0.0/14", "--node-ip=10.0.0.1"])
            // Nobody measures how alive the fake nodes are.
            .arg("--node-lease-duration-seconds=0")
            // Not the configuration of whoever runs the tests.
            .env("HOME", self.scratch.path());
        self.kwok = Some(Process::spawn("kwok", command, &self.scratch.path().join("kwok.log")));
    }

    /// The ends of all logs, for a failure's message.
    pub fn logs(&self) -> String {
        [self.api.as_ref(), self.controllers.as_ref(), self.kwok.as_ref()]
            .into_iter()
            .flatten()
            .map(Process::log_tail)
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn write_kubeconfig(&self, path: &Path, user: &str) {
        let text = format!(
            "apiVersion: v1
kind: Config
current-context: test
clusters:
- name: test
  cluster:
    server: {url}
    certificate-authority: {ca}
users:
- name: test
  user:
    {user}
contexts:
- name: test
  context:
    cluster: test
    user: test
",
            url = self.url(),
            ca = self.ca().display(),
        );
        std::fs::write(path, text).expect("a kubeconfig");
    }
}

fn start_etcd(options: &Options, scratch: &Scratch, port: u16) -> Process {
    let program = options.etcd.clone().unwrap_or_else(|| peers::binary("etcd"));
    let mut command = Command::new(program);
    command
        .arg(format!("--data-dir={}", scratch.path().join("etcd").display()))
        .arg(format!("--listen-client-urls=http://127.0.0.1:{port}"))
        .arg(format!("--advertise-client-urls=http://127.0.0.1:{port}"))
        .arg(format!("--listen-peer-urls=http://127.0.0.1:{}", ports::free()));
    if options.etcd.is_none() {
        // The data live as long as the test. Older releases do not know the flag.
        command.arg("--unsafe-no-fsync");
    }
    let mut etcd = Process::spawn("etcd", command, &scratch.path().join("etcd.log"));
    etcd.wait_until("its port is open", START_LIMIT, || TcpStream::connect(("127.0.0.1", port)).ok());
    etcd
}

/// What the service account `podzone` in `default` may do.
pub mod rights {
    /// Of what podzone needs: Services and Namespaces,
    pub const SERVICES: &str = "{apiGroups: [''], resources: [services, namespaces], verbs: [list, watch]}";
    /// and EndpointSlices.
    pub const SLICES: &str = "{apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}";

    /// Manifests that let it do what these rules say, and nothing else.
    pub fn podzone_rights(rules: &[&str]) -> String {
        let rules: String = rules.iter().map(|rule| format!("- {rule}\n")).collect();
        format!(
            "
apiVersion: v1
kind: ServiceAccount
metadata: {{name: podzone, namespace: default}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: podzone}}
rules:
{rules}---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: podzone}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: podzone}}
subjects:
- {{kind: ServiceAccount, name: podzone, namespace: default}}
"
        )
    }
}
