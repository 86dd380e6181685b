//! `srv_limit`: an answer has so many SRV targets at most, others each time, and the addresses of just those.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use support::dns::{self, A, Message, Query, SRV};
use support::process::Scratch;
use support::server::{Program, Server};
use support::wait_for;

const BLOCK: &str = "cluster.local {
    bind 127.0.0.1
    loadbalance
    kubernetes {
        manifests {manifests}
        endpoint_pod_names
        {option}
    }
}
";
const PATIENCE: Duration = Duration::from_secs(10);
/// As many as the server keeps in one piece, and more than that.
const SMALL: usize = 40;
const LARGE: usize = 400;

/// A headless Service, with an annotation or none; it has two ports.
fn service(name: &str, annotation: &str, pods: usize) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{namespace: shop, name: {name}, annotations: {{{annotation}}}}}\n\
         spec: {{clusterIP: None}}\n---\n"
    );
    for (slice, numbers) in (0..pods).collect::<Vec<_>>().chunks(100).enumerate() {
        write!(
            text,
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{namespace: shop, name: {name}-{slice}, \
             labels: {{kubernetes.io/service-name: {name}}}}}\naddressType: IPv4\n\
             ports: [{{name: epmd, port: 4369}}, {{name: http, port: 80}}]\nendpoints:\n"
        )
        .unwrap();
        for number in numbers {
            let address = format!("10.{}.{}.{}", name.len(), number / 250, number % 250 + 1);
            writeln!(text, "- {{addresses: [{address}], targetRef: {{kind: Pod, name: {name}-{number}}}}}").unwrap();
        }
        text.push_str("---\n");
    }
    text
}

/// Two pods of each name, so that answers are composed record by record.
fn twins() -> String {
    let mut text = service("twins", "", SMALL);
    text.push_str(&service("twins", "", SMALL).replace("twins-0,", "twins-again,").replace("10.5.", "10.99."));
    text
}

/// Puts manifests in the place of those before.
fn write(folder: &Scratch, objects: &str) {
    let new = folder.path().join("new");
    fs::write(&new, objects).unwrap();
    fs::rename(new, folder.path().join("objects.yaml")).unwrap();
}

fn start(option: &str, folder: &Scratch) -> Server {
    let folder = folder.path().display().to_string();
    Program::Podzone.start(&BLOCK.replace("{option}", option).replace("{manifests}", &folder))
}

fn targets(answer: &Message) -> BTreeSet<String> {
    answer.answers.iter().map(|record| record.data().rsplit(' ').next().unwrap().to_owned()).collect()
}

/// Asks again and again over TCP; each answer has so many targets, each with all of its ports and its address, and nothing
/// more. How many different targets there were in all.
fn different(server: &Server, name: &str, limit: usize, ports: usize, addresses: usize) -> usize {
    let mut all = BTreeSet::new();
    for _ in 0..200 {
        let answer = dns::ask_tcp(server.addr(), &Query::new(name, SRV)).unwrap();
        let targets = targets(&answer);
        assert_eq!(targets.len(), limit, "{name}\n{answer}");
        assert_eq!(answer.answers.len(), limit * ports, "{name}\n{answer}");
        let owners: BTreeSet<String> = answer.additionals.iter().map(|record| record.owner.clone()).collect();
        assert_eq!(owners, targets, "{name}\n{answer}");
        assert_eq!(answer.additionals.len(), limit * addresses, "{name}\n{answer}");
        let weight = (100 / (limit * ports)).max(1).to_string();
        assert!(answer.answers.iter().all(|record| record.data().split(' ').nth(1) == Some(&weight)), "{answer}");
        all.extend(targets);
    }
    all.len()
}

#[test]
fn an_answer_has_so_many_targets_and_the_next_has_others() {
    let objects = [service("small", "", SMALL), service("large-one", "", LARGE), twins()].join("---\n");
    let folder = Scratch::new();
    write(&folder, &objects);
    let server = start("srv_limit 5", &folder);
    assert_eq!(different(&server, "small.shop.svc.cluster.local.", 5, 2, 1), SMALL);
    assert_eq!(different(&server, "_epmd._tcp.small.shop.svc.cluster.local.", 5, 1, 1), SMALL);
    assert_eq!(different(&server, "twins.shop.svc.cluster.local.", 5, 2, 2), SMALL);
    assert!(different(&server, "large-one.shop.svc.cluster.local.", 5, 2, 1) > LARGE / 2);
    // Whoever is left out resolves all the same, and addresses are as they were.
    for name in ["small-39.small", "large-one-7.large-one"] {
        assert_eq!(server.ask(&format!("{name}.shop.svc.cluster.local."), A).answers.len(), 1);
        assert_eq!(server.ask(&format!("{name}.shop.svc.cluster.local."), SRV).answers.len(), 2);
    }
    let addresses = dns::ask_tcp(server.addr(), &Query::new("large-one.shop.svc.cluster.local.", A)).unwrap();
    assert_eq!(addresses.answers.len(), LARGE);
    // Five targets fit where forty do not.
    let over_udp = server.ask("small.shop.svc.cluster.local.", SRV);
    assert!(!over_udp.truncated() || over_udp.answers.len() < 10, "{over_udp}");
}

#[test]
fn a_service_says_its_own_limit_and_changes_it() {
    let objects = |own: &str| [service("own", own, SMALL), service("other", "", SMALL)].join("---\n");
    let folder = Scratch::new();
    write(&folder, &objects("podzone.dev/srv-limit: \"3\""));
    let server = start("srv_limit 7", &folder);
    let count = |name: &str| {
        let query = Query::new(&format!("{name}.shop.svc.cluster.local."), SRV);
        targets(&dns::ask_tcp(server.addr(), &query).unwrap()).len()
    };
    assert_eq!((count("own"), count("other")), (3, 7));
    for (own, limit) in [("podzone.dev/srv-limit: all", SMALL), ("podzone.dev/srv-limit: \"39\"", 39), ("", 7)] {
        write(&folder, &objects(own));
        wait_for("another limit", PATIENCE, || {
            let count = count("own");
            if count == limit { Ok(()) } else { Err(format!("{own}: {count}")) }
        });
        assert_eq!(count("other"), 7);
    }
}

#[test]
fn nothing_is_left_out_unless_it_is_wanted() {
    let folder = Scratch::new();
    write(&folder, &service("small", "", SMALL));
    let server = start("", &folder);
    let whole = dns::ask_tcp(server.addr(), &Query::new("small.shop.svc.cluster.local.", SRV)).unwrap();
    assert_eq!((whole.answers.len(), whole.additionals.len()), (2 * SMALL, SMALL));
}
