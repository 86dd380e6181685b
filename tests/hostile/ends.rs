//! What podzone cannot start with, each with the message that a person sees.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::Command;

use super::runs::{mode, podzone, podzone_as_nobody, to_end};
use super::support::process::Scratch;
use super::support::server::{Program, Server};
use super::support::{dns, ports};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Exit codes of CoreDNS (coremain/run.go, func mustLogFatal) and ours.
const CONFIGURATION: i32 = 1;
const MACHINE: i32 = 2;

const MEGABYTE: usize = 1 << 20;
/// The most that a message may be, in bytes: a person reads it.
const MESSAGE_MAX: usize = 100_000;

/// Ends with this code, a message that begins so and says these.
fn expect(what: &str, command: Command, scratch: &Scratch, code: i32, begin: &str, says: &[&str]) {
    let ended = to_end(command, scratch);
    let folder = scratch.path().to_string_lossy();
    let text = ended.text.replace(&*folder, "DIR");
    let shown: String = text.chars().take(2000).collect();
    assert_eq!(ended.code, Some(code), "{what}: {shown}");
    assert!(text.starts_with(begin), "{what}: {shown}");
    for part in says {
        assert!(text.contains(part), "{what} lacks {part:?}: {shown}");
    }
    assert!(!text.contains("panicked") && text.len() < MESSAGE_MAX, "{what}: {} bytes: {shown}", text.len());
}

#[test]
fn a_corefile_that_is_none_says_what_it_is() {
    let mut dice = StdRng::seed_from_u64(7);
    let letters = b"{}\"\\ab #\n:/*$";
    let garbage: Vec<u8> = (0..MEGABYTE).map(|_| letters[dice.random_range(0..letters.len())]).collect();
    let binary: Vec<u8> = [&b". {\n"[..], &[0x7f, b'E', b'L', b'F', 0xff, 0xfe, 0, 1]].concat();
    let nul = b". {\n errors\0\n}\n".to_vec();
    let endless = vec![b'a'; 5 * MEGABYTE];
    let words = "word ".repeat(MEGABYTE / 5).into_bytes();
    let open = "a {\n".repeat(MEGABYTE / 4).into_bytes();
    let cases: [(&str, Vec<u8>, &str, &[&str]); 6] = [
        ("binary", binary, "DIR/it:2 - Error during parsing: this is not text", &["is this the right file?"]),
        ("nul", nul, "DIR/it:2 - Error during parsing: this is not text: a NUL", &["is this the right file?"]),
        ("garbage", garbage, "DIR/it:", &["Error during parsing: "]),
        ("endless", endless, "loading Corefile: DIR/it is larger than 4194304 bytes", &["is this a Corefile?"]),
        ("words", words, "cannot serve dns://word.:53 - it is already defined", &["first served by line 1", " more"]),
        ("open", open, "DIR/it:2 - Error during parsing: Unknown directive 'a'", &[]),
    ];
    for (what, bytes, begin, says) in cases {
        let scratch = Scratch::new();
        let path = scratch.path().join("it");
        std::fs::write(&path, bytes).unwrap();
        let mut command = podzone();
        command.arg("-conf").arg(&path);
        expect(what, command, &scratch, CONFIGURATION, begin, says);
    }
}

#[test]
fn a_corefile_that_cannot_be_read_says_who_may() {
    let scratch = Scratch::new();
    let mut command = podzone();
    command.arg("-conf").arg(scratch.path());
    expect("a folder", command, &scratch, CONFIGURATION, "loading Corefile: DIR: is a directory\n", &["-conf FILE"]);

    let scratch = Scratch::new();
    let path = scratch.path().join("Corefile");
    std::fs::write(&path, ". {\n errors\n}\n").unwrap();
    let mut command = podzone_as_nobody(&scratch);
    mode(&path, 0o000);
    command.arg("-conf").arg(&path);
    let begin = "loading Corefile: DIR/Corefile: permission denied\n";
    expect("unreadable", command, &scratch, CONFIGURATION, begin, &["the user that podzone runs as"]);
}

