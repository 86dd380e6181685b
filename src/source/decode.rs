//! What the list-watch loop takes from a wire format, whichever it is.
//!
//! The API server is asked for protobuf and may answer in JSON: which of them an answer is, its `Content-Type` says.

use std::borrow::Cow;

use bytes::Bytes;

use super::frames::FrameBuffer;
use super::lean::key_of;
use super::{json, protobuf};
use crate::model::{Kind, Object, ObjectKey};

/// A wire format of the Kubernetes API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `application/json`: lists as one object, watches as one object a line.
    Json,
    /// `application/vnd.kubernetes.protobuf`: objects in envelopes, the frames of watches after their lengths.
    Protobuf,
}

impl Format {
    /// The format of an answer. What is neither (an error page of a proxy) is taken for JSON, whose parser says so.
    pub(super) fn of(content_type: &str) -> Self {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/vnd.kubernetes.protobuf" => Self::Protobuf,
            _ => Self::Json,
        }
    }

    /// Cuts the next whole frame of a watch out of `buffer`; `None` means that more bytes are needed.
    ///
    /// # Errors
    /// [`DecodeError::FrameTooLong`]; the stream is of no further use.
    pub(super) fn cut(self, buffer: &mut FrameBuffer) -> Result<Option<Bytes>, DecodeError> {
        match self {
            // The API server's serializer ends each event with a line feed, and compact JSON has none inside (it
            // indents only for `?pretty` and for user agents of browsers and curl).
            Self::Json => buffer.take_line(),
            Self::Protobuf => buffer.take_counted(),
        }
    }

    /// Reads one frame of a watch of `kind`.
    ///
    /// # Errors
    /// [`DecodeError`] where the frame is none; an unusable object is [`Change::Skip`].
    pub(super) fn frame(self, kind: Kind, frame: Bytes) -> Result<Frame, DecodeError> {
        match self {
            Self::Json => json::frame(kind, &frame),
            Self::Protobuf => protobuf::frame(kind, frame),
        }
    }

    /// Reads a `v1` Status; what is no Status gives an empty one with the text as its message.
    pub(super) fn status(self, body: &[u8]) -> Status {
        match self {
            Self::Json => json::status(body),
            Self::Protobuf => protobuf::status(Bytes::copy_from_slice(body)),
        }
    }
}

/// An object as it came.
#[derive(Debug, Default)]
pub(super) struct Item {
    /// The object, unless it cannot be used.
    pub(super) object: Option<Object>,
    /// Its `metadata.resourceVersion`.
    pub(super) version: Option<Box<str>>,
    /// What was left out, and why.
    pub(super) remarks: Vec<Remark>,
    /// Of an EndpointSlice, its annotation [`LAST_CHANGE`] as it is written.
    pub(super) triggered: Option<Box<str>>,
}

impl Item {
    /// An object that cannot be used as a whole.
    pub(super) fn unusable(key: Option<ObjectKey>, version: Option<Box<str>>, text: String) -> Self {
        let remarks = vec![Remark { key, text, whole: true }];
        Self { version, remarks, ..Self::default() }
    }

    /// An object, with a note for each part of it that cannot be used.
    pub(super) fn usable(object: Object, version: Option<Box<str>>, notes: Vec<String>) -> Self {
        let remarks = notes
            .into_iter()
            .map(|text| Remark { key: Some(key_of(&object).into_owned()), text, whole: false })
            .collect();
        Self { object: Some(object), version, remarks, triggered: None }
    }

    /// The object's key, as far as it is known.
    pub(super) fn key(&self) -> Option<Cow<'_, ObjectKey>> {
        match &self.object {
            Some(object) => Some(key_of(object)),
            None => self.remarks.iter().find_map(|remark| remark.key.as_ref()).map(Cow::Borrowed),
        }
    }
}

