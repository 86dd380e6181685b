//! How long changes of a cluster take until answers have them.

use std::time::{Duration, SystemTime};

use crate::histogram::{CHANGE_BOUNDS, Distribution, Histogram, PROGRAMMING_BOUNDS};
use crate::model;

/// What a Service is to the DNS programming latency of Kubernetes' SIG Scalability (`dns_programming_latency.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// It has addresses of its own.
    ClusterIp,
    /// It is headless, and its endpoints are chosen by a selector.
    HeadlessWithSelector,
    /// It is headless, and somebody else writes its endpoints. CoreDNS has the name and never counts one.
    HeadlessWithoutSelector,
}

impl ServiceKind {
    const ALL: [Self; 3] = [Self::ClusterIp, Self::HeadlessWithSelector, Self::HeadlessWithoutSelector];

    /// What a Service is. An alias counts as one with addresses, as with CoreDNS.
    pub fn of(service: &model::Service) -> Self {
        match (&service.kind, service.has_selector) {
            (model::ServiceKind::Headless, true) => Self::HeadlessWithSelector,
            (model::ServiceKind::Headless, false) => Self::HeadlessWithoutSelector,
            _ => Self::ClusterIp,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::ClusterIp => "cluster_ip",
            Self::HeadlessWithSelector => "headless_with_selector",
            Self::HeadlessWithoutSelector => "headless_without_selector",
        }
    }
}

/// The counts of one source.
#[derive(Debug)]
pub struct Changes {
    programmed: [Histogram; ServiceKind::ALL.len()],
    answered: Histogram,
}

impl Default for Changes {
    fn default() -> Self {
        let programmed = ServiceKind::ALL.map(|_| Histogram::new(&PROGRAMMING_BOUNDS));
        Self { programmed, answered: Histogram::new(&CHANGE_BOUNDS) }
    }
}

impl Changes {
    /// An EndpointSlice of such a Service is answered from, which the cluster changed at this time. Clocks of two
    /// machines may be apart: what seems to lie ahead took no time.
    pub fn programmed(&self, kind: ServiceKind, changed: SystemTime) {
        if let Some(histogram) = self.programmed.get(kind as usize) {
            histogram.took(changed.elapsed().unwrap_or_default());
        }
    }

    /// Changes are answered from, of which the first was received so long ago.
    pub fn answered(&self, waited: Duration) {
        self.answered.took(waited);
    }

    /// The programming latency by the Services' kinds.
    pub fn by_kind(&self) -> impl Iterator<Item = (&'static str, Distribution)> {
        ServiceKind::ALL.iter().zip(&self.programmed).map(|(kind, histogram)| (kind.label(), histogram.read()))
    }

    /// How long changes waited after they were received.
    pub fn waits(&self) -> Distribution {
        self.answered.read()
    }
}
