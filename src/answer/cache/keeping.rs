//! What is to be done with an upstream's response when it comes: it becomes what the cache makes of it, and is kept.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::chain::is_answered;
use super::entry::{Entry, Made, is_same_question};
use super::kind::Kind;
use super::response::Response;
use super::{Cache, CacheCounts, Side, Wanted};
use crate::answer::elsewhere::{Lookup, LookupError};
use crate::answer::query::{HEADER_OCTETS, bits};
use crate::answer::rcode::Rcode;
use crate::zone::name::is_at_or_below;

/// What waits for a response.
#[derive(Debug)]
pub struct Keeping {
    cache: Arc<Cache>,
    counts: Option<Arc<CacheCounts>>,
    hash: u64,
    bits: u8,
    question: Box<[u8]>,
    takes_ad: bool,
    purpose: Purpose,
}

/// What the response is for.
#[derive(Debug)]
enum Purpose {
    /// Nothing is known.
    Missing,
    /// What is kept expires soon.
    Prefetch(Refreshing),
    /// What is kept has expired, and was served.
    Expired(Refreshing),
    /// What is kept has expired, and is served if there is nothing better.
    Verify(Arc<Entry>, Option<Refreshing>),
}

/// A question for which no client waits.
#[derive(Debug)]
pub struct Refresh {
    /// What to ask, and of whom; the client's transport does not count, and TCP cuts nothing.
    pub lookup: Lookup,
    /// What to do with the answer.
    pub keeping: Keeping,
}

/// What a client is told.
pub(in crate::answer) enum Settled {
    /// What the upstream says, or why there is nothing.
    Response(Result<Vec<u8>, LookupError>),
    /// What had expired, with this TTL in seconds.
    Stale(Arc<Entry>, u32),
}

/// The only one who asks anew for an entry, as long as this lives.
#[derive(Debug)]
pub(in crate::answer) struct Refreshing {
    cache: Arc<Cache>,
    entry: Arc<Entry>,
    /// How long nobody asks again if this was in vain.
    recheck: Duration,
}

impl Refreshing {
    /// `None` if somebody asks already, or has asked in vain just now.
    pub(in crate::answer) fn begin(cache: &Arc<Cache>, entry: &Arc<Entry>, recheck: Duration) -> Option<Self> {
        let is_first = entry.begin_refresh(cache.now());
        is_first.then(|| Self { cache: Arc::clone(cache), entry: Arc::clone(entry), recheck })
    }

    fn done(mut self, is_refreshed: bool) {
        if is_refreshed {
            self.recheck = Duration::ZERO;
        }
    }
}

impl Drop for Refreshing {
    fn drop(&mut self) {
        let recheck = u64::try_from(self.recheck.as_millis()).unwrap_or(u64::MAX);
        let retry_at = if recheck == 0 { 0 } else { self.cache.now().saturating_add(recheck) };
        self.entry.end_refresh(retry_at);
    }
}

impl Keeping {
    fn new(cache: &Arc<Cache>, counts: Option<&Arc<CacheCounts>>, wanted: &Wanted<'_>, purpose: Purpose) -> Self {
        let Wanted { hash, bits, question, takes_ad } = *wanted;
        let (cache, counts) = (Arc::clone(cache), counts.map(Arc::clone));
        Self { cache, counts, hash, bits, question: question.into(), takes_ad, purpose }
    }

    /// For an answer that nothing is known of.
    pub(in crate::answer) fn missing(
        cache: &Arc<Cache>,
        counts: Option<&Arc<CacheCounts>>,
        wanted: &Wanted<'_>,
    ) -> Self {
        Self::new(cache, counts, wanted, Purpose::Missing)
    }

    /// For one that expires soon, or has expired, and that was served.
    pub(in crate::answer) fn anew(
        counts: Option<&Arc<CacheCounts>>,
        wanted: &Wanted<'_>,
        refreshing: Refreshing,
        has_expired: bool,
    ) -> Self {
        let cache = Arc::clone(&refreshing.cache);
        let purpose = if has_expired { Purpose::Expired(refreshing) } else { Purpose::Prefetch(refreshing) };
        Self::new(&cache, counts, wanted, purpose)
    }

    /// For one that has expired, and that is served if nothing comes.
    pub(in crate::answer) fn verified(
        cache: &Arc<Cache>,
        counts: Option<&Arc<CacheCounts>>,
        wanted: &Wanted<'_>,
        entry: Arc<Entry>,
        refreshing: Option<Refreshing>,
    ) -> Self {
        Self::new(cache, counts, wanted, Purpose::Verify(entry, refreshing))
    }

    /// Counts that the answer is asked for, for no client.
    pub(in crate::answer) fn begun(&self) {
        if let Some(counts) = &self.counts {
            counts.prefetched();
        }
    }

    /// How long a client waits, if what has expired is served then.
    pub(in crate::answer) fn patience(&self) -> Option<Duration> {
        let timeout = self.cache.options.stale.map_or(Duration::ZERO, |stale| stale.timeout);
        (matches!(self.purpose, Purpose::Verify(..)) && !timeout.is_zero()).then_some(timeout)
    }

    /// Leaves to another what is to be done with a response that comes too late for the client.
    pub(in crate::answer) fn split(&mut self) -> Self {
        let purpose = match &mut self.purpose {
            Purpose::Verify(entry, refreshing) => Purpose::Verify(Arc::clone(entry), refreshing.take()),
            _ => Purpose::Missing,
        };
        let (cache, counts) = (Arc::clone(&self.cache), self.counts.clone());
        Self { cache, counts, question: self.question.clone(), purpose, ..*self }
    }

    /// Takes what came for no client.
    pub fn keep(self, response: Result<Vec<u8>, LookupError>) {
        self.settle(response, true);
    }

