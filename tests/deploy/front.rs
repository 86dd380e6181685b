//! CoreDNS on a host of its own, as the clients of a cluster have it: its own `kubernetes`, and before it a block of
//! `deploy/coredns`, by which it forwards to podzone.

use std::net::Ipv4Addr;

use super::SERVICE_ADDRESS;
use super::cluster::deploy;
use super::pod::Pod;
use super::support::kube::ControlPlane;
use super::support::namespace::Network;
use super::support::process::{Process, Scratch};
use super::support::server::Program;
use super::way;

/// Beside the block: what CoreDNS serves itself, and a name of the world outside.
const OWN: &str = "
.:53 {
    errors
    kubernetes cluster.local in-addr.arpa {
        kubeconfig {kubeconfig} test
    }
    hosts {
        192.0.2.7 www.example.org
    }
}
";

pub(crate) struct Front {
    pub(crate) address: Ipv4Addr,
    process: Process,
    _folder: Scratch,
}

impl Front {
    /// Runs it with the shipped block for the whole zone, where the Service's address stands for these pods.
    pub(crate) fn start(plane: &ControlPlane, network: &Network, address: Ipv4Addr, pods: &[&Pod]) -> Self {
        let folder = Scratch::new();
        let addresses: Vec<_> = pods.iter().map(|pod| format!("{}:{}", pod.address(), pod.port("dns"))).collect();
        let block = std::fs::read_to_string(deploy("coredns/whole-zone.Corefile")).unwrap();
        assert!(block.contains(SERVICE_ADDRESS), "{block}");
        let block = block.replace(SERVICE_ADDRESS, &addresses.join(" "));
        // The pods' addresses are kwok's, or those of the test's hosts.
        let block = block.replace(" 10.244.0.0/16:53", " 10.244.0.0/16:53 10.128.0.0/14:53");
        let own = OWN.replace("{kubeconfig}", &plane.kubeconfig().display().to_string());
        let path = folder.path().join("Corefile");
        std::fs::write(&path, block + &own).unwrap();

        let host = network.host("coredns.test", address, &[]);
        let port = plane.url().rsplit(':').next().unwrap().parse().unwrap();
        way::pass_on(host.listen_at(Ipv4Addr::LOCALHOST, port), port);
        let mut command = host.command(&Program::CoreDns.path().to_string_lossy());
        command.arg("-conf").arg(path);
        let process = Process::spawn("coredns", command, &folder.path().join("log"));
        Self { address, process, _folder: folder }
    }

    pub(crate) fn log(&self) -> String {
        self.process.log()
    }
}
