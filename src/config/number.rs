//! Whole numbers as Go's `strconv.Atoi` reads them, with its words for what it refuses.

use std::num::{IntErrorKind, ParseIntError};

/// Reads an optional sign and decimal digits.
///
/// # Errors
/// CoreDNS's wording.
pub(super) fn parse(text: &str) -> Result<i64, String> {
    text.parse::<i64>().map_err(|error| format!("strconv.Atoi: parsing {text:?}: {}", reason(&error)))
}

/// Reads decimal digits, as `strconv.ParseUint` with 32 bits: no sign.
///
/// # Errors
/// CoreDNS's wording.
pub(super) fn parse_unsigned(text: &str) -> Result<u32, String> {
    let digits = if text.starts_with('+') { "" } else { text };
    digits.parse::<u32>().map_err(|error| format!("strconv.ParseUint: parsing {text:?}: {}", reason(&error)))
}

fn reason(error: &ParseIntError) -> &'static str {
    match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
        _ => "invalid syntax",
    }
}
