//! What a response is, and how long it may be kept (plugin/pkg/response, plugin/pkg/dnsutil/ttl.go).

use super::CacheOptions;
use super::chain::is_answered;
use super::response::{Response, Section};
use crate::answer::query::{bits, opcode, rtype};
use crate::answer::rcode::Rcode;

/// How long a response is kept that has no TTL to go by, in seconds (MinimalDefaultTTL).
const DEFAULT_TTL_SECS: u32 = 5;
/// RRSIG (RFC 4034 section 3).
const RRSIG: u16 = 46;
/// The DO bit in the TTL of an OPT record.
const DO: u32 = 0x8000;

/// Kinds of responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It succeeded.
    Success,
    /// There is no such name.
    NameError,
    /// The name has no records of the type.
    NoData,
    /// The server failed, or does not know how.
    ServerError,
    /// Others know.
    Delegation,
    /// A transfer, a notice, an update, or another error: never kept.
    Other,
}

impl Kind {
    /// The kind of a response, at so many seconds since 1970.
    pub(super) fn of(response: &Response, message: &[u8], unix_secs: u64) -> Self {
        if response.flags & bits::OPCODE != opcode::QUERY << 11 {
            return Self::Other;
        }
        let qtype = response.question(message).map_or(0, |(_, qtype, _)| qtype);
        if matches!(qtype, rtype::AXFR | rtype::IXFR) {
            return Self::Other;
        }
        // Who asks for signatures is not helped by one that has expired.
        if response.opt().is_some_and(|opt| opt.ttl_secs & DO != 0) && has_expired(response, message, unix_secs) {
            return Self::Other;
        }
        let has_answers = response.of(Section::Answer).next().is_some();
        let has_soa = response.has(Section::Authority, rtype::SOA);
        match Rcode(response.rcode) {
            // An alias that leads to no record of the type is a denial (RFC 2308 section 2.2).
            Rcode::NOERROR if has_answers && has_soa && !is_answered(response, message) => Self::NoData,
            Rcode::NOERROR if has_answers => Self::Success,
            Rcode::NOERROR if has_soa => Self::NoData,
            Rcode::NOERROR if response.has(Section::Authority, rtype::NS) => Self::Delegation,
            Rcode::NOERROR => Self::Success,
            Rcode::NXDOMAIN if has_answers => Self::Other,
            Rcode::NXDOMAIN => Self::NameError,
            Rcode::SERVFAIL | Rcode::NOTIMP => Self::ServerError,
            _ => Self::Other,
        }
    }

    /// Whether a response of this kind may be kept (plugin/cache/cache.go, func key).
    pub(super) fn is_kept(self, response: &Response, message: &[u8]) -> bool {
        let has_soa = response.has(Section::Authority, rtype::SOA);
        if response.flags & bits::TC != 0 {
            return false;
        }
        match self {
            Self::Other => false,
            // Without a SOA nothing says for how long (RFC 2308 section 5).
            Self::NameError => has_soa,
            // Nor with an alias whose end the upstream has not found.
            Self::Success => response.of(Section::Answer).next().is_none() || has_soa || is_answered(response, message),
            Self::NoData | Self::ServerError | Self::Delegation => true,
        }
    }

    /// How long a response of this kind is kept, in seconds; also what its records' TTLs become.
    pub(super) fn ttl_secs(self, response: &Response, message: &[u8], options: &CacheOptions) -> u32 {
        let least = || {
            let ttls = response.records.iter().filter(|record| record.rtype != rtype::OPT);
            ttls.map(|record| record.ttl_secs).min().unwrap_or(DEFAULT_TTL_SECS)
        };
        match self {
            Self::NameError | Self::NoData => {
                let allowed = response.denial_ttl_secs(message).unwrap_or(u32::MAX);
                options.denial.clamp(least().min(allowed))
            }
            Self::ServerError => u32::try_from(options.servfail.as_secs()).unwrap_or(u32::MAX),
            Self::Success => options.success.clamp(least()),
            Self::Delegation | Self::Other => options.success.clamp(DEFAULT_TTL_SECS),
        }
    }
}

/// Whether a signature is not valid at this time (RFC 4034 section 3.1.5).
fn has_expired(response: &Response, message: &[u8], unix_secs: u64) -> bool {
    let now = unix_secs as u32;
    let mut signatures = response.records.iter().filter(|record| record.rtype == RRSIG);
    signatures.any(|record| {
        // Type, algorithm, labels and TTL stand before both times.
        let at = |at: usize| Some(u32::from_be_bytes(*message.get(record.data_at() + at..record.end)?.first_chunk()?));
        let (Some(expires), Some(begins)) = (at(8), at(12)) else { return true };
        // Serial numbers: what is less than 2^31 ahead is later (RFC 1982).
        now.wrapping_sub(begins) >= 1 << 31 || expires.wrapping_sub(now) >= 1 << 31
    })
}
