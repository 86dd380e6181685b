//! Packets that no client should send, each with what must come back.

use super::support::dns::{self, A, Query};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// What comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing.
    Silence,
    /// An answer with this response code.
    Code(u16),
    /// Nothing, or any answer to it.
    Any,
}

use Reply::{Any, Code, Silence};

pub struct Packet {
    pub what: String,
    pub octets: Vec<u8>,
    pub reply: Reply,
}

pub const KNOWN: &str = "web.a.svc.cluster.local.";

/// The largest datagram of IPv4.
const DATAGRAM_MAX: usize = 65_507;

fn header(flags: u16, counts: [u16; 4]) -> Vec<u8> {
    [7, flags].into_iter().chain(counts).flat_map(u16::to_be_bytes).collect()
}

/// A header for one question, and what follows it.
fn question(octets: &[u8]) -> Vec<u8> {
    [&header(0x0100, [1, 0, 0, 0])[..], octets].concat()
}

fn label(length: u8) -> Vec<u8> {
    [vec![length], vec![b'x'; length.into()]].concat()
}

/// The cases that have a name.
pub fn named() -> Vec<Packet> {
    let known = Query::new(KNOWN, A).id(7).to_bytes();
    let with = |flags: u16, counts: [u16; 4]| [&header(flags, counts)[..], &known[12..]].concat();
    let end = [0, 1, 0, 1];
    let mut packets = Vec::new();
    let mut add = |what: &str, octets: Vec<u8>, reply| packets.push(Packet { what: what.into(), octets, reply });

    for length in 0..12 {
        add(&format!("{length} octets"), known[..length].to_vec(), Silence);
    }
    add("a header alone", header(0x0100, [1, 0, 0, 0]), Code(dns::SERVFAIL));
    for length in 13..known.len() {
        add(&format!("a query cut at {length}"), known[..length].to_vec(), Any);
    }
    for length in [12, 13, 511, 512, 513, 1232, 4096, 9000, 16_384, 65_000, DATAGRAM_MAX] {
        add(&format!("{length} zeros"), vec![0; length], Code(dns::FORMERR));
        add(&format!("{length} octets of ones"), vec![0xff; length], Silence);
        let mut long = known.clone();
        long.resize(length.max(known.len()), 0);
        add(&format!("a query with zeros up to {length}"), long, Code(dns::NOERROR));
    }
    add("a name that points to itself", question(&[&[0xc0, 12][..], &end].concat()), Code(dns::FORMERR));
    add("a name that points ahead", question(&[&[0xc0, 18][..], &end, &[0xc0, 12]].concat()), Code(dns::FORMERR));
    add("a label, then a loop", question(&[&[1, b'a', 0xc0, 12][..], &end].concat()), Code(dns::FORMERR));
    let record = |name: &[u8]| [&known[12..], name, &[0, 41, 4, 208, 0, 0, 0, 0, 0, 0]].concat();
    for (what, name) in [("itself", 37_u8), ("the header", 0), ("nowhere", 255)] {
        let octets = [header(0x0100, [1, 0, 0, 1]), record(&[0xc0, name])].concat();
        add(&format!("a record's name that points to {what}"), octets, Any);
    }
    for length in [64, 65, 127, 128, 191] {
        add(&format!("a label of {length}"), question(&[&label(length)[..], &[0], &end].concat()), Code(dns::FORMERR));
    }
    for labels in [4, 5, 100, 1000] {
        let name = [label(63).repeat(labels), vec![0]].concat();
        add(&format!("{labels} labels of 63"), question(&[&name[..], &end].concat()), Code(dns::FORMERR));
    }
    let longest = [label(63).repeat(3), label(61), vec![0]].concat();
    add("a name of 255", question(&[&longest[..], &end].concat()), Code(dns::REFUSED));
    let longer = [label(63).repeat(3), label(62), vec![0]].concat();
    add("a name of 256", question(&[&longer[..], &end].concat()), Code(dns::FORMERR));
    add("127 labels", question(&[&label(1).repeat(127)[..], &[0], &end].concat()), Code(dns::REFUSED));
    add("a name without an end", question(&label(63).repeat(2)), Code(dns::FORMERR));
    for counts in [[0; 4], [2, 0, 0, 0], [65_535; 4], [1, 65_535, 0, 0], [1, 0, 65_535, 0], [1, 0, 0, 65_535]] {
        add(&format!("counts {counts:?}"), with(0x0100, counts), Code(dns::FORMERR));
    }
    add("counts that promise little more", with(0x0100, [1, 1, 1, 2]), Code(dns::NOERROR));
    let twice = [&with(0x0100, [2, 0, 0, 0])[..], &known[12..]].concat();
    add("two questions", twice, Code(dns::FORMERR));
    add("a response", with(0x8180, [1, 0, 0, 0]), Silence);
    for opcode in 0..16 {
        let reply = Code(if matches!(opcode, 0 | 4) { dns::NOERROR } else { dns::NOTIMP });
        add(&format!("opcode {opcode}"), with(opcode << 11, [1, 0, 0, 0]), reply);
        add(&format!("a response of opcode {opcode}"), with(opcode << 11 | 0x8000, [1, 0, 0, 0]), Silence);
    }
    let opt = |length: u16| [&[0, 0, 41, 4, 208, 0, 0, 0, 0][..], &length.to_be_bytes()].concat();
    let edns = |opt: Vec<u8>| [with(0x0100, [1, 0, 0, 1]), opt].concat();
    add("an OPT that promises more", edns(opt(65_535)), Code(dns::FORMERR));
    add("an option that promises more", edns([opt(4), vec![0, 10, 255, 255]].concat()), Code(dns::FORMERR));
    add("half an option", edns([opt(3), vec![0, 10, 0]].concat()), Code(dns::FORMERR));
    packets
}

/// Random octets, half of them behind the header of a query; the same at each run.
pub fn random(count: usize) -> Vec<Packet> {
    let mut dice = StdRng::seed_from_u64(53);
    let mut packet = |number: usize| {
        let length =
            if number.is_multiple_of(50) { dice.random_range(0..=DATAGRAM_MAX) } else { dice.random_range(0..600) };
        let mut octets: Vec<u8> = (0..length).map(|_| dice.random()).collect();
        if number.is_multiple_of(2) {
            let query = question(&[]);
            let covered = query.len().min(octets.len());
            octets[..covered].copy_from_slice(&query[..covered]);
        }
        Packet { what: format!("random {number}"), octets, reply: Any }
    };
    (0..count).map(&mut packet).collect()
}
