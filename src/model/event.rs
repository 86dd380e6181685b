//! What a source says about the cluster.

use std::time::SystemTime;

use super::objects::{Object, ObjectKey};

/// The kinds of object that DNS needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `v1` Namespace.
    Namespace,
    /// `v1` Service.
    Service,
    /// `discovery.k8s.io/v1` EndpointSlice.
    EndpointSlice,
    /// `v1` Pod; only where a view has `pods verified`.
    Pod,
    /// `multicluster.x-k8s.io/v1alpha1` ServiceImport; only where a view is of other clusters' Services. It is a custom
    /// resource: an API server may not have it.
    ServiceImport,
}

impl Kind {
    /// Every kind, in the order in which a source should begin to list them.
    pub const ALL: [Self; 5] = [Self::Namespace, Self::Service, Self::EndpointSlice, Self::Pod, Self::ServiceImport];
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Namespace => "Namespace",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Pod => "Pod",
            Self::ServiceImport => "ServiceImport",
        })
    }
}

/// One step of a source's account of one kind.
///
/// A listing is `Begin`, an `Apply` for each object, `End`. What was known before `Begin` and was not applied by
/// `End` is gone: a relist is a mark-and-sweep against the live objects and never empties anything. Changes after
/// the listing are plain `Apply` and `Delete`. A listing that breaks off simply begins again.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A full listing of this kind begins.
    Begin(Kind),
    /// The object exists and looks like this.
    Apply(Object),
    /// The object is gone.
    Delete(Kind, ObjectKey),
    /// The listing is complete: what it did not name is gone.
    End(Kind),
    /// What the EndpointSlice that was applied just now was written for happened at this time: a pod that became ready,
    /// say. It is no part of the object, since nothing that is answered depends on it.
    Triggered(ObjectKey, SystemTime),
    /// Whoever is asked does not know of this kind. What was known of it stays; a listing ends this.
    Unknown(Kind),
}
