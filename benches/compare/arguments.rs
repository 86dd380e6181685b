//! The command line.

use crate::echo::Echo;
use crate::library::Library;
use crate::load::Client;
use crate::peers::Peer;
use crate::support::peers;
use std::path::PathBuf;

/// Compares podzone with other servers.
#[derive(clap::Parser)]
#[command(args_override_self = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) role: Option<Role>,
    /// What to measure; everything if not given.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Whom to measure; everybody if not given. Without CoreDNS no API server is needed: podzone is then a server made
    /// from the library, in a process of its own, ready in a second.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Rounds; each measures everything once, in turns.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: u32,
    /// Seconds of each load.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Seed of the questions; drawn if not given.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Seed of the cluster.
    #[arg(long, default_value_t = 1)]
    pub(crate) cluster_seed: u64,
    /// The core of the servers.
    #[arg(long, default_value_t = 0)]
    pub(crate) server_core: usize,
    /// The core of the clients.
    #[arg(long, default_value_t = 1)]
    pub(crate) client_core: usize,
    /// The most queries that dnsperf leaves without an answer at one time.
    #[arg(long, default_value_t = 200)]
    outstanding: u32,
    /// Connections over which the cluster is written to the API server.
    #[arg(long, default_value_t = 14)]
    pub(crate) connections: usize,
    /// The program to measure, following an API server; the one that was built with this if not given.
    #[arg(long)]
    pub(crate) podzone: Option<PathBuf>,
    /// The NSD with recvmmsg; the one of `tests/peers/install` if not given.
    #[arg(long)]
    nsd_recvmmsg: Option<PathBuf>,
    /// Measures nothing: starts the servers, says where they are, and ends after so many seconds.
    #[arg(long)]
    pub(crate) hold: Option<u64>,
    /// Given by `cargo bench`, and not by `cargo test`.
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

/// What a process of the bench is, if not the one that measures.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Role {
    /// Echoes datagrams.
    #[command(hide = true)]
    Echo(Echo),
    /// Serves the synthetic cluster by podzone's library.
    #[command(hide = true)]
    Library(Library),
}

/// A part of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// The standard mix over UDP.
    Udp,
    /// The same over TCP, 100 connections.
    Tcp,
    /// podzone on other mixes.
    Mixes,
    /// podzone on a large cluster and a small one.
    Size,
    /// podzone with `prometheus` and without.
    Counts,
    /// podzone with all its options for names and without.
    Options,
    /// The 99th percentile at half load.
    Latency,
    /// podzone while slices are updated.
    Churn,
    /// podzone while it is flooded.
    Floods,
    /// Allocations of the heap.
    Allocations,
    /// podzone on answers of 1 to 1,000 targets.
    Targets,
}

impl Arguments {
    pub(crate) fn measures(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// Whether any part is measured of which this holds.
    pub(crate) fn measures_any(&self, holds: fn(Part) -> bool) -> bool {
        <Part as clap::ValueEnum>::value_variants().iter().any(|part| holds(*part) && self.measures(*part))
    }

    pub(crate) fn wants_everybody(&self) -> bool {
        self.peers.is_empty()
    }

    /// Those that were asked for, or everybody who is there.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        if !self.wants_everybody() {
            return self.peers.clone();
        }
        let mut everybody = <Peer as clap::ValueEnum>::value_variants().to_vec();
        everybody.retain(|peer| *peer != Peer::NsdRecvmmsg || self.nsd_recvmmsg().is_file());
        everybody
    }

    pub(crate) fn nsd_recvmmsg(&self) -> PathBuf {
        self.nsd_recvmmsg.clone().unwrap_or_else(|| peers::path("nsd-recvmmsg"))
    }

    /// Whether podzone is the program, which needs an API server, and not its library.
    pub(crate) fn wants_api_server(&self) -> bool {
        self.podzone.is_some() || self.peers().contains(&Peer::Coredns)
    }

    pub(crate) fn client(&self) -> Client {
        Client { core: self.client_core, outstanding: self.outstanding, seconds: self.seconds }
    }
}
