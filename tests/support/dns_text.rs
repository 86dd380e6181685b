//! Names, types and data between their wire form and their presentation form.

use super::dns;
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

const TYPES: &[(u16, &str)] = &[
    (dns::A, "A"),
    (dns::NS, "NS"),
    (dns::CNAME, "CNAME"),
    (dns::SOA, "SOA"),
    (dns::PTR, "PTR"),
    (dns::HINFO, "HINFO"),
    (dns::MX, "MX"),
    (dns::TXT, "TXT"),
    (dns::AAAA, "AAAA"),
    (dns::SRV, "SRV"),
    (39, "DNAME"),
    (dns::OPT, "OPT"),
    (dns::DS, "DS"),
    (dns::HTTPS, "HTTPS"),
    (dns::IXFR, "IXFR"),
    (dns::AXFR, "AXFR"),
    (dns::ANY, "ANY"),
];

const RCODES: [&str; 6] = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];

pub fn type_text(rtype: u16) -> String {
    TYPES.iter().find(|(code, _)| *code == rtype).map_or_else(|| format!("TYPE{rtype}"), |(_, text)| (*text).to_owned())
}

pub fn rcode_text(rcode: u16) -> String {
    match RCODES.get(usize::from(rcode)) {
        Some(text) => (*text).to_owned(),
        None if rcode == dns::BADVERS => "BADVERS".to_owned(),
        None => format!("RCODE{rcode}"),
    }
}

/// A name from its presentation form: `\.` and `\DDD` escape; the final dot may be left out.
pub fn parse_name(text: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut label = Vec::new();
    let mut input = text.bytes();
    while let Some(byte) = input.next() {
        match byte {
            b'.' => end_label(&mut wire, &mut label),
            b'\\' => match input.next().expect("a byte after the backslash") {
                first @ b'0'..=b'9' => {
                    let digits = [first, input.next().expect("three digits"), input.next().expect("three digits")];
                    let number = String::from_utf8_lossy(&digits).into_owned();
                    label.push(number.parse().unwrap_or_else(|_| panic!("\\{number} in {text}")));
                }
                other => label.push(other),
            },
            _ => label.push(byte),
        }
    }
    end_label(&mut wire, &mut label);
    wire.push(0);
    wire
}

fn end_label(wire: &mut Vec<u8>, label: &mut Vec<u8>) {
    if !label.is_empty() {
        // A label of 64 bytes and more cannot be written; tests of such bytes build them by hand.
        assert!(label.len() < 64, "a label of {} bytes", label.len());
        wire.push(label.len() as u8);
        wire.append(label);
    }
}

/// The presentation form of a name in wire form, with the final dot.
pub fn wire_name_text(wire: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = wire;
    while let Some((&length, after)) = rest.split_first() {
        if length == 0 {
            break;
        }
        let (label, next) = after.split_at(usize::from(length).min(after.len()));
        for &byte in label {
            match byte {
                b'.' | b'\\' => text.extend(['\\', byte.into()]),
                0x21..=0x7e => text.push(byte.into()),
                _ => write!(text, "\\{byte:03}").expect("a string"),
            }
        }
        text.push('.');
        rest = next;
    }
    if text.is_empty() { ".".to_owned() } else { text }
}

/// Data in presentation form; RFC 3597's form for other types, and for data that does not have its type's shape.
pub fn rdata_text(rtype: u16, rdata: &[u8]) -> String {
    known(rtype, rdata).unwrap_or_else(|| {
        let hex: String = rdata.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("\\# {} {hex}", rdata.len())
    })
}

fn known(rtype: u16, rdata: &[u8]) -> Option<String> {
    let word = |at: usize| Some(u16::from_be_bytes(rdata.get(at..at + 2)?.try_into().ok()?));
    match rtype {
        dns::A => Some(Ipv4Addr::from(<[u8; 4]>::try_from(rdata).ok()?).to_string()),
        dns::AAAA => Some(Ipv6Addr::from(<[u8; 16]>::try_from(rdata).ok()?).to_string()),
        dns::NS | dns::CNAME | dns::PTR | 39 => Some(wire_name_text(rdata)),
        dns::MX => Some(format!("{} {}", word(0)?, wire_name_text(rdata.get(2..)?))),
        dns::SRV => Some(format!("{} {} {} {}", word(0)?, word(2)?, word(4)?, wire_name_text(rdata.get(6..)?))),
        dns::TXT => strings(rdata),
        dns::SOA => {
            let (names, numbers) = rdata.split_at(rdata.len().checked_sub(20)?);
            let mut text = format!("{} {}", wire_name_text(names), wire_name_text(names.get(name_length(names)?..)?));
            for number in numbers.chunks_exact(4) {
                write!(text, " {}", u32::from_be_bytes(number.try_into().ok()?)).ok()?;
            }
            Some(text)
        }
        _ => None,
    }
}

fn name_length(wire: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match *wire.get(at)? {
            0 => return Some(at + 1),
            length => at += 1 + usize::from(length),
        }
    }
}

fn strings(mut rest: &[u8]) -> Option<String> {
    let mut texts = Vec::new();
    while let Some((&length, after)) = rest.split_first() {
        let (string, next) = after.split_at_checked(length.into())?;
        let mut text = String::new();
        for &byte in string {
            match byte {
                b'"' | b'\\' => text.extend(['\\', byte.into()]),
                0x20..=0x7e => text.push(byte.into()),
                _ => write!(text, "\\{byte:03}").ok()?,
            }
        }
        texts.push(format!("\"{text}\""));
        rest = next;
    }
    Some(texts.join(" "))
}
