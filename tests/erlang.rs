//! Erlang nodes find each other by podzone's names: real nodes, each on a host of its own that looks like a pod, look
//! for their peers as libcluster does (`tests/erlang/discovery.erl`) and connect by the names they are given.
//!
//! A node's name is text: what `hostname -f` says on its host must be the SRV target to the letter, and the target must
//! resolve, or the nodes do not find each other. And an error is an empty list to a node: it leaves all others.
// A test may panic; what it lacks is said by the harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "erlang/nodes.rs"]
mod nodes;
mod support;

use nodes::{Look, beam, now};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use support::namespace::{Host, Network};
use support::process::{Process, Scratch};
use support::server::Program;

/// Nodes look this often, in milliseconds; libcluster's default is 5 s.
const INTERVAL: &str = "1000";

/// All waits of one test together.
const LIMIT: Duration = Duration::from_secs(80);

const SERVICE: &str = "beam.default.svc.cluster.local";

const REPLICAS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 244, 0, 2), Ipv4Addr::new(10, 244, 0, 3)];

const COREFILE: &str = "
cluster.local in-addr.arpa {
    errors
    kubernetes cluster.local in-addr.arpa {
        manifests {folder}
        endpoint_pod_names
    }
}
";

const MANIFEST: &str = "
apiVersion: v1
kind: Service
metadata: {name: beam, namespace: default}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  ports: [{name: epmd, port: 4369}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: beam-q7zvd, namespace: default, labels: {kubernetes.io/service-name: beam}}
addressType: IPv4
ports: [{name: epmd, protocol: TCP, port: 4369}]
endpoints:
";

#[test]
fn nodes_follow_the_slice() {
    let mut cluster = Cluster::new(1);
    let pods = pods::<4>();
    cluster.publish(&pods[..3]);
    let shown = cluster.shows(3);
    cluster.start_nodes(&pods[..3], Task::LooksByTtl);
    cluster.agrees_on(&pods[..3]);
    eprintln!("three nodes are a cluster {} ms after their start", cluster.view_since(shown));

    // A node that hangs keeps its connections: only by DNS do the others know that its pod is gone.
    let left = cluster.nodes.remove(2);
    left.process.signal("STOP");
    let changed = cluster.publish(&pods[..2]);
    let shown = cluster.shows(2);
    cluster.agrees_on(&pods[..2]);
    let view = cluster.view_since(changed);
    eprintln!("a pod leaves: podzone shows it after {} ms, the last node acts after {view} ms", shown - changed);
    cluster.acted_within_two_looks();
    drop(left);

    // One that does not look itself must be found.
    cluster.start_nodes(&pods[3..], Task::Waits);
    let joined = [pods[0].clone(), pods[1].clone(), pods[3].clone()];
    let changed = cluster.publish(&joined);
    let shown = cluster.shows(3);
    cluster.agrees_on(&joined);
    let view = cluster.view_since(changed);
    eprintln!("a pod joins: podzone shows it after {} ms, the last node acts after {view} ms", shown - changed);
    cluster.acted_within_two_looks();
    cluster.none_was_lost_but(&[&pods[2]]);
}

#[test]
fn nodes_stay_together_when_one_replica_fails() {
    let mut cluster = Cluster::new(2);
    let pods = pods::<4>();
    cluster.publish(&pods[..3]);
    cluster.shows(3);
    cluster.start_nodes(&pods[..3], Task::Looks);
    cluster.agrees_on(&pods[..3]);

    // The one that is asked first. Its host says that the port is closed.
    cluster.replicas[0].process.kill();
    eprintln!("a look takes up to {} ms while the first replica is dead", cluster.looks(3));
    // The cluster goes on changing.
    cluster.start_nodes(&pods[3..], Task::Looks);
    let changed = cluster.publish(&pods);
    cluster.agrees_on(&pods);
    eprintln!("a pod joins: the last node acts after {} ms", cluster.view_since(changed));

    // Until it knows the cluster it must not say that the Service has nobody.
    cluster.restart_first();
    eprintln!("a look takes up to {} ms when it is back", cluster.looks(2));

    // As in a rollout: it is asked to end.
    cluster.replicas[0].process.terminate(Duration::from_secs(5)).expect("it ends when asked to");
    cluster.looks(1);
    cluster.restart_first();
    cluster.looks(1);

    // Nobody says anything: what is sent to it is lost.
    cluster.replicas[0].host.cut_off();
    eprintln!("a look takes up to {} ms while the first replica is cut off", cluster.looks(3));
    cluster.replicas[0].host.reconnect();
    cluster.answers(0);
    cluster.looks(1);

    cluster.agrees_on(&pods);
    cluster.none_was_lost_but(&[]);

    // That this is the servers' merit: without any, each node leaves all others.
    for replica in &mut cluster.replicas {
        replica.process.kill();
    }
    cluster.wait("the nodes leave each other", || {
        let last = |node: &Node| node.looks().pop().unwrap();
        let late = cluster.nodes.iter().map(last).find(|look| !look.targets.is_empty() || !look.connected.is_empty());
        late.map_or(Ok(()), |look| Err(format!("{look:#?}")))
    });
}

