//! The API's JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::decode::{Change, DecodeError, Frame, INITIAL_EVENTS_END, Item, ListEnd, Remark, Status};
use super::lean::{Lean, MetaOnly};
use crate::model::Kind;

#[derive(Deserialize)]
struct RawPage<'a> {
    #[serde(default)]
    metadata: Option<RawListMeta>,
    // Each item is first only delimited, then read by itself: one that is malformed does not spoil the page.
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawListMeta {
    resource_version: Option<String>,
    r#continue: Option<String>,
}

#[derive(Deserialize)]
struct RawFrame<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct RawStatus {
    code: Option<u16>,
    reason: Option<String>,
    message: Option<String>,
    details: Option<RawDetails>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDetails {
    retry_after_seconds: Option<u64>,
}

#[derive(Deserialize)]
struct RawBookmark {
    #[serde(default)]
    metadata: Option<RawBookmarkMeta>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawBookmarkMeta {
    resource_version: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

/// Reads one page of a list of `kind`.
///
/// # Errors
/// [`DecodeError`] where the page as a whole is unusable; an unusable object is in the remarks of its item.
pub(super) fn page(kind: Kind, body: &[u8]) -> Result<(Vec<Item>, ListEnd), DecodeError> {
    let raw: RawPage<'_> = serde_json::from_slice(body).map_err(|error| DecodeError::Format(error.to_string()))?;
    let meta = raw.metadata.unwrap_or_default();
    let end = ListEnd::new(meta.resource_version, meta.r#continue)?;
    let items = raw.items.unwrap_or_default();
    Ok((items.into_iter().map(|item| read(kind, item)).collect(), end))
}

/// See [`super::decode::Format::frame`].
pub(super) fn frame(kind: Kind, frame: &[u8]) -> Result<Frame, DecodeError> {
    let raw: RawFrame<'_> = serde_json::from_slice(frame).map_err(|error| DecodeError::Format(error.to_string()))?;
    let (change, resource_version) = match &*raw.r#type {
        "ADDED" | "MODIFIED" => {
            let item = read(kind, raw.object);
            let version = item.version.as_deref().map(str::to_owned);
            (Change::Apply(item), version)
        }
        // Only the name matters, so that an object that became unreadable can still be deleted.
        "DELETED" => match meta(raw.object) {
            Ok(MetaOnly { metadata }) => {
                let nameless = || Change::Skip(Remark::nameless("a deleted object has no name".into()));
                (metadata.key().map_or_else(nameless, Change::Delete), metadata.resource_version.map(String::from))
            }
            Err(error) => (Change::Skip(Remark::nameless(error.to_string())), None),
        },
        "BOOKMARK" => {
            let bookmark = serde_json::from_str::<RawBookmark>(raw.object.get()).ok();
            let meta = bookmark.and_then(|bookmark| bookmark.metadata).unwrap_or_default();
            let ends_listing =
                meta.annotations.is_some_and(|all| all.get(INITIAL_EVENTS_END).is_some_and(|value| value == "true"));
            (Change::Bookmark { ends_listing }, meta.resource_version)
        }
        "ERROR" => (Change::Error(status(raw.object.get().as_bytes())), None),
        other => (Change::Skip(Remark::nameless(format!("unknown type of event {other:?}"))), None),
    };
    Ok(Frame { resource_version: resource_version.filter(|version| !version.is_empty()), change })
}

/// See [`super::decode::Format::status`].
pub(super) fn status(body: &[u8]) -> Status {
    match serde_json::from_slice::<RawStatus>(body) {
        Ok(raw) => Status {
            code: raw.code.unwrap_or_default(),
            reason: raw.reason.unwrap_or_default(),
            message: raw.message.unwrap_or_default(),
            retry_after_secs: raw.details.and_then(|details| details.retry_after_seconds),
        },
        Err(_) => Status::quoting(body),
    }
}

fn meta(object: &RawValue) -> Result<MetaOnly, serde_json::Error> {
    serde_json::from_str(object.get())
}

/// Reads an object of a list or a watch.
fn read(kind: Kind, object: &RawValue) -> Item {
    let mut lean = match Lean::deserialize(kind, &mut serde_json::Deserializer::from_str(object.get())) {
        Ok(lean) => lean,
        Err(error) => {
            let meta = meta(object).unwrap_or_default().metadata;
            return Item::unusable(meta.key(), meta.resource_version, error.to_string());
        }
    };
    let version = lean.meta().resource_version.clone();
    let key = lean.meta().key();
    let triggered = lean.take_last_change();
    let mut notes = Vec::new();
    match lean.into_object(&mut notes) {
        Ok(object) => Item { triggered, ..Item::usable(object, version, notes) },
        Err(error) => Item::unusable(key, version, error.to_string()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::decode::Format;
    use super::super::frames::FrameBuffer;
    use super::*;
    use crate::model::{Object, ObjectKey};

    const WATCH: &str = concat!(
        r#"{"type":"ADDED","object":{"kind":"Service","metadata":{"name":"a","namespace":"n","resourceVersion":"5"},"spec":{"clusterIP":"10.0.0.1","ports":[{"port":80}]}}}"#,
        "\n",
        r#"{"type":"MODIFIED","object":{"metadata":{"name":"b","namespace":"n","resourceVersion":"6"},"spec":{"ports":[{"port":"x\u00e4ä"}]}}}"#,
        "\n",
        r#"{"type":"DELETED","object":{"metadata":{"name":"b","namespace":"n","resourceVersion":"7"},"spec":7}}"#,
        "\n",
        r#"{"type":"BOOKMARK","object":{"kind":"Service","metadata":{"resourceVersion":"9","creationTimestamp":null},"spec":{}}}"#,
        "\n",
        r#"{"type":"ERROR","object":{"kind":"Status","status":"Failure","message":"too old resource version: 1 (9)","reason":"Expired","code":410}}"#,
        "\n",
    );

    fn frames(pieces: &[&[u8]]) -> Vec<String> {
        let mut buffer = FrameBuffer::default();
        let mut seen = Vec::new();
        for piece in pieces {
            buffer.push(piece);
            while let Some(cut) = Format::Json.cut(&mut buffer).unwrap() {
                seen.push(format!("{:?}", frame(Kind::Service, &cut).unwrap()));
            }
        }
        seen
    }

    #[test]
    fn watch_frames_do_not_depend_on_where_the_network_cuts() {
        let whole = frames(&[WATCH.as_bytes()]);
        assert_eq!(whole.len(), 5);
        for at in 0..=WATCH.len() {
            let (head, tail) = WATCH.as_bytes().split_at(at);
            assert_eq!(frames(&[head, tail]), whole, "cut at {at}");
        }
        let bytes: Vec<&[u8]> = WATCH.as_bytes().chunks(1).collect();
        assert_eq!(frames(&bytes), whole);
    }

    #[test]
    fn watch_frames_mean_what_they_say() {
        let read: Vec<Frame> = WATCH.lines().map(|line| frame(Kind::Service, line.as_bytes()).unwrap()).collect();
        let versions: Vec<Option<&str>> = read.iter().map(|frame| frame.resource_version.as_deref()).collect();
        assert_eq!(versions, [Some("5"), Some("6"), Some("7"), Some("9"), None]);
        assert!(matches!(&read[0].change, Change::Apply(Item { object: Some(Object::Service(_)), .. })));
        let Change::Apply(item) = &read[1].change else { panic!("{:?}", read[1]) };
        assert_eq!((&item.object, item.key()), (&None, Some(Cow::Owned(ObjectKey::new("n", "b")))));
        assert!(matches!(&read[2].change, Change::Delete(key) if *key == ObjectKey::new("n", "b")));
        assert!(matches!(&read[3].change, Change::Bookmark { ends_listing: false }));
        assert!(matches!(&read[4].change, Change::Error(status) if status.is_gone()));
    }

    #[test]
    fn a_malformed_item_leaves_the_rest_of_its_page() {
        let body = br#"{"kind":"ServiceList","metadata":{"resourceVersion":"12","continue":"abc"},"items":[
            {"metadata":{"name":"good","namespace":"n"},"spec":{"clusterIP":"10.0.0.1"}},
            {"metadata":{"name":"bad","namespace":"n"},"spec":{"ports":[{"port":70000}]}},
            {"metadata":{"name":"odd","namespace":"n"},"spec":{"clusterIP":"10.0.0"}},
            17]}"#;
        let (items, end) = page(Kind::Service, body).unwrap();
        assert_eq!(items.iter().filter(|item| item.object.is_some()).count(), 2);
        assert_eq!((end.resource_version.as_str(), end.next.as_deref()), ("12", Some("abc")));
        let remarks: Vec<(Option<String>, bool)> = items
            .iter()
            .flat_map(|item| &item.remarks)
            .map(|r| (r.key.as_ref().map(ToString::to_string), r.whole))
            .collect();
        assert_eq!(remarks, [(Some("n/bad".into()), true), (Some("n/odd".into()), false), (None, true)]);
    }

    #[test]
    fn pages_need_a_resource_version() {
        assert!(matches!(page(Kind::Pod, b"{\"items\":[]}"), Err(DecodeError::NoResourceVersion)));
        assert!(matches!(page(Kind::Pod, b"<html>"), Err(DecodeError::Format(_))));
        assert!(page(Kind::Pod, br#"{"metadata":{"resourceVersion":"1","continue":""},"items":null}"#).is_ok());
    }

    #[test]
    fn a_status_that_is_none_is_quoted() {
        assert_eq!(status(b"upstream\n timeout ").message, "upstream  timeout");
        let gone = status(br#"{"code":429,"reason":"TooManyRequests","details":{"retryAfterSeconds":7}}"#);
        assert_eq!(gone.retry_after_secs, Some(7));
    }

    fn any_kind() -> impl Strategy<Value = Kind> {
        prop::sample::select(Kind::ALL.to_vec())
    }

    proptest! {
        #[test]
        fn bytes_never_panic(kind in any_kind(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = page(kind, &bytes);
            let _ = frame(kind, &bytes);
            let _ = status(&bytes);
        }

        // Nearly right input reaches further than noise does.
        #[test]
        fn broken_frames_never_panic(kind in any_kind(), at in 0..WATCH.len(), byte: u8, drop in 0..4_usize) {
            let mut bytes = WATCH.as_bytes().to_vec();
            bytes[at] = byte;
            bytes.drain(at..(at + drop).min(bytes.len()));
            let mut buffer = FrameBuffer::default();
            buffer.push(&bytes);
            while let Ok(Some(cut)) = Format::Json.cut(&mut buffer) {
                let _ = frame(kind, &cut);
            }
        }
    }
}
