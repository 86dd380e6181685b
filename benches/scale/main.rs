//! podzone beside CoreDNS on what a large cluster asks of it: start, memory, the time from a change to the answer:
//! `make bench-scale`, or `cargo bench --bench scale -- --help`. What is measured and how is in `docs/performance.md`.
// A benchmark ends at what it did not expect; it takes what it needs of the comparison's pieces.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

mod api;
mod arguments;
mod cgroup;
mod changes;
#[path = "../compare/churn.rs"]
mod churn;
#[path = "../compare/cluster.rs"]
mod cluster;
mod cores;
mod deletion;
mod download;
mod etcd;
#[path = "../compare/events.rs"]
mod events;
#[path = "../compare/fill.rs"]
mod fill;
#[path = "../compare/follower.rs"]
mod follower;
mod frames;
#[path = "../compare/library.rs"]
mod library;
#[path = "../compare/load.rs"]
mod load;
mod memory;
mod million;
mod pods;
mod prober;
#[path = "../compare/queries.rs"]
mod queries;
mod report;
mod restart;
mod rounds;
#[path = "../compare/server.rs"]
mod server;
mod stage;
mod starts;
mod stored;
mod subject;
#[path = "../../tests/support/mod.rs"]
mod support;
mod sustained;
mod swap;
#[path = "../compare/tables.rs"]
mod tables;
mod touch;
mod updates;
mod watcher;

use arguments::{Arguments, Role};
use clap::Parser;

/// The program's, for the server that is made from its library.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let arguments = Arguments::parse();
    match arguments.role {
        Some(Role::Library(library)) => library::serve(&library),
        None if arguments.bench => rounds::run(&arguments),
        None => println!("a benchmark: run it with `make bench-scale`"),
    }
}