#[test]
fn inet_res_gets_more_targets_than_fit_a_datagram() {
    let cluster = Cluster::new(1);
    let pods = pods::<12>();
    cluster.publish(&pods);
    cluster.shows(12);
    // What makes it ask again: without EDNS, 512 octets are all there is.
    let flags = cluster.dig(0, &["+notcp", "+ignore", "+noedns", "+noall", "+comments", SERVICE, "SRV"]);
    assert!(flags.contains(" tc"), "not truncated: {flags}");

    let expected: Vec<_> = pods.iter().map(|pod| pod.fqdn.as_str()).collect();
    // A node with a name reads the host's files in another way than one without.
    for options in ["", "-name asks@10.244.0.4"] {
        let mut command = cluster.erl(&cluster.client, options);
        let output = command.args(["-run", "discovery", "ask", SERVICE]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<_> = text.lines().map(|line| line.split(' ').collect::<Vec<_>>()).collect();
        let told: Vec<_> = lines.iter().map(|line| (line[1], line[3].split(',').collect::<Vec<_>>())).collect();
        let logs = || format!("{options}: {output:?}\n{}", cluster.logs());
        assert_eq!(told, [("lookup", expected.clone()), ("getbyname", expected.clone())], "{}", logs());
        eprintln!("twelve targets take {} ms, and {} ms once more", lines[0][2], lines[1][2]);
    }
}

/// A pod of a Deployment.
#[derive(Clone)]
struct Pod {
    name: String,
    fqdn: String,
    address: Ipv4Addr,
}

/// As the controllers name pods; in this order.
const SUFFIXES: [&str; 12] =
    ["4nq8d", "6zr2k", "8wq4m", "9hbvx", "c5rjd", "ddw7l", "f2x9s", "jm64g", "n8ktp", "qlz5c", "tz6hn", "x1k2p"];

/// This many pods of one Deployment.
fn pods<const COUNT: usize>() -> [Pod; COUNT] {
    std::array::from_fn(|number| {
        let name = format!("beam-7d9f8b6c5-{}", SUFFIXES[number]);
        let address = Ipv4Addr::new(10, 244, 1, 10 + u8::try_from(number).unwrap());
        Pod { fqdn: format!("{name}.{SERVICE}"), name, address }
    })
}

/// podzone on a host of its own.
struct Replica {
    process: Process,
    host: Host,
}

impl Replica {
    fn start(manifests: &Path, host: Host) -> Self {
        let folder = manifests.parent().unwrap();
        let mut command = host.command(&Program::Podzone.path().to_string_lossy());
        command.arg("-conf").arg(folder.join("Corefile"));
        let name = format!("podzone-{}", host.address());
        let process = Process::spawn(&name, command, &folder.join(&name));
        Self { process, host }
    }
}

/// What a node does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
    /// Looks for others, and asks each time.
    Looks,
    /// Looks for others as libcluster does: Erlang keeps the answer for its TTL.
    LooksByTtl,
    /// Waits until others find it.
    Waits,
}

/// An Erlang node on a host of its own.
struct Node {
    process: Process,
    pod: Pod,
    task: Task,
    _host: Host,
}

impl Node {
    fn lines(&self) -> Vec<Vec<String>> {
        nodes::lines(&self.process)
    }

    fn looks(&self) -> Vec<Look> {
        nodes::looks(&self.process)
    }

    /// The looks since it was last told what it is told now.
    fn looks_since_told(&self) -> Vec<Look> {
        let mut looks = self.looks();
        let told = looks.last().map(|look| look.targets.clone()).unwrap_or_default();
        let first = looks.iter().rposition(|look| look.targets != told).map_or(0, |last| last + 1);
        looks.split_off(first)
    }
}

