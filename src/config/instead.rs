//! What to do without what only CoreDNS has.

/// Where CoreDNS serves a zone that podzone cannot.
const OTHER_SERVER: &str =
    "have CoreDNS serve that zone on another address, and here give the zone a block with: forward . ADDRESS";
/// Where CoreDNS stands between clients and podzone.
const IN_FRONT: &str = "keep CoreDNS in front for it, with podzone as its forward, or remove it";
/// Where clients speak to podzone in other ways than over UDP and TCP.
const TRANSPORT: &str =
    "podzone speaks DNS over UDP and TCP: keep CoreDNS in front for it, and a key without scheme here";

/// What to do about a directive of CoreDNS's that podzone does not serve.
pub(super) fn of_directive(name: &str) -> &'static str {
    match name {
        "root" => "remove it, and write the paths of files in full",
        "proxyproto" => {
            "have the load balancer keep the clients' addresses (externalTrafficPolicy: Local), and remove it"
        }
        "quic" | "grpc_server" | "https" | "https3" | "tls" => TRANSPORT,
        "trace" => "remove it: prometheus counts and times the queries",
        "pprof" => "remove it: perf profiles podzone as any program",
        "shed" => "remove it: what cannot be answered in time is shed anyway (podzone_shed_queries_total)",
        "dnstap" => "write log instead, which has a format of your own",
        "rewrite" => "for an alias write a Service of type ExternalName; for the rest keep CoreDNS in front",
        "grpc" => "write forward with addresses instead",
        "erratic" => "remove it: it serves tests",
        "on" => "remove it, and run the command where podzone is started",
        "view" => "give each group of clients an address, and a server block with bind to it",
        "hosts" | "template" | "file" | "auto" | "secondary" | "etcd" | "route53" | "azure" | "clouddns" | "nomad"
        | "k8s_external" | "dnssec" | "sign" => OTHER_SERVER,
        _ => IN_FRONT,
    }
}

/// What to do about a scheme of a key.
pub(super) fn of_scheme(scheme: &str) -> &'static str {
    match scheme {
        "unix" => "podzone listens on addresses: write the zone alone, and bind",
        _ => TRANSPORT,
    }
}
