//! What a wire format must offer to the list-watch loop.
//!
//! The loop knows pages, frames and events; how they are spelled is behind [`Decoder`]. [`super::json::Json`] is the
//! one there is. The API server also speaks `application/vnd.kubernetes.protobuf`, whose frames carry a length.

use bytes::Bytes;

use super::frames::FrameBuffer;
use crate::model::{Kind, Object, ObjectKey};

/// A wire format of the Kubernetes API.
pub(super) trait Decoder: Clone + Send + Sync + 'static {
    /// The value of the `Accept` header.
    fn accept(&self) -> &'static str;

    /// Cuts the next whole frame of a watch out of `buffer`; `None` means that more bytes are needed.
    ///
    /// # Errors
    /// [`DecodeError::FrameTooLong`]; the stream is of no further use.
    fn cut(&self, buffer: &mut FrameBuffer) -> Result<Option<Bytes>, DecodeError>;

    /// Reads one page of a list of `kind`.
    ///
    /// # Errors
    /// [`DecodeError`] where the page as a whole is unusable; an unusable object is in [`Page::remarks`].
    fn page(&self, kind: Kind, body: &[u8]) -> Result<Page, DecodeError>;

    /// Reads one frame of a watch of `kind`.
    ///
    /// # Errors
    /// [`DecodeError`] where the frame is none; an unusable object is [`Change::Skip`].
    fn frame(&self, kind: Kind, frame: &[u8]) -> Result<Frame, DecodeError>;
}

/// A page of a list.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// The usable objects.
    pub(super) objects: Vec<Object>,
    /// What was left out, and why.
    pub(super) remarks: Vec<Remark>,
    /// The list's `metadata.resourceVersion`: where a watch continues.
    pub(super) resource_version: String,
    /// `metadata.continue`, where more pages follow.
    pub(super) next: Option<String>,
}

/// A frame of a watch.
#[derive(Debug)]
pub(super) struct Frame {
    /// The `metadata.resourceVersion` of its object: where the next watch continues.
    pub(super) resource_version: Option<String>,
    /// What happened.
    pub(super) change: Change,
    /// What was left out, and why.
    pub(super) remarks: Vec<Remark>,
}

/// What a frame says.
#[derive(Debug)]
pub(super) enum Change {
    /// `ADDED` and `MODIFIED`.
    Apply(Object),
    /// `DELETED`.
    Delete(ObjectKey),
    /// `BOOKMARK`: nothing happened up to this resource version.
    Bookmark,
    /// `ERROR`: the watch is over.
    Error(Status),
    /// The object, or the type of event, cannot be used; the remarks say why.
    Skip,
}

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
    #[error("a frame of the watch is longer than {} MiB", super::frames::FRAME_BYTES_MAX / 1024 / 1024)]
    FrameTooLong,
}
