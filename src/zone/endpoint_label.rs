//! The labels of an endpoint: its hostname, else its pod's name where that is wanted, else its address with dashes
//! (plugin/kubernetes/kubernetes.go, func endpointHostname).

use std::net::IpAddr;
use std::sync::Arc;

use super::faults::{Fault, planted};
use super::name::{LABEL_OCTETS_MAX, Labels, NAME_OCTETS_MAX, push_labels, suffixes};
use super::options::ViewOptions;
use super::packed::{CANONICAL, CLUSTERS, DOTTED, UNPOINTED};
use super::rules::Rules;
use crate::model::{
    AddressRef, Cluster, EndpointNames, EndpointRef, EndpointSlice, ObjectKey, PodNameForm, PointsBack,
};

/// What decides how endpoints of a Service are named.
#[derive(Clone, Copy)]
pub(super) struct Naming<'c> {
    pub(super) rules: Rules,
    /// Where pods are looked up, and through which filter, if they are asked for their hostnames.
    pods: Option<(&'c Cluster, usize)>,
    /// Services of many clusters have endpoints with their clusters' ids.
    is_multicluster: bool,
    /// How many octets there are for labels before the Service's name, in the longest of the view's zones.
    room: usize,
}

/// Which of an endpoint's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// The one that is told of it.
    Told,
    /// The one that CoreDNS would tell of it, where that is another and resolves too.
    Former,
    /// The end of the one that is told of it, without so many labels.
    Above(u8),
}

