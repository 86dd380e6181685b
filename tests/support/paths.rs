//! The fast path and the general path: one query, the same answer. Used by tests and by a fuzz target.

use hickory_proto::op::Message;
use hickory_proto::rr::Record;
use podzone::answer::{Client, Deferred, Outcome, Responder, Transport};

/// What must be equal of two answers: all but the records' order, and how names are compressed.
#[derive(Debug, PartialEq)]
struct Essence {
    header: [u8; 4],
    question: Vec<u8>,
    sections: [Vec<String>; 3],
    edns: String,
}

/// Answers a query on both paths and compares; whether the fast path answered it at all.
pub(crate) fn agree(responder: &Responder, query: &[u8]) -> bool {
    let fast = [Transport::Udp, Transport::Tcp].map(|transport| agree_over(responder, query, transport));
    assert_eq!(fast[0], fast[1], "answered at once over one transport only: {query:02x?}");
    fast[0]
}

fn agree_over(responder: &Responder, query: &[u8], transport: Transport) -> bool {
    let (mut fast, mut composed) = (Vec::new(), Vec::new());
    let client = Client::unknown(transport);
    let Some(at_once) = responder.respond_at_once(query, client, &mut fast) else { return false };
    let slowly = responder.respond_composed(query, client, &mut composed);
    match (at_once, slowly) {
        (Outcome::Ignored, Outcome::Ignored) | (Outcome::Dropped(_), Outcome::Dropped(_)) => {}
        (Outcome::Deferred(one), Outcome::Deferred(other)) => {
            let asked = |deferred: Deferred| {
                let lookups = deferred.lookups.into_iter();
                lookups.map(|lookup| (lookup.block, lookup.forward, lookup.then, lookup.query)).collect::<Vec<_>>()
            };
            assert_eq!(asked(one), asked(other), "{query:02x?}");
        }
        (
            Outcome::Answered(one) | Outcome::Refreshing(one, _),
            Outcome::Answered(other) | Outcome::Refreshing(other, _),
        ) => {
            assert_eq!((one.block, one.rcode, one.flags), (other.block, other.rcode, other.flags), "{query:02x?}");
            // What fits depends on how names are compressed.
            let is_cut = |answer: &[u8]| answer[2] & 2 != 0;
            if transport == Transport::Tcp || !is_cut(&fast) && !is_cut(&composed) {
                assert_eq!(essence(&fast), essence(&composed), "{query:02x?}");
            }
        }
        (at_once, slowly) => panic!("{at_once:?}, composed {slowly:?}: {query:02x?}"),
    }
    true
}

fn essence(answer: &[u8]) -> Essence {
    let message = Message::from_vec(answer).unwrap_or_else(|error| panic!("{error}: {answer:02x?}"));
    let sorted = |records: &[Record]| {
        let mut texts: Vec<String> = records.iter().map(Record::to_string).collect();
        texts.sort();
        texts
    };
    let question = message.queries.first().map_or(0, |_| {
        let name = answer[12..].iter().scan(0usize, |left, octet| {
            // Every octet up to the root's.
            if *left == 0 {
                *left = usize::from(*octet);
                return (*octet != 0).then_some(());
            }
            *left -= 1;
            Some(())
        });
        name.count() + 5
    });
    Essence {
        header: [answer[0], answer[1], answer[2], answer[3]],
        question: answer[12..12 + question].to_vec(),
        sections: [&message.answers, &message.authorities, &message.additionals].map(|section| sorted(section)),
        edns: format!("{:?}", message.edns),
    }
}