    /// Takes what came; what the client is told.
    pub(in crate::answer) fn tell(self, response: Result<Vec<u8>, LookupError>) -> Settled {
        self.settle(response, false)
    }

    fn settle(self, mut response: Result<Vec<u8>, LookupError>, is_background: bool) -> Settled {
        let has_expired = matches!(self.purpose, Purpose::Expired(_) | Purpose::Verify(..));
        let is_refreshed = match &mut response {
            Ok(message) => self.take(message, has_expired),
            Err(_) => false,
        };
        let Self { cache, counts, purpose, .. } = self;
        match purpose {
            Purpose::Missing => {}
            // Whatever came is what there is to know.
            Purpose::Prefetch(refreshing) => refreshing.done(true),
            Purpose::Expired(refreshing) => refreshing.done(is_refreshed),
            Purpose::Verify(entry, refreshing) => {
                if let Some(refreshing) = refreshing {
                    refreshing.done(is_refreshed);
                }
                if !is_refreshed && !is_background {
                    if let Some(counts) = &counts {
                        counts.served_stale();
                    }
                    let ttl_secs = cache.sent_ttl_secs(&entry, cache.now());
                    return Settled::Stale(entry, ttl_secs);
                }
            }
        }
        Settled::Response(response)
    }

    /// Makes of a response what the cache makes of it, and keeps a copy (plugin/cache/cache.go, func WriteMsg); whether it
    /// says what is so now, which what `has_expired` is replaced by.
    fn take(&self, message: &mut Vec<u8>, has_expired: bool) -> bool {
        let options = &self.cache.options;
        let Some(mut response) = Response::read(message) else { return false };
        message.truncate(response.end());
        // What `minimal` leaves out counts for nothing.
        let is_bare =
            options.minimal && response.rcode == 0 && (response.has_answers() || !response.is_denial_or_referral());
        if is_bare {
            response.keep_answers(message);
        }
        let unix_secs = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let kind = Kind::of(&response, message, unix_secs);
        let question = message.get(HEADER_OCTETS..response.question_end).unwrap_or(&[]);
        let is_its_own = response.flags & bits::QR != 0 && is_same_question(question, &self.question);
        let prefers_positive = options.stale.is_some_and(|stale| stale.prefer_positive);
        // Nobody else asks.
        let is_answering =
            prefers_positive && kind == Kind::Success && response.has_answers() && is_answered(&response, message);
        let is_refreshed = self.is_refreshing(&response, kind, is_answering, is_its_own);
        if has_expired && !is_refreshed && !(prefers_positive && is_its_own && response.flags & bits::TC == 0) {
            return false;
        }
        let ttl_secs = kind.ttl_secs(&response, message, options);
        let is_kept = kind.is_kept(&response, message);
        response.set_ttls(message, ttl_secs);
        // The upper bits of a code stand there.
        let is_plain = response.rcode <= 0xf && response.drop_opt(message);
        let lasts = ttl_secs > 0 || kind == Kind::ServerError && !options.servfail.is_zero();
        if is_kept && is_plain && lasts {
            if is_its_own {
                self.store(message, &response, kind, (ttl_secs, is_answering));
            } else if let Some(counts) = &self.counts {
                counts.dropped();
            }
        }
        if !self.takes_ad
            && let Some(octet) = message.get_mut(3)
        {
            *octet &= !(bits::AD as u8);
        }
        is_refreshed
    }

    /// Whether a response may take the place of what has expired: it says that there is something, or nothing (RFC 8767
    /// section 4), with `prefer_positive` only the former.
    fn is_refreshing(&self, response: &Response, kind: Kind, is_answering: bool, is_its_own: bool) -> bool {
        if !is_its_own || response.flags & bits::TC != 0 {
            return false;
        }
        if self.cache.options.stale.is_some_and(|stale| stale.prefer_positive) {
            return is_answering;
        }
        kind != Kind::Other && matches!(Rcode(response.rcode), Rcode::NOERROR | Rcode::NXDOMAIN)
    }

    fn store(&self, message: &[u8], response: &Response, kind: Kind, (ttl_secs, is_answering): (u32, bool)) {
        let (cache, hash) = (&self.cache, self.hash);
        let options = &cache.options;
        let side = match kind {
            Kind::Success | Kind::Delegation => Side::Success,
            _ => Side::Denial,
        };
        let name = message.get(HEADER_OCTETS..response.question_end - 4).unwrap_or(&[]);
        let name = name.to_ascii_lowercase();
        let disabled = match side {
            Side::Success => &options.success_disabled,
            Side::Denial => &options.denial_disabled,
        };
        if disabled.iter().any(|zone| is_at_or_below(&name, zone.as_wire())) {
            return;
        }
        let prefers_positive = options.stale.is_some_and(|stale| stale.prefer_positive);
        let before = cache.peek(side, hash);
        let last_good = before.as_ref().filter(|_| prefers_positive && side == Side::Success && !is_answering);
        let last_good = last_good.and_then(Entry::good);
        let now = cache.now();
        let entry = Entry::new(message, response, Made { bits: self.bits, ttl_secs, now, is_answering, last_good });
        if let Purpose::Prefetch(refreshing) | Purpose::Expired(refreshing) = &self.purpose {
            entry.goes_on(&refreshing.entry, now);
        }
        // What succeeds is newer than what was denied.
        let stands_alone = side == Side::Success && (is_answering || !prefers_positive);
        if !stands_alone {
            entry.deny();
        }
        let evicted = cache.insert(side, hash, Arc::new(entry));
        if let Some(counts) = &self.counts {
            counts.evicted(side, evicted);
        }
        if stands_alone {
            cache.remove(Side::Denial, hash);
        }
    }
}
