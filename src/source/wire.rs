//! The fields of the API's protobuf messages that DNS needs; everything else is skipped while it is read.
//!
//! Field numbers are those of the `generated.proto` files of `k8s.io/apimachinery` (`pkg/runtime`,
//! `pkg/apis/meta/v1`) and `k8s.io/api` (`core/v1`, `discovery/v1`); each message names its own. Numbers are never used
//! again there, so that a newer API server's messages are read as well as an older one's.
//!
//! What becomes part of an object is a `String`, taken from the heap once. What is only looked at, or packed (addresses,
//! types, endpoints), is a slice of the body that it came in.

use std::collections::BTreeMap;

use bytes::Bytes;

/// `Unknown` of `pkg/runtime`: the envelope of every object.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Unknown {
    /// The object.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(super) raw: Option<Bytes>,
    /// Empty: nothing uses it yet.
    #[prost(string, optional, tag = "3")]
    pub(super) content_encoding: Option<String>,
    /// Empty for protobuf.
    #[prost(string, optional, tag = "4")]
    pub(super) content_type: Option<String>,
}

/// `WatchEvent` of `pkg/apis/meta/v1`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WatchEvent {
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(super) r#type: Option<Bytes>,
    #[prost(message, optional, tag = "2")]
    pub(super) object: Option<RawExtension>,
}

/// `RawExtension` of `pkg/runtime`: here, an object in its envelope.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RawExtension {
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(super) raw: Option<Bytes>,
}

/// `ListMeta` of `pkg/apis/meta/v1`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ListMeta {
    #[prost(string, optional, tag = "2")]
    pub(super) resource_version: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(super) r#continue: Option<String>,
}

/// `Status` of `pkg/apis/meta/v1`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Status {
    #[prost(string, optional, tag = "3")]
    pub(super) message: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub(super) reason: Option<String>,
    #[prost(message, optional, tag = "5")]
    pub(super) details: Option<StatusDetails>,
    #[prost(int32, optional, tag = "6")]
    pub(super) code: Option<i32>,
}

/// `StatusDetails` of `pkg/apis/meta/v1`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StatusDetails {
    #[prost(int32, optional, tag = "5")]
    pub(super) retry_after_seconds: Option<i32>,
}

/// `ObjectMeta` of `pkg/apis/meta/v1`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ObjectMeta {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub(super) namespace: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub(super) resource_version: Option<String>,
    /// A `Time`, of which only the presence matters.
    #[prost(bytes = "bytes", optional, tag = "9")]
    pub(super) deletion_timestamp: Option<Bytes>,
    #[prost(btree_map = "string, string", tag = "11")]
    pub(super) labels: BTreeMap<String, String>,
}

/// Any object's metadata and nothing else: it is the first field of all. So is `Namespace` of `core/v1` to DNS.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct MetaOnly {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<ObjectMeta>,
}

/// Any object's metadata with its annotations.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Annotated {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<AnnotatedMeta>,
}

/// `ObjectMeta` of `pkg/apis/meta/v1` with its annotations, which only bookmarks and changed slices are asked for.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AnnotatedMeta {
    #[prost(string, optional, tag = "6")]
    pub(super) resource_version: Option<String>,
    #[prost(btree_map = "string, string", tag = "12")]
    pub(super) annotations: BTreeMap<String, String>,
}

/// A Service's metadata with its annotations, of which few are looked at.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AnnotatedService {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<AnnotatedServiceMeta>,
}

/// `ObjectMeta` of `pkg/apis/meta/v1`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AnnotatedServiceMeta {
    /// Each an [`Annotation`].
    #[prost(bytes = "bytes", repeated, tag = "12")]
    pub(super) annotations: Vec<Bytes>,
}

/// An entry of a map of texts (Protocol Buffers, Language Guide, Maps).
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Annotation {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: Bytes,
}

/// `Service` of `core/v1`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Service {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    pub(super) spec: Option<ServiceSpec>,
}

/// `ServiceSpec` of `core/v1`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ServiceSpec {
    #[prost(message, repeated, tag = "1")]
    pub(super) ports: Vec<ServicePort>,
    /// Entries of a map, of which only the presence matters: the last stands for all.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(super) selector: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub(super) cluster_ip: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub(super) r#type: Option<Bytes>,
    #[prost(string, optional, tag = "10")]
    pub(super) external_name: Option<String>,
    #[prost(bytes = "bytes", repeated, tag = "18")]
    pub(super) cluster_ips: Vec<Bytes>,
}

/// `ServicePort` of `core/v1`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ServicePort {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) protocol: Option<String>,
    #[prost(int32, optional, tag = "3")]
    pub(super) port: Option<i32>,
}

/// `EndpointSlice` of `discovery/v1`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct EndpointSlice {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<ObjectMeta>,
    /// Each an [`Endpoint`], read one after the other: there are very many.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(super) endpoints: Vec<Bytes>,
    #[prost(message, repeated, tag = "3")]
    pub(super) ports: Vec<EndpointPort>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub(super) address_type: Option<Bytes>,
}

/// `Endpoint` of `discovery/v1`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Endpoint {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(super) addresses: Vec<Bytes>,
    #[prost(message, optional, tag = "2")]
    pub(super) conditions: Option<EndpointConditions>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub(super) hostname: Option<Bytes>,
    #[prost(message, optional, tag = "4")]
    pub(super) target_ref: Option<ObjectReference>,
    #[prost(bytes = "bytes", optional, tag = "7")]
    pub(super) zone: Option<Bytes>,
}

/// `EndpointConditions` of `discovery/v1`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct EndpointConditions {
    #[prost(bool, optional, tag = "1")]
    pub(super) ready: Option<bool>,
    #[prost(bool, optional, tag = "2")]
    pub(super) serving: Option<bool>,
    #[prost(bool, optional, tag = "3")]
    pub(super) terminating: Option<bool>,
}

/// `ObjectReference` of `core/v1`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ObjectReference {
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub(super) name: Option<Bytes>,
}

/// `EndpointPort` of `discovery/v1`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct EndpointPort {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(super) protocol: Option<String>,
    #[prost(int32, optional, tag = "3")]
    pub(super) port: Option<i32>,
}

/// `Pod` of `core/v1`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Pod {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    pub(super) spec: Option<PodSpec>,
    #[prost(message, optional, tag = "3")]
    pub(super) status: Option<PodStatus>,
}

/// `PodSpec` of `core/v1`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodSpec {
    #[prost(bytes = "bytes", optional, tag = "16")]
    pub(super) hostname: Option<Bytes>,
}

/// `PodStatus` of `core/v1`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodStatus {
    #[prost(bytes = "bytes", optional, tag = "6")]
    pub(super) pod_ip: Option<Bytes>,
    #[prost(message, repeated, tag = "12")]
    pub(super) pod_ips: Vec<PodIp>,
}

/// `PodIP` of `core/v1`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodIp {
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(super) ip: Option<Bytes>,
}
