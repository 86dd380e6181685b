//! Whether a response answers its question: at the end of its aliases stands a record of the type that was asked for
//! (RFC 1034 section 3.6.2; plugin/cache/cache.go, func answerHasType).

use std::collections::HashMap;

use super::response::{Place, Response, Section};
use crate::answer::query::rtype;
use crate::zone::name::NAME_OCTETS_MAX;

/// Class ANY.
const ANY_CLASS: u16 = 255;
/// Pointers in a name, at most: each points to at least one label.
const POINTERS_MAX: usize = NAME_OCTETS_MAX / 2;

/// Whether the answers have what was asked for.
pub(super) fn is_answered(response: &Response, message: &[u8]) -> bool {
    let Some((name, qtype, qclass)) = response.question(message) else { return false };
    let answers = response.of(Section::Answer).filter(|record| qclass == ANY_CLASS || record.class == qclass);
    let owned: Vec<(Vec<u8>, &Place)> =
        answers.filter_map(|record| Some((name_at(message, record.start)?, record))).collect();
    let asked = name.to_ascii_lowercase();
    let mut targets: HashMap<&[u8], Option<Vec<u8>>> = HashMap::new();
    for (owner, record) in owned.iter().filter(|(_, record)| record.rtype == rtype::CNAME) {
        let target = name_at(message, record.data_at());
        // A name that is an alias of two is one of none (RFC 2181 section 10.1).
        let known = targets.entry(owner).or_insert_with(|| target.clone());
        if *known != target {
            *known = None;
        }
    }
    match qtype {
        rtype::ANY => return owned.iter().any(|(owner, _)| *owner == asked),
        rtype::CNAME => return matches!(targets.get(&*asked), Some(Some(_))),
        _ => {}
    }
    let mut end = &*asked;
    // Each alias is followed once; what comes back to itself has no end.
    for _ in 0..=targets.len() {
        match targets.get(end) {
            Some(Some(target)) => end = target,
            Some(None) => return false,
            None => return owned.iter().any(|(owner, record)| record.rtype == qtype && owner == end),
        }
    }
    false
}

/// The name that stands at a place, in lower case and written out; `None` if it is none.
fn name_at(message: &[u8], mut at: usize) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    let mut pointers = 0;
    loop {
        match *message.get(at)? {
            0 => {
                name.push(0);
                return (name.len() <= NAME_OCTETS_MAX).then_some(name);
            }
            length @ 1..=63 => {
                let next = at + 1 + usize::from(length);
                name.extend(message.get(at..next)?.iter().map(u8::to_ascii_lowercase));
                at = next;
            }
            high @ 192..=255 => {
                let target = usize::from(u16::from_be_bytes([high & 0x3f, *message.get(at + 1)?]));
                pointers += 1;
                at = (target < at && pointers <= POINTERS_MAX).then_some(target)?;
            }
            _ => return None,
        }
        if name.len() > NAME_OCTETS_MAX {
            return None;
        }
    }
}
