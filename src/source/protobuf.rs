//! The API's protobuf: envelopes, objects and frames.
//!
//! An object stands in an envelope, `runtime.Unknown` behind four bytes of magic (`pkg/runtime/serializer/protobuf` of
//! apimachinery). A frame of a watch is a bare `WatchEvent`, whose object stands in an envelope again.

use bytes::Bytes;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::annotations;
use super::decode::{Change, DecodeError, Frame, INITIAL_EVENTS_END, Item, LAST_CHANGE, Remark, Status};
use super::meaning::{self, Invalid};
use super::wire;
use crate::model::{
    Conditions, EndpointPort, EndpointSlice, Endpoints, EndpointsBuilder, Kind, Namespace, Object, ObjectKey, Pod,
    Service, ServicePort,
};

/// What an envelope begins with (`protoEncodingPrefix`).
pub(super) const MAGIC: [u8; 4] = *b"k8s\0";

/// `metadata` of every object.
const FIELD_METADATA: u32 = 1;
/// `annotations` of `ObjectMeta` of `pkg/apis/meta/v1`: a map, each entry of which is a message of two fields.
const FIELD_ANNOTATIONS: u32 = 12;
const FIELD_KEY: u32 = 1;
const FIELD_VALUE: u32 = 2;

/// Why an object cannot be used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{0}")]
    Wire(#[from] prost::DecodeError),
    #[error("{0}")]
    Text(#[from] std::str::Utf8Error),
    #[error("{0}")]
    Invalid(#[from] Invalid),
    #[error("custom resources have no protobuf")]
    Custom,
}

/// What stands in an envelope.
///
/// # Errors
/// [`DecodeError::Format`] where it is none, or holds something else than protobuf.
fn unwrap(envelope: Bytes) -> Result<Bytes, DecodeError> {
    let bare = envelope.strip_prefix(&MAGIC).map(|bare| envelope.slice_ref(bare));
    let bare = bare.ok_or_else(|| DecodeError::Format("an object without the envelope of protobuf".into()))?;
    let unknown = wire::Unknown::decode(bare).map_err(|error| DecodeError::Format(error.to_string()))?;
    let named = |text: Option<String>| text.filter(|text| !text.is_empty());
    if let Some(encoding) = named(unknown.content_encoding).or_else(|| named(unknown.content_type)) {
        return Err(DecodeError::Format(format!("an envelope around {encoding:?}")));
    }
    Ok(unknown.raw.unwrap_or_default())
}

/// See [`super::decode::Format::frame`].
pub(super) fn frame(kind: Kind, frame: Bytes) -> Result<Frame, DecodeError> {
    let event = wire::WatchEvent::decode(frame).map_err(|error| DecodeError::Format(error.to_string()))?;
    let envelope = event.object.and_then(|object| object.raw).unwrap_or_default();
    let (change, resource_version) = match &*event.r#type.unwrap_or_default() {
        b"ADDED" | b"MODIFIED" => {
            let item = match unwrap(envelope) {
                Ok(object) => {
                    let item = read(kind, object.clone());
                    let triggered = item.object.as_ref().and_then(|_| last_change(kind, &object));
                    Item { triggered, ..item }
                }
                Err(error) => Item::unusable(None, None, error.to_string()),
            };
            let version = item.version.as_deref().map(str::to_owned);
            (Change::Apply(item), version)
        }
        // Only the name matters, so that an object that became unreadable can still be deleted.
        b"DELETED" => match unwrap(envelope) {
            Ok(object) => {
                let meta = meta(object);
                let nameless = || Change::Skip(Remark::nameless("a deleted object has no name".into()));
                (key_of(&meta).map_or_else(nameless, Change::Delete), meta.resource_version)
            }
            Err(error) => (Change::Skip(Remark::nameless(error.to_string())), None),
        },
        b"BOOKMARK" => {
            let bookmark = unwrap(envelope).ok().and_then(|object| wire::Annotated::decode(object).ok());
            let meta = bookmark.and_then(|bookmark| bookmark.metadata).unwrap_or_default();
            let ends_listing = meta.annotations.get(INITIAL_EVENTS_END).is_some_and(|value| value == "true");
            (Change::Bookmark { ends_listing }, meta.resource_version)
        }
        b"ERROR" => (Change::Error(status(envelope)), None),
        other => {
            let name = String::from_utf8_lossy(other);
            (Change::Skip(Remark::nameless(format!("unknown type of event {name:?}"))), None)
        }
    };
    Ok(Frame { resource_version: resource_version.filter(|version| !version.is_empty()), change })
}

/// See [`super::decode::Format::status`].
pub(super) fn status(envelope: Bytes) -> Status {
    let object = unwrap(envelope.clone());
    match object.ok().and_then(|object| wire::Status::decode(object).ok()) {
        Some(status) => Status {
            code: status.code.and_then(|code| code.try_into().ok()).unwrap_or_default(),
            reason: status.reason.unwrap_or_default(),
            message: status.message.unwrap_or_default(),
            // Not a pointer in Go, so that 0 stands for nothing said.
            retry_after_secs: status
                .details
                .and_then(|details| details.retry_after_seconds?.try_into().ok())
                .filter(|seconds| *seconds > 0),
        },
        None => Status::quoting(&envelope),
    }
}

/// The metadata, as far as they can be read: they come first.
fn meta(object: Bytes) -> wire::ObjectMeta {
    let mut read = wire::MetaOnly::default();
    // What was read before an error is kept.
    let _ = read.merge(object);
    read.metadata.unwrap_or_default()
}

/// Of an EndpointSlice, when what it was written for happened: its annotation is looked for among the octets of its
/// metadata, and nothing else of them is read once more.
fn last_change(kind: Kind, object: &[u8]) -> Option<Box<str>> {
    if kind != Kind::EndpointSlice {
        return None;
    }
    let annotations = fields(object, FIELD_METADATA).flat_map(|metadata| fields(metadata, FIELD_ANNOTATIONS));
    let is_wanted = |annotation: &&[u8]| fields(annotation, FIELD_KEY).last() == Some(LAST_CHANGE.as_bytes());
    let text = fields(annotations.filter(is_wanted).last()?, FIELD_VALUE).last().unwrap_or_default();
    Some(str::from_utf8(text).ok()?.into())
}

/// The fields of a message that have a number, and a length; what is malformed ends them.
fn fields(mut message: &[u8], wanted: u32) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        loop {
            let (number, wire_type) = decode_key(&mut message).ok()?;
            if wire_type == WireType::LengthDelimited {
                let length = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
                let (field, rest) = message.split_at_checked(length)?;
                message = rest;
                if number == wanted {
                    return Some(field);
                }
            } else {
                skip_field(wire_type, number, &mut message, DecodeContext::default()).ok()?;
            }
        }
    })
}

