//! A source that is followed, as it is reported on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::held::Held;
use crate::config::Source;
use crate::model::{Cluster, Kind};
use crate::snapshot;
use crate::source::Health;
use crate::telemetry::Changes;
use crate::zone::View;

/// A source's name and state, and how many of its objects are held.
#[derive(Debug)]
pub struct FollowedSource {
    /// What the operator knows it by; no two have the same.
    pub name: String,
    /// Its state.
    pub health: Arc<Health>,
    views: RwLock<Vec<Arc<View>>>,
    /// How long its changes take until answers have them.
    pub changes: Changes,
    /// What became of its snapshot.
    pub snapshot: snapshot::State,
    /// What a listing left out and is not removed yet.
    pub hold: Held,
    objects: [AtomicU64; Kind::ALL.len()],
}

impl FollowedSource {
    /// Nothing is held yet. `others` have their names.
    pub fn new(source: &Source, health: Arc<Health>, views: Vec<Arc<View>>, others: &[Arc<Self>]) -> Self {
        let name = match source {
            Source::InCluster => "in-cluster".to_owned(),
            Source::Kubeconfig { path, context: None } => path.display().to_string(),
            Source::Kubeconfig { path, context: Some(context) } => format!("{} {context}", path.display()),
            Source::Endpoint { url, .. } => url.clone(),
            Source::Manifests(folder) => folder.display().to_string(),
        };
        // Sources that differ in their certificates only, say.
        let same = others.iter().filter(|other| other.name.split(" #").next() == Some(&name)).count();
        let name = if same == 0 { name } else { format!("{name} #{}", same + 1) };
        Self {
            name,
            health,
            views: RwLock::new(views),
            changes: Changes::default(),
            snapshot: snapshot::State::default(),
            hold: Held::default(),
            objects: Default::default(),
        }
    }

    /// The views that are made of it.
    pub fn views(&self) -> Vec<Arc<View>> {
        self.views.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// These views are made of it from now on.
    pub fn shows(&self, views: Vec<Arc<View>>) {
        *self.views.write().unwrap_or_else(PoisonError::into_inner) = views;
    }

    /// Notes how many objects are held.
    pub fn held(&self, cluster: &Cluster) {
        for (kind, count) in Kind::ALL.into_iter().zip(&self.objects) {
            count.store(cluster.count(kind) as u64, Ordering::Relaxed);
        }
        self.hold.set(cluster);
    }

    /// How many objects of a kind are held.
    pub fn count(&self, kind: Kind) -> u64 {
        let index = Kind::ALL.iter().position(|known| *known == kind);
        index.and_then(|index| self.objects.get(index)).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}
