//! The examples as their pages say: the commands run as they stand, on a cluster whose CoreDNS forwards to podzone, and the programs as
//! the containers that the manifests make, at the addresses that the pods have.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::Command;

use serde_json::Value;

use super::cluster::{PATIENCE, cluster, deploy, object, objects, rendered, root, wait_until_only};
use super::document;
use super::front::Front;
use super::pod::Pod;
use super::support::kube::ControlPlane;
use super::support::namespace::{Host, Network};
use super::support::process::{Process, Scratch};
use super::support::{peers, wait_for};

/// The pods of a Deployment by their FQDN, each with a host of its own.
struct Members {
    hosts: BTreeMap<String, Host>,
    container: Value,
}

impl Members {
    /// Applies an example by the commands of its page, the first block; the pods are Ready then.
    fn apply(plane: &ControlPlane, network: &Network, nameserver: Ipv4Addr, folder: &str, deployment: &str) -> Self {
        document::run(plane, &document::blocks(&page(folder), heading(folder))[0]);
        let pods = object(plane, "default", "pods");
        let ours =
            pods["items"].as_array().unwrap().iter().filter(|pod| pod["metadata"]["labels"]["app"] == deployment);
        let hosts = ours.map(|pod| {
            let word = |at: &str| pod.pointer(at).and_then(Value::as_str).unwrap_or_else(|| panic!("{at}: {pod}"));
            let fqdn = format!("{}.{}.default.svc.cluster.local", word("/metadata/name"), word("/spec/subdomain"));
            let address: Ipv4Addr = word("/status/podIP").parse().unwrap();
            (fqdn.clone(), network.host(&fqdn, address, &[nameserver]))
        });
        let hosts = hosts.collect();
        let at = "/spec/template/spec/containers/0";
        let container = object(plane, "default", &format!("deployment/{deployment}")).pointer(at).unwrap().clone();
        Self { hosts, container }
    }

    /// Waits until the dig of the page tells exactly these pods.
    fn wait_for_dig(&self, client: &Host, folder: &str) {
        let block = &document::blocks(&page(folder), heading(folder))[1];
        wait_for("dig tells the pods", PATIENCE, || {
            let told = shell(client, block);
            let mut targets: Vec<_> =
                told.lines().filter_map(|line| line.rsplit(' ').next()?.strip_suffix('.')).collect();
            targets.sort_unstable();
            if targets.len() == 3 && targets.iter().eq(self.hosts.keys()) { Ok(()) } else { Err(told) }
        });
    }

    /// The words of the container: its command and arguments.
    fn words(&self) -> Vec<&str> {
        let words = ["command", "args"].into_iter().filter_map(|key| self.container[key].as_array()).flatten();
        words.map(|word| word.as_str().unwrap()).collect()
    }

    /// Waits until each of these processes has told a line, of which it is said whether it is right.
    fn wait_for_lines(&self, processes: &[(String, Process)], is_right: impl Fn(&str, &str) -> bool) {
        assert_eq!(processes.len(), 3);
        for (fqdn, process) in processes {
            wait_for(&format!("{fqdn} has found its peers"), PATIENCE, || {
                let log = process.log();
                if log.lines().any(|line| is_right(fqdn, line)) { Ok(()) } else { Err(log) }
            });
        }
    }

    fn others<'a>(&'a self, fqdn: &'a str) -> impl Iterator<Item = &'a String> {
        self.hosts.keys().filter(move |other| *other != fqdn)
    }
}

fn page(folder: &str) -> String {
    format!("examples/{folder}/README.md")
}

fn heading(folder: &str) -> &'static str {
    match folder {
        "erlang" => "Erlang nodes",
        "elixir" => "An Elixir release",
        _ => "A Go program",
    }
}

