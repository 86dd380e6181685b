//! Keys, and the algorithms that they are used with.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use ring::hmac;

use crate::zone::Name;

/// An algorithm of signatures (RFC 8945 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Algorithm {
    /// HMAC-SHA-256
    #[default]
    Sha256,
    /// HMAC-SHA-384
    Sha384,
    /// HMAC-SHA-512
    Sha512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// Its name as signatures carry it.
    pub fn wire_name(self) -> &'static [u8] {
        match self {
            Self::Sha256 => b"\x0bhmac-sha256\0",
            Self::Sha384 => b"\x0bhmac-sha384\0",
            Self::Sha512 => b"\x0bhmac-sha512\0",
        }
    }

    /// The algorithm of a name in wire form and lower case.
    pub fn of_wire_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.wire_name() == name)
    }

    /// The algorithm of a name as it is written, with a final dot or without.
    pub fn of_text(text: &str) -> Option<Self> {
        Name::parse(text).and_then(|name| Self::of_wire_name(name.as_wire()))
    }

    fn digest(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    /// Octets of its signatures.
    pub fn mac_octets(self) -> usize {
        self.digest().digest_algorithm().output_len()
    }
}

/// A key: its name, what both sides know, and the algorithm for what is signed first here.
#[derive(Clone)]
pub struct Key {
    /// The name that signatures call it by.
    pub name: Name,
    /// The algorithm for messages that are no answers. Answers have their query's.
    pub algorithm: Algorithm,
    secret: Vec<u8>,
}

impl Key {
    /// A key.
    pub fn new(name: Name, algorithm: Algorithm, secret: Vec<u8>) -> Self {
        Self { name, algorithm, secret }
    }

    /// What signs and checks with an algorithm.
    pub(super) fn with(&self, algorithm: Algorithm) -> hmac::Key {
        hmac::Key::new(algorithm.digest(), &self.secret)
    }
}

// A secret is nobody's to read.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("name", &self.name).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Keys by their names.
#[derive(Clone, Debug, Default)]
pub struct Keyring(HashMap<Name, Arc<Key>>);

impl Keyring {
    /// The key of a name in wire form and lower case.
    pub fn get(&self, name: &[u8]) -> Option<&Arc<Key>> {
        self.0.get(name)
    }
}

impl FromIterator<Key> for Keyring {
    fn from_iter<T: IntoIterator<Item = Key>>(keys: T) -> Self {
        Self(keys.into_iter().map(|key| (key.name.clone(), Arc::new(key))).collect())
    }
}
