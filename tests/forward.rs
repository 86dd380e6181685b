//! `forward` and `fallthrough`: what other servers answer, and what they do not.
//!
//! Each scenario runs on CoreDNS too, so that it is known to hold what it claims; where podzone differs by design, the
//! scenario says so.
// A test may panic; what it lacks is said by the harness.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
mod support;

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use support::dns::{self, Edns, Message, Query, Record, Tcp, Udp};
use support::kube::{ControlPlane, Options};
use support::process::Scratch;
use support::scripted::{Over, Scripted};
use support::server::{Program, Server};
use support::{ports, wait_for};

on_both! {
    asks_over_the_transport_that_is_configured,
    forwards_no_other_names,
    refuses_more_than_max_concurrent,
    passes_over_a_dead_upstream,
    asks_no_upstream_that_is_down_until_it_is_up,
    survives_silence,
    takes_no_answer_to_something_else,
    completes_external_names,
    passes_on_what_falls_through,
    passes_on_addresses_before_it_knows_any,
    fails_with_nothing_behind,
}

/// Names that are outside the cluster.
const OUTSIDE: &str = r#"
$ORIGIN outside.example.
$TTL 60
@ IN SOA ns hostmaster 1 3600 600 86400 30
@ IN NS ns
ns IN A 192.0.2.53
www 120 IN A 192.0.2.1
www 120 IN A 192.0.2.2
www 120 IN AAAA 2001:db8::1
alias 90 IN CNAME alias2
alias2 80 IN CNAME www
old IN A 192.0.2.3
"#;

const ADDRESSES: &str = "
$ORIGIN 1.in-addr.arpa.
$TTL 60
@ IN SOA ns.outside.example. hostmaster.outside.example. 1 3600 600 86400 30
@ IN NS ns.outside.example.
4.3.2 IN PTR www.outside.example.
";

/// CoreDNS with the zones, for all tests of this crate.
fn upstream() -> SocketAddr {
    static UPSTREAM: OnceLock<(Scratch, Server)> = OnceLock::new();
    let (_, server) = UPSTREAM.get_or_init(|| {
        let folder = Scratch::new();
        let mut zone = OUTSIDE.to_owned();
        for (name, strings) in [("medium", 4), ("big", 20)] {
            let text = "x".repeat(250);
            zone += &format!("{name} IN TXT {}\n", format!("\"{text}\" ").repeat(strings));
        }
        for number in 1..=60 {
            zone += &format!("many IN A 198.51.100.{number}\n");
        }
        std::fs::write(folder.path().join("outside"), zone).unwrap();
        std::fs::write(folder.path().join("addresses"), ADDRESSES).unwrap();
        let path = folder.path().display();
        let corefile = format!(
            "outside.example {{\n bind 127.0.0.1\n file {path}/outside\n}}\n\
             1.in-addr.arpa {{\n bind 127.0.0.1\n file {path}/addresses\n}}\n"
        );
        let server = Program::CoreDns.start(&corefile);
        (folder, server)
    });
    server.addr()
}

fn control_plane() -> &'static ControlPlane {
    static PLANE: OnceLock<ControlPlane> = OnceLock::new();
    PLANE.get_or_init(|| {
        let plane = ControlPlane::start(Options::default());
        let mut manifests = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.96.7.7, ports: [{port: 80}]}
"
        .to_owned();
        let targets = [
            ("www", "www.outside.example"),
            ("alias", "alias.outside.example"),
            ("missing", "missing.outside.example"),
            ("nowhere", "nowhere.test"),
            ("many", "many.outside.example"),
        ];
        for (name, target) in targets {
            manifests += &format!(
                "---\napiVersion: v1\nkind: Service\nmetadata: {{name: x-{name}, namespace: default}}\n\
                 spec: {{type: ExternalName, externalName: {target}}}\n"
            );
        }
        plane.apply(&manifests);
        plane
    })
}

/// A block that has the cluster, and these lines more.
fn with_cluster(options: &str, behind: &str) -> String {
    format!(
        ". {{
    bind 127.0.0.1
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {}
        {options}
    }}
    {behind}
}}
",
        control_plane().kubeconfig().display()
    )
}