/// The servers, the nodes and what they share.
struct Cluster {
    // In the order of their end.
    nodes: Vec<Node>,
    replicas: Vec<Replica>,
    client: Host,
    network: Network,
    /// The folder that the servers watch.
    manifests: PathBuf,
    scratch: Scratch,
    begin: Instant,
}

impl Cluster {
    /// Runs this many replicas of podzone, and no node yet.
    fn new(replicas: usize) -> Self {
        let begin = Instant::now();
        let network = Network::new();
        let scratch = Scratch::new();
        let manifests = scratch.path().join("manifests");
        fs::create_dir(&manifests).unwrap();
        fs::write(scratch.path().join("Corefile"), COREFILE.replace("{folder}", &manifests.to_string_lossy())).unwrap();
        nodes::compile(scratch.path());

        let replica = |number: usize| {
            let host = network.host(&format!("dns-{number}.kube-dns"), REPLICAS[number], &[]);
            Replica::start(&manifests, host)
        };
        let client = network.host("client.test", Ipv4Addr::new(10, 244, 0, 4), &REPLICAS[..replicas]);
        let replicas = (0..replicas).map(replica).collect();
        let cluster = Self { nodes: Vec::new(), replicas, client, network, manifests, scratch, begin };
        cluster.publish(&[]);
        for number in 0..cluster.replicas.len() {
            cluster.answers(number);
        }
        cluster
    }

    /// Runs the first replica anew, and waits until it answers.
    fn restart_first(&mut self) {
        let replica = Replica::start(&self.manifests, self.replicas.remove(0).host);
        self.replicas.insert(0, replica);
        self.answers(0);
    }

    /// Runs nodes on their pods' hosts.
    fn start_nodes(&mut self, pods: &[Pod], task: Task) {
        // The hosts first: what is sent to an address that is not there yet takes seconds to fail.
        let hosts: Vec<_> = pods.iter().map(|pod| self.host_of(pod)).collect();
        let nodes = pods.iter().zip(hosts).map(|(pod, host)| self.node(pod, host, task)).collect::<Vec<_>>();
        let running = self.nodes.len();
        self.nodes.extend(nodes);
        let limit = self.time_left();
        for Node { process, pod, .. } in &mut self.nodes[running..] {
            let log = self.scratch.path().join(&pod.name);
            let runs = || fs::read_to_string(&log).is_ok_and(|log| log.contains(" look ")).then_some(());
            process.wait_until("it runs", limit, runs);
        }
    }

    fn host_of(&self, pod: &Pod) -> Host {
        let nameservers: Vec<_> = self.replicas.iter().map(|replica| replica.host.address()).collect();
        self.network.host(&pod.fqdn, pod.address, &nameservers)
    }

    fn node(&self, pod: &Pod, host: Host, task: Task) -> Node {
        let mut command = self.erl(&host, nodes::MEMBER);
        command.args(["-run", "discovery"]);
        match task {
            Task::Looks => command.args(["run", "lookup", SERVICE]),
            Task::LooksByTtl => command.args(["run", "getbyname", SERVICE]),
            Task::Waits => command.arg("wait"),
        };
        command.arg(INTERVAL);
        let process = Process::spawn(&pod.name, command, &self.scratch.path().join(&pod.name));
        Node { process, pod: pod.clone(), task, _host: host }
    }

    /// Erlang on this host, with options in the shell's words.
    fn erl(&self, host: &Host, options: &str) -> Command {
        nodes::erl(host, self.scratch.path(), options)
    }

    /// Writes the Service with these pods; gives the time in milliseconds.
    fn publish(&self, pods: &[Pod]) -> u64 {
        let mut text = MANIFEST.to_owned();
        for Pod { name, address, .. } in pods {
            write!(
                text,
                "  - {{addresses: [{address}], conditions: {{ready: true, serving: true, terminating: false}},"
            )
            .unwrap();
            writeln!(text, " targetRef: {{kind: Pod, namespace: default, name: {name}}}}}").unwrap();
        }
        if pods.is_empty() {
            text.push_str("  []\n");
        }
        // In one step, and not a manifest until then.
        let new = self.scratch.path().join("beam.new");
        fs::write(&new, text).unwrap();
        let now = now();
        fs::rename(&new, self.manifests.join("beam.yaml")).unwrap();
        now
    }

    /// Waits until the first replica shows this many targets; gives the time in milliseconds.
    fn shows(&self, count: usize) -> u64 {
        self.wait("podzone shows the change", || {
            let text = self.dig(0, &["+tcp", "+short", SERVICE, "SRV"]);
            if text.lines().count() == count { Ok(now()) } else { Err(text) }
        })
    }

