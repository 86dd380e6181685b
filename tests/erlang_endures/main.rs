//! An Erlang cluster never loses a node that is alive, whatever happens to the DNS servers and to the API server.
//!
//! Three nodes are the pods of a Deployment, made and replaced by the real controllers, each on a host of its own. They find
//! each other as libcluster's DNSSRV strategy does (`tests/erlang/discovery.erl`), for which any error is an empty list, and
//! ask two servers. What each of them loses is counted by what it writes itself. The table of it is in `docs/identity.md`,
//! beside what the same nodes lose with CoreDNS:
//!
//! ```sh
//! ENDURE_COREDNS=1 cargo test --locked --test erlang_endures -- --nocapture --test-threads=1
//! ```
//!
//! `ENDURE_OUTAGE_SECONDS` is how long the API server cannot be reached, 60 or more.
// A test may panic; what it lacks is said by the harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod kubelet;
mod losses;
#[path = "../erlang/nodes.rs"]
mod nodes;
mod replica;
#[path = "../support/mod.rs"]
mod support;
mod way;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use kubelet::Kubelet;
use losses::{Losses, Phase, Table};
use replica::Replica;
use serde_json::Value;
use support::kube::{ControlPlane, Options};
use support::namespace::{Host, Network};
use support::process::Scratch;
use support::server::Program;

const NODES: usize = 3;
/// Nodes look so often, in milliseconds, and ask each time. With libcluster it is 5 s: ten times as many chances to be told
/// a wrong thing.
const INTERVAL: &str = "500";
const SERVICE: &str = "app.shop.svc.cluster.local";
const API: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
const REPLICAS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 244, 0, 2), Ipv4Addr::new(10, 244, 0, 3)];

/// A dead connection to the API server is noticed within a minute.
const OUTAGE_SECONDS_MIN: u64 = 60;
/// Any wait of the test. Attempts to reach an API server are half a minute apart after a while.
const LIMIT: Duration = Duration::from_secs(90);

const COREFILE: &str = "
cluster.local in-addr.arpa {
    errors
    ready {
        monitor continuously
    }
    kubernetes cluster.local in-addr.arpa {
        kubeconfig {kubeconfig}
        endpoint_pod_names
        ttl {ttl}
        {options}
    }
}
";

const MANIFESTS: &str = "
apiVersion: v1
kind: Node
metadata: {name: fake}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: shop}
spec:
  clusterIP: None
  # Nodes find each other before they are ready.
  publishNotReadyAddresses: true
  selector: {app: app}
  ports: [{name: epmd, port: 4369}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: shop}
spec:
  replicas: 3
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      subdomain: app
      # No scheduler runs.
      nodeName: fake
      automountServiceAccountToken: false
      containers: [{name: app, image: app}]
";

const AGAIN: &str = r#"{"spec":{"template":{"metadata":{"annotations":{"round":"2"}}}}}"#;

#[test]
fn no_node_that_is_alive_is_lost() {
    let phases = endure(Program::Podzone);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/identity.md");
    let document = std::fs::read_to_string(path).unwrap();
    for Phase { name, losses, .. } in &phases {
        assert!(losses.is_nothing(), "{name}: {losses:?}");
        assert!(document.contains(&format!("| {name} | 0 |")), "docs/identity.md has no row of it: {name}");
    }
}

/// What the same costs with CoreDNS: is told, and not judged.
#[test]
fn what_coredns_loses_is_told() {
    if std::env::var_os("ENDURE_COREDNS").is_some() {
        endure(Program::CoreDns);
    } else {
        eprintln!("only with ENDURE_COREDNS");
    }
}