fn start_with_cluster(program: Program, options: &str, behind: &str) -> Server {
    let server = program.start(&with_cluster(options, behind));
    wait_for("the cluster is known", Duration::from_secs(20), || {
        let answer = server.ask(WEB, dns::A);
        if answer.rcode == dns::NOERROR { Ok(()) } else { Err(answer.to_string()) }
    });
    server
}

const WEB: &str = "web.default.svc.cluster.local.";

fn start(program: Program, forward: &str) -> Server {
    program.start(&format!(". {{\n    bind 127.0.0.1\n    {forward}\n}}\n"))
}

fn sorted(records: &[Record]) -> Vec<String> {
    let mut lines: Vec<String> = records.iter().map(|record| record.to_string().to_ascii_lowercase()).collect();
    lines.sort();
    lines
}

/// What has to be the same; a cut answer's records may be others, as long as they are of the full one.
fn same(ours: &Message, theirs: &Message, full: &Message) -> bool {
    let head = |it: &Message| (it.id, it.flags, it.rcode, it.questions.clone(), it.opt.clone(), it.trailing);
    let sections = |it: &Message| [sorted(&it.answers), sorted(&it.authorities), sorted(&it.additionals)];
    let records = if ours.truncated() {
        sorted(&ours.answers).iter().all(|line| sorted(&full.answers).contains(line))
    } else {
        sections(ours) == sections(theirs)
    };
    head(ours) == head(theirs) && records
}

