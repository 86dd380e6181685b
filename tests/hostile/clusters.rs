//! API servers that are none, or bad ones: the zone that needs them says SERVFAIL, its neighbour is served.

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use super::manifests::service;
use super::support::dns::{A, NOERROR, SERVFAIL};
use super::support::http::{reply, request, serve};
use super::support::pki::Pki;
use super::support::process::{Process, Scratch};
use super::support::server::{Program, Server};
use super::support::{ports, wait_for};

const SEEN_WITHIN: Duration = Duration::from_secs(30);

fn reset(stream: TcpStream) {
    // Without lingering, a close sends RST.
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

fn html(stream: TcpStream) {
    if request(&stream).is_some() {
        reply(&stream, "200 OK", "text/html", "<html><body>Welcome to nginx!</body></html>", None);
    }
}

fn silent(stream: TcpStream) {
    std::thread::sleep(Duration::from_secs(300));
    drop(stream);
}

fn list(kind: &str, items: &str) -> String {
    let meta = r#""metadata":{"resourceVersion":"7","novelty":{}}"#;
    format!(r#"{{"kind":"{kind}List","apiVersion":"v1",{meta},"items":[{items}]}}"#)
}

/// An API server from after this program: fields, types and families that it knows nothing of.
fn newer(stream: TcpStream) {
    let Some(path) = request(&stream) else { return };
    let service = r#"{"metadata":{"name":"new","namespace":"a","novelty":[1]},"spec":{"type":"Quantum","future":{"x":1},
        "clusterIPs":["10.96.0.9"],"ports":[{"name":"w","port":80,"protocol":"WARP","phase":2}]},"status":{"s":[]}}"#;
    let slices = r#"{"metadata":{"name":"n1","namespace":"a","labels":{"kubernetes.io/service-name":"new"}},
        "addressType":"Quux","endpoints":[{"addresses":["what?"]}],"ports":[]},
        {"metadata":{"name":"n2","namespace":"a","labels":{"kubernetes.io/service-name":"new"}},"addressType":"IPv4",
        "endpoints":[{"addresses":["10.0.0.7"],"hostname":"h","conditions":{"ready":true,"dreaming":true},"mood":3}],
        "ports":[{"name":"w","port":80,"protocol":"WARP"}],"topology":null}"#;
    let body = match path.split('?').next().unwrap_or_default() {
        _ if path.contains("watch=true") => return silent(stream),
        "/api/v1/services" => list("Service", service),
        "/api/v1/namespaces" => list("Namespace", r#"{"metadata":{"name":"a"},"spec":{"finalizers":["k"]}}"#),
        _ => list("EndpointSlice", slices),
    };
    reply(&stream, "200 OK", "application/json", &body, None);
}

