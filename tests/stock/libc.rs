//! What a libc finds: `getaddrinfo` of glibc and of musl in a pod, with five dots and the search path of a pod, A and AAAA at
//! once, through podzone and through CoreDNS, with kubeadm's Corefile and with `autopath` beside it.

use std::collections::BTreeMap;

use crate::KUBEADM;
use crate::stage::Stage;
use crate::support::server::Program;

const NAMES: [&str; 26] = [
    "web",
    "web.default",
    "web.default.svc",
    "web.default.svc.cluster.local",
    "web.default.svc.cluster.local.",
    "WEB",
    "api.shop",
    "api.shop.svc.cluster.local",
    "db",
    "db-0.db",
    "db-1.db.default",
    "empty",
    "outside",
    "inside",
    "nowhere",
    "missing",
    "missing.shop",
    "default",
    "a-1.test",
    "a-2.test",
    "a-2.test.",
    "cname-4.test",
    "nx-1.test",
    "tc-1.test",
    "slow-2.test",
    "spoof-6.test",
];

/// Asked for alone: some wait for another answer until their time is up.
const FAILING: [&str; 2] = ["fail-1.test", "fail-1.test."];

/// kubeadm's Corefile, with the search paths of pods gone through.
pub(crate) fn with_autopath() -> String {
    let text =
        KUBEADM.replace("pods insecure", "pods verified").replace("    loop\n", "    loop\n    autopath @kubernetes\n");
    assert!(text.contains("pods verified") && text.contains("autopath"));
    text
}

/// What was found, without canonical names: with `autopath` those are the ends of aliases.
fn without_names(found: &BTreeMap<String, String>) -> BTreeMap<&str, String> {
    let of = |rest: &String| {
        let mut words: Vec<&str> = rest.split(' ').collect();
        words.remove(1);
        words.join(" ")
    };
    found.iter().map(|(name, rest)| (name.as_str(), of(rest))).collect()
}

fn requests(server: &crate::stage::Server) -> f64 {
    let (_, page) = server.page("127.0.0.1:9153", "/metrics").expect("metrics");
    let counts = page.lines().filter(|line| line.starts_with("coredns_dns_requests_total{"));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[test]
fn a_libc_finds_the_same_with_either_server_with_autopath_and_without() {
    let stage = Stage::get();
    let mut servers = [
        stage.serve(Program::CoreDns, "libc-coredns", 4, KUBEADM),
        stage.serve(Program::Podzone, "libc-podzone", 5, KUBEADM),
        stage.serve(Program::CoreDns, "path-coredns", 6, &with_autopath()),
        stage.serve(Program::Podzone, "path-podzone", 7, &with_autopath()),
    ];
    for server in &mut servers {
        server.wait_until_it_answers(server.address());
        server.wait_until_ready();
    }
    for compiler in ["cc", "musl-gcc"] {
        let libc = stage.libc(compiler);
        let found = servers.each_ref().map(|server| {
            let before = requests(server);
            let found = stage.look_up(&libc, server.address(), &NAMES, 20);
            let count = requests(server) - before;
            (found, count)
        });
        // musl of that age never comes over TCP, and takes as many addresses as a datagram holds, in any order.
        let found = found.map(|(mut found, count)| {
            let cut = found.get_mut("tc-1.test").unwrap();
            if compiler == "musl-gcc" {
                *cut = cut.split_inclusive(' ').take(2).collect();
            }
            (found, count)
        });
        let [(theirs, _), (ours, plain), (their_path, _), (our_path, short)] = &found;
        assert_eq!(ours, theirs, "{compiler}");
        assert_eq!(our_path, their_path, "{compiler}, with autopath");
        assert_eq!(without_names(our_path), without_names(ours), "{compiler}");
        for (name, wanted) in [
            ("web", "found web.default.svc.cluster.local 10.96.20.1 fd00:96::2001"),
            ("db-0.db", "found db-0.db.default.svc.cluster.local 10.244.1.1 fd00:244::1"),
            ("a-2.test.", "found a-2.test 192.0.2.2 2001:db8::2"),
        ] {
            assert_eq!(ours[name].trim_end_matches('.'), wanted, "{compiler}: {name}");
        }
        assert!(ours["nx-1.test"].starts_with("none"), "{ours:#?}");
        for server in &servers {
            let failing = stage.look_up(&libc, server.address(), &FAILING, 2);
            assert!(failing.values().all(|told| told.starts_with("again")), "{compiler}: {failing:#?}");
        }
        eprintln!("{compiler}: {} names took {plain} queries, {short} with autopath", NAMES.len());
        assert!(short < plain, "autopath spares queries: {short} of {plain}");
    }
}
