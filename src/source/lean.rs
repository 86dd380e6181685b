//! The fields of Kubernetes objects that DNS needs, as JSON and YAML spell them, and what they mean.
//!
//! One set of shapes serves the API's JSON and the manifests' YAML. Fields that are not named here are skipped while
//! they are read, so that a Pod of 20 KB costs what its name and address cost.
//!
//! Everything that may be absent is an `Option`: Go's encoder writes `null` for an empty list (`endpoints: null` of
//! an EndpointSlice), which serde's `default` alone does not take.

use std::borrow::Cow;
use std::sync::Arc;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::annotations::Annotations;
use super::meaning::{self, Invalid};
use crate::model::{
    self, EndpointPort, EndpointSlice, EndpointsBuilder, Kind, Labels, Namespace, Object, ObjectKey, Pod, Service,
    ServiceKind, ServicePort, Settings,
};

/// `metadata` of an object.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Meta {
    name: Option<Box<str>>,
    namespace: Option<Box<str>>,
    labels: Option<Labels>,
    deletion_timestamp: Option<IgnoredAny>,
    pub(super) resource_version: Option<Box<str>>,
    pub(super) annotations: Option<Annotations>,
}

impl Meta {
    /// The object's key; a namespaced object without a namespace gets the empty one.
    pub(super) fn key(&self) -> Option<ObjectKey> {
        meaning::key(self.namespace.clone(), self.name.clone()).ok()
    }

    fn settings(&self, notes: &mut Vec<String>) -> Option<Box<Settings>> {
        self.annotations.as_ref().and_then(|annotations| annotations.settings(notes))
    }

    fn take_key(&mut self) -> Result<ObjectKey, Invalid> {
        meaning::key(self.namespace.take(), self.name.take())
    }
}

/// Only the metadata of an object: enough to name it, whatever else is wrong with it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct MetaOnly {
    #[serde(default)]
    pub(super) metadata: Meta,
}

