//! Transfers: from what `transfer` and `tsig` say to what is given, and to whom.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::sources::BlockViews;
use crate::answer::{Required, Signing};
use crate::config::{Config, RequiredCodes, ServerBlock, TransferTo, Tsig, TsigAlgorithm, TsigKey};
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
pub(super) fn transfers(config: &Config, views: &[Option<BlockViews>]) -> Transfers {
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

/// The tasks that tell secondaries of new versions.
#[derive(Default)]
pub(super) struct Notifying(Vec<Told>);

/// Whom a task tells of what; it ends with this.
struct Told {
    whom: Whom,
    task: AbortHandle,
}

/// Two that are equal would tell the same.
struct Whom {
    address: SocketAddr,
    source: Option<IpAddr>,
    zones: Vec<Name>,
    key: Option<TsigKey>,
    view: Arc<View>,
}

impl PartialEq for Whom {
    fn eq(&self, other: &Self) -> bool {
        let parts = |whom: &Self| (whom.address, whom.source);
        parts(self) == parts(other)
            && self.zones == other.zones
            && self.key == other.key
            && Arc::ptr_eq(&self.view, &other.view)
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Notifying {
    /// Tells the secondaries of all blocks, and no others any more; to be called on the runtime. Who was told before goes
    /// on, and hears nothing twice.
    pub(super) fn replace(&mut self, config: &Config, views: &[Option<BlockViews>]) {
        let mut before = std::mem::take(&mut self.0);
        let (transfers, keys) = (transfers(config, views), keys(config));
        for (id, (block, plan)) in config.blocks.iter().zip(views).enumerate() {
            let kept = plan.iter().flat_map(|plan| &plan.kept);
            let served = transfers.0.get(&id).into_iter().flatten().zip(kept);
            let pairs =
                served.flat_map(|pair| block.transfers.iter().enumerate().map(move |transfer| (pair, transfer)));
            for ((served, kept), (index, transfer)) in pairs {
                let zones = served.view.options().zones.iter().filter(|zone| served.stanza(zone) == Some(index));
                let zones: Vec<Name> = zones.cloned().collect();
                let name = transfer.notify_key.as_deref().and_then(Name::parse);
                let key = name.as_ref().and_then(|name| keys.get(name.as_wire()).map(Arc::clone));
                for to in &transfer.to {
                    let TransferTo::Address { address, interface, port } = to else { continue };
                    let Some(address) = socket_address(*address, interface.as_deref(), *port) else { continue };
                    let source = transfer.source;
                    let view = Arc::clone(&served.view);
                    let whom =
                        Whom { address, source, zones: zones.clone(), key: said_key(config, name.as_ref()), view };
                    if let Some(at) = before.iter().position(|told| told.whom == whom) {
                        self.0.push(before.swap_remove(at));
                        continue;
                    }
                    let subject = Subject { served: served.clone(), zones: zones.clone(), key: key.clone() };
                    let secondary = Secondary { address, source, subject };
                    let task = tokio::spawn(notify(secondary, kept.serials.clone())).abort_handle();
                    self.0.push(Told { whom, task });
                }
            }
        }
    }
}

/// The key of a name, as the configuration says it.
fn said_key(config: &Config, name: Option<&Name>) -> Option<TsigKey> {
    let mut keys = config.blocks.iter().filter_map(|block| block.tsig.as_ref()).flat_map(|tsig| &tsig.keys);
    // Of two with one name the last holds.
    keys.rfind(|key| name.is_some() && Name::parse(&key.name).as_ref() == name).cloned()
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
