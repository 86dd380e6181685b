//! A list in protobuf, taken apart while it arrives.
//!
//! ```text
//!  "k8s\0"  Unknown { typeMeta, raw: List { metadata, items: [object, object, ...] }, ... }
//! ```
//!
//! Every field on this way is a length and its bytes. Whole fields are taken from the front of what has arrived, so
//! that there is never more of a list in memory than one object and one piece of the network's; a length alone
//! makes nothing grow.

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};

use super::decode::{DecodeError, ListEnd};
use super::frames::FRAME_BYTES_MAX;
use super::protobuf::MAGIC;
use super::wire;

/// `raw` of `Unknown` of `pkg/runtime`.
const FIELD_RAW: u32 = 2;
/// `metadata` of every list.
const FIELD_METADATA: u32 = 1;
/// `items` of every list.
const FIELD_ITEMS: u32 = 2;

/// The bytes that a field's number and type, its length, or a number as its value, take at most.
const VARINT_BYTES_MAX: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Start,
    /// Between fields of the envelope.
    Envelope,
    /// Between fields of the list, of which so many bytes are to come.
    List(u64),
}

/// A list of which some has arrived.
#[derive(Debug)]
pub(super) struct ListBody {
    bytes: BytesMut,
    at: At,
    listed: bool,
    meta: wire::ListMeta,
}

/// The beginning of a field.
struct Head {
    number: u32,
    /// The bytes of the beginning.
    len: usize,
    /// The bytes of the value.
    value: u64,
}

impl ListBody {
    pub(super) fn new() -> Self {
        Self { bytes: BytesMut::new(), at: At::Start, listed: false, meta: wire::ListMeta::default() }
    }

    /// Appends what the network gave.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole object, or `None` while there is none.
    ///
    /// # Errors
    /// [`DecodeError`]; nothing that follows is of use.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, DecodeError> {
        loop {
            match self.at {
                At::Start => {
                    let Some(magic) = self.bytes.first_chunk::<{ MAGIC.len() }>() else { return Ok(None) };
                    if *magic != MAGIC {
                        return Err(malformed("a list without the envelope of protobuf"));
                    }
                    self.bytes.advance(MAGIC.len());
                    self.at = At::Envelope;
                }
                At::Envelope => {
                    let Some(head) = self.head()? else { return Ok(None) };
                    if head.number == FIELD_RAW && !self.listed {
                        self.bytes.advance(head.len);
                        self.listed = true;
                        self.at = At::List(head.value);
                    } else if self.value(&head)?.is_none() {
                        return Ok(None);
                    }
                }
                At::List(0) => self.at = At::Envelope,
                At::List(left) => {
                    let Some(head) = self.head()? else { return Ok(None) };
                    let whole = head.value.saturating_add(head.len as u64);
                    let Some(rest) = left.checked_sub(whole) else {
                        return Err(malformed("an object that is longer than its list"));
                    };
                    let Some(value) = self.value(&head)? else { return Ok(None) };
                    self.at = At::List(rest);
                    match head.number {
                        FIELD_METADATA => self.meta = wire::ListMeta::decode(value).map_err(malformed)?,
                        FIELD_ITEMS => return Ok(Some(value)),
                        _ => {}
                    }
                }
            }
        }
    }

    /// What the list says beside its objects.
    ///
    /// # Errors
    /// [`DecodeError`] where the body is not at an end.
    pub(super) fn finish(self) -> Result<ListEnd, DecodeError> {
        if self.at != At::Envelope || !self.listed || !self.bytes.is_empty() {
            return Err(malformed("a list that breaks off"));
        }
        ListEnd::new(self.meta.resource_version, self.meta.r#continue)
    }

    /// The beginning of the next field; `None` while it is incomplete.
    fn head(&self) -> Result<Option<Head>, DecodeError> {
        let mut rest = &self.bytes[..self.bytes.len().min(2 * VARINT_BYTES_MAX)];
        let all = rest.len();
        let Some((number, wire_type)) = whole(&mut rest, |rest| decode_key(rest))? else { return Ok(None) };
        let value = match wire_type {
            WireType::LengthDelimited => match whole(&mut rest, |rest| decode_varint(rest))? {
                Some(length) => length,
                None => return Ok(None),
            },
            WireType::Varint => {
                let mut after = rest;
                if whole(&mut after, |rest| decode_varint(rest))?.is_none() {
                    return Ok(None);
                }
                (rest.len() - after.len()) as u64
            }
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::StartGroup | WireType::EndGroup => return Err(malformed("a group, which no list has")),
        };
        Ok(Some(Head { number, len: all - rest.len(), value }))
    }

    /// Takes a field off the front and gives its value; `None` while it is incomplete.
    fn value(&mut self, head: &Head) -> Result<Option<Bytes>, DecodeError> {
        let value = usize::try_from(head.value).unwrap_or(usize::MAX);
        if value > FRAME_BYTES_MAX {
            return Err(DecodeError::FrameTooLong);
        }
        if self.bytes.len() < head.len + value {
            return Ok(None);
        }
        self.bytes.advance(head.len);
        Ok(Some(self.bytes.split_to(value).freeze()))
    }
}

