//! Transfers: from what `transfer` and `tsig` say to what is given, and to whom.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

use tokio::sync::watch;

use super::views::ViewPlan;
use crate::answer::{Required, Signing};
use crate::config::{Config, RequiredCodes, ServerBlock, TransferTo, Tsig, TsigAlgorithm};
use crate::net::{Secondary, notify};
use crate::transfer::{Allowed, Counters, Served, Stanza, Subject, Transfers, Versions};
use crate::tsig::{Algorithm, Key, Keyring};
use crate::zone::{CutFollower, Name, View};

/// What is kept of a view whose zones are transferred.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) view: Arc<View>,
    pub(super) versions: Arc<Versions>,
    pub(super) counters: Arc<Counters>,
    /// The serial of the last cut, for those who tell of it.
    pub(super) serials: watch::Receiver<Option<u32>>,
}

impl Kept {
    /// Begins to keep what is to be transferred of a view, and who is to follow its cuts for that.
    pub(super) fn of(view: &Arc<View>) -> (Self, CutFollower) {
        let (sender, serials) = watch::channel(None);
        let kept = Self { view: Arc::clone(view), versions: Arc::default(), counters: Arc::default(), serials };
        let (versions, view) = (Arc::clone(&kept.versions), Arc::clone(view));
        let follower = Box::new(move |cut: &crate::zone::Cut<'_>| {
            versions.cut(view.options(), cut);
            sender.send_replace(Some(cut.after.serial()));
        });
        (kept, follower)
    }
}

/// What is transferred of all blocks.
pub(super) fn transfers(config: &Config, views: &[Option<ViewPlan>]) -> Transfers {
    let served = config.blocks.iter().zip(views).enumerate().filter_map(|(id, (block, plan))| {
        let plan = plan.as_ref()?;
        let served = plan.kept.iter().cloned().map(|Kept { view, versions, counters, .. }| {
            let stanzas = stanzas(block);
            Served { view, versions, stanzas, counters }
        });
        Some((id, served.collect()))
    });
    Transfers(served.collect())
}

/// The zones that a block's `transfer` is about.
pub(super) fn zones(block: &ServerBlock) -> Vec<Name> {
    block.transfers.iter().flat_map(|transfer| &transfer.zones).filter_map(|zone| Name::parse(zone)).collect()
}

fn stanzas(block: &ServerBlock) -> Vec<Stanza> {
    let stanza = |transfer: &crate::config::Transfer| {
        let addresses = transfer.to.iter().filter_map(|to| match to {
            TransferTo::Everybody => None,
            TransferTo::Address { address, .. } => Some(*address),
        });
        let allowed = match transfer.to.contains(&TransferTo::Everybody) {
            true => Allowed::All,
            false => Allowed::These(addresses.collect()),
        };
        Stanza { zones: transfer.zones.iter().filter_map(|zone| Name::parse(zone)).collect(), allowed }
    };
    block.transfers.iter().map(stanza).collect()
}

/// The keys of all blocks: they hold for the whole server, as in CoreDNS.
pub(super) fn keys(config: &Config) -> Keyring {
    let keys = config.blocks.iter().filter_map(|block| block.tsig.as_ref()).flat_map(|tsig| &tsig.keys);
    let key = |key: &crate::config::TsigKey| {
        let algorithm = match key.algorithm {
            TsigAlgorithm::Sha256 => Algorithm::Sha256,
            TsigAlgorithm::Sha384 => Algorithm::Sha384,
            TsigAlgorithm::Sha512 => Algorithm::Sha512,
        };
        Some(Key::new(Name::parse(&key.name)?, algorithm, key.secret.clone()))
    };
    keys.filter_map(key).collect()
}

/// Which queries of a block must be signed.
pub(super) fn signing(tsig: &Tsig) -> Signing {
    let required = |codes: &RequiredCodes| match codes {
        RequiredCodes::All => Required::All,
        RequiredCodes::These(codes) => Required::These(codes.clone()),
    };
    let zones = tsig.zones.iter().filter_map(|zone| Name::parse(zone)).collect();
    Signing { zones, types: required(&tsig.types), opcodes: required(&tsig.opcodes) }
}

/// Begins to tell the secondaries of all blocks; to be called on the runtime.
pub(super) fn notify_all(config: &Config, views: &[Option<ViewPlan>]) {
    let (transfers, keys) = (transfers(config, views), keys(config));
    for (id, (block, plan)) in config.blocks.iter().zip(views).enumerate() {
        let kept = plan.iter().flat_map(|plan| &plan.kept);
        let served = transfers.0.get(&id).into_iter().flatten().zip(kept);
        let pairs = served.flat_map(|pair| block.transfers.iter().enumerate().map(move |transfer| (pair, transfer)));
        for ((served, kept), (index, transfer)) in pairs {
            let zones = served.view.options().zones.iter().filter(|zone| served.stanza(zone) == Some(index));
            let zones: Vec<Name> = zones.cloned().collect();
            let name = transfer.notify_key.as_deref().and_then(Name::parse);
            let key = name.and_then(|name| keys.get(name.as_wire()).map(Arc::clone));
            for to in &transfer.to {
                let TransferTo::Address { address, interface, port } = to else { continue };
                let Some(address) = socket_address(*address, interface.as_deref(), *port) else { continue };
                let (served, zones, key, source) = (served.clone(), zones.clone(), key.clone(), transfer.source);
                let secondary = Secondary { address, source, subject: Subject { served, zones, key } };
                tokio::spawn(notify(secondary, kept.serials.clone()));
            }
        }
    }
}

/// An address and port; a link-local one is of an interface (RFC 4007 section 11), given by name or number.
fn socket_address(address: IpAddr, interface: Option<&str>, port: u16) -> Option<SocketAddr> {
    let (IpAddr::V6(v6), Some(interface)) = (address, interface) else { return Some(SocketAddr::new(address, port)) };
    let index = interface.parse().or_else(|_| nix::net::if_::if_nametoindex(interface));
    match index {
        Ok(index) => Some(SocketAddr::V6(SocketAddrV6::new(v6, port, 0, index))),
        Err(error) => {
            tracing::warn!(target: "plugin/transfer", "{address} is not told of changes: interface {interface}: {error}");
            None
        }
    }
}
