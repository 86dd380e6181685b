//! Signing messages (RFC 8945 sections 4.3 and 5.3).

use std::sync::Arc;

use ring::hmac;

use super::FUDGE_SECS;
use super::key::{Algorithm, Key};
use super::record::{CLASS_ANY, TYPE};

/// Where the count of additional records stands in a header.
const ADDITIONAL_AT: usize = 10;

/// Signs one message, or the messages of a stream one after the other, with a key.
#[derive(Clone)]
pub struct Signer {
    name: Box<[u8]>,
    algorithm: Algorithm,
    key: hmac::Key,
    /// The signature of the query, or of the message before.
    prior: Vec<u8>,
    /// Whether messages of the stream were signed already: of those, only times are signed along.
    is_behind_first: bool,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// What is signed beside the message, and stands in its record.
pub(super) struct Variables<'a> {
    pub(super) name: &'a [u8],
    pub(super) algorithm: &'a [u8],
    pub(super) time: u64,
    pub(super) fudge: u16,
    pub(super) error: u16,
    pub(super) other: &'a [u8],
}

impl Variables<'_> {
    /// Adds all of them to a digest.
    pub(super) fn add_to(&self, digest: &mut hmac::Context) {
        digest.update(self.name);
        digest.update(&CLASS_ANY.to_be_bytes());
        digest.update(&[0; 4]);
        digest.update(self.algorithm);
        self.add_times_to(digest);
        digest.update(&self.error.to_be_bytes());
        digest.update(&(self.other.len() as u16).to_be_bytes());
        digest.update(self.other);
    }

    /// Adds those of a stream's later messages.
    pub(super) fn add_times_to(&self, digest: &mut hmac::Context) {
        digest.update(&self.time.to_be_bytes()[2..]);
        digest.update(&self.fudge.to_be_bytes());
    }

    /// Writes the record behind a message, which then has one additional record more.
    pub(super) fn append_to(&self, message: &mut Vec<u8>, mac: &[u8]) {
        let original_id = message.first_chunk::<2>().copied().unwrap_or_default();
        message.extend_from_slice(self.name);
        message.extend_from_slice(&TYPE.to_be_bytes());
        message.extend_from_slice(&CLASS_ANY.to_be_bytes());
        message.extend_from_slice(&[0; 4]);
        let octets = self.algorithm.len() + 16 + mac.len() + self.other.len();
        message.extend_from_slice(&(octets as u16).to_be_bytes());
        message.extend_from_slice(self.algorithm);
        message.extend_from_slice(&self.time.to_be_bytes()[2..]);
        message.extend_from_slice(&self.fudge.to_be_bytes());
        message.extend_from_slice(&(mac.len() as u16).to_be_bytes());
        message.extend_from_slice(mac);
        message.extend_from_slice(&original_id);
        message.extend_from_slice(&self.error.to_be_bytes());
        message.extend_from_slice(&(self.other.len() as u16).to_be_bytes());
        message.extend_from_slice(self.other);
        if let Some(count) = message.get_mut(ADDITIONAL_AT..ADDITIONAL_AT + 2) {
            let more = u16::from_be_bytes([count[0], count[1]]).saturating_add(1);
            count.copy_from_slice(&more.to_be_bytes());
        }
    }
}

impl Signer {
    /// Signs what is no answer.
    pub fn new(key: &Arc<Key>) -> Self {
        Self::answering(key, key.algorithm, Vec::new())
    }

    /// Signs the answer to a query with this signature, in its algorithm.
    pub(super) fn answering(key: &Key, algorithm: Algorithm, prior: Vec<u8>) -> Self {
        let name = key.name.as_wire().into();
        Self { name, algorithm, key: key.with(algorithm), prior, is_behind_first: false }
    }

    /// The most octets that it adds to a message.
    pub fn octets(&self) -> usize {
        // Type, class, TTL and length; times, lengths, ID and error; a server's time.
        self.name.len() + 10 + self.algorithm.wire_name().len() + 16 + self.algorithm.mac_octets() + 6
    }

    /// The signature that the answer to what was signed last refers to.
    pub(super) fn last(&self) -> (&hmac::Key, Algorithm, &[u8]) {
        (&self.key, self.algorithm, &self.prior)
    }

    /// The name of its key, in wire form.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// Signs a message, the next of the stream.
    pub fn sign(&mut self, message: &mut Vec<u8>, now: u64) {
        self.sign_with(message, now, 0, &[]);
    }

    pub(super) fn sign_with(&mut self, message: &mut Vec<u8>, time: u64, error: u16, other: &[u8]) {
        let mut digest = hmac::Context::with_key(&self.key);
        if !self.prior.is_empty() {
            digest.update(&(self.prior.len() as u16).to_be_bytes());
            digest.update(&self.prior);
        }
        digest.update(message);
        let algorithm = self.algorithm.wire_name();
        let variables = Variables { name: &self.name, algorithm, time, fudge: FUDGE_SECS, error, other };
        if self.is_behind_first {
            variables.add_times_to(&mut digest);
        } else {
            variables.add_to(&mut digest);
        }
        let mac = digest.sign();
        variables.append_to(message, mac.as_ref());
        self.prior = mac.as_ref().to_vec();
        self.is_behind_first = true;
    }
}
