//! Any bytes as an API server's answer: lists and watches of every kind, in both formats. Where the network cuts them
//! changes nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use podzone::model::{Event, Kind};
use podzone::source::{read_list, read_watch};

const FORMATS: [&str; 2] = ["application/json", "application/vnd.kubernetes.protobuf"];

type Read = fn(Kind, &str, &[&[u8]]) -> Result<Vec<Event>, String>;

fuzz_target!(|input: &[u8]| {
    // The first octet chooses what the rest is, the second where it is cut.
    let [what, cut, body @ ..] = input else { return };
    let kind = Kind::ALL[usize::from(*what) % Kind::ALL.len()];
    let format = FORMATS[usize::from(what >> 2) % FORMATS.len()];
    let read: Read = if what & 8 == 0 { read_list } else { read_watch };
    let whole = read(kind, format, &[body]);
    let (head, tail) = body.split_at(usize::from(*cut).min(body.len()));
    assert_eq!(read(kind, format, &[head, tail]), whole);
    // Each object takes octets of its own.
    assert!(whole.is_ok_and(|events| events.len() <= body.len() + 2) || read(kind, format, &[body]).is_err());
});