fn key_of(meta: &wire::ObjectMeta) -> Option<ObjectKey> {
    meaning::key(text(meta.namespace.clone()), text(meta.name.clone())).ok()
}

/// Reads an object that is known to be of `kind`, without its envelope.
pub(super) fn read(kind: Kind, object: Bytes) -> Item {
    let mut version = None;
    let mut notes = Vec::new();
    match into_object(kind, object.clone(), &mut version, &mut notes) {
        Ok(object) => Item::usable(object, version, notes),
        Err(error) => {
            let meta = meta(object);
            Item::unusable(key_of(&meta), text(meta.resource_version), error.to_string())
        }
    }
}

fn into_object(
    kind: Kind,
    object: Bytes,
    version: &mut Option<Box<str>>,
    notes: &mut Vec<String>,
) -> Result<Object, Unusable> {
    // The key of an object is taken out of its metadata, and its resource version put aside.
    let mut head = |meta: Option<wire::ObjectMeta>| {
        let meta = meta.unwrap_or_default();
        *version = text(meta.resource_version);
        let key = meaning::key(text(meta.namespace), text(meta.name))?;
        Ok::<_, Invalid>((key, meta.labels, meta.deletion_timestamp.is_some()))
    };
    Ok(match kind {
        Kind::Namespace => {
            let (key, labels, _) = head(wire::MetaOnly::decode(object)?.metadata)?;
            Object::Namespace(Namespace { name: key.name, labels })
        }
        Kind::Service => {
            let service = wire::Service::decode(object.clone())?;
            let (key, labels, _) = head(service.metadata)?;
            let spec = service.spec.unwrap_or_default();
            let texts: Vec<_> = spec.cluster_ips.iter().map(|text| String::from_utf8_lossy(text)).collect();
            let alone = spec.cluster_ip.as_deref().map(String::from_utf8_lossy);
            let is_alias = spec.r#type.as_deref() == Some(b"ExternalName");
            let all = texts.iter().map(|text| &**text);
            let name = text(spec.external_name);
            let kind = meaning::service_kind(is_alias, name, all, alone.as_deref(), notes)?;
            let settings = annotations::of_service(object, notes);
            let has_selector = spec.selector.is_some();
            let ports = spec.ports.into_iter().map(service_port).collect::<Result<_, _>>()?;
            Object::Service(Service { key, labels, kind, ports, has_selector, settings })
        }
        Kind::EndpointSlice => {
            let slice = wire::EndpointSlice::decode(object)?;
            let (key, labels, _) = head(slice.metadata)?;
            let (service, import) = (meaning::service_name(&labels), meaning::import(&labels));
            let names = meaning::holds_names(slice.address_type.as_deref().map(String::from_utf8_lossy).as_deref())?;
            let endpoints = endpoints(slice.endpoints, names, notes)?;
            let ports = slice.ports.into_iter().map(endpoint_port).collect::<Result<_, _>>()?;
            Object::EndpointSlice(EndpointSlice { key, labels, service, import, endpoints, ports })
        }
        Kind::Pod => {
            let pod = wire::Pod::decode(object)?;
            let (key, labels, terminating) = head(pod.metadata)?;
            let status = pod.status.unwrap_or_default();
            let all = status.pod_ips.into_iter().filter_map(|of| of.ip);
            let texts: Vec<_> = all.map(|text| String::from_utf8_lossy(&text).into_owned()).collect();
            let alone = status.pod_ip.as_deref().map(String::from_utf8_lossy);
            let addresses = meaning::pod_addresses(texts.iter().map(|text| &**text), alone.as_deref(), notes);
            let hostname = pod.spec.and_then(|spec| spec.hostname);
            let hostname = hostname.map(|text| String::from_utf8_lossy(&text).into());
            let hostname = meaning::pod_hostname(&key, hostname);
            Object::Pod(Pod { key, labels, addresses, hostname, terminating })
        }
        Kind::ServiceImport => return Err(Unusable::Custom),
    })
}

