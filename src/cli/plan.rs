//! From the checked configuration to what answers are to come from: which clusters, and which views of each.
//!
//! A plan holds no state. A new configuration's plan is compared with what is at work, so that all of that is kept which
//! stays the same.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{self, ApiLimits, Config, Kubernetes, Machine as _, PodMode, Source, ThisMachine};
use crate::model::{EndpointNames, Filter, Kind, MassRemoval, PodNameForm, PodNames};
use crate::zone::faults::{Fault, planted};
use crate::zone::{Name, Pods, ViewOptions, selectors};

/// What a cluster is followed with; another one would be followed otherwise.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Origin {
    /// Where its objects come from.
    pub(super) source: Source,
    /// How hard its API server may be asked.
    pub(super) limits: ApiLimits,
    /// The kinds that its views need.
    pub(super) kinds: Vec<Kind>,
    /// The label selector that all its views share, if they do.
    pub(super) selector: Option<String>,
    /// The addresses of this server that are looked for in it.
    pub(super) own_addresses: Vec<IpAddr>,
}

/// How what is known of a cluster outlives its API. It may change while the cluster is followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Keeping {
    /// `snapshot`
    pub(super) snapshot: Option<PathBuf>,
    /// `hold_mass_removal`
    pub(super) mass_removal: Option<MassRemoval>,
}

/// A cluster that is followed once, and the views of it.
#[derive(Debug)]
pub(super) struct SourcePlan {
    pub(super) origin: Origin,
    pub(super) keeping: Keeping,
    pub(super) views: Vec<ViewPlan>,
}

/// A view; two that are equal may be one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ViewPlan {
    pub(super) options: ViewOptions,
    pub(super) filter: Filter,
    /// Whether its zones are transferred.
    pub(super) is_transferred: bool,
}

/// Where the views of a directive stand among all of a plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockPlan {
    /// The number of the source.
    pub(super) source: usize,
    /// The number, among that source's, of the view of the cluster's own Services; none where all zones are multicluster
    /// ones.
    pub(super) view: Option<usize>,
    /// That of the multicluster zones, if there are such.
    pub(super) multicluster: Option<usize>,
    /// `startup_timeout`
    pub(super) startup_timeout: Duration,
    /// `listen_when_synced`
    pub(super) listen_when_synced: bool,
}

/// Everything that answers are to come from.
#[derive(Debug)]
pub(super) struct Plan {
    /// The clusters.
    pub(super) sources: Vec<SourcePlan>,
    /// The views of each server block, in the configuration's order.
    pub(super) blocks: Vec<Option<BlockPlan>>,
}

/// A configuration whose parts do not fit together.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlanError {
    /// A zone that is no domain name got through the checks.
    #[error("{0} is not a domain name")]
    Zone(String),
    /// More selections of one cluster's objects than can be told apart.
    #[error("{0} different selections by labels share one cluster, and {max} are the most", max = Filter::MAX)]
    TooManyFilters(usize),
    /// More selectors of Services than can be told apart.
    #[error("the views of one cluster have {0} selectors in endpoint_pod_names, and {max} are the most", max = Filter::MAX)]
    TooManySelectors(usize),
}

/// The views of one cluster, each with its directive.
struct Group<'c> {
    source: (Source, ApiLimits),
    views: Vec<(ViewPlan, &'c Kubernetes)>,
}

/// Groups the views by the cluster that they are of.
pub(super) fn plan(config: &Config) -> Result<Plan, PlanError> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut blocks = Vec::new();
    for block in &config.blocks {
        let Some(kubernetes) = &block.kubernetes else {
            blocks.push(None);
            continue;
        };
        let source = (kubernetes.source.clone(), kubernetes.api_limits);
        let number = groups.iter().position(|group| group.source == source).unwrap_or_else(|| {
            groups.push(Group { source, views: Vec::new() });
            groups.len() - 1
        });
        let mut views = view_options(kubernetes, &block.bind)?;
        if let Some(cache) = &block.cache {
            views.iter_mut().flatten().for_each(|view| bound_ttls(view, cache));
        }
        let [view, multicluster] = views;
        let mut place = |options: Option<ViewOptions>| {
            let (group, options) = (groups.get_mut(number)?, options?);
            let view = ViewPlan { options, filter: filter(kubernetes), is_transferred: !block.transfers.is_empty() };
            group.views.push((view, kubernetes));
            Some(group.views.len() - 1)
        };
        let (view, multicluster) = (place(view), place(multicluster));
        blocks.push(Some(BlockPlan {
            source: number,
            view,
            multicluster,
            startup_timeout: kubernetes.startup_timeout,
            listen_when_synced: kubernetes.listen_when_synced,
        }));
    }
    let sources = groups.into_iter().map(source_plan).collect::<Result<_, _>>()?;
    Ok(Plan { sources, blocks })
}

