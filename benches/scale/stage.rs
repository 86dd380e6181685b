//! How the servers are started on the same API server.

use crate::arguments::Arguments;
use crate::cgroup::Group;
use crate::cluster::Cluster;
use crate::follower::Follower;
use crate::memory::Memory;
use crate::restart::slice_lists;
use crate::server::{self, Server};
use crate::subject::Subject;
use crate::support::dns;
use crate::support::kube::ControlPlane;
use crate::support::peers;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What servers are started on.
pub(crate) struct Stage {
    pub(crate) plane: ControlPlane,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) connections: usize,
    pub(crate) server_core: usize,
    pub(crate) client_core: usize,
    /// How many lists of all slices an API server makes for itself while it starts.
    pub(crate) own_lists: f64,
    podzone: PathBuf,
}

/// How a server is to run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct How {
    /// Bound to the server's core; else it may use all.
    pub(crate) is_bound: bool,
    pub(crate) pods_verified: bool,
}

/// A running server, and its control group where there is one.
pub(crate) struct Running {
    // In the order of their end.
    pub(crate) server: Server,
    group: Option<Group>,
}

impl Stage {
    /// On an API server that nobody has asked for anything yet.
    pub(crate) fn new(arguments: &Arguments, plane: ControlPlane, cluster: Arc<Cluster>) -> Self {
        let built = || PathBuf::from(env!("CARGO_BIN_EXE_podzone"));
        Self {
            own_lists: slice_lists(&plane),
            plane,
            cluster,
            connections: arguments.connections.into(),
            server_core: arguments.server_core,
            client_core: arguments.client_core,
            podzone: arguments.podzone.clone().unwrap_or_else(built),
        }
    }

    /// Starts a server, and does not wait.
    pub(crate) fn start(&self, subject: Subject, how: How) -> Running {
        let program = match subject {
            Subject::Podzone => self.podzone.clone(),
            Subject::Coredns => peers::binary("coredns"),
        };
        // Whoever reads a file first pays for its pages and waits for the disk: that is nobody measured here.
        std::fs::read(&program).unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let follower =
            Follower { program: &program, kubeconfig: self.plane.kubeconfig(), pods_verified: how.pods_verified };
        let core = how.is_bound.then_some(self.server_core);
        Running::start(subject.title(), core, |command, folder, port| follower.complete(command, folder, port))
    }

    /// What a server that is ready knows: Services here and there and, first of all asked about, the last of each kind in
    /// the listings' order.
    pub(crate) fn sample(&self) -> Vec<(dns::Query, String)> {
        let mut sample = server::sample(&self.cluster);
        let mut backwards = self.cluster.services.iter().rev();
        let last = backwards.find_map(|service| Some((service.fqdn(), service.cluster_ip?.to_string())));
        sample.extend(last.map(|(name, address)| (dns::Query::new(&name, dns::A), address)));
        sample
    }
}

impl Running {
    /// Starts a server in a control group of its own where one can be made.
    pub(crate) fn start(
        name: &str,
        core: Option<usize>,
        complete: impl FnOnce(&mut std::process::Command, &std::path::Path, u16),
    ) -> Self {
        let group = Group::new();
        let mut launcher = group.as_ref().map(Group::launcher).unwrap_or_default();
        launcher.extend(core.into_iter().flat_map(server::on_core));
        if launcher.is_empty() {
            launcher.push("env".to_owned());
        }
        Self { server: Server::spawn_by(name, &launcher, complete), group }
    }

    pub(crate) fn memory(&self) -> Memory {
        Memory::new(self.server.memory(), self.group.as_ref().map(Group::charged))
    }

    /// From now on peaks are those since now.
    pub(crate) fn forget_peak(&mut self) {
        // "5" resets what /proc/PID/status has for a peak (proc(5)).
        std::fs::write(format!("/proc/{}/clear_refs", self.server.id()), "5").expect("a process of ours");
        if let Some(group) = &mut self.group {
            group.forget_peak();
        }
    }

    /// Waits, then tells what memory is held.
    pub(crate) fn settled_memory(&self, time: Duration) -> Memory {
        std::thread::sleep(time);
        self.memory()
    }
}
