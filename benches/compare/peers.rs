//! How each server is started on the same records.

use crate::cluster::{Cluster, Shape};
use crate::follower::Follower;
use crate::nsd;
use crate::server::Server;
use crate::support::kube::ControlPlane;
use crate::support::{peers, ports};
use crate::zone_file;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Peer {
    /// The bare echo, 32 datagrams a system call.
    Echo,
    /// One datagram a system call.
    EchoUnbatched,
    Podzone,
    /// As Debian builds it.
    Nsd,
    /// Debian's sources built with recvmmsg.
    NsdRecvmmsg,
    Knot,
    Coredns,
}

impl Peer {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Echo => "echo, batched",
            Self::EchoUnbatched => "echo, unbatched",
            Self::Podzone => "podzone",
            Self::Nsd => "NSD, Debian's",
            Self::NsdRecvmmsg => "NSD with recvmmsg",
            Self::Knot => "Knot",
            Self::Coredns => "CoreDNS",
        }
    }

    pub(crate) fn is_echo(self) -> bool {
        matches!(self, Self::Echo | Self::EchoUnbatched)
    }
}

/// One worker for each transport; the kernel's default buffers.
const KNOT: &str = r#"
server:
  rundir: "{folder}"
  listen: 127.0.0.1@{port}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
  udp-max-payload: 4096
  tcp-max-clients: 1000
log:
  - target: stderr
    any: warning
database:
  storage: "{folder}"
zone:
  - domain: cluster.local
    file: "{folder}/zone"
    zonefile-sync: -1
    journal-content: none
"#;

/// What servers are started on.
pub(crate) struct Stage {
    pub(crate) core: usize,
    pub(crate) cluster_seed: u64,
    pub(crate) cluster: Arc<Cluster>,
    /// With an API server podzone is the program that follows it, otherwise a server made from the library.
    pub(crate) plane: Option<ControlPlane>,
    /// The program, if not the one that was built with this.
    pub(crate) podzone: Option<PathBuf>,
    pub(crate) nsd_recvmmsg: PathBuf,
}

/// A server made from the library.
pub(crate) struct LibraryServer {
    pub(crate) server: Server,
    /// Where its churn is set.
    pub(crate) control: SocketAddr,
}

impl Stage {
    /// Whether a server of this kind reads the cluster from the API server, and so starts afresh in each round.
    pub(crate) fn follows(&self, peer: Peer) -> bool {
        matches!(peer, Peer::Podzone | Peer::Coredns) && self.plane.is_some()
    }

    /// Starts an echo whose replies are so many octets longer than the queries.
    pub(crate) fn echo(&self, is_batched: bool, padding: usize) -> Server {
        let mut server = Server::spawn("echo", self.core, |command, _, port| {
            command.arg(this_program()).args(["echo", "--port", &port.to_string(), "--padding", &padding.to_string()]);
            command.args(is_batched.then_some("--batched"));
        });
        server.wait_until_it_speaks();
        server
    }

    /// Starts a server that is no echo, and does not wait.
    pub(crate) fn spawn(&self, peer: Peer) -> Server {
        match (peer, &self.plane) {
            (Peer::Podzone, None) => self.spawn_library(Shape::Full, &[]).server,
            (Peer::Podzone, Some(plane)) => {
                let built = || PathBuf::from(env!("CARGO_BIN_EXE_podzone"));
                self.spawn_follower(&self.podzone.clone().unwrap_or_else(built), plane)
            }
            (Peer::Nsd, _) => self.spawn_nsd(&peers::binary("nsd")),
            (Peer::NsdRecvmmsg, _) => self.spawn_nsd(&self.nsd_recvmmsg),
            (Peer::Knot, _) => self.spawn_knot(),
            (Peer::Coredns, Some(plane)) => self.spawn_follower(&peers::binary("coredns"), plane),
            _ => panic!("{peer:?} is not started so"),
        }
    }

    /// Starts a server that is made from the library, and waits until it is ready.
    pub(crate) fn library(&self, shape: Shape, more: &[&str]) -> LibraryServer {
        let mut library = self.spawn_library(shape, more);
        library.server.wait_until_it_speaks();
        library
    }

    fn spawn_library(&self, shape: Shape, more: &[&str]) -> LibraryServer {
        let control = ports::free();
        let shape = clap::ValueEnum::to_possible_value(&shape).expect("a name").get_name().to_owned();
        let server = Server::spawn("podzone's library", self.core, |command, _, port| {
            command
                .arg(this_program())
                .args(["library", "--port", &port.to_string(), "--control", &control.to_string()])
                .args(["--cluster-seed", &self.cluster_seed.to_string(), "--shape", &shape])
                .args(more);
        });
        LibraryServer { server, control: (Ipv4Addr::LOCALHOST, control).into() }
    }

    fn spawn_nsd(&self, program: &Path) -> Server {
        nsd::spawn(program, self.core, "cluster.local", &zone_file::text(&self.cluster))
    }

    fn spawn_knot(&self) -> Server {
        Server::spawn("knot", self.core, |command, folder, port| {
            let text = KNOT.replace("{folder}", &folder.to_string_lossy()).replace("{port}", &port.to_string());
            std::fs::write(folder.join("knot.conf"), text).expect("a configuration");
            std::fs::write(folder.join("zone"), zone_file::text(&self.cluster)).expect("a zone file");
            command.arg(peers::binary("knot")).args(["-c", "knot.conf"]);
        })
    }

    /// Starts a program that reads a Corefile and follows the API server.
    fn spawn_follower(&self, program: &Path, plane: &ControlPlane) -> Server {
        let follower = Follower { program, kubeconfig: plane.kubeconfig(), pods_verified: false };
        Server::spawn(&program.display().to_string(), self.core, |command, folder, port| {
            follower.complete(command, folder, port);
            // As many as it may use; Go would find that out by itself. The other program does not know it.
            command.env("GOMAXPROCS", "1");
        })
    }
}

fn this_program() -> PathBuf {
    std::env::current_exe().expect("this program's path")
}
