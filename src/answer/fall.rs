//! Which view of a block a name falls into, and which zone of it.

use super::folded::Folded;
use crate::zone::name::REVERSE_TREES;
use crate::zone::{Name, View};

/// Where a name falls: the longest zone that it is in, of all of a block's views.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fall<'v> {
    pub(super) view: &'v View,
    pub(super) zone: &'v Name,
    /// Where the zone begins in the name.
    pub(super) zone_at: usize,
}

/// Where a name falls, with the number of the view; `None` if it is in none of their zones.
///
/// The views are those of one `kubernetes` directive. Names of addresses are answered from the cluster's own Services,
/// even in a multicluster zone: the root, that is, or `arpa` (plugin/kubernetes/reverse.go, func Reverse).
pub(super) fn find<'v>(views: impl Iterator<Item = &'v View> + Clone, name: &Folded) -> Option<(usize, Fall<'v>)> {
    let mut found: Option<(usize, Fall<'v>)> = None;
    for (number, view) in views.clone().enumerate() {
        for zone in &view.options().zones {
            if let Some(zone_at) = name.within(zone.as_wire())
                && found.is_none_or(|(_, fall)| zone_at < fall.zone_at)
            {
                found = Some((number, Fall { view, zone, zone_at }));
            }
        }
    }
    let (number, fall) = found?;
    if fall.view.options().multicluster && REVERSE_TREES.iter().any(|tree| name.within(tree).is_some()) {
        let own = views.enumerate().find(|(_, view)| !view.options().multicluster);
        return Some(own.map_or((number, fall), |(number, view)| (number, Fall { view, ..fall })));
    }
    Some((number, fall))
}