fn source_plan(group: Group<'_>) -> Result<SourcePlan, PlanError> {
    let Group { source: (source, limits), views } = group;
    let mut filters: Vec<&Filter> = Vec::new();
    for (view, _) in &views {
        if !filters.contains(&&view.filter) {
            filters.push(&view.filter);
        }
    }
    if filters.len() > Filter::MAX {
        return Err(PlanError::TooManyFilters(filters.len()));
    }
    let selectors = selectors(views.iter().map(|(view, _)| &view.options)).len();
    if selectors > Filter::MAX {
        return Err(PlanError::TooManySelectors(selectors));
    }
    let has_imports = views.iter().any(|(view, _)| view.options.multicluster);
    let needs = |kind: Kind| match kind {
        Kind::Pod => views.iter().any(|(view, _)| {
            view.options.pods == Pods::Verified || view.options.endpoint_pod_names.iter().any(|line| line.own_hostnames)
        }),
        // Those of other clusters are shown all the same.
        Kind::EndpointSlice => has_imports || filters.iter().any(|filter| !filter.no_endpoints),
        Kind::ServiceImport => has_imports,
        Kind::Namespace | Kind::Service => true,
    };
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| needs(*kind)).collect();
    let first = views.first().and_then(|(_, kubernetes)| kubernetes.labels.clone());
    let shared = views.iter().all(|(_, kubernetes)| kubernetes.labels == first);
    let selector = first.filter(|_| shared).map(|selector| selector.to_string());
    let mut own_addresses: Vec<IpAddr> =
        views.iter().flat_map(|(view, _)| view.options.local_addresses.iter().copied()).collect();
    own_addresses.sort_unstable();
    own_addresses.dedup();
    let origin = Origin { source, limits, kinds, selector, own_addresses };
    // Views that say something say the same.
    let said = views.iter().map(|(_, kubernetes)| kubernetes);
    let rule = |rule: config::MassRemoval| MassRemoval { percent: rule.percent, time: rule.time };
    let keeping = Keeping {
        snapshot: said.clone().find_map(|kubernetes| kubernetes.snapshot.clone()),
        mass_removal: said.clone().find_map(|kubernetes| kubernetes.mass_removal).map(rule),
    };
    Ok(SourcePlan { origin, keeping, views: views.into_iter().map(|(view, _)| view).collect() })
}

/// Gives a view whose zones are all in those of a cache the TTLs that the cache would give its answers. None of them is
/// kept; what clients see is what CoreDNS says when it has not kept it either. What a Service says of its own records, and
/// `negative_ttl`, which CoreDNS does not have, stay.
fn bound_ttls(view: &mut ViewOptions, cache: &config::Cache) {
    let zones: Vec<Name> = cache.zones.iter().filter_map(|zone| Name::parse(zone)).collect();
    if !view.zones.iter().all(|zone| zones.iter().any(|cached| zone.is_within(cached))) {
        return;
    }
    let bounded = |side: &config::CacheSide, secs: u32| secs.max(side.min_ttl_secs).min(side.max_ttl_secs);
    let denial_secs = bounded(&cache.denial, view.denial_ttl_secs());
    if view.negative_ttl_secs.is_none() && denial_secs != view.denial_ttl_secs() {
        view.negative_ttl_secs = Some(denial_secs);
    }
    view.ttl_secs = bounded(&cache.success, view.ttl_secs);
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
        srv_limit: kubernetes.srv_limit,
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
    let config::PodNames { both, kubelet, hostname, namespaces, labels } = line;
    let names = if *both { EndpointNames::Both } else { EndpointNames::Pod };
    let form = if *kubelet { PodNameForm::Kubelet } else { PodNameForm::CoreDns };
    let namespaces = namespaces.iter().map(|name| name.as_str().into()).collect();
    PodNames { names, form, own_hostnames: *hostname, namespaces, labels: labels.clone() }
}

/// The addresses of all interfaces but loopback ones; none where they cannot be read, as in CoreDNS.
fn own_addresses() -> Vec<IpAddr> {
    let interfaces = ThisMachine.interfaces().unwrap_or_default();
    interfaces.into_iter().map(|(_, address)| address).filter(|address| !address.is_loopback()).collect()
}
