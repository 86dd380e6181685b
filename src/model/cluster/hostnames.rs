//! The hostnames that pods have and no slice says. They are few: most pods have none, or one that is their name.

use std::sync::Arc;

use ahash::{HashMap, HashSet};

use super::Cluster;
use crate::model::{EndpointSlice, ObjectKey, Pod};

/// What changed of them.
#[derive(Debug, Default)]
pub(super) struct Hostnames {
    /// Pods whose hostnames changed since that was last looked at, by namespace.
    renamed: HashMap<Arc<str>, HashSet<Arc<str>>>,
    version: u64,
}

impl Cluster {
    /// `spec.hostname` of a pod that a view's filter lets through, if it is set and is not the pod's name.
    pub fn pod_hostname(&self, key: &ObjectKey, filter: usize) -> Option<&str> {
        let visible = self.pods.live.get(key).filter(|live| live.visible.contains(filter));
        visible.and_then(|live| live.object.hostname.as_deref())
    }

    /// A number that is another one when any pod's hostname is.
    pub fn hostnames_version(&self) -> u64 {
        self.hostnames.version
    }

    /// Notes whether a pod's hostname may have changed. `before` is what it was.
    pub(super) fn note_hostname(&mut self, key: &ObjectKey, before: Option<&Pod>) {
        let has_one = |pod: &Pod| pod.hostname.is_some();
        if before.is_some_and(has_one) || self.pods.live.get(key).is_some_and(|live| has_one(&live.object)) {
            let of_namespace = self.hostnames.renamed.entry(Arc::clone(&key.namespace)).or_default();
            of_namespace.insert(Arc::clone(&key.name));
        }
    }

    /// The Services of pods whose hostnames changed changed too. A slice says which pods it has, and nobody keeps the way
    /// back: all slices of the pods' namespaces are looked at.
    pub(super) fn touch_renamed(&mut self) {
        let renamed = std::mem::take(&mut self.hostnames.renamed);
        if renamed.is_empty() {
            return;
        }
        self.hostnames.version += 1;
        for live in self.slices.live.values() {
            let EndpointSlice { key, service, import, endpoints, .. } = &live.object;
            let Some(pods) = renamed.get(&key.namespace) else { continue };
            let mut targets = endpoints.iter().filter_map(|endpoint| endpoint.target_name);
            if targets.any(|pod| str::from_utf8(pod).is_ok_and(|pod| pods.contains(pod))) {
                let of = |name: &Arc<str>| ObjectKey::new(Arc::clone(&key.namespace), Arc::clone(name));
                self.dirty.services.extend(service.as_ref().map(of));
                self.dirty.imports.extend(import.as_ref().map(|import| of(&import.service)));
            }
        }
    }
}