/// All that happens, one thing after the other, and what each cost.
fn endure(program: Program) -> Vec<Phase> {
    let mut cluster = Cluster::start(program);
    cluster.phase("both servers restarted, one after the other, each ready before the next", |cluster| {
        for number in 0..REPLICAS.len() {
            cluster.replicas[number].end();
            // As long as a process takes that is started elsewhere.
            thread::sleep(Duration::from_secs(2));
            cluster.replicas[number].run_again();
            cluster.wait("it is ready", |cluster| cluster.replicas[number].is_ready());
        }
    });
    cluster.phase("the Corefile of both reloaded", |cluster| cluster.reload(10, &[0, 1]));

    let outage = cluster.outage_begins();
    cluster.phase("the API server cannot be reached", |_| thread::sleep(Duration::from_secs(5)));
    cluster.phase("… one server restarted", |cluster| {
        cluster.replicas[0].end();
        cluster.replicas[0].run_again();
        // It knows nothing, and must say so.
        cluster.wait("it answers", |cluster| cluster.replicas[0].says("SERVFAIL"));
    });
    // The one that knows the cluster. Both at once is what a ConfigMap does; the other has nothing to lose.
    cluster.phase("… the Corefile reloaded", |cluster| cluster.reload(20, &[1]));
    cluster.phase("… until each connection to it is given up", |cluster| {
        thread::sleep(outage.saturating_sub(cluster.begin_of_outage.elapsed()));
        if program == Program::Podzone {
            cluster.wait("it has noticed", |cluster| truth(cluster.replicas[1].told("cannot watch ") > 0));
        }
    });
    cluster.phase("the API server is back without its history: all is listed again", |cluster| {
        cluster.plane.stop_api();
        cluster.api.reconnect();
        cluster.plane.forget_history();
        cluster.plane.start_api();
        for number in 0..REPLICAS.len() {
            cluster.wait("it is ready", |cluster| cluster.replicas[number].is_ready());
        }
        if program == Program::Podzone {
            // Namespaces, Services and EndpointSlices.
            let expired = |cluster: &Cluster| cluster.replicas[1].told("is too far behind, listing again: 410");
            cluster.wait("each watch is answered with 410", |cluster| truth(expired(cluster) >= 3));
        }
    });

    if program == Program::Podzone {
        // CoreDNS has nothing like it.
        cluster.options = "snapshot {folder}/snapshot";
        cluster.reload(30, &[0, 1]);
        cluster.wait("a snapshot is kept", |cluster| truth(cluster.replicas.iter().all(Replica::has_snapshot)));
    }
    cluster.api.cut_off();
    cluster.phase("the API server cannot be reached: both servers restarted, one after the other", |cluster| {
        for number in 0..REPLICAS.len() {
            cluster.replicas[number].end();
            cluster.replicas[number].run_again();
            let sign = if program == Program::Podzone { "NOERROR" } else { "SERVFAIL" };
            cluster.wait("it answers", |cluster| cluster.replicas[number].says(sign));
        }
    });
    cluster.phase("… and it is back", |cluster| {
        cluster.api.reconnect();
        for number in 0..REPLICAS.len() {
            cluster.wait("it is ready", |cluster| cluster.replicas[number].is_ready());
        }
    });
    cluster.phase("every pod replaced by the Deployment's controller", |cluster| {
        let before: Vec<_> = cluster.kubelet.alive().map(|node| node.name.clone()).collect();
        cluster.kubectl(&["patch", "deployment", "app", "--patch", AGAIN]);
        cluster.roll_out();
        assert!(cluster.kubelet.alive().all(|node| !before.contains(&node.name)), "{before:?} are replaced");
    });

    let phases = std::mem::take(&mut cluster.phases);
    eprintln!("{program:?}, {NODES} nodes:\n{}", Table(&phases));
    // That losses are seen: without any server, each node leaves all others.
    cluster.agree();
    cluster.counted_until = nodes::now();
    for replica in &mut cluster.replicas {
        replica.kill();
    }
    let all = NODES * (NODES - 1);
    cluster.wait("the nodes leave each other", |cluster| {
        let losses = Losses::between(&cluster.kubelet.nodes, cluster.counted_until, u64::MAX);
        if losses.downs == all && losses.left >= all / 2 { Ok(()) } else { Err(format!("{losses:?}")) }
    });
    phases
}

fn truth(is: bool) -> Result<(), String> {
    if is { Ok(()) } else { Err("not yet".to_owned()) }
}

/// The servers, the nodes and what they share.
struct Cluster {
    // In the order of their end.
    kubelet: Kubelet,
    replicas: Vec<Replica>,
    program: Program,
    /// Of `kubernetes`, beside what both servers have.
    options: &'static str,
    phases: Vec<Phase>,
    /// In milliseconds.
    counted_until: u64,
    begin_of_outage: Instant,
    /// Stands for the API server.
    api: Host,
    network: Network,
    plane: ControlPlane,
    kubeconfig: PathBuf,
    scratch: Scratch,
}

impl Cluster {
    /// Runs everything, and waits until the nodes are a cluster.
    fn start(program: Program) -> Self {
        let scratch = Scratch::new();
        let mut plane = ControlPlane::start(Options::default());
        plane.start_controllers();
        plane.apply(MANIFESTS);

        let network = Network::new();
        let api = network.host("api.test", API, &[]);
        let port = plane.url().rsplit(':').next().unwrap().parse().unwrap();
        way::pass_on(api.listen(port), port);
        let theirs = std::fs::read_to_string(plane.kubeconfig()).unwrap();
        let there = format!("https://{API}:{port}\n    tls-server-name: localhost");
        let kubeconfig = scratch.path().join("kubeconfig");
        std::fs::write(&kubeconfig, theirs.replace(&plane.url(), &there)).unwrap();

        let kubelet = Kubelet::new(SERVICE, &REPLICAS, INTERVAL, scratch.path());
        let mut cluster = Self {
            kubelet,
            replicas: Vec::new(),
            program,
            options: "",
            phases: Vec::new(),
            counted_until: 0,
            begin_of_outage: Instant::now(),
            api,
            network,
            plane,
            kubeconfig,
            scratch,
        };
        let corefile = cluster.corefile(5);
        for address in REPLICAS {
            let replica = Replica::start(program, &cluster.network, address, cluster.scratch.path(), &corefile);
            cluster.replicas.push(replica);
        }
        for number in 0..REPLICAS.len() {
            cluster.wait("it is ready", |cluster| cluster.replicas[number].is_ready());
        }
        cluster.roll_out();
        cluster.agree();
        cluster.counted_until = nodes::now();
        cluster
    }

