//! A page of a list, read while it arrives where its format allows it.

use bytes::BytesMut;

use super::decode::{DecodeError, Format, Item, ListEnd};
use super::list_body::ListBody;
use super::{json, protobuf};
use crate::model::Kind;

/// A page of more bytes than this is an error. There is no page in protobuf that is held as a whole, but one without
/// end must end too.
pub(super) const PAGE_BYTES_MAX: usize = 512 * 1024 * 1024;

/// A page of which some has arrived.
#[derive(Debug)]
pub(super) struct PageReader {
    kind: Kind,
    bytes: usize,
    body: Arrived,
}

#[derive(Debug)]
enum Arrived {
    /// As it came: it is parsed as a whole.
    Json(BytesMut),
    Protobuf(ListBody),
}

impl PageReader {
    pub(super) fn new(kind: Kind, format: Format) -> Self {
        let body = match format {
            Format::Json => Arrived::Json(BytesMut::new()),
            Format::Protobuf => Arrived::Protobuf(ListBody::new()),
        };
        Self { kind, bytes: 0, body }
    }

    /// The bytes that have arrived.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends what the network gave.
    ///
    /// # Errors
    /// [`DecodeError::PageTooLong`].
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        self.bytes += bytes.len();
        if self.bytes > PAGE_BYTES_MAX {
            return Err(DecodeError::PageTooLong);
        }
        match &mut self.body {
            Arrived::Json(body) => body.extend_from_slice(bytes),
            Arrived::Protobuf(body) => body.push(bytes),
        }
        Ok(())
    }

    /// The next object that has arrived as a whole.
    ///
    /// # Errors
    /// [`DecodeError`] where the page is unusable; an unusable object is an [`Item`] without one.
    pub(super) fn next(&mut self) -> Result<Option<Item>, DecodeError> {
        match &mut self.body {
            Arrived::Json(_) => Ok(None),
            Arrived::Protobuf(body) => Ok(body.next()?.map(|object| protobuf::read(self.kind, object))),
        }
    }

    /// At the body's end: the objects that [`Self::next`] did not give, and what the list says beside them.
    ///
    /// # Errors
    /// [`DecodeError`] where the page is unusable, or not complete.
    pub(super) async fn finish(self) -> Result<(Vec<Item>, ListEnd), DecodeError> {
        match self.body {
            Arrived::Protobuf(body) => Ok((Vec::new(), body.finish()?)),
            // Megabytes of JSON would hold up the other tasks of this thread.
            Arrived::Json(body) => tokio::task::spawn_blocking(move || json::page(self.kind, &body))
                .await
                .map_err(|error| DecodeError::Format(error.to_string()))?,
        }
    }
}
