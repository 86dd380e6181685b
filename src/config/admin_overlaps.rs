//! Endpoints beside DNS that want one socket for two uses.
//!
//! Several blocks may name one endpoint at one address: it is served once. CoreDNS opens whatever is asked for with
//! SO_REUSEPORT, after which the kernel hands each connection to one or the other.

use super::report::Report;
use super::{AdminAddress, Monitor, ServerBlock};
use crate::corefile::{self, Diagnostic, Token};

struct Endpoint<'a> {
    name: &'static str,
    address: &'a AdminAddress,
    monitor: Option<Monitor>,
    word: &'a Token,
}

/// Refuses endpoints that collide with each other or with DNS over TCP.
pub(super) fn check(trees: &[corefile::ServerBlock], blocks: &[ServerBlock], report: &mut Report) {
    let mut seen: Vec<Endpoint<'_>> = Vec::new();
    for endpoint in trees.iter().zip(blocks).flat_map(|(tree, block)| endpoints(tree, block)) {
        if let Some(error) = with_others(&endpoint, &seen).or_else(|| with_dns(&endpoint, blocks)) {
            report.error(error.at(&endpoint.word.place).from_plugin(endpoint.name));
        }
        seen.push(endpoint);
    }
}

fn endpoints<'a>(tree: &'a corefile::ServerBlock, block: &'a ServerBlock) -> impl Iterator<Item = Endpoint<'a>> {
    let word = |name: &str| tree.directives.iter().find(|directive| directive.name == name)?.tokens.first();
    let endpoint = |name, address, monitor| Some(Endpoint { name, address, monitor, word: word(name)? });
    let ready = block.ready.as_ref().and_then(|ready| endpoint("ready", &ready.address, Some(ready.monitor)));
    let health = block.health.as_ref().and_then(|health| endpoint("health", &health.address, None));
    let metrics = block.prometheus.as_ref().and_then(|address| endpoint("prometheus", address, None));
    [ready, health, metrics].into_iter().flatten()
}

fn with_others(new: &Endpoint<'_>, seen: &[Endpoint<'_>]) -> Option<Diagnostic> {
    let old = seen.iter().find(|old| {
        let is_same = old.name == new.name && old.address == new.address;
        old.address.collides(new.address) && !(is_same && old.monitor == new.monitor)
    })?;
    let line = old.word.place.line;
    if old.name == new.name && old.address == new.address {
        let message = format!("{} cannot be monitored in two ways", new.address);
        return Some(Diagnostic::new(message).hint(format!("line {line} says otherwise: write the same in both")));
    }
    let message = format!("cannot listen on {}: {} of line {line} listens on {}", new.address, old.name, old.address);
    Some(Diagnostic::new(message).hint("give each a port of its own"))
}

fn with_dns(new: &Endpoint<'_>, blocks: &[ServerBlock]) -> Option<Diagnostic> {
    let is_taken = |block: &ServerBlock| {
        let on_address = new.address.is_all()
            || block.bind.is_empty()
            || block.bind.iter().any(|address| address.to_string() == new.address.host);
        on_address && block.keys.iter().any(|key| key.port == new.address.port && key.port != 0)
    };
    blocks.iter().any(is_taken).then(|| {
        let message = format!("cannot listen on {}: DNS is served there over TCP", new.address);
        Diagnostic::new(message).hint("give it a port of its own")
    })
}
