//! What integration tests share: the real peers, a control plane of Kubernetes, DNS servers under test, and a DNS
//! client that changes nothing in what it sends and receives.
//!
//! Every process that a test starts dies with the test's process, however that ends, see [`process`].
// Each test crate takes what it needs; tests may panic.
#![allow(dead_code, unused_macros, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

/// Runs each scenario, a function of a [`server::Program`], on both programs.
macro_rules! on_both {
    ($($scenario:ident),* $(,)?) => {
        mod on_coredns {
            $(#[test] fn $scenario() { super::$scenario(super::Program::CoreDns); })*
        }
        mod on_podzone {
            $(#[test] fn $scenario() { super::$scenario(super::Program::Podzone); })*
        }
    };
}

pub mod answered;
pub mod dist;
pub mod dns;
pub mod dns_text;
pub mod dnsperf;
pub mod exposition;
pub mod held;
pub mod http;
pub mod internet;
pub mod kube;
pub mod listed_api;
pub mod mcs;
pub mod namespace;
pub mod page;
pub mod peers;
pub mod pki;
pub mod ports;
pub mod process;
pub mod scripted;
pub mod server;
pub mod toy_api;
pub mod xfr;

use std::time::{Duration, Instant};

/// Calls `probe` until it gives a value; panics with its last reason when `limit` has passed.
pub fn wait_for<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let begin = Instant::now();
    loop {
        match probe() {
            Ok(value) => return value,
            Err(reason) if begin.elapsed() >= limit => panic!("{what}: not within {limit:?}: {reason}"),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
