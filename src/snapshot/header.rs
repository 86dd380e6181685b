//! What a snapshot is of.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;

use crate::model::{Filter, Kind, Selector};

/// What a snapshot is of: which cluster, when, and through what it was looked at.
#[derive(Clone, PartialEq, Message)]
pub struct Header {
    /// Where the cluster's API is.
    #[prost(string, tag = "1")]
    pub cluster: String,
    /// When it was begun, in milliseconds since 1970.
    #[prost(uint64, tag = "2")]
    written_ms: u64,
    /// The kinds of objects in it, by their names.
    #[prost(string, repeated, tag = "3")]
    kinds: Vec<String>,
    /// What the API server was asked to select.
    #[prost(string, optional, tag = "4")]
    selector: Option<String>,
    /// The filters, each as the selectors of labels and of namespaces' labels.
    #[prost(message, repeated, tag = "5")]
    filters: Vec<Selectors>,
    /// The selectors of Services.
    #[prost(string, repeated, tag = "6")]
    selectors: Vec<String>,
    /// What wrote it.
    #[prost(string, tag = "7")]
    pub program: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Selectors {
    #[prost(string, optional, tag = "1")]
    labels: Option<String>,
    #[prost(string, optional, tag = "2")]
    namespace_labels: Option<String>,
}

/// Through what a cluster is looked at, and how much of it.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'s> {
    /// The kinds that are followed.
    pub kinds: &'s [Kind],
    /// What the API server is asked to select.
    pub selector: Option<&'s str>,
    /// The filters that the cluster is made with.
    pub filters: &'s [Filter],
    /// The selectors of Services that it is made with.
    pub selectors: &'s [Selector],
}

impl Header {
    /// Of a cluster that is looked at in this way, at this time.
    pub fn new(cluster: &str, selection: Selection<'_>, written: SystemTime) -> Self {
        let since = written.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            cluster: cluster.to_owned(),
            written_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            kinds: selection.kinds.iter().map(ToString::to_string).collect(),
            selector: selection.selector.map(str::to_owned),
            filters: selection.filters.iter().map(Selectors::of).collect(),
            selectors: selection.selectors.iter().map(ToString::to_string).collect(),
            program: concat!("podzone ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// When it was written.
    pub fn written(&self) -> SystemTime {
        // What is not a time of this clock is as old as can be.
        UNIX_EPOCH.checked_add(Duration::from_millis(self.written_ms)).unwrap_or(UNIX_EPOCH)
    }

    /// Where each filter and each selector of `wanted` stands in this; why that cannot be said.
    pub(super) fn fit(&self, wanted: Selection<'_>) -> Result<Fit, String> {
        if let Some(kind) = wanted.kinds.iter().find(|kind| !self.kinds.contains(&kind.to_string())) {
            return Err(format!("it has no objects of the kind {kind}"));
        }
        if self.selector.as_deref().is_some_and(|selector| Some(selector) != wanted.selector) {
            return Err("its objects were selected by other labels".to_owned());
        }
        let filters = wanted.filters.iter().map(Selectors::of);
        let filters: Option<Vec<usize>> =
            filters.map(|filter| self.filters.iter().position(|known| *known == filter)).collect();
        let selectors = wanted.selectors.iter().map(ToString::to_string);
        let selectors: Option<Vec<usize>> =
            selectors.map(|selector| self.selectors.iter().position(|known| *known == selector)).collect();
        match (filters, selectors) {
            (Some(filters), Some(selectors)) => Ok(Fit { filters, selectors }),
            _ => Err("the labels that select now were not asked for when it was written".to_owned()),
        }
    }
}

impl Selectors {
    fn of(filter: &Filter) -> Self {
        let text = |selector: &Option<Selector>| selector.as_ref().map(ToString::to_string);
        // Whether slices are seen is not an object's matter.
        Self { labels: text(&filter.labels), namespace_labels: text(&filter.namespace_labels) }
    }
}

/// Where the bits of now stand among those of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fit {
    filters: Vec<usize>,
    selectors: Vec<usize>,
}

impl Fit {
    pub(super) fn visible(&self, bits: u64) -> u64 {
        translated(bits, &self.filters)
    }

    pub(super) fn selected(&self, bits: u64) -> u64 {
        translated(bits, &self.selectors)
    }
}

/// The bits that stood at these places, in their order.
fn translated(bits: u64, places: &[usize]) -> u64 {
    let bit = |(to, from): (usize, &usize)| (bits >> (from % 64) & 1) << (to % 64);
    places.iter().enumerate().map(bit).fold(0, |all, bit| all | bit)
}
