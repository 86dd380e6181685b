//! Domain names in wire form (RFC 1035 section 3.1), lower case.
//!
//! A [`Name`] is absolute and ends in the root's zero octet. A [`Labels`] is a run of labels without that octet:
//! what stands to the left of a zone. Both are compared as octets, since they are lower case (RFC 4343).

use std::fmt;

/// The longest name, in octets with length octets and the root's (RFC 1035 section 2.3.4).
pub const NAME_OCTETS_MAX: usize = 255;
/// The longest label, in octets without its length octet (RFC 1035 section 2.3.4).
pub const LABEL_OCTETS_MAX: usize = 63;

/// The trees of addresses (RFC 1035 section 3.5, RFC 3596 section 2.5), in wire form.
pub const REVERSE_TREES: [&[u8]; 2] = [b"\x07in-addr\x04arpa\0", b"\x03ip6\x04arpa\0"];

/// An absolute name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<[u8]>);

/// Labels without the root: relative to a zone, or a single one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Labels(Box<[u8]>);

impl Name {
    /// Reads `a.b.c` or `a.b.c.`; `None` if a label is empty or too long, or the whole is. Escapes are not read:
    /// Kubernetes names have none.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let mut wire = if text.is_empty() { Vec::new() } else { encode_labels(text)? };
        wire.push(0);
        (wire.len() <= NAME_OCTETS_MAX).then(|| Self(wire.into()))
    }

    /// Takes octets that are known to be a name in lower case; `None` if they end in no root.
    pub(super) fn from_wire(wire: &[u8]) -> Option<Self> {
        (wire.last() == Some(&0)).then(|| Self(wire.into()))
    }

    /// Takes octets that are a sound name, in any case.
    pub fn of_wire(wire: &[u8]) -> Option<Self> {
        let is_sound = wire.len() <= NAME_OCTETS_MAX && suffixes(wire).last() == wire.len().checked_sub(1);
        let is_sound = is_sound && wire.last() == Some(&0);
        // Length octets are below any letter.
        is_sound.then(|| Self(wire.to_ascii_lowercase().into()))
    }

    /// Labels followed by a name; `None` if the whole is too long.
    pub fn join(labels: &Labels, name: &Self) -> Option<Self> {
        let wire = [labels.as_wire(), name.as_wire()].concat();
        (wire.len() <= NAME_OCTETS_MAX).then(|| Self(wire.into()))
    }

    /// The octets, the root's included.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// Whether this name is the other, or below it.
    pub fn is_within(&self, ancestor: &Self) -> bool {
        self.is_at_or_below(&ancestor.0)
    }

    /// Whether this name is another, given in wire form and lower case, or below it.
    pub fn is_at_or_below(&self, ancestor: &[u8]) -> bool {
        is_at_or_below(&self.0, ancestor)
    }

    /// Whether this name is in one of the trees of addresses, `in-addr.arpa` and `ip6.arpa`.
    pub fn is_reverse(&self) -> bool {
        REVERSE_TREES.iter().any(|tree| self.is_at_or_below(tree))
    }
}

impl Labels {
    /// Reads `a.b.c`, all of it labels; `None` if one is empty or too long.
    pub fn parse(text: &str) -> Option<Self> {
        encode_labels(text).map(|wire| Self(wire.into()))
    }

    /// Takes octets that are known to be labels in lower case.
    pub fn from_wire(wire: impl Into<Box<[u8]>>) -> Self {
        Self(wire.into())
    }

    /// One run of labels after the other.
    pub fn concat(parts: &[&[u8]]) -> Self {
        Self(parts.concat().into())
    }

    /// The octets.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }
}

impl std::borrow::Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

// Equal octets are equal labels, and hash the same: maps keyed by labels are looked up by a piece of a query.
impl std::borrow::Borrow<[u8]> for Labels {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// Whether a name is another or below it, both in wire form and lower case.
pub fn is_at_or_below(name: &[u8], ancestor: &[u8]) -> bool {
    suffixes(name).any(|at| name[at..] == *ancestor)
}

/// Offsets of the suffixes of a name in wire form, the whole first, the root last.
pub fn suffixes(wire: &[u8]) -> impl Iterator<Item = usize> {
    let mut at = Some(0);
    std::iter::from_fn(move || {
        let here = at?;
        at = match wire.get(here) {
            Some(&length) if length > 0 => Some(here + 1 + usize::from(length)),
            _ => None,
        };
        (here < wire.len()).then_some(here)
    })
}

fn encode_labels(text: &str) -> Option<Vec<u8>> {
    let mut wire = Vec::with_capacity(text.len() + 2);
    push_labels(&mut wire, text.as_bytes()).then_some(wire)
}

/// Appends the labels of `a.b.c` in wire form and lower case; `false`, and nothing appended, if one is empty or too long,
/// or the whole is.
pub fn push_labels(wire: &mut Vec<u8>, text: &[u8]) -> bool {
    let start = wire.len();
    for label in text.split(|octet| *octet == b'.') {
        if label.is_empty() || label.len() > LABEL_OCTETS_MAX {
            wire.truncate(start);
            return false;
        }
        wire.push(label.len() as u8);
        let at = wire.len();
        wire.extend_from_slice(label);
        wire[at..].make_ascii_lowercase();
    }
    let fits = wire.len() - start < NAME_OCTETS_MAX;
    if !fits {
        wire.truncate(start);
    }
    fits
}

/// Writes labels as text: dots between them, everything unusual escaped (RFC 1035 section 5.1).
pub fn write_text(out: &mut impl fmt::Write, wire: &[u8]) -> fmt::Result {
    let mut rest = wire;
    let mut first = true;
    while let Some((&length, tail)) = rest.split_first() {
        if length == 0 {
            break;
        }
        let (label, tail) = tail.split_at(usize::from(length).min(tail.len()));
        if !first {
            out.write_char('.')?;
        }
        first = false;
        for &octet in label {
            match octet {
                b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' | b' ' | b'\'' => {
                    write!(out, "\\{}", char::from(octet))?;
                }
                b'!'..=b'~' => out.write_char(char::from(octet))?,
                _ => write!(out, "\\{octet:03}")?,
            }
        }
        rest = tail;
    }
    Ok(())
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_text(f, &self.0)?;
        f.write_str(".")
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_text(f, &self.0)
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_lower_case_and_ends_in_the_root() {
        assert_eq!(Name::parse("A.Bc.").map(|name| name.as_wire().to_vec()), Some(b"\x01a\x02bc\0".to_vec()));
        assert_eq!(Name::parse("a.bc"), Name::parse("A.BC."));
        assert_eq!(Name::parse(".").map(|name| name.as_wire().to_vec()), Some(vec![0]));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let label = "x".repeat(64);
        let long = ["x".repeat(63).as_str(); 4].join(".");
        for text in ["a..b", ".a", label.as_str(), long.as_str()] {
            assert_eq!(Name::parse(text), None, "{text}");
        }
    }

    #[test]
    fn within_is_by_labels_and_not_by_characters() {
        let zone = Name::parse("cluster.local").expect("a name");
        assert!(Name::parse("a.cluster.local").expect("a name").is_within(&zone));
        assert!(zone.is_within(&zone));
        assert!(!Name::parse("acluster.local").expect("a name").is_within(&zone));
        assert!(Name::parse("10.in-addr.arpa").expect("a name").is_reverse());
        assert!(!zone.is_reverse());
    }
}
