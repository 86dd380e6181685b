//! A made-up internet: NSD with 10,000 names, and all names below another.

use crate::nsd;
use crate::server::Server;
use crate::support::peers;
use std::fmt::Write as _;

/// Names that exist, each with an address.
pub(crate) const NAMES: usize = 10_000;
/// All names below this exist.
pub(crate) const ANY: &str = "any.example";
/// The domain that a pod's search path ends with, as a cloud's machines have one. No name of the search exists in it.
pub(crate) const MACHINES: &str = "machines.example";

/// A name of the internet, without its last dot.
pub(crate) fn name(number: usize) -> String {
    format!("www.site-{number:05}.example")
}

/// Starts it on a core.
pub(crate) fn start(core: usize) -> Server {
    let mut server = nsd::spawn(&peers::binary("nsd"), core, "example", &zone());
    server.wait_until_it_speaks();
    server
}

/// Every tenth name is an alias of the one before it, as those of content networks are.
fn zone() -> String {
    let mut zone =
        "$ORIGIN example.\n$TTL 300\n@ SOA ns hostmaster 1 7200 1800 86400 60\n@ NS ns\nns A 192.0.2.1\n".to_owned();
    writeln!(zone, "*.{ANY}. A 192.0.2.2").expect("a string");
    for number in 0..NAMES {
        let [high, low] = [number / 250, number % 250 + 1];
        let line = match number % 10 {
            9 => format!("{}. CNAME {}.", name(number), name(number - 1)),
            _ => format!("{}. A 198.18.{high}.{low}", name(number)),
        };
        writeln!(zone, "{line}").expect("a string");
    }
    zone
}
