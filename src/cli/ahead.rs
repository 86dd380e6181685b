//! What is answered ahead of a block's zones: `local`, `any`, `chaos` and `acl`.

use std::net::IpAddr;

use crate::answer::{Action, Ahead, Chaos, Local, Network, Policy, Rule};
use crate::config::{self, AclAction, AclPolicy, AclRule, ServerBlock};
use crate::zone::Name;

/// Who `authors.bind` names if `chaos` names nobody.
const AUTHORS: &str = "The podzone authors";

/// What is answered ahead of a block's zones, if anything is.
pub(super) fn ahead(block: &ServerBlock) -> Option<Ahead> {
    let rule = |rule: &AclRule| Rule {
        zones: rule.zones.iter().filter_map(|zone| Name::parse(zone)).collect(),
        policies: rule.policies.iter().map(policy).collect(),
    };
    let chaos = |chaos: &config::Chaos| {
        let authors = if chaos.authors.is_empty() { vec![AUTHORS.to_owned()] } else { chaos.authors.clone() };
        let version = chaos.version.clone().unwrap_or_else(|| concat!("podzone-", env!("CARGO_PKG_VERSION")).into());
        Chaos { version, authors, host: chaos.host.clone() }
    };
    let ahead = Ahead {
        local: block.local.map(|local| Local { prefix: local.prefix }),
        any: block.any,
        chaos: block.chaos.as_ref().map(chaos),
        acl: block.acl.iter().map(rule).collect(),
    };
    let is_empty = ahead.local.is_none() && !ahead.any && ahead.chaos.is_none() && ahead.acl.is_empty();
    (!is_empty).then_some(ahead)
}

fn policy(policy: &AclPolicy) -> Policy {
    let action = match policy.action {
        AclAction::Allow => Action::Allow,
        AclAction::Block => Action::Block,
        AclAction::Filter => Action::Filter,
        AclAction::Drop => Action::Drop,
    };
    let network = |(address, bits): &(IpAddr, u8)| Network::new(*address, *bits);
    let networks = policy.networks.as_ref().map(|networks| networks.iter().filter_map(network).collect());
    Policy { action, types: policy.types.clone(), networks }
}