/// An API server from before EndpointSlices.
fn without_slices(stream: TcpStream) {
    let Some(path) = request(&stream) else { return };
    let service =
        r#"{"metadata":{"name":"old","namespace":"a"},"spec":{"clusterIP":"10.96.0.9","ports":[{"port":80}]}}"#;
    match path.split('?').next().unwrap_or_default() {
        _ if path.contains("watch=true") => silent(stream),
        "/api/v1/services" => reply(&stream, "200 OK", "application/json", &list("Service", service), None),
        "/api/v1/namespaces" => {
            reply(&stream, "200 OK", "application/json", &list("Namespace", r#"{"metadata":{"name":"a"}}"#), None);
        }
        _ => reply(&stream, "404 Not Found", "text/plain", "404 page not found\n", None),
    }
}

/// The zone of a bad cluster beside that of a good one.
fn start(source: &str) -> (Server, Scratch) {
    let scratch = Scratch::new();
    std::fs::write(scratch.path().join("web.yaml"), service("web", "10.96.0.1")).unwrap();
    let folder = scratch.path().display();
    let server = Program::Podzone.start(&format!(
        "cluster.local {{\n errors\n kubernetes {{\n  {source}\n  startup_timeout 1s\n }}\n}}\n\
         good.example {{\n errors\n kubernetes {{\n  manifests {folder}\n }}\n}}\n"
    ));
    (server, scratch)
}

/// Logs all of `says` in one line, answers SERVFAIL for the bad cluster's names and the good one's rightly.
fn expect(what: &str, source: &str, says: &[&str]) -> Server {
    let (server, scratch) = start(source);
    wait_for(&format!("{what}: {says:?} is logged"), SEEN_WITHIN, || {
        let log = server.log();
        let found = log.lines().any(|line| says.iter().all(|part| line.contains(part)));
        if found { Ok(()) } else { Err(log) }
    });
    assert_eq!(server.ask("never.a.svc.cluster.local.", A).rcode, SERVFAIL, "{what}");
    assert_eq!(server.ask("web.a.svc.good.example.", A).data_of(A), ["10.96.0.1"], "{what}");
    assert!(!server.log().contains("panicked"), "{what}: {}", server.log());
    drop(scratch);
    server
}

#[test]
fn an_api_server_that_is_none_is_told_apart() {
    let cases: [(&str, u16, &[&str]); 4] = [
        ("refuses", ports::free(), &["cannot list services", "Connection refused", "retrying"]),
        ("resets", serve(reset), &["cannot list services", "retrying"]),
        ("answers HTML", serve(html), &["cannot list services", "retrying"]),
        ("is silent", serve(silent), &["starting server with unsynced Kubernetes API"]),
    ];
    for (what, port, says) in cases {
        let server = expect(what, &format!("endpoint http://127.0.0.1:{port}"), says);
        println!("{what}: {}", server.log().lines().next().unwrap_or_default());
    }
}

#[test]
fn an_api_server_without_slices_still_gives_its_services() {
    let port = serve(without_slices);
    let source = format!("endpoint http://127.0.0.1:{port}");
    let server = expect("no slices", &source, &["cannot list endpointslices.discovery.k8s.io", "404"]);
    wait_for("the Service answers", SEEN_WITHIN, || {
        let answer = server.ask("old.a.svc.cluster.local.", A);
        let is_there = answer.rcode == NOERROR && answer.data_of(A) == ["10.96.0.9"];
        if is_there { Ok(()) } else { Err(format!("{answer}{}", server.log())) }
    });
}

#[test]
fn what_a_newer_api_server_knows_more_of_is_passed_over() {
    let (server, _scratch) = start(&format!("endpoint http://127.0.0.1:{}", serve(newer)));
    for (name, address) in [("new", "10.96.0.9"), ("h.new", "10.0.0.7"), ("_w._warp.new", "10.96.0.9")] {
        wait_for(name, SEEN_WITHIN, || {
            let answer = server.ask(&format!("{name}.a.svc.cluster.local."), A);
            if answer.data_of(A) == [address] { Ok(()) } else { Err(format!("{answer}{}", server.log())) }
        });
    }
    assert!(server.log().contains("n1"), "the slice with the unknown addresses is named: {}", server.log());
}

#[test]
fn a_wait_for_an_api_server_can_be_ended() {
    let port = ports::free();
    let kubernetes = format!("kubernetes {{\n endpoint http://127.0.0.1:{port}\n startup_timeout 60s\n}}");
    let mut server = Server::spawn(Program::Podzone, &format!("cluster.local {{\n{kubernetes}\n}}\n"), &[]);
    wait_for("it waits", SEEN_WITHIN, || {
        let log = server.log();
        if log.contains("waiting for Kubernetes API") { Ok(()) } else { Err(log) }
    });
    assert!(server.stop().is_some_and(|status| status.success()), "{}", server.log());
}

#[test]
fn an_expired_certificate_is_named() {
    let scratch = Scratch::new();
    let pki = Pki::create(&scratch.path().join("pki"));
    pki.certificate("api", "/CN=api", Some("IP:127.0.0.1"));
    // Signed again, for days that are over.
    let output = Command::new("openssl")
        .args(["x509", "-req", "-in", "api.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"])
        .args(["-days", "-1", "-extfile", "api.ext", "-out", "expired.crt"])
        .current_dir(scratch.path().join("pki"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let port = ports::free();
    let mut command = Command::new("openssl");
    command
        .args(["s_server", "-quiet", "-www", "-accept", &format!("127.0.0.1:{port}")])
        .args(["-cert", "expired.crt", "-key", "api.key"])
        .current_dir(scratch.path().join("pki"));
    let _peer = Process::spawn("openssl", command, &scratch.path().join("log"));
    let kubeconfig = scratch.path().join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: \"https://127.0.0.1:{port}\", certificate-authority: {}}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{}}}}]\n",
        pki.path("ca.crt").display()
    );
    std::fs::write(&kubeconfig, text).unwrap();
    let source = format!("kubeconfig {}", kubeconfig.display());
    expect("expired", &source, &["cannot list services", "certificate", "xpired"]);
}