impl<'c> Naming<'c> {
    /// That of a Service, in a cluster as a filter shows it.
    pub(super) fn new(
        key: &Labels,
        options: &ViewOptions,
        rules: Rules,
        (cluster, filter): (&'c Cluster, usize),
    ) -> Self {
        let zone = options.zones.iter().map(|zone| zone.as_wire().len()).max().unwrap_or_default();
        let room = NAME_OCTETS_MAX.saturating_sub(key.as_wire().len() + b"\x03svc".len() + zone);
        let pods = rules.own_hostnames.then_some((cluster, filter));
        Self { rules, pods, is_multicluster: options.multicluster, room }
    }

    /// A number that is another one when what pods say of themselves is, if that counts.
    pub(super) fn version(&self) -> u64 {
        self.pods.map_or(0, |(cluster, _)| cluster.hostnames_version())
    }

    /// The hostname that a pod has and its endpoint does not say.
    pub(super) fn own_hostname(&self, slice: &EndpointSlice, endpoint: &EndpointRef<'_>) -> Option<&'c str> {
        let (cluster, filter) = self.pods.filter(|_| endpoint.hostname.is_none())?;
        let pod = str::from_utf8(endpoint.target_name?).ok()?;
        cluster.pod_hostname(&ObjectKey::new(Arc::clone(&slice.key.namespace), pod), filter)
    }

    /// Whether an endpoint is named after itself, and not after its address.
    pub(super) fn is_own(&self, slice: &EndpointSlice, endpoint: &EndpointRef<'_>) -> bool {
        self.push_own_label(&mut Vec::new(), slice, endpoint).is_some()
    }

    /// How many names stand between that of an endpoint and its Service's: those of a pod's name with dots.
    pub(super) fn labels_above(&self, slice: &EndpointSlice, endpoint: &EndpointRef<'_>) -> u8 {
        let is_kubelet = self.rules.form == PodNameForm::Kubelet;
        let has_dots = is_kubelet && endpoint.target_name.is_some_and(|pod| pod.contains(&b'.'));
        let mut labels = Vec::new();
        if !has_dots || self.push_own_label(&mut labels, slice, endpoint).is_none() {
            return 0;
        }
        u8::try_from(suffixes(&labels).count().saturating_sub(1)).unwrap_or(0)
    }

    /// Appends the label of an endpoint; `false`, and nothing appended, where nothing gives one.
    pub(super) fn push_endpoint_label(
        &self,
        labels: &mut Vec<u8>,
        slice: &EndpointSlice,
        endpoint: &EndpointRef<'_>,
        address: AddressRef<'_>,
    ) -> bool {
        self.push_own_label(labels, slice, endpoint).is_some() || push_dashed(labels, address)
    }

    /// Appends the label of an endpoint that is not its address; labels, of a pod's name with dots.
    fn push_own_label(&self, labels: &mut Vec<u8>, slice: &EndpointSlice, endpoint: &EndpointRef<'_>) -> Option<After> {
        let Rules { names, form, .. } = self.rules;
        let hostname = endpoint.hostname.filter(|_| !planted(Fault::HostnameIgnored));
        if hostname.is_some_and(|hostname| push_labels(labels, hostname)) {
            return Some(After::Hostname);
        }
        if self.own_hostname(slice, endpoint).is_some_and(|own| push_labels(labels, own.as_bytes())) {
            return Some(After::Pod);
        }
        let pod = endpoint.target_name.filter(|_| names != EndpointNames::Ip);
        let pod = pod.and_then(|pod| in_form(pod, form)).filter(|pod| pod.iter().all(is_name_octet));
        pod.is_some_and(|pod| push_labels(labels, pod)).then_some(After::Pod)
    }

    /// What sets the Service apart from others.
    pub(super) fn traits(&self) -> u8 {
        let dotted = if self.rules.form == PodNameForm::Kubelet { DOTTED } else { 0 };
        let pointed = match self.rules.ptr {
            PointsBack::All => 0,
            PointsBack::Canonical => CANONICAL,
            PointsBack::None => UNPOINTED,
        };
        dotted | pointed | if self.is_multicluster { CLUSTERS } else { 0 }
    }

    /// Appends what an endpoint's name has before that of its Service: its label, and below an import its cluster's id.
    /// `false`, and nothing appended, where nothing gives such a name.
    pub(super) fn push_labels(
        &self,
        labels: &mut Vec<u8>,
        slice: &EndpointSlice,
        endpoint: &EndpointRef<'_>,
        address: AddressRef<'_>,
        which: Which,
    ) -> bool {
        let at = labels.len();
        if which == Which::Former {
            let is_named_after_pod = self.push_own_label(labels, slice, endpoint) == Some(After::Pod);
            labels.truncate(at);
            let is_name = is_named_after_pod && push_dashed(labels, address) && self.push_cluster(labels, at, slice);
            if !is_name {
                labels.truncate(at);
            }
            return is_name;
        }
        if let Which::Above(taken_off) = which {
            self.push_own_label(labels, slice, endpoint);
            let end = suffixes(&labels[at..]).nth(taken_off.into()).unwrap_or(labels.len() - at);
            labels.drain(at..at + end);
            let is_name = labels.len() > at && self.push_cluster(labels, at, slice);
            if !is_name {
                labels.truncate(at);
            }
            return is_name;
        }
        if !self.is_multicluster {
            return self.push_endpoint_label(labels, slice, endpoint, address);
        }
        if self.push_endpoint_label(labels, slice, endpoint, address) && self.push_cluster(labels, at, slice) {
            return true;
        }
        // Four labels may be too long for a name. That of the address is short.
        labels.truncate(at);
        let is_name = push_dashed(labels, address) && self.push_cluster(labels, at, slice);
        if !is_name {
            labels.truncate(at);
        }
        is_name
    }

    /// Appends the id of an import's cluster to the labels that begin at an offset; `false` if that makes no name.
    fn push_cluster(&self, labels: &mut Vec<u8>, at: usize, slice: &EndpointSlice) -> bool {
        if !self.is_multicluster {
            return true;
        }
        let import = slice.import.as_ref().filter(|_| !planted(Fault::ClusterIdIgnored));
        match import.map_or(&b""[..], |import| import.cluster.as_bytes()) {
            // Whoever imports must say from where. Without that, it is one label: two are an endpoint and its cluster.
            b"" => suffixes(&labels[at..]).nth(1).is_none(),
            cluster => push_labels(labels, cluster) && labels.len() - at <= self.room,
        }
    }
}

/// What an endpoint is named after that does not change with its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Hostname,
    Pod,
}

/// The name of a pod as a name in DNS: of more than 63 characters it is none (plugin/kubernetes/object/endpoint.go), or is
/// cut as kubelet cuts it (pkg/kubelet/kubelet_pods.go, func truncatePodHostnameIfNeeded).
fn in_form(pod: &[u8], form: PodNameForm) -> Option<&[u8]> {
    let limit = if planted(Fault::PodNameOf63Refused) { LABEL_OCTETS_MAX - 1 } else { LABEL_OCTETS_MAX };
    if pod.len() <= limit {
        return Some(pod);
    }
    let mut cut = pod.get(..LABEL_OCTETS_MAX).filter(|_| form == PodNameForm::Kubelet)?;
    while let [rest @ .., b'-' | b'.'] = cut {
        cut = rest;
    }
    Some(cut)
}

/// Whether an octet stands for itself in a name's text, so that what is asked for can equal what is served.
fn is_name_octet(octet: &u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.')
}

fn push_dashed(labels: &mut Vec<u8>, address: AddressRef<'_>) -> bool {
    match address {
        AddressRef::Ip(IpAddr::V4(address)) => push_labels(labels, address.to_string().replace('.', "-").as_bytes()),
        AddressRef::Ip(IpAddr::V6(address)) => {
            let mut label = address.to_string().replace(':', "-");
            if label.ends_with('-') && !planted(Fault::TrailingColonsUnfilled) {
                // A label must not end in a dash (RFC 1123 section 2.1).
                label.push('0');
            }
            push_labels(labels, label.as_bytes())
        }
        AddressRef::Name(name) => {
            let label: Vec<u8> = name.iter().map(|octet| if *octet == b'.' { b'-' } else { *octet }).collect();
            push_labels(labels, &label)
        }
    }
}
