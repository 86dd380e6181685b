//! `loop`: what is forwarded and comes back is found, told, and asked no more, and the process goes on. CoreDNS is asked
//! where it finds one, too: there it ends.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use support::dns::{A, HINFO, NOERROR, NXDOMAIN, Query, SERVFAIL};
use support::exposition::scrape;
use support::page::get;
use support::scripted::Scripted;
use support::server::{Program, Server};
use support::wait_for;

/// Long, for a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

fn corefile(forwards: &str) -> String {
    format!(
        ".:{{port}} {{
    bind 127.0.0.1
    loop
    errors
    ready 127.0.0.1:{{port:ready}}
    prometheus 127.0.0.1:{{port:metrics}}
    {forwards}
}}
"
    )
}

/// Status and body of `/ready`; 0 where nobody listens, as in a start.
fn ready(server: &Server) -> (u16, String) {
    get(server.addr_of("ready"), "/ready").map_or_else(Default::default, |(status, _, body)| (status, body))
}

fn wait_until_ready(server: &Server) {
    wait_for("ready", PATIENCE, || match ready(server) {
        (200, _) => Ok(()),
        other => Err(format!("{other:?}\n{}", server.log())),
    });
}

/// The line of `/ready` about the loop.
fn wait_for_loop(server: &Server) -> String {
    wait_for("a loop", PATIENCE, || {
        let (status, body) = ready(server);
        let line = body.lines().find(|line| line.ends_with("comes back here: a forwarding loop"));
        match (status, body.lines().next(), line) {
            (503, Some("loop"), Some(line)) => Ok(line.to_owned()),
            _ => Err(format!("{status} {body}\n{}", server.log())),
        }
    })
}

fn metric(server: &Server, name: &str) -> f64 {
    scrape(server).into_iter().filter(|((known, _), _)| known == name).map(|(_, value)| value).sum()
}

#[test]
fn coredns_ends_where_podzone_tells_and_goes_on() {
    let mut theirs =
        Server::spawn(Program::CoreDns, ".:{port} {\n bind 127.0.0.1\n loop\n forward . 127.0.0.1:{port}\n}\n", &[]);
    wait_for("CoreDNS's end", PATIENCE, || theirs.process().ended().map(|_| ()).ok_or_else(|| "it runs".to_owned()));
    assert!(theirs.log().contains("detected for zone"), "{}", theirs.log());

    let mut server = Program::Podzone.start(&corefile("forward . 127.0.0.1:{port}"));
    let line = wait_for_loop(&server);
    assert!(line.starts_with(&format!("forward . {}: ", server.addr())), "{line}");
    assert_eq!(server.ask("example.org", A).rcode, SERVFAIL);
    let log = server.log();
    let told = log.lines().find(|line| line.contains("[ERROR] plugin/loop: Loop (")).expect("an error");
    assert!(told.contains("detected for zone \".\"") && told.contains("resolvConf"), "{told}");
    assert!(log.contains("all upstreams send queries back here"), "{log}");
    assert_eq!(metric(&server, "podzone_loops_total"), 1.0);
    assert_eq!(metric(&server, "podzone_looping"), 1.0);

    // Another Corefile ends it, and brings it back.
    let upstream = Scripted::start();
    server.rewrite_corefile(&corefile(&format!("forward . {}", upstream.addr())));
    server.process().signal("USR1");
    wait_until_ready(&server);
    assert_eq!(server.ask("example.org", A).data_of(A), ["192.0.2.99"]);
    server.rewrite_corefile(&corefile("forward . 127.0.0.1:{port}"));
    server.process().signal("USR1");
    wait_for_loop(&server);
    // Without `loop` nobody looks, and nobody would see its end.
    server.rewrite_corefile(&corefile("forward . 127.0.0.1:{port}").replace("    loop\n", ""));
    server.process().signal("USR1");
    wait_until_ready(&server);
    assert!(server.process().ended().is_none());
}

#[test]
fn a_loop_by_way_of_another_server_is_found_and_its_end_too() {
    let upstream = Scripted::start();
    let mut other = Server::spawn(Program::Podzone, ".:{port} {\n bind 127.0.0.1\n whoami\n}\n", &[]);
    other.wait_until_it_answers();
    let mut server = Program::Podzone.start(&corefile(&format!("forward . {}", other.addr())));
    wait_until_ready(&server);
    // From now on the two forward to each other.
    other.rewrite_corefile(&format!(".:{{port}} {{\n bind 127.0.0.1\n forward . {}\n}}\n", server.addr()));
    other.process().signal("USR1");
    wait_for("the other's reload", PATIENCE, || {
        other.log().contains("Reloading complete").then_some(()).ok_or_else(|| other.log())
    });
    // It is found when the server looks, which it does at its start.
    server.process().kill();
    server.restart();
    wait_for_loop(&server);
    other.rewrite_corefile(&format!(".:{{port}} {{\n bind 127.0.0.1\n forward . {}\n}}\n", upstream.addr()));
    other.process().signal("USR1");
    wait_until_ready(&server);
    assert!(server.log().contains("has ended"), "{}", server.log());
    assert_eq!(metric(&server, "podzone_looping"), 0.0);
    assert_eq!(server.ask("example.org", A).data_of(A), ["192.0.2.99"]);
}

#[test]
fn the_upstream_that_loops_is_left_out_and_the_other_answers() {
    let upstream = Scripted::start();
    let server = Program::Podzone.start(&corefile(&format!("forward . 127.0.0.1:{{port}} {}", upstream.addr())));
    let line = wait_for_loop(&server);
    assert!(line.contains(&server.addr().to_string()), "{line}");
    for number in 0..50 {
        let answer = server.ask(&format!("n{number}.example.org"), A);
        assert_eq!((answer.rcode, answer.data_of(A)), (NOERROR, vec!["192.0.2.99".to_owned()]));
    }
    assert_eq!(upstream.asked("n1.example.org").len(), 1);
}

#[test]
fn nothing_that_a_client_can_send_is_a_loop() {
    let upstream = Scripted::start();
    upstream.answer_with(NXDOMAIN);
    let mut server = Program::Podzone.start(&corefile(&format!("forward . {}", upstream.addr())));
    wait_until_ready(&server);
    let asked = upstream.questions();
    let probe = asked.iter().find(|asked| asked.rtype == HINFO).expect("a probe");
    let label = probe.name.trim_end_matches('.');
    assert_eq!(label.len(), 32, "{label}");
    assert!(label.bytes().all(|octet| octet.is_ascii_hexdigit()), "{label}");
    // Names like it, CoreDNS's names, and the name of the probe that is done with.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let guesses = (0..200u32).map(|number| format!("{number:032x}"));
    let theirs = (0..50u32).map(|number| format!("{number}.{number}"));
    for name in guesses.chain(theirs).chain([label.to_owned(), label.to_owned(), label.to_owned()]) {
        socket.send_to(&Query::new(&name, HINFO).to_bytes(), server.addr()).unwrap();
    }
    assert_eq!(server.ask("example.org", HINFO).rcode, NXDOMAIN);
    assert_eq!((ready(&server).0, metric(&server, "podzone_loops_total")), (200, 0.0));
    assert!(!server.log().contains("plugin/loop"), "{}", server.log());
    assert!(server.process().ended().is_none());
}
