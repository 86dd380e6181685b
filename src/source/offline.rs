//! What an API server's bytes mean, without an API server: for tests that compare formats, and for fuzzing.

use super::decode::{Change, DecodeError, Format};
use super::frames::FrameBuffer;
use super::list_body::ListBody;
use super::{json, protobuf};
use crate::model::{Event, Kind};

/// What a source would say of the body of a list of this `Content-Type` that comes in these pieces.
///
/// # Errors
/// Why the list is unusable, as it would be logged.
pub fn read_list(kind: Kind, content_type: &str, pieces: &[&[u8]]) -> Result<Vec<Event>, String> {
    let mut events = vec![Event::Begin(kind)];
    let mut read = || -> Result<(), DecodeError> {
        match Format::of(content_type) {
            Format::Json => {
                let (items, _) = json::page(kind, &pieces.concat())?;
                events.extend(items.into_iter().filter_map(|item| item.object).map(Event::Apply));
            }
            Format::Protobuf => {
                let mut body = ListBody::new();
                for piece in pieces {
                    body.push(piece);
                    while let Some(object) = body.next()? {
                        events.extend(protobuf::read(kind, object).object.map(Event::Apply));
                    }
                }
                body.finish()?;
            }
        }
        Ok(())
    };
    read().map_err(|error| error.to_string())?;
    events.push(Event::End(kind));
    Ok(events)
}

/// What a source would say of a watch of this `Content-Type` that comes in these pieces. The bookmark that ends a
/// streamed list is its [`Event::End`]; other bookmarks, and errors, say nothing.
///
/// # Errors
/// Why the watch is unusable, as it would be logged.
pub fn read_watch(kind: Kind, content_type: &str, pieces: &[&[u8]]) -> Result<Vec<Event>, String> {
    let format = Format::of(content_type);
    let mut buffer = FrameBuffer::default();
    let mut events = Vec::new();
    for piece in pieces {
        buffer.push(piece);
        while let Some(frame) = format.cut(&mut buffer).map_err(|error| error.to_string())? {
            match format.frame(kind, frame).map_err(|error| error.to_string())?.change {
                Change::Apply(item) => events.extend(item.object.map(Event::Apply)),
                Change::Delete(key) => events.push(Event::Delete(kind, key)),
                Change::Bookmark { ends_listing: true } => events.push(Event::End(kind)),
                Change::Bookmark { .. } | Change::Error(_) | Change::Skip(_) => {}
            }
        }
    }
    Ok(events)
}
