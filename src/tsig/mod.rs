//! Transaction signatures (RFC 8945): keys that two servers share, and messages signed with them.
//!
//! Octets in, octets out: who calls says what time it is. The digests are `ring`'s, which TLS to the API server brings
//! along; hickory's signer takes messages of its own making only, and ours are written as octets.

mod key;
mod record;
mod sign;
mod verify;

pub use key::{Algorithm, Key, Keyring};
pub use record::{TYPE, TsigRecord, strip};
pub use sign::Signer;
pub use verify::{Failure, verify, verify_reply};

/// How far two clocks may be apart, in seconds (RFC 8945 section 10).
pub const FUDGE_SECS: u16 = 300;

/// The time as signatures count it: seconds since 1970 in 48 bits.
pub fn now() -> u64 {
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    elapsed.as_secs() & TIME_MAX
}

/// The last time that 48 bits can say.
const TIME_MAX: u64 = (1 << 48) - 1;

#[cfg(test)]
mod tests;
