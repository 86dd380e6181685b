//! Bad input: a configuration, a cluster or packets that are wrong end nothing that is right, and a person is told
//! what to do.
// A test may panic; what it lacks is said by the harness.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod clusters;
mod connections;
mod crafted;
mod ends;
mod good_client;
mod load;
mod manifests;
mod packets;
mod runs;