    fn corefile(&self, ttl: u32) -> String {
        let kubeconfig = self.kubeconfig.to_string_lossy();
        COREFILE
            .replace("{kubeconfig}", &kubeconfig)
            .replace("{ttl}", &ttl.to_string())
            .replace("{options}", self.options)
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        self.plane.kubectl(&[&["--namespace=shop"], arguments].concat(), "")
    }

    /// Lets something happen, and then the nodes look for a while; notes what it cost.
    ///
    /// It begins where the one before ended: no time is left out.
    fn phase(&mut self, name: &'static str, happens: impl FnOnce(&mut Self)) {
        let begin = self.counted_until;
        happens(self);
        self.look_again();
        if self.program == Program::Podzone {
            self.agree();
        }
        let end = nodes::now();
        let losses = Losses::between(&self.kubelet.nodes, begin, end);
        let seconds = (end - begin).div_ceil(1000);
        eprintln!("{:?}: {name}: {seconds} s, {losses:?}", self.program);
        self.phases.push(Phase { name, losses, seconds });
        self.counted_until = end;
    }

    /// Cuts the way to the API server, which is told to nobody: what is sent to it is lost. Gives for how long.
    fn outage_begins(&mut self) -> Duration {
        let seconds = std::env::var("ENDURE_OUTAGE_SECONDS").map_or(OUTAGE_SECONDS_MIN, |text| text.parse().unwrap());
        assert!(seconds >= OUTAGE_SECONDS_MIN, "ENDURE_OUTAGE_SECONDS is {OUTAGE_SECONDS_MIN} or more");
        self.api.cut_off();
        self.begin_of_outage = Instant::now();
        Duration::from_secs(seconds)
    }

    /// Gives both servers a Corefile with another TTL, and waits until these work by it.
    fn reload(&self, ttl: u32, awaited: &[usize]) {
        let before: Vec<_> = self.replicas.iter().map(Replica::reloads).collect();
        let corefile = self.corefile(ttl);
        for replica in &self.replicas {
            replica.reload(&corefile);
        }
        for number in awaited {
            self.wait("it has reloaded", |cluster| truth(cluster.replicas[*number].reloads() > before[*number]));
        }
    }

    /// Waits until the Deployment is as it should be, and all of its pods are Ready.
    fn roll_out(&mut self) {
        let begin = Instant::now();
        loop {
            self.kubelet.step(&self.plane, &self.network);
            let text = self.kubectl(&["get", "deployment", "app", "--output=json"]);
            let deployment: Value = serde_json::from_str(&text).unwrap();
            let status = &deployment["status"];
            let is_seen = status["observedGeneration"] == deployment["metadata"]["generation"];
            let counts = ["replicas", "updatedReplicas", "readyReplicas"].map(|of| status[of].as_u64());
            let all = self.kubelet.alive().count();
            if is_seen && counts == [Some(NODES as u64); 3] && all == NODES && self.kubelet.has_settled() {
                return;
            }
            assert!(begin.elapsed() < LIMIT, "not rolled out: {status:#}\n{}", self.logs());
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Waits until each node that is alive has looked thrice from now on: the first may have begun before.
    fn look_again(&self) {
        let before: Vec<_> = self.kubelet.alive().map(|node| node.looks().len()).collect();
        self.wait("the nodes look again", |cluster| {
            let late = cluster.kubelet.alive().zip(&before).find(|(node, before)| node.looks().len() < **before + 3);
            late.map_or(Ok(()), |(node, _)| Err(node.name.clone()))
        });
    }

    /// Waits until the nodes that are alive are one cluster.
    fn agree(&self) {
        self.wait("the nodes are one cluster", |cluster| cluster.kubelet.agrees());
    }

    fn wait(&self, what: &str, mut probe: impl FnMut(&Self) -> Result<(), String>) {
        let begin = Instant::now();
        support::wait_for(what, LIMIT, || {
            // The logs are for the last reason only.
            let is_last = || begin.elapsed() >= LIMIT;
            probe(self).map_err(|reason| if is_last() { reason + "\n" + &self.logs() } else { reason })
        });
    }

    fn logs(&self) -> String {
        let nodes = self.kubelet.alive().map(|node| node.process.log_tail());
        nodes.chain(self.replicas.iter().map(Replica::log_tail)).collect::<Vec<_>>().join("\n")
    }
}