#[test]
fn answers_are_handed_on_as_coredns_does() {
    let up = upstream();
    let names = [
        ("www.outside.example.", dns::A),
        ("wWw.OutSide.example.", dns::A),
        ("www.outside.example.", dns::AAAA),
        ("alias.outside.EXAMPLE.", dns::A),
        ("missing.outside.example.", dns::A),
        ("www.outside.example.", dns::MX),
        ("outside.example.", dns::SOA),
        ("outside.example.", dns::NS),
        ("outside.example.", dns::ANY),
        ("nowhere.test.", dns::A),
        ("many.outside.example.", dns::A),
        ("medium.outside.example.", dns::TXT),
        ("big.outside.example.", dns::TXT),
    ];
    let edns = |payload, dnssec_ok, options| Some(Edns { payload, version: 0, dnssec_ok, options });
    let dressed = [
        None,
        edns(512, false, Vec::new()),
        edns(1232, true, Vec::new()),
        edns(4096, false, vec![(10, vec![7; 8])]),
        edns(0, false, Vec::new()),
        edns(65_535, true, vec![(3, Vec::new()), (65_001, vec![1, 2])]),
    ];
    let mut wrong = Vec::new();
    for options in ["", "bufsize 600"] {
        let forward = format!("{options}\n    forward . {up}");
        let (theirs, ours) = (start(Program::CoreDns, &forward), start(Program::Podzone, &forward));
        for (name, rtype) in names {
            for edns in &dressed {
                for (recursion, checking) in [(true, false), (false, true)] {
                    let query = Query { edns: edns.clone(), ..Query::new(name, rtype) };
                    let query = query.rd(recursion).cd(checking).ad(recursion);
                    let full = dns::ask_tcp(up, &query).expect("the upstream answers");
                    for ask in [dns::ask, dns::ask_tcp] {
                        let [their, our] = [&theirs, &ours].map(|server| ask(server.addr(), &query).unwrap());
                        if !same(&our, &their, &full) {
                            wrong.push(format!("{options} {query:?}\n-- CoreDNS\n{their}\n-- podzone\n{our}"));
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong[..wrong.len().min(4)].join("\n\n"));
}

/// As an operator would try podzone: CoreDNS stays in front, and asks podzone for the cluster's names.
#[test]
fn coredns_in_front_answers_as_with_its_own_plugin() {
    let behind = start_with_cluster(Program::Podzone, "fallthrough in-addr.arpa", &format!("forward . {}", upstream()));
    let front = start(Program::CoreDns, &format!("forward . {}", behind.addr()));
    let own = start_with_cluster(Program::CoreDns, "fallthrough in-addr.arpa", &format!("forward . {}", upstream()));
    let names = [
        (WEB, dns::A),
        (WEB, dns::AAAA),
        (WEB, dns::SRV),
        (WEB, dns::ANY),
        ("WEB.default.svc.cluster.LOCAL.", dns::A),
        ("nobody.default.svc.cluster.local.", dns::A),
        ("default.svc.cluster.local.", dns::A),
        ("dns-version.cluster.local.", dns::TXT),
        ("x-www.default.svc.cluster.local.", dns::A),
        ("x-www.default.svc.cluster.local.", dns::CNAME),
        ("x-alias.default.svc.cluster.local.", dns::AAAA),
        ("x-missing.default.svc.cluster.local.", dns::A),
        ("x-many.default.svc.cluster.local.", dns::A),
        ("7.7.96.10.in-addr.arpa.", dns::PTR),
        ("4.3.2.1.in-addr.arpa.", dns::PTR),
        ("big.outside.example.", dns::TXT),
        ("nowhere.test.", dns::A),
    ];
    for (name, rtype) in names {
        for edns in [None, Some(Edns::default()), Some(Edns { payload: 4096, dnssec_ok: true, ..Edns::default() })] {
            let query = Query { edns, ..Query::new(name, rtype) };
            for ask in [dns::ask, dns::ask_tcp] {
                let answers = [&front, &own].map(|server| ask(server.addr(), &query).unwrap());
                let parts = answers.each_ref().map(|it| {
                    let data = if it.truncated() { Vec::new() } else { sorted(&it.answers) };
                    (it.rcode, it.truncated(), data, it.opt.clone(), it.authorities.len())
                });
                let cut = answers.iter().any(Message::truncated);
                let same =
                    if cut { parts[0].0 == parts[1].0 && parts[0].1 == parts[1].1 } else { parts[0] == parts[1] };
                assert!(same, "{query:?}\n{}\n-- its own plugin\n{}", answers[0], answers[1]);
            }
        }
    }
}

fn asks_over_the_transport_that_is_configured(program: Program) {
    type Ask = fn(SocketAddr, &Query) -> std::io::Result<Message>;
    let up = Scripted::start();
    let (udp, tcp): (Ask, Ask) = (dns::ask, dns::ask_tcp);
    let cases: [(&str, &str, Ask, &[Over], bool); 8] = [
        ("", "plain-1", udp, &[Over::Udp], false),
        ("", "plain-2", tcp, &[Over::Tcp], false),
        ("", "tc-1", udp, &[Over::Udp], true),
        ("", "tc-2", tcp, &[Over::Tcp], false),
        ("force_tcp", "tc-3", udp, &[Over::Tcp], false),
        ("prefer_udp", "plain-4", tcp, &[Over::Udp], false),
        ("prefer_udp", "tc-5", udp, &[Over::Udp, Over::Tcp], false),
        ("force_tcp\n        prefer_udp", "plain-6", udp, &[Over::Tcp], false),
    ];
    for (option, name, ask, over, cut) in cases {
        let server = start(program, &format!("forward . {} {{\n        {option}\n    }}", up.addr()));
        let answer = ask(server.addr(), &Query::new(name, dns::A)).unwrap();
        assert_eq!(up.asked(name), over, "{option} {name}");
        assert_eq!(answer.truncated(), cut, "{option} {name}: {answer}");
        assert_eq!(answer.data_of(dns::A).is_empty(), cut, "{option} {name}: {answer}");
    }
}

fn forwards_no_other_names(program: Program) {
    let up = upstream();
    let options = "except old.outside.example outside.example";
    let server = start(program, &format!("forward Outside.example {up} {{\n        {options}\n    }}"));
    assert_eq!(server.ask("outside.example.", dns::SOA).rcode, dns::NOERROR, "FROM itself is never excepted");
    assert_eq!(server.ask("www.outside.example.", dns::A).rcode, dns::SERVFAIL);
    let server =
        start(program, &format!("forward outside.example {up} {{\n        except OLD.outside.example\n    }}"));
    assert_eq!(server.ask("www.outside.example.", dns::A).data_of(dns::A).len(), 2);
    for name in ["old.outside.example.", "below.old.outside.example.", "nowhere.test.", "."] {
        let answer = server.ask(name, dns::A);
        assert_eq!((answer.rcode, answer.answers.len()), (dns::SERVFAIL, 0), "{name}");
    }
}

fn refuses_more_than_max_concurrent(program: Program) {
    let up = Scripted::start();
    let server = start(program, &format!("forward . {} {{\n        max_concurrent 2\n    }}", up.addr()));
    // A query's place may be given back after its answer has come: that by which the start was seen may still have one.
    let answers = (0..10).find_map(|attempt| three_at_once(&server, &up, attempt));
    let answers = answers.expect("two queries under way");
    assert_eq!((answers[0].id, answers[0].rcode), (3, dns::REFUSED));
    assert!(answers[1..].iter().all(|it| it.rcode == dns::NOERROR && it.data_of(dns::A).len() == 1), "{answers:?}");
    wait_for("places are given back", Duration::from_secs(10), || match server.ask("plain", dns::A).rcode {
        dns::NOERROR => Ok(()),
        rcode => Err(rcode.to_string()),
    });
}

/// The answers to three queries, of which two take a second, in the order of their coming; `None` if the two were not under
/// way when the third came.
fn three_at_once(server: &Server, up: &Scripted, attempt: u32) -> Option<Vec<Message>> {
    let client = Udp::connect(server.addr(), Duration::from_secs(5)).unwrap();
    let receive = || Message::decode(&client.receive().unwrap()).unwrap();
    let slow = [1, 2].map(|id| (id, format!("slow-1000-{attempt}-{id}")));
    for (id, name) in &slow {
        client.send(&Query::new(name, dns::A).id(*id).to_bytes()).unwrap();
    }
    let asked = || slow.iter().map(|(_, name)| up.asked(name).len()).sum::<usize>();
    let begin = Instant::now();
    while asked() < 2 && begin.elapsed() < Duration::from_millis(500) {
        std::thread::sleep(Duration::from_millis(10));
    }
    if asked() < 2 {
        receive();
        receive();
        return None;
    }
    client.send(&Query::new("plain", dns::A).id(3).to_bytes()).unwrap();
    let answers: Vec<_> = (0..3).map(|_| receive()).collect();
    (answers[0].id == 3).then_some(answers)
}

fn passes_over_a_dead_upstream(program: Program) {
    let up = Scripted::start();
    let dead = SocketAddr::from(([127, 0, 0, 1], ports::free()));
    for option in ["", "force_tcp"] {
        let policy = format!("policy sequential\n        {option}");
        let server = start(program, &format!("forward . {dead} {} {{\n        {policy}\n    }}", up.addr()));
        let begin = Instant::now();
        assert_eq!(server.ask("plain", dns::A).data_of(dns::A).len(), 1);
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}: nobody listens there", begin.elapsed());
    }
    let server = start(program, &format!("forward . {dead}"));
    let begin = Instant::now();
    assert_eq!(server.ask("plain", dns::A).rcode, dns::SERVFAIL);
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
}

fn asks_no_upstream_that_is_down_until_it_is_up(program: Program) {
    let (first, second) = (Scripted::start(), Scripted::start());
    let options = "policy sequential\n max_fails 1\n health_check 100ms\n read_timeout 300ms\n";
    let server = start(program, &format!("forward . {} {} {{\n{options}}}", first.addr(), second.addr()));
    assert_eq!(server.ask("plain-0", dns::A).rcode, dns::NOERROR);
    assert_eq!((first.asked("plain-0").len(), second.asked("plain-0").len()), (1, 0));
    first.be_silent(true);
    let mut number = 0;
    let mut next = || {
        number += 1;
        let name = format!("plain-{number}");
        assert_eq!(server.ask(&name, dns::A).data_of(dns::A).len(), 1);
        (first.asked(&name).len(), second.asked(&name).len())
    };
    assert_eq!(next(), (1, 1), "the first is tried, the second answers");
    wait_for("the first is down", Duration::from_secs(8), || match next() {
        (0, 1) => Ok(()),
        asked => Err(format!("{asked:?}")),
    });
    let begin = Instant::now();
    assert_eq!(next(), (0, 1));
    assert!(begin.elapsed() < Duration::from_millis(250));
    first.be_silent(false);
    wait_for("the first is up", Duration::from_secs(8), || match next() {
        (1, 0) => Ok(()),
        asked => Err(format!("{asked:?}")),
    });
}

/// Nobody answers: the client is told after some seconds, whatever the health checks find meanwhile, and others do not
/// wait.
fn survives_silence(program: Program) {
    let up = Scripted::start();
    let options = "health_check 50ms\n        max_fails 1";
    let server = start_with_cluster(program, "", &format!("forward . {} {{\n        {options}\n    }}", up.addr()));
    up.be_silent(true);
    let client = Udp::connect(server.addr(), Duration::from_secs(7)).unwrap();
    let begin = Instant::now();
    let slow = 1..=16;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for id in slow.clone() {
                client.send(&Query::new("silent.test", dns::A).id(id).to_bytes()).unwrap();
                let asked = Instant::now();
                assert_eq!(server.ask(WEB, dns::A).data_of(dns::A), ["10.96.7.7"]);
                assert!(asked.elapsed() < Duration::from_millis(400), "{:?}", asked.elapsed());
                std::thread::sleep(Duration::from_millis(250));
            }
        });
        let mut ids: Vec<u16> = slow
            .clone()
            .map(|_| {
                let answer = Message::decode(&client.receive().expect("an answer to each")).unwrap();
                assert_eq!(answer.rcode, dns::SERVFAIL);
                answer.id
            })
            .collect();
        ids.sort_unstable();
        assert!(ids.into_iter().eq(slow.clone()));
    });
    assert!(begin.elapsed() < Duration::from_secs(11), "{:?}", begin.elapsed());
    if program == Program::CoreDns {
        // It answers the queries of a connection one after another.
        return;
    }
    let mut connection = Tcp::connect(server.addr(), Duration::from_secs(7)).unwrap();
    connection.send(&Query::new("silent.test", dns::A).id(1).to_bytes()).unwrap();
    connection.send(&Query::new(WEB, dns::A).id(2).to_bytes()).unwrap();
    let answers = [0; 2].map(|_| Message::decode(&connection.receive().unwrap()).unwrap());
    assert_eq!(answers.map(|it| (it.id, it.rcode)), [(2, dns::NOERROR), (1, dns::SERVFAIL)]);
}

