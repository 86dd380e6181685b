//! Signatures against each other, and against octets that were signed elsewhere.

use std::sync::Arc;

use super::*;
use crate::zone::Name;

const NOW: u64 = 1_700_000_000;

fn key(name: &str) -> Key {
    key_of(name, Algorithm::Sha256)
}

fn key_of(name: &str, algorithm: Algorithm) -> Key {
    Key::new(Name::parse(name).expect("a name"), algorithm, b"a secret of two".to_vec())
}

fn ring() -> Keyring {
    [key("one.key"), Key::new(Name::parse("other.key").expect("a name"), Algorithm::Sha512, vec![7; 20])]
        .into_iter()
        .collect()
}

fn query() -> Vec<u8> {
    [&[0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], b"\x07cluster\x05local\0", &[0, 252, 0, 1]].concat()
}

/// A signed query, and where its signature begins.
fn signed(key: Key, at: u64) -> (Vec<u8>, usize, Signer) {
    let mut message = query();
    let start = message.len();
    let mut signer = Signer::new(&Arc::new(key));
    signer.sign(&mut message, at);
    assert_eq!(message[11], 1, "one additional record");
    (message, start, signer)
}

fn reason(result: Result<Signer, Failure>) -> &'static str {
    match result {
        Ok(_) => "good",
        Err(Failure::Malformed) => "malformed",
        Err(Failure::Refused(refusal)) => refusal.reason(),
    }
}

#[test]
fn what_was_signed_is_good_for_a_while() {
    for algorithm in Algorithm::ALL {
        let (message, start, signer) = signed(key_of("one.key", algorithm), NOW);
        assert!(message.len() - start <= signer.octets());
        for (seconds, expected) in [(0, "good"), (300, "good"), (301, "BADTIME")] {
            assert_eq!(reason(verify(&message, start, &ring(), NOW + seconds)), expected, "{algorithm:?}, {seconds} s");
            assert_eq!(
                reason(verify(&message, start, &ring(), NOW - seconds)),
                expected,
                "{algorithm:?}, -{seconds} s"
            );
        }
    }
}

#[test]
fn an_answer_is_bound_to_its_query() {
    let (message, start, asked) = signed(key("one.key"), NOW);
    let mut answer = query();
    answer[2] |= 0x80;
    let reply_start = answer.len();
    let mut verified = verify(&message, start, &ring(), NOW).expect("good");
    verified.sign(&mut answer, NOW);
    assert!(verify_reply(&answer, reply_start, &asked, NOW));
    assert!(!verify_reply(&answer, reply_start, &asked, NOW + 1000));
    let (_, _, other) = signed(key("one.key"), NOW + 1);
    assert!(!verify_reply(&answer, reply_start, &other, NOW), "of another query");
    answer[3] ^= 1;
    assert!(!verify_reply(&answer, reply_start, &asked, NOW), "of another answer");
}

#[test]
fn whatever_is_changed_is_noticed() {
    let (message, start, _) = signed(key("one.key"), NOW);
    for at in 0..message.len() {
        let mut changed = message.clone();
        changed[at] ^= 0x04;
        let told = reason(verify(&changed, start, &ring(), NOW));
        // The ID of a message may change on its way; the one that was signed stands in the record.
        let expected = if at < 2 { &["good"][..] } else { &["BADSIG", "BADKEY", "malformed"] };
        assert!(expected.contains(&told), "octet {at}: {told}");
    }
    for octets in start..message.len() {
        assert_eq!(reason(verify(&message[..octets], start, &ring(), NOW)), "malformed", "{octets} octets");
    }
}

#[test]
fn a_key_that_is_not_known_is_refused_without_a_signature() {
    let (message, start, _) = signed(key("third.key"), NOW);
    let Err(Failure::Refused(refusal)) = verify(&message, start, &ring(), NOW) else { panic!("a refusal") };
    assert_eq!(refusal.reason(), "BADKEY");
    let mut answer = query();
    let at = answer.len();
    refusal.append_to(&mut answer, NOW);
    let record = TsigRecord::parse(&answer, at).expect("a record");
    assert_eq!((record.mac, record.error), (&[][..], 17));
}

#[test]
fn a_late_query_is_told_the_time_under_a_signature() {
    let (message, start, _) = signed(key("one.key"), NOW);
    let Err(Failure::Refused(refusal)) = verify(&message, start, &ring(), NOW + 5000) else { panic!("a refusal") };
    let mut answer = query();
    let at = answer.len();
    refusal.append_to(&mut answer, NOW + 5000);
    let record = TsigRecord::parse(&answer, at).expect("a record");
    assert_eq!((record.error, record.time, record.mac.len()), (18, NOW, 32));
    assert_eq!(record.other, &(NOW + 5000).to_be_bytes()[2..]);
}

#[test]
fn a_shortened_signature_is_told_so_and_a_shorter_one_is_malformed() {
    let (message, start, _) = signed(key("one.key"), NOW);
    let shorten = |octets: usize| {
        let record = TsigRecord::parse(&message, start).expect("a record");
        let mut short = message[..start].to_vec();
        short[11] = 0;
        let variables = sign::Variables {
            name: &record.name,
            algorithm: &record.algorithm,
            time: record.time,
            fudge: record.fudge,
            error: 0,
            other: &[],
        };
        variables.append_to(&mut short, &record.mac[..octets]);
        reason(verify(&short, start, &ring(), NOW))
    };
    assert_eq!([31, 16, 15, 0].map(shorten), ["BADTRUNC", "BADTRUNC", "malformed", "malformed"]);
}
