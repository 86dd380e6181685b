//! How far a listing has come, said at a pace that a person can read.
//!
//! Most listings take milliseconds, and nobody wants to hear of them. One that takes minutes, because the cluster is
//! large or the API server slow, is otherwise the same as one that hangs.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::client::resource;
use super::health::Health;
use super::start::Timing;
use crate::model::Kind;

/// Tells of the listings of one kind.
pub(super) struct Progress {
    kind: Kind,
    health: Arc<Health>,
    first: Duration,
    every: Duration,
}

impl Progress {
    pub(super) fn new(kind: Kind, health: &Arc<Health>, timing: &Timing) -> Self {
        Self { kind, health: Arc::clone(health), first: timing.listing_long, every: timing.listing_told }
    }

    /// Carries a listing through, and tells of it while it lasts, also where nothing comes.
    pub(super) async fn watch<T>(self, listing: impl Future<Output = T>) -> T {
        self.health.listing_begins(self.kind);
        let mut listing = pin!(listing);
        let mut wait = self.first;
        let result = loop {
            tokio::select! {
                result = &mut listing => break result,
                () = tokio::time::sleep(wait) => self.tell(),
            }
            wait = self.every;
        };
        self.health.listing_ends(self.kind);
        result
    }

    fn tell(&self) {
        if let Some(listing) = self.health.status(self.kind).and_then(|status| status.listing) {
            let (objects, seconds) = (listing.objects, listing.begun.elapsed().as_secs_f64());
            tracing::info!("listing {}: {objects} objects in {seconds:.1} s so far", resource(self.kind));
        }
    }
}
