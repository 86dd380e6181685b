//! A queried name in lower case, with its labels: made once a query, in a place that the caller keeps.

use crate::zone::name::NAME_OCTETS_MAX;

/// The most labels that a name has, the root not counted: each takes two octets at least.
const LABELS_MAX: usize = NAME_OCTETS_MAX / 2;

/// A name in lower case.
#[derive(Clone, Debug)]
pub struct Folded {
    octets: [u8; NAME_OCTETS_MAX],
    length: usize,
    starts: [u8; LABELS_MAX],
    labels: usize,
}

impl Folded {
    /// No name yet.
    pub const EMPTY: Self = Self { octets: [0; NAME_OCTETS_MAX], length: 0, starts: [0; LABELS_MAX], labels: 0 };

    /// Folds a sound name in wire form.
    pub fn new(name: &[u8]) -> Self {
        let mut folded = Self::EMPTY;
        folded.fold(name);
        folded
    }

    /// Folds a sound name in wire form in this one's place. Length octets are below any letter, so that folding all
    /// octets spares them.
    pub fn fold(&mut self, name: &[u8]) {
        (self.length, self.labels) = (0, 0);
        if let Some(octets) = self.octets.get_mut(..name.len()) {
            octets.copy_from_slice(name);
            octets.make_ascii_lowercase();
            self.length = name.len();
        }
        let mut at = 0;
        while let Some(&length) = name.get(at).filter(|length| **length > 0)
            && let Some(start) = self.starts.get_mut(self.labels)
        {
            *start = at as u8;
            self.labels += 1;
            at += 1 + usize::from(length);
        }
    }

    /// The octets, the root's included.
    pub fn as_wire(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or(&[])
    }

    /// Where each label begins, the root's not among them.
    pub fn starts(&self) -> &[u8] {
        self.starts.get(..self.labels).unwrap_or(&[])
    }

    /// The text of a label, the leftmost being 0.
    pub fn label(&self, index: usize) -> Option<&[u8]> {
        let at = usize::from(*self.starts().get(index)?);
        self.octets.get(at + 1..at + 1 + usize::from(*self.octets.get(at)?))
    }

    /// The offsets of its suffixes, the whole first, the root last.
    pub fn suffixes(&self) -> impl Iterator<Item = usize> {
        let root = self.length.checked_sub(1);
        self.starts().iter().map(|start| usize::from(*start)).chain(root)
    }

    /// Where a zone begins in it, if it is the zone or below it.
    pub fn within(&self, zone: &[u8]) -> Option<usize> {
        let at = self.length.checked_sub(zone.len())?;
        let is_label = at + 1 == self.length || self.starts().iter().rev().any(|start| usize::from(*start) == at);
        (is_label && self.as_wire().get(at..)? == zone).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::Name;

    #[test]
    fn a_name_is_within_a_zone_only_from_label_to_label() {
        let wire = |text: &str| Name::parse(text).expect("a name").as_wire().to_vec();
        let folded = Folded::new(b"\x03WWW\x07ExAmple\x03org\0");
        assert_eq!(folded.as_wire(), wire("www.example.org"));
        assert_eq!(folded.suffixes().collect::<Vec<_>>(), [0, 4, 12, 16]);
        for (zone, at) in [("www.example.org", 0), ("example.org", 4), ("org", 12), (".", 16)] {
            assert_eq!(folded.within(&wire(zone)), Some(at), "{zone}");
        }
        for zone in ["ample.org", "example.com", "a.www.example.org"] {
            assert_eq!(folded.within(&wire(zone)), None, "{zone}");
        }
        // `\x03abc` within a label is no label.
        assert_eq!(Folded::new(b"\x05x\x03abc\0").within(&wire("abc")), None);
        assert_eq!(Folded::new(b"\0").within(&wire(".")), Some(0));
    }

    #[test]
    fn the_longest_name_and_the_most_labels_are_folded_whole() {
        let most: Vec<u8> = [1, b'A'].repeat(127).into_iter().chain([0]).collect();
        let folded = Folded::new(&most);
        assert_eq!(folded.starts().len(), 127);
        assert_eq!(folded.as_wire().len(), 255);
    }
}
