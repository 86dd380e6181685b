//! What of an EndpointSlice has one meaning: all of it, or, where names are given to topology zones, the endpoints of one.

use std::collections::BTreeSet;

use super::faults::{Fault, planted};
use super::name::push_labels;
use super::rules::Rules;
use crate::model::{Conditions, EndpointRef, EndpointSlice};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct SlicePart<'s> {
    pub(super) slice: &'s EndpointSlice,
    pub(super) zone: Zone,
}

/// The endpoints of which topology zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Zone {
    /// All.
    Any,
    /// Those that say none.
    None,
    /// Those of one: as it is written, and its labels in wire form, in lower case. What is no name has no labels.
    One { text: Box<[u8]>, labels: Box<[u8]> },
}

impl Zone {
    /// The labels that ask for it; none if nothing does.
    pub(super) fn labels(&self) -> &[u8] {
        match self {
            Self::Any | Self::None => &[],
            Self::One { labels, .. } => labels,
        }
    }

    fn new(text: Option<&[u8]>) -> Self {
        let Some(text) = text else { return Self::None };
        let mut labels = Vec::with_capacity(text.len() + 1);
        // Nothing is appended where it fails. A zone may have dots, and stands in several labels then.
        push_labels(&mut labels, &text.to_ascii_lowercase());
        Self::One { text: text.into(), labels: labels.into() }
    }

    fn has(&self, endpoint: &EndpointRef<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::None => endpoint.zone.is_none(),
            Self::One { text, .. } => endpoint.zone == Some(text),
        }
    }
}

impl<'s> SlicePart<'s> {
    /// All of a slice.
    pub(super) fn all(slice: &'s EndpointSlice) -> Self {
        Self { slice, zone: Zone::Any }
    }

    /// A slice by its zones, in their order.
    pub(super) fn by_zone(slice: &'s EndpointSlice) -> impl Iterator<Item = Self> {
        let zones: BTreeSet<Option<&[u8]>> = slice.endpoints.iter().map(|endpoint| endpoint.zone).collect();
        zones.into_iter().map(move |zone| Self { slice, zone: Zone::new(zone) })
    }

    /// Its endpoints that have names, and whether these are all that they have: no set has them.
    pub(super) fn named(&self, rules: Rules) -> impl Iterator<Item = (EndpointRef<'s>, bool)> + use<'s, '_> {
        let of_zone = self.slice.endpoints.iter().filter(|endpoint| self.zone.has(endpoint));
        of_zone.filter_map(move |endpoint| {
            let conditions = endpoint.conditions;
            // Terminating is never ready but where a Service publishes what is not ready; serving is what readiness would be
            // (`EndpointConditions` in `k8s.io/api/discovery/v1`).
            let is_named = if conditions.terminating == Some(true) {
                rules.names_draining && conditions.serving == Some(true)
            } else {
                rules.names_not_ready
            };
            let answers = answers(conditions);
            (answers || is_named).then_some((endpoint, !answers))
        })
    }

    /// Its endpoints that belong into answers.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = EndpointRef<'s>> + use<'s, '_> {
        self.slice.endpoints.iter().filter(|endpoint| self.zone.has(endpoint) && answers(endpoint.conditions))
    }
}

fn answers(conditions: Conditions) -> bool {
    if planted(Fault::NotReadyAnswered) {
        return true;
    }
    if planted(Fault::NilIsNotReady) {
        return conditions.ready == Some(true);
    }
    if planted(Fault::TerminatingLeftOut) && conditions.terminating == Some(true) {
        return false;
    }
    conditions.is_ready()
}