fn takes_no_answer_to_something_else(program: Program) {
    let up = Scripted::start();
    let server = start(program, &format!("forward . {} {{\n        read_timeout 400ms\n    }}", up.addr()));
    for ask in [dns::ask, dns::ask_tcp] {
        for name in ["wrongid", "garbage", "short"] {
            let answer = ask(server.addr(), &Query::new(name, dns::A)).unwrap();
            assert_eq!((answer.rcode, answer.answers.len()), (dns::SERVFAIL, 0), "{name}: {answer}");
        }
        let answer = ask(server.addr(), &Query::new("wrongquestion", dns::A)).unwrap();
        assert!(answer.answers.is_empty(), "{answer}");
        // CoreDNS takes it for the answer, and tells the client that its query was malformed.
        let told = if program == Program::CoreDns { vec![dns::FORMERR] } else { vec![dns::SERVFAIL, dns::FORMERR] };
        assert!(told.contains(&answer.rcode), "{answer}");
        // An answer under a wrong ID does not stand in the way of the right one.
        let answer = dns::ask(server.addr(), &Query::new("firstwrong", dns::A)).unwrap();
        assert_eq!(answer.data_of(dns::A).len(), 1, "{answer}");
    }
}

fn completes_external_names(program: Program) {
    let server = start_with_cluster(program, "", &format!("forward . {}", upstream()));
    let records = |server: &Server, name: &str, rtype| {
        let answer = server.ask(&format!("x-{name}.default.svc.cluster.local."), rtype);
        assert_eq!(answer.rcode, dns::NOERROR, "{answer}");
        assert!(answer.authoritative() && answer.authorities.is_empty(), "{answer}");
        sorted(&answer.answers)
    };
    let lines = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        lines.retain(|line| !line.is_empty());
        lines.sort();
        lines
    };
    let to = |name: &str, target: &str| format!("x-{name}.default.svc.cluster.local. 5 in cname {target}.\n");
    let www = to("www", "www.outside.example");
    assert_eq!(
        records(&server, "www", dns::A),
        lines(&(www.clone() + "www.outside.example. 120 in a 192.0.2.1\nwww.outside.example. 120 in a 192.0.2.2"))
    );
    assert_eq!(
        records(&server, "www", dns::AAAA),
        lines(&(www.clone() + "www.outside.example. 120 in aaaa 2001:db8::1"))
    );
    assert_eq!(records(&server, "www", dns::CNAME), lines(&www));
    let chain = "alias.outside.example. 90 in cname alias2.outside.example.
        alias2.outside.example. 80 in cname www.outside.example.
        www.outside.example. 120 in aaaa 2001:db8::1";
    let alias = to("alias", "alias.outside.example") + chain;
    assert_eq!(records(&server, "alias", dns::AAAA), lines(&alias));
    for (name, target) in [("missing", "missing.outside.example"), ("nowhere", "nowhere.test")] {
        assert_eq!(records(&server, name, dns::A), lines(&to(name, target)));
    }
    let many = "x-many.default.svc.cluster.local.";
    let cut = server.ask(many, dns::A);
    assert!(cut.truncated() && cut.size <= 512, "{cut}");
    let whole = dns::ask_tcp(server.addr(), &Query::new(many, dns::A)).unwrap();
    assert_eq!((whole.truncated(), whole.answers.len()), (false, 61));

    // With nobody to ask, the alias stands alone.
    let dead = SocketAddr::from(([127, 0, 0, 1], ports::free()));
    let server = start_with_cluster(program, "", &format!("forward . {dead}"));
    assert_eq!(records(&server, "www", dns::A), lines(&www));
}

