//! What is outside the clusters: a CoreDNS that both servers forward to.

use std::net::SocketAddr;
use std::sync::OnceLock;

use crate::support::dns::{PTR, Record};
use crate::support::process::Scratch;
use crate::support::server::{Program, Server};

const NAMES: &str = "
$ORIGIN example.com.
$TTL 60
@ IN SOA ns hostmaster 1 3600 600 86400 30
@ IN NS ns
ns IN A 192.0.2.53
www 120 IN A 192.0.2.1
www 120 IN A 192.0.2.2
www 120 IN AAAA 2001:db8::1
www IN MX 10 mail
alias 90 IN CNAME alias2
alias2 80 IN CNAME www
";

/// Every address has a name, so that what falls through is seen to arrive.
const ADDRESSES: &str = "
$ORIGIN 10.in-addr.arpa.
$TTL 60
@ IN SOA ns.example.com. hostmaster.example.com. 1 3600 600 86400 30
@ IN NS ns.example.com.
* IN PTR host.example.com.
";

/// Whether a record is its, and none of a cluster's.
pub(crate) fn has(record: &Record) -> bool {
    record.rtype == PTR && record.data() == "host.example.com."
}

/// Where it answers; started when it is asked for first.
pub(crate) fn upstream() -> SocketAddr {
    static UPSTREAM: OnceLock<(Scratch, Server)> = OnceLock::new();
    let (_, server) = UPSTREAM.get_or_init(|| {
        let folder = Scratch::new();
        let mut names = NAMES.to_owned();
        for number in 1..=60 {
            names += &format!("many IN A 198.51.100.{number}\n");
        }
        names += &format!("text IN TXT {}\n", format!("\"{}\" ", "x".repeat(250)).repeat(6));
        std::fs::write(folder.path().join("names"), names).expect("a zone");
        std::fs::write(folder.path().join("addresses"), ADDRESSES).expect("a zone");
        let path = folder.path().display();
        let corefile = format!(
            "example.com {{\n bind 127.0.0.1\n file {path}/names\n}}\n\
             10.in-addr.arpa {{\n bind 127.0.0.1\n file {path}/addresses\n}}\n"
        );
        (folder, Program::CoreDns.start(&corefile))
    });
    server.addr()
}
