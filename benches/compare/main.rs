//! podzone beside other servers, and beside a bare echo, on a large synthetic cluster: `make bench`, or
//! `cargo bench --bench compare -- --help`. What is measured and how is in `docs/performance.md`.
// A benchmark ends at what it did not expect.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod allocations;
mod alone;
mod arguments;
mod check;
mod churn;
mod cluster;
mod echo;
mod events;
mod fill;
mod flood;
mod follower;
mod generator;
mod latency;
mod library;
mod load;
mod nsd;
mod peers;
mod pipelined;
mod queries;
mod report;
mod rounds;
mod server;
#[path = "../../tests/support/mod.rs"]
mod support;
mod tables;
mod targets;
mod wanted;
mod zone_file;

use arguments::{Arguments, Role};
use clap::Parser;

fn main() {
    let arguments = Arguments::parse();
    match arguments.role {
        Some(Role::Echo(echo)) => echo::serve(echo),
        Some(Role::Library(library)) => library::serve(&library),
        None if arguments.bench => rounds::run(arguments),
        None => println!("a benchmark: run it with `make bench`"),
    }
}
