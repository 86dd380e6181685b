//! The log: CoreDNS's lines for the same questions, objects where they are wanted, and nobody who waits for its reader.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::dns::{self, A, AAAA, ANY, Edns, Query, SRV, TXT, Udp};
use support::process::Scratch;
use support::server::{Program, Server};
use support::{page, ports, wait_for};

const PATIENCE: Duration = Duration::from_secs(10);

/// One block for each way to log; `{log}` is the directive.
const COREFILE: &str = "example.org:{port} {
    bind 127.0.0.1
    {log}
    errors
    any
    whoami
}
refused.example:{port} {
    bind 127.0.0.1
    log
    acl {
        block
    }
    whoami
}
failing.example:{port} {
    bind 127.0.0.1
    log
    errors
    forward other.example 127.0.0.1:9
}
";

fn questions() -> Vec<Query> {
    let options = Edns { payload: 1400, version: 0, dnssec_ok: true, options: Vec::new() };
    let queries = [
        Query::new("example.org", A),
        Query::new("Mixed.Example.Org", AAAA).rd(false).cd(true),
        Query::new("a.example.org", SRV).edns(options),
        Query::new("b.example.org", 65_400),
        Query::new("c.example.org", ANY),
        Query::new("d\\032e.example.org", TXT),
        Query::new("e.example.org", A).opcode(4),
        Query::new("a.refused.example", A),
        Query::new("a.failing.example", A),
        Query::new("nowhere.test", A),
    ];
    queries.into_iter().zip(1000..).map(|(query, id)| query.id(id)).collect()
}

/// The lines about queries, without ports, times, and sizes of answers: CoreDNS tells those before it compresses names.
fn lines(server: &Server) -> Vec<String> {
    let masked = |line: &str| {
        let (_, line) = line.strip_prefix("[INFO] 127.0.0.1:")?.split_once(' ')?;
        let mut words: Vec<&str> = line.split(' ').collect();
        let is_time = |word: &&str| word.strip_suffix('s').is_some_and(|word| word.parse::<f64>().is_ok());
        let time = words.iter().position(is_time)?;
        (words[time - 1], words[time]) = ("SIZE", "TIME");
        Some(words.join(" "))
    };
    let log = server.log();
    let errors = log.lines().filter(|line| line.starts_with("[ERROR]")).map(str::to_owned);
    let mut lines: Vec<String> = log.lines().filter_map(masked).chain(errors).collect();
    lines.sort();
    lines
}

#[test]
fn lines_are_those_of_coredns() {
    let ways = ["log", "log . \"{combined} {>rflags} {/unset} {local}\"", "log {\n class denial error\n }"];
    for way in ways {
        let servers = [Program::CoreDns, Program::Podzone].map(|it| it.start(&COREFILE.replace("{log}", way)));
        let started: Vec<usize> = servers.iter().map(|server| lines(server).len()).collect();
        for query in questions() {
            for server in &servers {
                dns::ask(server.addr(), &query).unwrap();
                dns::ask_tcp(server.addr(), &query).unwrap();
            }
        }
        assert_eq!(started, [0, 0], "nothing is asked of these zones at the start");
        wait_for(&format!("the lines of CoreDNS under {way}"), PATIENCE, || {
            let [theirs, ours] = servers.each_ref().map(lines);
            if theirs == ours && !ours.is_empty() { Ok(()) } else { Err(format!("{theirs:#?}\n{ours:#?}")) }
        });
    }
}

/// Lines of what is known of queries. Nothing is known of the cluster, whose API server is not there.
const KNOWN: &str = "cluster.local:{port} {
    bind 127.0.0.1
    metadata known.cluster.local svc.cluster.local zone.cluster.local
    log . \"known {name} {/kubernetes/service},{/kubernetes/namespace},{/kubernetes/kind},{/kubernetes/endpoint},\
{/kubernetes/port-name},{/kubernetes/protocol},{/kubernetes/zone},{/kubernetes/cluster},{/kubernetes/parse-error},\
{/kubernetes/client-namespace},{/kubernetes/client-label/app},{/log/type},{/log/class},{/unset},{/} {/a b}\"
    acl {
        drop type TXT
        filter type MX
    }
    kubernetes cluster.local {
        endpoint http://127.0.0.1:1
        startup_timeout 1s
        zonal
    }
}
unknown.test:{port} {
    bind 127.0.0.1
    log . \"known {name} {/kubernetes/service} {/log/type}\"
    whoami
}
";

