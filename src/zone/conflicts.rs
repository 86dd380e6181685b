//! Names that do not hold what a pod expects of its own: one that several pods claim, and one that a longer pod name was
//! cut to. Both are answered as they stand; here is who is to be told.
//!
//! What is packed shows at once whether a Service may have such names, and nearly none does. Those are looked at in the
//! cluster itself, a second after they changed at most, with the cuts.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use ahash::{HashMap, HashSet};

use super::endpoint_label::{Naming, Which};
use super::name::{LABEL_OCTETS_MAX, Labels};
use super::options::ViewOptions;
use super::rules::Rules;
use super::schema::service_key;
use super::slice_part::SlicePart;
use crate::model::{Cluster, EndpointSlice, ObjectKey, ServiceKind};

/// Names of a Service that are listed. The others are counted.
const LISTED_MAX: usize = 100;
/// Pods of a name that are listed.
const PODS_MAX: usize = 10;
/// Names that are remembered as told of. Beyond them, what comes is told of again when it comes again.
const TOLD_MAX: usize = 10_000;

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Several pods claim it: it leads to all of them.
    Claimed,
    /// It is one pod's, and not all of what the pod is called.
    Cut,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Claimed, Self::Cut];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Cut => "cut",
        }
    }
}

/// A name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The labels before the zone's `svc`.
    pub labels: Labels,
    /// What is wrong.
    pub kind: Kind,
    /// How many pods claim it,
    pub count: usize,
    /// and the names of the first.
    pub pods: Box<[Box<str>]>,
}

/// Those of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// How many of each kind, in the order of [`Kind::ALL`].
    pub counts: [usize; 2],
    /// The first of them, by their names.
    pub listed: Vec<Conflict>,
}

/// Those of a view, by Service. Its one writer renews them; whoever wants to know reads.
#[derive(Debug, Default)]
pub struct Conflicts(Mutex<BTreeMap<ObjectKey, Found>>);

impl Conflicts {
    /// How many there are of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().map(|found| found.counts[kind as usize]).sum()
    }

    /// All that is listed, by Service.
    pub fn listed(&self) -> Vec<Conflict> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().flat_map(|found| &found.listed).cloned().collect()
    }

    fn has(&self, service: &ObjectKey) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(service)
    }

    fn set(&self, service: ObjectKey, found: Found) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if found == Found::default() {
            all.remove(&service);
        } else {
            all.insert(service, found);
        }
    }
}

/// What is to be looked at of a view, and what was told.
#[derive(Debug, Default)]
pub(super) struct Lookout {
    suspects: HashSet<ObjectKey>,
    told: HashSet<(Labels, Kind)>,
}

impl Lookout {
    /// Takes note of a Service that changed; whether it `may` have such names.
    pub(super) fn note(&mut self, service: &ObjectKey, may: bool, known: &Conflicts) {
        if may || known.has(service) {
            self.suspects.insert(service.clone());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.suspects.is_empty()
    }

    /// Looks at what changed, and adds to `news` what was never told of, a Service each.
    pub(super) fn look(
        &mut self,
        cluster: &Cluster,
        options: &ViewOptions,
        filter: usize,
        known: &Conflicts,
        news: &mut Vec<News>,
    ) {
        for service in self.suspects.drain() {
            let found = find(cluster, options, filter, &service);
            let is_new = |conflict: &&Conflict| !self.told.contains(&(conflict.labels.clone(), conflict.kind));
            let new: Vec<Conflict> = found.listed.iter().filter(is_new).cloned().collect();
            if let Some(first) = new.first() {
                news.push(News { first: first.clone(), more: new.len() - 1, zone: options.primary.to_string() });
            }
            if self.told.len() + new.len() > TOLD_MAX {
                self.told.clear();
            }
            self.told.extend(new.into_iter().map(|conflict| (conflict.labels, conflict.kind)));
            known.set(service, found);
        }
    }
}

/// Names of a Service that were not told of yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// One of them,
    pub first: Conflict,
    /// and how many more.
    pub more: usize,
    /// The zone that they are in.
    pub zone: String,
}

/// The pods that claim a name, and whether it is not all of the name of one of them.
#[derive(Default)]
struct Claims<'a> {
    pods: Vec<&'a [u8]>,
    is_cut: bool,
}

fn find(cluster: &Cluster, options: &ViewOptions, filter: usize, key: &ObjectKey) -> Found {
    let is_named = options.exposes(&key.namespace) && cluster.has_namespace(&key.namespace, filter);
    let service = match options.multicluster {
        true => cluster.import(key, filter),
        false => cluster.service(key, filter),
    };
    let service = service.filter(|service| is_named && !matches!(service.kind, ServiceKind::ExternalName(_)));
    let (Some(service), Some(labels)) = (service, service_key(&key.name, &key.namespace)) else {
        return Found::default();
    };
    let rules = Rules::of(options, cluster, &key.namespace, Some(service));
    let naming = Naming::new(&labels, options, rules, (cluster, filter));
    let mut claims: HashMap<Vec<u8>, Claims<'_>> = HashMap::default();
    if options.multicluster {
        cluster.slices_of_import(key, filter).for_each(|slice| collect(slice, naming, &mut claims));
    } else {
        cluster.slices_of(key, filter).for_each(|slice| collect(slice, naming, &mut claims));
    }
    let mut found = Found::default();
    for (name, Claims { mut pods, is_cut }) in claims {
        pods.sort_unstable();
        pods.dedup();
        let kind = if pods.len() > 1 { Kind::Claimed } else { Kind::Cut };
        if kind == Kind::Cut && !is_cut {
            continue;
        }
        found.counts[kind as usize] += 1;
        let shown = pods.iter().take(PODS_MAX).map(|pod| String::from_utf8_lossy(pod).into()).collect();
        let labels = Labels::from_wire([&name, labels.as_wire()].concat());
        found.listed.push(Conflict { labels, kind, count: pods.len(), pods: shown });
    }
    found.listed.sort_unstable_by(|one, other| one.labels.as_wire().cmp(other.labels.as_wire()));
    found.listed.truncate(LISTED_MAX);
    found
}

/// Adds who claims what of a slice. The name of an address is nobody's own.
fn collect<'a>(slice: &'a EndpointSlice, naming: Naming<'_>, claims: &mut HashMap<Vec<u8>, Claims<'a>>) {
    let mut labels = Vec::new();
    for (endpoint, _) in SlicePart::all(slice).named(naming.rules) {
        let (Some(pod), Some(address)) = (endpoint.target_name, endpoint.addresses().next()) else { continue };
        labels.clear();
        if naming.is_own(slice, &endpoint) && naming.push_labels(&mut labels, slice, &endpoint, address, Which::Told) {
            let of_name = claims.entry(labels.clone()).or_default();
            of_name.pods.push(pod);
            // What has a hostname is not named after the pod.
            let has_hostname = endpoint.hostname.is_some() || naming.own_hostname(slice, &endpoint).is_some();
            of_name.is_cut |= !has_hostname && pod.len() > LABEL_OCTETS_MAX;
        }
    }
}