fn passes_on_what_falls_through(program: Program) {
    let forward = format!("forward . {}", upstream());
    let server = start_with_cluster(program, "fallthrough in-addr.arpa", &forward);
    let pointer = |server: &Server, name: &str| server.ask(name, dns::PTR).data_of(dns::PTR);
    assert_eq!(pointer(&server, "4.3.2.1.in-addr.arpa."), ["www.outside.example."]);
    assert_eq!(pointer(&server, "7.7.96.10.in-addr.arpa."), [WEB]);
    assert_eq!(server.ask("9.3.2.1.in-addr.arpa.", dns::PTR).rcode, dns::NXDOMAIN);
    let denied = server.ask("nobody.default.svc.cluster.local.", dns::A);
    assert_eq!((denied.rcode, denied.authorities.len()), (dns::NXDOMAIN, 1), "{denied}");

    let server = start_with_cluster(program, "fallthrough", &forward);
    // The upstream has no such zone.
    assert_eq!(server.ask("nobody.default.svc.cluster.local.", dns::A).rcode, dns::REFUSED);
    assert_eq!(server.ask(WEB, dns::A).data_of(dns::A), ["10.96.7.7"]);
    // A name that exists has no other records elsewhere.
    assert_eq!(server.ask(WEB, dns::MX).authorities.len(), 1);
}

