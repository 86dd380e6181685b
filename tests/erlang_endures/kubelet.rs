//! The kubelet of the Deployment's pods: for each pod a host with an address, and an Erlang node on it that is called what
//! the pod is.
//!
//! The test plays it, and not kwok, so that what the API says of a pod is true: it is Ready once its node runs, and it is
//! gone once its node has ended.

use super::nodes::{self, Look};
use super::support::kube::ControlPlane;
use super::support::namespace::{Host, Network};
use super::support::process::Process;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

pub(crate) struct Kubelet {
    /// All that ever ran, in the order of their start.
    pub(crate) nodes: Vec<Node>,
    service: String,
    nameservers: Vec<Ipv4Addr>,
    interval: String,
    folder: PathBuf,
}

/// An Erlang node, and the pod that it is.
pub(crate) struct Node {
    pub(crate) name: String,
    /// When its pod was asked to end, in milliseconds: until then it is alive.
    pub(crate) until: Option<u64>,
    pub(crate) process: Process,
    pod: String,
    is_ready: bool,
    has_ended: bool,
    _host: Host,
}

impl Node {
    pub(crate) fn is_alive(&self) -> bool {
        self.until.is_none()
    }

    pub(crate) fn looks(&self) -> Vec<Look> {
        nodes::looks(&self.process)
    }
}

impl Kubelet {
    /// For pods of `shop` behind this headless Service, which look for each other so often (milliseconds). `folder` holds
    /// what Erlang nodes run.
    pub(crate) fn new(service: &str, nameservers: &[Ipv4Addr], interval: &str, folder: &Path) -> Self {
        nodes::compile(folder);
        let (service, interval) = (service.to_owned(), interval.to_owned());
        Self { nodes: Vec::new(), service, nameservers: nameservers.to_vec(), interval, folder: folder.to_owned() }
    }

    /// Does what is to be done now.
    pub(crate) fn step(&mut self, plane: &ControlPlane, network: &Network) {
        let pods = plane.kubectl(&["--namespace=shop", "get", "pods", "--output=json"], "");
        let pods: Value = serde_json::from_str(&pods).unwrap();
        for pod in pods["items"].as_array().unwrap() {
            let name = pod["metadata"]["name"].as_str().unwrap();
            let Some(node) = self.nodes.iter_mut().find(|node| node.pod == name) else {
                self.create(name, plane, network);
                continue;
            };
            if node.until.is_none() {
                node.until = asked_to_end(pod);
                if node.until.is_some() {
                    node.process.signal("TERM");
                }
            }
            if node.until.is_some() {
                if node.process.ended().is_some() {
                    plane.kubectl(&["--namespace=shop", "delete", "pod", name, "--grace-period=0", "--force"], "");
                    node.has_ended = true;
                }
            } else if let Some(status) = node.process.ended() {
                panic!("{name} ended ({status})\n{}", node.process.log_tail());
            } else if !node.is_ready && !node.looks().is_empty() {
                set_status(plane, name, &json!({"phase": "Running", "conditions": [condition("True")]}));
                node.is_ready = true;
            }
        }
    }

    /// Whether every pod that was asked to end is gone, and every other is Ready.
    pub(crate) fn has_settled(&self) -> bool {
        self.nodes.iter().all(|node| node.has_ended || node.is_alive() && node.is_ready)
    }

    /// The nodes that are alive.
    pub(crate) fn alive(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_alive())
    }

    /// Whether all nodes that are alive are told of exactly these, and are connected to exactly each other.
    pub(crate) fn agrees(&self) -> Result<(), String> {
        let all: BTreeSet<_> = self.alive().map(|node| node.name.clone()).collect();
        for node in self.alive() {
            let look = node.looks().pop().ok_or_else(|| format!("{} has not looked yet", node.name))?;
            let mut others = all.clone();
            others.remove(&node.name);
            if look.targets != all || look.connected != others {
                return Err(format!("{}: {look:#?}", node.name));
            }
        }
        Ok(())
    }

    fn create(&mut self, pod: &str, plane: &ControlPlane, network: &Network) {
        let address = Ipv4Addr::new(10, 244, 1, 10 + u8::try_from(self.nodes.len()).unwrap());
        let fqdn = format!("{pod}.{}", self.service);
        // Each server is the first for some.
        let mut nameservers = self.nameservers.clone();
        nameservers.rotate_left(self.nodes.len() % self.nameservers.len());
        let host = network.host(&fqdn, address, &nameservers);
        // The Service publishes what is not Ready: its name is there from here on, before the node is.
        let address = address.to_string();
        let status = json!({"phase": "Pending", "conditions": [condition("False")], "podIP": address,
            "podIPs": [{"ip": address}], "hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.1"}]});
        set_status(plane, pod, &status);

        let mut command = nodes::erl(&host, &self.folder, nodes::MEMBER);
        command.args(["-run", "discovery", "run", "lookup", &self.service, &self.interval]);
        let process = Process::spawn(pod, command, &self.folder.join(pod));
        let (name, pod) = (nodes::beam(&fqdn), pod.to_owned());
        self.nodes.push(Node { name, until: None, process, pod, is_ready: false, has_ended: false, _host: host });
    }
}

fn condition(is_ready: &str) -> Value {
    json!({"type": "Ready", "status": is_ready})
}

fn set_status(plane: &ControlPlane, pod: &str, status: &Value) {
    let patch = json!({ "status": status }).to_string();
    let command = ["--namespace=shop", "patch", "pod", pod, "--subresource=status", "--type=merge", "--patch", &patch];
    plane.kubectl(&command, "");
}

/// When this was, in milliseconds, if it was. The API says when the pod must be gone, in whole seconds.
fn asked_to_end(pod: &Value) -> Option<u64> {
    let metadata = &pod["metadata"];
    let gone: jiff::Timestamp = metadata["deletionTimestamp"].as_str()?.parse().unwrap();
    let grace = metadata["deletionGracePeriodSeconds"].as_i64().unwrap();
    Some(u64::try_from(gone.as_millisecond() - grace * 1000).unwrap())
}
