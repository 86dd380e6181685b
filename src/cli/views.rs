//! From the checked configuration to the views that answers come from.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::transfers::Kept;
use crate::config::{self, ApiLimits, Config, Kubernetes, Machine as _, PodMode, Source, ThisMachine};
use crate::model::{EndpointNames, Filter, Kind, PodNameForm, PodNames};
use crate::zone::faults::{Fault, planted};
use crate::zone::{CutFollower, Name, Pods, Publisher, View, ViewOptions, selectors, unix_now};

/// A cluster that is followed once, and the views of it.
pub(super) struct SourcePlan {
    /// Where its objects come from.
    pub(super) source: Source,
    /// How hard its API server may be asked.
    pub(super) limits: ApiLimits,
    /// The kinds that its views need.
    pub(super) kinds: Vec<Kind>,
    /// The label selector that all its views share, if they do.
    pub(super) selector: Option<String>,
    /// Its views' writer.
    pub(super) publisher: Publisher,
}

/// The views of a directive, and how long the sockets wait for them.
#[derive(Clone)]
pub(super) struct ViewPlan {
    /// That of the cluster's own Services; none where all zones are multicluster ones.
    pub(super) view: Option<Arc<View>>,
    /// That of the multicluster zones, if there are such.
    pub(super) multicluster: Option<Arc<View>>,
    /// `startup_timeout`
    pub(super) startup_timeout: Duration,
    /// What is kept of each view for transfers, if there are any.
    pub(super) kept: Vec<Kept>,
}

impl ViewPlan {
    /// Both.
    pub(super) fn views(&self) -> impl Iterator<Item = &Arc<View>> {
        self.view.iter().chain(&self.multicluster)
    }

    /// What is kept of a view for transfers.
    pub(super) fn kept_of(&self, view: &Arc<View>) -> Option<&Kept> {
        self.kept.iter().find(|kept| Arc::ptr_eq(&kept.view, view))
    }
}

/// Everything that answers come from.
pub(super) struct Plan {
    /// The clusters.
    pub(super) sources: Vec<SourcePlan>,
    /// The view of each server block, in the configuration's order.
    pub(super) views: Vec<Option<ViewPlan>>,
}

/// A configuration whose parts do not fit together.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlanError {
    /// A zone that is no domain name got through the checks.
    #[error("{0} is not a domain name")]
    Zone(String),
    /// More views of one cluster than can be told apart.
    #[error("{0} views share one cluster, and {max} are the most", max = Filter::MAX)]
    TooManyViews(usize),
    /// More selectors of Services than can be told apart.
    #[error("the views of one cluster have {0} selectors in endpoint_pod_names, and {max} are the most", max = Filter::MAX)]
    TooManySelectors(usize),
}

/// A view of a cluster, its directive, and who follows its cuts.
struct Grouped<'c> {
    view: Arc<View>,
    kubernetes: &'c Kubernetes,
    follower: Option<CutFollower>,
}

/// The views of one cluster.
type Group<'c> = Vec<Grouped<'c>>;

/// Groups the views by the cluster that they are of.
pub(super) fn plan(config: &Config) -> Result<Plan, PlanError> {
    let mut order: Vec<(Source, ApiLimits)> = Vec::new();
    let mut groups: HashMap<(Source, ApiLimits), Group<'_>> = HashMap::new();
    let mut views = Vec::new();
    for block in &config.blocks {
        let Some(kubernetes) = &block.kubernetes else {
            views.push(None);
            continue;
        };
        let [view, multicluster] = view_options(kubernetes, &block.bind)?
            .map(|options| options.map(|options| Arc::new(View::new(options, unix_now()))));
        let source = (kubernetes.source.clone(), kubernetes.api_limits);
        if !groups.contains_key(&source) {
            order.push(source.clone());
        }
        let mut plan = ViewPlan { view, multicluster, startup_timeout: kubernetes.startup_timeout, kept: Vec::new() };
        for view in [plan.view.clone(), plan.multicluster.clone()].into_iter().flatten() {
            let (kept, follower) = (!block.transfers.is_empty()).then(|| Kept::of(&view)).unzip();
            plan.kept.extend(kept);
            groups.entry(source.clone()).or_default().push(Grouped { view, kubernetes, follower });
        }
        views.push(Some(plan));
    }
    let mut sources = Vec::new();
    for source in order {
        let group = groups.remove(&source).unwrap_or_default();
        let (source, limits) = source;
        sources.push(source_plan(source, limits, group)?);
    }
    Ok(Plan { sources, views })
}

