//! What an API server was found to be able to do.

use std::sync::atomic::{AtomicBool, Ordering};

/// Of one API server, shared by all that ask it. It is taken to be able until it refuses.
#[derive(Debug)]
pub(super) struct Abilities {
    protobuf: AtomicBool,
    json_told: AtomicBool,
    streamed_lists: AtomicBool,
}

impl Default for Abilities {
    fn default() -> Self {
        Self { protobuf: true.into(), json_told: false.into(), streamed_lists: true.into() }
    }
}

impl Abilities {
    /// Whether to ask for protobuf.
    pub(super) fn protobuf(&self) -> bool {
        self.protobuf.load(Ordering::Relaxed)
    }

    /// It refused a request because of protobuf.
    pub(super) fn refuses_protobuf(&self) {
        self.protobuf.store(false, Ordering::Relaxed);
    }

    /// It answered in JSON.
    pub(super) fn answers_in_json(&self) {
        if !self.json_told.swap(true, Ordering::Relaxed) {
            tracing::info!("the API server answers in JSON, not in protobuf: listing costs more time and memory");
        }
    }

    /// Whether to ask for lists as the beginnings of watches.
    pub(super) fn streamed_lists(&self) -> bool {
        self.streamed_lists.load(Ordering::Relaxed)
    }

    /// It refused such a list, and why.
    pub(super) fn refuses_streamed_lists(&self, why: &str) {
        if self.streamed_lists.swap(false, Ordering::Relaxed) {
            tracing::info!("the API server does not stream lists, they are fetched in pages: {why}");
        }
    }
}