#[test]
fn what_metadata_knows_is_what_coredns_knows() {
    let corefile = KNOWN.replace("\\\n", "");
    let servers = [Program::CoreDns, Program::Podzone].map(|program| program.start(&corefile));
    let names = [
        "web.shop.svc.cluster.local",
        "A.Web.Shop.svc.cluster.local",
        "_http._tcp.web.shop.svc.cluster.local",
        "x.y.web.shop.svc.cluster.local",
        "a.b.pin._zone.web.shop.svc.cluster.local",
        "b.near._zone.web.shop.svc.cluster.local",
        "shop.svc.cluster.local",
        "a.known.cluster.local",
        "zone.cluster.local",
        "beside.cluster.local",
        "unknown.test",
    ];
    let known = |server: &Server| {
        let log = server.log();
        let mut lines: Vec<String> = log.lines().filter(|line| line.contains("] known ")).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    for name in names {
        for server in &servers {
            let socket = Udp::connect(server.addr(), PATIENCE).unwrap();
            // No answer comes to the one of these, and one without records to the other.
            socket.send(&Query::new(name, TXT).to_bytes()).unwrap();
            dns::ask(server.addr(), &Query::new(name, A)).unwrap();
            dns::ask(server.addr(), &Query::new(name, dns::MX)).unwrap();
        }
    }
    wait_for("the lines of CoreDNS", PATIENCE, || {
        let [theirs, ours] = servers.each_ref().map(known);
        if theirs == ours && ours.len() == 3 * names.len() { Ok(()) } else { Err(format!("{theirs:#?}\n{ours:#?}")) }
    });
}

#[test]
fn lines_are_objects_where_json_is_wanted() {
    let corefile = COREFILE.replace("{log}", "log");
    let mut server = Server::spawn(Program::Podzone, &corefile, &["-log-format", "json", "-quiet"]);
    server.wait_until_it_answers();
    dns::ask(server.addr(), &Query::new("a\\010b.Example.org", A).id(77)).unwrap();
    dns::ask(server.addr(), &Query::new("a.failing.example", A)).unwrap();
    server.stop();
    let log = server.log();
    let objects: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    assert!(objects.iter().all(|it| it["time"].as_str().is_some_and(|time| time.ends_with('Z'))), "{log}");
    let query = objects.iter().find(|it| it["query"]["id"] == 77).expect("the query's line");
    let of = |name: &str| query["query"][name].to_string();
    assert_eq!(query["level"], "info");
    assert_eq!([of("name"), of("type"), of("rcode")], ["\"a\\\\010b.example.org.\"", "\"A\"", "\"NOERROR\""]);
    assert!(query["query"]["duration"].as_f64().is_some_and(|seconds| seconds < 10.0));
    assert!(query["query"]["port"].is_u64() && query["query"]["do"] == false);
    let error = objects.iter().find(|it| it["level"] == "error").expect("the failure");
    assert_eq!(error["plugin"], "errors");
    assert!(error["message"].as_str().is_some_and(|text| text.starts_with("2 a.failing.example. A: ")), "{error}");
}

/// Ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_reader_that_stalls_delays_no_answer_and_what_is_dropped_is_counted() {
    let scratch = Scratch::new();
    let [dns_port, metrics] = [ports::free(), ports::free()];
    let corefile = format!(".:{dns_port} {{\n bind 127.0.0.1\n log\n prometheus 127.0.0.1:{metrics}\n whoami\n}}\n");
    std::fs::write(scratch.path().join("Corefile"), corefile).unwrap();
    let mut command = Command::new(Program::Podzone.path());
    // A pipe that nobody reads.
    command.current_dir(scratch.path()).stdout(Stdio::piped()).stderr(Stdio::null());
    let _running = Running(command.spawn().unwrap());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, dns_port));
    let query = Query::new("example.org", A);
    wait_for("it answers", PATIENCE, || dns::ask(address, &query).map_err(|error| error.to_string()));
    let client = Udp::connect(address, PATIENCE).unwrap();
    let query = query.to_bytes();
    for _ in 0..20_000 {
        client.exchange(&query).unwrap();
    }
    let (_, _, text) = page::get(SocketAddr::from((Ipv4Addr::LOCALHOST, metrics)), "/metrics").unwrap();
    let dropped = text.lines().find_map(|line| line.strip_prefix("podzone_log_lines_dropped_total ")).unwrap();
    assert!(dropped.parse::<u64>().unwrap() > 1000, "{dropped}");
}

#[test]
fn failures_alike_are_told_together_as_coredns_does() {
    let corefile = "failing.example:{port} {
    bind 127.0.0.1
    errors {
        consolidate 700ms \"no next plugin found$\" warning show_first
    }
    forward other.example 127.0.0.1:9
}
";
    for program in [Program::CoreDns, Program::Podzone] {
        let mut server = program.start(corefile);
        let of_failures = |log: &str| -> Vec<String> {
            log.lines().filter(|line| line.contains("plugin/errors")).map(str::to_owned).collect()
        };
        for name in ["a", "b", "c"] {
            server.ask(&format!("{name}.failing.example"), A);
        }
        let first = "[WARNING] plugin/errors: 2 a.failing.example. A: plugin/forward: no next plugin found".to_owned();
        let together = |count| {
            format!("[WARNING] plugin/errors: {count} errors like 'no next plugin found$' occurred in last 700ms")
        };
        wait_for(&format!("{program:?} tells of three failures"), PATIENCE, || {
            let told = of_failures(&server.log());
            if told == [first.clone(), together(3)] { Ok(()) } else { Err(format!("{told:?}")) }
        });
        // What was gathered is told before the end.
        server.ask("d.failing.example", A);
        server.ask("e.failing.example", A);
        server.stop();
        assert_eq!(of_failures(&server.log()).last(), Some(&together(2)), "{program:?}");
    }
}
