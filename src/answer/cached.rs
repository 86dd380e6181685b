//! Answers that others gave before: found, written, and asked for anew.

use std::sync::Arc;

use super::cache::{Cache, CacheCounts, Entry, Found, Keeping, Refresh, Refreshing, Wanted};
use super::edns::{self, Terms};
use super::elsewhere::Deferred;
use super::query::{Query, bits};
use super::rcode::Rcode;
use super::relay;
use super::responder::{Answered, Block, By, Outcome, Received, Responder, answered};
use super::rotate;

/// What is known of a question.
pub(super) enum Known {
    /// An answer, with the TTL that it is given with in seconds, and what is to be asked for anew.
    Kept(Arc<Entry>, u32, Option<Keeping>),
    /// Nothing, or what has expired and is served if nobody answers.
    Asked(Keeping),
    /// Nothing is known without waiting for somebody who writes just there.
    Contended,
}

impl Responder {
    /// The answer to a query for a name that is others': from what is kept, or by asking. `None` if nobody is to be asked,
    /// or if one would have to wait and may not.
    pub(super) fn elsewhere<'p>(
        &self,
        packet: &[u8],
        received: &Received<'p, '_>,
        (signature_octets, may_wait): (usize, bool),
        out: &mut Vec<u8>,
    ) -> Option<Outcome<'p>> {
        let &Received { query, ref question, name, block, client, is_guarded, .. } = received;
        let wanted = block.cache.as_ref().and_then(|cache| {
            let wanted = cache.wanted(&query, question, name, is_guarded)?;
            block.forwards(name.as_wire()).next().map(|_| (cache, wanted))
        });
        let relay = || Deferred::relay(block, name, packet, &query);
        let Some((cache, wanted)) = wanted else { return relay().map(Outcome::Deferred) };
        match self.known(block, cache, &wanted, may_wait) {
            Known::Contended => None,
            Known::Asked(keeping) => Some(Outcome::Deferred(relay()?.keeping(keeping))),
            Known::Kept(entry, ttl_secs, again) => {
                let limit = edns::reply_limit(client.transport, query.edns.as_ref(), block.bufsize);
                let limit = limit.saturating_sub(signature_octets);
                let (rcode, flags) = write(&entry, &query, ttl_secs, (limit, block.terms()), out);
                turn(block, &entry, flags, out);
                let made = Answered { by: By::Cache, ..answered(query, Some(block.id), rcode, flags) };
                let refresh = again.and_then(|keeping| {
                    let lookup = relay()?.into_lookup()?;
                    keeping.begun();
                    Some(Refresh { lookup, keeping })
                });
                Some(match refresh {
                    Some(refresh) => Outcome::Refreshing(made, vec![refresh]),
                    None => Outcome::Answered(made),
                })
            }
        }
    }

    /// What a block's cache knows of a question (plugin/cache/handler.go, func ServeDNS).
    pub(super) fn known(&self, block: &Block, cache: &Arc<Cache>, wanted: &Wanted<'_>, may_wait: bool) -> Known {
        let now = cache.now();
        let counts = self.counts_of(block);
        let (entry, side) = match cache.find(wanted, now, may_wait) {
            Found::Contended => return Known::Contended,
            Found::Missing => {
                counts.iter().for_each(|counts| counts.missed());
                return Known::Asked(Keeping::missing(cache, counts, wanted));
            }
            Found::Entry(entry, side) => (entry, side),
        };
        counts.iter().for_each(|counts| counts.hit(side));
        let ttl_secs = cache.sent_ttl_secs(&entry, now);
        if entry.left_secs(now) > 0 {
            let refreshing = cache
                .wants_prefetch(&entry, now)
                .then(|| Refreshing::begin(cache, &entry, std::time::Duration::ZERO))
                .flatten();
            let again = refreshing.map(|refreshing| Keeping::anew(counts, wanted, refreshing, false));
            return Known::Kept(entry, ttl_secs, again);
        }
        // Only what is served stale is found here.
        let stale = cache.options().stale;
        let (verify, recheck) = stale.map(|stale| (stale.verify, stale.recheck)).unwrap_or_default();
        let mut again = None;
        if verify {
            let refreshing = (!recheck.is_zero()).then(|| Refreshing::begin(cache, &entry, recheck));
            // With a recheck, one asks at a time, and nobody for a while after that was in vain.
            if !matches!(refreshing, Some(None)) {
                return Known::Asked(Keeping::verified(cache, counts, wanted, entry, refreshing.flatten()));
            }
        } else {
            let refreshing = Refreshing::begin(cache, &entry, recheck);
            again = refreshing.map(|refreshing| Keeping::anew(counts, wanted, refreshing, true));
        }
        counts.iter().for_each(|counts| counts.served_stale());
        Known::Kept(entry, ttl_secs, again)
    }

    /// What is counted of a block's cache.
    pub(super) fn counts_of(&self, block: &Block) -> Option<&Arc<CacheCounts>> {
        self.cache_counts.get(block.id)?.as_ref()
    }
}

/// Writes what is kept as the answer to a query, cut where it does not fit; its code and header bits.
pub(super) fn write(
    entry: &Entry,
    query: &Query<'_>,
    ttl_secs: u32,
    (limit, terms): (usize, Terms<'_>),
    out: &mut Vec<u8>,
) -> (Rcode, u16) {
    let takes_ad = query.flags & bits::AD != 0 || query.edns.is_some_and(|edns| edns.dnssec_ok);
    let flags = entry.write(query, takes_ad, ttl_secs, out);
    if let Some(edns) = &query.edns {
        let additional = out.get(10..12).map_or(0, |count| u16::from_be_bytes([count[0], count[1]]));
        relay::append_opt(out, edns, additional, terms);
    }
    match out.len() <= limit {
        true => (entry.rcode(), flags),
        false => (entry.rcode(), relay::cut(query, flags, entry.rcode(), (limit, terms), out)),
    }
}

/// Changes the order of what was written, as `loadbalance` of the block says.
pub(super) fn turn(block: &Block, entry: &Entry, flags: u16, out: &mut Vec<u8>) {
    if flags & bits::TC == 0 {
        rotate::kept(block, entry.turn(), out);
    }
}
