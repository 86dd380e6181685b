//! The SOA serial.

/// The serial of changed content: one more than the last at least, and the time in Unix seconds where that is later,
/// so that it never falls back, whatever the clock does, and reads as a time all the same (RFC 1912 section 2.2).
/// Later is meant in serial arithmetic (RFC 1982 section 3.2).
pub fn next_serial(last: u32, unix_secs: u32) -> u32 {
    let next = last.wrapping_add(1);
    let ahead = unix_secs.wrapping_sub(next);
    if ahead < 1 << 31 { unix_secs } else { next }
}

#[cfg(test)]
mod tests {
    use super::next_serial;

    #[test]
    fn a_serial_follows_the_clock_and_never_falls_back() {
        assert_eq!(next_serial(100, 2000), 2000);
        assert_eq!(next_serial(2000, 2000), 2001);
        assert_eq!(next_serial(2000, 1000), 2001);
        assert_eq!(next_serial(u32::MAX, u32::MAX), 0);
        assert_eq!(next_serial(u32::MAX - 5, 3), 3);
    }
}