fn source_plan(source: Source, limits: ApiLimits, group: Group<'_>) -> Result<SourcePlan, PlanError> {
    if group.len() > Filter::MAX {
        return Err(PlanError::TooManyViews(group.len()));
    }
    let selectors = selectors(group.iter().map(|grouped| grouped.view.options())).len();
    if selectors > Filter::MAX {
        return Err(PlanError::TooManySelectors(selectors));
    }
    let needs = |kind: Kind| match kind {
        Kind::Pod => group.iter().any(|Grouped { kubernetes, .. }| kubernetes.pods == PodMode::Verified),
        // Those of other clusters are shown all the same.
        Kind::EndpointSlice => group
            .iter()
            .any(|Grouped { view, kubernetes, .. }| !filter(kubernetes).no_endpoints || view.options().multicluster),
        Kind::ServiceImport => group.iter().any(|Grouped { view, .. }| view.options().multicluster),
        Kind::Namespace | Kind::Service => true,
    };
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| needs(*kind)).collect();
    let first = group.first().and_then(|Grouped { kubernetes, .. }| kubernetes.labels.clone());
    let shared = group.iter().all(|Grouped { kubernetes, .. }| kubernetes.labels == first);
    let selector = first.filter(|_| shared).map(|selector| selector.to_string());
    let (views, followers): (Vec<_>, Vec<_>) =
        group.into_iter().map(|Grouped { view, kubernetes, follower }| ((view, filter(kubernetes)), follower)).unzip();
    let mut publisher = Publisher::new(views, kinds.clone());
    for (index, follower) in followers.into_iter().enumerate() {
        if let Some(follower) = follower {
            publisher.follow_cuts(index, follower);
        }
    }
    Ok(SourcePlan { source, limits, kinds, selector, publisher })
}

fn filter(kubernetes: &Kubernetes) -> Filter {
    Filter {
        labels: kubernetes.labels.clone(),
        namespace_labels: kubernetes.namespace_labels.clone().filter(|_| !planted(Fault::NamespaceLabelsUnchecked)),
        no_endpoints: kubernetes.no_endpoints && !planted(Fault::EndpointsShown),
    }
}

/// The options of both views of a directive: that of the cluster's own Services, which has the reverse zones, and that of
/// its multicluster zones. What lies below one of those is one too (plugin/kubernetes/kubernetes.go, func
/// isMultiClusterZone). The cluster's own is left out only where no name of an address can come to it either.
fn view_options(kubernetes: &Kubernetes, bind: &[IpAddr]) -> Result<[Option<ViewOptions>; 2], PlanError> {
    let all = options(kubernetes, bind)?;
    let shared: Vec<Name> = kubernetes.multicluster.iter().filter_map(|zone| Name::parse(zone)).collect();
    let is_shared = |zone: &Name| !zone.is_reverse() && shared.iter().any(|shared| zone.is_within(shared));
    let (multicluster, own): (Vec<Name>, Vec<Name>) = all.zones.iter().cloned().partition(is_shared);
    let has_addresses =
        |zone: &Name| REVERSE_ROOTS.iter().filter_map(|root| Name::parse(root)).any(|root| root.is_within(zone));
    let own =
        (!own.is_empty() || multicluster.iter().any(has_addresses)).then(|| ViewOptions { zones: own, ..all.clone() });
    let multicluster =
        // They have no topology zones (plugin/kubernetes/parse.go, func parseRequest).
        (!multicluster.is_empty())
            .then(|| ViewOptions { zones: multicluster, multicluster: true, zonal: false, ..all });
    Ok([own, multicluster])
}

/// The roots of the trees of addresses.
const REVERSE_ROOTS: [&str; 2] = ["in-addr.arpa", "ip6.arpa"];

fn options(kubernetes: &Kubernetes, bind: &[IpAddr]) -> Result<ViewOptions, PlanError> {
    let name = |zone: &String| Name::parse(zone).ok_or_else(|| PlanError::Zone(zone.clone()));
    let zones: Vec<Name> = kubernetes.zones.iter().map(name).collect::<Result<_, _>>()?;
    let nothing_said = ViewOptions::new(zones).ok_or_else(|| PlanError::Zone(String::new()))?;
    Ok(ViewOptions {
        ttl_secs: kubernetes.ttl_secs,
        negative_ttl_secs: kubernetes.negative_ttl_secs,
        namespaces: kubernetes.namespaces.iter().map(|name| name.as_str().into()).collect(),
        endpoint_pod_names: kubernetes.endpoint_pod_names.iter().map(pod_names).collect(),
        portless_srv: kubernetes.portless_srv,
        canonical_ptr: kubernetes.canonical_ptr,
        publish_not_ready: kubernetes.publish_not_ready,
        drain: kubernetes.drain,
        ignore_empty_service: kubernetes.ignore_empty_service,
        zonal: kubernetes.zonal,
        pods: match kubernetes.pods {
            PodMode::Disabled => Pods::Disabled,
            PodMode::Insecure => Pods::Insecure,
            PodMode::Verified => Pods::Verified,
        },
        fallthrough: kubernetes.fallthrough.iter().map(name).collect::<Result<_, _>>()?,
        // With `bind`, CoreDNS finds none: it reads the addresses as networks, which they are not
        // (plugin/kubernetes/local.go, func boundIPs).
        local_addresses: if bind.is_empty() { own_addresses() } else { Vec::new() },
        ..nothing_said
    })
}

fn pod_names(line: &config::PodNames) -> PodNames {
    let config::PodNames { both, kubelet, namespaces, labels } = line;
    let names = if *both { EndpointNames::Both } else { EndpointNames::Pod };
    let form = if *kubelet { PodNameForm::Kubelet } else { PodNameForm::CoreDns };
    let namespaces = namespaces.iter().map(|name| name.as_str().into()).collect();
    PodNames { names, form, namespaces, labels: labels.clone() }
}

/// The addresses of all interfaces but loopback ones; none where they cannot be read, as in CoreDNS.
fn own_addresses() -> Vec<IpAddr> {
    let interfaces = ThisMachine.interfaces().unwrap_or_default();
    interfaces.into_iter().map(|(_, address)| address).filter(|address| !address.is_loopback()).collect()
}
