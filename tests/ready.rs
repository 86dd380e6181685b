//! `/ready` says which zones wait for what, and, where it is asked to look on, when that is lost.
// A test may panic; what it lacks is said by the harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use support::dns::{self, Query};
use support::kube::rights::{SERVICES, SLICES, podzone_rights};
use support::kube::{ControlPlane, Options};
use support::page::get;
use support::server::{Program, Server};
use support::wait_for;

/// The longest wait of a source between attempts is 30 s.
const RECOVERS_WITHIN: Duration = Duration::from_secs(60);
/// podzone::admin::LOST_AFTER, and what it takes to notice.
const LOST_WITHIN: Duration = Duration::from_secs(50);

fn corefile(kubeconfig: &std::path::Path) -> String {
    format!(
        "cluster.local in-addr.arpa {{
    ready 127.0.0.1:{{port:once}}
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {}
        startup_timeout 1s
    }}
}}
example.org {{
    ready 127.0.0.1:{{port:always}} {{
        monitor continuously
    }}
    errors
}}
",
        kubeconfig.display()
    )
}

fn ready(server: &Server, which: &str) -> (u16, String) {
    let (status, _, body) = get(server.addr_of(which), "/ready").expect("an answer");
    (status, body)
}

fn wait_until_ready(server: &Server, which: &str) {
    wait_for(&format!("{which} is ready"), RECOVERS_WITHIN, || match ready(server, which) {
        (200, body) if body == "OK" => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

/// The line of a kind in a page that says 503.
fn reason(server: &Server, which: &str, kind: &str) -> Result<String, String> {
    let (status, body) = ready(server, which);
    let mut lines = body.lines();
    if (status, lines.next()) != (503, Some("kubernetes")) {
        return Err(format!("{status} {body}"));
    }
    lines.find(|line| line.contains(&format!(": {kind}: "))).map(str::to_owned).ok_or(body)
}

#[test]
fn a_missing_right_is_named_with_the_zones_that_wait_for_it() {
    let plane = ControlPlane::start(Options::default());
    plane.apply(&podzone_rights(&[SERVICES]));
    let token = plane.kubectl(&["create", "token", "podzone", "--namespace", "default"], "");
    let server = Program::Podzone.start(&corefile(&plane.kubeconfig_with_token(token.trim())));
    for which in ["once", "always"] {
        let line = wait_for("the right is named", RECOVERS_WITHIN, || {
            let line = reason(&server, which, "EndpointSlice")?;
            if line.contains("; the right to ") { Ok(line) } else { Err(line) }
        });
        for part in [
            ": EndpointSlice: not listed for ",
            ", which cluster.local. in-addr.arpa. are made of, failing for ",
            ": cannot list endpointslices.discovery.k8s.io: 403 Forbidden: ",
            "; the right to list endpointslices of discovery.k8s.io is missing",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
        let (_, body) = ready(&server, which);
        assert_eq!(body.lines().count(), 2, "what is listed is not told of: {body}");
    }
    plane.apply(&podzone_rights(&[SERVICES, SLICES]));
    wait_until_ready(&server, "once");
    wait_until_ready(&server, "always");
}

#[test]
fn what_is_lost_is_told_where_it_is_looked_for_and_only_there() {
    let mut plane = ControlPlane::start(Options::default());
    let server = Program::Podzone.start(&corefile(plane.kubeconfig()));
    wait_until_ready(&server, "once");
    wait_until_ready(&server, "always");

    let stopped = Instant::now();
    plane.stop_api();
    let line = wait_for("it is lost", LOST_WITHIN, || reason(&server, "always", "Service"));
    assert!(stopped.elapsed() >= Duration::from_secs(30), "a restart of the API server loses nothing: {line}");
    assert!(line.contains(": Service: lost for 3") && line.contains("cannot watch services: "), "{line}");
    assert!(line.contains(", which cluster.local. in-addr.arpa. are made of, failing for "), "{line}");
    let (status, body) = ready(&server, "once");
    assert!(status == 200 && body.starts_with("OK\n"), "what was ready once is ready: {status} {body}");
    assert!(body.contains(": Service: nothing heard for 3"), "and says how old it is: {body}");

    plane.start_api();
    wait_until_ready(&server, "always");
}

#[test]
fn who_is_ready_answers() {
    let text = "cluster.local {
    ready 127.0.0.1:{port:ready}
    kubernetes cluster.local {
        manifests {folder}
    }
}
";
    let question = Query::new("cluster.local.", dns::SOA).to_bytes();
    for _ in 0..10 {
        let mut server = Server::spawn(Program::Podzone, text, &[]);
        let ready = server.addr_of("ready");
        server.process().wait_until("it is ready", RECOVERS_WITHIN, || {
            // Much more often than it looks whether everything is listed.
            (0..1000).any(|_| is_200(ready)).then_some(())
        });
        let answer = dns::udp_within(server.addr(), &question, Duration::from_secs(5));
        assert!(answer.is_ok(), "{answer:?}\n{}", server.log());
    }
}

/// Whether `/ready` is, asked without a program that takes longer to start than podzone does.
fn is_200(ready: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(ready)?;
        stream.write_all(b"GET /ready HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 "))
}
