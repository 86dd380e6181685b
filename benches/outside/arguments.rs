//! The command line.

use std::path::PathBuf;

/// Compares podzone with CoreDNS on names outside of the cluster.
#[derive(clap::Parser)]
#[command(args_override_self = true)]
pub(crate) struct Arguments {
    /// What to measure; everything if not given.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Rounds; each measures both servers, one after the other, in turns.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: u32,
    /// Seconds of each load. What is cached must live as long: at most 15.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=15))]
    pub(crate) seconds: u32,
    /// Queries that are forwarded, each for a name of its own.
    #[arg(long, default_value_t = 40_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) forwarded: u32,
    /// How many of them are asked a second; as many as are answered if not given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
    /// Seed of the questions; drawn if not given.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// The core of the servers.
    #[arg(long, default_value_t = 0)]
    pub(crate) server_core: usize,
    /// The core of the client and of the upstream.
    #[arg(long, default_value_t = 1)]
    pub(crate) client_core: usize,
    /// The most queries that dnsperf leaves without an answer at one time.
    #[arg(long, default_value_t = 200)]
    pub(crate) outstanding: u32,
    /// The program to measure; the one that was built with this if not given.
    #[arg(long)]
    podzone: Option<PathBuf>,
    /// Given by `cargo bench`, and not by `cargo test`.
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

/// A part of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Part {
    /// Names that are cached.
    Cached,
    /// Names that nobody has asked about before.
    Uncached,
    /// A pod's search path: four names that do not exist, and then one that does.
    Search,
    /// Memory with 10,000 names in the cache.
    Memory,
}

impl Arguments {
    pub(crate) fn measures(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    pub(crate) fn podzone(&self) -> PathBuf {
        self.podzone.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_podzone")))
    }
}
