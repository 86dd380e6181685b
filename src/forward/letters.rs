//! Letters of a question written in either case, by chance (draft-vixie-dnsext-dns0x20): who did not see the question
//! does not know how they are written, and an answer has to repeat it.

use rand::Rng as _;

use crate::answer::query::HEADER_OCTETS;

/// Which octets of a question's name are written in the other case, as bits; a name has at most 255.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Letters([u64; 4]);

impl Letters {
    /// All as they are.
    pub(super) const KEPT: Self = Self([0; 4]);

    /// Any, by a generator that nobody can foresee.
    pub(super) fn random() -> Self {
        let mut rng = rand::rng();
        Self(std::array::from_fn(|_| rng.next_u64()))
    }

    /// Writes the letters of a message's name, which ends before `end`, in the other case where that is so. A second time
    /// gives them back as they were.
    pub(super) fn turn(&self, message: &mut [u8], end: usize) {
        for (at, octet) in message.get_mut(HEADER_OCTETS..end).unwrap_or_default().iter_mut().enumerate() {
            *octet = self.turned(at, *octet);
        }
    }

    /// How an octet of the name is written. The lengths of labels are less than any letter.
    pub(super) fn turned(&self, at: usize, octet: u8) -> u8 {
        let is_turned = self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1);
        if is_turned && octet.is_ascii_alphabetic() { octet ^ 0x20 } else { octet }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A header, and a name with its root.
    fn message() -> Vec<u8> {
        [&[0; HEADER_OCTETS][..], b"\x03www\x07Ex-1mpl\x04TEST\0"].concat()
    }

    #[test]
    fn letters_alone_change_and_come_back() {
        let (plain, all) = (message(), Letters([u64::MAX; 4]));
        let mut turned = plain.clone();
        all.turn(&mut turned, plain.len());
        assert_eq!(turned[HEADER_OCTETS..], *b"\x03WWW\x07eX-1MPL\x04test\0");
        assert_eq!(turned[..HEADER_OCTETS], plain[..HEADER_OCTETS]);
        all.turn(&mut turned, plain.len());
        assert_eq!(turned, plain);
    }

    #[test]
    fn each_letter_is_as_likely_in_either_case() {
        let plain = message();
        let mut upper = [0_u32; 16];
        for _ in 0..4096 {
            let mut turned = plain.clone();
            Letters::random().turn(&mut turned, plain.len());
            for (count, octet) in upper.iter_mut().zip(&turned[HEADER_OCTETS..]) {
                *count += u32::from(octet.is_ascii_uppercase());
            }
        }
        // Twelve standard deviations either way: 2048 of 4096 more or less 32.
        let letters = plain[HEADER_OCTETS..].iter().zip(upper).filter(|(octet, _)| octet.is_ascii_alphabetic());
        assert!(letters.clone().count() >= 11);
        for (octet, count) in letters {
            assert!((1664..=2432).contains(&count), "{}: {count}", char::from(*octet));
        }
    }
}
