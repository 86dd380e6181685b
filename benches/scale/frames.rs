//! The frames of a protobuf watch, as far as a bare reader needs them: where each ends, and which version of an object it
//! has.

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;

/// Octets of the length before a frame.
const LENGTH_OCTETS: usize = 4;
/// What an object's envelope begins with.
const MAGIC: &[u8] = b"k8s\0";
/// How a frame begins that has no object, but says how far the watch is.
const BOOKMARK: &[u8] = b"\x0a\x08BOOKMARK";
/// The annotation of the bookmark behind the last object of a streamed list.
const INITIAL_EVENTS_END: &[u8] = b"k8s.io/initial-events-end";

/// Cuts a byte stream into frames.
#[derive(Default)]
pub(crate) struct Frames(BytesMut);

impl Frames {
    pub(crate) fn push(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }

    pub(crate) fn next(&mut self) -> Option<Bytes> {
        let length = u32::from_be_bytes(*self.0.first_chunk::<LENGTH_OCTETS>()?) as usize;
        if self.0.len() < LENGTH_OCTETS + length {
            return None;
        }
        self.0.advance(LENGTH_OCTETS);
        Some(self.0.split_to(length).freeze())
    }
}

/// Whether a frame says that a streamed list is complete.
pub(crate) fn ends_list(frame: &[u8]) -> bool {
    frame.starts_with(BOOKMARK) && frame.windows(INITIAL_EVENTS_END.len()).any(|octets| octets == INITIAL_EVENTS_END)
}

/// The version of the object in a frame.
pub(crate) fn resource_version(frame: Bytes) -> Option<u64> {
    let envelope = WatchEvent::decode(frame).ok()?.object?.raw;
    let unknown = Unknown::decode(envelope.strip_prefix(MAGIC).map(|bare| envelope.slice_ref(bare))?).ok()?;
    Object::decode(unknown.raw).ok()?.metadata?.resource_version.parse().ok()
}

// The fields' numbers are those of `generated.proto` in `k8s.io/apimachinery`.

#[derive(Clone, PartialEq, prost::Message)]
struct WatchEvent {
    #[prost(message, optional, tag = "2")]
    object: Option<RawExtension>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RawExtension {
    #[prost(bytes = "bytes", tag = "1")]
    raw: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Unknown {
    #[prost(bytes = "bytes", tag = "2")]
    raw: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Object {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ObjectMeta {
    #[prost(string, tag = "6")]
    resource_version: String,
}
