//! What a client gets that knows CoreDNS alone, which forwards to two replicas of podzone: all there is to ask, and what happens when
//! replicas go.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::cluster::{PATIENCE, cluster, objects, rendered, wait_until_only};
use super::document;
use super::front::Front;
use super::pod::Pod;
use super::support::namespace::{Host, Network};
use super::support::wait_for;
use super::{BEAM, BEAM_NAME};

const TARGET: &str = "beam-x.beam.shop.svc.cluster.local.";
const WIDE: usize = 20;
/// Questions that one dig asks.
const BATCH: usize = 20;

/// A headless Service of more pods than fit into 512 octets.
fn wide() -> String {
    let mut text = "
apiVersion: v1
kind: Service
metadata: {name: wide, namespace: shop}
spec: {clusterIP: None, ports: [{name: epmd, port: 4369}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: wide-1, namespace: shop, labels: {kubernetes.io/service-name: wide}}
addressType: IPv4
ports: [{name: epmd, port: 4369, protocol: TCP}]
endpoints:
"
    .to_owned();
    for number in 1..=WIDE {
        writeln!(
            text,
            "- {{addresses: [10.244.2.{number}], targetRef: {{kind: Pod, name: wide-{number}, namespace: shop}}}}"
        )
        .unwrap();
    }
    text
}

fn said(mut command: Command) -> String {
    let output = command.output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// What dig says on a host that asks whom its resolv.conf names.
fn dig(client: &Host, arguments: &[&str]) -> String {
    let mut command = client.command("dig");
    command.args(["+time=5", "+tries=1"]).args(arguments).env("HOME", "/nonexistent");
    said(command)
}

/// Ends the asking also where the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_client_of_coredns_gets_it_all_and_loses_no_query_with_a_replica() {
    let plane = cluster();
    let before = objects(&plane);
    plane.apply(BEAM);
    plane.apply(&wide());
    document::run(&plane, &document::blocks("docs/deploy.md", "In a cluster")[0]);
    let network = Network::new();
    let mut pods = [("podzone-1", 2), ("podzone-2", 3)].map(|(name, last)| {
        let place = (name, Ipv4Addr::new(10, 244, 0, last));
        Pod::run(&plane, &network, ("podzone", "podzone"), place, &[])
    });
    pods.iter().for_each(Pod::wait_until_ready);
    let front = Front::start(&plane, &network, Ipv4Addr::new(10, 244, 0, 10), &pods.each_ref());
    let client = network.host("client.test", Ipv4Addr::new(10, 244, 3, 1), &[front.address]);
    wait_for("CoreDNS answers", PATIENCE, || {
        let own = dig(&client, &["+short", "www.example.org", "A"]);
        if own.trim() == "192.0.2.7" { Ok(()) } else { Err(format!("{own}\n{}", front.log())) }
    });

    for transport in ["+notcp", "+tcp"] {
        let targets = dig(&client, &["+short", transport, BEAM_NAME, "SRV"]);
        assert!(targets.contains(&format!("50 4369 {TARGET}")) && targets.lines().count() == 2, "{targets}");
        assert_eq!(dig(&client, &["+short", transport, TARGET, "A"]).trim(), "10.244.1.1");
        assert_eq!(dig(&client, &["+short", transport, "-x", "10.244.1.1"]).trim(), TARGET);
    }
    let alias = dig(&client, &["+short", "docs.shop.svc.cluster.local", "A"]);
    assert_eq!(alias.lines().next(), Some(BEAM_NAME), "{alias}");
    assert_eq!(alias.lines().count(), 3, "{alias}");
    // By the search path of a pod of `default`, with ndots:5: so does dig, and so does the C library.
    assert_eq!(dig(&client, &["+short", "+search", "beam-x.beam.shop", "A"]).trim(), "10.244.1.1");
    assert_eq!(dig(&client, &["+short", "+search", "www.example.org", "A"]).trim(), "192.0.2.7");
    let mut command = client.command("getent");
    command.args(["hosts", "beam-y.beam.shop"]);
    assert!(said(command).starts_with("10.244.1.2 "));
    // What does not fit is cut, and asked for again over TCP.
    let cut = dig(&client, &["+ignore", "+noedns", "wide.shop.svc.cluster.local", "SRV"]);
    assert!(cut.lines().any(|line| line.starts_with(";; flags:") && line.contains(" tc")), "{cut}");
    let whole = dig(&client, &["+short", "+noedns", "wide.shop.svc.cluster.local", "SRV"]);
    assert_eq!(whole.lines().count(), WIDE, "{whole}");

    // A replica ends at once, and is there again, and the other one ends: each question of all that time has its answer.
    let batch = plane.folder().join("questions");
    std::fs::write(&batch, format!("{TARGET} A\n").repeat(BATCH)).unwrap();
    let [asked, lost] = [0, 0].map(AtomicUsize::new);
    let is_over = AtomicBool::new(false);
    let has_asked_again = || {
        let before = asked.load(Ordering::Relaxed);
        wait_for("questions are asked", PATIENCE, || match asked.load(Ordering::Relaxed) {
            // The first batch may have begun before.
            now if now >= before + 2 * BATCH => Ok(()),
            now => Err(format!("{now} of {before} and {BATCH} twice")),
        });
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let answers = dig(&client, &["+noall", "+answer", "-f", &batch.display().to_string()]);
                let good =
                    answers.lines().filter(|line| line.split_whitespace().next_back() == Some("10.244.1.1")).count();
                lost.fetch_add(BATCH - good, Ordering::Relaxed);
                asked.fetch_add(BATCH, Ordering::Relaxed);
            }
        });
        let _end = Ends(&is_over);
        has_asked_again();
        pods[0].kill();
        has_asked_again();
        pods[0].run_again();
        pods[0].wait_until_ready();
        pods[1].kill();
        has_asked_again();
    });
    assert_eq!(lost.into_inner(), 0, "of {}\n{}", asked.into_inner(), front.log());
    // Both: an error, and no denial. Then all is as it was.
    pods[0].kill();
    let answer = dig(&client, &[TARGET, "A"]);
    assert!(answer.contains("SERVFAIL"), "{answer}");
    assert_eq!(dig(&client, &["+short", "www.example.org", "A"]).trim(), "192.0.2.7");
    pods.iter_mut().for_each(Pod::run_again);
    pods.iter().for_each(Pod::wait_until_ready);
    wait_for("answers are back", PATIENCE, || {
        let answer = dig(&client, &["+short", TARGET, "A"]);
        if answer.trim() == "10.244.1.1" { Ok(()) } else { Err(format!("{answer}\n{}", front.log())) }
    });
    plane.kubectl(&["delete", "namespace", "shop"], "");
    plane.kubectl(&["delete", "-f", "-"], &rendered(&plane, "forwarded"));
    wait_until_only(&plane, &before, &[]);
}
