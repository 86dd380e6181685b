//! How many UDP sockets a listener opens: `multisocket` of its first block, else `-workers`, else one for each CPU.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::process::Command;

use support::server::{Program, Server};

/// UDP sockets of this network namespace on a port of 127.0.0.1.
fn sockets(port: u16) -> usize {
    let local = format!("0100007F:{port:04X}");
    let table = std::fs::read_to_string("/proc/net/udp").unwrap();
    table.lines().filter(|line| line.split_whitespace().nth(1) == Some(&local)).count()
}

fn started(corefile: &str, arguments: &[&str]) -> Server {
    let mut server = Server::spawn(Program::Podzone, corefile, arguments);
    server.wait_until_it_answers();
    server
}

fn sockets_of(corefile: &str, arguments: &[&str]) -> usize {
    sockets(started(corefile, arguments).addr().port())
}

/// A server block for a zone, with this line.
fn block(zone: &str, line: &str) -> String {
    format!("{zone} {{\n bind 127.0.0.1\n errors\n {line}\n}}\n")
}

fn cpus() -> usize {
    std::thread::available_parallelism().unwrap().get()
}

#[test]
fn one_for_each_cpu_unless_told() {
    assert_eq!(sockets_of(&block(".", ""), &[]), cpus());
    assert_eq!(sockets_of(&block(".", "multisocket"), &[]), cpus());
}

#[test]
fn the_directive_goes_before_the_flag() {
    assert_eq!(sockets_of(&block(".", ""), &["-workers", "7"]), 7);
    assert_eq!(sockets_of(&block(".", "multisocket 5"), &["-workers", "7"]), 5);
    assert_eq!(sockets_of(&block(".", "multisocket"), &["-workers", "7"]), cpus());
}

/// CoreDNS takes the first block's number, and one socket if that has none; see core/dnsserver/register.go.
#[test]
fn the_first_block_at_an_address_decides() {
    let (two, three, none) = (block("a.test", "multisocket 2"), block("b.test", "multisocket 3"), block("c.test", ""));
    assert_eq!(sockets_of(&format!("{two}{three}{none}"), &[]), 2);
    assert_eq!(sockets_of(&format!("{three}{two}{none}"), &[]), 3);
    assert_eq!(sockets_of(&format!("{none}{three}{two}"), &["-workers", "4"]), 4);
    // Another port is another listener.
    let server = started(&format!("{two}{}", block("b.test:{port:other}", "multisocket 3")), &[]);
    assert_eq!((sockets(server.addr().port()), sockets(server.addr_of("other").port())), (2, 3));
}

#[test]
fn coredns_lets_the_first_block_decide_too() {
    let (two, three, none) = (block("a.test", "multisocket 2"), block("b.test", "multisocket 3"), block("c.test", ""));
    for (corefile, expected) in
        [(format!("{two}{three}"), 2), (format!("{three}{two}"), 3), (format!("{none}{three}"), 1)]
    {
        let server = Program::CoreDns.start(&corefile);
        assert_eq!(sockets(server.addr().port()), expected, "{corefile}");
    }
}

/// A container's CPU limit, or `taskset` as here, counts: not the machine's number.
#[test]
fn cpus_that_the_process_may_not_use_do_not_count() {
    let scratch = support::process::Scratch::new();
    let port = support::ports::free();
    let (corefile, log) = (scratch.path().join("Corefile"), scratch.path().join("log"));
    std::fs::write(&corefile, block(".", "")).unwrap();
    let allowed = std::fs::read_to_string("/proc/self/status").unwrap();
    let allowed = allowed.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    let first: String = allowed.chars().take_while(char::is_ascii_digit).collect();
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &first]).arg(Program::Podzone.path()).arg("-conf").arg(&corefile);
    command.args(["-dns.port", &port.to_string()]);
    let mut process = support::process::Process::spawn("podzone", command, &log);
    let limit = std::time::Duration::from_secs(20);
    // Its last words while it starts come when all sockets are open.
    let words = format!("podzone-{}", env!("CARGO_PKG_VERSION"));
    process.wait_until("it is started", limit, || std::fs::read_to_string(&log).ok()?.contains(&words).then_some(()));
    assert_eq!(sockets(port), 1);
}
