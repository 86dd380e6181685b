//! What a reader of the joins must look at again.

use std::sync::Arc;

use ahash::{HashMap, HashSet};

use super::cluster::Visibility;
use super::objects::{ObjectKey, PodAddresses};

/// What changed since it was last taken.
#[derive(Debug, Default)]
pub struct Dirty {
    /// Services (by their own key, whether they exist or not) whose own data, endpoints or existence changed.
    pub services: HashSet<ObjectKey>,
    /// The same of ServiceImports.
    pub imports: HashSet<ObjectKey>,
    /// Namespaces that came or went, for one of the filters at least.
    pub namespaces: HashSet<Arc<str>>,
    /// Pods that changed, and what they were.
    pub pods: HashMap<ObjectKey, PodBefore>,
    /// A kind was listed in full for the first time, or it came out that there is none such.
    pub synced: bool,
}

/// What a pod was that has changed since.
#[derive(Clone, Copy, Debug, Default)]
pub struct PodBefore {
    pub(super) addresses: PodAddresses,
    pub(super) visible: Visibility,
}

impl PodBefore {
    /// The addresses that it had in a view.
    pub fn addresses(self, filter: usize) -> PodAddresses {
        if self.visible.contains(filter) { self.addresses } else { PodAddresses::default() }
    }
}

impl Dirty {
    /// Whether there is nothing to look at.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
            && self.imports.is_empty()
            && self.namespaces.is_empty()
            && self.pods.is_empty()
            && !self.synced
    }
}
