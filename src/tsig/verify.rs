//! Checking signatures (RFC 8945 sections 5.2 and 5.4).

use ring::hmac;

use super::FUDGE_SECS;
use super::key::{Algorithm, Keyring};
use super::record::{TsigRecord, strip};
use super::sign::{Signer, Variables};

/// Errors as records carry them (RFC 8945 section 3).
const BADSIG: u16 = 16;
const BADKEY: u16 = 17;
const BADTIME: u16 = 18;
const BADTRUNC: u16 = 22;

/// A query whose signature is not.
#[derive(Debug)]
pub enum Failure {
    /// The record is malformed, or stands where it must not: FORMERR, unsigned.
    Malformed,
    /// The signature does not hold: NOTAUTH, with a record that says why.
    Refused(Box<Refusal>),
}

/// Why a signature does not hold, and what the answer to its query carries.
#[derive(Debug)]
pub struct Refusal {
    error: u16,
    name: Vec<u8>,
    algorithm: Vec<u8>,
    /// The time of the query.
    time: u64,
    /// Where the key is the right one, the answer is signed.
    signer: Option<Signer>,
}

impl Refusal {
    /// What is wrong, in the words of the RFC.
    pub fn reason(&self) -> &'static str {
        match self.error {
            BADSIG => "BADSIG",
            BADKEY => "BADKEY",
            BADTIME => "BADTIME",
            _ => "BADTRUNC",
        }
    }

    /// Ends the answer to the query with what is wrong.
    pub fn append_to(mut self, answer: &mut Vec<u8>, now: u64) {
        match self.signer.take() {
            // The client's clock is wrong: it is told what time it is, in its own time (section 5.2.3).
            Some(mut signer) if self.error == BADTIME => {
                signer.sign_with(answer, self.time, BADTIME, &now.to_be_bytes()[2..]);
            }
            Some(mut signer) => signer.sign_with(answer, now, self.error, &[]),
            // Signed by nobody (section 5.3.2).
            None => Variables {
                name: &self.name,
                algorithm: &self.algorithm,
                time: self.time,
                fudge: FUDGE_SECS,
                error: self.error,
                other: &[],
            }
            .append_to(answer, &[]),
        }
    }
}

/// Checks the signature of a query, which begins at `start`; what signs its answer.
///
/// # Errors
/// If it does not hold.
pub fn verify(query: &[u8], start: usize, keys: &Keyring, now: u64) -> Result<Signer, Failure> {
    let record = TsigRecord::parse(query, start).ok_or(Failure::Malformed)?;
    let known = keys.get(&record.name).zip(Algorithm::of_wire_name(&record.algorithm));
    let refuse = |error, signer| {
        let TsigRecord { name, algorithm, time, .. } = record.clone();
        Err(Failure::Refused(Box::new(Refusal { error, name, algorithm, time, signer })))
    };
    let Some((key, algorithm)) = known else { return refuse(BADKEY, None) };
    // Half of a signature may be left out, and never more (section 5.2.2.1).
    let full = algorithm.mac_octets();
    if record.mac.len() > full || record.mac.len() < (full / 2).max(10) {
        return Err(Failure::Malformed);
    }
    let shared = key.with(algorithm);
    let mut digest = hmac::Context::with_key(&shared);
    digest.update(&signed_part(query, &record));
    variables(&record).add_to(&mut digest);
    let is_truncated = record.mac.len() < full;
    if !equals(digest.sign().as_ref(), record.mac) {
        return refuse(BADSIG, None);
    }
    let signer = Signer::answering(key, algorithm, record.mac.to_vec());
    if now.abs_diff(record.time) > u64::from(record.fudge) {
        return refuse(BADTIME, Some(signer));
    }
    if is_truncated {
        return refuse(BADTRUNC, Some(signer));
    }
    Ok(signer)
}

/// Whether an answer to what was signed is signed well, its record beginning at `start`.
pub fn verify_reply(reply: &[u8], start: usize, asked: &Signer, now: u64) -> bool {
    let Some(record) = TsigRecord::parse(reply, start) else { return false };
    let (key, algorithm, prior) = asked.last();
    if record.name != asked.name() || record.algorithm != algorithm.wire_name() || record.error != 0 {
        return false;
    }
    let mut digest = hmac::Context::with_key(key);
    digest.update(&(prior.len() as u16).to_be_bytes());
    digest.update(prior);
    digest.update(&signed_part(reply, &record));
    variables(&record).add_to(&mut digest);
    let expected = digest.sign();
    record.mac.len() == expected.as_ref().len()
        && equals(expected.as_ref(), record.mac)
        && now.abs_diff(record.time) <= u64::from(record.fudge)
}

/// A message as it was signed: without its record, under the ID that it was sent with first.
fn signed_part(message: &[u8], record: &TsigRecord<'_>) -> Vec<u8> {
    let mut signed = strip(message, record.start);
    if let Some(id) = signed.get_mut(..2) {
        id.copy_from_slice(&record.original_id.to_be_bytes());
    }
    signed
}

fn variables<'r>(record: &'r TsigRecord<'_>) -> Variables<'r> {
    let TsigRecord { name, algorithm, time, fudge, error, other, .. } = record;
    Variables { name, algorithm, time: *time, fudge: *fudge, error: *error, other }
}

/// Whether one begins with the other, in a time that does not tell where they part.
fn equals(whole: &[u8], part: &[u8]) -> bool {
    let Some(head) = whole.get(..part.len()) else { return false };
    head.iter().zip(part).fold(0, |parted, (one, other)| parted | (one ^ other)) == 0
}
