//! The API's JSON.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::decode::{Change, DecodeError, Decoder, Frame, Page, Remark, Status};
use super::frames::FrameBuffer;
use super::lean::{Lean, MetaOnly};
use crate::model::{Kind, Object};

/// `application/json`: lists as one object, watches as one object a line.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Json;

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

impl Decoder for Json {
    fn accept(&self) -> &'static str {
        "application/json"
    }

    // The API server's serializer ends each event with a line feed, and compact JSON has none inside (it indents
    // only for `?pretty` and for user agents of browsers and curl).
    fn cut(&self, buffer: &mut FrameBuffer) -> Result<Option<Bytes>, DecodeError> {
        buffer.take_line()
    }

    fn page(&self, kind: Kind, body: &[u8]) -> Result<Page, DecodeError> {
        let raw: RawPage<'_> = serde_json::from_slice(body).map_err(|error| DecodeError::Format(error.to_string()))?;
        let meta = raw.metadata.unwrap_or_default();
        let resource_version =
            meta.resource_version.filter(|version| !version.is_empty()).ok_or(DecodeError::NoResourceVersion)?;
        let items = raw.items.unwrap_or_default();
        let mut page = Page {
            objects: Vec::with_capacity(items.len()),
            remarks: Vec::new(),
            resource_version,
            next: meta.r#continue.filter(|token| !token.is_empty()),
        };
        for item in items {
            let (object, _) = read(kind, item, &mut page.remarks);
            page.objects.extend(object);
        }
        Ok(page)
    }

    fn frame(&self, kind: Kind, frame: &[u8]) -> Result<Frame, DecodeError> {
        let raw: RawFrame<'_> =
            serde_json::from_slice(frame).map_err(|error| DecodeError::Format(error.to_string()))?;
        let mut remarks = Vec::new();
        let (change, resource_version) = match &*raw.r#type {
            "ADDED" | "MODIFIED" => {
                let (object, version) = read(kind, raw.object, &mut remarks);
                (object.map_or(Change::Skip, Change::Apply), version)
            }
            // Only the name matters, so that an object that became unreadable can still be deleted.
            "DELETED" => match meta(raw.object) {
                Ok(meta) => {
                    let version = meta.metadata.resource_version.as_deref().map(str::to_owned);
                    (meta.metadata.key().map_or(Change::Skip, Change::Delete), version)
                }
                Err(error) => {
                    remarks.push(Remark { key: None, text: error.to_string(), whole: true });
                    (Change::Skip, None)
                }
            },
            "BOOKMARK" => {
                let version = meta(raw.object).ok().and_then(|meta| meta.metadata.resource_version);
                (Change::Bookmark, version.map(String::from))
            }
            "ERROR" => (Change::Error(status(raw.object.get().as_bytes())), None),
            other => {
                remarks.push(Remark { key: None, text: format!("unknown type of event {other:?}"), whole: true });
                (Change::Skip, None)
            }
        };
        Ok(Frame { resource_version: resource_version.filter(|version| !version.is_empty()), change, remarks })
    }
}

/// Reads a `v1` Status; what is no Status gives an empty one with the text as its message. The API server answers
/// errors in JSON whatever was asked for.
pub(super) fn status(body: &[u8]) -> Status {
    match serde_json::from_slice::<RawStatus>(body) {
        Ok(raw) => Status {
            code: raw.code.unwrap_or_default(),
            reason: raw.reason.unwrap_or_default(),
            message: raw.message.unwrap_or_default(),
            retry_after_secs: raw.details.and_then(|details| details.retry_after_seconds),
        },
        Err(_) => {
            let text = String::from_utf8_lossy(body);
            let message = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
            Status { message, ..Status::default() }
        }
    }
}

fn meta(object: &RawValue) -> Result<MetaOnly, serde_json::Error> {
    serde_json::from_str(object.get())
}

