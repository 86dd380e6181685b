//! `autopath`, question by question: what a pod is told, beside CoreDNS.

use std::net::SocketAddr;

use crate::essence;
use crate::libc::with_autopath;
use crate::stage::Stage;
use crate::support::dns::{self, A, AAAA, CNAME, MX, SRV, TXT};
use crate::support::server::Program;

#[test]
fn a_pod_is_told_what_coredns_tells_it() {
    let stage = Stage::get();
    let mut servers = [(Program::CoreDns, "search-coredns", 40), (Program::Podzone, "search-podzone", 41)]
        .map(|(program, name, octet)| stage.serve(program, name, octet, &with_autopath()));
    for server in &mut servers {
        server.wait_until_it_answers(server.address());
        server.wait_until_ready();
    }
    let ask = |name: &str, rtype: u16| {
        servers.each_ref().map(|server| {
            let query = dns::Query::new(name, rtype).payload(1232);
            let answer = stage.client.inside(|| dns::ask(SocketAddr::from((server.address(), 53)), &query));
            answer.unwrap_or_else(|error| panic!("{name}: {error}\n{}", server.process.log_tail()))
        })
    };
    let names = [
        "web",
        "web.default",
        "web.default.svc",
        "Web.Default.svc",
        "api.shop",
        "api.shop.svc.cluster.local",
        "db",
        "db-0.db",
        "empty",
        "missing",
        "missing.shop",
        "default",
        "_http._tcp.api.shop",
        "a-1.test",
        "A-2.test",
        "cname-4.test",
        "text-3.test",
        "tc-1.test",
        "nx-1.test",
        "nothing-1.test",
        "fail-1.test",
        "lame-1.test",
        "spoof-4.test",
    ];
    for name in names {
        for rtype in [A, AAAA, SRV, TXT, CNAME, MX] {
            let name = format!("{name}.default.svc.cluster.local");
            let [theirs, ours] = ask(&name, rtype);
            assert_eq!(essence(&ours, false), essence(&theirs, false), "{name} {}", dns::type_text(rtype));
        }
    }
    // Where the first name is an alias itself, CoreDNS has two of them.
    let [theirs, ours] = ask("outside.default.svc.cluster.local", A);
    assert_eq!((ours.data_of(CNAME).len(), theirs.data_of(CNAME).len()), (1, 2), "{ours}\n{theirs}");
    // Nobody else has the pod's search path: each asks from its own host.
    for server in &servers {
        let answer = server.ask_at(server.address(), &dns::Query::new("a-1.test.default.svc.cluster.local", A));
        assert_eq!(answer.rcode, dns::NXDOMAIN, "{answer}");
    }
}
