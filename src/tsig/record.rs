//! The record that carries a signature (RFC 8945 section 4.2).

use crate::zone::name::NAME_OCTETS_MAX;

/// TYPE TSIG.
pub const TYPE: u16 = 250;
/// CLASS ANY, which every such record has.
pub(super) const CLASS_ANY: u16 = 255;

/// A signature as it stands at the end of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TsigRecord<'m> {
    /// Where the record begins: what is signed ends there.
    pub start: usize,
    /// The key's name in wire form and lower case.
    pub name: Vec<u8>,
    /// The algorithm's, too.
    pub algorithm: Vec<u8>,
    /// When it was signed, in seconds since 1970.
    pub time: u64,
    /// How far clocks may be apart.
    pub fudge: u16,
    /// The signature.
    pub mac: &'m [u8],
    /// The ID that was signed.
    pub original_id: u16,
    /// What the answer says of the query's signature.
    pub error: u16,
    /// With BADTIME, the server's time.
    pub other: &'m [u8],
}

impl<'m> TsigRecord<'m> {
    /// Reads the record that begins at `start`, which must be the message's last; `None` if it is malformed.
    pub fn parse(message: &'m [u8], start: usize) -> Option<Self> {
        let mut reader = Reader { octets: message, at: start };
        // The owner may be compressed by lenient senders; the algorithm may not (RFC 8945 section 4.2).
        let name = reader.name()?;
        let (rtype, class, ttl) = (reader.word()?, reader.word()?, reader.long()?);
        let octets = usize::from(reader.word()?);
        let end = reader.at.checked_add(octets)?;
        if rtype != TYPE || class != CLASS_ANY || ttl != 0 || end != message.len() {
            return None;
        }
        let algorithm = reader.name()?;
        let time = u64::from(reader.word()?) << 32 | u64::from(reader.long()?);
        let fudge = reader.word()?;
        let mac_octets = usize::from(reader.word()?);
        let mac = reader.take(mac_octets)?;
        let (original_id, error) = (reader.word()?, reader.word()?);
        let other_octets = usize::from(reader.word()?);
        let other = reader.take(other_octets)?;
        let record = Self { start, name, algorithm, time, fudge, mac, original_id, error, other };
        (reader.at == end).then_some(record)
    }
}

/// A message without its signature, which begins at `start`: one additional record less.
pub fn strip(message: &[u8], start: usize) -> Vec<u8> {
    let mut stripped = message.get(..start).unwrap_or(message).to_vec();
    if let Some(&[high, low]) = stripped.get(10..12) {
        let count = u16::from_be_bytes([high, low]).saturating_sub(1);
        stripped[10..12].copy_from_slice(&count.to_be_bytes());
    }
    stripped
}

struct Reader<'m> {
    octets: &'m [u8],
    at: usize,
}

impl<'m> Reader<'m> {
    fn take(&mut self, octets: usize) -> Option<&'m [u8]> {
        let taken = self.octets.get(self.at..self.at.checked_add(octets)?)?;
        self.at += octets;
        Some(taken)
    }

    fn word(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.take(2)?.first_chunk()?))
    }

    fn long(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(*self.take(4)?.first_chunk()?))
    }

    /// A name in lower case, its pointers followed, backwards only.
    fn name(&mut self) -> Option<Vec<u8>> {
        let mut name = Vec::new();
        let mut after = None;
        loop {
            let place = self.at;
            let &[length] = self.take(1)? else { return None };
            match length {
                0 => {
                    name.push(0);
                    break;
                }
                1..=63 => {
                    name.push(length);
                    name.extend_from_slice(self.take(length.into())?);
                }
                192.. => {
                    let &[low] = self.take(1)? else { return None };
                    after.get_or_insert(self.at);
                    self.at = usize::from(length & 0x3f) << 8 | usize::from(low);
                    if self.at >= place {
                        return None;
                    }
                }
                _ => return None,
            }
            if name.len() > NAME_OCTETS_MAX {
                return None;
            }
        }
        self.at = after.unwrap_or(self.at);
        // Length octets are below any letter.
        name.make_ascii_lowercase();
        Some(name)
    }
}
