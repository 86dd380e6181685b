//! Connections that rest.

use std::time::Duration;

use super::crafted::KNOWN;
use super::manifests::{COREFILE, service};
use super::support::dns::{A, Query, Tcp};
use super::support::held::resident_kib;
use super::support::process::Scratch;
use super::support::server::Program;

const PATIENCE: Duration = Duration::from_secs(10);
/// Fewer than the file descriptors that a test may have anywhere.
const CONNECTIONS: u64 = 800;
/// A task, a socket's registration, a timer, and what the allocator adds. A buffer would be more.
const OCTETS_MAX: u64 = 3 * 1024;

#[test]
fn a_connection_that_rests_holds_no_buffer() {
    let scratch = Scratch::new();
    std::fs::write(scratch.path().join("web.yaml"), service("web", "10.96.0.1")).unwrap();
    let mut server = Program::Podzone.start(&COREFILE.replace("FOLDER", &scratch.path().to_string_lossy()));
    let (addr, id) = (server.addr(), server.process().id());
    let open = || {
        let mut client = Tcp::connect(addr, PATIENCE).unwrap();
        client.send(&Query::new(KNOWN, A).to_bytes()).unwrap();
        client.receive().unwrap();
        client
    };
    // What belongs to the threads is there already.
    drop((0..20).map(|_| open()).collect::<Vec<_>>());
    let before = resident_kib(id);
    let held: Vec<Tcp> = (0..CONNECTIONS).map(|_| open()).collect();
    let each = resident_kib(id).saturating_sub(before) * 1024 / CONNECTIONS;
    println!("{each} octets a connection");
    assert!(each <= OCTETS_MAX, "{each} octets a connection");
    drop(held);
}
