//! An object as the API server stores it, in protobuf, with some of its fields replaced.

use prost::bytes::Buf;
use prost::encoding::{decode_varint, encode_varint};

/// What an object's envelope begins with.
const MAGIC: &[u8] = b"k8s\0";
/// The object within the envelope (`Unknown` of apimachinery's `pkg/runtime`).
const RAW: u64 = 2;

/// Wire types (protobuf's "Encoding").
const VARINT: u64 = 0;
const EIGHT_OCTETS: u64 = 1;
const DELIMITED: u64 = 2;
const FOUR_OCTETS: u64 = 5;

/// A field, by the numbers of the messages that it is in and its own; and what it is to hold.
pub(crate) type Replacement<'r> = (&'r [u64], &'r str);

/// The stored object with these fields replaced. Panics where one of them is not there.
pub(crate) fn with(stored: &[u8], replacements: &[Replacement<'_>]) -> Vec<u8> {
    let bare = stored.strip_prefix(MAGIC).expect("an object in protobuf");
    let mut object = bare.to_vec();
    for (path, value) in replacements {
        let path: Vec<u64> = [RAW].iter().chain(*path).copied().collect();
        object = replaced(&object, &path, value);
    }
    [MAGIC, &object].concat()
}

fn replaced(message: &[u8], path: &[u64], value: &str) -> Vec<u8> {
    let (field, rest) = path.split_first().expect("a field");
    let mut out = Vec::with_capacity(message.len() + value.len());
    let (mut left, mut is_found) = (message, false);
    while left.has_remaining() {
        let before = left;
        let key = decode_varint(&mut left).expect("a field's key");
        let content = match key & 7 {
            VARINT => decode_varint(&mut left).map(|_| None).expect("a number"),
            EIGHT_OCTETS => take(&mut left, 8).and(None),
            FOUR_OCTETS => take(&mut left, 4).and(None),
            DELIMITED => {
                let length = decode_varint(&mut left).expect("a length");
                take(&mut left, length as usize)
            }
            other => panic!("wire type {other}"),
        };
        match content.filter(|_| key >> 3 == *field) {
            Some(content) => {
                let new = if rest.is_empty() { value.as_bytes().to_vec() } else { replaced(content, rest, value) };
                encode_varint(key, &mut out);
                encode_varint(new.len() as u64, &mut out);
                out.extend_from_slice(&new);
                is_found = true;
            }
            None => out.extend_from_slice(&before[..before.len() - left.len()]),
        }
    }
    assert!(is_found, "field {field} is not there");
    out
}

fn take<'m>(left: &mut &'m [u8], octets: usize) -> Option<&'m [u8]> {
    let (taken, rest) = left.split_at_checked(octets).expect("a whole message");
    *left = rest;
    Some(taken)
}