/// What a list says beside its items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ListEnd {
    /// The list's `metadata.resourceVersion`: where a watch continues.
    pub(super) resource_version: String,
    /// `metadata.continue`, where more pages follow.
    pub(super) next: Option<String>,
}

impl ListEnd {
    /// Absent and empty mean the same in both fields.
    ///
    /// # Errors
    /// [`DecodeError::NoResourceVersion`].
    pub(super) fn new(version: Option<String>, next: Option<String>) -> Result<Self, DecodeError> {
        let resource_version = version.filter(|version| !version.is_empty()).ok_or(DecodeError::NoResourceVersion)?;
        Ok(Self { resource_version, next: next.filter(|token| !token.is_empty()) })
    }
}

/// A frame of a watch.
#[derive(Debug)]
pub(super) struct Frame {
    /// The `metadata.resourceVersion` of its object: where the next watch continues.
    pub(super) resource_version: Option<String>,
    /// What happened.
    pub(super) change: Change,
}

/// What a frame says.
#[derive(Debug)]
pub(super) enum Change {
    /// `ADDED` and `MODIFIED`.
    Apply(Item),
    /// `DELETED`.
    Delete(ObjectKey),
    /// `BOOKMARK`: nothing happened up to this resource version.
    Bookmark {
        /// Whether all objects that existed when the watch began have now been sent.
        ends_listing: bool,
    },
    /// `ERROR`: the watch is over.
    Error(Status),
    /// The type of event, or a deleted object's name, cannot be read.
    Skip(Remark),
}

/// The annotation of the bookmark that ends a streamed list (`InitialEventsAnnotationKey` in apimachinery's
/// `apis/meta/v1`); its value is `true`.
pub(super) const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// The annotation that says when what an EndpointSlice was last written for happened: the change of a pod or of a Service
/// (`EndpointsLastChangeTriggerTime` in `k8s.io/api/core/v1`). Its value is a time of RFC 3339.
pub(super) const LAST_CHANGE: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// `v1` Status: how the API server says no.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Status {
    /// The HTTP status code.
    pub(super) code: u16,
    /// A word for machines, as `Expired`.
    pub(super) reason: String,
    /// A sentence for people.
    pub(super) message: String,
    /// `details.retryAfterSeconds`.
    pub(super) retry_after_secs: Option<u64>,
}

impl Status {
    /// Whether the resource version or continue token is older than what the API server remembers, which only a
    /// new list mends. Both reasons are in use (`IsResourceExpired` and `IsGone` in apimachinery's `api/errors`).
    pub(super) fn is_gone(&self) -> bool {
        self.code == 410 || self.reason == "Expired" || self.reason == "Gone"
    }

    /// A refusal that is no Status: the beginning of its text is quoted.
    pub(super) fn quoting(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let message = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
        Self { message, ..Self::default() }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.code)?;
        if !self.reason.is_empty() {
            write!(f, " {}", self.reason)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

/// Something wrong with one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remark {
    /// The object, as far as it can be named.
    pub(super) key: Option<ObjectKey>,
    /// What is wrong, without the object's name.
    pub(super) text: String,
    /// Whether the whole object was left out, or only a part of it.
    pub(super) whole: bool,
}

impl Remark {
    /// Of an object without a readable name.
    pub(super) fn nameless(text: String) -> Self {
        Self { key: None, text, whole: true }
    }
}

/// A page or stream that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
    /// Not the expected format.
    #[error("the API server's answer is not what was asked for: {0}")]
    Format(String),
    /// A list without the resource version that a watch needs.
    #[error("the API server's list has no resourceVersion")]
    NoResourceVersion,
    /// More bytes than any object has.
    #[error("a frame of the watch, or an object of the list, is longer than {} MiB", super::frames::FRAME_BYTES_MAX / 1024 / 1024)]
    FrameTooLong,
    /// More bytes than any page has.
    #[error("the answer is longer than {} MiB", super::page::PAGE_BYTES_MAX / 1024 / 1024)]
    PageTooLong,
}