fn service_port(port: wire::ServicePort) -> Result<ServicePort, Invalid> {
    Ok(ServicePort {
        name: text(port.name).unwrap_or_default(),
        protocol: meaning::protocol(text(port.protocol)),
        port: number(port.port.ok_or(Invalid::NoPort)?)?,
    })
}

fn endpoint_port(port: wire::EndpointPort) -> Result<EndpointPort, Invalid> {
    Ok(EndpointPort {
        name: text(port.name).unwrap_or_default(),
        protocol: meaning::protocol(text(port.protocol)),
        port: port.port.map(number).transpose()?,
    })
}

/// Packs the endpoints of a slice, each read into the same message.
fn endpoints(wires: Vec<Bytes>, names: bool, notes: &mut Vec<String>) -> Result<Endpoints, Unusable> {
    // As it came it is longer.
    let mut packed = EndpointsBuilder::with_capacity(wires.iter().map(Bytes::len).sum());
    let mut endpoint = wire::Endpoint::default();
    for wire in wires {
        endpoint.clear();
        endpoint.merge(wire)?;
        packed.begin();
        for address in &endpoint.addresses {
            meaning::endpoint_address(&String::from_utf8_lossy(address), names, &mut packed, notes);
        }
        let wire::EndpointConditions { ready, serving, terminating } = endpoint.conditions.unwrap_or_default();
        let hostname = endpoint.hostname.as_deref().map(str::from_utf8).transpose()?;
        let target = endpoint.target_ref.as_ref().and_then(|target| target.name.as_deref());
        let target = target.map(str::from_utf8).transpose()?;
        let zone = endpoint.zone.as_deref().map(str::from_utf8).transpose()?;
        packed.end(Conditions { ready, serving, terminating }, hostname, target, zone);
    }
    Ok(packed.finish())
}

fn number(port: i32) -> Result<u16, Invalid> {
    port.try_into().map_err(|_| Invalid::Port(port))
}

fn text(text: Option<String>) -> Option<Box<str>> {
    text.map(String::into_boxed_str)
}

#[cfg(test)]
mod tests;
