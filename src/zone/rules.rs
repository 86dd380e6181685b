//! How the names of one Service are made: what it says itself, in the place of what its view says.

use std::num::NonZeroU16;

use super::faults::{Fault, planted};
use super::options::ViewOptions;
use crate::model::{Cluster, EndpointNames, PodNameForm, PointsBack, Service};

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Rules {
    /// What endpoints without a hostname are named after.
    pub(super) names: EndpointNames,
    /// How a pod's name is made theirs.
    pub(super) form: PodNameForm,
    /// Whether endpoints without ports are SRV targets, with port 0.
    pub(super) portless_srv: bool,
    /// What points back to it.
    pub(super) ptr: PointsBack,
    /// Whether endpoints with a hostname are told from others: they are pointed to first.
    pub(super) marks_hostnames: bool,
    /// Whether endpoints that are not ready have names, which no set has,
    pub(super) names_not_ready: bool,
    /// and those that are terminating and serve still.
    pub(super) names_draining: bool,
    /// The TTL of its records in seconds, where it is not the view's.
    pub(super) ttl_secs: Option<u32>,
    /// How many SRV targets an answer has at most.
    pub(super) srv_limit: Option<NonZeroU16>,
    /// Whether pods are asked for their own hostnames, where their endpoints have none.
    pub(super) own_hostnames: bool,
}

impl Rules {
    /// Those of a Service in a namespace; it need not exist.
    pub(super) fn of(options: &ViewOptions, cluster: &Cluster, namespace: &str, service: Option<&Service>) -> Self {
        let said = service.and_then(|service| service.settings.as_deref());
        let line = options.endpoint_pod_names.iter().find(|line| {
            let is_within = line.namespaces.is_empty() || line.namespaces.iter().any(|name| **name == *namespace);
            let is_selected = |selector| service.is_some_and(|service| cluster.is_selected(service, selector));
            is_within && line.labels.as_ref().is_none_or(is_selected)
        });
        let names = said.and_then(|said| said.endpoint_names).or_else(|| Some(line?.names)).unwrap_or_default();
        let inverted = || if names == EndpointNames::Ip { EndpointNames::Pod } else { EndpointNames::Ip };
        let portless_srv = said.and_then(|said| said.portless_srv).unwrap_or(options.portless_srv);
        let ptr = said.and_then(|said| said.ptr).unwrap_or_default();
        let marks_hostnames = options.canonical_ptr;
        let names_not_ready = said.and_then(|said| said.names_not_ready).unwrap_or(options.publish_not_ready);
        let names_draining = said.and_then(|said| said.names_draining).unwrap_or(options.drain);
        let form = said.and_then(|said| said.pod_name_form).or_else(|| Some(line?.form)).unwrap_or_default();
        Self {
            names: if planted(Fault::PodNamesInverted) { inverted() } else { names },
            form,
            portless_srv,
            ptr,
            marks_hostnames,
            names_not_ready,
            names_draining,
            ttl_secs: said.and_then(|said| said.ttl_secs),
            own_hostnames: names != EndpointNames::Ip && line.is_some_and(|line| line.own_hostnames),
            srv_limit: said.and_then(|said| said.srv_limit).map_or(options.srv_limit, NonZeroU16::new),
        }
    }
}
