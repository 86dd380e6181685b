//! Messages in a stream, each behind two octets with its length (RFC 1035 section 4.2.2).

/// Octets of the length.
const LENGTH: usize = 2;

/// The first message of a stream without its length, if it is whole.
pub(super) fn first(octets: &[u8]) -> Option<&[u8]> {
    octets.get(LENGTH..whole(octets)?)
}

/// What stands behind the first message.
pub(super) fn behind_first(octets: &[u8]) -> &[u8] {
    whole(octets).and_then(|end| octets.get(end..)).unwrap_or(&[])
}

/// How long the first message is with its length, whether it is whole or not; `None` as long as its length is not.
fn whole(octets: &[u8]) -> Option<usize> {
    Some(LENGTH + usize::from(u16::from_be_bytes(*octets.first_chunk()?)))
}

/// Puts a message behind others.
pub(super) fn append(octets: &mut Vec<u8>, message: &[u8]) {
    octets.extend_from_slice(&u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes());
    octets.extend_from_slice(message);
}

/// Moves to a message that has begun what it still lacks, and gives the rest. The room that it takes is at most twice
/// what has arrived of it, and never more than it announced: a length alone gets no room.
pub(super) fn complete<'a>(begun: &mut Vec<u8>, mut fresh: &'a [u8]) -> &'a [u8] {
    // Once for the length, once for the message.
    while !begun.is_empty() && !fresh.is_empty() {
        let end = whole(begun).unwrap_or(LENGTH);
        let lacking = end.saturating_sub(begun.len());
        if lacking == 0 {
            break;
        }
        let (part, rest) = fresh.split_at(lacking.min(fresh.len()));
        let wanted = begun.len() + part.len();
        if begun.capacity() < wanted {
            begun.reserve_exact(end.min(wanted.max(2 * begun.len())) - begun.len());
        }
        begun.extend_from_slice(part);
        fresh = rest;
    }
    fresh
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_no_more_room_than_twice_what_came() {
        let mut begun = vec![0xff];
        begun.shrink_to_fit();
        for arrived in 2..=2 + 65_535_usize {
            let octet = if arrived == 2 { 0xff } else { 7 };
            assert!(complete(&mut begun, &[octet]).is_empty());
            assert_eq!(begun.len(), arrived);
            assert!(begun.capacity() <= (2 * arrived).min(2 + 65_535), "{} for {arrived}", begun.capacity());
            assert_eq!(first(&begun).is_some(), arrived == 2 + 65_535);
        }
        assert_eq!(complete(&mut begun, &[1, 2, 3]), [1, 2, 3]);
    }

    #[test]
    fn what_follows_a_message_is_left() {
        let mut begun = vec![0];
        assert_eq!(complete(&mut begun, &[2, 8, 9, 0, 1]), [0, 1]);
        assert_eq!(first(&begun), Some(&[8, 9][..]));
        let mut nothing = Vec::new();
        assert_eq!(complete(&mut nothing, &[0, 1]), [0, 1]);
        assert_eq!(first(&[0, 0]), Some(&[][..]));
    }
}
