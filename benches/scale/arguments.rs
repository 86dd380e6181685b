//! The command line.

use crate::library::Library;
use std::path::PathBuf;

/// Each of the large Services' slices, to and fro.
const CHANGES_MAX: u32 = 400;

/// Compares podzone with CoreDNS on a large cluster.
#[derive(clap::Parser)]
#[command(args_override_self = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) role: Option<Role>,
    /// What to measure; everything if not given.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Rounds; each measures both servers, one after the other, in turns.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Seconds of slice updates over which CPU is measured, once for each server.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) seconds: u32,
    /// Changes of each kind in each round whose way to the answer is timed; an even number, so that each is undone.
    #[arg(long, default_value_t = 300, value_parser = even)]
    pub(crate) changes: u32,
    /// Seed of what is drawn; drawn itself if not given.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Seed of the cluster.
    #[arg(long, default_value_t = 1)]
    pub(crate) cluster_seed: u64,
    /// The core of the server, where one is bound to a core.
    #[arg(long, default_value_t = 0)]
    pub(crate) server_core: usize,
    /// The core of the API server and of the bench then.
    #[arg(long, default_value_t = 1)]
    pub(crate) client_core: usize,
    /// Connections over which is written to the API server.
    #[arg(long, default_value_t = 14, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub(crate) connections: u16,
    /// The program to measure; the one that was built with this if not given.
    #[arg(long)]
    pub(crate) podzone: Option<PathBuf>,
    /// Given by `cargo bench`, and not by `cargo test`.
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

/// What a process of the bench is, if not the one that measures.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Role {
    /// Serves a synthetic cluster by podzone's library.
    #[command(hide = true)]
    Library(Library),
}

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// From exec until all names answer, beside a bare download of the same lists.
    Start,
    /// Memory after every name was asked about.
    Memory,
    /// The peak of memory when the API server starts anew, and memory after it.
    Restart,
    /// From a change to the answer, nothing else going on.
    Change,
    /// The same under 300 slice updates a second.
    Busy,
    /// The same for Services of 5,000 endpoints and of 5.
    Large,
    /// CPU for 300 slice updates a second.
    Updates,
    /// Memory when half of all slices are deleted.
    Delete,
    /// Memory with `pods verified`.
    Pods,
    /// A million endpoints, without an API server.
    Million,
}

impl Arguments {
    pub(crate) fn measures(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    pub(crate) fn measures_any(&self, parts: &[Part]) -> bool {
        parts.iter().any(|part| self.measures(*part))
    }
}

fn even(text: &str) -> Result<u32, String> {
    let number: u32 = text.parse().map_err(|error| format!("{error}"))?;
    let is_right = (2..=CHANGES_MAX).contains(&number) && number.is_multiple_of(2);
    is_right.then_some(number).ok_or_else(|| format!("not an even number from 2 to {CHANGES_MAX}"))
}