fn shell(host: &Host, script: &str) -> String {
    let mut command = host.command("sh");
    let output = command.args(["-ec", script]).env("HOME", "/nonexistent").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_examples_do_as_they_say() {
    let plane = cluster();
    let before = objects(&plane);
    plane.apply(&std::fs::read_to_string(deploy("kustomize/base/namespace.yaml")).unwrap());
    plane.apply(&rendered(&plane, "forwarded"));
    // Beside the addresses that kwok gives to pods.
    let network = Network::new();
    let place = ("podzone-1", Ipv4Addr::new(10, 128, 250, 2));
    let pod = Pod::run(&plane, &network, ("podzone", "podzone"), place, &[]);
    pod.wait_until_ready();
    let front = Front::start(&plane, &network, Ipv4Addr::new(10, 128, 250, 10), &[&pod]);
    let client = network.host("client.test", Ipv4Addr::new(10, 128, 250, 20), &[front.address]);
    let scratch = Scratch::new();

    erlang(&Members::apply(&plane, &network, front.address, "erlang", "peers"), &client, &scratch);
    go(&Members::apply(&plane, &network, front.address, "go", "gopeers"), &client, &scratch);
    elixir(&Members::apply(&plane, &network, front.address, "elixir", "beam"), &client);

    for folder in ["erlang", "go", "elixir"] {
        plane.kubectl(
            &["delete", "-f", &root().join("examples").join(folder).join("manifest.yaml").display().to_string()],
            "",
        );
    }
    plane.kubectl(&["delete", "configmap/peers", "secret/beam"], "");
    plane.kubectl(&["delete", "-f", "-"], &rendered(&plane, "forwarded"));
    wait_until_only(&plane, &before, &[]);
}

fn erlang(members: &Members, client: &Host, scratch: &Scratch) {
    members.wait_for_dig(client, "erlang");
    // The container's command as it stands, but for its folders.
    let words = members.words();
    let [program, option, script] = words[..] else { panic!("{words:?}") };
    let source = root().join("examples/erlang").display().to_string();
    let run = |(fqdn, host): (&String, &Host)| {
        let folder = scratch.path().join(fqdn);
        std::fs::create_dir(&folder).unwrap();
        assert!(script.contains("/opt/peers") && script.contains("/tmp"), "{script}");
        let script = script.replace("/tmp", &folder.display().to_string()).replace("/opt/peers", &source);
        let mut command = host.command(program);
        command.args([option, &script]).env("HOME", &folder);
        (fqdn.clone(), Process::spawn(fqdn, command, &folder.join("log")))
    };
    let nodes: Vec<_> = members.hosts.iter().map(run).collect();
    members.wait_for_lines(&nodes, |fqdn, line| {
        let others: Vec<_> = members.others(fqdn).map(|other| format!("'peers@{other}'")).collect();
        line == format!("peers@{fqdn} is connected to [{}]", others.join(","))
    });
}

fn go(members: &Members, client: &Host, scratch: &Scratch) {
    members.wait_for_dig(client, "go");
    let pointer = shell(client, &document::blocks(&page("go"), heading("go"))[2]);
    assert!(members.hosts.keys().any(|fqdn| pointer.trim() == format!("{fqdn}.")), "{pointer}");
    let run = |(fqdn, host): (&String, &Host)| {
        let mut command = host.command(&peers::binary("example-go").to_string_lossy());
        command.args(members.words());
        (fqdn.clone(), Process::spawn(fqdn, command, &scratch.path().join(fqdn)))
    };
    let programs: Vec<_> = members.hosts.iter().map(run).collect();
    members.wait_for_lines(&programs, |fqdn, line| {
        let others: Vec<_> = members.others(fqdn).map(|other| format!("{other}.:7000")).collect();
        line == format!("{} reached {}", fqdn.split('.').next().unwrap(), others.join(" "))
    });
}

/// libcluster is not here. What it asks for and what it makes of it follow from the settings (`kubernetes_dns_srv.ex` of libcluster 3).
fn elixir(members: &Members, client: &Host) {
    members.wait_for_dig(client, "elixir");
    let folder = root().join("examples/elixir");
    let script = "[libcluster: [topologies: [{_, [strategy: strategy, config: of]}]]] = \
                  Config.Reader.read!(\"config/runtime.exs\", env: :prod); \
                  IO.puts(\"#{inspect(strategy)} #{of[:service]}.#{of[:namespace]} #{of[:application_name]}@\")";
    let mut command = Command::new("elixir");
    command.args(["-e", script]).current_dir(&folder).env("HOME", "/nonexistent").env("LC_ALL", "C.UTF-8");
    let output = command.output().expect("elixir: run `make setup` (tests/peers/install)");
    let settings = String::from_utf8(output.stdout).unwrap();
    let words: Vec<_> = settings.split_whitespace().collect();
    let [strategy, name, before] = words[..] else {
        panic!("{settings} {:?}", String::from_utf8_lossy(&output.stderr))
    };
    assert_eq!(strategy, "Cluster.Strategy.Kubernetes.DNSSRV");
    assert_eq!(shell(client, &format!("dig +short SRV {name}.svc.cluster.local")).lines().count(), 3);
    for (fqdn, host) in &members.hosts {
        let environment = folder.join("rel/env.sh.eex").display().to_string();
        let node = shell(host, &format!(". {environment}; echo \"$RELEASE_DISTRIBUTION $RELEASE_NODE\""));
        assert_eq!(node.trim(), format!("name {before}{fqdn}"));
    }
}