/// Reads a number of variable length: `None` while its end has not arrived.
fn whole<T>(
    rest: &mut &[u8],
    read: impl FnOnce(&mut &[u8]) -> Result<T, prost::DecodeError>,
) -> Result<Option<T>, DecodeError> {
    let mut trial = *rest;
    match read(&mut trial) {
        Ok(value) => {
            *rest = trial;
            Ok(Some(value))
        }
        // Seven bits a byte, and the last has its top bit clear.
        Err(_) if rest.len() < VARINT_BYTES_MAX && rest.iter().all(|byte| byte & 0x80 != 0) => Ok(None),
        Err(error) => Err(malformed(error)),
    }
}

fn malformed(what: impl ToString) -> DecodeError {
    DecodeError::Format(what.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn field(number: u8, value: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2];
        prost::encoding::encode_varint(value.len() as u64, &mut field);
        [field, value.to_vec()].concat()
    }

    fn list(fields: &[Vec<u8>]) -> Vec<u8> {
        let type_meta = field(1, b"\x0a\x02v1\x12\x0bServiceList");
        let content_type = field(4, b"");
        [MAGIC.to_vec(), type_meta, field(2, &fields.concat()), field(3, b""), content_type].concat()
    }

    fn meta() -> Vec<u8> {
        let meta = wire::ListMeta { resource_version: Some("12".into()), r#continue: Some("abc".into()) };
        field(1, &meta.encode_to_vec())
    }

    fn read(pieces: &[&[u8]]) -> Result<(Vec<Bytes>, ListEnd), DecodeError> {
        let mut list = ListBody::new();
        let mut items = Vec::new();
        for piece in pieces {
            list.push(piece);
            while let Some(item) = list.next()? {
                items.push(item);
            }
        }
        Ok((items, list.finish()?))
    }

    #[test]
    fn objects_come_out_whole_wherever_the_network_cuts() {
        let long = vec![7; 300];
        // A number, eight and four bytes stand for fields that a newer API server may add.
        let others = [vec![5 << 3, 0x96, 0x01], [vec![6 << 3 | 1], vec![0; 8]].concat(), vec![7 << 3 | 5, 0, 0, 0, 0]];
        let body = list(&[meta(), field(2, b"one"), others.concat(), field(2, &long), field(9, b"x"), field(2, b"")]);
        let whole = read(&[&body]).unwrap();
        assert_eq!(whole.0, [&b"one"[..], &long, b""]);
        assert_eq!((&*whole.1.resource_version, whole.1.next.as_deref()), ("12", Some("abc")));
        for at in 0..=body.len() {
            assert_eq!(read(&[&body[..at], &body[at..]]).unwrap(), whole, "cut at {at}");
        }
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(read(&bytes).unwrap(), whole);
    }

    #[test]
    fn objects_are_given_before_the_list_is_complete_and_do_not_stay() {
        let body = list(&[meta(), field(2, &[1; 1000]), field(2, &[2; 1000])]);
        let mut list = ListBody::new();
        list.push(&body[..1100]);
        assert_eq!(list.next().unwrap().unwrap(), vec![1; 1000]);
        assert!(list.next().unwrap().is_none());
        assert!(list.bytes.len() < 100);
    }

    #[test]
    fn a_list_that_breaks_off_is_no_list() {
        let body = list(&[meta(), field(2, b"one")]);
        // The envelope's two empty fields, four bytes, may be missing, but not in the middle.
        for at in (0..body.len() - 4).chain([body.len() - 3, body.len() - 1]) {
            assert!(read(&[&body[..at]]).is_err(), "cut at {at}");
        }
        assert!(matches!(read(&[&list(&[field(2, b"one")])]), Err(DecodeError::NoResourceVersion)));
        assert!(read(&[b"<html>"]).is_err());
    }

    #[test]
    fn an_absurd_length_is_an_error_before_anything_follows() {
        let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        // The list says that it is huge, and then an object of it does.
        let mut body = [&MAGIC[..], &[2 << 3 | 2], &huge].concat();
        let mut list = ListBody::new();
        list.push(&body);
        assert!(list.next().unwrap().is_none());
        assert!(list.bytes.capacity() < 1024);
        body.extend([2 << 3 | 2, 0xff, 0xff, 0xff, 0x7f]);
        assert!(matches!(read(&[&body]), Err(DecodeError::FrameTooLong)));
        // An object that is longer than its list.
        assert!(matches!(read(&[&MAGIC, &[2 << 3 | 2, 5, 2 << 3 | 2, 4]]), Err(DecodeError::Format(_))));
        // A number that does not end.
        assert!(matches!(read(&[&MAGIC, &[0xff; 11]]), Err(DecodeError::Format(_))));
    }
}