#[derive(Debug, Deserialize)]
struct LeanService {
    #[serde(default)]
    metadata: Meta,
    spec: Option<ServiceSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ServiceSpec {
    r#type: Option<Box<str>>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<Box<str>>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<Box<str>>>,
    external_name: Option<Box<str>>,
    ports: Option<Vec<LeanServicePort>>,
    selector: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct LeanServicePort {
    name: Option<Box<str>>,
    protocol: Option<Box<str>>,
    port: u16,
}

/// ServiceImport of `multicluster.x-k8s.io/v1alpha1`.
#[derive(Debug, Deserialize)]
struct LeanImport {
    #[serde(default)]
    metadata: Meta,
    spec: Option<ImportSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ImportSpec {
    r#type: Option<Box<str>>,
    ips: Option<Vec<Box<str>>>,
    ports: Option<Vec<LeanServicePort>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LeanSlice {
    #[serde(default)]
    metadata: Meta,
    address_type: Option<Box<str>>,
    endpoints: Option<Vec<LeanEndpoint>>,
    ports: Option<Vec<LeanSlicePort>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LeanEndpoint {
    addresses: Option<Vec<Box<str>>>,
    hostname: Option<Box<str>>,
    target_ref: Option<TargetRef>,
    conditions: Option<Conditions>,
    zone: Option<Box<str>>,
}

#[derive(Debug, Deserialize)]
struct TargetRef {
    name: Option<Box<str>>,
}

#[derive(Debug, Default, Deserialize)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct LeanSlicePort {
    name: Option<Box<str>>,
    protocol: Option<Box<str>>,
    port: Option<u16>,
}

#[derive(Debug, Deserialize)]
struct LeanPod {
    #[serde(default)]
    metadata: Meta,
    spec: Option<PodSpec>,
    status: Option<PodStatus>,
}

#[derive(Debug, Deserialize)]
struct PodSpec {
    hostname: Option<Box<str>>,
}

#[derive(Debug, Deserialize)]
struct PodStatus {
    phase: Option<Box<str>>,
    #[serde(rename = "podIP")]
    pod_ip: Option<Box<str>>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<LeanPodIp>>,
}

#[derive(Debug, Deserialize)]
struct LeanPodIp {
    ip: Option<Box<str>>,
}

/// An object as it is written, before its meaning is taken.
#[derive(Debug)]
pub(super) struct Lean(Shape);

#[derive(Debug)]
enum Shape {
    Namespace(MetaOnly),
    Service(LeanService),
    EndpointSlice(LeanSlice),
    Pod(LeanPod),
    ServiceImport(LeanImport),
}

impl Lean {
    /// Reads an object that is known to be of `kind`.
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(kind: Kind, from: D) -> Result<Self, D::Error> {
        Ok(Self(match kind {
            Kind::Namespace => Shape::Namespace(MetaOnly::deserialize(from)?),
            Kind::Service => Shape::Service(LeanService::deserialize(from)?),
            Kind::EndpointSlice => Shape::EndpointSlice(LeanSlice::deserialize(from)?),
            Kind::Pod => Shape::Pod(LeanPod::deserialize(from)?),
            Kind::ServiceImport => Shape::ServiceImport(LeanImport::deserialize(from)?),
        }))
    }

    /// The metadata, whatever the kind.
    pub(super) fn meta(&self) -> &Meta {
        match &self.0 {
            Shape::Namespace(object) => &object.metadata,
            Shape::Service(object) => &object.metadata,
            Shape::EndpointSlice(object) => &object.metadata,
            Shape::Pod(object) => &object.metadata,
            Shape::ServiceImport(object) => &object.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut Meta {
        match &mut self.0 {
            Shape::Namespace(object) => &mut object.metadata,
            Shape::Service(object) => &mut object.metadata,
            Shape::EndpointSlice(object) => &mut object.metadata,
            Shape::Pod(object) => &mut object.metadata,
            Shape::ServiceImport(object) => &mut object.metadata,
        }
    }

    /// Of an EndpointSlice, its annotation [`super::decode::LAST_CHANGE`].
    pub(super) fn take_last_change(&mut self) -> Option<Box<str>> {
        match &mut self.0 {
            Shape::EndpointSlice(slice) => slice.metadata.annotations.as_mut()?.last_change.take(),
            _ => None,
        }
    }

    /// Gives a namespaced object the namespace `default` where it has none, as `kubectl apply` would.
    pub(super) fn default_namespace(&mut self) {
        if matches!(self.0, Shape::Namespace(_)) {
            return;
        }
        let meta = self.meta_mut();
        if meta.namespace.as_deref().is_none_or(str::is_empty) {
            meta.namespace = Some("default".into());
        }
    }

    /// Whether this is a Pod that holds its address no more. The API leaves these out by a field selector; the
    /// phases are those that CoreDNS's selector names.
    pub(super) fn is_finished_pod(&self) -> bool {
        let Shape::Pod(pod) = &self.0 else { return false };
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed" | "Unknown"))
    }

    /// What the object means to DNS. Parts that cannot be used (an address that is none) are left out, each with a
    /// line in `notes`.
    pub(super) fn into_object(self, notes: &mut Vec<String>) -> Result<Object, Invalid> {
        match self.0 {
            Shape::Namespace(MetaOnly { mut metadata }) => {
                let key = metadata.take_key()?;
                Ok(Object::Namespace(Namespace { name: key.name, labels: metadata.labels.unwrap_or_default() }))
            }
            Shape::Service(service) => service.into_object(notes),
            Shape::EndpointSlice(slice) => slice.into_object(notes),
            Shape::Pod(pod) => pod.into_object(notes),
            Shape::ServiceImport(import) => import.into_object(notes),
        }
    }
}

impl LeanService {
    fn into_object(mut self, notes: &mut Vec<String>) -> Result<Object, Invalid> {
        let key = self.metadata.take_key()?;
        let mut spec = self.spec.unwrap_or_default();
        let (ports, has_selector) = (service_ports(spec.ports.take()), spec.selector.is_some());
        let kind = spec.into_kind(notes)?;
        let settings = self.metadata.settings(notes);
        let labels = self.metadata.labels.unwrap_or_default();
        Ok(Object::Service(Service { key, labels, kind, ports, has_selector, settings }))
    }
}

impl LeanImport {
    fn into_object(mut self, notes: &mut Vec<String>) -> Result<Object, Invalid> {
        let key = self.metadata.take_key()?;
        let spec = self.spec.unwrap_or_default();
        let ips = spec.ips.iter().flatten().map(|text| &**text);
        let kind = meaning::import_kind(spec.r#type.as_deref(), ips, notes);
        let settings = self.metadata.settings(notes);
        let labels = self.metadata.labels.unwrap_or_default();
        let ports = service_ports(spec.ports);
        Ok(Object::ServiceImport(Service { key, labels, kind, ports, has_selector: false, settings }))
    }
}

fn service_ports(ports: Option<Vec<LeanServicePort>>) -> Arc<[ServicePort]> {
    let port = |port: LeanServicePort| ServicePort {
        name: port.name.unwrap_or_default(),
        protocol: meaning::protocol(port.protocol),
        port: port.port,
    };
    ports.into_iter().flatten().map(port).collect()
}

impl ServiceSpec {
    fn into_kind(self, notes: &mut Vec<String>) -> Result<ServiceKind, Invalid> {
        let texts = self.cluster_ips.unwrap_or_default();
        meaning::service_kind(
            self.r#type.as_deref() == Some("ExternalName"),
            self.external_name,
            texts.iter().map(|text| &**text),
            self.cluster_ip.as_deref(),
            notes,
        )
    }
}

impl LeanSlice {
    fn into_object(mut self, notes: &mut Vec<String>) -> Result<Object, Invalid> {
        let key = self.metadata.take_key()?;
        let labels = self.metadata.labels.unwrap_or_default();
        let (service, import) = (meaning::service_name(&labels), meaning::import(&labels));
        let names = meaning::holds_names(self.address_type.as_deref())?;
        let mut endpoints = EndpointsBuilder::default();
        for endpoint in self.endpoints.unwrap_or_default() {
            endpoint.read(names, &mut endpoints, notes);
        }
        let endpoints = endpoints.finish();
        let ports = self.ports.unwrap_or_default().into_iter().map(|port| EndpointPort {
            name: port.name.unwrap_or_default(),
            protocol: meaning::protocol(port.protocol),
            port: port.port,
        });
        let ports = ports.collect();
        Ok(Object::EndpointSlice(EndpointSlice { key, labels, service, import, endpoints, ports }))
    }
}

impl LeanEndpoint {
    fn read(self, names: bool, endpoints: &mut EndpointsBuilder, notes: &mut Vec<String>) {
        endpoints.begin();
        for text in self.addresses.iter().flatten() {
            meaning::endpoint_address(text, names, endpoints, notes);
        }
        let Conditions { ready, serving, terminating } = self.conditions.unwrap_or_default();
        let target_name = self.target_ref.and_then(|target| target.name);
        let conditions = model::Conditions { ready, serving, terminating };
        endpoints.end(conditions, self.hostname.as_deref(), target_name.as_deref(), self.zone.as_deref());
    }
}

impl LeanPod {
    fn into_object(mut self, notes: &mut Vec<String>) -> Result<Object, Invalid> {
        let key = self.metadata.take_key()?;
        let (alone, all) = self.status.map(|status| (status.pod_ip, status.pod_ips)).unwrap_or_default();
        let all = all.iter().flatten().filter_map(|of| of.ip.as_deref());
        let addresses = meaning::pod_addresses(all, alone.as_deref(), notes);
        let hostname = meaning::pod_hostname(&key, self.spec.and_then(|spec| spec.hostname));
        Ok(Object::Pod(Pod {
            key,
            hostname,
            labels: self.metadata.labels.unwrap_or_default(),
            addresses,
            terminating: self.metadata.deletion_timestamp.is_some(),
        }))
    }
}

/// The key of any object.
pub(super) fn key_of(object: &Object) -> Cow<'_, ObjectKey> {
    match object {
        Object::Namespace(object) => Cow::Owned(ObjectKey::new("", object.name.clone())),
        Object::Service(object) => Cow::Borrowed(&object.key),
        Object::EndpointSlice(object) => Cow::Borrowed(&object.key),
        Object::Pod(object) => Cow::Borrowed(&object.key),
        Object::ServiceImport(object) => Cow::Borrowed(&object.key),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::model::AddressRef;

    fn read(kind: Kind, json: &str) -> (Result<Object, Invalid>, Vec<String>) {
        let lean = Lean::deserialize(kind, &mut serde_json::Deserializer::from_str(json)).unwrap();
        let mut notes = Vec::new();
        (lean.into_object(&mut notes), notes)
    }

    fn service_kind(spec: &str) -> ServiceKind {
        let (object, _) = read(Kind::Service, &format!(r#"{{"metadata":{{"name":"a"}},"spec":{spec}}}"#));
        let Ok(Object::Service(service)) = object else { panic!("{object:?}") };
        service.kind
    }

    #[test]
    fn services_resolve_as_their_fields_say() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let table = [
            (r#"{"clusterIP":"None","clusterIPs":["None"]}"#, ServiceKind::Headless),
            (r#"{"clusterIP":"None"}"#, ServiceKind::Headless),
            (r#"{"clusterIP":"10.96.0.1"}"#, ServiceKind::ClusterIp(vec![ip("10.96.0.1")])),
            (r#"{"clusterIP":"10.96.0.1","clusterIPs":[]}"#, ServiceKind::ClusterIp(vec![ip("10.96.0.1")])),
            (
                r#"{"clusterIP":"10.96.0.1","clusterIPs":["10.96.0.1","fd00:96::1"]}"#,
                ServiceKind::ClusterIp(vec![ip("10.96.0.1"), ip("fd00:96::1")]),
            ),
            (r#"{"clusterIPs":["::ffff:10.96.0.1"]}"#, ServiceKind::ClusterIp(vec![ip("10.96.0.1")])),
            (r#"{"clusterIPs":["nonsense","10.96.0.1"]}"#, ServiceKind::ClusterIp(vec![ip("10.96.0.1")])),
            (r#"{"clusterIP":""}"#, ServiceKind::ClusterIp(vec![])),
            ("null", ServiceKind::ClusterIp(vec![])),
            (
                r#"{"type":"ExternalName","externalName":"db.example.","clusterIP":"None"}"#,
                ServiceKind::ExternalName("db.example.".into()),
            ),
        ];
        for (spec, kind) in table {
            assert_eq!(service_kind(spec), kind, "{spec}");
        }
    }

    #[test]
    fn an_alias_needs_its_name() {
        let (object, _) = read(Kind::Service, r#"{"metadata":{"name":"a"},"spec":{"type":"ExternalName"}}"#);
        assert_eq!(object, Err(Invalid::NoExternalName));
    }

    #[test]
    fn a_slice_takes_defaults_nulls_and_bad_addresses() {
        let json = r#"{"metadata":{"name":"web-1","namespace":"shop","labels":{"kubernetes.io/service-name":""}},
            "addressType":"IPv4","ports":[{"port":null,"name":null,"appProtocol":"http"}],
            "endpoints":[{"addresses":["10.0.0.1","10.0.0.256","::ffff:10.0.0.2"],"hostname":"","conditions":null,
            "targetRef":{"kind":"Pod","name":"web-x"}}]}"#;
        let (object, notes) = read(Kind::EndpointSlice, json);
        let Ok(Object::EndpointSlice(slice)) = object else { panic!("{object:?}") };
        assert_eq!(slice.service, None);
        assert_eq!(*slice.ports, [EndpointPort { name: "".into(), protocol: "TCP".into(), port: None }]);
        let endpoint = slice.endpoints.iter().next().unwrap();
        let addresses: Vec<String> = endpoint.addresses().map(|address| format!("{address:?}")).collect();
        assert_eq!(addresses, ["Ip(10.0.0.1)", "Ip(10.0.0.2)"]);
        assert_eq!((endpoint.hostname, endpoint.target_name), (None, Some(&b"web-x"[..])));
        assert_eq!(endpoint.conditions, model::Conditions::default());
        assert_eq!(notes, ["endpoint address \"10.0.0.256\" is not an IP address, it is left out"]);

        let (object, _) = read(
            Kind::EndpointSlice,
            r#"{"metadata":{"name":"w"},"addressType":"IPv6","endpoints":null,"ports":null}"#,
        );
        let Ok(Object::EndpointSlice(slice)) = object else { panic!("{object:?}") };
        assert!(slice.endpoints.is_empty() && slice.ports.is_empty());
    }

    #[test]
    fn service_imports_are_what_their_type_says() {
        let import = |spec: &str| {
            let json = format!(r#"{{"metadata":{{"name":"a","namespace":"n"}},"spec":{spec}}}"#);
            let (object, notes) = read(Kind::ServiceImport, &json);
            let Ok(Object::ServiceImport(import)) = object else { panic!("{object:?}") };
            (import.kind, import.ports.len(), notes.len())
        };
        let ips = |texts: &[&str]| ServiceKind::ClusterIp(texts.iter().map(|text| text.parse().unwrap()).collect());
        let table = [
            (
                r#"{"type":"ClusterSetIP","ips":["10.0.0.1","fd00::1"],"ports":[{"port":80}]}"#,
                ips(&["10.0.0.1", "fd00::1"]),
                1,
                0,
            ),
            (r#"{"type":"Headless","ips":["10.0.0.1"],"ports":[]}"#, ServiceKind::Headless, 0, 0),
            (r#"{"type":"ClusterSetIP","ips":["soon"],"ports":null}"#, ips(&[]), 0, 1),
            (r#"{"ports":[{"name":"a","port":1,"appProtocol":"x"}]}"#, ips(&[]), 1, 0),
            ("null", ips(&[]), 0, 0),
        ];
        for (spec, kind, ports, notes) in table {
            assert_eq!(import(spec), (kind, ports, notes), "{spec}");
        }
    }

    #[test]
    fn slices_of_other_clusters_say_so() {
        let import = |labels: &str| {
            let json = format!(r#"{{"metadata":{{"name":"w","labels":{{{labels}}}}},"addressType":"IPv4"}}"#);
            let (object, _) = read(Kind::EndpointSlice, &json);
            let Ok(Object::EndpointSlice(slice)) = object else { panic!("{object:?}") };
            slice.import.map(|import| format!("{} {}", import.service, import.cluster))
        };
        let (name, cluster) = (
            r#""multicluster.kubernetes.io/service-name":"web""#,
            r#""multicluster.kubernetes.io/source-cluster":"a""#,
        );
        assert_eq!(import(&format!("{name},{cluster}")).as_deref(), Some("web a"));
        assert_eq!(import(name).as_deref(), Some("web "));
        assert_eq!(import(cluster), None);
        assert_eq!(import(r#""multicluster.kubernetes.io/service-name":"""#), None);
    }

    #[test]
    fn fqdn_slices_hold_names() {
        let json = r#"{"metadata":{"name":"w"},"addressType":"FQDN","endpoints":[{"addresses":["a.example"]}]}"#;
        let (object, _) = read(Kind::EndpointSlice, json);
        let Ok(Object::EndpointSlice(slice)) = object else { panic!("{object:?}") };
        let endpoint = slice.endpoints.iter().next().unwrap();
        assert_eq!(endpoint.addresses().collect::<Vec<_>>(), [AddressRef::Name(b"a.example")]);
    }

    #[test]
    fn pods_have_an_end() {
        for (metadata, terminating) in [(r#","deletionTimestamp":"2026-01-01T00:00:00Z""#, true), ("", false)] {
            let (object, _) = read(Kind::Pod, &format!(r#"{{"metadata":{{"name":"p"{metadata}}}}}"#));
            let Ok(Object::Pod(pod)) = object else { panic!("{object:?}") };
            assert_eq!(pod.terminating, terminating);
        }
    }

    #[test]
    fn pods_have_the_addresses_of_their_list_or_else_the_one() {
        let table = [
            (r#"{"podIP":"10.1.2.3"}"#, &["10.1.2.3"][..]),
            (r#"{"podIP":""}"#, &[]),
            (r#"{"podIP":"10.1.2.3","podIPs":[{"ip":"10.1.2.3"},{"ip":"fd00::3"}]}"#, &["10.1.2.3", "fd00::3"]),
            (r#"{"podIP":"fd00::3","podIPs":[{"ip":"fd00::3"},{"ip":"10.1.2.3"}]}"#, &["10.1.2.3", "fd00::3"]),
            (r#"{"podIP":"fd00::3","podIPs":[{"ip":"nonsense"},{"ip":"fd00::3"},{}]}"#, &["fd00::3"]),
            (r#"{"podIP":"::ffff:10.1.2.3","podIPs":null}"#, &["10.1.2.3"]),
        ];
        for (status, expected) in table {
            let (object, _) = read(Kind::Pod, &format!(r#"{{"metadata":{{"name":"p"}},"status":{status}}}"#));
            let Ok(Object::Pod(pod)) = object else { panic!("{object:?}") };
            let addresses: Vec<String> = pod.addresses.iter().map(|address| address.to_string()).collect();
            assert_eq!(addresses, expected, "{status}");
        }
    }
}
