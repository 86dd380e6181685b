//! The harness itself: what the other black-box tests take for granted.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::dns::{self, Edns, Message, Query};
use support::kube::{ControlPlane, Options};
use support::process::{Process, Scratch};
use support::server::Program;
use support::wait_for;

#[test]
fn a_query_is_built_and_decoded_part_by_part() {
    let edns = Edns { payload: 4096, version: 1, dnssec_ok: true, options: vec![(10, vec![1, 2, 3])] };
    let query = Query::new("A\\.b.\\000x.Example", dns::SRV).id(7).class(3).opcode(4).rd(false).ad(true).cd(true);
    let message = Message::decode(&query.edns(edns).to_bytes()).unwrap();

    let question = &message.questions[0];
    assert_eq!((question.name.as_str(), question.rtype, question.class), ("A\\.b.\\000x.Example.", dns::SRV, 3));
    assert_eq!((message.id, message.opcode(), message.rcode), (7, 4, dns::NOERROR));
    assert!(!message.is_response() && !message.recursion_desired());
    assert!(message.authentic_data() && message.checking_disabled());
    let opt = message.opt.unwrap();
    assert_eq!((opt.payload, opt.version, opt.dnssec_ok), (4096, 1, true));
    assert_eq!(opt.options, [(10, vec![1, 2, 3])]);
    assert_eq!(message.trailing, 0);
}

/// A message of one question and the given records, each with a pointer to the question's name as its owner.
fn answer(records: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = Query::new("Web.example", dns::A).to_bytes();
    bytes[7] = records.len().try_into().unwrap();
    for (rtype, rdata) in records {
        bytes.extend([0xc0, 12]);
        bytes.extend(rtype.to_be_bytes());
        bytes.extend([0, 1, 0, 0, 0, 5]);
        bytes.extend(u16::try_from(rdata.len()).unwrap().to_be_bytes());
        bytes.extend(*rdata);
    }
    bytes
}

#[test]
fn compressed_names_are_decoded_with_their_case() {
    let soa = [&[2, b'n', b's', 0xc0, 16, 0xc0, 12][..], &[0, 0, 0, 9].repeat(5)].concat();
    let srv = [0, 0, 0, 100, 0, 80, 1, b'P', 0xc0, 12];
    let message = Message::decode(&answer(&[(dns::SRV, &srv), (dns::SOA, &soa), (65_280, &[1, 2])])).unwrap();
    let lines: Vec<_> = message.answers.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "Web.example. 5 IN SRV 0 100 80 P.Web.example.",
            "Web.example. 5 IN SOA ns.example. Web.example. 9 9 9 9 9",
            "Web.example. 5 IN TYPE65280 \\# 2 0102",
        ]
    );
}

#[test]
fn a_broken_message_is_refused() {
    let whole = answer(&[(dns::PTR, &[1, b'p', 0xc0, 12])]);
    for length in 0..whole.len() {
        assert!(Message::decode(&whole[..length]).is_err(), "{length} bytes");
    }
    let forward = answer(&[(dns::PTR, &[0xc0, 0xff])]);
    assert!(Message::decode(&forward).unwrap_err().contains("pointer"));
    let mut longer = whole;
    longer.push(0);
    assert_eq!(Message::decode(&longer).unwrap().trailing, 1);
}

/// Not a test of its own: what the next one kills.
#[test]
#[ignore = "waits to be killed"]
fn waits_to_be_killed() {
    let scratch = Scratch::new();
    let mut command = Command::new("sleep");
    command.arg("600");
    let process = Process::spawn("sleep", command, &scratch.path().join("log"));
    println!("\nstarted\t{}\t{}", process.id(), scratch.path().display());
    std::thread::sleep(Duration::from_secs(600));
}

#[test]
fn a_killed_test_leaves_nothing_behind() {
    let mut test = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "waits_to_be_killed", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(test.stdout.take().unwrap()).lines();
    let started = lines.map(Result::unwrap).find(|line| line.starts_with("started\t")).unwrap();
    let [_, id, folder] = started.split('\t').collect::<Vec<_>>().try_into().unwrap();
    let process = Path::new("/proc").join(id).join("cmdline");
    // A process that is just becoming another program has no command line for a moment.
    wait_for("the child runs", Duration::from_secs(20), || {
        let text = std::fs::read_to_string(&process).unwrap();
        if text.contains("sleep") { Ok(()) } else { Err(text) }
    });
    assert!(Path::new(folder).exists());

    test.kill().unwrap();
    test.wait().unwrap();

    wait_for("the child and the folder are gone", Duration::from_secs(20), || {
        // Without a parent to reap it, a dead process may stay in the table with an empty command line.
        let alive = std::fs::read_to_string(&process).is_ok_and(|text| !text.is_empty());
        if alive || Path::new(folder).exists() { Err(started.clone()) } else { Ok(()) }
    });
}

#[tokio::test]
async fn the_api_keeps_its_objects_and_its_port_over_a_crash() {
    use k8s_openapi::api::core::v1::Service;

    let begin = Instant::now();
    let mut plane = ControlPlane::start(Options::default());
    println!("the control plane was ready in {:?}", begin.elapsed());
    plane.apply(
        "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: default}, spec: {
            ipFamilyPolicy: RequireDualStack, ports: [{port: 80}]}}",
    );
    let services = kube::Api::<Service>::namespaced(plane.client(), "default");
    let before = services.get("web").await.unwrap();

    plane.stop_api();
    assert!(!plane.ready() && services.get("web").await.is_err());
    let begin = Instant::now();
    plane.start_api();
    println!("the API was ready again in {:?}", begin.elapsed());

    let after = services.get("web").await.unwrap();
    assert_eq!(before, after);
    assert_eq!(after.spec.unwrap().cluster_ips.unwrap().len(), 2, "an address of each family");
}

#[test]
fn a_server_runs_with_its_ports_and_a_new_corefile() {
    let hosts = "hosts { 10.1.2.3 a.test }";
    let corefile = format!(". {{\n health 127.0.0.1:{{port:health}}\n reload 2s 1s\n {hosts}\n}}");
    let mut server = Program::CoreDns.start(&corefile);
    assert_eq!(server.ask("a.test", dns::A).data_of(dns::A), ["10.1.2.3"]);
    let query = Query::new("a.test", dns::A).payload(1232);
    assert!(dns::ask_tcp(server.addr(), &query).unwrap().opt.is_some());
    assert!(std::net::TcpStream::connect(server.addr_of("health")).is_ok());

    server.rewrite_corefile(&corefile.replace("10.1.2.3", "10.1.2.4"));
    wait_for("the new address", Duration::from_secs(20), || match server.ask("a.test", dns::A).data_of(dns::A) {
        data if data == ["10.1.2.4"] => Ok(()),
        data => Err(format!("{data:?}")),
    });
    assert!(server.stop().is_some_and(|status| status.success()), "{}", server.log());
}
