//! podzone beside CoreDNS as the whole cluster's DNS, on names that are not the cluster's: `make bench-outside`, or
//! `cargo bench --bench outside -- --help`. What is measured and how is in `docs/performance.md`.
// A benchmark ends at what it did not expect; it takes what it needs of the comparison's pieces.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

mod arguments;
#[path = "../compare/cluster.rs"]
mod cluster;
mod internet;
#[path = "../compare/load.rs"]
mod load;
#[path = "../compare/nsd.rs"]
mod nsd;
mod questions;
mod report;
mod rounds;
#[path = "../compare/server.rs"]
mod server;
mod stage;
#[path = "../scale/subject.rs"]
mod subject;
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../compare/tables.rs"]
mod tables;

use clap::Parser;

fn main() {
    let arguments = arguments::Arguments::parse();
    if arguments.bench {
        rounds::run(&arguments);
    } else {
        println!("a benchmark: run it with `make bench-outside`");
    }
}
