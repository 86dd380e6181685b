//! The addresses of upstreams that the Corefile names (plugin/forward/resolve.go).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::time::timeout;

use super::letters::Letters;
use super::reply::Question;
use super::udp::{Received, Sockets};
use crate::answer::query::{CLASS_IN, HEADER_OCTETS, parse_record, rtype, skip_question};
use crate::config::{Forward, ForwardHost};

/// How long a resolver may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// An upstream's address, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it is.
    pub address: SocketAddr,
    /// It is asked over TLS.
    pub tls: bool,
    /// The name that its certificate must have; `None` is its address.
    pub server_name: Option<String>,
}

/// A name without addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("plugin/forward: failed to resolve {name:?}: {reason}")]
pub struct ResolveError {
    /// The name.
    pub name: String,
    /// Why not.
    pub reason: String,
}

/// The upstreams of a directive, each address once.
///
/// # Errors
/// If one of the names has none.
pub async fn targets(options: &Forward) -> Result<Vec<Target>, ResolveError> {
    let mut targets: Vec<Target> = Vec::new();
    for to in &options.to {
        let (addresses, host) = match &to.host {
            ForwardHost::Address(address) => (vec![*address], None),
            ForwardHost::Name(name) => {
                let found = resolve(name, &options.resolvers).await;
                let refuse = |reason| ResolveError { name: name.clone(), reason };
                // Who names a host means the host: its certificate has that name, if no other is said.
                (found.map_err(refuse)?, Some(name.trim_end_matches('.').to_owned()))
            }
        };
        for address in addresses {
            let address = SocketAddr::new(address, to.port);
            if targets.iter().all(|known| known.address != address) {
                let server_name = to.server_name.clone().or_else(|| host.clone()).filter(|_| to.tls);
                targets.push(Target { address, tls: to.tls, server_name });
            }
        }
    }
    Ok(targets)
}

async fn resolve(name: &str, resolvers: &[SocketAddr]) -> Result<Vec<IpAddr>, String> {
    if resolvers.is_empty() {
        let found = tokio::net::lookup_host((name, 0)).await.map_err(|error| error.to_string())?;
        let found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
        return if found.is_empty() { Err(format!("no addresses found for {name:?}")) } else { Ok(found) };
    }
    let mut reason = format!("no addresses found for {name:?}");
    for resolver in resolvers {
        let mut found = Vec::new();
        for kind in [rtype::A, rtype::AAAA] {
            match ask(*resolver, name, kind).await {
                Ok(addresses) => found.extend(addresses),
                Err(error) => {
                    reason = format!("no addresses found for {name:?}: {resolver}: {error}");
                    break;
                }
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Err(reason)
}

async fn ask(resolver: SocketAddr, name: &str, kind: u16) -> Result<Vec<IpAddr>, String> {
    let query = query(name, kind).ok_or("not a name")?;
    let question = Question::of(&query, false).ok_or("not a name")?;
    let sockets = Sockets::new(resolver, None);
    let received = timeout(PATIENCE, sockets.exchange(question, Letters::KEPT)).await;
    match received.map_err(|_| "i/o timeout")?.map_err(|error| error.to_string())? {
        Received::Answer(message) => Ok(addresses(&message)),
        // Their case is not looked at, since it was kept.
        Received::OtherLetters => Ok(Vec::new()),
    }
}

/// A query for a name's records, with recursion.
pub(super) fn query(name: &str, kind: u16) -> Option<Vec<u8>> {
    let mut query = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.trim_end_matches('.').split('.').filter(|label| !label.is_empty()) {
        query.push(u8::try_from(label.len()).ok().filter(|length| *length < 64)?);
        query.extend_from_slice(label.as_bytes());
    }
    query.push(0);
    query.extend_from_slice(&kind.to_be_bytes());
    query.extend_from_slice(&CLASS_IN.to_be_bytes());
    Some(query)
}

fn addresses(message: &[u8]) -> Vec<IpAddr> {
    let count = message.get(6..8).map_or(0, |count| u16::from_be_bytes([count[0], count[1]]));
    let mut found = Vec::new();
    let Some(mut at) = skip_question(message, HEADER_OCTETS) else { return found };
    for _ in 0..count {
        let Some(record) = parse_record(message, at) else { break };
        match (record.rtype, record.rdata) {
            (rtype::A, rdata) => {
                found.extend(<[u8; 4]>::try_from(rdata).map(|octets| IpAddr::V4(Ipv4Addr::from(octets))));
            }
            (rtype::AAAA, rdata) => {
                found.extend(<[u8; 16]>::try_from(rdata).map(|octets| IpAddr::V6(Ipv6Addr::from(octets))));
            }
            _ => {}
        }
        at = record.end;
    }
    found
}