fn passes_on_addresses_before_it_knows_any(program: Program) {
    let refusing = ports::free();
    let server = program.start(&format!(
        ". {{
    bind 127.0.0.1
    kubernetes cluster.local in-addr.arpa {{
        endpoint http://127.0.0.1:{refusing}
        startup_timeout 100ms
        fallthrough
    }}
    forward . {}
}}
",
        upstream()
    ));
    assert_eq!(server.ask("4.3.2.1.in-addr.arpa.", dns::PTR).data_of(dns::PTR), ["www.outside.example."]);
    assert_eq!(server.ask("www.outside.example.", dns::A).data_of(dns::A).len(), 2);
    // CoreDNS asks others whether there is a name of which it does not know yet.
    let told = if program == Program::CoreDns { dns::REFUSED } else { dns::SERVFAIL };
    assert_eq!(server.ask(WEB, dns::A).rcode, told);
}

fn fails_with_nothing_behind(program: Program) {
    let server = start_with_cluster(program, "fallthrough", "");
    for name in ["nobody.default.svc.cluster.local.", "4.3.2.1.in-addr.arpa.", "www.outside.example."] {
        let answer = server.ask(name, dns::A);
        assert_eq!((answer.rcode, answer.authorities.len()), (dns::SERVFAIL, 0), "{name}: {answer}");
    }
}
