//! The annotations that are read: when a slice was written, and what a Service says of its names. All others, which may be
//! long, are skipped while they are read.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use prost::Message as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::decode::LAST_CHANGE;
use super::wire;
use crate::model::{ANNOTATION_PREFIX, Settings};

/// Those of an object in JSON or YAML.
#[derive(Debug, Default)]
pub(super) struct Annotations {
    /// [`LAST_CHANGE`]
    pub(super) last_change: Option<Box<str>>,
    /// Those of podzone.
    own: Vec<(Box<str>, Box<str>)>,
}

impl Annotations {
    /// What they say of a Service.
    pub(super) fn settings(&self, notes: &mut Vec<String>) -> Option<Box<Settings>> {
        Settings::read(self.own.iter().map(|(key, value)| (&**key, &**value)), notes)
    }
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Annotations;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of annotations")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations, A::Error> {
                let mut read = Annotations::default();
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    if key == LAST_CHANGE {
                        read.last_change = map.next_value()?;
                    } else if key.starts_with(ANNOTATION_PREFIX) {
                        read.own.push((key.into(), map.next_value()?));
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(read)
            }
        }

        from.deserialize_map(Reader)
    }
}

/// What a Service in protobuf says. Its metadata are read once more for that, and nothing else of it; an annotation is
/// a part of what came until it is known to be ours.
pub(super) fn of_service(object: Bytes, notes: &mut Vec<String>) -> Option<Box<Settings>> {
    let metadata = wire::AnnotatedService::decode(object).ok()?.metadata?;
    let entries = metadata.annotations.into_iter().filter_map(|entry| wire::Annotation::decode(entry).ok());
    let own: Vec<(String, String)> = entries
        .filter(|entry| entry.key.starts_with(ANNOTATION_PREFIX.as_bytes()))
        .map(|entry| [entry.key, entry.value].map(|text| String::from_utf8_lossy(&text).into_owned()).into())
        .collect();
    Settings::read(own.iter().map(|(key, value)| (&**key, &**value)), notes)
}