#[test]
fn an_empty_corefile_serves_nothing_and_says_so() {
    let mut server = Server::spawn(Program::Podzone, "", &[]);
    let log = server.folder().join("log");
    server.process().wait_until("it says that it has started", std::time::Duration::from_secs(30), || {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        (log.starts_with("[WARNING]") && log.contains("nothing is served") && log.contains("\npodzone-")).then_some(())
    });
    assert!(server.stop().is_some_and(|status| status.success()), "{}", server.log());
}

#[test]
fn a_corefile_of_a_megabyte_is_served() {
    let comments = "# a line that says nothing, again and again\n".repeat(MEGABYTE / 45);
    let server = Program::Podzone.start(&format!("{comments}good.example {{\n errors\n}}\n"));
    assert_eq!(server.ask("good.example.", dns::A).rcode, dns::SERVFAIL);
    assert_eq!(server.ask("other.example.", dns::A).rcode, dns::REFUSED);
}

fn with_port(mut command: Command, scratch: &Scratch, port: u16) -> Command {
    let path = scratch.path().join("Corefile");
    std::fs::write(&path, ". {\n bind 127.0.0.1\n errors\n}\n").unwrap();
    command.arg("-conf").arg(path).args(["-dns.port", &port.to_string()]);
    command
}

#[test]
fn a_port_that_cannot_be_had_says_how_to_have_it() {
    let loopback = Ipv4Addr::LOCALHOST;
    let in_use = |what: &str, port: u16| {
        let scratch = Scratch::new();
        let begin = format!("cannot listen on 127.0.0.1:{port}: Address already in use");
        let says = ["another process has port", "-dns.port", "ss -l"];
        expect(what, with_port(podzone(), &scratch, port), &scratch, MACHINE, &begin, &says);
    };
    let port = ports::free();
    let held = TcpListener::bind((loopback, port)).unwrap();
    in_use("TCP in use", port);
    drop(held);
    let port = ports::free();
    let _held = UdpSocket::bind((loopback, port)).unwrap();
    in_use("UDP in use", port);

    // Where no port is privileged there is nothing to refuse.
    let lowest = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if lowest.trim().parse::<u16>().unwrap() > 53 {
        let scratch = Scratch::new();
        let command = with_port(podzone_as_nobody(&scratch), &scratch, 53);
        let says = ["port 53 is privileged", "CAP_NET_BIND_SERVICE", "-dns.port"];
        expect("privileged", command, &scratch, MACHINE, "cannot listen on 127.0.0.1:53: Permission denied", &says);
    }
}

const KUBECONFIG: &str = r#"
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: one, context: {cluster: c, user: u}}]
users:
- name: u
  user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: /nonexistent/plugin, interactiveMode: Never}}
current-context: one
"#;

#[test]
fn a_source_that_cannot_work_is_named() {
    let cases: [(&str, &str, &[&str]); 5] = [
        ("kubeconfig {folder}/missing", "cannot use kubeconfig DIR/missing: ", &["No such file"]),
        ("kubeconfig {folder}/kubeconfig two", "cannot use kubeconfig DIR/kubeconfig: ", &["context", "two"]),
        ("kubeconfig {folder}/kubeconfig", "cannot use kubeconfig DIR/kubeconfig: ", &["/nonexistent/plugin"]),
        ("kubeconfig {folder}/Corefile", "cannot use kubeconfig DIR/Corefile: ", &[]),
        ("manifests {folder}/missing", "cannot read the folder of manifests DIR/missing: No such file", &[]),
    ];
    for (source, begin, says) in cases {
        let scratch = Scratch::new();
        std::fs::write(scratch.path().join("kubeconfig"), KUBECONFIG).unwrap();
        let source = source.replace("{folder}", &scratch.path().to_string_lossy());
        let path = scratch.path().join("Corefile");
        std::fs::write(&path, format!("cluster.local {{\n kubernetes {{\n  {source}\n }}\n}}\n")).unwrap();
        let mut command = podzone();
        command.arg("-conf").arg(path).args(["-dns.port", &ports::free().to_string()]);
        expect(&source, command, &scratch, CONFIGURATION, begin, says);
    }
}