/// Reads an object and its resource version; what is wrong with it goes to `remarks`.
fn read(kind: Kind, object: &RawValue, remarks: &mut Vec<Remark>) -> (Option<Object>, Option<String>) {
    let lean = match Lean::deserialize(kind, &mut serde_json::Deserializer::from_str(object.get())) {
        Ok(lean) => lean,
        Err(error) => {
            let meta = meta(object).unwrap_or_default().metadata;
            remarks.push(Remark { key: meta.key(), text: error.to_string(), whole: true });
            return (None, meta.resource_version.map(String::from));
        }
    };
    let version = lean.meta().resource_version.as_deref().map(str::to_owned);
    let key = lean.meta().key();
    let mut notes = Vec::new();
    let object = match lean.into_object(&mut notes) {
        Ok(object) => Some(object),
        Err(error) => {
            remarks.push(Remark { key: key.clone(), text: error.to_string(), whole: true });
            None
        }
    };
    remarks.extend(notes.into_iter().map(|text| Remark { key: key.clone(), text, whole: false }));
    (object, version)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::ObjectKey;

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
            while let Some(frame) = Json.cut(&mut buffer).unwrap() {
                seen.push(format!("{:?}", Json.frame(Kind::Service, &frame).unwrap()));
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
        let read: Vec<Frame> = WATCH.lines().map(|line| Json.frame(Kind::Service, line.as_bytes()).unwrap()).collect();
        let versions: Vec<Option<&str>> = read.iter().map(|frame| frame.resource_version.as_deref()).collect();
        assert_eq!(versions, [Some("5"), Some("6"), Some("7"), Some("9"), None]);
        assert!(matches!(&read[0].change, Change::Apply(Object::Service(_))));
        assert!(matches!(&read[1].change, Change::Skip));
        assert_eq!(read[1].remarks[0].key, Some(ObjectKey::new("n", "b")));
        assert!(matches!(&read[2].change, Change::Delete(key) if *key == ObjectKey::new("n", "b")));
        assert!(matches!(&read[3].change, Change::Bookmark));
        assert!(matches!(&read[4].change, Change::Error(status) if status.is_gone()));
    }

    #[test]
    fn a_malformed_item_leaves_the_rest_of_its_page() {
        let body = br#"{"kind":"ServiceList","metadata":{"resourceVersion":"12","continue":"abc"},"items":[
            {"metadata":{"name":"good","namespace":"n"},"spec":{"clusterIP":"10.0.0.1"}},
            {"metadata":{"name":"bad","namespace":"n"},"spec":{"ports":[{"port":70000}]}},
            {"metadata":{"name":"odd","namespace":"n"},"spec":{"clusterIP":"10.0.0"}},
            17]}"#;
        let page = Json.page(Kind::Service, body).unwrap();
        assert_eq!((page.objects.len(), page.resource_version.as_str()), (2, "12"));
        assert_eq!(page.next.as_deref(), Some("abc"));
        let remarks: Vec<(Option<String>, bool)> =
            page.remarks.iter().map(|r| (r.key.as_ref().map(ToString::to_string), r.whole)).collect();
        assert_eq!(remarks, [(Some("n/bad".into()), true), (Some("n/odd".into()), false), (None, true)]);
    }

    #[test]
    fn pages_need_a_resource_version() {
        assert!(matches!(Json.page(Kind::Pod, b"{\"items\":[]}"), Err(DecodeError::NoResourceVersion)));
        assert!(matches!(Json.page(Kind::Pod, b"<html>"), Err(DecodeError::Format(_))));
        assert!(Json.page(Kind::Pod, br#"{"metadata":{"resourceVersion":"1","continue":""},"items":null}"#).is_ok());
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
            let _ = Json.page(kind, &bytes);
            let _ = Json.frame(kind, &bytes);
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
            while let Ok(Some(frame)) = Json.cut(&mut buffer) {
                let _ = Json.frame(kind, &frame);
            }
        }
    }
}
