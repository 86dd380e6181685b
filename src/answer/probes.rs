//! Names that were asked for to see whether they come back (`loop`): one that does has gone round.
//!
//! CoreDNS's plugin stands before `forward` too, so that what is answered without an upstream is never a loop
//! (plugin.cfg). Nobody else knows a name before it is sent, so that no client can feign a loop: CoreDNS ended on such a
//! packet once (CVE-2026-26018). The upstreams do know it, and could as well not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

use super::folded::Folded;
use super::query::{Question, rtype};

/// The names that are under way for a block. Few are at a time, one for each upstream at most.
#[derive(Debug, Default)]
pub struct Probes(ArcSwap<Vec<Arc<Probe>>>);

/// A name that was asked for.
#[derive(Debug)]
pub struct Probe {
    /// In wire form and lower case: upstreams may write it otherwise.
    name: Box<[u8]>,
    is_back: AtomicBool,
}

impl Probes {
    /// Begins to look for a name (wire form, lower case).
    pub fn expect(&self, name: &[u8]) -> Arc<Probe> {
        let probe = Arc::new(Probe { name: name.into(), is_back: AtomicBool::new(false) });
        self.0.rcu(|known| {
            let mut all = (**known).clone();
            all.push(Arc::clone(&probe));
            all
        });
        probe
    }

    /// Looks for it no longer.
    pub fn forget(&self, probe: &Arc<Probe>) {
        self.0.rcu(|known| known.iter().filter(|known| !Arc::ptr_eq(known, probe)).cloned().collect::<Vec<_>>());
    }

    /// Whether a question is one of them.
    pub(super) fn has(&self, question: &Question<'_>, name: &Folded) -> bool {
        question.qtype == rtype::HINFO && self.0.load().iter().any(|probe| *probe.name == *name.as_wire())
    }

    /// Notes that it has come.
    pub(super) fn note(&self, name: &Folded) {
        let known = self.0.load();
        for probe in known.iter().filter(|probe| *probe.name == *name.as_wire()) {
            probe.is_back.store(true, Ordering::Release);
        }
    }
}

impl Probe {
    /// Whether it has come back.
    pub fn is_back(&self) -> bool {
        self.is_back.load(Ordering::Acquire)
    }
}