    /// Waits until a replica knows the cluster.
    fn answers(&self, replica: usize) {
        self.wait("podzone answers", || {
            let text = self.dig(replica, &[SERVICE, "SRV"]);
            if text.contains("NOERROR") || text.contains("NXDOMAIN") { Ok(()) } else { Err(text) }
        });
    }

    fn dig(&self, replica: usize, arguments: &[&str]) -> String {
        let mut command = self.client.command("dig");
        command.arg(format!("@{}", REPLICAS[replica])).args(["+time=1", "+tries=1"]).args(arguments);
        let output = command.env("HOME", self.scratch.path()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until every node that looks is told exactly these pods, itself among them, and every node is connected to
    /// exactly the others.
    fn agrees_on(&self, pods: &[Pod]) {
        let all: BTreeSet<_> = pods.iter().map(|pod| beam(&pod.fqdn)).collect();
        self.wait(&format!("the nodes are {all:#?}"), || {
            for node in &self.nodes {
                let look = node.looks().pop().ok_or_else(|| format!("{} has not looked yet", node.pod.name))?;
                let mut others = all.clone();
                others.remove(&beam(&node.pod.fqdn));
                if look.connected != others || (node.task != Task::Waits && look.targets != all) {
                    return Err(format!("{}: {look:#?}", node.pod.name));
                }
            }
            Ok(())
        });
    }

    /// The milliseconds from then until the last node knew what it knows now.
    fn view_since(&self, then: u64) -> u64 {
        let since = |node: &Node| {
            let looks = node.looks();
            let now = looks.last().unwrap();
            let same = |look: &&Look| look.connected == now.connected && look.targets == now.targets;
            looks.iter().rev().take_while(same).last().unwrap().at.saturating_sub(then)
        };
        self.nodes.iter().map(since).max().unwrap()
    }

    /// No node needed more than two looks from the first that told it to what it is connected to now.
    fn acted_within_two_looks(&self) {
        for node in self.nodes.iter().filter(|node| node.task != Task::Waits) {
            let looks = node.looks_since_told();
            let now = &looks.last().unwrap().connected;
            let late = looks.iter().take_while(|look| look.connected != *now).count();
            assert!(late < 2, "{} took {} looks: {looks:#?}\n{}", node.pod.name, late + 1, self.logs());
        }
    }

    /// Waits until each node has looked this often from now on; gives the milliseconds that the longest took.
    fn looks(&self, count: usize) -> u64 {
        let before: Vec<_> = self.nodes.iter().map(|node| node.looks().len()).collect();
        // The first may have begun before.
        let looks = |number: usize| self.nodes[number].looks().split_off(before[number]);
        self.wait("the nodes look again", || {
            let late = (0..before.len()).find(|number| looks(*number).len() <= count);
            late.map_or(Ok(()), |number| Err(self.nodes[number].pod.name.clone()))
        });
        (0..before.len()).flat_map(looks).map(|look| look.took).max().unwrap()
    }

    /// No connection was ever lost but those to the nodes of these pods, and nobody was told an error.
    fn none_was_lost_but(&self, pods: &[&Pod]) {
        for node in &self.nodes {
            let wrong = |line: &Vec<String>| match line.get(1).map(String::as_str) {
                Some("down") => pods.iter().all(|pod| line[2] != beam(&pod.fqdn)),
                Some("error") => true,
                _ => false,
            };
            let wrong: Vec<_> = node.lines().into_iter().filter(wrong).collect();
            assert!(wrong.is_empty(), "{}: {wrong:?}\n{}", node.pod.name, self.logs());
        }
    }

    fn time_left(&self) -> Duration {
        LIMIT.saturating_sub(self.begin.elapsed())
    }

    fn wait<T>(&self, what: &str, mut probe: impl FnMut() -> Result<T, String>) -> T {
        support::wait_for(what, self.time_left(), || {
            // The logs are for the last reason only.
            probe().map_err(|reason| if self.time_left().is_zero() { reason + "\n" + &self.logs() } else { reason })
        })
    }

    fn logs(&self) -> String {
        let servers = self.replicas.iter().map(|replica| &replica.process);
        let all = self.nodes.iter().map(|node| &node.process).chain(servers);
        all.map(Process::log_tail).collect::<Vec<_>>().join("\n")
    }
}
